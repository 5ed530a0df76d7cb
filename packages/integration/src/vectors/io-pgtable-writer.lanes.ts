import type { PageTable } from '@iommukit/io-pgtable';
import type { Prng } from '@iommukit/platform';
import { writeCheckpoint } from './checkpoint-writer.lanes.ts';
import { IopgtableRun } from './io-pgtable-vectors.lanes.ts';
import { RECORDED_FORMATS } from './recorded-formats.ts';
import { RecordedTables } from './recorded-tables.lanes.ts';
import { hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

// Makes vectors of kind `io-pgtable` from what our page tables do.

interface WrittenFormat {
  readonly cfg: JsonRow;
  /** The bits of a table descriptor that carry its table's address. */
  readonly addressBits: (pa: bigint) => bigint;
  /** The kernel has `pgtable_walk` for the long-descriptor family alone. */
  readonly walks: boolean;
  /** DART tables are refused without a coherent walk. */
  readonly coherentOnly?: true;
}

function config(
  pgsizeBitmap: string,
  ias: number,
  oas: number,
  base: string,
  stride: string,
): JsonRow {
  return {
    cpu_page_size: '0x1000',
    pgsize_bitmap: pgsizeBitmap,
    ias,
    oas,
    coherent_walk: true,
    quirks: [],
    table_base: base,
    table_stride: stride,
  };
}

function lpae(ias: number, oas: number): WrittenFormat {
  return {
    cfg: config('0x40201000', ias, oas, '0x80000000', '0x1000'),
    addressBits: (pa) => pa,
    walks: true,
  };
}

/** What is asked of each format that can be written. */
const WRITTEN_FORMATS: Readonly<Record<string, WrittenFormat>> = {
  'arm-64-lpae-s1': lpae(48, 48),
  'arm-64-lpae-s2': lpae(40, 40),
  'arm-32-lpae-s1': lpae(32, 40),
  'arm-32-lpae-s2': lpae(40, 40),
  'mali-lpae': lpae(33, 40),
  'arm-v7s': {
    cfg: config('0x1111000', 32, 32, '0x40000000', '0x400'),
    addressBits: (pa) => pa,
    walks: false,
  },
  'apple-dart': {
    cfg: config('0x4000', 36, 36, '0x800000000', '0x4000'),
    addressBits: (pa) => pa,
    walks: false,
    coherentOnly: true,
  },
  'apple-dart2': {
    cfg: config('0x4000', 42, 42, '0x20000000000', '0x4000'),
    // Bits 37 to 14 of the address stand four bits lower.
    addressBits: (pa) => pa >> 4n,
    walks: false,
    coherentOnly: true,
  },
};

/** Names of the formats of which vectors can be written. */
export function writtenFormats(): string[] {
  return Object.keys(WRITTEN_FORMATS).filter((name) => RECORDED_FORMATS[name] !== undefined);
}

/** Chooses the inputs of operations: few places, so that they meet. */
class Inputs {
  readonly #prng: Prng;
  readonly #sizes: readonly number[];
  readonly #space: number;
  readonly #output: number;
  readonly #walks: boolean;
  readonly #mapped: { iova: number; pgsize: number; pgcount: number }[] = [];

  constructor(prng: Prng, table: PageTable, format: WrittenFormat) {
    this.#prng = prng;
    const { ias, oas } = format.cfg;
    this.#space = 2 ** (ias as number);
    this.#output = 2 ** (oas as number);
    this.#walks = format.walks;
    const bits = BigInt(table.pgsizeBitmap);
    this.#sizes = Array.from({ length: 52 }, (_, lg2) => 2 ** lg2).filter(
      (size) => (bits & BigInt(size)) !== 0n,
    );
  }

  next(): JsonRow {
    const roll = this.#prng.below(100);
    if (roll < 40) return this.#map();
    if (roll < 68) return this.#unmap();
    const iova = hex(this.#somewhere());
    return { op: this.#walks && roll >= 95 ? 'pgtable_walk' : 'iova_to_phys', iova };
  }

  #pgsize(): number {
    // The smallest size most often.
    const pick = Math.max(0, this.#prng.below(this.#sizes.length + 3) - 3);
    return this.#sizes[pick] as number;
  }

  #place(pgsize: number): number {
    const windows = [0, this.#space / 4, this.#space / 2 - 2 ** 22, this.#space - 2 ** 25];
    const start = windows[this.#prng.below(windows.length)] as number;
    const iova = start + this.#prng.below(2 ** 25);
    return iova - (iova % pgsize);
  }

  #map(): JsonRow {
    const pgsize = this.#pgsize();
    const iova = this.#place(pgsize);
    const pgcount = 1 + this.#prng.below(this.#prng.below(4) === 0 ? 40 : 4);
    const pages = this.#output / pgsize;
    const paddr = Math.floor((this.#prng.u32() / 2 ** 32) * Math.max(1, pages - pgcount)) * pgsize;
    this.#mapped.push({ iova, pgsize, pgcount });
    // CACHE, NOEXEC, MMIO and PRIV in every mixture; now and then neither READ nor WRITE, which is refused.
    const access = this.#prng.below(16) === 0 ? 0 : 1 + this.#prng.below(3);
    const prot = access + 4 * this.#prng.below(16);
    return { op: 'map', iova: hex(iova), paddr: hex(paddr), pgsize: hex(pgsize), pgcount, prot };
  }

  #unmap(): JsonRow {
    const at = this.#prng.below(this.#mapped.length + 1);
    const [known] = this.#mapped.splice(at, 1);
    const pgsize = known?.pgsize ?? this.#pgsize();
    const iova = known?.iova ?? this.#place(pgsize);
    const pgcount = this.#prng.below(8) === 0 ? 1 : (known?.pgcount ?? 1);
    const gather = [undefined, undefined, 'queued', 'none'][this.#prng.below(4)];
    const inputs = { op: 'unmap', iova: hex(iova), pgsize: hex(pgsize), pgcount };
    return gather === undefined ? inputs : { ...inputs, gather };
  }

  #somewhere(): number {
    const known = this.#mapped[this.#prng.below(this.#mapped.length + 1)];
    const offset = this.#prng.below(2 ** 12);
    return known === undefined ? this.#place(1) : known.iova + offset;
  }
}

/** A sequence of one format: header members, then operations with our results. */
export function writeIoPgtable(
  name: string,
  prng: Prng,
  operations: number,
): { head: JsonRow; rows: JsonRow[] } {
  const format = WRITTEN_FORMATS[name];
  const open = RECORDED_FORMATS[name];
  if (format === undefined || open === undefined)
    throw new VectorError('format', `one of ${writtenFormats().join(', ')}`, name);
  const cfg = { ...format.cfg, coherent_walk: prng.below(2) === 0 || format.coherentOnly === true };
  const tables = new RecordedTables(name, cfg);
  const opened = open(
    tables.config(() => {}),
    cfg,
    tables,
  );
  if (opened === undefined) throw new VectorError('format', 'a format that is not refused', name);
  const init: JsonRow = { result: opened.result };
  if (tables.calls.length > 0) init['calls'] = tables.calls;
  const { table } = opened;
  const run = new IopgtableRun(table, tables);
  const inputs = new Inputs(prng, table, format);
  const rows: JsonRow[] = [];
  const every = Math.max(2, Math.ceil(operations / 6));
  for (let i = 0; i < operations - 1; i++) {
    if (i % every === every - 1) {
      rows.push(writeCheckpoint(tables, table.shape, format.addressBits));
      continue;
    }
    const op = inputs.next();
    rows.push({ ...op, ...run.run(op, `operation ${String(i)}`) });
  }
  const free = { op: 'free' };
  rows.push({ ...free, ...run.run(free, 'free') });
  return { head: { format: name, cfg, init }, rows };
}
