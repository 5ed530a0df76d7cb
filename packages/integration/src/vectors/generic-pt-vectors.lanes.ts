import { IommuError } from '@iommukit/bits';
import {
  type GenericPageTable,
  IotlbGather,
  type WalkEntry,
  walkTable,
} from '@iommukit/io-pgtable';
import { countOf, listOf, openGenericPt, rowOf } from './generic-pt-init.ts';
import { type GenericPtTables, inclusiveEnd } from './generic-pt-tables.ts';
import type { VectorTally } from './vector-tally.ts';
import { ascending, hex, type JsonRow, VectorError, wordOf } from './vector-values.lanes.ts';

// Runs recordings of kind `generic-pt`. Every recorded field is compared; a field that this file does not know is a mismatch too.

/** Fields of each operation that are not results. */
const INPUTS: Readonly<Record<string, readonly string[]>> = {
  map: ['op', 'iova', 'paddr', 'len', 'prot', 'fail_alloc', 'fail_dma_map'],
  unmap: ['op', 'iova', 'len', 'queued', 'hold'],
  iova_to_phys: ['op', 'iova'],
  read_and_clear_dirty: ['op', 'iova', 'size', 'flags', 'bitmap'],
  set_dirty: ['op', 'iova'],
  hw_dirty: ['op', 'iova'],
  checkpoint: ['op'],
  free: ['op'],
};

const NO_CLEAR = 1n;

/** What a device sets when it writes through a leaf that permits it, and how it sees that. */
const DEVICE_WRITES: Readonly<Record<string, { permit: bigint; set: bigint }>> = {
  amdv1: { permit: 1n << 62n, set: (1n << 5n) | (1n << 6n) },
  amdv1_mock: { permit: 1n << 62n, set: (1n << 5n) | (1n << 6n) },
  vtdss: { permit: 1n << 1n, set: (1n << 8n) | (1n << 9n) },
};

/** A page table of a recording, which runs the operations and answers in the words of the recording. */
export class GenericPtRun {
  readonly #format: string;
  readonly #table: GenericPageTable<unknown>;
  readonly #tables: GenericPtTables;
  readonly #granule: bigint;
  /** The gather that the caller has open. */
  #gather: IotlbGather | undefined;
  #where = '';

  constructor(format: string, table: GenericPageTable<unknown>, tables: GenericPtTables) {
    this.#format = format;
    this.#table = table;
    this.#tables = tables;
    this.#granule = BigInt(table.entrySpan(0));
  }

  /** Runs one operation and returns its results in the words of the recording. */
  run(op: JsonRow, where: string): JsonRow {
    this.#where = where;
    const tables = this.#tables;
    const { warnings } = this.#table;
    tables.calls = [];
    tables.failAlloc = countOf(op, 'fail_alloc', where, 0);
    tables.failDmaMap = countOf(op, 'fail_dma_map', where, 0);
    const got = this.#results(op);
    if (tables.calls.length > 0) got['calls'] = tables.calls;
    if (this.#table.warnings > warnings) got['warns'] = this.#table.warnings - warnings;
    tables.failAlloc = 0;
    tables.failDmaMap = 0;
    if (op['op'] === 'unmap' && !op['hold']) this.#endGather();
    return got;
  }

  checkpoint(op: JsonRow, index: number, tally: VectorTally): void {
    const found = this.#tables.reachable(this.#table.shape);
    const waiting = (this.#gather?.freelist ?? []).map((pa) => this.#tables.tableOf(pa));
    tally.check(
      index,
      'live tables',
      ascending(this.#tables.live),
      ascending([...found.keys(), ...waiting]),
    );
    const recorded = listOf(op, 'tables', this.#where);
    tally.check(
      index,
      'tables',
      ascending(found.keys()),
      recorded.map((row) => row[0]),
    );
    for (const row of recorded) {
      const [number, level, rows] = row as unknown as [number, number, unknown];
      if (!Array.isArray(rows))
        throw new VectorError(`${this.#where}.tables`, '[number, level, entries]', row);
      const got = found.get(number);
      const want = this.#expand(rows);
      tally.check(index, `level of table ${number}`, got?.level, level);
      tally.check(index, `used entries of table ${number}`, got?.entries.size, want.size);
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
        return { ret: this.#iovaToPhys(this.#wide(op, 'iova')) };
      case 'read_and_clear_dirty':
        return this.#readDirty(op);
      case 'set_dirty':
        return { ret: { errno: this.#table.setDirty(this.#page(op)) } };
      case 'hw_dirty':
        return { ret: this.#hwDirty(this.#page(op)) };
      default:
        this.#endGather();
        this.#tables.calls = [];
        this.#table.free();
        return { ret: { tables_left: this.#tables.live.size } };
    }
  }

  #map(op: JsonRow): JsonRow {
    const table = this.#table;
    const iova = this.#number(op, 'iova');
    const errno = table.map(
      iova,
      this.#number(op, 'paddr'),
      this.#number(op, 'len'),
      countOf(op, 'prot', this.#where),
    );
    const got: JsonRow = { ret: { errno, mapped: hex(table.mapped) } };
    if (table.mapped > 0) got['pages'] = this.#pages(iova, table.mapped);
    return got;
  }

  /** The pages of [iova, iova + bytes) by size, as somebody sees them who walks the tables. */
  #pages(iova: number, bytes: number): [number, number][] {
    const { shape } = this.#table;
    const pages: [number, number][] = [];
    for (let done = 0; done < bytes; ) {
      let size = 0;
      const kind = walkTable(this.#tables.memory, shape, iova + done, ({ level, lo, hi }) => {
        size = shape.kind(level, lo, hi) === 'leaf' ? shape.leafSize(level, lo, hi) : 0;
      });
      if (kind !== 'leaf') break;
      const last = pages.at(-1);
      if (last?.[0] === Math.log2(size)) last[1]++;
      else pages.push([Math.log2(size), 1]);
      done += size;
    }
    return pages;
  }

  #unmap(op: JsonRow): JsonRow {
    if (this.#gather === undefined) {
      this.#gather = new IotlbGather();
      this.#gather.queued = op['queued'] === true;
    }
    const gather = this.#gather;
    const len = this.#wide(op, 'len');
    // An end inside the smallest page takes that page; a double may not hold it.
    const unmapped = this.#table.unmap(
      this.#number(op, 'iova'),
      Number.isSafeInteger(Number(len)) ? Number(len) : Number(this.#roundUp(len)),
      gather,
    );
    return { ret: { unmapped: hex(unmapped) }, gather: this.#gathered(gather) };
  }

  #iovaToPhys(iova: bigint): string {
    const { lo, hi } = this.#table.iovaToPhys64({
      lo: Number(BigInt.asUintN(32, iova)),
      hi: Number(iova >> 32n),
    });
    return hex(wordOf(lo, hi));
  }

  #readDirty(op: JsonRow): JsonRow {
    const dirty: [string, string][] = [];
    const gather = new IotlbGather();
    const flags = BigInt(countOf(op, 'flags', this.#where));
    const errno = this.#table.readAndClearDirty(
      this.#number(op, 'iova'),
      this.#number(op, 'size'),
      { noClear: (flags & NO_CLEAR) !== 0n, gather },
      op['bitmap'] === 'none' ? null : (iova, bytes) => dirty.push([hex(BigInt(iova)), hex(bytes)]),
    );
    const got: JsonRow = { dirty, ret: { errno } };
    if (gather.end !== 0) got['gather'] = this.#gathered(gather);
    return got;
  }

  #hwDirty(iova: number): JsonRow {
    const { memory } = this.#tables;
    const writes = DEVICE_WRITES[this.#format];
    let last: WalkEntry | undefined;
    const kind = walkTable(memory, this.#table.shape, iova, (entry) => {
      last = { ...entry };
    });
    if (last === undefined) return {};
    const { at, lo, hi, level } = last;
    let pte = wordOf(lo, hi);
    const changed = kind === 'leaf' && writes !== undefined && (pte & writes.permit) !== 0n;
    if (changed) {
      pte |= writes.set;
      memory.store64(at, Number(BigInt.asUintN(32, pte)), Number(pte >> 32n));
    }
    return { changed: changed ? 1 : 0, level, pte: hex(pte) };
  }

  #gathered(gather: IotlbGather): JsonRow {
    const got: JsonRow = { start: hex(gatherStart(gather)), end: gatherEnd(gather) };
    if (this.#table.features.includes('DETAILED_GATHER')) {
      got['leaf_levels'] = gather.leafLevels;
      got['table_levels'] = gather.tableLevels;
    }
    if (gather.freelist.length > 0)
      got['freelist'] = gather.freelist.map((pa) => this.#tables.tableOf(pa));
    return got;
  }

  /** What the caller does with its gather; not part of the recording. */
  #endGather(): void {
    const gather = this.#gather;
    this.#gather = undefined;
    if (gather === undefined) return;
    const { calls } = this.#tables;
    this.#tables.calls = [];
    if (gather.queued) this.#table.freeTables(gather.freelist);
    else this.#table.syncGather(gather);
    this.#tables.calls = calls;
  }

  #expand(rows: unknown[]): Map<number, bigint> {
    const entries = new Map<number, bigint>();
    for (const row of rows) {
      if (!Array.isArray(row))
        throw new VectorError(`${this.#where}.tables`, '[index, word, ...]', row);
      const [index, value, count = 1, step = '0x0'] = row as [
        number,
        JsonRow | string,
        number?,
        string?,
      ];
      const word = typeof value === 'string' ? value : value?.['raw'];
      if (typeof word !== 'string')
        throw new VectorError(`${this.#where}.tables`, '[index, word, ...]', row);
      for (let i = 0; i < count; i++)
        entries.set(index + i, BigInt(word) + BigInt(i) * BigInt(step));
    }
    return entries;
  }

  #wide(op: JsonRow, key: string): bigint {
    const text: unknown = op[key];
    if (typeof text !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(text))
      throw new VectorError(`${this.#where}.${key}`, 'a string "0x..."', text);
    return BigInt(text);
  }

  #number(op: JsonRow, key: string): number {
    const value = this.#wide(op, key);
    if (BigInt(Number(value)) === value) return Number(value);
    // Not a multiple of the smallest page, and no other property of its low bits matters to what is refused for that.
    return Number(value - (value % this.#granule) + this.#granule / 2n);
  }

  #page(op: JsonRow): number {
    const iova = this.#wide(op, 'iova');
    return Number(iova - (iova % this.#granule));
  }

  #roundUp(len: bigint): bigint {
    return ((len + this.#granule - 1n) / this.#granule) * this.#granule;
  }
}

function gatherStart(gather: IotlbGather): bigint {
  return gather.start === 2 ** 64 ? 2n ** 64n - 1n : BigInt(gather.start);
}

function gatherEnd(gather: IotlbGather): string {
  return gather.end === 0 ? '0x0' : inclusiveEnd(gather.end);
}

/** The recorded results, in the form that `run` returns. */
function wanted(op: JsonRow, inputs: readonly string[]): JsonRow {
  const want: JsonRow = {};
  for (const [key, value] of Object.entries(op)) if (!inputs.includes(key)) want[key] = value;
  if (Array.isArray(want['dirty']))
    want['dirty'] = (want['dirty'] as [string, string, number?][]).flatMap(([iova, bytes, n = 1]) =>
      Array.from({ length: n }, (_, i) => [hex(BigInt(iova) + BigInt(bytes) * BigInt(i)), bytes]),
    );
  return want;
}

/**
 * Runs a file of kind `generic-pt`: results, calls to the outside in order, gathers, pages, warnings, dirty records and the content
 * of all tables. Throws `VectorError` when the file does not hold what its kind says: an unknown format or operation, a missing field.
 * @example runGenericPt(JSON.parse(text), tally); tally.mismatches // 0
 */
export function runGenericPt(file: JsonRow, tally: VectorTally): void {
  const format: unknown = file['format'];
  const at = { operation: -1, where: 'init', tally };
  const cfg = rowOf(file, 'cfg', 'file');
  const { table, tables } = openGenericPt(format, cfg, rowOf(file, 'init', 'file'), at);
  const ops = listOf(file, 'ops', 'file');
  if (table === undefined) {
    if (ops.length > 0) tally.check(-1, 'operations that could run', 0, ops.length);
    return;
  }
  const run = new GenericPtRun(String(format), table, tables);
  for (const [index, op] of ops.entries()) {
    const where = `operation ${index}`;
    const name: unknown = op?.['op'];
    const inputs =
      typeof name === 'string' && Object.hasOwn(INPUTS, name) ? INPUTS[name] : undefined;
    if (inputs === undefined)
      throw new VectorError(`${where}.op`, Object.keys(INPUTS).join(', '), name);
    tally.operations++;
    if (name === 'checkpoint') {
      for (const key of Object.keys(op))
        if (key !== 'op' && key !== 'tables') tally.check(index, key, undefined, op[key]);
      run.checkpoint(op, index, tally);
      continue;
    }
    if (op['ret'] === undefined) throw new VectorError(`${where}.ret`, 'the result', op['ret']);
    let got: JsonRow;
    try {
      got = run.run(op, where);
    } catch (error) {
      if (!(error instanceof IommuError) || error instanceof VectorError) throw error;
      got = { error: error.code };
    }
    const want = wanted(op, inputs);
    tally.checkMembers(index, got, want);
  }
}
