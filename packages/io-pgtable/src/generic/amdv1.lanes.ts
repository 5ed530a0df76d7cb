import { type U64, u64, u64Of } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableFormat } from '../page-table-format.ts';
import { IOMMU_MMIO, IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { GenericConfig } from './generic-config.ts';
import type { GenericEntries } from './generic-entries.ts';
import { genericFormat } from './generic-format.ts';
import type { GenericPageTable } from './generic-page-table.lanes.ts';

// AMD I/O Virtualization Technology specification (48882), "I/O Page Tables for Host Translations": PR 0, U (accessed) 5, D 6,
// Next Level 11:9, address 51:12, FC 60, IR 61, IW 62.
const PRESENT = 1;
const DIRTY = 1 << 6;
const NEXT_LEVEL_SHIFT = 9;
const NEXT_LEVEL = 7 << NEXT_LEVEL_SHIFT;
/** Next level 7: the size of the page stands in the low bits of the address. */
const OTHER_SIZE = 7 << NEXT_LEVEL_SHIFT;
const HI_FORCE_COHERENT = 1 << 28;
const HI_READ = 1 << 29;
const HI_WRITE = 1 << 30;

/** Largest page, and the one that the kernel leaves out. */
const MAX_PAGE = 2 ** 51;
const LEFT_OUT = 2 ** 39;
const MAX_ITEMS_LG2 = 9;
/** The fifth table level is indexed by bits 63:57. */
const TOP_ITEMS_LG2 = 7;

/**
 * What the driver writes into the device table entry of a table (`pt_iommu_amdv1_hw_info`).
 * @example const { hostPtRoot, mode }: Amdv1HwInfo = table.hwInfo;
 */
export interface Amdv1HwInfo {
  /** Address of the top table. */
  readonly hostPtRoot: number;
  /** Levels of tables. */
  readonly mode: number;
}

function entries<H>(
  variant: Pick<
    GenericEntries<H>,
    'name' | 'granuleLg2' | 'maxVaszLg2' | 'maxOaszLg2' | 'supported' | 'forced' | 'hwInfo'
  > & { readonly maxTopLevel: number },
): GenericEntries<H> {
  const { granuleLg2, maxTopLevel } = variant;
  const granule = 2 ** granuleLg2;
  // The address is shifted by 12 whatever the granule is.
  const scale = 4096 / granule;
  const itemsLg2 = (level: number): number => (level === 5 ? TOP_ITEMS_LG2 : MAX_ITEMS_LG2);
  return {
    ...variant,
    maxLeafLevel: maxTopLevel - 1,
    address: { lo: 0xffff_f000, hi: 0xf_ffff, scale },
    presentWhenNotZero: false,
    contiguous: { lo: OTHER_SIZE, hi: 0, lowest: 'zero' },
    dirty: DIRTY,
    flushed: 0,
    itemsLg2,
    geometry({ topLevel = 0, hwMaxVaszLg2 }, has) {
      if (topLevel < 1 || topLevel > maxTopLevel) return -ERRNO.EINVAL;
      const reach = granuleLg2 + MAX_ITEMS_LG2 * topLevel + itemsLg2(topLevel);
      return {
        topLevel,
        maxVaszLg2: has('DYNAMIC_TOP') ? hwMaxVaszLg2 : Math.min(hwMaxVaszLg2, reach),
      };
    },
    pageSizes(level) {
      let sizes = 0;
      const item = granule * 2 ** (MAX_ITEMS_LG2 * level);
      for (let size = item; size < item * 2 ** MAX_ITEMS_LG2; size *= 2)
        if (size <= MAX_PAGE && size !== LEFT_OUT) sizes += size;
      return sizes;
    },
    kind(_level, low) {
      if ((low & PRESENT) === 0) return 'empty';
      const next = low & NEXT_LEVEL;
      return next === 0 || next === OTHER_SIZE ? 'leaf' : 'table';
    },
    leafBits(level, sizeLg2) {
      if (sizeLg2 === granuleLg2 + MAX_ITEMS_LG2 * level) return u64(0, 0);
      const code = u64Of((2 ** (sizeLg2 - 1) - granule) * scale);
      return u64(code.lo | OTHER_SIZE, code.hi);
    },
    leafAttributes(prot, has, sme) {
      const encrypted = has('AMDV1_ENCRYPT_TABLES') && (prot & IOMMU_MMIO) === 0;
      const hi =
        (has('AMDV1_FORCE_COHERENCE') ? HI_FORCE_COHERENT : 0) |
        ((prot & IOMMU_READ) !== 0 ? HI_READ : 0) |
        ((prot & IOMMU_WRITE) !== 0 ? HI_WRITE : 0);
      return encrypted ? u64(PRESENT | sme.lo, hi | sme.hi) : u64(PRESENT, hi);
    },
    tableAttributes(level, has, sme): U64 {
      const lo = PRESENT | (level << NEXT_LEVEL_SHIFT);
      const hi = HI_READ | HI_WRITE;
      return has('AMDV1_ENCRYPT_TABLES') ? u64(lo | sme.lo, hi | sme.hi) : u64(lo, hi);
    },
  };
}

/**
 * AMD IOMMU host tables (`fmt/amdv1.h`): any power of two from 4 KiB to 2^51 is a page, but 512 GiB; a top that grows.
 * @example const table = createPageTable(amdv1, { ...config, features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'] });
 */
export const amdv1: PageTableFormat<GenericConfig, GenericPageTable<Amdv1HwInfo>> = genericFormat(
  entries({
    name: 'amdv1',
    granuleLg2: 12,
    maxVaszLg2: 64,
    maxOaszLg2: 52,
    maxTopLevel: 5,
    supported: [
      'FULL_VA',
      'DYNAMIC_TOP',
      'FLUSH_RANGE',
      'FLUSH_RANGE_NO_GAPS',
      'AMDV1_ENCRYPT_TABLES',
      'AMDV1_FORCE_COHERENCE',
    ],
    forced: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'],
    hwInfo: (top, topLevel): Amdv1HwInfo => ({ hostPtRoot: top, mode: topLevel + 1 }),
  }),
);

/**
 * The variant of the iommufd self test, whose job is to break assumptions: pages of 2 KiB, tables of 4 KiB, a fixed top, no features,
 * and no device that would be told anything.
 * @example const table = createPageTable(amdv1Mock, { ...config, features: [], hwMaxVaszLg2: 56, hwMaxOaszLg2: 51, topLevel: 2 });
 */
export const amdv1Mock: PageTableFormat<GenericConfig, GenericPageTable<undefined>> = genericFormat(
  entries({
    name: 'amdv1_mock',
    granuleLg2: 11,
    maxVaszLg2: 56,
    maxOaszLg2: 51,
    maxTopLevel: 4,
    supported: [],
    forced: [],
    hwInfo: () => undefined,
  }),
);
