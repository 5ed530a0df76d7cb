/**
 * A range of IOVAs that must be treated specially (`struct iommu_resv_region`); bytes, `end` exclusive.
 * @example const msi: ReservedRegion = { type: 'msi-software', start: 0x800_0000, end: 0x810_0000, prot: 26 };
 */
export interface ReservedRegion {
  /** `direct`: mapped one to one; `reserved`: never used; `msi`: the hardware's own window; `msi-software`: doorbells are mapped there. */
  readonly type: 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'msi-software';
  readonly start: number;
  readonly end: number;
  /** Protection for direct mappings (`IOMMU_READ` ...). */
  readonly prot: number;
}
