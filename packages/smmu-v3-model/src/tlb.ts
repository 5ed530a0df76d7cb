/*
 * Cached translations: leaves and intermediate table descriptors, by address space (IHI 0070 3.17, 16.2).
 * Not modelled: capacity and replacement (an entry stays until a command removes it), TLB conflicts, the Contiguous hint
 * (ignoring it is allowed), speculative fills.
 */
import type { MayBeStale } from './stale-use.ts';
import { NO_SLOT, type TlbEntry, type WalkEntry } from './tlb-entry.ts';
import { hitsLeaf, hitsWalk, reachesSpace, type TlbInvalidation } from './tlb-invalidation.ts';
import { alignKey } from './translation-key.lanes.ts';

/** Address spaces that translations are tagged with; `world` 0 is NS-EL1, 1 NS-EL2, 2 NS-EL2-E2H. */
export interface SpaceTags {
  /** 1: input is a VA, and the output may be a PA or an IPA; 2: input is an IPA. */
  readonly stage: 1 | 2;
  readonly world: number;
  readonly vmid: number;
  /** -1 for global entries, for NS-EL2 and for stage 2. */
  readonly asid: number;
  readonly aset: number;
}

/** Entries of one size. */
interface Shelf<E> {
  readonly size: number;
  map: Map<number, E>;
  /** Most that an entry answers for: see `coverSize`. */
  widest: number;
}

const PAGE = 4096;

/** Translations that share their tags. Keys: see `lookupKey`. */
export class TlbSpace implements SpaceTags {
  readonly stage: 1 | 2;
  readonly world: number;
  readonly vmid: number;
  readonly asid: number;
  readonly aset: number;
  /** Entries for every ASID of the same world, VMID and ASET; itself for a global space. */
  readonly global: TlbSpace;
  /** Bumped when a leaf wider than a page comes in, which may stand before leaves of `global`. */
  epoch = 0;
  /** Translations that need nothing more: of the only stage, or combined. */
  readonly leaves: Shelf<TlbEntry>[] = [];
  /** Stage-1 leaves of nested streams, whose output is an IPA. */
  readonly parts: Shelf<TlbEntry>[] = [];
  /** Table descriptors, deepest (smallest) first. */
  readonly walks: Shelf<WalkEntry>[] = [];

  readonly #gone: (TlbEntry | WalkEntry)[];

  constructor(tags: SpaceTags, global: TlbSpace | undefined, gone: (TlbEntry | WalkEntry)[]) {
    this.#gone = gone;
    this.stage = tags.stage;
    this.world = tags.world;
    this.vmid = tags.vmid;
    this.asid = tags.asid;
    this.aset = tags.aset;
    this.global = global ?? this;
  }

  lookup(key: number): TlbEntry | undefined {
    const { leaves } = this;
    for (let i = 0; i < leaves.length; i++) {
      const shelf = leaves[i] as Shelf<TlbEntry>;
      const entry = shelf.map.get((shelf.size === PAGE ? key : alignKey(key, shelf.size)) / PAGE);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** The stage-1 leaf of a nested stream. */
  lookupPart(key: number): TlbEntry | undefined {
    return find(this.parts, key);
  }

  /** The deepest cached table descriptor on the way to `key`. */
  lookupWalk(key: number): WalkEntry | undefined {
    return find(this.walks, key);
  }

  insert(entry: TlbEntry): void {
    if (entry.size !== PAGE) this.epoch++;
    const replaced = insertInto(this.leaves, entry);
    if (replaced !== undefined && replaced.slot !== NO_SLOT) this.#gone.push(replaced);
  }

  insertPart(entry: TlbEntry): void {
    insertInto(this.parts, entry);
  }

  insertWalk(entry: WalkEntry): void {
    insertInto(this.walks, entry);
  }

  /** See {@link Tlb.keep}. */
  keep(): () => void {
    const leaves = keepShelves(this.leaves);
    const parts = keepShelves(this.parts);
    const walks = keepShelves(this.walks);
    const { epoch } = this;
    return () => {
      this.epoch = epoch;
      leaves();
      parts();
      walks();
    };
  }

  /** True when no leaf was ever inserted. */
  get isEmpty(): boolean {
    return this.leaves.length === 0 && this.parts.length === 0;
  }

  /** Leaves held. */
  get size(): number {
    let size = 0;
    for (const shelf of this.leaves) size += shelf.map.size;
    for (const shelf of this.parts) size += shelf.map.size;
    return size;
  }
}

function find<E>(shelves: readonly Shelf<E>[], key: number): E | undefined {
  for (const shelf of shelves) {
    const entry = shelf.map.get((shelf.size === PAGE ? key : alignKey(key, shelf.size)) / PAGE);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function insertInto<E extends TlbEntry | WalkEntry>(shelves: Shelf<E>[], entry: E): E | undefined {
  let shelf = shelves.find(({ size }) => size === entry.size);
  if (shelf === undefined) {
    shelf = { size: entry.size, map: new Map(), widest: entry.size };
    shelves.push(shelf);
    shelves.sort((a, b) => a.size - b.size);
  }
  const at = entry.key / PAGE;
  const replaced = shelf.map.get(at);
  shelf.map.set(at, entry);
  shelf.widest = Math.max(shelf.widest, entry.coverSize);
  return replaced;
}

function keepShelves<E>(shelves: Shelf<E>[]): () => void {
  const kept = shelves.map((shelf) => ({ shelf, map: shelf.map, widest: shelf.widest }));
  for (const { shelf, map } of kept) shelf.map = new Map(map);
  return () => {
    for (const { shelf, map, widest } of kept) {
      shelf.map = map;
      shelf.widest = widest;
    }
    shelves.splice(0, shelves.length, ...kept.map(({ shelf }) => shelf));
  };
}

/** All cached translations of the SMMU. */
export class Tlb {
  /** Entries that the front held and that are held here no more. */
  readonly gone: (TlbEntry | WalkEntry)[] = [];
  readonly #spaces: TlbSpace[] = [];
  readonly #onRemove: (entry: MayBeStale) => void;

  constructor(onRemove: (entry: MayBeStale) => void) {
    this.#onRemove = onRemove;
  }

  /** The space with these tags, made when it is new. */
  space(tags: SpaceTags): TlbSpace {
    const found = this.#find(tags);
    if (found !== undefined) return found;
    const global = tags.asid < 0 ? undefined : this.space({ ...tags, asid: -1 });
    const made = new TlbSpace(tags, global, this.gone);
    this.#spaces.push(made);
    return made;
  }

  /** The space of a VMID's IPAs. */
  ipaSpace(vmid: number): TlbSpace {
    return this.space({ stage: 2, world: 0, vmid, asid: -1, aset: 0 });
  }

  /** Notes what is held and gives the way back to it, whatever was inserted since: for looking without being seen. */
  keep(): () => void {
    const spaces = this.#spaces.map((space) => space.keep());
    const gone = this.gone.length;
    return () => {
      this.gone.length = gone;
      for (const restore of spaces) restore();
      this.#spaces.length = spaces.length;
    };
  }

  /** Leaf entries held. */
  get size(): number {
    let size = 0;
    for (const space of this.#spaces) size += space.size;
    return size;
  }

  /** Removes what the command names; the number of entries removed. */
  invalidate(op: TlbInvalidation): number {
    let removed = 0;
    for (const space of this.#spaces) {
      if (!reachesSpace(op, space)) continue;
      for (const shelf of space.leaves) removed += this.#sweep(shelf, op, hitsLeaf);
      for (const shelf of space.parts) removed += this.#sweep(shelf, op, hitsLeaf);
      if (!op.leaf) for (const shelf of space.walks) removed += this.#sweep(shelf, op, hitsWalk);
    }
    return removed;
  }

  #find(tags: SpaceTags): TlbSpace | undefined {
    return this.#spaces.find(
      ({ stage, world, vmid, asid, aset }) =>
        stage === tags.stage &&
        world === tags.world &&
        vmid === tags.vmid &&
        asid === tags.asid &&
        aset === tags.aset,
    );
  }

  #sweep<E extends TlbEntry | WalkEntry>(
    shelf: Shelf<E>,
    op: TlbInvalidation,
    hits: (op: TlbInvalidation, entry: E) => boolean,
  ): number {
    const { map, size, widest } = shelf;
    if (map.size === 0) return 0;
    let removed = 0;
    const drop = (at: number, entry: E): void => {
      if (!hits(op, entry)) return;
      map.delete(at);
      if (entry.slot !== NO_SLOT) this.gone.push(entry);
      if (entry.stale !== undefined) this.#onRemove(entry);
      removed++;
    };
    // A combined entry falls with any address of its stage-1 leaf, so that the range grows to whole leaves.
    const first = alignKey(op.start, widest);
    const end = widest === size ? op.end : alignKey(op.end - 1, widest) + widest;
    // A range may name 2^44 pages: step through whichever is smaller, the range or what is held.
    if (op.end !== 0 && (end - first) / size <= map.size) {
      for (let key = first; key < end; key += size) {
        const entry = map.get(key / PAGE);
        if (entry !== undefined) drop(key / PAGE, entry);
      }
    } else {
      for (const [at, entry] of map) drop(at, entry);
    }
    return removed;
  }
}
