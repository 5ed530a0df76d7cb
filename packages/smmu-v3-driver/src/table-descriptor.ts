import { L1CD, L1STD } from '@iommukit/arm-arch';

/** log2 of the STEs of one second-level table (`STRTAB_SPLIT`). */
export const STRTAB_SPLIT = 8;

/**
 * The level-1 descriptor that points to a table of 256 STEs (`arm_smmu_write_strtab_l1_desc`), two lanes.
 * @example streamTableDescriptor(0x4638_4000)[0] // 0x4638_4009
 */
export function streamTableDescriptor(table: number): Uint32Array {
  // A span of n describes 2^(n-1) STEs (IHI 0070 5.1).
  return L1STD.encode({ Span: STRTAB_SPLIT + 1, L2Ptr: table });
}

/**
 * The level-1 descriptor that points to a table of 1024 CDs (`arm_smmu_write_cd_l1_desc`), two lanes.
 * @example cdTableDescriptor(0x4638_4000)[0] // 0x4638_4001
 */
export function cdTableDescriptor(table: number): Uint32Array {
  return L1CD.encode({ V: 1, L2Ptr: table });
}
