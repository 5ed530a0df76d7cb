import type { MemoryView } from '@iommukit/platform';

/** Below this many entries, looking up a page's lanes costs more than it saves. */
const FEW = 4;
const PAGE = 4096;
const LANE_MASK = 1023;

/** Entries, at most `n`, that lie in the 4 KiB page of `entry`. */
function inPage(entry: number, n: number): number {
  return Math.min(n, (PAGE - (entry & (PAGE - 1))) >>> 2);
}

/** Index of the first of `n` 32-bit entries whose bits under `mask` are not `value`; `n` when all are. */
export function firstNot(
  memory: MemoryView,
  entry: number,
  n: number,
  mask: number,
  value: number,
): number {
  if (n <= FEW) {
    for (let i = 0; i < n; i++) if ((memory.load32(entry + i * 4) & mask) !== value) return i;
    return n;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 4;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++)
        if ((memory.load32(at + i * 4) & mask) !== value) return done + i;
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count;
      for (let k = first; k < end; k++)
        if (((page[k] as number) & mask) !== value) return done + k - first;
    }
    done += count;
  }
  return n;
}

/** Stores `n` 32-bit entries, each `step` above the one before; a carry out of bit 31 is lost. */
export function storeRun(
  memory: MemoryView,
  entry: number,
  n: number,
  word: number,
  step: number,
): void {
  let next = word | 0;
  if (n <= FEW) {
    for (let i = 0; i < n; i++, next = (next + step) | 0) memory.store32(entry + i * 4, next >>> 0);
    return;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 4;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++, next = (next + step) | 0)
        memory.store32(at + i * 4, next >>> 0);
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count;
      for (let k = first; k < end; k++, next = (next + step) | 0) page[k] = next;
    }
    done += count;
  }
}

/**
 * Stores a 32-bit entry if it is zero and returns what it held. Memory compares and swaps doublewords only: when the other half
 * changes meanwhile, it is tried again with what stands there then.
 */
export function claimWord(memory: MemoryView, entry: number, word: number): number {
  const upper = (entry & 4) !== 0;
  const pair = upper ? entry - 4 : entry;
  for (;;) {
    const lo = memory.load64(pair);
    const hi = memory.hi;
    const old = upper ? hi : lo;
    if (old !== 0) return old >>> 0;
    if (upper ? memory.cas64(pair, lo, 0, lo, word) : memory.cas64(pair, 0, hi, word, hi)) return 0;
  }
}
