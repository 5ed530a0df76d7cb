import { IIDR } from '@iommukit/arm-arch';

/** Implementer and products of the IIDR that Linux knows (`IIDR_IMPLEMENTER_ARM`, `IIDR_PRODUCTID_ARM_MMU_600` and `_700`). */
const ARM = 0x43b;
const MMU_600 = 0x483;
const MMU_700 = 0x487;

/** What errata take away or demand. */
export interface HardwareErrata {
  /** Events for waiting CPUs do not arrive. */
  readonly noSev: boolean;
  /** Stage 1 over stage 2 does not work. */
  readonly noNesting: boolean;
  /** A SYNC must follow at most 63 commands. */
  readonly forceSync: boolean;
}

/** The errata of an implementation by its IIDR (`arm_smmu_device_iidr_probe`). */
export function errataOf(iidr: number): HardwareErrata {
  const word = [iidr, 0] as const;
  const of = (product: number): boolean =>
    IIDR.get.Implementer(word) === ARM && IIDR.get.ProductID(word) === product;
  const variant = IIDR.get.Variant(word);
  const revision = IIDR.get.Revision(word);
  const early700 = of(MMU_700) && (variant < 1 || revision < 1);
  return {
    noSev: of(MMU_600) && variant === 0 && revision <= 2,
    noNesting: (of(MMU_600) && variant < 2) || early700,
    forceSync: early700,
  };
}
