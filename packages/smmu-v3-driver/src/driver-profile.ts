import { IommuError } from '@iommukit/bits';

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
  /** Events printed in each window; the limiter counts the others. */
  readonly printBurst: number;
  /** Length of that window, microseconds. */
  readonly printWindowUs: number;
  /** Function that the limiter's line names. */
  readonly printLimiter: 'arm_smmu_evtq_thread' | 'arm_smmu_dump_event';
  /** Lines of an event: the raw record at info level, or record and decoded fields at error level (7.x). */
  readonly eventDialect: 'raw' | 'decoded';
  /** Events that may stall and are looked up by stream first: translation faults alone, or configuration errors too (7.x). */
  readonly stallEvents: 'translation' | 'all';
  /** Whether an error of the page-fault layer counts, so that the event is printed (7.x). */
  readonly reportErrors: 'ignored' | 'printed';
  /** The probe's line names the input size as well as the output size (6.x). */
  readonly probeLine: 'ias-oas' | 'oas';
  /** Domains can track dirty pages (since 6.11). */
  readonly dirtyTracking: boolean;
  /** Features that the probe's line counts: up to hardware dirty state, or also S2FWB, BBML2 and HAFT (7.x). */
  readonly printedFeatures: 'up-to-hd' | 'up-to-haft';
  /** How a stream id of another device is refused: -EINVAL, or -ENODEV with another line (7.x). */
  readonly sharedStream: 'in-tree' | 'aliasing';
  /** How an entry in memory changes: fixed steps (6.1), or as few as the bits in use demand. */
  readonly entryWriter: 'fixed-steps' | 'used-bits';
  /** STE bits that may change under the hardware's eyes: none, or EATS and MEV (7.x). */
  readonly updateSafe: 'none' | 'eats-mev';
  /** Whether MEV and S2FWB of an STE are known (7.x): written by the builders and counted as in use. */
  readonly steFields: 'base' | 'mev-s2fwb';
  /** SHCFG of abort and bypass: always set to incoming (6.1), or in bypass where the attribute override exists. */
  readonly shareability: 'always' | 'with-override';
  /** Who has the context descriptors: the domain, written once (6.1), or each device. */
  readonly cdOwner: 'domain' | 'device';
  /** A device that changes domains has its STE aborted in between (6.1), or goes straight. */
  readonly reattach: 'through-abort' | 'direct';
  /** When an ASID is given to a domain. */
  readonly asidAlloc: 'at-attach' | 'at-alloc';
  /** Whom an invalidation reaches: the domain's tag whether a device is attached or not, or the entries of its array (7.x). */
  readonly invalidation: 'domain' | 'array';
  /** Without range commands, a range of as many granules as a table has entries: page by page, or everything at once (7.x). */
  readonly longRange: 'by-page' | 'whole-tag';
  /** A range that ends with the address space adds no command: a bare SYNC, or nothing at all (7.x). */
  readonly wrappedRange: 'sync' | 'nothing';
  /** Address bits of an invalidation of stage 2: masked to 51:12, or as they come (7.x). */
  readonly ipaBits: 'masked' | 'kept';
  /** When a tag that loses its last user is invalidated: with the page table, or at the detach (7.x). */
  readonly lastFlush: 'free' | 'detach';
  /** What makes a command: a record that each opcode picks its fields from and may refuse, or words as given (7.x). */
  readonly commandBuilder: 'record' | 'words';
  /** Whether the erratum is known that wants CFGI and TLBI lists issued twice (7.3). */
  readonly repeatErratum: 'unknown' | 'known';
}

/**
 * What decides the commands of one invalidation.
 * @example const rules: InvalidationRules = DRIVER_PROFILES['7.3'];
 */
export type InvalidationRules = Pick<DriverProfile, 'longRange' | 'wrappedRange' | 'ipaBits'>;

/**
 * Kernels that this driver behaves as.
 * @example const kernel: DriverKernel = '6.12';
 */
export type DriverKernel = '6.1' | '6.12' | '7.2' | '7.3';

const LINUX_6_12: DriverProfile = {
  dirtyTracking: true,
  maxQueueBytes: 2 ** 20,
  streamOrder: 'firmware',
  vaBits: 48,
  printBurst: 10,
  printWindowUs: 5_000_000,
  printLimiter: 'arm_smmu_evtq_thread',
  eventDialect: 'raw',
  stallEvents: 'translation',
  reportErrors: 'ignored',
  probeLine: 'ias-oas',
  printedFeatures: 'up-to-hd',
  sharedStream: 'in-tree',
  entryWriter: 'used-bits',
  updateSafe: 'none',
  steFields: 'base',
  shareability: 'with-override',
  cdOwner: 'device',
  reattach: 'direct',
  asidAlloc: 'at-alloc',
  invalidation: 'domain',
  longRange: 'by-page',
  wrappedRange: 'sync',
  ipaBits: 'masked',
  lastFlush: 'free',
  commandBuilder: 'record',
  repeatErratum: 'unknown',
};

const LINUX_7_2: DriverProfile = {
  ...LINUX_6_12,
  streamOrder: 'ascending',
  printLimiter: 'arm_smmu_dump_event',
  eventDialect: 'decoded',
  stallEvents: 'all',
  reportErrors: 'printed',
  probeLine: 'oas',
  printedFeatures: 'up-to-haft',
  sharedStream: 'aliasing',
  updateSafe: 'eats-mev',
  steFields: 'mev-s2fwb',
  invalidation: 'array',
  longRange: 'whole-tag',
  wrappedRange: 'nothing',
  ipaBits: 'kept',
  lastFlush: 'detach',
  commandBuilder: 'words',
};

/**
 * The profiles by kernel version.
 * @example DRIVER_PROFILES['6.12'].maxQueueBytes // 1048576
 */
export const DRIVER_PROFILES: Readonly<Record<DriverKernel, DriverProfile>> = {
  '6.1': {
    ...LINUX_6_12,
    entryWriter: 'fixed-steps',
    shareability: 'always',
    cdOwner: 'domain',
    reattach: 'through-abort',
    asidAlloc: 'at-attach',
    dirtyTracking: false,
  },
  '6.12': LINUX_6_12,
  '7.2': LINUX_7_2,
  '7.3': { ...LINUX_7_2, repeatErratum: 'known' },
};

/**
 * The profile of a kernel version; throws {@link UnknownDriverKernel} for any other.
 * @example driverProfile('7.3').invalidation // 'array'
 */
export function driverProfile(kernel: string): DriverProfile {
  if (!Object.hasOwn(DRIVER_PROFILES, kernel)) throw new UnknownDriverKernel({ kernel });
  return DRIVER_PROFILES[kernel as DriverKernel];
}

/**
 * The driver of a kernel version is not modelled; code `UNKNOWN_DRIVER_KERNEL`.
 * @example try { driverProfile('5.4'); } catch (e) { (e as UnknownDriverKernel).operands.kernel; }
 */
export class UnknownDriverKernel extends IommuError<{ kernel: string }> {
  override readonly name = 'UnknownDriverKernel';
  constructor(operands: { kernel: string }) {
    super(
      'UNKNOWN_DRIVER_KERNEL',
      operands,
      `no driver profile for kernel ${operands.kernel}`,
      `Use one of ${Object.keys(DRIVER_PROFILES).join(', ')}`,
    );
  }
}
