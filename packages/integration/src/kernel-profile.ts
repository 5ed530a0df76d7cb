import { IommuError } from '@iommukit/bits';
import { DMA_PROFILES, type DmaProfile } from '@iommukit/dma-api';
import { IO_PGTABLE_PROFILES, type IoPgtableProfile } from '@iommukit/io-pgtable';
import { CORE_PROFILES, type CoreProfile } from '@iommukit/iommu-core';
import { IOVA_PROFILES, type IovaProfile } from '@iommukit/iova-allocator';
import { DRIVER_PROFILES, type DriverKernel, type DriverProfile } from '@iommukit/smmu-v3-driver';

/**
 * Everything that differs by kernel version, one record of each layer that has such differences.
 * @example const profile: KernelProfile = kernelProfile('6.12');
 */
export interface KernelProfile {
  readonly kernel: DriverKernel;
  readonly iova: IovaProfile;
  readonly pgtable: IoPgtableProfile;
  readonly core: CoreProfile;
  readonly driver: DriverProfile;
  readonly dma: DmaProfile;
}

/**
 * The profile of a kernel version; throws {@link UnknownKernel} for one that some layer does not model.
 * @example kernelProfile('6.12').driver.vaBits // 48
 */
export function kernelProfile(kernel: string): KernelProfile {
  if (!Object.hasOwn(DRIVER_PROFILES, kernel)) throw new UnknownKernel({ kernel });
  const key = kernel as DriverKernel;
  return {
    kernel: key,
    iova: IOVA_PROFILES[key],
    pgtable: IO_PGTABLE_PROFILES[key],
    core: CORE_PROFILES[key],
    driver: DRIVER_PROFILES[key],
    dma: DMA_PROFILES[key],
  };
}

/**
 * No complete profile exists for a kernel version; code `UNKNOWN_KERNEL`.
 * @example try { kernelProfile('5.4'); } catch (e) { (e as UnknownKernel).operands.kernel; }
 */
export class UnknownKernel extends IommuError<{ kernel: string }> {
  override readonly name = 'UnknownKernel';
  constructor(operands: { kernel: string }) {
    super(
      'UNKNOWN_KERNEL',
      operands,
      `there is no profile for kernel ${operands.kernel}`,
      `Use one of ${Object.keys(DRIVER_PROFILES).join(', ')}`,
    );
  }
}
