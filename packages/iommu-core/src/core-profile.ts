/**
 * What differs between kernel versions in this layer.
 * @example const profile: CoreProfile = CORE_PROFILES['6.12'];
 */
export interface CoreProfile {
  /**
   * When a device with at least one reserved region makes the whole domain be invalidated (`iommu_create_device_direct_mappings`):
   * 6.1 does direct mappings after the attach (hot-plug path), 6.12 before it, 7.2 has no such flush.
   */
  readonly directFlush: 'before-attach' | 'after-attach' | 'never';
  /** A map that fails still emits `map` with the bytes really mapped, and every unmap emits `unmap`, refused ones too. */
  readonly eventsOfFailures: boolean;
}

/** A kernel version that the layers know. @example const version: KernelVersion = '6.12'; */
export type KernelVersion = '6.1' | '6.12' | '7.2' | '7.3';

/**
 * The profile of each kernel version.
 * @example new IommuCore({ trace, profile: CORE_PROFILES['7.2'], defaultDomainType: 'dma' });
 */
export const CORE_PROFILES: Readonly<Record<KernelVersion, CoreProfile>> = {
  '6.1': { directFlush: 'after-attach', eventsOfFailures: false },
  '6.12': { directFlush: 'before-attach', eventsOfFailures: false },
  '7.2': { directFlush: 'never', eventsOfFailures: true },
  '7.3': { directFlush: 'never', eventsOfFailures: true },
};
