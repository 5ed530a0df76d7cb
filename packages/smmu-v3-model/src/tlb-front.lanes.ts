/*
 * Translations that the last accesses used, found by what the access says alone: stream, substream, page and attributes. It answers
 * only while the full path would give the same result, count the same and report nothing; see `TlbFront.find` for each condition.
 * Not modelled: nothing of IHI 0070 16.2 is decided here: it is a short cut through caches, and none of the architecture's.
 */
import { CR0, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { ConfigCache } from './config-cache.ts';
import type { CachedContext } from './context-descriptor.ts';
import type { Regime } from './regime.ts';
import type { StaleLog } from './stale-use.ts';
import {
  isComparable,
  Lender,
  type LentMemory,
  type Watch,
  watchAround,
} from './stale-watch.lanes.ts';
import type { CachedStream } from './stream-entry.ts';
import type { StreamTable } from './stream-table.ts';
import type { Tlb, TlbSpace } from './tlb.ts';
import { MANY_SLOTS, NO_SLOT, type TlbEntry, type WalkEntry } from './tlb-entry.ts';

const FIRST_SLOTS = 64;
const MOST_SLOTS = 0x8000;
const PER_PAGE = 1 / 4096;
const CR0ACK = R.CR0ACK / 4;
const CR2 = R.CR2 / 4;
const SMMUEN = CR0.mask('SMMUEN')[0] as number;
/** Spreads StreamIDs over the slots: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e37_79b1;
/** A slot is one line of a CPU's cache: doubles, then integers. */
const SLOT_BYTES = 64;
const DOUBLES = SLOT_BYTES / 8;
const INTEGERS = SLOT_BYTES / 4;
/** Doubles: page, output, and the two leaves as memory held them. */
const PAGE = 0;
const OUTPUT = 1;
const INNER = 2;
const OUTER = 3;
/** Integers: bit `mode` when such an access was permitted, where the leaves lie in their memory, and the group. */
const MODES = 8;
const INNER_AT = 9;
const OUTER_AT = 10;
const GROUP = 11;
const NOTHING: Float64Array = new Float64Array(0);

/** What the translations by the same tables, for the same stream, have in common. */
export interface FrontGroup {
  readonly streamId: number;
  readonly ssid: number;
  readonly stream: CachedStream;
  readonly context: CachedContext;
  readonly half: Regime;
  readonly space: TlbSpace;
  /** As they were: of the front, the configuration cache, the stream table and the space. */
  readonly era: number;
  readonly configGeneration: number;
  readonly tableGeneration: number;
  readonly spaceEpoch: number;
  readonly cr2: number;
  readonly parent: object | undefined;
  readonly under: TlbEntry | undefined;
  readonly outerParent: object | undefined;
  /** With stale detection: all words but those of the leaves, and where those are. */
  readonly watch: Watch | undefined;
  readonly innerMemory: LentMemory | undefined;
  readonly outerMemory: LentMemory | undefined;
  readonly innerWords: Float64Array;
  readonly outerWords: Float64Array;
  /** Its place in the list of groups, -1 outside. */
  number: number;
}

/** What an access says beside its addresses. */
export interface FrontAccess {
  readonly streamId: number;
  /** -1 for SSV=0. */
  readonly ssid: number;
  readonly page: number;
  /** See `accessMode`. */
  readonly mode: number;
}

/** What the full path found for it. */
export interface FrontFound {
  readonly stream: CachedStream;
  readonly context: CachedContext;
  readonly half: Regime;
  readonly entry: TlbEntry;
}

/** The short cut of one SMMU. */
export class TlbFront {
  readonly #words: Uint32Array;
  readonly #cache: ConfigCache;
  readonly #streams: StreamTable;
  readonly #log: StaleLog;
  readonly #gone: (TlbEntry | WalkEntry)[];
  readonly #lender: Lender | undefined;
  readonly #known: WeakMap<object, FrontGroup> = new WeakMap();
  // One slot that no page matches, so that an empty front is asked like any other.
  #last = 0;
  #doubles: Float64Array = new Float64Array(DOUBLES).fill(-1);
  #integers: Int32Array = new Int32Array(INTEGERS);
  #entries: TlbEntry[] = [];
  #groups: FrontGroup[] = [];
  #evictions = 0;
  #era = 0;

  constructor(parts: {
    words: Uint32Array;
    cache: ConfigCache;
    streams: StreamTable;
    tlb: Tlb;
    /** Memory to be compared at each use; `undefined` without stale detection. */
    watched: MemoryView | undefined;
    log: StaleLog;
  }) {
    this.#words = parts.words;
    this.#cache = parts.cache;
    this.#streams = parts.streams;
    this.#log = parts.log;
    this.#gone = parts.tlb.gone;
    this.#lender = parts.watched === undefined ? undefined : new Lender(parts.watched);
  }

  /** Stale uses reported so far: a path that adds to them may not be cut short. */
  get reports(): number {
    return this.#log.uses;
  }

  /** The slot of a page, -1 when the full path must find it. An integer: a double would be boxed. */
  find(streamId: number, ssid: number, page: number, mode: number): number {
    if (this.#gone.length !== 0) this.#dropGone();
    const slot = slotOf(streamId, page, this.#last);
    const doubles = this.#doubles;
    const d = slot * DOUBLES;
    if (doubles[d + PAGE] !== page) return -1;
    const integers = this.#integers;
    const n = slot * INTEGERS;
    const group = this.#groups[integers[n + GROUP] as number] as FrontGroup;
    const words = this.#words;
    if (
      group.streamId !== streamId ||
      group.ssid !== ssid ||
      (((integers[n + MODES] as number) >>> mode) & 1) === 0 ||
      // Nothing was removed (see `#dropGone`), and nothing inserted that would be found first.
      group.configGeneration !== this.#cache.generation ||
      group.spaceEpoch !== group.space.epoch ||
      group.era !== this.#era ||
      ((words[CR0ACK] as number) & SMMUEN) === 0
    )
      return -1;
    const { watch } = group;
    // Nothing that it was made from has changed.
    if (
      watch !== undefined &&
      (group.innerWords[integers[n + INNER_AT] as number] !== doubles[d + INNER] ||
        group.outerWords[integers[n + OUTER_AT] as number] !== doubles[d + OUTER] ||
        group.tableGeneration !== this.#streams.generation ||
        group.cr2 !== words[CR2] ||
        !watch.holds())
    )
      return -1;
    return slot;
  }

  groupAt(slot: number): FrontGroup {
    return this.#groups[this.#integers[slot * INTEGERS + GROUP] as number] as FrontGroup;
  }

  entryAt(slot: number): TlbEntry {
    return this.#entries[slot] as TlbEntry;
  }

  /** The page-aligned output of a slot. */
  outputAt(slot: number): number {
    return this.#doubles[slot * DOUBLES + OUTPUT] as number;
  }

  /** Remembers a hit of the full path that found nothing stale and read its STE and CD from the cache. */
  admit(access: FrontAccess, found: FrontFound, output: number): void {
    const { streamId, page, mode } = access;
    const { entry } = found;
    // A write through a writable-clean entry replaces it.
    if (entry.clean) return;
    const group = this.#group(access, found);
    if (group === undefined) return;
    const inner = entry.inner ?? entry;
    const outer = entry.outer ?? inner;
    let innerAt = 0;
    let outerAt = 0;
    if (group.watch !== undefined && this.#lender !== undefined) {
      const first = this.#lender.word(inner.paddr);
      const second = this.#lender.word(outer.paddr);
      if (first?.memory !== group.innerMemory || second?.memory !== group.outerMemory) return;
      if (first === undefined || second === undefined) return;
      if (!isComparable(first) || !isComparable(second)) return;
      innerAt = first.index;
      outerAt = second.index;
    }
    const slot = this.#slotFor(streamId, page);
    const number = this.#numberOf(group);
    const d = slot * DOUBLES;
    const n = slot * INTEGERS;
    const again =
      this.#doubles[d + PAGE] === page &&
      this.#entries[slot] === entry &&
      this.#integers[n + GROUP] === number;
    this.#integers[n + MODES] = (again ? (this.#integers[n + MODES] as number) : 0) | (1 << mode);
    this.#integers[n + INNER_AT] = innerAt;
    this.#integers[n + OUTER_AT] = outerAt;
    this.#noteSlot(entry, slot);
    this.#entries[slot] = entry;
    this.#integers[n + GROUP] = number;
    this.#doubles[d + PAGE] = page;
    this.#doubles[d + OUTPUT] = output;
    this.#doubles[d + INNER] = group.innerWords[innerAt] ?? 0;
    this.#doubles[d + OUTER] = group.outerWords[outerAt] ?? 0;
  }

  /** Forgets everything: an entry is about to be replaced. */
  forget(): void {
    this.#era = (this.#era + 1) | 0;
  }

  /** Must be called before the slot is given to the entry. */
  #noteSlot(entry: TlbEntry, slot: number): void {
    const { slot: before } = entry;
    if (before === slot || before === MANY_SLOTS) return;
    // Where another entry took the slot, or the slots were made anew, it is the entry's no more.
    entry.slot = before === NO_SLOT || this.#entries[before] !== entry ? slot : MANY_SLOTS;
  }

  #dropGone(): void {
    for (const entry of this.#gone) {
      const { slot } = entry;
      if (slot === MANY_SLOTS) this.forget();
      else if (this.#entries[slot] === entry) this.#doubles[slot * DOUBLES + PAGE] = -1;
      entry.slot = NO_SLOT;
    }
    this.#gone.length = 0;
  }

  #group(access: FrontAccess, found: FrontFound): FrontGroup | undefined {
    const { streamId, ssid } = access;
    const { stream, context, half, entry } = found;
    const { space } = context;
    const inner = entry.inner ?? entry;
    const outer = entry.outer ?? inner;
    const at = inner.parent ?? context;
    const known = this.#known.get(at);
    const sameWords =
      known !== undefined &&
      known.context === context &&
      known.stream === stream &&
      known.parent === inner.parent &&
      known.under === inner.under &&
      known.outerParent === outer.parent;
    const watch = sameWords ? known.watch : this.#watch(found);
    // The detector has just compared the same words by the bits that count.
    if (sameWords && watch !== undefined && !watch.holds()) watch.renew();
    if (
      sameWords &&
      known.streamId === streamId &&
      known.ssid === ssid &&
      known.half === half &&
      known.era === this.#era &&
      known.configGeneration === this.#cache.generation &&
      known.tableGeneration === this.#streams.generation &&
      known.spaceEpoch === space.epoch &&
      known.cr2 === this.#words[CR2]
    )
      return known;
    const innerMemory = this.#lender?.word(inner.paddr)?.memory;
    const outerMemory = this.#lender?.word(outer.paddr)?.memory;
    if (this.#lender !== undefined && watch === undefined) return undefined;
    const made: FrontGroup = {
      streamId,
      ssid,
      stream,
      context,
      half,
      space,
      era: this.#era,
      configGeneration: this.#cache.generation,
      tableGeneration: this.#streams.generation,
      spaceEpoch: space.epoch,
      cr2: this.#words[CR2] as number,
      parent: inner.parent,
      under: inner.under,
      outerParent: outer.parent,
      watch,
      innerMemory,
      outerMemory,
      innerWords: innerMemory?.doubles ?? NOTHING,
      outerWords: outerMemory?.doubles ?? NOTHING,
      number: -1,
    };
    this.#known.set(at, made);
    return made;
  }

  #watch({ stream, context, entry }: FrontFound): Watch | undefined {
    return this.#lender === undefined
      ? undefined
      : watchAround(this.#lender, stream, context, entry);
  }

  /** The slot of a page, among more of them when translations drive each other out. */
  #slotFor(streamId: number, page: number): number {
    const slot = slotOf(streamId, page, this.#last);
    const slots = this.#last + 1;
    if (slots === 1) this.#resize(FIRST_SLOTS);
    else {
      const before = this.#doubles[slot * DOUBLES + PAGE] as number;
      if (before < 0 || before === page) return slot;
      this.#evictions++;
      if (this.#evictions <= slots || slots >= MOST_SLOTS) return slot;
      this.#resize(slots * 2);
    }
    return slotOf(streamId, page, this.#last);
  }

  #numberOf(group: FrontGroup): number {
    if (this.#groups[group.number] === group) return group.number;
    // Groups that no slot names any more are dropped with all others.
    if (this.#groups.length > this.#last) this.#resize(this.#last + 1);
    group.number = this.#groups.length;
    this.#groups.push(group);
    return group.number;
  }

  #resize(slots: number): void {
    const buffer = new ArrayBuffer(slots * SLOT_BYTES);
    this.#last = slots - 1;
    this.#doubles = new Float64Array(buffer).fill(-1);
    this.#integers = new Int32Array(buffer);
    this.#entries = new Array<TlbEntry>(slots);
    this.#groups = [];
    this.#evictions = 0;
  }
}

function slotOf(streamId: number, page: number, last: number): number {
  return ((page * PER_PAGE) ^ (Math.imul(streamId, SPREAD) >>> 20)) & last;
}
