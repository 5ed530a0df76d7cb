import { hex, IommuError, pageSizes } from '@iommukit/bits';

/**
 * True when `value` is a multiple of `size`, a power of two. A quotient, because `%` of doubles is slow above 2^31.
 * @example isMultiple(0x2000, 0x1000) // true
 */
export function isMultiple(value: number, size: number): boolean {
  const quotient = value / size;
  return quotient === Math.floor(quotient);
}

/**
 * Chooses how the next bytes of a range are mapped or unmapped: one page size and a count of pages (`iommu_pgsize`). The choice
 * is left in the fields, so that a call allocates nothing; they are valid until the next `pick`.
 * @example const run = new PageRun(); run.pick(0x4020_1000, 0x1000, 0x5000, 0x3000); run.pgsize // 4096
 */
export class PageRun {
  /** Page size of the last `pick`, bytes. */
  pgsize = 0;
  /** Pages of the last `pick`. */
  count = 0;
  #bitmap = 0;
  #sizes: readonly number[] = [];
  readonly #known = new Map<number, readonly number[]>();

  /** The sizes of a bitmap, ascending, bytes. Remembered for each bitmap. */
  sizes(pgsizeBitmap: number): readonly number[] {
    if (pgsizeBitmap !== this.#bitmap) {
      let sizes = this.#known.get(pgsizeBitmap);
      if (sizes === undefined) {
        sizes = pageSizes(pgsizeBitmap);
        this.#known.set(pgsizeBitmap, sizes);
      }
      this.#sizes = sizes;
      this.#bitmap = pgsizeBitmap;
    }
    return this.#sizes;
  }

  /**
   * Takes the largest page that fits the size and both alignments, and as many of them as make sense: when a larger page could
   * start later in the range, only the pages up to there. Returns the count. All values in bytes, `size` > 0; for an unmap pass
   * the IOVA as `paddr` too. Throws {@link PageSizeError} when no page fits: the caller has checked the alignment to the smallest.
   */
  pick(pgsizeBitmap: number, iova: number, paddr: number, size: number): number {
    const sizes = this.sizes(pgsizeBitmap);
    let at = -1;
    for (let next = 0; next < sizes.length; next++) {
      const candidate = sizes[next] as number;
      if (candidate > size || !isMultiple(iova, candidate) || !isMultiple(paddr, candidate)) break;
      at = next;
    }
    if (at < 0) throw new PageSizeError({ pgsizeBitmap, iova, paddr, size });
    const pgsize = sizes[at] as number;
    let bytes = size;
    const larger = at + 1 < sizes.length ? (sizes[at + 1] as number) : 0;
    if (larger !== 0 && larger <= size) {
      const offset = iova - Math.floor(iova / larger) * larger;
      // Only addresses with equal offsets in the larger page ever reach its alignment together.
      if (
        offset === paddr - Math.floor(paddr / larger) * larger &&
        larger - offset + larger <= size
      )
        bytes = larger - offset;
    }
    this.pgsize = pgsize;
    this.count = Math.floor(bytes / pgsize);
    return this.count;
  }
}

/**
 * No page of a domain fits a range; code `PAGE_SIZE`.
 * @example try { run.pick(4096, 1, 1, 4096); } catch (e) { (e as PageSizeError).operands.iova; }
 */
export class PageSizeError extends IommuError<{
  pgsizeBitmap: number;
  iova: number;
  paddr: number;
  size: number;
}> {
  override readonly name = 'PageSizeError';
  constructor(operands: { pgsizeBitmap: number; iova: number; paddr: number; size: number }) {
    super(
      'PAGE_SIZE',
      operands,
      `no page size of ${hex(operands.pgsizeBitmap)} fits iova ${hex(operands.iova)}, paddr ${hex(operands.paddr)}, size ${hex(operands.size)}`,
      'Pass values that are multiples of the smallest page size',
    );
  }
}
