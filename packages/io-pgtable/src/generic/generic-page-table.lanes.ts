import { u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
import type { PageTable } from '../page-table.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import { firstUsed } from '../table-words.lanes.ts';
import { type GenericConfig, GenericTableError } from './generic-config.ts';
import type { GenericEntries, GenericGeometry, HasFeature } from './generic-entries.ts';
import { type LeafWords, storeLeafWords } from './generic-leaf-words.lanes.ts';
import { wraps } from './generic-lookups.lanes.ts';
import { PageSizes } from './generic-page-sizes.lanes.ts';
import { EADDRINUSE, EMPTY, LEAF, lowBits, PROTS, TABLE } from './generic-tables.lanes.ts';
import { GenericUnmaps } from './generic-unmaps.lanes.ts';

export type { ReadDirtyOptions } from './generic-lookups.lanes.ts';

const TWO32 = 0x1_0000_0000;
const TWO64 = TWO32 * TWO32;
const CPU_PAGE = 4096;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;

/**
 * A page table of the generic family in physical memory (`drivers/iommu/generic_pt/iommu_pt.h`): the algorithm, for whichever format
 * it is given. Levels count up from 0, the level of leaves only. Nothing but the top table's address and level is remembered.
 * Made by `createPageTable`.
 *
 * `map`, `unmap`, `readAndClearDirty`, `setDirty` are the kernel's calls; `mapPages`, `unmapPages` the common contract over them.
 * Addresses are exact where they are aligned to 2 KiB.
 * @example table.map(0x20_0000, 0x4000_0000, 0x20_1000, IOMMU_READ + IOMMU_WRITE); // 0: a page of 2 MiB and one of 4 KiB
 */
export class GenericPageTable<H> extends GenericUnmaps<H> implements PageTable {
  mapped = 0;
  readonly #sizes: PageSizes;
  readonly #words: LeafWords = { word: 0, step: 0, lo: 0, hi: 0, fieldLo: 0, fieldHi: 0 };
  readonly #attrLo = new Int32Array(PROTS);
  readonly #attrHi = new Int32Array(PROTS);
  /** The same with what the smallest page adds. */
  readonly #pageLo = new Int32Array(PROTS);
  readonly #pageHi = new Int32Array(PROTS);
  /** Why a `prot` is refused, by `prot`; 0: it is not. */
  readonly #attrErrno = new Int32Array(PROTS);
  readonly #endPaddr: number;
  /** A call of one CPU page takes the short way: there is nothing to choose, and nothing to clean. */
  readonly #shortWay: boolean;
  /** What tables that gave way to a page leave to invalidate, within one map. */
  readonly #replaced = new IotlbGather();

  // Where the descent of a map ended.
  #atLo = 0;
  #atHi = 0;
  /** Where `#pageEntry` found the entry in its block. */
  #lane = 0;

  constructor(
    entries: GenericEntries<H>,
    config: GenericConfig,
    geometry: GenericGeometry,
    has: HasFeature,
  ) {
    super(entries, config, geometry, has);
    const sme = config.smeMeMask ?? 0;
    const encryption = typeof sme === 'number' ? u64(sme, sme / TWO32) : sme;
    for (let prot = 0; prot < PROTS; prot++) {
      const leaf = entries.leafAttributes(prot, has, encryption);
      if (typeof leaf === 'number') this.#attrErrno[prot] = leaf;
      else {
        this.#attrLo[prot] = leaf.lo;
        this.#attrHi[prot] = leaf.hi;
      }
    }
    this.#endPaddr = 2 ** this.maxOaszLg2;
    this.#words.fieldLo = this.fieldLo;
    this.#words.fieldHi = this.fieldHi;
    this.#sizes = new PageSizes(this.pgsizeBitmap, entries);
    for (let prot = 0; prot < PROTS; prot++) {
      this.#pageLo[prot] = (this.#attrLo[prot] as number) | this.#sizes.leafLo(12);
      this.#pageHi[prot] = (this.#attrHi[prot] as number) | this.#sizes.leafHi(12);
    }
    this.#shortWay = this.granule === CPU_PAGE && !this.incoherent && this.#sizes.has(CPU_PAGE);
  }

  /**
   * Maps [iova, iova + length) to `paddr` on, each step with the largest page that fits, and returns 0 or a negative errno; the bytes
   * done stand in `mapped`, also after a failure. -EINVAL: neither READ nor WRITE (a warning), or no length, or the device cannot see a
   * new table; -ERANGE: outside the address sizes; -EOVERFLOW: past 2^64; -ENXIO: no page is that small; -EADDRINUSE: something
   * is mapped there; -ENOMEM. Throws {@link GenericTableError} for a length that is no multiple of the smallest page.
   */
  map(iova: number, paddr: number, length: number, prot: number): number {
    this.counters.formatCalls++;
    this.mapped = 0;
    if (length === CPU_PAGE && this.#shortWay && this.#mapFast(iova, paddr, prot & (PROTS - 1)))
      return 0;
    const refused = this.#refusal(iova, paddr, length, prot);
    if (refused !== 0) return refused;
    if (length === CPU_PAGE && this.#shortWay && ((iova | paddr) & (CPU_PAGE - 1)) === 0)
      return this.#mapPage(iova, paddr, prot & (PROTS - 1));
    const sizes = this.#sizes;
    const lg2 = sizes.best(iova, paddr, length);
    if (lg2 < 0) return -ERRNO.ENXIO;
    const end = iova + length;
    if (!this.dynamicTop && !this.translates(iova, end)) return -ERRNO.ERANGE;
    if (lowBits(length, sizes.smallest) !== 0)
      throw new GenericTableError({ length, granule: sizes.smallest });
    if (this.dynamicTop) {
      const errno = this.grow(iova, end, sizes.levelOf(lg2));
      if (errno !== 0) return errno;
    }
    const words = this.#words;
    const attrLo = this.#attrLo[prot & (PROTS - 1)] as number;
    const attrHi = this.#attrHi[prot & (PROTS - 1)] as number;
    let errno = 0;
    for (let done = 0, size = lg2; done < length && errno === 0; ) {
      const at = iova + done;
      const level = sizes.levelOf(size);
      errno = this.#descend(at, level);
      if (errno !== 0) break;
      const table = this.#atHi * TWO32 + (this.#atLo >>> 0);
      const mask = level === this.topLevel ? this.topMask : (this.masks[level] as number);
      const span = this.spans[level] as number;
      let index = (at / span) & mask;
      // The next page may be of another size and still stand in this table.
      for (;;) {
        words.lo = attrLo | sizes.leafLo(size);
        words.hi = attrHi | sizes.leafHi(size);
        const bytes = sizes.bytesOf(size);
        const n = sizes.count(iova + done, paddr + done, length - done, size);
        const items = bytes / span;
        const fitting = Math.min(n, (mask + 1 - index) / items);
        words.word = (paddr + done) * this.scale;
        words.step = bytes * this.scale;
        const stored = this.#store(level, table + index * 8, iova + done, fitting, items);
        errno = stored < fitting ? -EADDRINUSE : 0;
        if (this.incoherent) this.clean(table + index * 8, stored * items * 8);
        done += stored * bytes;
        index += stored * items;
        if (errno !== 0 || done >= length) break;
        size = sizes.best(iova + done, paddr + done, length - done);
        if (index > mask || sizes.levelOf(size) !== level) break;
      }
      this.mapped = done;
    }
    if (this.#replaced.freelist.length > 0) this.syncGather(this.#replaced);
    return errno;
  }

  /**
   * Unmaps whole pages from `iova` on until `length` bytes or a hole, and returns the bytes cleared, more than asked when the range
   * ends inside a page; 0 when it starts inside one. What was cleared, also nothing, is added to the gather unless that is queued;
   * tables that the range covers wait in its freelist.
   */
  unmap(iova: number, length: number, gather: IotlbGather): number {
    this.counters.formatCalls++;
    if (length === CPU_PAGE && this.#shortWay && this.#unmapFast(iova, gather)) return CPU_PAGE;
    return this.unmapRange(iova, length, gather);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.mapped = 0;
    if (!this.#has(pgsize)) return -ERRNO.EINVAL;
    return pgcount === 0 ? 0 : this.map(iova, paddr, pgsize * pgcount, prot);
  }

  /** As `unmap`; without a gather everything is invalidated at once. */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    if (!this.#has(pgsize)) return 0;
    if (gather !== null) return this.unmap(iova, pgsize * pgcount, gather);
    const own = new IotlbGather();
    const unmapped = this.unmap(iova, pgsize * pgcount, own);
    this.syncGather(own);
    return unmapped;
  }

  /** Why a map is refused before any table is looked at; 0: it is not. */
  #refusal(iova: number, paddr: number, length: number, prot: number): number {
    if ((prot & DIRECTIONS) === 0) {
      this.raise('map: neither read nor write');
      return -ERRNO.EINVAL;
    }
    if (paddr >= this.#endPaddr) return -ERRNO.ERANGE;
    const refused = this.#attrErrno[prot & (PROTS - 1)] as number;
    if (refused !== 0) return refused;
    if (length === 0) return -ERRNO.EINVAL;
    return wraps(iova, length) ? -ERRNO.EOVERFLOW : 0;
  }

  #has(pgsize: number): boolean {
    return (pgsize === CPU_PAGE && this.#shortWay) || this.#sizes.has(pgsize);
  }

  /** Maps one page of the CPU's size where nothing is missing; false, and nothing done, where the long way must see to it. */
  #mapFast(iova: number, paddr: number, prot: number): boolean {
    if (
      (prot & DIRECTIONS) === 0 ||
      this.#attrErrno[prot] !== 0 ||
      !(paddr < this.#endPaddr) ||
      ((iova | paddr) & (CPU_PAGE - 1)) !== 0
    )
      return false;
    const block = this.#pageEntry(iova);
    const k = this.#lane;
    if (block === undefined || ((block[k] as number) | (block[k + 1] as number)) !== 0)
      return false;
    const word = paddr * this.scale;
    block[k] = (word & this.fieldLo) | (this.#pageLo[prot] as number);
    block[k + 1] = ((word / TWO32) & this.fieldHi) | (this.#pageHi[prot] as number);
    const counters = this.counters;
    counters.levels += this.topLevel + 1;
    counters.stores++;
    this.mapped = CPU_PAGE;
    return true;
  }

  /** Unmaps one page of the CPU's size that is a leaf of one entry; false, and nothing done, as above. */
  #unmapFast(iova: number, gather: IotlbGather): boolean {
    if ((iova & (CPU_PAGE - 1)) !== 0) return false;
    const block = this.#pageEntry(iova);
    if (block === undefined) return false;
    const { contLo, contHi } = this;
    const k = this.#lane;
    const lo = (block[k] as number) | 0;
    const hi = (block[k + 1] as number) | 0;
    if (this.kinds[lo & 0xfff] !== LEAF) return false;
    // A page of several entries goes as a whole.
    if ((contLo | contHi) !== 0 && (lo & contLo) === contLo && (hi & contHi) === contHi)
      return false;
    block[k] = 0;
    block[k + 1] = 0;
    const counters = this.counters;
    counters.levels += this.topLevel + 1;
    counters.stores++;
    this.leafLevels = 1;
    this.tableLevels = 0;
    this.gatherRange(gather, iova, CPU_PAGE);
    return true;
  }

  /**
   * The memory block with the lowest level's entry of an IOVA, at `#lane`; `undefined` without a table, where memory lends no blocks,
   * and outside the address size. Addresses stay in lanes, and one block serves for as many levels as it can: look-ups are most of
   * the cost.
   */
  #pageEntry(iova: number): Uint32Array | undefined {
    // The tables of a signed space cover all that lies above.
    if (!this.covers(iova) || iova >= TWO64) return undefined;
    const { memory, kinds, inverses, masks, readLo, readHi, shift, topLevel } = this;
    const inBlock = memory.blockBytes - 1;
    let mask = this.topMask;
    let atLo = this.topLo;
    let atHi = this.topHi;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = topLevel; ; level--) {
      atLo |= ((iova * (inverses[level] as number)) & mask) << 3;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      if (block === undefined) return undefined;
      const k = (atLo & inBlock) >>> 2;
      if (level === 0) {
        this.#lane = k;
        return block;
      }
      const lo = (block[k] as number) | 0;
      if (kinds[(level << 12) | (lo & 0xfff)] !== TABLE) return undefined;
      const field = lo & readLo;
      atLo = field << shift;
      // In two steps: a shift by 32, for a shift of 0, would be none.
      atHi = (((block[k + 1] as number) & readHi) << shift) | ((field >>> 1) >>> (31 - shift));
      mask = masks[level - 1] as number;
    }
  }

  /** Maps one page of the CPU's size (the single-page path of `map_range`). */
  #mapPage(iova: number, paddr: number, prot: number): number {
    if (this.dynamicTop) {
      const grown = this.grow(iova, iova + CPU_PAGE, 0);
      if (grown !== 0) return grown;
    } else if (!this.covers(iova)) return -ERRNO.ERANGE;
    const memory = this.memory;
    const errno = this.#descend(iova, 0);
    if (errno !== 0) return errno;
    const mask = this.topLevel === 0 ? this.topMask : (this.masks[0] as number);
    const entry = this.#atHi * TWO32 + ((this.#atLo | (((iova / CPU_PAGE) & mask) << 3)) >>> 0);
    const old = memory.load64(entry);
    if (this.kindOf(0, old, memory.hi) !== EMPTY) return -EADDRINUSE;
    const word = paddr * this.scale;
    const lo = (word & this.fieldLo) | (this.#pageLo[prot] as number);
    const hi = ((word / TWO32) & this.fieldHi) | (this.#pageHi[prot] as number);
    memory.store64(entry, lo, hi);
    this.counters.stores++;
    this.mapped = CPU_PAGE;
    return 0;
  }

  /** Finds the table of `level` that holds an IOVA, made if need be, for `#atLo` and `#atHi`: 0 or a negative errno. */
  #descend(iova: number, level: number): number {
    const { memory, kinds, inverses, masks, readLo, readHi, unscale, topLevel } = this;
    this.counters.levels += topLevel - level + 1;
    this.#atLo = this.topLo;
    this.#atHi = this.topHi;
    if (this.incoherent || unscale !== 1) return this.#makeWay(iova, level, topLevel);
    const inBlock = memory.blockBytes - 1;
    let mask = this.topMask;
    let atLo = this.#atLo;
    let atHi = this.#atHi;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let at = topLevel; at > level; at--) {
      const entryLo = atLo | (((iova * (inverses[at] as number)) & mask) << 3);
      if ((((entryLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(entryLo, atHi);
        heldLo = entryLo & ~inBlock;
        heldHi = atHi;
      }
      if (block === undefined) {
        this.#atLo = atLo;
        this.#atHi = atHi;
        return this.#makeWay(iova, level, at);
      }
      const k = (entryLo & inBlock) >>> 2;
      const lo = (block[k] as number) | 0;
      if (kinds[(at << 12) | (lo & 0xfff)] !== TABLE) {
        this.#atLo = atLo;
        this.#atHi = atHi;
        return this.#makeWay(iova, level, at);
      }
      atHi = (block[k + 1] as number) & readHi;
      atLo = lo & readLo;
      mask = masks[at - 1] as number;
    }
    this.#atLo = atLo;
    this.#atHi = atHi;
    return 0;
  }

  /** Goes on from `#atLo` and `#atHi`, a table of level `from`, with everything that may be missing or marked on the way. */
  #makeWay(iova: number, level: number, from: number): number {
    let table = this.#atHi * TWO32 + (this.#atLo >>> 0);
    for (let at = from; at > level; at--) {
      const mask = at === this.topLevel ? this.topMask : (this.masks[at] as number);
      table = this.tableBelow(at, table + ((iova / (this.spans[at] as number)) & mask) * 8);
      if (table < 0) return table;
    }
    this.#atLo = table | 0;
    this.#atHi = (table / TWO32) | 0;
    return 0;
  }

  /** Stores up to `pages` leaves and returns how many; fewer where a leaf is in the way, also one below a table. */
  #store(level: number, entry: number, iova: number, pages: number, items: number): number {
    const memory = this.memory;
    const words = this.#words;
    const span = this.spans[level] as number;
    for (let done = 0; done < pages; ) {
      const at = entry + done * items * 8;
      const free = firstUsed(memory, at, (pages - done) * items);
      const whole = items === 1 ? free : Math.floor(free / items);
      if (whole === 0) {
        if (!this.#vacate(level, at, iova + done * items * span, items)) return done;
        continue;
      }
      storeLeafWords(memory, at, whole, items, words);
      this.counters.stores += whole * items;
      words.word += whole * words.step;
      done += whole;
    }
    return pages;
  }

  /** Empties the entries of one page to come: tables without a leaf go, one by one; false at a leaf. */
  #vacate(level: number, entry: number, iova: number, items: number): boolean {
    const memory = this.memory;
    const span = this.spans[level] as number;
    for (let i = 0; i < items; i++) {
      const at = entry + i * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      const kind = this.kindOf(level, lo, hi);
      if (kind === LEAF) return false;
      if (kind === EMPTY) {
        // Only a foreign hand leaves an entry that is neither present nor zero.
        if ((lo | hi) !== 0) memory.store64(at, 0, 0);
        continue;
      }
      const below = this.address(lo, hi);
      this.leafLevels = 0;
      this.tableLevels = 1 << level;
      if (!this.#collectEmpty(level - 1, below)) {
        this.unlinked = [];
        return false;
      }
      this.unlinked.push(below);
      memory.store64(at, 0, 0);
      this.counters.stores++;
      if (this.incoherent) this.clean(at, 8);
      this.takeBack(this.unlinked);
      this.gatherRange(this.#replaced, iova + i * span, span);
      this.gatherTables(this.#replaced);
    }
    return true;
  }

  /** Lists the tables below a table; false when there is a leaf among them. */
  #collectEmpty(level: number, table: number): boolean {
    const memory = this.memory;
    const entries = (this.masks[level] as number) + 1;
    for (let i = firstUsed(memory, table, entries); i < entries; ) {
      const lo = memory.load64(table + i * 8);
      const hi = memory.hi;
      const kind = this.kindOf(level, lo, hi);
      if (kind === LEAF) return false;
      if (kind === TABLE) {
        const below = this.address(lo, hi);
        this.unlinked.push(below);
        this.tableLevels |= 1 << level;
        if (!this.#collectEmpty(level - 1, below)) return false;
      }
      i++;
      i += firstUsed(memory, table + i * 8, entries - i);
    }
    return true;
  }
}
