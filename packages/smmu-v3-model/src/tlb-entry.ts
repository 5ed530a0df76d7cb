/*
 * What a cached translation is made of (IHI 0070 3.17, 16.2).
 * Not modelled: entries of a Contiguous run held as one; see `tlb.ts` for how they are kept.
 */
import type { Footprint } from './stale-footprint.lanes.ts';
import type { MayBeStale } from './stale-use.ts';
import type { TlbSpace } from './tlb.ts';

/** See `Descriptor.slot`. */
export const NO_SLOT = -1;
export const MANY_SLOTS = -2;

/** What tables and leaves have in common: a descriptor, and what it covers. */
interface Descriptor extends MayBeStale {
  /** The table descriptor above, `undefined` when this one lies in the root table. */
  readonly parent: WalkEntry | undefined;
  /** The stage-2 leaf through which this descriptor itself was read; `undefined` without nesting. */
  readonly under: TlbEntry | undefined;
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  /** -1 to 3; of a combined entry, that of its stage-1 leaf. */
  readonly level: number;
  /** Key of the first address that it covers, and how many bytes. */
  readonly key: number;
  readonly size: number;
  /** What a TLBI must name to reach the entry: for a combined one all of its stage-1 leaf, else the same as `key` and `size`. */
  readonly coverKey: number;
  readonly coverSize: number;
  /** The CD (stage 1) or STE (stage 2) in force when it was made. */
  readonly made: Uint32Array;
  readonly granuleLg2: number;
  /** What the stale-use detector compares with memory; made at the first use. */
  footprint: Footprint | undefined;
  /** Where the front holds it: a slot, or one of `NO_SLOT` and `MANY_SLOTS`. */
  slot: number;
}

/** A table descriptor on the way to a leaf. */
export interface WalkEntry extends Descriptor {
  /** The table that it points to: for a nested stage 1 an IPA. */
  readonly next: number;
  /** Hierarchical limits so far, see `tableLimits`. */
  readonly limits: number;
}

/** A leaf translation, of one stage or combined of two. */
export interface TlbEntry extends Descriptor {
  /** Output address of the first byte: an IPA when a nested stream keeps its stages apart. */
  readonly output: number;
  /** See `permission.lanes.ts`; of a combined entry what both stages permit. Without writes while `clean`. */
  readonly permissions: number;
  /** What it permits once hardware has dirtied it; the same as `permissions` unless it is `clean`. */
  readonly dirtied: number;
  /** Writable-clean: a write must walk again (IHI 0070 3.13). */
  readonly clean: boolean;
  readonly space: TlbSpace;
  /** The two stages of a combined entry. */
  readonly inner: TlbEntry | undefined;
  readonly outer: TlbEntry | undefined;
}
