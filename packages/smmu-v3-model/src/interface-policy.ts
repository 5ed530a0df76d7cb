/*
 * What the architecture leaves to an implementation beside caching: registers, queues, stalls, ATS (IHI 0070 3, 4, 6, 7, 8).
 * Not modelled: the choices of Secure state; those that only time would show.
 */
import type { FeaturePreset } from './feature-presets.ts';

/**
 * Choices of the programming interface and of the ports to devices. Every combination is a legal SMMU, but for `guardedWrites: 'taken'`,
 * which is one before SMMUv3.2 only and has no effect from there on, and `reservedLevelHint: 'consumed'`, which only a PE may do.
 * @example const policy: Partial<InterfacePolicy> = { guardedWrites: 'taken', reservedBits: 'stored' };
 */
export interface InterfacePolicy {
  /** A write to a register whose enable is not 0 (6.3): ignored, or taken at once, which SMMUv3.0 and v3.1 may do. */
  readonly guardedWrites: 'ignored' | 'taken';
  /** RES0 bits of writable registers: read as zero, or as they were written. */
  readonly reservedBits: 'zero' | 'stored';
  /** Offsets a8, ac, c8 and cc of page 0 (6.2): the same registers as in page 1, or RAZ/WI. */
  readonly pageZeroIndexes: 'alias' | 'raz-wi';
  /** Offsets of page 1 that hold no register (6.2): RAZ/WI, or the same as in page 0. */
  readonly pageOneRest: 'raz-wi' | 'alias';
  /** GERRORN made different from GERROR for an error that is not active (7.5): nothing, or the error is active from then on. */
  readonly inactiveErrorToggle: 'ignored' | 'activates';
  /** Reserved fields of commands: ignored, or CERROR_ILL (4.1.6). */
  readonly commandReservedFields: 'ignored' | 'illegal';
  /**
   * A TLBI with TG=10 and TTL=01 and no range, without DS: TTL counts as 0, which makes the combination reserved and CERROR_ILL
   * (4.4.1.1); or it is consumed, which is what the Arm architecture gives a PE, and QEMU.
   */
  readonly reservedLevelHint: 'illegal' | 'consumed';
  /** CMD_ATC_INV with Size above 52 (4.5.1). */
  readonly oversizedAtcInvalidation: 'illegal' | 'everything' | 'nothing';
  /** Records of terminated transactions that equal the newest one in the queue (7.3.1): written again, or merged where that is allowed. */
  readonly mergeEvents: 'never' | 'newest';
  /** A stall that repeats one of the same page, stream and kind (3.12.2.1): recorded again, or held until the first is resumed. */
  readonly duplicateStalls: 'recorded' | 'suppressed';
  /** A stall beyond IDR5.STALL_MAX: aborted with STALL=0, as 3.12 allows for devices of the implementation's choice, or held unrecorded. */
  readonly stallsBeyondMaximum: 'abort' | 'hold';
  /** Stalls whose record found no room, once there is room (7.2.1): recorded, unless an invalidation touched them; or always retried. */
  readonly heldStalls: 'record' | 'retry';
  /** Write permission for a translation request with NW=1 (13.7): withheld, or granted where the page is writable already. */
  readonly unaskedWrite: 'withheld' | 'granted';
  /** Size of an ATS completion (3.9.1): that of the leaf, or the smallest that may be asked for (STU). */
  readonly completionSize: 'leaf' | 'stu';
  /** A translated address above OAS (3.9.1.1). */
  readonly translatedAboveOas: 'abort' | 'truncate';
}

/**
 * What a plain reading of the specification gives.
 * @example DEFAULT_INTERFACE_POLICY.mergeEvents // 'never'
 */
export const DEFAULT_INTERFACE_POLICY: InterfacePolicy = {
  guardedWrites: 'ignored',
  reservedBits: 'zero',
  pageZeroIndexes: 'alias',
  pageOneRest: 'raz-wi',
  inactiveErrorToggle: 'activates',
  commandReservedFields: 'ignored',
  reservedLevelHint: 'illegal',
  oversizedAtcInvalidation: 'illegal',
  mergeEvents: 'never',
  duplicateStalls: 'recorded',
  stallsBeyondMaximum: 'abort',
  heldStalls: 'record',
  unaskedWrite: 'withheld',
  completionSize: 'leaf',
  translatedAboveOas: 'abort',
};

/** What QEMU 11 chooses, of what the architecture leaves open. */
const QEMU_11: Partial<InterfacePolicy> = {
  guardedWrites: 'taken',
  reservedBits: 'stored',
  inactiveErrorToggle: 'ignored',
  reservedLevelHint: 'consumed',
};

/**
 * The choices that go with a set of features; what a model's own policy says comes first.
 * @example PRESET_INTERFACE['qemu-11-s1'].reservedBits // 'stored'
 */
export const PRESET_INTERFACE: Readonly<Record<FeaturePreset, Partial<InterfacePolicy>>> = {
  'qemu-11-s1': QEMU_11,
  'qemu-11-s2': QEMU_11,
  'qemu-11-nested': QEMU_11,
  full: {},
};
