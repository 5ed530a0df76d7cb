/*
 * A 64-bit input address as the model works with it: its 4 KiB page as a number, which is exact for every page, and the offset in it.
 * Not modelled: pages of another size; what lies below bit 12 never decides a translation (DDI 0487 D8.2).
 */
import { fromLanes, type U64 } from '@iommukit/bits';

const PAGE = 4096;

/** The page-aligned address, bytes. */
export function pageOf({ lo, hi }: U64): number {
  const low = fromLanes(lo, 0);
  return fromLanes(low - (low % PAGE), hi);
}

/** Bytes into the page. */
export function offsetOf({ lo }: U64): number {
  return fromLanes(lo, 0) % PAGE;
}
