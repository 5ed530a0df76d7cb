/**
 * Kernel versions whose allocator is described.
 * @example const version: IovaProfileName = '6.12';
 */
export type IovaProfileName = '6.1' | '6.12' | '7.2' | '7.3';

/**
 * What differs between kernel versions in `drivers/iommu/iova.c`; everything else is the same in all of them.
 * @example const profile: IovaProfile = { ...IOVA_PROFILES['7.3'], depotReclaimDelayUs: null };
 */
export interface IovaProfile {
  /** Kernel version the values belong to. */
  readonly version: IovaProfileName;
  /** Full magazines the depot of one order holds; one more is emptied into the tree at once. `null`: no limit. */
  readonly depotLimit: number | null;
  /** Microseconds from a push to the depot work that frees one magazine while there are more than online CPUs. `null`: never. */
  readonly depotReclaimDelayUs: number | null;
  /** Whether both magazines of each order and CPU exist from the start or when a free first needs them. */
  readonly magazineMemory: 'at-init' | 'on-demand';
}

/**
 * The allocator of each kernel version: depot as an array of 32 without reclaim in 6.1, as a list with a reclaim work of 100 ms from 6.12 on
 * (`MAX_GLOBAL_MAGS`, `IOVA_DEPOT_DELAY`); magazines on demand from 7.3 on.
 * @example IOVA_PROFILES['6.1'].depotLimit // 32
 */
export const IOVA_PROFILES: Readonly<Record<IovaProfileName, IovaProfile>> = {
  '6.1': {
    version: '6.1',
    depotLimit: 32,
    depotReclaimDelayUs: null,
    magazineMemory: 'at-init',
  },
  '6.12': {
    version: '6.12',
    depotLimit: null,
    depotReclaimDelayUs: 100_000,
    magazineMemory: 'at-init',
  },
  '7.2': {
    version: '7.2',
    depotLimit: null,
    depotReclaimDelayUs: 100_000,
    magazineMemory: 'at-init',
  },
  '7.3': {
    version: '7.3',
    depotLimit: null,
    depotReclaimDelayUs: 100_000,
    magazineMemory: 'on-demand',
  },
};
