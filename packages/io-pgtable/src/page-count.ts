import { IommuError } from '@iommukit/bits';

/**
 * Refuses what is no count of pages. Calls for one page skip it; the kernel's type cannot hold anything else, so it has no errno.
 * @internal
 */
export function requirePageCount(pgcount: number): void {
  if (pgcount !== Math.floor(pgcount) || pgcount < 0) throw new PageCountError({ pgcount });
}

/**
 * A count of pages that is negative, fractional or no number; code `PAGE_COUNT`.
 * @example try { table.mapPages(0, 0, 4096, -1, IOMMU_READ); } catch (e) { (e as PageCountError).operands.pgcount; } // -1
 */
export class PageCountError extends IommuError<{ pgcount: number }> {
  override readonly name = 'PageCountError';
  constructor(operands: { pgcount: number }) {
    super(
      'PAGE_COUNT',
      operands,
      `${operands.pgcount} is no count of pages`,
      'Pass a whole number, zero or more',
    );
  }
}
