/*
 * Cached translations: leaves and intermediate table descriptors, by address space (IHI 0070 3.17, 16.2).
 * Does not model: capacity and replacement (an entry stays until a command removes it), TLB conflicts, the Contiguous hint,
 * combined or stage-2 entries, speculative fills.
 */
import type { MayBeStale, StaleRecord } from './stale-use.ts';
import { alignKey, keyToIova } from './translation-key.lanes.ts';

/** Address spaces that translations are tagged with; `world` 0 is NS-EL1, 1 NS-EL2, 2 NS-EL2-E2H. */
export interface SpaceTags {
  readonly world: number;
  readonly vmid: number;
  /** -1 for global entries and for NS-EL2. */
  readonly asid: number;
  readonly aset: number;
}

/** A table descriptor on the way to a leaf. */
export interface WalkEntry extends MayBeStale {
  /** The descriptor above, `undefined` when this one lies in the root table. */
  readonly parent: WalkEntry | undefined;
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  /** Level of the descriptor, 0 to 2. */
  readonly level: number;
  /** Key of the first address that it covers, and how many bytes. */
  readonly key: number;
  readonly size: number;
  /** The table that it points to. */
  readonly next: number;
  /** Hierarchical limits so far: 1 no EL0, 2 no writes, 4 UXN, 8 PXN. */
  readonly limits: number;
  /** The CD in force when it was made. */
  readonly contextWords: Uint32Array;
  readonly granuleLg2: number;
}

/** A leaf translation. */
export interface TlbEntry extends MayBeStale {
  /** The table descriptor above, `undefined` when the leaf lies in the root table. */
  readonly parent: WalkEntry | undefined;
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  readonly level: number;
  readonly key: number;
  readonly size: number;
  /** Output address of the first byte. */
  readonly output: number;
  /** Bit by access: see `accessBit`. */
  readonly permissions: number;
  /** The CD in force when it was made. */
  readonly contextWords: Uint32Array;
  readonly granuleLg2: number;
  readonly space: TlbSpace;
}

/** Entries of one size. */
interface Shelf<E> {
  readonly size: number;
  readonly map: Map<number, E>;
}

const PAGE = 4096;

/** Translations that share their tags. Keys: see `lookupKey`. */
export class TlbSpace implements SpaceTags {
  readonly world: number;
  readonly vmid: number;
  readonly asid: number;
  readonly aset: number;
  /** Entries for every ASID of the same world, VMID and ASET; itself for a global space. */
  readonly global: TlbSpace;
  readonly leaves: Shelf<TlbEntry>[] = [];
  /** Table descriptors, deepest (smallest) first. */
  readonly walks: Shelf<WalkEntry>[] = [];

  constructor(tags: SpaceTags, global: TlbSpace | undefined) {
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

  /** The deepest cached table descriptor on the way to `key`. */
  lookupWalk(key: number): WalkEntry | undefined {
    for (const shelf of this.walks) {
      const entry = shelf.map.get((shelf.size === PAGE ? key : alignKey(key, shelf.size)) / PAGE);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  insert(entry: TlbEntry): void {
    insertInto(this.leaves, entry);
  }

  insertWalk(entry: WalkEntry): void {
    insertInto(this.walks, entry);
  }

  /** True when no leaf was ever inserted. */
  get isEmpty(): boolean {
    return this.leaves.length === 0;
  }

  get size(): number {
    let size = 0;
    for (const shelf of this.leaves) size += shelf.map.size;
    return size;
  }
}

function insertInto<E extends { key: number; size: number }>(shelves: Shelf<E>[], entry: E): void {
  let shelf = shelves.find(({ size }) => size === entry.size);
  if (shelf === undefined) {
    shelf = { size: entry.size, map: new Map() };
    shelves.push(shelf);
    shelves.sort((a, b) => a.size - b.size);
  }
  shelf.map.set(entry.key / PAGE, entry);
}

/**
 * What a TLB invalidation command removes, at the least (IHI 0070 4.4). `start` and `end` are keys, half open; all addresses when
 * `end` is 0.
 */
export interface TlbInvalidation {
  readonly what: 'tlb';
  readonly worlds: readonly number[];
  /** -1: any. */
  readonly vmid: number;
  /** Low VMID values that are ignored: a power of two, 1 for an exact match. */
  readonly vmidStep: number;
  /** -1: any. */
  readonly asid: number;
  /** By ASID: global entries stay. By address: global entries go whatever the ASID. */
  readonly globals: boolean;
  readonly start: number;
  readonly end: number;
  /** log2 of the granule whose entries go; 0: any. */
  readonly granuleLg2: number;
  /** Level of the leaves that go; 0: any. */
  readonly ttl: number;
  /** Only last-level entries. */
  readonly leaf: boolean;
}

/** True when the command reaches the space at all. */
export function reachesSpace(op: TlbInvalidation, space: SpaceTags): boolean {
  if (!op.worlds.includes(space.world)) return false;
  if (
    op.vmid >= 0 &&
    space.world === 0 &&
    Math.floor(space.vmid / op.vmidStep) !== Math.floor(op.vmid / op.vmidStep)
  )
    return false;
  return op.asid < 0 || space.asid === op.asid || (space.asid < 0 && op.globals);
}

/** True when the command removes the leaf. */
export function coversLeaf(op: TlbInvalidation, space: SpaceTags, entry: TlbEntry): boolean {
  return reachesSpace(op, space) && hitsLeaf(op, entry);
}

/** True when the command removes the table descriptor. */
export function coversWalk(op: TlbInvalidation, space: SpaceTags, entry: WalkEntry): boolean {
  return reachesSpace(op, space) && hitsWalk(op, entry);
}

function inRange(op: TlbInvalidation, entry: TlbEntry | WalkEntry): boolean {
  if (op.end === 0) return true;
  if (op.granuleLg2 !== 0 && entry.granuleLg2 !== op.granuleLg2) return false;
  return entry.key < op.end && entry.key + entry.size > op.start;
}

function hitsLeaf(op: TlbInvalidation, entry: TlbEntry): boolean {
  return inRange(op, entry) && (op.ttl === 0 || entry.level === op.ttl);
}

function hitsWalk(op: TlbInvalidation, entry: WalkEntry): boolean {
  return inRange(op, entry) && !op.leaf && (op.ttl === 0 || entry.level < op.ttl);
}

/** All cached translations of the SMMU. */
export class Tlb {
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
    const made = new TlbSpace(tags, global);
    this.#spaces.push(made);
    return made;
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
      if (!op.leaf) for (const shelf of space.walks) removed += this.#sweep(shelf, op, hitsWalk);
    }
    return removed;
  }

  #find(tags: SpaceTags): TlbSpace | undefined {
    return this.#spaces.find(
      ({ world, vmid, asid, aset }) =>
        world === tags.world && vmid === tags.vmid && asid === tags.asid && aset === tags.aset,
    );
  }

  #sweep<E extends TlbEntry | WalkEntry>(
    shelf: Shelf<E>,
    op: TlbInvalidation,
    hits: (op: TlbInvalidation, entry: E) => boolean,
  ): number {
    const { map, size } = shelf;
    if (map.size === 0) return 0;
    let removed = 0;
    const drop = (at: number, entry: E): void => {
      if (!hits(op, entry)) return;
      map.delete(at);
      if (entry.stale !== undefined) this.#onRemove(entry);
      removed++;
    };
    const first = alignKey(op.start, size);
    // A range may name 2^44 pages: step through whichever is smaller, the range or what is held.
    if (op.end !== 0 && (op.end - first) / size <= map.size) {
      for (let key = first; key < op.end; key += size) {
        const entry = map.get(key / PAGE);
        if (entry !== undefined) drop(key / PAGE, entry);
      }
    } else {
      for (const [at, entry] of map) drop(at, entry);
    }
    return removed;
  }
}

/** How a leaf or table entry is named to people: the tags that a command must carry. */
export function staleTags(
  space: SpaceTags,
  entry: TlbEntry | WalkEntry,
): Pick<StaleRecord, 'asid' | 'vmid' | 'iova'> {
  return {
    asid: space.asid < 0 ? undefined : space.asid,
    vmid: space.vmid,
    iova: keyToIova(entry.key),
  };
}
