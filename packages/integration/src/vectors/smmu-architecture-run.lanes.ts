import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import {
  CACHE_EVERYTHING,
  CACHE_NOTHING,
  type CachePolicy,
  type DmaResult,
  type IdrWords,
  SmmuV3Model,
  type StaleUse,
} from '@iommukit/smmu-v3-model';
import { layoutNamed } from './smmu-architecture-layouts.lanes.ts';
import {
  count,
  flag,
  integer,
  list,
  object,
  oneOf,
  operation,
  plainOr,
  record,
  type Shape,
  text,
  tuple,
  word,
} from './vector-shape.ts';
import { sameJson, type VectorTally } from './vector-tally.ts';
import { halves, hex, hexOfLanes, type JsonRow, VectorError } from './vector-values.lanes.ts';

// Runs architecture vectors of the SMMUv3 through our layouts and our model: programs without caches, and with everything kept.

// 256 MiB in two ranges, so that memory comes in blocks of 64 KiB: a thousand devices zero fewer bytes.
const RAM = [
  { base: 0x4000_0000, size: 0x1_0000 },
  { base: 0x4001_0000, size: 0xfff_0000 },
] as const;
const CMDQ = 0x4028_0000;
const INDEX = 0xf_ffff;
const EVENT_BYTES = 32;
const COMMAND_BYTES = 16;

/** The SMMU of one program. */
class Device {
  readonly #memory: PhysicalMemory = new PhysicalMemory(RAM);
  readonly #smmu: SmmuV3Model;
  readonly #masks: Readonly<Record<string, readonly string[]>>;

  constructor(
    features: Readonly<Record<string, string>>,
    policy: CachePolicy,
    masks: Readonly<Record<string, readonly string[]>> = {},
  ) {
    const idr = Object.fromEntries(
      Object.entries(features).map(([name, id]) => [name, Number(id)]),
    );
    this.#smmu = new SmmuV3Model({ memory: this.#memory, idr: idr as unknown as IdrWords, policy });
    this.#masks = masks;
  }

  get staleUses(): readonly StaleUse[] {
    return this.#smmu.staleUses;
  }

  store(address: number, words: readonly string[]): void {
    for (const [i, one] of words.entries()) this.#memory.store64(address + i * 8, ...halves(one));
  }

  load(address: number, words: number): string[] {
    return Array.from({ length: words }, (_, i) => {
      const lo = this.#memory.load64(address + i * 8);
      return hexOfLanes(lo, this.#memory.hi);
    });
  }

  write(offset: number, bytes: number, value: string): void {
    const [lo, hi] = halves(value);
    if (bytes === 8) this.#smmu.registers.write64(offset, lo, hi);
    else this.#smmu.registers.write32(offset, lo);
    this.#smmu.run();
  }

  read(offset: number, bytes: number): bigint {
    const { registers } = this.#smmu;
    if (bytes === 4) return BigInt(registers.read32(offset));
    const lo = registers.read64(offset);
    return (BigInt(registers.hi) << 32n) | BigInt(lo);
  }

  /** Puts a command into the queue; the CERROR that stopped it. */
  command(words: readonly string[]): number {
    const { registers } = this.#smmu;
    const base = this.read(R.CMDQ_BASE, 8);
    const lg2 = Number(base & 0x1fn);
    const table = Number(base & 0xff_ffff_ffff_ffe0n);
    const prod = registers.read32(R.CMDQ_PROD) & INDEX;
    this.store(table + (prod % 2 ** lg2) * COMMAND_BYTES, words);
    registers.write32(R.CMDQ_PROD, (prod + 1) % 2 ** (lg2 + 1));
    this.#smmu.run();
    const active = (registers.read32(R.GERROR) ^ registers.read32(R.GERRORN)) & 1;
    return active === 0 ? 0 : (registers.read32(R.CMDQ_CONS) >>> 24) & 0x7f;
  }

  /** The outcome of an access, as a vector names it. */
  access(step: JsonRow): JsonRow {
    const { registers } = this.#smmu;
    const [lo, hi] = halves(step['address'] as string);
    const prod = registers.read32(R.EVENTQ_PROD);
    const result = this.#smmu.translate({
      streamId: Number(step['sid']),
      address: { ...u64Of(0), lo, hi },
      rw: step['rw'] as 'read',
      ...(step['ssid'] === undefined ? {} : { substreamId: Number(step['ssid']) }),
      privileged: step['privileged'] === true,
      instruction: step['instruction'] === true,
    });
    return this.masked(this.#outcome(result, prod));
  }

  #outcome(result: DmaResult, prod: number): JsonRow {
    if ('paddr' in result) return { result: result.outcome, pa: hex(result.paddr) };
    if (result.outcome === 'abort') return { result: 'abort' };
    const { event } = result.event;
    if (result.record !== 'written') {
      if (result.record === 'suppressed')
        return { result: result.outcome === 'fault' ? result.response : 'stall' };
      return { result: event, record: 'dropped' };
    }
    const base = this.read(R.EVENTQ_BASE, 8);
    const lg2 = Number(base & 0x1fn);
    const bytes = Math.max(32, 2 ** lg2 * EVENT_BYTES);
    const address = Number(base & 0xff_ffff_ffff_ffe0n);
    const at = address - (address % bytes) + (prod % 2 ** lg2) * EVENT_BYTES;
    return { result: event, record: this.load(at, 4) };
  }

  /** Without the bits of the record that the architecture leaves open. */
  masked(outcome: JsonRow): JsonRow {
    const { result, record: words } = outcome;
    const masks = this.#masks[result as string];
    if (!Array.isArray(words) || masks === undefined) return outcome;
    return {
      result,
      record: words.map((one: string, i) => hex(BigInt(one) & BigInt(masks[i] ?? '0x0'))),
    };
  }
}

interface Run {
  readonly file: JsonRow;
  readonly row: number;
  readonly tally: VectorTally;
}

function featuresOf(file: JsonRow, name: unknown): Readonly<Record<string, string>> {
  const features: unknown = file['features'][name as string];
  if (typeof features !== 'object' || features === null)
    throw new VectorError(
      'features',
      `one of ${Object.keys(file['features'] as object).join(', ')}`,
      name,
    );
  return features as Readonly<Record<string, string>>;
}

/** Runs the steps of a program; those of the set-up compare nothing but that commands are taken. `left`: a step that is left out. */
function runSteps(run: Run, one: JsonRow, policy: CachePolicy, left?: number): Device {
  const { file, row, tally } = run;
  const device = new Device(featuresOf(file, one['features']), policy, file['masks']);
  const setup: unknown = file['setups'][one['setup'] as string];
  if (!Array.isArray(setup))
    throw new VectorError(
      'setup',
      `one of ${Object.keys(file['setups'] as object).join(', ')}`,
      one['setup'],
    );
  const compares = left === undefined;
  const check = (what: string, got: unknown, expected: unknown): void => {
    if (compares) tally.check(row, what, got, expected);
  };
  for (const [i, step] of [...(setup as JsonRow[]), ...(one['steps'] as JsonRow[])].entries()) {
    const at = i - setup.length;
    if (at === left) continue;
    const what = at < 0 ? `set-up ${String(i)}` : `step ${String(at)}`;
    switch (step['op']) {
      case 'store':
        device.store(Number(step['address']), step['words']);
        break;
      case 'load':
        check(what, device.load(Number(step['address']), step['words'].length), step['words']);
        break;
      case 'write':
        device.write(Number(step['offset']), step['bytes'], step['value']);
        break;
      case 'read': {
        const mask = BigInt(step['mask']);
        const got = device.read(Number(step['offset']), step['bytes']) & mask;
        check(`${what}, ${String(step['register'])}`, hex(got), hex(BigInt(step['value']) & mask));
        break;
      }
      case 'command':
        check(`${what}, command error`, device.command(step['words']), step['error']);
        break;
      default: {
        const got = device.access(step);
        const allowed = (step['allowed'] as JsonRow[]).map((outcome) => device.masked(outcome));
        const found = allowed.find((outcome) => sameJson(outcome, got));
        check(`${what}, access`, got, found ?? (allowed.length === 1 ? allowed[0] : allowed));
      }
    }
  }
  return device;
}

const missing = (device: Device): string[] =>
  device.staleUses.filter((use) => use.class === 'missing').map(({ kind }) => kind);

/** A program without caches and with everything kept; with each needed command left out, the stale use is reported. */
function runProgram(run: Run, one: JsonRow): void {
  const { row, tally } = run;
  runSteps(run, one, CACHE_NOTHING);
  const kept = runSteps(run, one, CACHE_EVERYTHING);
  const steps = one['steps'] as JsonRow[];
  if (!steps.some((step) => step['needed'] !== undefined)) return;
  tally.check(row, 'stale uses with every command', missing(kept), []);
  for (const [i, step] of steps.entries()) {
    if (step['needed'] === undefined) continue;
    const reported = missing(runSteps(run, one, CACHE_EVERYTHING, i));
    const needed: unknown = step['needed'];
    const got = reported.find((one) => one === needed);
    tally.check(row, `stale use without step ${String(i)}`, got, needed);
  }
}

function runCommands({ file, row, tally }: Run, one: JsonRow): void {
  for (const [dw0, dw1, error] of one['rows'] as [string, string, number][]) {
    const device = new Device(featuresOf(file, one['features']), CACHE_NOTHING);
    device.write(R.CMDQ_BASE, 8, hex(CMDQ + 2));
    device.write(R.CR0, 4, '0x8');
    tally.check(row, `command ${dw0} ${dw1}`, device.command([dw0, dw1]), error);
  }
}

function layoutOf(name: unknown): NonNullable<ReturnType<typeof layoutNamed>> {
  const layout = layoutNamed(String(name));
  if (layout === undefined) throw new VectorError('structure', 'a structure of the SMMUv3', name);
  return layout;
}

function runLayout({ row, tally }: Run, one: JsonRow): void {
  const { structure, field, dw, hi, lo, reserved } = one;
  const layout = layoutOf(structure);
  const own = layout.rows[field as string];
  const kind =
    own?.kind === 'res0' ? 'RES0' : own?.kind === 'impdef' ? 'IMPLEMENTATION DEFINED' : 'no';
  tally.check(
    row,
    `${String(structure)}.${String(field)}`,
    [own?.dw, own?.hi, own?.lo, kind],
    [dw, hi, lo, reserved],
  );
  for (const [put, value] of one['bits'] as [string, string][]) {
    const lanes = new Uint32Array(layout.lanes);
    lanes.set(halves(put), (dw as number) * 2);
    tally.check(row, `value of ${put}`, fieldHex(layout, lanes, field), value);
  }
}

function fieldHex(layout: ReturnType<typeof layoutOf>, lanes: Uint32Array, field: string): string {
  const value = layout.decode(lanes).values[field as never] as number | { lo: number; hi: number };
  return typeof value === 'number' ? hex(BigInt(value)) : hexOfLanes(value.lo, value.hi);
}

function runDecode({ row, tally }: Run, one: JsonRow): void {
  const layout = layoutOf(one['structure']);
  const lanes = new Uint32Array(layout.lanes);
  for (const [i, put] of (one['words'] as string[]).entries()) lanes.set(halves(put), i * 2);
  for (const [field, value] of Object.entries(one['fields'] as Record<string, string>))
    tally.check(row, field, fieldHex(layout, lanes, field), value);
}

const RUNNERS: Readonly<Record<string, (run: Run, one: JsonRow) => void>> = {
  layout: runLayout,
  decode: runDecode,
  commands: runCommands,
  program: runProgram,
};

/** Runs a file of kind `smmu-architecture`. */
export function runSmmuArchitecture(file: JsonRow, tally: VectorTally): void {
  for (const [row, one] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    RUNNERS[one['case'] as string]?.({ file, row, tally }, one);
  }
}

const outcome = record(
  { result: text },
  { pa: word, record: plainOr(oneOf('dropped'), list(word)) },
);
const place = { register: text, offset: word, bytes: count(8) } as const;
const step = operation({
  store: record({ address: word, words: list(word) }),
  load: record({ address: word, words: list(word) }),
  write: record({ ...place, value: word }),
  read: record({ ...place, value: word, mask: word }),
  command: record({ words: tuple(2, word, word), error: count(255) }, { needed: text }),
  access: record(
    { sid: word, address: word, rw: oneOf('read', 'write', 'atomic'), allowed: list(outcome) },
    { ssid: word, privileged: flag, instruction: flag },
  ),
});
const grounds = {
  name: text,
  section: text,
  confidence: oneOf('high', 'medium', 'inferred', 'unsure'),
  origin: oneOf('architecture reading', 'captured', 'measured on QEMU'),
} as const;
const optional = { catches: text, about: text } as const;
const lane = count(63);
const CASES: Readonly<Record<string, Shape>> = {
  layout: record(
    {
      ...grounds,
      structure: text,
      of: text,
      dwords: count(8),
      field: text,
      dw: count(7),
      hi: lane,
      lo: lane,
      bits: list(tuple(2, word, word)),
    },
    { ...optional, offset: word, width: integer },
  ),
  decode: record({ ...grounds, structure: text, words: list(word), fields: object }, optional),
  commands: record(
    { ...grounds, features: text, rows: list(tuple(3, word, word, count(255))) },
    optional,
  ),
  program: record({ ...grounds, features: text, setup: text, steps: list(step) }, optional),
};
const known = oneOf(...Object.keys(CASES));

/** What a file of the kind has to hold. */
export const SMMU_ARCHITECTURE_SHAPE: Shape = record({
  name: text,
  features: object,
  setups: object,
  masks: object,
  cases: list((value, at) => {
    object(value, at);
    const { case: name } = value as { readonly case?: string };
    known(name, `${at}.case`);
    CASES[name as string]?.(value, at);
  }),
});
