import type { KernelVersion } from '@iommukit/iommu-core';

/**
 * What differs between kernel versions in `kernel/dma/debug.c`.
 * @example DMA_PROFILES['6.1'].debug.list // 'scather-gather'
 */
export interface DmaDebugDialect {
  /** What a mapping of one range is called: `single`, or `resource` for device memory; `phy` for both (7.2 on). */
  readonly mapping: 'single' | 'phy';
  /** What a list is called. */
  readonly list: 'scather-gather' | 'scatter-gather';
  /** What stands in front of the digits of a physical address. */
  readonly cpuAddress: '0x' | '0x0x';
  /** Whether `allocPages` is followed. */
  readonly pages: 'untracked' | 'tracked';
  /** Whether drivers can say that overlapping mappings are meant. */
  readonly overlaps: 'mistakes' | 'may-be-declared';
  /** Whether a map of ordinary memory as device memory is reported. */
  readonly resourceRam: 'ignored' | 'reported';
  /** Whether an unmap must have the attributes of the map. */
  readonly attributes: 'ignored' | 'compared';
}

/**
 * What differs between kernel versions in this layer.
 * @example const profile: DmaProfile = DMA_PROFILES['6.12'];
 */
export interface DmaProfile {
  /** PCI devices try 32-bit IOVAs first: until the first failure (`latch`), or every time (6.1). */
  readonly try32: 'latch' | 'every-time';
  /** Names of the events of single mappings: `dma_map_page`, `dma_map_phys` (7.2 on), or no `dma_*` event at all (6.1). */
  readonly events: 'none' | 'page' | 'phys';
  /** A coherent allocation that fails emits `dma_alloc` with address 0. */
  readonly failedAllocEvent: boolean;
  /** A domain can be lazy where the driver says so, or always (6.1). */
  readonly deferredFlush: 'always' | 'capability';
  /** Which devices get one long flush queue for all CPUs: those with `shadowOnFlush`, or none (6.1). */
  readonly singleFlushQueue: 'never' | 'shadow-on-flush';
  /**
   * What `dma_iova_destroy` does: goes through the flush queue of a lazy domain and frees as many bytes as were mapped (`queued`), or always
   * invalidates at once and frees the whole range (`synchronous`); `absent`: the kernel has no two-step calls.
   */
  readonly twoStepDestroy: 'absent' | 'queued' | 'synchronous';
  /** Syncs of devices that snoop return at once until the device has a bounce slot (`dma_skip_sync`), or never (6.1). */
  readonly skipSync: 'never' | 'coherent';
  /** What is said when the atomic pool is full: that no pool fits, or, from 7.2 on, that it is exhausted. */
  readonly fullPool: 'unsuitable' | 'exhausted';
  /** What the mistakes of drivers are called. */
  readonly debug: DmaDebugDialect;
}

const DEBUG_61: DmaDebugDialect = {
  mapping: 'single',
  list: 'scather-gather',
  cpuAddress: '0x',
  pages: 'untracked',
  overlaps: 'mistakes',
  resourceRam: 'ignored',
  attributes: 'ignored',
};
const DEBUG_612: DmaDebugDialect = { ...DEBUG_61, list: 'scatter-gather' };
const DEBUG_72: DmaDebugDialect = {
  ...DEBUG_612,
  mapping: 'phy',
  cpuAddress: '0x0x',
  pages: 'tracked',
  overlaps: 'may-be-declared',
  resourceRam: 'reported',
};

/**
 * The profile of each kernel version.
 * @example DMA_PROFILES['7.2'].events // 'phys'
 */
export const DMA_PROFILES: Readonly<Record<KernelVersion, DmaProfile>> = {
  '6.1': {
    try32: 'every-time',
    events: 'none',
    failedAllocEvent: false,
    deferredFlush: 'always',
    singleFlushQueue: 'never',
    twoStepDestroy: 'absent',
    skipSync: 'never',
    fullPool: 'unsuitable',
    debug: DEBUG_61,
  },
  '6.12': {
    try32: 'latch',
    events: 'page',
    failedAllocEvent: false,
    deferredFlush: 'capability',
    singleFlushQueue: 'shadow-on-flush',
    twoStepDestroy: 'absent',
    skipSync: 'coherent',
    fullPool: 'unsuitable',
    debug: DEBUG_612,
  },
  '7.2': {
    try32: 'latch',
    events: 'phys',
    failedAllocEvent: true,
    deferredFlush: 'capability',
    singleFlushQueue: 'shadow-on-flush',
    twoStepDestroy: 'queued',
    skipSync: 'coherent',
    fullPool: 'exhausted',
    debug: DEBUG_72,
  },
  '7.3': {
    try32: 'latch',
    events: 'phys',
    failedAllocEvent: true,
    deferredFlush: 'capability',
    singleFlushQueue: 'shadow-on-flush',
    twoStepDestroy: 'synchronous',
    skipSync: 'coherent',
    fullPool: 'exhausted',
    debug: { ...DEBUG_72, attributes: 'compared' },
  },
};
