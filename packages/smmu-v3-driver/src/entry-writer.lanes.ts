import type { MemoryView } from '@iommukit/platform';

/** Lanes of an STE or a CD: eight doublewords. */
export const ENTRY_LANES = 16;
const QWORDS = 8;

/**
 * Adds to `used` (all zero) the bits that hardware looks at in `entry`.
 * @example const all: UsedBits = (_entry, used) => used.fill(0xffff_ffff);
 */
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
  /** Adds to `safe` the bits that may change while hardware uses them; absent: none. */
  updateSafe?(current: Uint32Array, next: Uint32Array, safe: Uint32Array): void;
  /** Invalidates cached copies of the entry and waits. */
  sync(): void;
}

/**
 * The entry as it stands in memory.
 * @example readEntry(memory, strtab.entry(8))[0]
 */
export function readEntry(memory: MemoryView, pa: number): Uint32Array {
  const entry = new Uint32Array(ENTRY_LANES);
  for (let q = 0; q < QWORDS; q++) {
    entry[q * 2] = memory.load64(pa + q * 8);
    entry[q * 2 + 1] = memory.hi;
  }
  return entry;
}

/**
 * Changes an STE or CD in memory so that hardware never uses a mixture (`arm_smmu_write_entry`): bits that nobody looks at first,
 * then the one doubleword that decides, then the rest; when several doublewords decide, through V = 0. Returns the syncs issued,
 * 0 to 3. Every doubleword is stored whole.
 * @example writeEntry(target, abortSte()) // 1 when the entry was all zero
 */
export function writeEntry(target: EntryTarget, next: Uint32Array): number {
  const { usedBits } = target;
  const current = readEntry(target.memory, target.pa);
  const currentUsed = new Uint32Array(ENTRY_LANES);
  const nextUsed = new Uint32Array(ENTRY_LANES);
  usedBits(current, currentUsed);
  usedBits(next, nextUsed);
  leaveOutSafe(target, current, next, { currentUsed, nextUsed });

  // What the entry may hold first: nothing that is in use now changes, except what may.
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

/** Takes the bits that may change out of those in use now; they count only where both entries use them. */
function leaveOutSafe(
  target: EntryTarget,
  current: Uint32Array,
  next: Uint32Array,
  { currentUsed, nextUsed }: { readonly currentUsed: Uint32Array; readonly nextUsed: Uint32Array },
): void {
  if (target.updateSafe === undefined) return;
  const safe = new Uint32Array(ENTRY_LANES);
  target.updateSafe(current, next, safe);
  for (let i = 0; i < ENTRY_LANES; i++) {
    const both = (currentUsed[i] as number) & (nextUsed[i] as number);
    currentUsed[i] = (currentUsed[i] as number) & ~((safe[i] as number) & both);
  }
}

/**
 * The writer of 6.1 (`arm_smmu_write_strtab_ent`): all doublewords but the first, sync, the first, sync. Only right for an entry
 * that does nothing yet, so a device that changes domains is aborted in between. Returns the syncs issued, always 2.
 * @example writeEntryInSteps(target, entry) // 2
 */
export function writeEntryInSteps(target: EntryTarget, next: Uint32Array): number {
  const { memory, pa } = target;
  for (let q = 1; q < QWORDS; q++)
    memory.store64(pa + q * 8, next[q * 2] as number, next[q * 2 + 1] as number);
  memory.clean(pa, QWORDS * 8);
  target.sync();
  memory.store64(pa, next[0] as number, next[1] as number);
  memory.clean(pa, QWORDS * 8);
  target.sync();
  return 2;
}

/** Abort and bypass of 6.1: the first doubleword, which turns translation off, then the rest, one sync. Returns 1. */
export function writeEntryAtOnce(target: EntryTarget, next: Uint32Array): number {
  const { memory, pa } = target;
  for (let q = 0; q < QWORDS; q++)
    memory.store64(pa + q * 8, next[q * 2] as number, next[q * 2 + 1] as number);
  memory.clean(pa, QWORDS * 8);
  target.sync();
  return 1;
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
