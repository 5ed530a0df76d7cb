import { hex, IommuError } from '@iommukit/bits';

/**
 * What an {@link IovaError} can report.
 * @example const code: IovaErrorCode = 'IOVA_SIZE';
 */
export type IovaErrorCode =
  | 'IOVA_SIZE'
  | 'IOVA_PFN'
  | 'IOVA_CPU'
  | 'IOVA_GRANULE'
  | 'IOVA_SEARCH'
  | 'IOVA_DOUBLE_FREE'
  | 'IOVA_NOT_LIVE'
  | 'IOVA_SNAPSHOT'
  | 'IOVA_DOMAIN_GONE';

/**
 * The values that were refused.
 * @example const operands: IovaErrorOperands = { name: 'size', value: 0 };
 */
export interface IovaErrorOperands {
  readonly name: string;
  readonly value: number | string;
}

/**
 * A call for which the kernel's allocator has no defined behaviour: a size of zero, a pfn that is no page frame number, a CPU that is offline.
 * With `checked`, also a free of what is not live. A search that finds nothing never throws: it returns `null` or 0 as the kernel does.
 * @example try { iovad.allocIova(0, 1, 'aligned'); } catch (error) { (error as IovaError).code; } // 'IOVA_SIZE'
 */
export class IovaError extends IommuError<IovaErrorOperands> {
  override readonly name: string = 'IovaError';
  declare readonly code: IovaErrorCode;
}

/**
 * The highest page frame number that is modelled: 2^52 - 1, all of a 64-bit space of 4 KiB pages.
 * @example MAX_PFN.toString(16) // 'fffffffffffff'
 */
export const MAX_PFN: number = 2 ** 52 - 1;

function shown(value: number): string {
  return Number.isInteger(value) ? hex(value) : String(value);
}

export function checkPfn(name: string, pfn: number): void {
  if (pfn >= 0 && pfn <= MAX_PFN && Math.floor(pfn) === pfn) return;
  throw new IovaError(
    'IOVA_PFN',
    { name, value: pfn },
    `${name} ${shown(pfn)} is no page frame number`,
    `Pass an integer from 0 to ${hex(MAX_PFN)}`,
  );
}

export function checkSize(size: number): void {
  if (size >= 1 && size <= MAX_PFN + 1 && Math.floor(size) === size) return;
  throw new IovaError(
    'IOVA_SIZE',
    { name: 'size', value: size },
    `a range of ${shown(size)} pages does not exist`,
    `Pass an integer from 1 to ${hex(MAX_PFN + 1)} pages of the granule`,
  );
}

export function refuseDoubleFree(pfn: number, size: number): never {
  throw new IovaError(
    'IOVA_DOUBLE_FREE',
    { name: 'pfn', value: pfn },
    `the ${size} pages at pfn ${hex(pfn)} were freed before and wait in a cache`,
    'Free a range once',
  );
}

export function refuseFree(pfn: number): never {
  throw new IovaError(
    'IOVA_NOT_LIVE',
    { name: 'pfn', value: pfn },
    `no live range begins at pfn ${hex(pfn)}`,
    'Free with the pfn that allocIovaFast returned, once',
  );
}
