/**
 * What differs between kernels in this layer, one named field each.
 * @example const profile: DriverProfile = DRIVER_PROFILES['6.12'];
 */
export interface DriverProfile {
  /** Most bytes of one queue; the CMA alignment or MAX_ORDER of the kernel's configuration decides it. */
  readonly maxQueueBytes: number;
  /** Order in which the stream ids of one device are written: as the firmware lists them, or ascending (7.x). */
  readonly streamOrder: 'firmware' | 'ascending';
  /** Virtual address bits of the kernel: the input size of stage 1 is the smaller of this and 48 (52 with VAX). */
  readonly vaBits: number;
  /** Bits of one event-queue message before the limiter drops it: events printed in each window. */
  readonly printBurst: number;
  /** Length of that window, microseconds. */
  readonly printWindowUs: number;
}

/**
 * Kernels that this driver behaves as.
 * @example const kernel: DriverKernel = '6.12';
 */
export type DriverKernel = '6.12';

/**
 * The profiles by kernel version. Others differ in ways that this driver does not model yet, so they have no entry.
 * @example DRIVER_PROFILES['6.12'].maxQueueBytes // 1048576
 */
export const DRIVER_PROFILES: Readonly<Record<DriverKernel, DriverProfile>> = {
  '6.12': {
    maxQueueBytes: 2 ** 20,
    streamOrder: 'firmware',
    vaBits: 48,
    printBurst: 10,
    printWindowUs: 5_000_000,
  },
};
