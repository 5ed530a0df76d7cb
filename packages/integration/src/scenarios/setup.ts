import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import type { SgRun } from '@iommukit/iommu-core';

/** The IOVA of most rows: aligned to 1 GiB, and the three lower tables do not exist yet. */
export const X = 0x1_0000_0000;
/** First output address of lists. */
export const PA = 0x8_8000_0000;
export const MIB = 0x10_0000;

/** Readable, writable, snooped. */
export const PROT: number = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;

/** The smallest page of a domain. */
export type GranuleName = '4K' | '16K' | '64K';

/** Granule and first block size, bytes, by name. */
export const GRANULES: Readonly<
  Record<GranuleName, { readonly granule: number; readonly block: number }>
> = {
  '4K': { granule: SZ_4K, block: SZ_2M },
  '16K': { granule: SZ_16K, block: SZ_32M },
  '64K': { granule: SZ_64K, block: SZ_512M },
};

const lists = new Map<string, readonly SgRun[]>();

/** `scat(n)`: n granules, nothing contiguous. The same list each time: a sweep asks for one of 1 GiB hundreds of times. */
export function scat(n: number, granule: number = SZ_4K, base: number = PA): readonly SgRun[] {
  const key = `${n} ${granule} ${base}`;
  const list =
    lists.get(key) ??
    Array.from({ length: n }, (_, i) => ({ paddr: base + i * 2 * granule, length: granule }));
  lists.set(key, list);
  return list;
}

/** `cont(s)`: contiguous, and not congruent to X above 4 KiB. */
export function cont(bytes: number): SgRun[] {
  return [{ paddr: PA + SZ_4K, length: bytes }];
}

/** Another list of as many granules, none of which the first has. */
export function otherScat(n: number): readonly SgRun[] {
  return scat(n, SZ_4K, PA + 4 * SZ_1G);
}

/** IOVAs of slots of 2 MiB from X on. */
export function slots(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => X + (first + i) * SZ_2M);
}

/** Bytes of a list. */
export function bytesOf(runs: readonly SgRun[]): number {
  return runs.reduce((sum, { length }) => sum + length, 0);
}
