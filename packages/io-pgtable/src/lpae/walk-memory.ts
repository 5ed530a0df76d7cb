import { SHAREABILITY, WALK_CACHEABILITY } from '@iommukit/arm-arch';
import type { PageTableConfig } from '../page-table-config.ts';

/**
 * How a device reads tables, as the fields of the same names of TCR and VTCR take it.
 * @example const { sh, orgn, irgn }: WalkMemory = table.registers.vtcr;
 */
export interface WalkMemory {
  /** Shareability: 2 outer, 3 inner. */
  readonly sh: number;
  /** Outer cacheability: 0 non-cacheable, 1 write-back write-allocate. */
  readonly orgn: number;
  /** Inner cacheability. */
  readonly irgn: number;
}

/** The fields for a configuration (`arm_64_lpae_alloc_pgtable_s1`, `_s2`), or `undefined` where its quirks contradict it. */
export function walkMemory(config: PageTableConfig): WalkMemory | undefined {
  const { coherentWalk, quirks = {} } = config;
  const { NC, WBRAWA } = WALK_CACHEABILITY;
  if (!coherentWalk)
    return { sh: SHAREABILITY.OSH, orgn: quirks.outerWbwa ? WBRAWA : NC, irgn: NC };
  // Coherent walks use write-back memory as it is: a wish about the outer cache contradicts that.
  return quirks.outerWbwa ? undefined : { sh: SHAREABILITY.ISH, orgn: WBRAWA, irgn: WBRAWA };
}
