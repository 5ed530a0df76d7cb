import { type MemoryView, PhysicalMemory } from '@iommukit/platform';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IotlbGather,
  type LpaePageTable,
  type PageTableConfig,
  type PageTableQuirks,
} from '../src/index.ts';

// Runs golden vectors of page tables (kinds `io-pgtable` and `io-pgtable-cfg-matrix`) through the product. Every recorded field
// is compared; a field that this file does not know is a mismatch too.

interface RecordedCfg {
  cpu_page_size: string;
  pgsize_bitmap: string;
  ias: number;
  oas: number;
  coherent_walk: boolean;
  quirks: string[];
  table_base: string;
  table_stride?: string;
}
interface RecordedResult {
  pgsize_bitmap: string;
  ias: number;
  oas: number;
  quirks: string;
  start_level: number;
  bits_per_level: number;
  pgd_entries: number;
  pgd_bytes: string;
  ttbr: { table: number; raw: string };
  tcr: Record<string, number>;
  mair: string;
}
type Call = (string | number)[];
// biome-ignore lint/suspicious/noExplicitAny: rows of foreign JSON, read field by field
type Row = Record<string, any>;

export interface Outcome {
  ops: number;
  compared: number;
  mismatches: string[];
}

const QUIRKS: Record<string, keyof PageTableQuirks | undefined> = {
  ARM_TTBR1: 'ttbr1',
  ARM_HD: 'hd',
  ARM_NS: 'ns',
  NO_WARN: 'noWarn',
  ARM_OUTER_WBWA: 'outerWbwa',
};
const QUIRK_BITS: Record<string, number> = {
  ARM_NS: 0,
  ARM_TTBR1: 5,
  ARM_OUTER_WBWA: 6,
  ARM_HD: 7,
  NO_WARN: 9,
};
const DBM = 1n << 51n;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const word = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);

function exact(text: string): number {
  const value = Number(text);
  if (BigInt(value) !== BigInt(text)) throw new Error(`${text} is no exact number`);
  return value;
}

function quirksOf(names: readonly string[]): PageTableQuirks {
  // Names the product does not have pass through, so that it has to refuse them.
  return Object.fromEntries(names.map((name) => [QUIRKS[name] ?? name, true]));
}

/** Table memory at the addresses of the recording, and everything that was asked of the outside. */
class Outside {
  readonly memory: PhysicalMemory;
  readonly view: MemoryView;
  readonly live = new Map<number, { pa: number; bytes: number }>();
  calls: Call[] = [];
  failIn = 0;
  readonly #cfg: RecordedCfg;
  readonly #base: number;
  readonly #stride: number;
  readonly #fresh = new Set<number>();
  #count = 0;

  constructor(cfg: RecordedCfg) {
    this.#cfg = cfg;
    this.#base = exact(cfg.table_base);
    this.#stride = exact(cfg.table_stride ?? '0x1000');
    const memory = new PhysicalMemory([{ base: this.#base, size: 0x1000_0000 }]);
    this.memory = memory;
    this.view = {
      get hi() {
        return memory.hi;
      },
      load64: (pa) => memory.load64(pa),
      store64: (pa, lo, hi) => memory.store64(pa, lo, hi),
      cas64: (pa, oldLo, oldHi, lo, hi) => memory.cas64(pa, oldLo, oldHi, lo, hi),
      load32: (pa) => memory.load32(pa),
      store32: (pa, value) => memory.store32(pa, value),
      isBacked: (pa) => memory.isBacked(pa),
      lanes: (pa) => memory.lanes(pa),
      clean: (pa, bytes) => this.#clean(pa, bytes),
    };
  }

  config(profile = IO_PGTABLE_PROFILES['7.3']): PageTableConfig {
    const cfg = this.#cfg;
    return {
      pgsizeBitmap: exact(cfg.pgsize_bitmap),
      ias: cfg.ias,
      oas: cfg.oas,
      coherentWalk: cfg.coherent_walk,
      quirks: quirksOf(cfg.quirks),
      cpuPageSize: exact(cfg.cpu_page_size),
      memory: this.view,
      frames: { alloc: (bytes) => this.#alloc(bytes), free: (pa) => this.#free(pa) },
      flush: {
        tlbFlushAll: () => this.calls.push(['tlb_flush_all']),
        tlbFlushWalk: (iova, size, granule) =>
          this.calls.push(['tlb_flush_walk', hex(iova), hex(size), hex(granule)]),
        tlbAddPage: (_gather, iova, granule, count) =>
          this.calls.push(['tlb_add_page', hex(iova), hex(granule), count]),
      },
      profile,
    };
  }

  paOf(table: number): number {
    return table === 0 ? this.#base : this.#base + 0x10_0000 + (table - 1) * this.#stride;
  }

  tableOf(pa: number): number {
    return pa < this.#base + 0x10_0000
      ? 0
      : Math.floor((pa - this.#base - 0x10_0000) / this.#stride) + 1;
  }

  #alloc(bytes: number): number {
    if (this.failIn > 0 && --this.failIn === 0) {
      this.calls.push(['alloc_fail']);
      return -1;
    }
    const table = this.#count++;
    const pa = this.paOf(table);
    this.live.set(table, { pa, bytes });
    this.#fresh.add(table);
    this.calls.push(['alloc', table, hex(bytes)]);
    // What the last user left, so that a table that was not zeroed shows.
    for (let at = 0; at < bytes; at += 8) this.memory.store64(pa + at, 0xdead_beef, 0xdead_beef);
    return pa;
  }

  #free(pa: number): void {
    const table = this.tableOf(pa);
    const bytes = this.live.get(table)?.bytes ?? 0;
    if (!this.#cfg.coherent_walk) this.calls.push(['dma_unmap', table, this.#pages(bytes)]);
    this.calls.push(['free', table]);
    if (!this.live.delete(table)) this.calls.push(['double free', table]);
  }

  #clean(pa: number, bytes: number): void {
    const table = this.tableOf(pa);
    if (this.#fresh.delete(table)) this.calls.push(['dma_map', table, this.#pages(bytes)]);
    else this.calls.push(['sync', table, hex(pa - this.paOf(table)), hex(bytes)]);
  }

  #pages(bytes: number): string {
    const page = exact(this.#cfg.cpu_page_size);
    return hex(Math.ceil(bytes / page) * page);
  }

  /** A table entry's address bits. */
  packed(table: number): bigint {
    const pa = BigInt(this.paOf(table));
    return (pa | (pa >> 36n)) & 0xffff_ffff_f000n;
  }

  /** The number of the table that an entry points to. */
  linked(entry: bigint, wide: boolean): number {
    const pa = wide
      ? (entry & 0xffff_ffff_0000n) | ((entry & 0xf000n) << 36n)
      : entry & 0xffff_ffff_f000n;
    return this.tableOf(Number(pa));
  }
}

function resultOf(table: LpaePageTable, cfg: RecordedCfg, out: Outside): RecordedResult {
  const { geometry, tcr, mair } = table;
  const quirks = cfg.quirks.reduce((sum, name) => sum + 2 ** (QUIRK_BITS[name] ?? 63), 0);
  return {
    pgsize_bitmap: hex(table.pgsizeBitmap),
    ias: geometry.ias,
    oas: geometry.oas,
    quirks: hex(quirks),
    start_level: geometry.startLevel,
    bits_per_level: geometry.bitsPerLevel,
    pgd_entries: geometry.topEntries,
    pgd_bytes: hex(geometry.topEntries * 8),
    ttbr: { table: out.tableOf(table.ttbr), raw: hex(table.ttbr) },
    tcr: { ips: tcr.ips, tg: tcr.tg, sh: tcr.sh, orgn: tcr.orgn, irgn: tcr.irgn, tsz: tcr.tsz },
    mair: hex(word(mair.lo, mair.hi)),
  };
}

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => same((a as Row)[key], (b as Row)[key]))
  );
}

/** All live tables by number, with their entries expanded, from memory alone. */
function tablesOf(table: LpaePageTable, out: Outside): Map<number, [number, Map<number, bigint>]> {
  const { granule, startLevel, topEntries } = table.geometry;
  const found = new Map<number, [number, Map<number, bigint>]>();
  const visit = (number: number, level: number, count: number): void => {
    const entries = new Map<number, bigint>();
    found.set(number, [level, entries]);
    for (let i = 0; i < count; i++) {
      const lo = out.memory.load64(out.paOf(number) + i * 8);
      const entry = word(lo, out.memory.hi);
      if (entry === 0n) continue;
      entries.set(i, entry);
      if (level < 3 && (entry & 3n) === 3n)
        visit(out.linked(entry, granule === 0x1_0000), level + 1, granule / 8);
    }
  };
  visit(0, startLevel, topEntries);
  return found;
}

function expand(recorded: Row[]): Map<number, bigint> {
  const entries = new Map<number, bigint>();
  for (const [index, value, count = 1, step = '0x0'] of recorded as [
    number,
    Row | string,
    number?,
    string?,
  ][])
    for (let i = 0; i < count; i++)
      entries.set(
        index + i,
        BigInt(typeof value === 'string' ? value : value['raw']) + BigInt(i) * BigInt(step),
      );
  return entries;
}

function hwDirty(table: LpaePageTable, out: Outside, iova: bigint): Row {
  let level = 0;
  let entry = 0n;
  let at = 0;
  let pa = table.ttbr;
  const { geometry } = table;
  table.walk(Number(iova & ~0xfffn), (l, lo, hi) => {
    const mask = l === geometry.startLevel ? geometry.topEntries - 1 : geometry.granule / 8 - 1;
    level = l;
    entry = word(lo, hi);
    at = pa + Number((iova / BigInt(geometry.entrySizes[l] as number)) & BigInt(mask)) * 8;
    if (l < 3 && (entry & 3n) === 3n)
      pa = out.paOf(out.linked(entry, geometry.granule === 0x1_0000));
  });
  const leaf = (entry & 3n) === (level === 3 ? 3n : 1n);
  // As recorded: a write through a leaf that was dirty already counts as a change too.
  const changed = leaf && (entry & DBM) !== 0n;
  if (changed) {
    entry &= ~0x80n;
    out.memory.store64(at, Number(entry & 0xffff_ffffn), Number(entry >> 32n));
  }
  return { changed: changed ? 1 : 0, level, pte: hex(entry) };
}

function runOp(table: LpaePageTable, out: Outside, op: Row): Row {
  const got: Row = {};
  switch (op['op']) {
    case 'map': {
      out.failIn = op['fail_alloc'] ?? 0;
      const errno = table.mapPages(
        exact(op['iova']),
        exact(op['paddr']),
        exact(op['pgsize']),
        op['pgcount'],
        op['prot'],
      );
      out.failIn = 0;
      got['ret'] = { errno, mapped: hex(table.mapped) };
      break;
    }
    case 'unmap': {
      const gather = op['gather'] === 'none' ? null : new IotlbGather();
      if (gather !== null) gather.queued = op['gather'] === 'queued';
      const unmapped = table.unmapPages(
        exact(op['iova']),
        exact(op['pgsize']),
        op['pgcount'],
        gather,
      );
      got['ret'] = { unmapped: hex(unmapped) };
      break;
    }
    case 'iova_to_phys': {
      const iova = BigInt(op['iova']);
      const wide = table.iovaToPhys64({ lo: Number(iova & 0xffff_ffffn), hi: Number(iova >> 32n) });
      got['ret'] = hex(wide);
      if (iova < 2n ** 53n && table.iovaToPhys(Number(iova)) !== wide)
        got['ret'] = 'number form differs';
      break;
    }
    case 'pgtable_walk': {
      const ptes = [0n, 0n, 0n, 0n];
      const errno = table.walk(Number(BigInt(op['iova']) & ~0xfffn), (level, lo, hi) => {
        ptes[level] = word(lo, hi);
      });
      got['ret'] = { errno, ptes: ptes.map(hex) };
      break;
    }
    case 'read_and_clear_dirty': {
      const dirty: string[][] = [];
      const options = { noClear: op['flags'] === 1 };
      const errno = table.readAndClearDirty(
        exact(op['iova']),
        exact(op['size']),
        options,
        (iova, bytes) => dirty.push([hex(iova), hex(bytes)]),
      );
      got['ret'] = { errno };
      got['dirty'] = dirty;
      break;
    }
    case 'hw_dirty':
      got['ret'] = hwDirty(table, out, BigInt(op['iova']));
      break;
    case 'free':
      table.free();
      got['ret'] = { tables_left: out.live.size };
      break;
    default:
      got['ret'] = 'unknown operation';
  }
  return got;
}

const INPUTS = [
  'op',
  'iova',
  'paddr',
  'pgsize',
  'pgcount',
  'prot',
  'fail_alloc',
  'gather',
  'size',
  'flags',
];

/** Runs one file of kind `io-pgtable`. */
export function runSequence(file: Row): Outcome {
  const outcome: Outcome = { ops: 0, compared: 0, mismatches: [] };
  const check = (what: string, got: unknown, want: unknown): void => {
    outcome.compared++;
    if (!same(got, want))
      outcome.mismatches.push(`${what}: got ${JSON.stringify(got)} want ${JSON.stringify(want)}`);
  };
  const cfg: RecordedCfg = file['cfg'];
  const out = new Outside(cfg);
  const table = createPageTable(arm64LpaeS1, out.config());
  if (typeof table === 'number') {
    outcome.mismatches.push(`creation failed: ${table}`);
    return outcome;
  }
  check('init', resultOf(table, cfg, out), file['init'].result);
  check('init calls', out.calls, file['init'].calls);
  for (const [i, op] of (file['ops'] as Row[]).entries()) {
    outcome.ops++;
    const name = `${file['name']} #${i} ${op['op']} ${op['iova'] ?? ''}`;
    if (op['op'] === 'checkpoint') {
      const found = tablesOf(table, out);
      check(
        `${name} live`,
        [...out.live.keys()].sort((a, b) => a - b),
        [...found.keys()].sort((a, b) => a - b),
      );
      check(`${name} count`, found.size, op['tables'].length);
      for (const [number, level, entries] of op['tables'] as [number, number, Row[]][]) {
        const [gotLevel, got] = found.get(number) ?? [-1, new Map<number, bigint>()];
        const want = expand(entries);
        check(`${name} table ${number}`, [gotLevel, got.size], [level, want.size]);
        for (const [index, value] of want)
          check(`${name} table ${number}[${index}]`, hex(got.get(index) ?? -1n), hex(value));
      }
      continue;
    }
    out.calls = [];
    const warnings = table.warnings;
    const got = runOp(table, out, op);
    if (out.calls.length > 0) got['calls'] = out.calls;
    if (table.warnings > warnings) got['warns'] = table.warnings - warnings;
    const want: Row = Object.fromEntries(
      Object.entries(op).filter(([key]) => !INPUTS.includes(key)),
    );
    if (op['op'] === 'pgtable_walk')
      want['ret'] = {
        ...op['ret'],
        ptes: op['ret'].ptes.map((pte: Row | string) =>
          typeof pte === 'string' ? pte : hex(BigInt(pte['attrs']) | out.packed(pte['table'])),
        ),
      };
    for (const key of new Set([...Object.keys(got), ...Object.keys(want)]))
      check(`${name} ${key}`, got[key], want[key]);
  }
  return outcome;
}

/** Runs the rows of this package's formats of a file of kind `io-pgtable-cfg-matrix`. */
export function runMatrix(file: Row): Outcome {
  const outcome: Outcome = { ops: 0, compared: 0, mismatches: [] };
  for (const [i, row] of (file['cases'] as Row[]).entries()) {
    if (row['format'] !== arm64LpaeS1.name) continue;
    outcome.ops++;
    const out = new Outside(row['cfg']);
    const table = createPageTable(arm64LpaeS1, out.config());
    const got = {
      result: typeof table === 'number' ? null : resultOf(table, row['cfg'], out),
      warns: typeof table === 'number' ? 0 : table.warnings,
      allocs: out.calls.filter(([name]) => name === 'alloc').map((call) => Number(call[2])),
    };
    const want = { result: row['result'], warns: row['warns'] ?? 0, allocs: row['allocs'] ?? [] };
    for (const key of ['result', 'warns', 'allocs'] as const) {
      outcome.compared++;
      if (!same(got[key], want[key]))
        outcome.mismatches.push(
          `case ${i} ${key}: got ${JSON.stringify(got[key])} want ${JSON.stringify(want[key])} cfg ${JSON.stringify(row['cfg'])}`,
        );
    }
  }
  return outcome;
}
