/**
 * Where kernel versions differ in how a page table behaves; every field is one difference.
 * @example const profile: IoPgtableProfile = { ...IO_PGTABLE_PROFILES['7.3'], tableUnmapGathers: false };
 */
export interface IoPgtableProfile {
  /**
   * Unmapping a whole table entry (2 MiB of 4 KiB leaves, say) adds that entry to the gather although `tlbFlushWalk` already
   * covered it; otherwise only leaves are added.
   */
  readonly tableUnmapGathers: boolean;
  /** Unmapping a part of a block: replace the block by a table of smaller leaves, or warn and unmap nothing. */
  readonly partialBlockUnmap: 'split' | 'refuse';
}

const SINCE_6_12: IoPgtableProfile = { tableUnmapGathers: true, partialBlockUnmap: 'refuse' };

/**
 * The behaviour of `drivers/iommu/io-pgtable-arm.c` by kernel version.
 * @example IO_PGTABLE_PROFILES['6.1'].partialBlockUnmap // 'split'
 */
export const IO_PGTABLE_PROFILES: Readonly<
  Record<'6.1' | '6.12' | '7.2' | '7.3', IoPgtableProfile>
> = {
  '6.1': { tableUnmapGathers: false, partialBlockUnmap: 'split' },
  '6.12': SINCE_6_12,
  '7.2': SINCE_6_12,
  '7.3': SINCE_6_12,
};
