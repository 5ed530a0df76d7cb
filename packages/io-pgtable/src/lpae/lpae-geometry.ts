import {
  ctz,
  hasPageSize,
  pageSizes,
  SZ_1G,
  SZ_2M,
  SZ_4K,
  SZ_16K,
  SZ_32M,
  SZ_64K,
  SZ_512M,
} from '@iommukit/bits';
import { GeometryError } from '../geometry-error.ts';

/**
 * Shape of a table of the long-descriptor family: 64-bit entries, four levels 0 to 3, level 3 holds pages. Derived from the
 * granule alone, so it is the same formula for 4, 16 and 64 KiB.
 * @example lpaeGeometry({ pgsizeBitmap: SZ_4K, ias: 39, oas: 40, cpuPageSize: SZ_4K })?.startLevel // 1
 */
export interface LpaeGeometry {
  /** Page sizes of the chosen granule that were on offer, bytes. */
  readonly pgsizeBitmap: number;
  /** Input address bits, after the cap. */
  readonly ias: number;
  /** Output address bits, after the cap. */
  readonly oas: number;
  /** Smallest page and size of every table but the top one, bytes. */
  readonly granule: number;
  /** Index bits of every level but the first. */
  readonly bitsPerLevel: number;
  /** Level of the top table. */
  readonly startLevel: number;
  /** Entries of the top table. */
  readonly topEntries: number;
  /** Bytes that one entry of each level spans, by level. */
  readonly entrySizes: readonly number[];
}

/** What decides a geometry; the fields of the same name of a page-table configuration. @example const r: GeometryRequest = config; */
export interface GeometryRequest {
  readonly pgsizeBitmap: number;
  readonly ias: number;
  readonly oas: number;
  readonly cpuPageSize: number;
}

const SMALL_GRANULE_SIZES = [SZ_4K, SZ_2M, SZ_1G];

/** The page table granules' block sizes and address size limits (`arm_lpae_restrict_pgsizes`). */
const GRANULES: ReadonlyMap<number, { sizes: readonly number[]; maxBits: number }> = new Map([
  [SZ_4K, { sizes: SMALL_GRANULE_SIZES, maxBits: 48 }],
  [SZ_16K, { sizes: [SZ_16K, SZ_32M], maxBits: 48 }],
  [SZ_64K, { sizes: [SZ_64K, SZ_512M], maxBits: 52 }],
]);
/** A level-1 block of the 64 KiB granule, which needs 52-bit output addresses. */
const SZ_4T = 2 ** 42;

function chooseGranule(pgsizeBitmap: number, cpuPageSize: number): number {
  if (hasPageSize(pgsizeBitmap, cpuPageSize)) return cpuPageSize;
  const sizes = pageSizes(pgsizeBitmap);
  return sizes.findLast((size) => size < cpuPageSize) ?? sizes[0] ?? 0;
}

/** Those of `sizes` that a bitmap offers, as a bitmap. */
function offered(pgsizeBitmap: number, sizes: readonly number[]): number {
  let sum = 0;
  for (const size of sizes) if (hasPageSize(pgsizeBitmap, size)) sum += size;
  return sum;
}

/** The request without the page sizes that only larger granules than 4 KiB have. */
export function onlySmallGranule(request: GeometryRequest): GeometryRequest {
  return { ...request, pgsizeBitmap: offered(request.pgsizeBitmap, SMALL_GRANULE_SIZES) };
}

/**
 * Chooses granule and levels (`arm_lpae_restrict_pgsizes`, `arm_lpae_alloc_pgtable`); `undefined` where Linux refuses because
 * no page size of a supported granule is left. An input address size that leaves nothing to index throws {@link GeometryError}.
 * @example lpaeGeometry({ pgsizeBitmap: SZ_4K, ias: 48, oas: 48, cpuPageSize: SZ_4K })?.topEntries // 512
 */
export function lpaeGeometry(request: GeometryRequest): LpaeGeometry | undefined {
  const granule = chooseGranule(request.pgsizeBitmap, request.cpuPageSize);
  const limits = GRANULES.get(granule);
  if (limits === undefined) return undefined;
  let pgsizeBitmap = offered(request.pgsizeBitmap, limits.sizes);
  if (granule === SZ_64K && request.oas > 48 && hasPageSize(request.pgsizeBitmap, SZ_4T))
    pgsizeBitmap += SZ_4T;
  const ias = Math.min(request.ias, limits.maxBits);
  const oas = Math.min(request.oas, limits.maxBits);
  const shift = ctz(granule);
  if (ias <= shift) throw new GeometryError({ ias: request.ias, granule });
  const bitsPerLevel = shift - 3;
  const levels = Math.ceil((ias - shift) / bitsPerLevel);
  const topBits = ias - shift - bitsPerLevel * (levels - 1);
  return {
    pgsizeBitmap,
    ias,
    oas,
    granule,
    bitsPerLevel,
    startLevel: 4 - levels,
    topEntries: 2 ** topBits,
    entrySizes: [4, 3, 2, 1].map((rank) => 2 ** (rank * bitsPerLevel + 3)),
  };
}
