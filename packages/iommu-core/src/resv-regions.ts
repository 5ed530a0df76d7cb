import type { ReservedRegion } from './reserved-region.ts';

/** Order of the types at equal starts (`enum iommu_resv_type`). */
const RANK = { direct: 0, 'direct-relaxable': 1, reserved: 2, msi: 3, 'msi-software': 4 } as const;

/** sysfs does not tell the two kinds of MSI window apart. */
const LABEL = {
  direct: 'direct',
  'direct-relaxable': 'direct-relaxable',
  reserved: 'reserved',
  msi: 'msi',
  'msi-software': 'msi',
} as const;

/**
 * A reserved region whose ends are numbers or, where a double does not hold them, bigints.
 * @example const region: RegionRange = { type: 'reserved', start: 0n, end: 0xffff_ffff_ffff_ffffn };
 */
export interface RegionRange {
  readonly type: ReservedRegion['type'];
  readonly start: number | bigint;
  /** Exclusive. */
  readonly end: number | bigint;
}

/**
 * Inserts a region: sorted by start, then by type; regions of one type that overlap or touch become one, with the protection of
 * the lower one. Different types never merge (`iommu_insert_resv_region`). Returns a new list.
 * @example insertResvRegion([], { type: 'msi', start: 0, end: 0x1000, prot: 0 }).length // 1
 */
export function insertResvRegion<R extends RegionRange>(regions: readonly R[], region: R): R[] {
  const at = regions.findIndex(
    (other) =>
      region.start < other.start ||
      (region.start === other.start && RANK[region.type] <= RANK[other.type]),
  );
  const sorted = [...regions];
  sorted.splice(at < 0 ? regions.length : at, 0, region);
  const merged: R[] = [];
  const topOf = new Map<ReservedRegion['type'], number>();
  for (const next of sorted) {
    const top = topOf.get(next.type);
    const below = top === undefined ? undefined : merged[top];
    if (top === undefined || below === undefined || next.start > below.end) {
      topOf.set(next.type, merged.length);
      merged.push(next);
    } else if (next.end > below.end) {
      merged[top] = { ...below, end: next.end };
    }
  }
  return merged;
}

/**
 * A region as a line of the group's `reserved_regions` file in sysfs; the end is inclusive there.
 * @example resvRegionLine({ type: 'msi-software', start: 0x800_0000, end: 0x810_0000, prot: 26 })
 * // '0x0000000008000000 0x00000000080fffff msi'
 */
export function resvRegionLine(region: RegionRange): string {
  const last = BigInt(region.end) - 1n;
  return `${address(BigInt(region.start))} ${address(last)} ${LABEL[region.type]}`;
}

function address(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}
