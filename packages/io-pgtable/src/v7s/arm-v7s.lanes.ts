import { hasPageSize, SZ_4K, SZ_64K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { GeometryError } from '../geometry-error.ts';
import type { PageTableConfig, PageTableQuirks, QuirkName } from '../page-table-config.ts';
import type { PageTableFormat } from '../page-table-format.ts';
import { IOMMU_CACHE, IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_PRIV, IOMMU_WRITE } from '../prot.ts';
import {
  SHORT_AF,
  SHORT_AP_RDONLY,
  SHORT_AP_UNPRIV,
  SHORT_ATTR_SHIFT,
  SHORT_B,
  SHORT_C,
  SHORT_COPIES,
  SHORT_NG,
  SHORT_NMRR,
  SHORT_NS_SECTION,
  SHORT_NS_TABLE,
  SHORT_PRRR,
  SHORT_S,
  SHORT_SUPERSECTION,
  SHORT_TEX_LARGE_SHIFT,
  SHORT_TEX_NORMAL,
  SHORT_TEX_PAGE,
  SHORT_TTBR_COHERENT,
  SHORT_TTBR_S,
  SHORT_TYPE_LARGE,
  SHORT_TYPE_PAGE,
  SHORT_TYPE_TABLE,
  SHORT_XN_LARGE,
  SHORT_XN_PAGE,
  SHORT_XN_SECTION,
} from './short-descriptor.ts';
import { V7sPageTable } from './v7s-page-table.lanes.ts';
import { leafIndex, PROTS, SECTION, tableLimit, type V7sRegisters } from './v7s-tables.lanes.ts';

const TWO32 = 0x1_0000_0000;
const SIZES: readonly number[] = [SZ_4K, SZ_64K, SECTION, 16 * SECTION];
const QUIRKS: readonly QuirkName[] = ['ns', 'noPerms', 'mtkExt', 'mtkTtbrExt'];

/**
 * The short-descriptor format.
 * @example const format: V7sFormat = armV7s;
 */
export interface V7sFormat extends PageTableFormat<PageTableConfig, V7sPageTable> {
  /** Quirks it implements. */
  readonly quirks: readonly QuirkName[];
  /**
   * A further handle on tables that exist, with the top at `base`: for another worker that maps into the same table (give it the
   * same configuration, and its own flush ops), or for tables found in memory. Nothing is written. Only one handle may `free`.
   */
  attach(config: PageTableConfig, base: number): V7sPageTable | number;
}

function leafAttributes(level: number, prot: number, quirks: PageTableQuirks): number {
  let field = SHORT_NG | SHORT_S;
  let xn = 0;
  if ((prot & IOMMU_MMIO) === 0) field |= SHORT_TEX_NORMAL;
  if (!quirks.noPerms) {
    field |= SHORT_AF;
    if ((prot & IOMMU_PRIV) === 0) field |= SHORT_AP_UNPRIV;
    // There is no entry that can be written but not read, nor one that can be neither.
    if ((prot & IOMMU_WRITE) === 0) field |= SHORT_AP_RDONLY;
    if ((prot & IOMMU_NOEXEC) !== 0) xn = level === 1 ? SHORT_XN_SECTION : SHORT_XN_PAGE;
  }
  let word = (field << (SHORT_ATTR_SHIFT[level] as number)) | xn | SHORT_TYPE_PAGE;
  if ((prot & IOMMU_MMIO) !== 0) word |= SHORT_B;
  else if ((prot & IOMMU_CACHE) !== 0) word |= SHORT_B | SHORT_C;
  if (level === 1 && quirks.ns) word |= SHORT_NS_SECTION;
  return word;
}

/** The attributes of a page as its 16 equal entries hold them: in a large page, XN and TEX make room for the address. */
function copiedAttributes(level: number, word: number): number {
  if (level === 1) return word | SHORT_SUPERSECTION;
  const tex = word & SHORT_TEX_PAGE;
  const xn = (word & SHORT_XN_PAGE) === 0 ? 0 : SHORT_XN_LARGE;
  const rest = word & ~(SHORT_TEX_PAGE | SHORT_XN_PAGE | SHORT_TYPE_PAGE);
  return rest | (tex << SHORT_TEX_LARGE_SHIFT) | xn | SHORT_TYPE_LARGE;
}

function leafTable(quirks: PageTableQuirks): Int32Array {
  const leaves = new Int32Array(leafIndex(3, 1, 0));
  for (const level of [1, 2]) {
    for (let prot = 0; prot < PROTS; prot++) {
      const word = leafAttributes(level, prot, quirks);
      leaves[leafIndex(level, 1, prot)] = word;
      leaves[leafIndex(level, SHORT_COPIES, prot)] = copiedAttributes(level, word);
    }
  }
  return leaves;
}

function registers(base: number, config: PageTableConfig): V7sRegisters {
  const walk = config.coherentWalk ? SHORT_TTBR_COHERENT : SHORT_TTBR_S;
  const low = config.quirks?.mtkExt ? Math.floor(base / TWO32) : walk;
  return { ttbr: ((base & 0xffff_ffff) | low) >>> 0, tcr: 0, nmrr: SHORT_NMRR, prrr: SHORT_PRRR };
}

/** True for a combination that the kernel accepts. */
function accepts({ ias, oas, quirks = {} }: PageTableConfig): boolean {
  for (const name of Object.keys(quirks) as QuirkName[])
    if (quirks[name] && !QUIRKS.includes(name)) return false;
  // MediaTek's bits stand where other devices have permissions and XN.
  if (quirks.mtkExt && !quirks.noPerms) return false;
  if (quirks.mtkTtbrExt && !quirks.mtkExt) return false;
  return quirks.mtkExt ? ias <= 34 && oas <= 35 : ias <= 32 && oas <= 32;
}

function make(config: PageTableConfig, existing: number): V7sPageTable | number {
  if (!accepts(config)) return -ERRNO.EINVAL;
  if (config.ias < 20) throw new GeometryError({ ias: config.ias, granule: SECTION });
  let pgsizeBitmap = 0;
  for (const size of SIZES) if (hasPageSize(config.pgsizeBitmap, size)) pgsizeBitmap += size;
  const quirks = config.quirks ?? {};
  // The top table comes from the page allocator, which rounds up.
  const topBytes = Math.max(2 ** (config.ias - 20) * 4, config.cpuPageSize ?? SZ_4K);
  const fresh = existing < 0;
  const base = fresh ? config.frames.alloc(topBytes) : existing;
  if (base < 0) return -ERRNO.ENOMEM;
  if (fresh && base >= tableLimit(config)) {
    config.frames.free(base, topBytes);
    return -ERRNO.ENOMEM;
  }
  const table = new V7sPageTable(config, pgsizeBitmap, {
    base,
    topBytes,
    registers: registers(base, config),
    leaves: leafTable(quirks),
    tableAttributes: SHORT_TYPE_TABLE | (quirks.ns ? SHORT_NS_TABLE : 0),
  });
  if (fresh) table.zeroTop();
  return table;
}

/**
 * Arm short descriptors (`ARM_V7S`): 32-bit entries, two levels, input addresses up to 32 bits; up to 34, and output addresses up to
 * 35, with MediaTek's extension. A top table that the registers cannot point to is -ENOMEM, and so is a second-level one.
 * @example const table = createPageTable(armV7s, { ...config, ias: 32, oas: 32 });
 */
export const armV7s: V7sFormat = {
  name: 'arm-v7s',
  quirks: QUIRKS,
  create: (config) => make(config, -1),
  attach: (config, base) => make(config, base),
};
