/*
 * What differs between the configuration that a translation was made under and the one that it is used under (IHI 0070 5.2.1, 5.4.1):
 * fields that a TLB may hold, so that software must invalidate when it changes them.
 * Not modelled: fields that nothing here reads; see `stale-masks.ts`.
 */
import { CD } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import type { CachedContext } from './context-descriptor.ts';
import { CD_MAIR } from './memory-attribute.lanes.ts';
import type { Regime } from './regime.ts';
import { CD_LOWER, CD_UPPER, STE_STAGE2_CACHED } from './stale-masks.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** A doubleword that is not what a translation was made from. */
export interface ChangedWord {
  readonly paddr: number;
  readonly used: U64;
  readonly now: U64;
}

/** The stream table or CR2.E2H changed under a cached STE: the old copy is intact, but fetched now it would be, or mean, another. */
export function unreached(stream: CachedStream): ChangedWord {
  const word = { lo: stream.words[0] as number, hi: stream.words[1] as number };
  return { paddr: stream.paddr, used: word, now: word };
}

/**
 * A CD whose TLB-cacheable fields (5.4.1) changed while translations made under the old one stayed, or a CD that shares their tags
 * and disagrees. Global entries serve every ASID, each with tables of its own, so that those are compared for the `same-asid` alone.
 */
export function changedContext(
  entry: TlbEntry | WalkEntry,
  cd: CachedContext,
  half: Regime,
  compared: 'any-asid' | 'same-asid',
): ChangedWord | undefined {
  const { made } = entry;
  const root = rootOf(entry);
  return (
    (made === cd.words ? undefined : changedFields(made, cd, half, compared)) ??
    (root === made || root === cd.words ? undefined : changedFields(root, cd, half, compared))
  );
}

/** What the walk that an entry continues began with: an older CD or STE than its own, where a kept table led there. */
function rootOf(entry: TlbEntry | WalkEntry): Uint32Array {
  let top = entry;
  while (top.parent !== undefined) top = top.parent;
  return top.made;
}

function changedFields(
  made: Uint32Array,
  cd: CachedContext,
  half: Regime,
  compared: 'any-asid' | 'same-asid',
): ChangedWord | undefined {
  const { words } = cd;
  const mask = half.upper ? CD_UPPER : CD_LOWER;
  const same = compared === 'any-asid' || CD.get.ASID(made) === CD.get.ASID(words);
  for (let i = 0; i < mask.length; i += 2) {
    if (i !== 0 && i !== CD_MAIR && !same) continue;
    const change = changedLanes(made, words, mask, i);
    if (change !== undefined) return { paddr: cd.paddr + i * 4, ...change };
  }
  return undefined;
}

/** The same for the stage-2 fields of an STE (5.2.1). */
export function changedStage2(
  entry: TlbEntry | WalkEntry,
  stream: CachedStream,
): ChangedWord | undefined {
  const { words } = stream;
  for (const made of [entry.made, rootOf(entry)]) {
    if (made === words) continue;
    for (let i = 0; i < STE_STAGE2_CACHED.length; i += 2) {
      const change = changedLanes(made, words, STE_STAGE2_CACHED, i);
      if (change !== undefined) return { paddr: stream.paddr + i * 4, ...change };
    }
  }
  return undefined;
}

/** A translation by VA was made with or without stage 2, and under which; the stream that uses it may differ. */
export function changedStages(
  outer: TlbEntry | undefined,
  stream: CachedStream,
): ChangedWord | undefined {
  if (outer !== undefined && stream.stage2 !== undefined) return changedStage2(outer, stream);
  if ((outer === undefined) === (stream.stage2 === undefined)) return undefined;
  const lanes = outer?.made ?? [0, 0];
  return {
    paddr: stream.paddr,
    used: { lo: lanes[0] as number, hi: lanes[1] as number },
    now: { lo: stream.words[0] as number, hi: stream.words[1] as number },
  };
}

function changedLanes(
  made: Uint32Array,
  words: Uint32Array,
  mask: Uint32Array,
  i: number,
): { used: U64; now: U64 } | undefined {
  const lo = words[i] as number;
  const hi = words[i + 1] as number;
  const wasLo = made[i] as number;
  const wasHi = made[i + 1] as number;
  const same =
    ((lo ^ wasLo) & (mask[i] as number)) === 0 && ((hi ^ wasHi) & (mask[i + 1] as number)) === 0;
  return same ? undefined : { used: { lo: wasLo, hi: wasHi }, now: { lo, hi } };
}
