import type { Prng } from '@iommukit/platform';
import { writeCheckpoint } from './checkpoint-writer.lanes.ts';
import { openGenericPt } from './generic-pt-init.ts';
import { GenericPtRun } from './generic-pt-vectors.lanes.ts';
import { VectorTally } from './vector-tally.ts';
import { hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

// Makes vectors of kind `generic-pt` from what our page tables do.

interface WrittenFormat {
  readonly cfg: JsonRow;
  /** Sizes that mappings are aligned to, so that large pages occur. */
  readonly sizes: readonly number[];
  readonly dirty: boolean;
  /** PPNs of RISC-V stand two bits lower than the address. */
  readonly addressScale: bigint;
}

const TABLES = { table_base: '0x80000000', table_stride: '0x1000' };
const PAGE = 4096;
const MIB = 2 ** 20;

function written(cfg: JsonRow, extra: Partial<WrittenFormat> = {}): WrittenFormat {
  return {
    cfg: { ...cfg, ...TABLES },
    sizes: [PAGE, PAGE, 16 * PAGE, 2 * MIB],
    dirty: false,
    addressScale: 1n,
    ...extra,
  };
}

/** What is asked of each format that can be written. */
const WRITTEN_FORMATS: Readonly<Record<string, WrittenFormat>> = {
  amdv1: written(
    {
      features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE', 'FLUSH_RANGE'],
      hw_max_vasz_lg2: 64,
      hw_max_oasz_lg2: 52,
      starting_level: 2,
    },
    { dirty: true },
  ),
  x86_64: written({
    features: ['SIGN_EXTEND', 'FLUSH_RANGE', 'DMA_INCOHERENT'],
    hw_max_vasz_lg2: 48,
    hw_max_oasz_lg2: 52,
    top_level: 3,
    cache_maintenance: 'flush',
  }),
  vtdss: written(
    { features: ['FLUSH_RANGE'], hw_max_vasz_lg2: 48, hw_max_oasz_lg2: 52, top_level: 3 },
    { dirty: true },
  ),
  riscv_64: written(
    {
      features: ['SIGN_EXTEND', 'FLUSH_RANGE', 'DETAILED_GATHER', 'RISCV_SVNAPOT_64K'],
      hw_max_vasz_lg2: 48,
      hw_max_oasz_lg2: 56,
    },
    { addressScale: 4n },
  ),
};

/** Names of the formats of which vectors can be written. */
export function writtenGenericFormats(): string[] {
  return Object.keys(WRITTEN_FORMATS);
}

/** Takes what the opening of a table would compare as its result. */
class InitResult extends VectorTally {
  readonly row: JsonRow = {};

  override check(_operation: number, what: string, got: unknown): void {
    if (got !== undefined) this.row[what] = got;
  }
}

/** Chooses the inputs of operations: few places, so that they meet. */
class Inputs {
  readonly #prng: Prng;
  readonly #format: WrittenFormat;
  readonly #mapped: { iova: number; len: number }[] = [];

  constructor(prng: Prng, format: WrittenFormat) {
    this.#prng = prng;
    this.#format = format;
  }

  next(): JsonRow {
    const roll = this.#prng.below(100);
    if (roll < 38) return this.#map();
    if (roll < 64) return this.#unmap();
    const { iova, len } = this.#known();
    if (this.#format.dirty && roll < 70) return { op: 'set_dirty', iova: hex(iova) };
    if (this.#format.dirty && roll < 76) {
      const flags = this.#prng.below(2);
      return { op: 'read_and_clear_dirty', iova: hex(iova), size: hex(len), flags };
    }
    return { op: 'iova_to_phys', iova: hex(iova + this.#prng.below(PAGE)) };
  }

  #size(): number {
    return this.#format.sizes[this.#prng.below(this.#format.sizes.length)] as number;
  }

  #place(size: number): number {
    const windows = [0, 2 ** 30 - 8 * MIB, 2 ** 38, 2 ** 46];
    const start = windows[this.#prng.below(windows.length)] as number;
    return start + Math.floor(this.#prng.below(16 * MIB) / size) * size;
  }

  #known(): { iova: number; len: number } {
    const known = this.#mapped[this.#prng.below(this.#mapped.length + 1)];
    return known ?? { iova: this.#place(PAGE), len: PAGE };
  }

  #map(): JsonRow {
    const size = this.#size();
    const iova = this.#place(size);
    const paddr =
      this.#prng.below(2 ** 20) * 2 ** 21 + Math.floor(this.#prng.below(2 * MIB) / size) * size;
    const len = size * (1 + this.#prng.below(3)) + PAGE * this.#prng.below(3);
    this.#mapped.push({ iova, len });
    const access = this.#prng.below(16) === 0 ? 0 : 1 + this.#prng.below(3);
    // CACHE, NOEXEC, MMIO in every mixture.
    const prot = access + 4 * this.#prng.below(8);
    return { op: 'map', iova: hex(iova), paddr: hex(paddr), len: hex(len), prot };
  }

  #unmap(): JsonRow {
    const at = this.#prng.below(this.#mapped.length + 1);
    const [known] = this.#mapped.splice(at, 1);
    const iova = known?.iova ?? this.#place(PAGE);
    const len = known?.len ?? PAGE;
    const queued = this.#prng.below(4) === 0;
    const inputs = { op: 'unmap', iova: hex(iova), len: hex(len) };
    return queued ? { ...inputs, queued } : inputs;
  }
}

/** A sequence of one format: header members, then operations with our results. */
export function writeGenericPt(
  name: string,
  prng: Prng,
  operations: number,
): { head: JsonRow; rows: JsonRow[] } {
  const format = Object.hasOwn(WRITTEN_FORMATS, name) ? WRITTEN_FORMATS[name] : undefined;
  if (format === undefined)
    throw new VectorError('format', `one of ${writtenGenericFormats().join(', ')}`, name);
  const tally = new InitResult();
  const at = { operation: -1, where: 'init', tally };
  const { table, tables } = openGenericPt(name, format.cfg, { errno: 0 }, at);
  if (table === undefined) throw new VectorError('format', 'a format that is not refused', name);
  const run = new GenericPtRun(name, table, tables);
  const inputs = new Inputs(prng, format);
  const rows: JsonRow[] = [];
  const every = Math.max(2, Math.ceil(operations / 6));
  for (let i = 0; i < operations - 1; i++) {
    if (i % every === every - 1) {
      rows.push(writeCheckpoint(tables, table.shape, (pa) => pa / format.addressScale));
      continue;
    }
    const op = inputs.next();
    rows.push({ ...op, ...run.run(op, `operation ${String(i)}`) });
  }
  const free = { op: 'free' };
  rows.push({ ...free, ...run.run(free, 'free') });
  return { head: { format: name, cfg: format.cfg, init: tally.row }, rows };
}
