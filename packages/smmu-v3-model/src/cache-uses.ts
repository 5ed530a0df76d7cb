/*
 * The uses of cached entries that somebody may hear of (IHI 0070 16.2).
 * Not modelled: nothing of section 16.2 is decided here; this is the contract of those who listen.
 */
import type { CachedContext, L1ContextEntry } from './context-descriptor.ts';
import type { Regime } from './regime.ts';
import type { CachedStream, L1StreamEntry } from './stream-entry.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** Hears of every use of a cached entry: the stale-use detector, or whoever explains an access. Absent when nobody asks. */
export interface CacheUses {
  checkL1Stream(l1std: L1StreamEntry, streamId: number, tableGeneration: number): void;
  checkStream(stream: CachedStream, tableGeneration: number): void;
  checkL1Context(l1cd: L1ContextEntry, stream: CachedStream, ssid: number): void;
  checkContext(stream: CachedStream, cd: CachedContext): void;
  /** A leaf found by VA, or one that holds both stages. */
  checkLeaf(entry: TlbEntry, stream: CachedStream, cd: CachedContext, half: Regime): void;
  checkWalk(entry: WalkEntry, stream: CachedStream, cd: CachedContext, half: Regime): void;
  /** A leaf found by IPA. */
  checkIpa(entry: TlbEntry, stream: CachedStream): void;
  checkIpaWalk(entry: WalkEntry, stream: CachedStream): void;
}
