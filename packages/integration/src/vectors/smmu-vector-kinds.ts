import { DRIVER_PROFILES, type DriverProfile, driverProfile } from '@iommukit/smmu-v3-driver';
import { runEvtPrint } from './evt-print-vectors.ts';
import { runSmmuCmd } from './smmu-cmd-vectors.ts';
import { runSmmuEntry } from './smmu-entry-vectors.ts';
import { runSmmuInv } from './smmu-inv-vectors.ts';
import {
  count,
  flag,
  integer,
  list,
  type Members,
  oneOf,
  operation,
  plainOr,
  record,
  type Shape,
  text,
  tuple,
  word,
} from './vector-shape.ts';
import type { VectorTally } from './vector-tally.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/** Kernel of a file that names none. */
const DEFAULT_KERNEL = '7.3';

/** The driver of the kernel that a file was recorded from: `6.12.107` is 6.12, `7.3-rc7` is 7.3. */
export function recordedDriver(file: JsonRow): DriverProfile {
  const { kernel = DEFAULT_KERNEL } = file;
  const version = typeof kernel === 'string' ? /^\d+\.\d+/.exec(kernel)?.[0] : undefined;
  if (version === undefined || !Object.hasOwn(DRIVER_PROFILES, version))
    throw new VectorError(
      'kernel',
      `none or one of ${Object.keys(DRIVER_PROFILES).join(', ')}`,
      kernel,
    );
  return driverProfile(version);
}

type DriverRun = (file: JsonRow, tally: VectorTally, profile: DriverProfile) => void;
const ofItsKernel =
  (run: DriverRun) =>
  (file: JsonRow, tally: VectorTally): void =>
    run(file, tally, recordedDriver(file));

/** The kinds that record the SMMUv3 driver; their files may be of any kernel that the driver models. */
export const SMMU_RUNNERS: Readonly<Record<string, (file: JsonRow, tally: VectorTally) => void>> = {
  'smmu-entry': ofItsKernel(runSmmuEntry),
  'smmu-cmd': ofItsKernel(runSmmuCmd),
  'smmu-inv': ofItsKernel(runSmmuInv),
  'evt-print': ofItsKernel(runEvtPrint),
};

/** A flag as the recordings write it: true, or 1. */
const set: Shape = (value, at) => (typeof value === 'boolean' ? flag : count(1))(value, at);
const names = list(text);
const id = count(2 ** 32 - 1);
const entry = list(word);
const MOST_STREAMS = 2 ** 16;

// [q0, q1], or n commands from there with q1 growing by a step.
const command = tuple(2, word, word, count(2 ** 20), word);
const issues = list(record({}, { cmds: list(command), sync: flag, smmu: count(255) }));
const streams: Members = { sids: list(id), first_sid: id, n_sids: count(MOST_STREAMS) };
const range: Members = { iova: word, size: word, granule: word, leaf: flag };

const builder: Members = { features: names, quirks: names, ats: set, stall: set };
const vtcr = record({
  ps: count(7),
  tg: count(3),
  sh: count(3),
  orgn: count(3),
  irgn: count(3),
  sl: count(3),
  tsz: count(63),
});
const tcr = record({
  ips: count(7),
  tg: count(3),
  sh: count(3),
  orgn: count(3),
  irgn: count(3),
  tsz: count(63),
});
const stageTwo: Members = { vmid: count(0xffff), vttbr: word, vtcr };
const builtSte: Record<string, Shape> = {
  abort: record({ data: entry, used: entry }),
  bypass: record({ data: entry, used: entry }, builder),
  cdtable: record(
    { data: entry, used: entry, cdtab_dma: word },
    { ...builder, s1fmt: count(3), s1cdmax: count(), s1dss: count(3) },
  ),
  s2: record({ data: entry, used: entry, ...stageTwo }, builder),
  nested: record(stageTwo, {
    ...builder,
    data: entry,
    used: entry,
    vste0: word,
    vste1: word,
    errno: integer,
    enable_ats: set,
  }),
};
const builtCd: Record<string, Shape> = {
  s1: record(
    { data: entry, used: entry, asid: count(0xffff), ttbr: word, tcr, mair: word },
    builder,
  ),
  sva: record(
    {
      data: entry,
      used: entry,
      asid: count(0xffff),
      pgd: word,
      va_bits: count(63),
      mair: word,
      page_shift: count(16),
    },
    { ...builder, parange: count(7), haft: set, no_mm: flag },
  ),
};

/** A row whose `builder` chooses the rest. */
function byBuilder(shapes: Readonly<Record<string, Shape>>): Shape {
  const known = oneOf(...Object.keys(shapes));
  return (value, at) => {
    const { builder: name } = value as { readonly builder?: string };
    known(name, `${at}.builder`);
    shapes[name as string]?.(value, at);
  };
}

const which = oneOf('ste', 'cd');
const smmuEntry = record(
  {
    cases: list(
      operation({
        ste: byBuilder(builtSte),
        cd: byBuilder(builtCd),
        used: record({ entry: which, data: entry, used: entry }),
        l1desc: record({ l2ptr: word, ste_l1: word, cd_l1: word }),
        write: record(
          { entry: which, from: text, to: text, n: count(3) },
          { syncs: list(entry), v0: set, safe: entry },
        ),
        install: record(
          { entry: which, from: text, to: text },
          {
            ...streams,
            ssid: id,
            options: names,
            repeat: flag,
            issues,
            used_ssids: count(),
            used_ssids_before: count(),
            ste_ats: set,
          },
        ),
      }),
    ),
  },
  { name: text },
);

const smmuCmd = record(
  {
    cases: list(
      operation({
        cmd: record(
          { make: text },
          {
            cmd: tuple(2, word, word),
            errno: integer,
            opcode: word,
            sid: id,
            ssid: id,
            ssv: flag,
            leaf: flag,
            asid: id,
            vmid: id,
            num: id,
            scale: id,
            ttl: id,
            tg: id,
            addr: word,
            iova: word,
            size: word,
            global: flag,
            grpid: id,
            resp: count(),
            stag: id,
            code: count(),
            options: names,
            base: word,
            log2size: count(20),
            prod: word,
            secondary: flag,
            msiaddr: word,
          },
        ),
      }),
    ),
  },
  { name: text },
);

const type = oneOf('S1_ASID', 'S2_VMID', 'S2_VMID_S1_CLEAR', 'ATS', 'ATS_FULL');
const invEntry = record({ type }, { id, ssid: id, smmu: count(255), trash: flag });
const array = record(
  { num: count(), trash: count(), inv: list(tuple(5, count(), count(4), id, id, count())) },
  { has_ats: flag },
);
// Names for each SMMU, or for the one.
const lists = list(plainOr(text, names));
const sequence: Members = { array, issues, ...range };

const smmuInv = record(
  {
    cases: list(
      operation({
        inv: record(
          {
            call: oneOf(
              'range',
              'sync',
              'walk',
              'all',
              'tag',
              'range_asid',
              'asid',
              'atc',
              'atc_master',
            ),
          },
          {
            ...range,
            invs: list(invEntry),
            features: lists,
            options: lists,
            repeat: flag,
            page: word,
            start: word,
            end: word,
            pgsize: word,
            stage: oneOf('S1', 'S2', 'SVA'),
            id,
            asid: id,
            ssid: id,
            pgsize_bitmap: word,
            masters: list(record({}, { ats: flag, ssid: id, ...streams })),
            issues,
          },
        ),
        build_invs: record(
          {
            array,
            opcodes: list(tuple(3, count(255), count(255), count(63))),
            pgsize_bitmap: word,
          },
          {
            stage: oneOf('S1', 'S2', 'SVA'),
            id,
            ssid: id,
            ats: flag,
            nest_parent: flag,
            features: lists,
            ...streams,
          },
        ),
        invs_new: record({}, { ...sequence, features: lists, options: lists }),
        invs_merge: record({ entries: list(invEntry) }, sequence),
        invs_unref: record(
          { entries: list(invEntry) },
          { ...sequence, to_unref_users: list(count()) },
        ),
        invs_purge: record({}, { ...sequence, purged: set }),
        invs_inv: record({}, sequence),
        atc_master: record(
          {},
          { ...streams, ssid: id, options: lists, features: lists, repeat: flag, issues },
        ),
      }),
    ),
  },
  { name: text },
);

const log = list(tuple(2, text, text));
const evtPrint = record(
  {
    cases: list(
      operation({
        evt: record(
          { record: tuple(4, word, word, word, word) },
          { known_sid: id, client: text, report: integer, handle: integer, log },
        ),
        pri: record({ record: tuple(2, word, word) }, { log, issues }),
        gerror: record(
          { gerror: word, gerrorn: word },
          {
            cons: word,
            cmd: tuple(2, word, word),
            slot: tuple(2, word, word),
            handled: set,
            gerrorn_after: word,
            disabled: set,
            log,
          },
        ),
      }),
    ),
  },
  { name: text },
);

/** The shapes of these kinds, as `data/golden/README.md` of @iommukit/vectors documents them. */
export const SMMU_SHAPES: Readonly<
  Record<string, { readonly shape: Shape; readonly rows: 'cases' }>
> = {
  'smmu-entry': { shape: smmuEntry, rows: 'cases' },
  'smmu-cmd': { shape: smmuCmd, rows: 'cases' },
  'smmu-inv': { shape: smmuInv, rows: 'cases' },
  'evt-print': { shape: evtPrint, rows: 'cases' },
};
