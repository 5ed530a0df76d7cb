// Leaf entries from the facts of each format alone (DDI 0487 D8.3, DDI 0406 B3.5, the generic formats' manuals, and Linux's use of
// them), in bigints: no table, constant or function of the package. `index` counts the equal entries of a page.
import {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from '../src/index.ts';

/** The entries of one page: their value, how many, and the bytes that each spans. */
export interface PageWords {
  readonly word: bigint;
  readonly copies: number;
}

export type WordsOf = (size: bigint, paddr: bigint, prot: number) => PageWords;

const bit = (n: number): bigint => 1n << BigInt(n);
const has = (prot: number, flag: number): boolean => (prot & flag) !== 0;
const one = (word: bigint): PageWords => ({ word, copies: 1 });

/** Where a long descriptor holds an address: bits 51:48 in 15:12 for the 64 KiB granule. */
function longAddress(paddr: bigint, granule: bigint): bigint {
  if (granule !== 0x1_0000n) return paddr;
  return (paddr & 0xffff_ffff_0000n) | (((paddr >> 48n) & 0xfn) << 12n);
}

export function stageOne(granule: bigint, quirks: { hd?: boolean; ns?: boolean } = {}): WordsOf {
  return (size, paddr, prot) => {
    let word = longAddress(paddr, granule) | (size === granule ? 3n : 1n) | bit(10) | bit(11);
    word |= has(prot, IOMMU_CACHE) ? 3n << 8n : 2n << 8n;
    if (has(prot, IOMMU_MMIO)) word |= 2n << 2n;
    else if (has(prot, IOMMU_CACHE)) word |= 1n << 2n;
    if (quirks.ns) word |= bit(5);
    if (!has(prot, IOMMU_PRIV)) word |= bit(6);
    if (has(prot, IOMMU_READ) && !has(prot, IOMMU_WRITE)) word |= bit(7);
    else if (quirks.hd) word |= bit(51);
    if (has(prot, IOMMU_NOEXEC)) word |= 3n << 53n;
    return one(word);
  };
}

export function stageTwo(granule: bigint, quirks: { s2fwb?: boolean } = {}): WordsOf {
  return (size, paddr, prot) => {
    let word = longAddress(paddr, granule) | (size === granule ? 3n : 1n) | bit(10);
    word |= has(prot, IOMMU_CACHE) ? 3n << 8n : 2n << 8n;
    if (has(prot, IOMMU_MMIO)) word |= 1n << 2n;
    else if (has(prot, IOMMU_CACHE)) word |= (quirks.s2fwb ? 6n : 0xfn) << 2n;
    else word |= 5n << 2n;
    if (has(prot, IOMMU_READ)) word |= bit(6);
    if (has(prot, IOMMU_WRITE)) word |= bit(7);
    if (has(prot, IOMMU_NOEXEC)) word |= 3n << 53n;
    return one(word);
  };
}

export const mali: WordsOf = (_size, paddr, prot) => {
  let word = paddr | 1n | (2n << 8n);
  if (has(prot, IOMMU_MMIO)) word |= 2n << 2n;
  else if (has(prot, IOMMU_CACHE)) word |= 1n << 2n;
  if (has(prot, IOMMU_READ)) word |= bit(6);
  if (has(prot, IOMMU_WRITE)) word |= bit(7);
  if (has(prot, IOMMU_NOEXEC)) word |= 3n << 53n;
  return one(word);
};

export function short(quirks: { noPerms?: boolean; ns?: boolean } = {}): WordsOf {
  return (size, paddr, prot) => {
    const section = size >= 0x10_0000n;
    const cached = has(prot, IOMMU_CACHE) && !has(prot, IOMMU_MMIO);
    let field = bit(7) | bit(6);
    if (!has(prot, IOMMU_MMIO)) field |= 1n << 2n;
    if (!quirks.noPerms) {
      field |= bit(0);
      if (!has(prot, IOMMU_PRIV)) field |= bit(1);
      if (!has(prot, IOMMU_WRITE)) field |= bit(5);
    }
    let word = field << (section ? 10n : 4n);
    if (has(prot, IOMMU_MMIO)) word |= bit(2);
    if (cached) word |= bit(2) | bit(3);
    const xn = has(prot, IOMMU_NOEXEC) && !quirks.noPerms;
    const address =
      (paddr & 0xffff_ffffn) |
      (((paddr >> 32n) & 1n) << 9n) |
      (((paddr >> 33n) & 1n) << 4n) |
      (((paddr >> 34n) & 1n) << 5n);
    if (section) {
      word |= 2n | (xn ? bit(4) : 0n) | (quirks.ns ? bit(19) : 0n);
      if (size > 0x10_0000n) word |= bit(18);
    } else if (size === 0x1000n) word |= 2n | (xn ? bit(0) : 0n);
    else {
      const tex = (word >> 6n) & 7n;
      word = (word & ~(7n << 6n)) | (tex << 12n) | 1n | (xn ? bit(15) : 0n);
    }
    const copies = size === 0x1_0000n || size === 0x100_0000n ? 16 : 1;
    return { word: word | address, copies };
  };
}

export const dart1: WordsOf = (_size, paddr, prot) => {
  let word = paddr | 1n | bit(1) | (0xfffn << 40n);
  if (!has(prot, IOMMU_WRITE)) word |= bit(7);
  if (!has(prot, IOMMU_READ)) word |= bit(8);
  return one(word);
};

export const dart2: WordsOf = (_size, paddr, prot) => {
  let word = ((paddr >> 4n) & 0x3f_ffff_fc00n) | 1n | (0xfffn << 40n);
  if (!has(prot, IOMMU_CACHE)) word |= bit(1);
  if (!has(prot, IOMMU_WRITE)) word |= bit(2);
  if (!has(prot, IOMMU_READ)) word |= bit(3);
  return one(word);
};

export const x86: WordsOf = (size, paddr, prot) => {
  const write = has(prot, IOMMU_WRITE) ? bit(1) | bit(6) : 0n;
  return one(paddr | 1n | bit(2) | bit(5) | write | (size > 0x1000n ? bit(7) : 0n));
};

export const secondStage: WordsOf = (size, paddr, prot) => {
  const read = has(prot, IOMMU_READ) ? 1n : 0n;
  const write = has(prot, IOMMU_WRITE) ? 2n : 0n;
  return one(paddr | read | write | (size > 0x1000n ? bit(7) : 0n));
};

export const riscv: WordsOf = (size, paddr, prot) => {
  let word = ((paddr >> 12n) << 10n) | 1n | bit(4) | bit(6);
  if (has(prot, IOMMU_WRITE)) word |= bit(1) | bit(2) | bit(7);
  if (has(prot, IOMMU_READ)) word |= bit(1);
  if (!has(prot, IOMMU_NOEXEC)) word |= bit(3);
  if (size !== 0x1_0000n) return one(word);
  return { word: word | bit(63) | bit(13), copies: 16 };
};

export const amd: WordsOf = (size, paddr, prot) => {
  let word = paddr | 1n | bit(60);
  if (has(prot, IOMMU_READ)) word |= bit(61);
  if (has(prot, IOMMU_WRITE)) word |= bit(62);
  let item = 0x1000n;
  while (item * 512n <= size) item *= 512n;
  if (size === item) return one(word);
  return { word: word | (7n << 9n) | (size / 2n - 0x1000n), copies: Number(size / item) };
};
