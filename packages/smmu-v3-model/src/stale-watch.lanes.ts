/*
 * Doublewords of memory beside what they held, so that a repeated use of a cached translation costs one comparison for each
 * (IHI 0070 3.21).
 * A difference says only that the detector must look again: which bits count is its affair.
 * Not modelled: views that lend no pages; there every use is checked in full.
 */
import type { MemoryView } from '@iommukit/platform';
import type { CachedContext } from './context-descriptor.ts';
import { CD_USED, STE_USED } from './stale-masks.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** The memory that a page is cut from, in the two widths that are compared. */
export interface LentMemory {
  readonly doubles: Float64Array;
  readonly lanes: Int32Array;
}

/** A doubleword where it is lent. */
export interface LentWord {
  readonly memory: LentMemory;
  /** In doublewords. */
  readonly index: number;
  readonly sign: SignBit;
}

/** Whether bit 63 of a doubleword decides anything. */
export type SignBit = 'counts' | 'ignored';

/** Finds the memory behind addresses, once for each buffer. */
export class Lender {
  readonly #memory: MemoryView;
  readonly #lent: WeakMap<ArrayBufferLike, LentMemory> = new WeakMap();

  constructor(memory: MemoryView) {
    this.#memory = memory;
  }

  /** The doubleword at an address; `undefined` where it must be loaded through the view. */
  word(paddr: number, sign: SignBit = 'ignored'): LentWord | undefined {
    const page = this.#memory.lanes(paddr);
    if (page === undefined || page.byteOffset % 8 !== 0) return undefined;
    const { buffer, byteOffset } = page;
    let memory = this.#lent.get(buffer);
    if (memory === undefined) {
      const doubles = new Float64Array(buffer, 0, Math.trunc(buffer.byteLength / 8));
      memory = { doubles, lanes: new Int32Array(buffer, 0, doubles.length * 2) };
      this.#lent.set(buffer, memory);
    }
    return { memory, index: byteOffset / 8 + ((paddr / 8) & 511), sign };
  }
}

/**
 * True when comparing the word as a double compares every bit that counts: it is no NaN, which differs from itself, and no zero whose
 * sign counts.
 */
export function isComparable(word: LentWord): boolean {
  const value = word.memory.doubles[word.index] as number;
  return value > 0 || value < 0 || (value === 0 && word.sign === 'ignored');
}

/**
 * Eight comparable words, four of one memory and four of another, and what they held. Fields, for two arrays and their bounds checks
 * cost twice as much; four that are not filled repeat a word.
 */
class Eight {
  readonly first: Float64Array;
  readonly second: Float64Array;
  readonly at0: number;
  readonly at1: number;
  readonly at2: number;
  readonly at3: number;
  readonly at4: number;
  readonly at5: number;
  readonly at6: number;
  readonly at7: number;
  readonly was0: number;
  readonly was1: number;
  readonly was2: number;
  readonly was3: number;
  readonly was4: number;
  readonly was5: number;
  readonly was6: number;
  readonly was7: number;
  readonly next: Eight | undefined;

  constructor(one: Four, other: Four, next: Eight | undefined) {
    const { doubles: first } = one;
    const { doubles: second } = other;
    const [at0 = 0, at1 = at0, at2 = at0, at3 = at0] = one.at;
    const [at4 = 0, at5 = at4, at6 = at4, at7 = at4] = other.at;
    this.first = first;
    this.second = second;
    this.at0 = at0;
    this.at1 = at1;
    this.at2 = at2;
    this.at3 = at3;
    this.at4 = at4;
    this.at5 = at5;
    this.at6 = at6;
    this.at7 = at7;
    this.was0 = first[at0] as number;
    this.was1 = first[at1] as number;
    this.was2 = first[at2] as number;
    this.was3 = first[at3] as number;
    this.was4 = second[at4] as number;
    this.was5 = second[at5] as number;
    this.was6 = second[at6] as number;
    this.was7 = second[at7] as number;
    this.next = next;
  }
}

/** Up to four comparable words of one memory. */
interface Four {
  readonly doubles: Float64Array;
  readonly at: readonly number[];
}

/** A word that is not comparable, by its lanes. */
interface Other {
  readonly lanes: Int32Array;
  readonly at: number;
  readonly lo: number;
  readonly hi: number;
  readonly next: Other | undefined;
}

/** What a set of doublewords held. */
export class Watch {
  readonly #words: readonly LentWord[];
  #eights: Eight | undefined = undefined;
  #others: Other | undefined = undefined;

  constructor(words: readonly LentWord[]) {
    this.#words = words;
    this.renew();
  }

  /** True when every word is, in all bits that count, what it was; perhaps when only others changed. */
  holds(): boolean {
    for (let of = this.#eights; of !== undefined; of = of.next) {
      const { first, second } = of;
      if (
        first[of.at0] !== of.was0 ||
        first[of.at1] !== of.was1 ||
        first[of.at2] !== of.was2 ||
        first[of.at3] !== of.was3 ||
        second[of.at4] !== of.was4 ||
        second[of.at5] !== of.was5 ||
        second[of.at6] !== of.was6 ||
        second[of.at7] !== of.was7
      )
        return false;
    }
    for (let of = this.#others; of !== undefined; of = of.next)
      if (of.lanes[of.at] !== of.lo || of.lanes[of.at + 1] !== of.hi) return false;
    return true;
  }

  /** Takes what memory holds now. */
  renew(): void {
    const groups = new Map<LentMemory, number[]>();
    this.#others = undefined;
    for (const word of this.#words) {
      const { memory, index } = word;
      const group = groups.get(memory);
      if (!isComparable(word)) {
        const at = index * 2;
        const { lanes } = memory;
        const [lo = 0, hi = 0] = lanes.subarray(at, at + 2);
        this.#others = { lanes, at, lo, hi, next: this.#others };
      } else if (group === undefined) groups.set(memory, [index]);
      else group.push(index);
    }
    const fours: Four[] = [];
    for (const [{ doubles }, group] of groups)
      for (let i = 0; i < group.length; i += 4) fours.push({ doubles, at: group.slice(i, i + 4) });
    this.#eights = undefined;
    for (let i = 0; i < fours.length; i += 2) {
      const one = fours[i] as Four;
      this.#eights = new Eight(one, fours[i + 1] ?? one, this.#eights);
    }
  }
}

/** Everything that a translation found by VA rests on, but its leaves themselves. */
export function watchAround(
  lender: Lender,
  stream: CachedStream,
  cd: CachedContext,
  entry: TlbEntry,
): Watch | undefined {
  const paddrs: WatchedAddresses = new Map();
  addStructure(paddrs, stream.paddr, STE_USED[stream.kind]);
  if (stream.l1std !== undefined) paddrs.set(stream.l1std.paddr, 'counts');
  addStructure(paddrs, cd.paddr, CD_USED);
  addLeaf(paddrs, cd.under);
  if (cd.l1cd !== undefined) paddrs.set(cd.l1cd.paddr, 'counts');
  addLeaf(paddrs, cd.l1cd?.under);
  const inner = entry.inner ?? entry;
  addLeaf(paddrs, inner.under);
  addTables(paddrs, inner.parent);
  addTables(paddrs, entry.outer?.parent);
  const words: LentWord[] = [];
  for (const [paddr, sign] of paddrs) {
    const word = lender.word(paddr, sign);
    if (word === undefined) return undefined;
    words.push(word);
  }
  return new Watch(words);
}

type WatchedAddresses = Map<number, SignBit>;

function addStructure(paddrs: WatchedAddresses, paddr: number, mask: Uint32Array): void {
  for (let i = 0; i < mask.length; i += 2) {
    const maskHi = mask[i + 1] as number;
    if (((mask[i] as number) | maskHi) === 0) continue;
    const at = paddr + i * 4;
    const counts = paddrs.get(at) === 'counts' || maskHi >>> 31 === 1;
    paddrs.set(at, counts ? 'counts' : 'ignored');
  }
}

/** Bit 63 of descriptors decides nothing. */
function addDescriptor(paddrs: WatchedAddresses, paddr: number): void {
  if (!paddrs.has(paddr)) paddrs.set(paddr, 'ignored');
}

function addLeaf(paddrs: WatchedAddresses, leaf: TlbEntry | undefined): void {
  if (leaf === undefined) return;
  addDescriptor(paddrs, leaf.paddr);
  addLeaf(paddrs, leaf.under);
  addTables(paddrs, leaf.parent);
}

function addTables(paddrs: WatchedAddresses, first: WalkEntry | undefined): void {
  for (let of = first; of !== undefined; of = of.parent) {
    addDescriptor(paddrs, of.paddr);
    addLeaf(paddrs, of.under);
  }
}
