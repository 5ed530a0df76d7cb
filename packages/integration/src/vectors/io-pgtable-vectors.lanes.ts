import {
  type DirtyTracking,
  IotlbGather,
  type PageTable,
  type WalkEntry,
  walkTable,
} from '@iommukit/io-pgtable';
import { RECORDED_FORMATS } from './recorded-formats.ts';
import { RecordedTables } from './recorded-tables.lanes.ts';
import type { VectorTally } from './vector-tally.ts';
import {
  ascending,
  exactNumber,
  hex,
  type JsonRow,
  VectorError,
  wordOf,
} from './vector-values.lanes.ts';

// Runs recordings of kinds `io-pgtable` and `io-pgtable-cfg-matrix`. Every recorded field is compared; a field that this file does
// not know is a mismatch too.

const DBM = 1n << 51n;
const READ_ONLY = 1n << 7n;
const PAGE_OFFSET = 0xfffn;
const EINVAL = -22;

/** Fields of an operation that are not results. */
const INPUTS = new Set([
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
]);

function expand(recorded: [number, JsonRow | string, number?, string?][]): Map<number, bigint> {
  const entries = new Map<number, bigint>();
  for (const [index, value, count = 1, step = '0x0'] of recorded)
    for (let i = 0; i < count; i++)
      entries.set(
        index + i,
        BigInt(typeof value === 'string' ? value : value['raw']) + BigInt(i) * BigInt(step),
      );
  return entries;
}

/** A page table of a recording, which runs the operations and answers in the words of the recording. */
export class IopgtableRun {
  readonly #table: PageTable;
  readonly #tables: RecordedTables;
  #where = '';

  constructor(table: PageTable, tables: RecordedTables) {
    this.#table = table;
    this.#tables = tables;
  }

  /** Runs one operation and returns its results in the words of the recording. */
  run(op: JsonRow, where: string): JsonRow {
    this.#where = where;
    const tables = this.#tables;
    const { warnings } = this.#table;
    tables.calls = [];
    const got = this.#results(op);
    if (tables.calls.length > 0) got['calls'] = tables.calls;
    if (this.#table.warnings > warnings) got['warns'] = this.#table.warnings - warnings;
    return got;
  }

  /** The recorded results, in the form that `run` returns. */
  wanted(op: JsonRow): JsonRow {
    const want: JsonRow = {};
    for (const [key, value] of Object.entries(op)) if (!INPUTS.has(key)) want[key] = value;
    if (op['op'] === 'pgtable_walk') {
      const { shape } = this.#table;
      const ptes = (op['ret'].ptes as (JsonRow | string)[]).map((pte, level) =>
        typeof pte === 'string' || level > shape.leafLevel
          ? pte
          : { table: pte['table'], attrs: pte['attrs'] },
      );
      want['ret'] = { ...op['ret'], ptes };
    }
    return want;
  }

  checkpoint(op: JsonRow, index: number, tally: VectorTally): void {
    const found = this.#tables.reachable(this.#table);
    tally.check(index, 'live tables', ascending(this.#tables.live.keys()), ascending(found.keys()));
    tally.check(index, 'count of tables', found.size, op['tables'].length);
    for (const [number, level, entries] of op['tables']) {
      const got = found.get(number);
      const want = expand(entries);
      tally.check(
        index,
        `level and used entries of table ${number}`,
        [got?.level, got?.entries.size],
        [level, want.size],
      );
      tally.checkEntries(index, number, got?.entries, want);
    }
  }

  #results(op: JsonRow): JsonRow {
    switch (op['op']) {
      case 'map':
        return this.#map(op);
      case 'unmap':
        return this.#unmap(op);
      case 'iova_to_phys':
        return { ret: this.#iovaToPhys(BigInt(op['iova'])) };
      case 'pgtable_walk':
        return { ret: this.#walk(BigInt(op['iova'])) };
      case 'read_and_clear_dirty':
        return this.#readDirty(op);
      case 'hw_dirty':
        return { ret: this.#hwDirty(BigInt(op['iova'])) };
      case 'free':
        this.#table.free();
        return { ret: { tables_left: this.#tables.live.size } };
      default:
        throw new VectorError(this.#where, 'an operation of kind io-pgtable', op['op']);
    }
  }

  /** Splits off what a page-aligned call does not take; calls to the outside get it back. */
  #aligned(text: unknown): number {
    const iova = BigInt(text as string);
    const offset = BigInt(Number(iova)) === iova ? 0n : iova & PAGE_OFFSET;
    this.#tables.unaligned = offset;
    return exactNumber(hex(iova - offset), this.#where);
  }

  #map(op: JsonRow): JsonRow {
    const tables = this.#tables;
    tables.failIn = op['fail_alloc'] ?? 0;
    const errno = this.#table.mapPages(
      this.#aligned(op['iova']),
      // What a double rounds lies far above every output size.
      Number(op['paddr']),
      exactNumber(op['pgsize'], this.#where),
      op['pgcount'],
      op['prot'],
    );
    tables.failIn = 0;
    return { ret: { errno, mapped: hex(this.#table.mapped) } };
  }

  #unmap(op: JsonRow): JsonRow {
    const gather = op['gather'] === 'none' ? null : new IotlbGather();
    if (gather !== null) gather.queued = op['gather'] === 'queued';
    const unmapped = this.#table.unmapPages(
      this.#aligned(op['iova']),
      exactNumber(op['pgsize'], this.#where),
      op['pgcount'],
      gather,
    );
    return { ret: { unmapped: hex(unmapped) } };
  }

  #iovaToPhys(iova: bigint): string {
    const lanes = { lo: Number(iova & 0xffff_ffffn), hi: Number(iova >> 32n) };
    const { lo, hi } = this.#table.iovaToPhys64(lanes);
    const wide = hex(wordOf(lo, hi));
    if (iova >= 2n ** 53n) return wide;
    const narrow = hex(this.#table.iovaToPhys(Number(iova)));
    return narrow === wide ? wide : `${wide} as lanes, ${narrow} as a number`;
  }

  #walk(iova: bigint): JsonRow {
    const { shape } = this.#table;
    const ptes: (string | JsonRow)[] = ['0x0', '0x0', '0x0', '0x0'];
    const kind = this.#visit(iova, ({ level, lo, hi, kind }) => {
      const word = wordOf(lo, hi);
      if (kind !== 'table') {
        ptes[level] = hex(word);
        return;
      }
      const pa = shape.tableAddress(level, lo, hi);
      const address = BigInt(pa) | (BigInt(pa) >> 36n);
      ptes[level] = {
        table: this.#tables.tableOf(pa),
        attrs: hex(word & ~(address & 0xffff_ffff_f000n)),
      };
    });
    return { errno: kind === 'leaf' ? 0 : EINVAL, ptes };
  }

  #readDirty(op: JsonRow): JsonRow {
    const dirty: string[][] = [];
    const tracking = this.#table as PageTable & Partial<DirtyTracking>;
    const errno =
      tracking.readAndClearDirty?.(
        this.#aligned(op['iova']),
        Number(op['size']),
        { noClear: op['flags'] === 1 },
        (iova, bytes) => dirty.push([hex(BigInt(iova) + this.#tables.unaligned), hex(bytes)]),
      ) ?? EINVAL;
    return { ret: { errno }, dirty };
  }

  /** What the device does on a write through a leaf with DBM. */
  #hwDirty(iova: bigint): JsonRow {
    let level = 0;
    let entry = 0n;
    let at = 0;
    const kind = this.#visit(iova, (met) => {
      level = met.level;
      entry = wordOf(met.lo, met.hi);
      at = met.at;
    });
    // As recorded: a write through a leaf that was dirty already counts as a change too.
    const changed = kind === 'leaf' && (entry & DBM) !== 0n;
    if (changed) {
      entry &= ~READ_ONLY;
      this.#tables.memory.store64(at, Number(entry & 0xffff_ffffn), Number(entry >> 32n));
    }
    return { changed: changed ? 1 : 0, level, pte: hex(entry) };
  }

  #visit(iova: bigint, visit: (entry: WalkEntry) => void): string {
    const page = Number(iova & ~PAGE_OFFSET);
    return walkTable(this.#tables.memory, this.#table.shape, page, visit);
  }
}

/** Runs one recording of kind `io-pgtable`. */
export function runIoPgtable(file: JsonRow, tally: VectorTally): void {
  const open = RECORDED_FORMATS[file['format']];
  if (open === undefined) throw new VectorError('format', 'a page-table format', file['format']);
  const tables = new RecordedTables(file['format'], file['cfg']);
  const opened = open(
    tables.config(() => {}),
    file['cfg'],
    tables,
  );
  tally.check(-1, 'init result', opened?.result ?? null, file['init'].result);
  tally.check(-1, 'init calls', tables.calls, file['init'].calls ?? []);
  if (opened === undefined) return;
  const run = new IopgtableRun(opened.table, tables);
  for (const [i, op] of (file['ops'] as JsonRow[]).entries()) {
    tally.operations++;
    if (op['op'] === 'checkpoint') {
      run.checkpoint(op, i, tally);
      continue;
    }
    const want = run.wanted(op);
    const got = run.run(op, `operation ${i}`);
    tally.checkMembers(i, got, want, (key) => `${op['op']} ${key}`);
  }
}

/** Runs one file of kind `io-pgtable-cfg-matrix`. */
export function runIoPgtableMatrix(file: JsonRow, tally: VectorTally): void {
  for (const [i, row] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    const open = RECORDED_FORMATS[row['format']];
    if (open === undefined)
      throw new VectorError(`case ${i}`, 'a page-table format', row['format']);
    const tables = new RecordedTables(row['format'], row['cfg']);
    let warnings = 0;
    const opened = open(
      tables.config(() => {
        warnings++;
      }),
      row['cfg'],
      tables,
    );
    tally.check(i, 'result', opened?.result ?? null, row['result']);
    tally.check(i, 'warns', warnings, row['warns'] ?? 0);
    const allocs = tables.calls.filter(([name]) => name === 'alloc').map((call) => Number(call[2]));
    tally.check(i, 'allocs', allocs, row['allocs'] ?? []);
  }
}
