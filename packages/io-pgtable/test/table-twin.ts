import type { WordsOf } from './twin-words.lanes.ts';

/** What decides a twin: the rules of a family of the kernel for one call, and how leaves look. */
export interface TwinShape {
  readonly family: 'lpae' | 'short' | 'dart' | 'generic';
  /** Page sizes, ascending. */
  readonly sizes: readonly bigint[];
  /** Bytes that an entry of each level spans, from the leaves up to the top table. */
  readonly spans: readonly bigint[];
  readonly words: WordsOf;
}

interface Leaf {
  readonly size: bigint;
  readonly paddr: bigint;
  readonly prot: number;
}

/** The result of a call: bytes done, and the errno that ended it (0: none). */
export interface TwinResult {
  readonly done: bigint;
  readonly errno: number;
}

/**
 * The slow twin of every page table: leaves by IOVA, and which entries are tables, empty ones included. No memory, no bits below the
 * entry; bigints throughout.
 */
export class TableTwin {
  readonly leaves = new Map<bigint, Leaf>();
  /** `level:start` of the entries that are tables. */
  readonly tables = new Set<string>();
  readonly #shape: TwinShape;

  constructor(shape: TwinShape) {
    this.#shape = shape;
  }

  map(at: { iova: bigint; paddr: bigint; size: bigint }, count: bigint, prot: number): TwinResult {
    const { family } = this.#shape;
    if (family === 'generic') return this.#mapRun(at, count * at.size, prot);
    if (family === 'short') return this.#mapEach(at, count, prot);
    const { iova, paddr, size } = at;
    const errno = this.#descend(iova, size);
    if (errno !== 0) return { done: 0n, errno };
    const n = this.#inTable(iova, size, count);
    for (let i = 0n; i < n; i++) {
      const target = iova + i * size;
      if (this.#isTable(size, target)) this.#drop(size, target);
      else if (this.leaves.has(target)) return { done: 0n, errno: -17 };
    }
    for (let i = 0n; i < n; i++)
      this.leaves.set(iova + i * size, { size, paddr: paddr + i * size, prot });
    return { done: n * size, errno: 0 };
  }

  unmap(iova: bigint, size: bigint, count: bigint): bigint {
    const { family } = this.#shape;
    if (family === 'generic') return this.#unmapRun(iova, size * count);
    if (family === 'short') return this.#unmapEach(iova, size, count);
    if (!this.#reaches(iova, size)) return 0n;
    const n = this.#inTable(iova, size, count);
    let done = 0n;
    for (; done < n; done++) {
      const target = iova + done * size;
      if (this.#isTable(size, target)) this.#drop(size, target);
      else if (!this.leaves.delete(target)) break;
    }
    return done * size;
  }

  phys(iova: bigint): bigint {
    const leaf = this.#covering(iova);
    return leaf === undefined ? 0n : leaf[1].paddr + iova - leaf[0];
  }

  /** Every leaf entry: IOVA and word, ascending. */
  entries(): [bigint, bigint][] {
    const entries: [bigint, bigint][] = [];
    for (const [iova, { size, paddr, prot }] of this.leaves) {
      const { word, copies } = this.#shape.words(size, paddr, prot);
      for (let i = 0; i < copies; i++)
        entries.push([iova + (size / BigInt(copies)) * BigInt(i), word]);
    }
    return entries.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  }

  #covering(iova: bigint): [bigint, Leaf] | undefined {
    for (const size of this.#shape.sizes) {
      const start = iova - (iova % size);
      const leaf = this.leaves.get(start);
      if (leaf !== undefined && leaf.size === size) return [start, leaf];
    }
    return undefined;
  }

  /** A leaf in [start, start + size), or one that covers it. */
  #occupied(start: bigint, size: bigint): boolean {
    if (this.#covering(start) !== undefined) return true;
    for (const at of this.leaves.keys()) if (at >= start && at < start + size) return true;
    return false;
  }

  /** Spans of the entries above those of a size, from the top down. */
  #above(size: bigint): bigint[] {
    return this.#shape.spans.filter((span) => span > size).reverse();
  }

  #isTable(span: bigint, iova: bigint): boolean {
    return this.tables.has(`${span}:${iova - (iova % span)}`);
  }

  /** Makes the tables on the way; a leaf there ends it. */
  #descend(iova: bigint, size: bigint): number {
    for (const span of this.#above(size)) {
      const start = iova - (iova % span);
      if (this.#isTable(span, iova)) continue;
      if (this.#covering(start)?.[1].size === span || this.#isLarge(start, span)) return -17;
      this.tables.add(`${span}:${start}`);
    }
    return 0;
  }

  /** Part of a page of several such entries. */
  #isLarge(start: bigint, span: bigint): boolean {
    return (this.#covering(start)?.[1].size ?? 0n) > span;
  }

  #reaches(iova: bigint, size: bigint): boolean {
    return this.#above(size).every((span) => this.#isTable(span, iova));
  }

  /** Pages up to the end of the table. */
  #inTable(iova: bigint, size: bigint, count: bigint): bigint {
    const above = this.#above(size).at(-1);
    if (above === undefined) return count;
    const left = (above - (iova % above)) / size;
    return count < left ? count : left;
  }

  #drop(span: bigint, start: bigint): void {
    for (const key of this.tables) {
      const [level = '', at = ''] = key.split(':');
      if (BigInt(level) <= span && BigInt(at) >= start && BigInt(at) < start + span)
        this.tables.delete(key);
    }
    for (const at of this.leaves.keys())
      if (at >= start && at < start + span) this.leaves.delete(at);
  }

  // Short descriptors: page by page, a page of 16 entries looks at each of them.

  #mapEach(
    at: { iova: bigint; paddr: bigint; size: bigint },
    count: bigint,
    prot: number,
  ): TwinResult {
    const { size } = at;
    for (let done = 0n; done < count * size; done += size) {
      const iova = at.iova + done;
      const errno = this.#descend(iova, size < 0x10_0000n ? 0x1000n : 0x10_0000n);
      if (errno !== 0) return { done, errno };
      const span = size < 0x10_0000n ? 0x1000n : 0x10_0000n;
      for (let entry = iova; entry < iova + size; entry += span) {
        if (span > 0x1000n && this.#isTable(span, entry)) this.#drop(span, entry);
        else if (this.#covering(entry) !== undefined) return { done, errno: -17 };
      }
      this.leaves.set(iova, { size, paddr: at.paddr + done, prot });
    }
    return { done: count * size, errno: 0 };
  }

  #unmapEach(iova: bigint, size: bigint, count: bigint): bigint {
    const span = size < 0x10_0000n ? 0x1000n : 0x10_0000n;
    let done = 0n;
    for (; done < count * size; done += size) {
      const start = iova + done;
      if (!this.#reaches(start, span)) break;
      let whole = true;
      for (let entry = start; entry < start + size; entry += span) {
        const leaf = this.#covering(entry);
        const table = span > 0x1000n && this.#isTable(span, entry);
        // One entry of a page of 16 cannot go alone.
        if (!table && (leaf === undefined || (size === span && leaf[1].size > span))) whole = false;
      }
      if (!whole) break;
      for (let entry = start; entry < start + size; entry += span)
        if (span > 0x1000n && this.#isTable(span, entry)) this.#drop(span, entry);
      for (const at of this.leaves.keys())
        if (at >= start && at < start + size) this.leaves.delete(at);
    }
    return done;
  }

  // The generic family: a run takes the largest pages that fit, and an unmap takes whole pages.

  #mapRun(at: { iova: bigint; paddr: bigint }, length: bigint, prot: number): TwinResult {
    let done = 0n;
    while (done < length) {
      const iova = at.iova + done;
      const paddr = at.paddr + done;
      const size = this.#shape.sizes.findLast(
        (s) => s <= length - done && iova % s === 0n && paddr % s === 0n,
      );
      if (size === undefined) throw new Error('no page fits');
      if (this.#occupied(iova, size)) return { done, errno: -98 };
      this.leaves.set(iova, { size, paddr, prot });
      done += size;
    }
    return { done, errno: 0 };
  }

  #unmapRun(iova: bigint, length: bigint): bigint {
    let at = iova;
    while (at < iova + length) {
      const leaf = this.leaves.get(at);
      if (leaf === undefined) break;
      this.leaves.delete(at);
      at += leaf.size;
    }
    return at - iova;
  }
}
