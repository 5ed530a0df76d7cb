/*
 * The descriptors that a cached translation was made from, flat, so that a use can be compared with memory in one short loop: the
 * leaf, its tables, and for a nested stage 1 what stage 2 read for each of them. Each doubleword stands once (DDI 0487 D8.3;
 * IHI 0070 3.21).
 * Not modelled: words of configuration, which the detector compares by field.
 */
import { PTE_LO_AF, PTE_LO_AP_RDONLY, PTE_LO_S2AP_WRITE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** Software and hardware-use bits 63:55 of a leaf decide nothing. */
const LEAF_HI = 0x007f_ffff;
/** Type and address of a table (in either 52-bit form), and its limits. */
const TABLE_LO = 0xffff_f303;
const TABLE_HI = 0x7803_ffff;
/** Lanes of a word in `Footprint.words`: low, high, and which of their bits count. */
const LANES = 4;
/** Lanes of a 4 KiB page, less one. */
const PAGE_MASK = 1023;

/** Doublewords and which of their bits decide. */
export interface Footprint {
  readonly paddrs: Float64Array;
  readonly words: Uint32Array;
  /** The page of each, where the view lends pages: the detector reads on its own account, not the device's. */
  readonly pages: readonly (Uint32Array | undefined)[];
}

/** The descriptors under an entry. */
export function footprintOf(entry: TlbEntry | WalkEntry, memory: MemoryView): Footprint {
  const paddrs: number[] = [];
  const words: number[] = [];
  const add = (of: TlbEntry | WalkEntry, maskLo: number, maskHi: number): void => {
    for (let i = 0; i < paddrs.length; i++)
      if (
        paddrs[i] === of.paddr &&
        words[i * LANES] === of.lo &&
        words[i * LANES + 1] === of.hi &&
        words[i * LANES + 2] === maskLo
      )
        return;
    paddrs.push(of.paddr);
    words.push(of.lo, of.hi, maskLo, maskHi);
  };
  const leaf = (of: TlbEntry | undefined): void => {
    if (of === undefined) return;
    // Hardware may have dirtied what is kept as clean (3.13).
    const dirty = of.space.stage === 1 ? PTE_LO_AP_RDONLY : PTE_LO_S2AP_WRITE;
    add(of, (of.clean ? ~dirty : -1) >>> 0, LEAF_HI);
    leaf(of.under);
    tables(of.parent);
  };
  const tables = (first: WalkEntry | undefined): void => {
    for (let of = first; of !== undefined; of = of.parent) {
      add(of, TABLE_LO, TABLE_HI);
      leaf(of.under);
    }
  };
  if ('next' in entry) tables(entry);
  else if (entry.inner === undefined) leaf(entry);
  else {
    leaf(entry.inner);
    leaf(entry.outer);
  }
  return {
    paddrs: Float64Array.from(paddrs),
    words: Uint32Array.from(words),
    pages: paddrs.map((paddr) => memory.lanes(paddr)),
  };
}

/** The first doubleword that memory no longer holds, as an index; -1 when all are there. */
export function firstChanged(footprint: Footprint, memory: MemoryView): number {
  const { paddrs, words, pages } = footprint;
  for (let i = 0; i < paddrs.length; i++) {
    const paddr = paddrs[i] as number;
    const page = pages[i];
    const lane = (paddr / 4) & PAGE_MASK;
    const lo = page === undefined ? memory.load64(paddr) : (page[lane] as number);
    const hi = page === undefined ? memory.hi : (page[lane + 1] as number);
    const at = i * LANES;
    let difference = (lo ^ (words[at] as number)) & (words[at + 2] as number);
    // An access flag that was set since, by hardware or software, takes nothing away (3.21.3).
    if (difference === PTE_LO_AF && (lo & PTE_LO_AF) !== 0) difference = 0;
    if ((difference | ((hi ^ (words[at + 1] as number)) & (words[at + 3] as number))) !== 0)
      return i;
  }
  return -1;
}
