import type { MemoryView } from '@iommukit/platform';

/** Below this many entries, looking up a page's lanes costs more than it saves. */
const FEW = 4;
const PAGE = 4096;
const LANE_MASK = 1023;

/** Entries, at most `n`, that lie in the 4 KiB page of `entry`. */
function inPage(entry: number, n: number): number {
  const left = (PAGE - (entry & (PAGE - 1))) >>> 3;
  return Math.min(n, left);
}

/** Zeroes [pa, pa + bytes), 8-byte aligned. */
export function zeroWords(memory: MemoryView, pa: number, bytes: number): void {
  clearEntries(memory, pa, bytes >>> 3);
}

/** First lane of the first doubleword of [first, end) that is not zero; `end` when all are. */
function firstUsedLane(page: Uint32Array, first: number, end: number): number {
  let k = first;
  // Four doublewords a step: most runs are empty, and the branch costs more than the loads.
  for (; k + 8 <= end; k += 8) {
    const a = (page[k] as number) | (page[k + 1] as number) | (page[k + 2] as number);
    const b = (page[k + 3] as number) | (page[k + 4] as number) | (page[k + 5] as number);
    if ((a | b | (page[k + 6] as number) | (page[k + 7] as number)) !== 0) break;
  }
  for (; k < end; k += 2) if (((page[k] as number) | (page[k + 1] as number)) !== 0) return k;
  return end;
}

/** Index of the first of `n` entries that is not zero; `n` when all are. */
export function firstUsed(memory: MemoryView, entry: number, n: number): number {
  if (n <= FEW) {
    for (let i = 0; i < n; i++) if ((memory.load64(entry + i * 8) | memory.hi) !== 0) return i;
    return n;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++)
        if ((memory.load64(at + i * 8) | memory.hi) !== 0) return done + i;
    } else {
      const first = (at / 4) & LANE_MASK;
      const used = firstUsedLane(page, first, first + count * 2);
      if (used < first + count * 2) return done + ((used - first) >>> 1);
    }
    done += count;
  }
  return n;
}

/** Index of the first of `n` entries whose bits 1:0 are not `type`; `n` when all are of that type. */
export function firstOther(memory: MemoryView, entry: number, n: number, type: number): number {
  if (n <= FEW) {
    for (let i = 0; i < n; i++) if ((memory.load64(entry + i * 8) & 3) !== type) return i;
    return n;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++) if ((memory.load64(at + i * 8) & 3) !== type) return done + i;
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count * 2;
      for (let k = first; k < end; k += 2)
        if (((page[k] as number) & 3) !== type) return done + ((k - first) >>> 1);
    }
    done += count;
  }
  return n;
}

/** Zeroes `n` entries. */
export function clearEntries(memory: MemoryView, entry: number, n: number): void {
  if (n <= FEW) {
    for (let i = 0; i < n; i++) memory.store64(entry + i * 8, 0, 0);
    return;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++) memory.store64(at + i * 8, 0, 0);
    } else {
      const first = (at / 4) & LANE_MASK;
      page.fill(0, first, first + count * 2);
    }
    done += count;
  }
}

/** A run of leaves to store; reused, so that a map allocates nothing. */
export interface LeafRun {
  /** Output address of the first leaf and distance to the next, bytes. */
  paddr: number;
  step: number;
  /** Everything but the address. */
  lo: number;
  hi: number;
}

/** Low lane of an output address in an entry: bits 31:12, and bits 51:48 in 15:12. */
export function addressLo(pa: number): number {
  return (pa & 0xffff_f000) | (((pa / 0x1_0000_0000) >>> 4) & 0xf000);
}

/** High lane of an output address in an entry: bits 47:32. */
export function addressHi(pa: number): number {
  return (pa / 0x1_0000_0000) & 0xffff;
}

/** Stores the leaves of lanes [first, end) from address `pa` on, which do not carry into the high lane. */
function storeRun(page: Uint32Array, first: number, end: number, run: LeafRun, pa: number): void {
  const step = run.step | 0;
  const hi = run.hi | addressHi(pa);
  for (let k = first, lo = run.lo | addressLo(pa); k < end; k += 2) {
    page[k] = lo;
    page[k + 1] = hi;
    lo = (lo + step) | 0;
  }
}

/** Stores `n` leaves of a run. */
export function storeLeaves(memory: MemoryView, entry: number, n: number, run: LeafRun): void {
  const { paddr, step, lo, hi } = run;
  if (n <= FEW) {
    for (let i = 0; i < n; i++) {
      const pa = paddr + i * step;
      memory.store64(entry + i * 8, lo | addressLo(pa), hi | addressHi(pa));
    }
    return;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    const pa = paddr + done * step;
    if (page === undefined) {
      for (let i = 0; i < count; i++)
        memory.store64(at + i * 8, lo | addressLo(pa + i * step), hi | addressHi(pa + i * step));
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count * 2;
      if ((pa >>> 0) + count * step <= 0x1_0000_0000) {
        storeRun(page, first, end, run, pa);
      } else {
        for (let k = first, next = pa; k < end; k += 2, next += step) {
          page[k] = lo | addressLo(next);
          page[k + 1] = hi | addressHi(next);
        }
      }
    }
    done += count;
  }
}
