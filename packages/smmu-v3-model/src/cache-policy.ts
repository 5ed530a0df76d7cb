/*
 * What an implementation may cache, and how late invalidations take effect (IHI 0070 3.21, 4.3, 5.2.1, 16.2).
 * Not modelled: capacity, replacement and fetching ahead, which an implementation may choose too.
 */
import { DEFAULT_INTERFACE_POLICY, type InterfacePolicy } from './interface-policy.ts';

/**
 * What the architecture leaves to an implementation (IHI 0070 3.21, 16.2, 4.3, 6.3.9), as named fields. Every combination is a
 * legal SMMU; software that is right runs on all of them.
 * @example const strictest: Partial<CachePolicy> = { tlb: 'keep', walk: 'keep', config: 'keep', invalidate: 'at-sync' };
 */
export interface CachePolicy extends InterfacePolicy {
  /** Leaf translations: never cached, or kept until a command removes them. */
  readonly tlb: 'none' | 'keep';
  /** Intermediate table descriptors: never cached, or kept until a command removes them. */
  readonly walk: 'none' | 'keep';
  /**
   * What is kept of a stream that both stages translate: VA -> PA alone, which no TLBI by IPA reaches; VA -> IPA beside IPA -> PA; or
   * `both`, the most that 16.2 allows.
   */
  readonly nested: 'combined' | 'separate' | 'both';
  /**
   * L1STD, STE, L1CD and CD: `none`; `keep-valid` keeps only those that lead somewhere; `keep` also keeps V=0, Span=0 and
   * ILLEGAL ones, as 5.2.1 allows.
   */
  readonly config: 'none' | 'keep-valid' | 'keep';
  /** When an invalidation takes effect: as it is consumed, or as late as allowed, when a later CMD_SYNC is. */
  readonly invalidate: 'at-command' | 'at-sync';
  /**
   * When commands are consumed: `immediate` inside the register write that makes them available; `run` all of them when the
   * model is run; `step` one each time the model is run.
   */
  readonly consume: 'immediate' | 'run' | 'step';
  /** When CR0ACK and IRQ_CTRLACK follow: inside the write, or when the model is run. */
  readonly acknowledge: 'immediate' | 'run';
  /** Compares every cached entry that is used with memory and reports those that differ; costs a few loads for each use. */
  readonly detectStale: boolean;
  /** Stale uses kept in the list; later ones are only counted. */
  readonly staleLimit: number;
}

/**
 * Everything that may be cached is, everything takes effect at once, stale uses are reported.
 * @example new SmmuV3Model({ memory, idr, policy: { ...DEFAULT_POLICY, tlb: 'none' } });
 */
export const DEFAULT_POLICY: CachePolicy = {
  ...DEFAULT_INTERFACE_POLICY,
  tlb: 'keep',
  walk: 'keep',
  nested: 'both',
  config: 'keep',
  invalidate: 'at-command',
  consume: 'immediate',
  acknowledge: 'immediate',
  detectStale: true,
  staleLimit: 1000,
};

/**
 * Nothing is cached: every access reads all it needs from memory. A behaviour that the architecture allows, and a reference for any other.
 * @example new SmmuV3Model({ memory, idr, policy: CACHE_NOTHING });
 */
export const CACHE_NOTHING: CachePolicy = {
  ...DEFAULT_POLICY,
  tlb: 'none',
  walk: 'none',
  config: 'none',
};

/**
 * The adversary: whatever an access fetched and 5.2.1 and 16.2 allow to be kept is kept, in every form, until a command that must remove
 * it is complete. It never fetches ahead.
 * @example new SmmuV3Model({ memory, idr, policy: CACHE_EVERYTHING });
 */
export const CACHE_EVERYTHING: CachePolicy = {
  ...DEFAULT_POLICY,
  tlb: 'keep',
  walk: 'keep',
  nested: 'both',
  config: 'keep',
  invalidate: 'at-sync',
};
