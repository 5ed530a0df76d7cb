/*
 * Reports of cached entries that were used although memory no longer holds what they were made from (IHI 0070 3.21).
 * Not modelled: incoherent caches of the CPU; a store that has not reached the device's view is not yet a change.
 */
import type { U64 } from '@iommukit/bits';

/**
 * One cached entry that was used after memory changed (IHI 0070 3.21, 4.3.8). `missing`: no command that removes it has been
 * given; `pending`: one is in the queue; `race`: one was consumed and its CMD_SYNC was not, or it came after the use, so that the use
 * fell into the window that a driver allows. Old and new are both allowed under `pending` and `race`; what stays `missing` is a bug.
 * @example smmu.staleUses.filter((use) => use.class === 'missing').map((use) => use.removedBy[0]);
 */
export interface StaleUse {
  /** `tlb` and `walk`: a leaf or table found by VA; `s2-tlb` and `s2-walk`: by IPA; `atc`: what an endpoint keeps. */
  readonly kind: 'l1std' | 'ste' | 'l1cd' | 'cd' | 'walk' | 'tlb' | 's2-walk' | 's2-tlb' | 'atc';
  readonly class: 'missing' | 'pending' | 'race';
  /** The stream whose access used the entry. */
  readonly streamId: number;
  readonly substreamId: number | undefined;
  /** Tags of a translation; absent for configuration. A global entry has no ASID. */
  readonly asid: number | undefined;
  readonly vmid: number | undefined;
  /** Page-aligned input address of a translation, bytes. */
  readonly iova: number | undefined;
  /** The same where the input is an IPA. */
  readonly ipa: number | undefined;
  /** Where the doubleword that changed lies. */
  readonly paddr: number;
  /** The doubleword as cached. */
  readonly used: U64;
  /** The doubleword as memory holds it now. */
  readonly now: U64;
  /** Commands that would have removed the entry, narrowest first; each followed by CMD_SYNC. */
  readonly removedBy: readonly string[];
  /** Uses of this entry so far. */
  readonly uses: number;
}

/** The mutable form behind a {@link StaleUse}: its entry holds it, so that later uses and removal update it. */
export type StaleRecord = { -readonly [K in keyof StaleUse]: StaleUse[K] };

/** What an entry that can be stale carries. */
export interface MayBeStale {
  stale: StaleRecord | undefined;
}

/** The bounded list of stale uses and its totals. */
export class StaleLog {
  readonly list: StaleRecord[] = [];
  /** Uses, repeated ones included. */
  uses = 0;
  /** Entries that were found stale. */
  entries = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts one more use of an entry that was reported before. */
  again(record: StaleRecord): void {
    this.uses++;
    record.uses++;
  }

  add(entry: MayBeStale, record: StaleRecord): void {
    this.uses++;
    this.entries++;
    entry.stale = record;
    if (this.list.length < this.#limit) this.list.push(record);
  }
}

/** A command removed an entry: what looked like an omission was the window before the command. */
export function noteRemoved(entry: MayBeStale): void {
  if (entry.stale?.class === 'missing') entry.stale.class = 'race';
}
