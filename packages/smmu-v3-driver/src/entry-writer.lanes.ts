import type { MemoryView } from '@iommukit/platform';

/** Lanes of an STE or a CD: eight doublewords. */
export const ENTRY_LANES = 16;
const QWORDS = 8;

/** Fills `used` with the bits that hardware looks at in `entry`. */
export type UsedBits = (entry: Uint32Array, used: Uint32Array) => void;

/**
 * One entry in memory and how to make the SMMU forget its cached copy.
 * @example const target: EntryTarget = { memory, pa, usedBits: (entry, used) => used.fill(0xffff_ffff), sync() {} };
 */
export interface EntryTarget {
  readonly memory: MemoryView;
  /** Physical address of the entry. */
  readonly pa: number;
  readonly usedBits: UsedBits;
  /** Invalidates cached copies of the entry and waits. */
  sync(): void;
}

/**
 * Changes an STE or CD in memory so that hardware never uses a mixture (`arm_smmu_write_entry`): bits that nobody looks at first,
 * then the one doubleword that decides, then the rest; when several doublewords decide, through V = 0. Returns the syncs issued,
 * 0 to 3. Every doubleword is stored whole.
 * @example writeEntry(target, abortSte()) // 1 when the entry was all zero
 */
export function writeEntry(target: EntryTarget, next: Uint32Array): number {
  const { memory, pa, usedBits } = target;
  const current = new Uint32Array(ENTRY_LANES);
  for (let q = 0; q < QWORDS; q++) {
    current[q * 2] = memory.load64(pa + q * 8);
    current[q * 2 + 1] = memory.hi;
  }
  const currentUsed = new Uint32Array(ENTRY_LANES);
  const nextUsed = new Uint32Array(ENTRY_LANES);
  usedBits(current, currentUsed);
  usedBits(next, nextUsed);

  // What the entry may hold first: nothing that is in use now changes.
  const unused = new Uint32Array(ENTRY_LANES);
  let critical = -1;
  let differing = 0;
  for (let q = 0; q < QWORDS; q++) {
    let differs = false;
    for (let i = q * 2; i < q * 2 + 2; i++) {
      const inUse = currentUsed[i] as number;
      unused[i] = ((current[i] as number) & inUse) | ((next[i] as number) & ~inUse);
      if (((unused[i] as number) & (nextUsed[i] as number)) >>> 0 !== next[i]) differs = true;
    }
    if (differs) {
      differing++;
      critical = q;
    }
  }

  if (differing === 1) {
    unused[critical * 2] = current[critical * 2] as number;
    unused[critical * 2 + 1] = current[critical * 2 + 1] as number;
    return (
      store(target, unused, 0, QWORDS) +
      store(target, next, critical, critical + 1) +
      store(target, next, 0, QWORDS)
    );
  }
  if (differing > 1) {
    unused[0] = 0;
    unused[1] = 0;
    return store(target, unused, 0, 1) + store(target, next, 1, QWORDS) + store(target, next, 0, 1);
  }
  return store(target, next, 0, QWORDS);
}

/** Stores the doublewords [from, to) that differ from memory; syncs once if any did. */
function store(target: EntryTarget, words: Uint32Array, from: number, to: number): number {
  const { memory, pa } = target;
  let changed = 0;
  for (let q = from; q < to; q++) {
    const lo = words[q * 2] as number;
    const hi = words[q * 2 + 1] as number;
    if (memory.load64(pa + q * 8) === lo && memory.hi === hi) continue;
    memory.store64(pa + q * 8, lo, hi);
    changed = 1;
  }
  if (changed === 1) {
    memory.clean(pa, QWORDS * 8);
    target.sync();
  }
  return changed;
}
