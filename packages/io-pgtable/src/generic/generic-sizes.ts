import { type U64, u64Of } from '@iommukit/bits';
import type { GenericEntries, HasFeature } from './generic-entries.ts';

/** Bits of input address that a table of `level` translates. */
export function reachLg2(entries: GenericEntries<unknown>, level: number): number {
  return entries.granuleLg2 + 9 * level + entries.itemsLg2(level);
}

/** The page sizes that a table offers before the caller narrows them. */
export function offeredSizes(
  entries: GenericEntries<unknown>,
  has: HasFeature,
  limits: { readonly topLevel: number; readonly maxVaszLg2: number; readonly maxOaszLg2: number },
): number {
  const top = has('DYNAMIC_TOP') ? entries.maxTopLevel : limits.topLevel;
  const end = Math.min(limits.maxVaszLg2 - 1, limits.maxOaszLg2);
  let bitmap = 0;
  for (let level = 0; level <= Math.min(top, entries.maxLeafLevel); level++) {
    const sizes = u64Of(entries.pageSizes(level, has));
    for (let lg2 = 0; lg2 < end; lg2++) if (hasBit(sizes, lg2)) bitmap += 2 ** lg2;
  }
  return bitmap;
}

/** True when bit `lg2` of a word is set. */
export function hasBit(word: U64, lg2: number): boolean {
  const lane = lg2 < 32 ? word.lo / 2 ** lg2 : word.hi / 2 ** (lg2 - 32);
  return Math.floor(lane) % 2 === 1;
}
