/*
 * A TLB entry that takes a VA to a PA through both stages (IHI 0070 16.2).
 * Not modelled: combined entries of more than the smaller of the two leaves.
 */
import { bothPermit } from './permission.lanes.ts';
import { NO_SLOT, type TlbEntry } from './tlb-entry.ts';
import { alignKey } from './translation-key.lanes.ts';

/** One entry of both stages, of the smaller size, which falls with whatever removes its stage-1 leaf (16.2). */
export function combinedEntry(inner: TlbEntry, outer: TlbEntry, key: number): TlbEntry {
  const size = Math.min(inner.size, outer.size);
  const start = alignKey(key, size);
  const ipa = inner.output + (start - inner.key);
  // What a hit reads stands first; the same order as in `walk.lanes.ts`, or each use would meet two shapes.
  return {
    slot: NO_SLOT,
    inner,
    outer,
    parent: inner.parent,
    under: inner.under,
    paddr: inner.paddr,
    lo: inner.lo,
    hi: inner.hi,
    level: inner.level,
    key: start,
    size,
    coverKey: inner.coverKey,
    coverSize: inner.coverSize,
    made: inner.made,
    granuleLg2: inner.granuleLg2,
    output: outer.output + (ipa - outer.key),
    permissions: bothPermit(inner.permissions, outer.permissions),
    dirtied: bothPermit(inner.dirtied, outer.dirtied),
    clean: inner.clean || outer.clean,
    space: inner.space,
    footprint: undefined,
    stale: undefined,
  };
}
