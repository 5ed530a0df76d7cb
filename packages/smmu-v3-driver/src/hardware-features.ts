/**
 * What the driver found in the ID registers (`arm_smmu_device_hw_probe`); sizes in bits, entries as log2.
 * @example driver.features.rangeInvalidation // true
 */
export interface HardwareFeatures {
  readonly twoLevelStreamTable: boolean;
  readonly coherent: boolean;
  readonly stage1: boolean;
  readonly stage2: boolean;
  readonly rangeInvalidation: boolean;
  readonly stalls: boolean;
  readonly stallForce: boolean;
  readonly attrTypesOverride: boolean;
  readonly hyp: boolean;
  readonly priq: boolean;
  readonly ats: boolean;
  /** CMD_SYNC can write to memory when it is done. */
  readonly msi: boolean;
  /** An erratum of this implementation wants a SYNC after at most 63 commands. */
  readonly forceSync: boolean;
  /** CD tables may have two levels. */
  readonly twoLevelCdTable: boolean;
  /** Stage 1 of guests over stage 2. */
  readonly nesting: boolean;
  /** The SMMU itself marks dirty pages, and its walks are coherent, without which that is of no use (`arm_smmu_dbm_capable`). */
  readonly dirtyState: boolean;
  /** The SMMU itself sets access flags (HTTU). */
  readonly accessFlag: boolean;
  /** It sets those of table descriptors too (HAFT). */
  readonly tableAccessFlag: boolean;
  /** Blocks and tables may replace each other without a break in between (BBML 2). */
  readonly bbml2: boolean;
  /** TLB maintenance that CPUs broadcast reaches the SMMU (BTM), unless it is told to ignore it. */
  readonly broadcastTlbi: boolean;
  /** 52-bit virtual addresses with 64 KiB pages. */
  readonly va52: boolean;
  /** Stage 2 can force write-back. */
  readonly forcedWriteBack: boolean;
  readonly asidBits: number;
  readonly vmidBits: number;
  readonly sidBits: number;
  readonly ssidBits: number;
  /** Input size of stage 1. */
  readonly ias: number;
  /** Output size. */
  readonly oas: number;
  readonly cmdqLg2: number;
  readonly evtqLg2: number;
  /** 0 without page requests. */
  readonly priqLg2: number;
  /** Page sizes of stage 1: the sum of powers of two, bytes. */
  readonly pgsizeBitmap: number;
  /** The smallest of them, bytes. */
  readonly minPage: number;
}
