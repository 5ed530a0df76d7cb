import type { MemoryView } from '@iommukit/platform';

const TWO32 = 0x1_0000_0000;
/** Below this many entries, looking up a page's lanes costs more than it saves. */
const FEW = 4;
const PAGE = 4096;
const LANE_MASK = 1023;

/** Entries, at most `n`, that lie in the 4 KiB page of `entry`. */
function inPage(entry: number, n: number): number {
  return Math.min(n, (PAGE - (entry & (PAGE - 1))) >>> 3);
}

/** Index of the first of `n` entries that is zero; `n` when none is. */
export function firstEmpty(memory: MemoryView, entry: number, n: number): number {
  if (n <= FEW) {
    for (let i = 0; i < n; i++) if ((memory.load64(entry + i * 8) | memory.hi) === 0) return i;
    return n;
  }
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = memory.lanes(at);
    if (page === undefined) {
      for (let i = 0; i < count; i++)
        if ((memory.load64(at + i * 8) | memory.hi) === 0) return done + i;
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count * 2;
      for (let k = first; k < end; k += 2)
        if (((page[k] as number) | (page[k + 1] as number)) === 0)
          return done + ((k - first) >>> 1);
    }
    done += count;
  }
  return n;
}

/** A run of leaves to store; reused, so that a map allocates nothing. */
export interface DartRun {
  /** The address field of the first leaf, before its mask, and the distance to the next. */
  field: number;
  step: number;
  /** Which bits of the field an entry has, by lane. */
  maskLo: number;
  maskHi: number;
  /** Everything but the address. */
  lo: number;
  hi: number;
}

/** Stores `n` leaves of a run. */
export function storeFields(memory: MemoryView, entry: number, n: number, run: DartRun): void {
  const { field, step, maskLo, maskHi, lo, hi } = run;
  for (let done = 0; done < n; ) {
    const at = entry + done * 8;
    const count = inPage(at, n - done);
    const page = n <= FEW ? undefined : memory.lanes(at);
    let next = field + done * step;
    if (page === undefined) {
      for (let i = 0; i < count; i++, next += step)
        memory.store64(at + i * 8, lo | (next & maskLo), hi | ((next / TWO32) & maskHi));
    } else {
      const first = (at / 4) & LANE_MASK;
      const end = first + count * 2;
      if ((next >>> 0) + count * step <= TWO32) {
        // No carry into the high lane, so that one 32-bit addition makes the next address.
        const high = hi | ((next / TWO32) & maskHi);
        let low = next | 0;
        for (let k = first; k < end; k += 2) {
          page[k] = lo | (low & maskLo);
          page[k + 1] = high;
          low = (low + step) | 0;
        }
      } else {
        for (let k = first; k < end; k += 2, next += step) {
          page[k] = lo | (next & maskLo);
          page[k + 1] = hi | ((next / TWO32) & maskHi);
        }
      }
    }
    done += count;
  }
}
