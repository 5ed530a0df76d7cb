import type { U64 } from '@iommukit/bits';

/**
 * What one CMD_ATC_INV covers: bytes aligned to its span, and the log2 of the span in pages of 4 KiB.
 * @example const span: AtcSpan = { address: 0, size: 4 };
 */
export interface AtcSpan {
  readonly address: number;
  readonly size: number;
}

/**
 * Everything that an endpoint holds.
 * @example ATC_ALL.size // 52
 */
export const ATC_ALL: AtcSpan = { address: 0, size: 52 };

/**
 * The smallest aligned power-of-two span of pages that holds a range (`arm_smmu_atc_inv_to_cmd`): pages 7 to 10 give 0 to 15. Bytes
 * modulo 2^64; a size of 0 ends before `iova`, so from 0 on it is everything.
 * @example atcSpan({ lo: 0x7000, hi: 0 }, { lo: 0x4000, hi: 0 }) // { address: 0, size: 4 }
 */
export function atcSpan(iova: U64, size: U64): AtcSpan {
  const low = iova.lo + size.lo;
  const lo = low >>> 0;
  const hi = iova.hi + size.hi + (low > 0xffff_ffff ? 1 : 0);
  // The last byte of the range.
  const lastLo = (lo - 1) >>> 0;
  const lastHi = (hi - (lo === 0 ? 1 : 0)) >>> 0;
  const differHi = (iova.hi ^ lastHi) >>> 0;
  const differLo = (iova.lo ^ lastLo) >>> 12;
  const span = differHi !== 0 ? 52 - Math.clz32(differHi) : 32 - Math.clz32(differLo);
  if (span >= 52) return ATC_ALL;
  const bytes = 2 ** (span + 12);
  const page = iova.hi * 2 ** 32 + ((iova.lo & ~0xfff) >>> 0);
  return { address: page - (page % bytes), size: span };
}
