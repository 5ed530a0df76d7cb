import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IotlbGather,
} from '@iommukit/io-pgtable';
import type { IommuDomain } from '@iommukit/iommu-core';
import { type MemoryView, PhysicalMemory } from '@iommukit/platform';
import { CommandBatch, SYNC_WORDS } from '../src/command-batch.ts';
import { cdUsedBits } from '../src/context-descriptor.lanes.ts';
import { writeEntry } from '../src/entry-writer.lanes.ts';
import { abortSte, bypassSte, cdTableSte, stageOneCd } from '../src/index.ts';
import { DomainFlushOps, PagingDomainOps } from '../src/paging-domain.ts';
import { StreamTable } from '../src/stream-table.ts';
import { steUsedBits } from '../src/stream-table-entry.lanes.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { Rig } from './rig.ts';

/** One recorded case: the fields of the vectors, as JSON. */
export type Case = Readonly<Record<string, unknown>>;

/** What a run over a file found. Every case is in exactly one of compared, notApplicable. */
export interface Outcome {
  compared: number;
  readonly notApplicable: Record<string, number>;
  readonly mismatches: string[];
}

export interface VectorFile {
  readonly cases: readonly Case[];
  readonly ste_kinds?: Readonly<Record<string, readonly string[]>>;
  readonly cd_kinds?: Readonly<Record<string, readonly string[]>>;
}

const num = (value: unknown): number => Number(BigInt((value as string | number | undefined) ?? 0));
const big = (value: unknown): bigint => BigInt((value as string | number | undefined) ?? 0);
const names = (value: unknown): readonly string[] => (value as readonly string[] | undefined) ?? [];

/** Runs `judge` over all cases: a string names why a case does not apply, an array is [got, want]. */
export function runCases(
  cases: readonly Case[],
  judge: (row: Case) => string | readonly [got: unknown, want: unknown],
): Outcome {
  const outcome: Outcome = { compared: 0, notApplicable: {}, mismatches: [] };
  cases.forEach((row, i) => {
    const verdict = judge(row);
    if (typeof verdict === 'string') {
      outcome.notApplicable[verdict] = (outcome.notApplicable[verdict] ?? 0) + 1;
      return;
    }
    outcome.compared++;
    const [got, want] = verdict.map((side) =>
      JSON.stringify(side, (_, v) => (typeof v === 'bigint' ? `0x${v.toString(16)}` : v)),
    );
    if (got !== want) outcome.mismatches.push(`#${i}: got ${got}, recorded ${want}`);
  });
  return outcome;
}

type Issue = { cmds: [string, string][]; sync?: boolean };

function recordedIssues(row: Case): Issue[] {
  const issues = (row['issues'] ?? []) as { cmds: unknown[][]; sync?: boolean }[];
  return issues.map(({ cmds, sync }) => ({
    cmds: cmds.flatMap(([q0, q1, n = 1, step = '0x0']) =>
      Array.from({ length: Number(n) }, (_, i): [string, string] => [
        `0x${big(q0).toString(16)}`,
        `0x${BigInt.asUintN(64, big(q1) + BigInt(i) * big(step)).toString(16)}`,
      ]),
    ),
    ...(sync === true ? { sync } : {}),
  }));
}

/** Cuts the commands that the SMMU took into the lists that the driver issued. */
function issuesOf(rig: Rig): Issue[] {
  let at = 0;
  return rig.lists.map(({ n, sync }) => {
    const cmds = rig.smmu.commands
      .slice(at, at + n)
      .map(([a, b]): [string, string] => [`0x${a.toString(16)}`, `0x${b.toString(16)}`]);
    at += n + sync;
    return { cmds, ...(sync === 1 ? { sync: true } : {}) };
  });
}

/** Invalidations of 6.12 through the driver's domain operations. */
export function runInvalidations(file: VectorFile): Outcome {
  const rigs = new Map<boolean, { rig: Rig; driver: ReturnType<Rig['up']> }>();
  return runCases(file.cases, (row) => {
    const features = names(row['features']);
    if (row['stage'] === 'S2') return 'stage 2';
    if (features.includes('E2H')) return 'E2H';
    if (row['call'] === 'atc' || row['call'] === 'atc_master') return 'ATS';
    const masters = (row['masters'] ?? []) as { ats?: boolean }[];
    if (masters.some((master) => master.ats === true)) return 'ATS';
    if (row['call'] === 'asid' || row['call'] === 'range_asid') return 'SVA';
    if (names(row['options']).length > 0) return 'errata options';
    const ranges = features.includes('RANGE_INV');
    let made = rigs.get(ranges);
    if (made === undefined) {
      const rig = new Rig({ ids: idsWith({ idr3: { RIL: ranges ? 1 : 0 } }) });
      made = { rig, driver: rig.up() };
      rigs.set(ranges, made);
    }
    const { rig, driver } = made;
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: num(row['pgsize_bitmap']),
      ias: 48,
      oas: 48,
      coherentWalk: true,
      memory: rig.memory,
      frames: rig.frames,
      flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
      profile: IO_PGTABLE_PROFILES['6.12'],
    });
    if (typeof table === 'number') throw new Error(`table: ${table}`);
    const ops = new PagingDomainOps({ asid: num(row['id']), table, host: driver });
    const flush = new DomainFlushOps(() => {});
    flush.bind(ops, null as unknown as IommuDomain, driver);
    rig.forget();
    const range = { iova: num(row['iova']), size: num(row['size']), granule: num(row['granule']) };
    if (row['call'] === 'range')
      driver.invalidateRange(ops, { ...range, leaf: row['leaf'] === true });
    else if (row['call'] === 'walk') flush.tlbFlushWalk(range.iova, range.size, range.granule);
    else if (row['call'] === 'all') ops.flushIotlbAll();
    else if (row['call'] === 'sync') {
      const gather = new IotlbGather();
      if (row['pgsize'] !== undefined) {
        gather.start = num(row['start']);
        gather.end = Number(big(row['end']) + 1n);
        gather.pgsize = num(row['pgsize']);
      }
      ops.iotlbSync(gather);
    } else throw new Error(`call ${row['call']}`);
    table.free();
    return [issuesOf(rig), recordedIssues(row)];
  });
}

function withoutVmid(cmd: unknown): unknown {
  if (cmd === undefined) return undefined;
  const [q0, q1] = cmd as [string, string];
  return [`0x${(BigInt(q0) & ~0xffff_0000_0000n).toString(16)}`, q1];
}

/** Single commands of 6.12. */
export function runCommands(file: VectorFile): Outcome {
  const batch = new CommandBatch();
  return runCases(file.cases, (row) => {
    batch.reset();
    const opcode = num(row['opcode']);
    // Linux gives stage 1 the VMID 0; the vectors have others.
    const want = row['make'] === 'tlbi' ? withoutVmid(row['cmd']) : row['cmd'];
    const got = (words: Uint32Array): readonly [unknown, unknown] => [
      [`0x${lane(words, 0).toString(16)}`, `0x${lane(words, 1).toString(16)}`],
      want,
    ];
    const sid = num(row['sid']);
    if (want === undefined) return 'refused by the builder';
    switch (row['make']) {
      case 'prefetch':
        batch.prefetchConfig(sid);
        return got(batch.words);
      case 'cfgi':
        if (opcode === 4) batch.cfgiAll();
        else if (row['leaf'] !== true) return 'CFGI with leaf = 0';
        else if (opcode === 3) batch.cfgiSte(sid);
        else if (opcode === 5) batch.cfgiCd(sid, Number(big(row['ssid']) & 0xfffffn));
        else return 'CFGI_CD_ALL';
        return got(batch.words);
      case 'tlbi':
        if (opcode === 0x11) batch.tlbiNhAsid(num(row['asid']));
        else if (opcode === 0x12)
          batch.tlbiNhVa({
            asid: num(row['asid']),
            address: Number(big(row['addr']) & ~0xfffn),
            num: num(row['num']) + 1,
            scale: num(row['scale']),
            tg: num(row['tg']),
            ttl: num(row['ttl']),
            leaf: row['leaf'] === true ? 1 : 0,
          });
        else if (opcode === 0x30) batch.tlbiNsnhAll();
        else if (opcode === 0x20) batch.tlbiEl2All();
        else return 'TLBI of stage 2 or EL2';
        return got(batch.words);
      case 'cmd_sync':
      case 'sync':
        if (names(row['options']).includes('MSIPOLL')) return 'MSIPOLL';
        if (row['secondary'] === true) return 'secondary queue';
        if (row['msiaddr'] !== undefined) return 'MSIPOLL';
        return got(SYNC_WORDS);
      case 'atc':
      case 'atc_range':
        return 'ATS';
      case 'pri':
        return 'PRI';
      case 'resume':
        return 'stalls';
      default:
        return `make ${row['make']}`;
    }
  });
}

function lane(words: ArrayLike<number>, q: number): bigint {
  return BigInt(words[q * 2] ?? 0) + (BigInt(words[q * 2 + 1] ?? 0) << 32n);
}

/** Doublewords with trailing zeros left out, as the vectors have them. */
function trimmed(words: ArrayLike<number>, mask: readonly bigint[] = []): string[] {
  const all = Array.from({ length: words.length / 2 }, (_, q) => lane(words, q) & (mask[q] ?? ~0n));
  while (all.length > 0 && all.at(-1) === 0n) all.pop();
  return all.map((word) => `0x${word.toString(16)}`);
}

function laned(words: readonly string[]): Uint32Array {
  const lanes = new Uint32Array(16);
  words.forEach((word, q) => {
    lanes[q * 2] = Number(BigInt(word) & 0xffff_ffffn);
    lanes[q * 2 + 1] = Number(BigInt(word) >> 32n);
  });
  return lanes;
}

// MEV (bit 19) and S2FWB (bit 25) of doubleword 1 came after 6.12.
const USED_IN_612 = [~0n, ~((1n << 19n) | (1n << 25n))];

/** Builders and used-bit masks; the file is of 7.3. */
export function runBuilders(file: VectorFile): Outcome {
  return runCases(file.cases, (row) => {
    const features = names(row['features']);
    const used = (
      of: (entry: Uint32Array, into: Uint32Array) => void,
      entry: Uint32Array,
      mask: readonly bigint[],
    ): readonly [unknown, unknown] => {
      const bits = new Uint32Array(16);
      of(entry, bits);
      return [trimmed(bits), trimmed(laned(row['used'] as string[]), mask)];
    };
    const both = (
      entry: Uint32Array,
      of: (entry: Uint32Array, into: Uint32Array) => void,
      mask: readonly bigint[],
    ): readonly [unknown, unknown] => {
      const [got, want] = used(of, entry, mask);
      return [
        [trimmed(entry), got],
        [row['data'], want],
      ];
    };
    switch (row['op']) {
      case 'used': {
        const entry = laned(row['data'] as string[]);
        return row['entry'] === 'ste'
          ? used(steUsedBits, entry, USED_IN_612)
          : used(cdUsedBits, entry, []);
      }
      case 'l1desc': {
        const view = new WordMap();
        const l2ptr = Number(big(row['l2ptr']) & 0xf_ffff_ffff_ffc0n);
        const at = [0x1000, l2ptr];
        const table = StreamTable.create({
          memory: view,
          source: { alloc: () => at.shift() ?? -1, free() {} },
          log: () => {},
          sidBits: 9,
          twoLevel: true,
        });
        if (typeof table === 'number') throw new Error('table');
        table.ensure(0);
        return [`0x${view.word(0x1000).toString(16)}`, row['ste_l1']];
      }
      case 'ste':
        if (row['builder'] === 'abort') return both(abortSte(), steUsedBits, USED_IN_612);
        if (row['builder'] === 'bypass')
          return both(bypassSte(features.includes('ATTR_TYPES_OVR')), steUsedBits, USED_IN_612);
        if (row['builder'] !== 'cdtable') return 'stage 2';
        if (row['ats'] !== undefined) return 'ATS';
        if (features.includes('E2H')) return 'E2H';
        if (row['s1dss'] !== 2 || num(row['s1fmt']) !== 0 || num(row['s1cdmax']) !== 0)
          return 'substreams';
        return both(
          cdTableSte(Number(big(row['cdtab_dma']) & 0xf_ffff_ffff_ffc0n), {
            s1Stalld: features.includes('STALLS') && row['stall'] === undefined,
          }),
          steUsedBits,
          USED_IN_612,
        );
      default: {
        if (row['builder'] === 'sva') return 'SVA';
        if (names(row['quirks']).includes('ARM_HD')) return 'hardware dirty tracking';
        const tcr = row['tcr'] as Record<'ips' | 'tg' | 'sh' | 'orgn' | 'irgn' | 'tsz', number>;
        const mair = big(row['mair']);
        return both(
          stageOneCd(
            {
              ...tcr,
              ttbr: Number(big(row['ttbr']) & 0xf_ffff_ffff_fff0n),
              mair: { lo: Number(mair & 0xffff_ffffn), hi: Number(mair >> 32n) },
            },
            num(row['asid']),
            { stall: row['stall'] !== undefined },
          ),
          cdUsedBits,
          [],
        );
      }
    }
  });
}

/** Writes of entries: every pair of 7.3, with the states of 6.12 where they differ. */
export function runEntryWrites(since73: VectorFile, in612: VectorFile): Outcome {
  const changed = new Map(
    in612.cases.map((row) => [`${row['entry']} ${row['from']} ${row['to']}`, row]),
  );
  const memory = new PhysicalMemory([{ base: 0x1000, size: 0x1000 }]);
  const unused = new Set(changed.keys());
  const outcome = runCases(since73.cases, (listed) => {
    if (listed['op'] === 'install') return 'installs of entries that the driver cannot attach';
    const key = `${listed['entry']} ${listed['from']} ${listed['to']}`;
    const row = changed.get(key) ?? listed;
    unused.delete(key);
    if (/nested|fwb/.test(`${row['from']} ${row['to']}`)) return 'nested, S2FWB: not in 6.12';
    const kinds = (row['entry'] === 'ste' ? since73.ste_kinds : since73.cd_kinds) ?? {};
    const from = laned(kinds[row['from'] as string] ?? []);
    const to = laned(kinds[row['to'] as string] ?? []);
    for (let q = 0; q < 8; q++)
      memory.store64(0x1000 + q * 8, from[q * 2] as number, from[q * 2 + 1] as number);
    const states: string[][] = [];
    const read = (): string[] => {
      const now = new Uint32Array(16);
      for (let q = 0; q < 8; q++) {
        now[q * 2] = memory.load64(0x1000 + q * 8);
        now[q * 2 + 1] = memory.hi;
      }
      return trimmed(now);
    };
    const usedBits = row['entry'] === 'ste' ? steUsedBits : cdUsedBits;
    const sync = (): void => void states.push(read());
    const n = writeEntry({ memory, pa: 0x1000, usedBits, sync }, to);
    return [
      [n, states, read()],
      [num(row['n']), row['syncs'] ?? [], trimmed(to)],
    ];
  });
  for (const key of unused) outcome.mismatches.push(`no pair ${key}`);
  return outcome;
}

/** Events of 6.12: what is printed. */
export function runEvents(file: VectorFile): Outcome {
  let answer = false;
  const rig = new Rig({ onEvent: () => answer });
  const driver = rig.up();
  return runCases(file.cases, (row) => {
    if (row['op'] === 'pri') return 'PRI';
    if (row['op'] === 'gerror') return 'global errors';
    rig.forget();
    rig.platform.clock.advance(10_000_000);
    answer = row['handle'] === undefined;
    rig.smmu.publish((row['record'] as string[]).map(BigInt));
    driver.evtq.thread();
    return [rig.log.map(({ level, text }) => [level, text]), row['log'] ?? []];
  });
}

/** Memory of single doublewords anywhere. */
class WordMap implements MemoryView {
  hi = 0;
  readonly #words = new Map<number, readonly [number, number]>();
  word(pa: number): bigint {
    const [lo, hi] = this.#words.get(pa) ?? [0, 0];
    return BigInt(lo) + (BigInt(hi) << 32n);
  }
  load64(pa: number): number {
    const [lo, hi] = this.#words.get(pa) ?? [0, 0];
    this.hi = hi;
    return lo;
  }
  store64(pa: number, lo: number, hi: number): void {
    this.#words.set(pa, [lo, hi]);
  }
  cas64(): boolean {
    return false;
  }
  load32(): number {
    return 0;
  }
  store32(): void {}
  clean(): void {}
  isBacked(): boolean {
    return true;
  }
  lanes(): undefined {
    return undefined;
  }
  readonly blockBytes = 4096;
  block(): undefined {
    return undefined;
  }
}
