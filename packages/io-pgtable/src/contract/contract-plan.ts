import { pageSizes } from '@iommukit/bits';
import type { ContractRig, Page, RigOptions } from './contract-rig.ts';
import type { ContractSubject, IovaSpace } from './contract-subject.ts';

/** A rule as the files of cases write them: its name and what it does with a fresh rig. */
export interface Rule {
  readonly name: string;
  /** How the rig is made. Absent: not watched. */
  readonly options?: RigOptions;
  run(rig: ContractRig): void;
}

/** Two page sizes of which the larger is a multiple of the smaller, and whether they are entries of one level. */
export interface SizePair {
  readonly small: number;
  readonly large: number;
  readonly oneLevel: boolean;
}

/** Where a subject's page sizes, levels and limits allow which test. */
export class ContractPlan {
  readonly sizes: readonly number[];
  /** Bytes that an entry of each level spans, ascending; with a top that grows, of the tallest table. */
  readonly spans: readonly number[];
  readonly spaces: readonly IovaSpace[];
  readonly start: number;
  readonly end: number;
  readonly endPaddr: number;

  constructor(subject: ContractSubject, probe: ContractRig) {
    const { table } = probe;
    this.sizes = subject.pageSizes ?? pageSizes(table.pgsizeBitmap);
    this.spaces = subject.spaces;
    this.endPaddr = subject.endPaddr;
    const [first = { start: 0, end: 0 }] = subject.spaces;
    this.start = first.start;
    this.end = first.end;
    const [smallest = 0] = this.sizes;
    const highest = subject.spaces.at(-1)?.end ?? 0;
    probe.put({ iova: highest - smallest, paddr: smallest, size: smallest });
    const { shape } = table;
    const step = shape.leafLevel > shape.topLevel ? -1 : 1;
    const spans: number[] = [];
    for (let level = shape.leafLevel; ; level += step) {
      spans.push(shape.entrySpan(level));
      if (level === shape.topLevel) break;
    }
    this.spans = spans;
  }

  /** Span of the entries that pages of a size are made of. */
  spanOf(size: number): number {
    return this.spans.findLast((span) => span <= size) ?? size;
  }

  /** Span of one entry of the table that holds entries of a size; undefined in the top table. */
  tableSpan(size: number): number | undefined {
    return this.spans.find((span) => span > size);
  }

  /** How many pages of a size fit into both the first space from `iova` on and the output addresses, at most `wanted`. */
  room(iova: number, size: number, wanted: number): number {
    const below = Math.floor(this.endPaddr / size) - 1;
    return Math.max(0, Math.min(wanted, Math.floor((this.end - iova) / size), below));
  }

  /** A page of a size; output addresses start at the size, so that none is 0, which is the answer for a hole. */
  page(iova: number, size: number): Page {
    const paddr = this.endPaddr > size ? size : 0;
    return { iova, paddr, size };
  }

  /** Pages in a row, as many as fit. */
  pages(iova: number, size: number, wanted: number): Page[] {
    const first = this.page(iova, size);
    return Array.from({ length: this.room(iova, size, wanted) }, (_, i) => ({
      iova: iova + i * size,
      paddr: first.paddr + i * size,
      size,
    }));
  }

  /** An IOVA for pages of a size away from the edges of the space where it is large enough. */
  inside(size: number): number {
    const slots = (this.end - this.start) / size;
    return this.start + (slots >= 8 ? 4 : 0) * size;
  }

  /** Where a page of a size begins at the boundary of a table of any level above: the last page before it and the first after. */
  boundaries(size: number): number[] {
    const half = (this.end - this.start) / 2;
    const spans = this.spans.filter((span) => span > size && this.start + span < this.end);
    // The middle of the top table, where it may be made of several.
    return size < half && !spans.includes(half) ? [...spans, half] : spans;
  }

  /** Pairs of sizes; with many sizes only neighbours and the extremes. */
  pairs(): SizePair[] {
    const pairs: SizePair[] = [];
    this.sizes.forEach((small, i) => {
      this.sizes.forEach((large, j) => {
        if (j <= i || (this.sizes.length > 6 && j > i + 1 && j < this.sizes.length - 1)) return;
        if (large > this.end - this.start || large >= this.endPaddr) return;
        pairs.push({ small, large, oneLevel: this.spanOf(small) === this.spanOf(large) });
      });
    });
    return pairs;
  }
}
