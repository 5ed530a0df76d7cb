/*
 * Memory and translation tables of a generated case: words in bigint, a bump allocator, a builder of tables of either stage.
 */
import type { Prng } from '@iommukit/platform';
import type { TwinMemory } from './twin-walker-run.lanes.ts';

/** RAM of the generated cases: one range below 4 GiB, one that only 52-bit addresses reach. */
export const SPACE_RAM: readonly { readonly base: number; readonly size: number }[] = [
  { base: 0x4000_0000, size: 0x1000_0000 },
  { base: 0xd_0000_0000_0000, size: 0x0400_0000 },
];

const RANGES = SPACE_RAM.map(({ base, size }) => ({
  start: BigInt(base),
  end: BigInt(base) + BigInt(size),
}));

/** Random choices in the words of a test. */
export class Dice {
  readonly #prng: Prng;
  constructor(prng: Prng) {
    this.#prng = prng;
  }
  below(limit: number): number {
    return this.#prng.below(limit);
  }
  /** True in `percent` of the cases. */
  chance(percent: number): boolean {
    return this.#prng.below(1000) < percent * 10;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.#prng.below(items.length)] as T;
  }
  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.#prng.below(high - low + 1);
  }
  /** A number of so many bits. */
  wide(count: number): bigint {
    const all = (BigInt(this.#prng.u32()) << 32n) | BigInt(this.#prng.u32());
    return all & ((1n << BigInt(count)) - 1n);
  }
}

export class Space implements TwinMemory {
  readonly words: Map<bigint, bigint> = new Map();
  /** Words whose bits are worth turning. */
  readonly targets: bigint[] = [];
  #low = 0x4100_0000n;
  #high = 0xd_0000_0000_0000n;

  read64(address: bigint): bigint | undefined {
    const backed = RANGES.some(({ start, end }) => address >= start && address < end);
    return backed ? (this.words.get(address) ?? 0n) : undefined;
  }

  write64(address: bigint, value: bigint): void {
    this.words.set(address, value);
  }

  /** Stores software's word, and lists it for mutation. */
  put(address: bigint, value: bigint): void {
    this.words.set(address, value);
    this.targets.push(address);
  }

  /** Room for `bytes`, a power of two; `high` is where only 52-bit addresses reach. */
  alloc(bytes: bigint, region: 'low' | 'high' = 'low'): bigint {
    const at = ((region === 'high' ? this.#high : this.#low) + bytes - 1n) & ~(bytes - 1n);
    if (region === 'high') this.#high = at + bytes;
    else this.#low = at + bytes;
    return at;
  }
}

export interface TableShape {
  readonly granule: number;
  readonly size: number;
  readonly start: number;
  readonly ds: boolean;
  /** Descriptors can hold 52 bits. */
  readonly wide: boolean;
}

/** A place for a table: its address as descriptors give it, and where it is. */
export interface TablePlace {
  readonly address: bigint;
  readonly pa: bigint;
}

interface Table extends TablePlace {
  readonly children: Map<bigint, Table>;
}

export function encodeOutput(shape: TableShape, address: bigint): bigint {
  const low = address & ((1n << 48n) - 1n);
  if (!shape.wide) return low;
  if (shape.granule === 16) return low | (((address >> 48n) & 15n) << 12n);
  return (address & ((1n << 50n) - 1n)) | (((address >> 50n) & 3n) << 8n);
}

export class TableBuilder {
  readonly shape: TableShape;
  readonly root: Table;
  readonly #space: Space;
  readonly #place: (bytes: bigint) => TablePlace;
  readonly #limits: () => bigint;

  constructor(
    space: Space,
    shape: TableShape,
    root: TablePlace,
    parts: { readonly place: (bytes: bigint) => TablePlace; readonly limits: () => bigint },
  ) {
    this.#space = space;
    this.shape = shape;
    this.root = { ...root, children: new Map() };
    this.#place = parts.place;
    this.#limits = parts.limits;
  }

  low(level: number): number {
    return this.shape.granule + (this.shape.granule - 3) * (3 - level);
  }

  levels(): number[] {
    const { granule, ds, wide } = this.shape;
    const first = granule === 12 ? (ds ? 0 : 1) : granule === 14 ? (ds ? 1 : 2) : wide ? 1 : 2;
    const all: number[] = [];
    for (let level = Math.max(first, this.shape.start); level <= 3; level++) all.push(level);
    return all;
  }

  /** A leaf for `input` at `level`; its output address and all other bits are the caller's. */
  map(input: bigint, level: number, descriptor: bigint): void {
    let table = this.root;
    let top = this.shape.size;
    for (let at = this.shape.start; ; at++) {
      const low = this.low(at);
      const index = (input & ((1n << BigInt(top)) - 1n)) >> BigInt(low);
      const where = table.pa + 8n * index;
      if (at === level) {
        this.#space.put(where, descriptor | (level === 3 ? 3n : 1n));
        return;
      }
      let next = table.children.get(index);
      if (next === undefined) {
        next = { ...this.#place(1n << BigInt(this.shape.granule)), children: new Map() };
        table.children.set(index, next);
        this.#space.put(where, encodeOutput(this.shape, next.address) | this.#limits() | 3n);
      }
      table = next;
      top = low;
    }
  }
}
