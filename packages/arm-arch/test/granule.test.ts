import { describe, expect, it } from 'vitest';
import * as arch from '../src/index.ts';
import {
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  granuleGeometry,
  OAS_BITS,
  oasCode,
  S1_LEAF,
  s2StartLevel,
  startLevel,
  TG0_GRANULE,
  TG1_GRANULE,
  tg0Code,
  tg1Code,
  VMSAV8_64_TABLE,
} from '../src/index.ts';

describe('granule', () => {
  const all = [GRANULE_4K, GRANULE_16K, GRANULE_64K];

  it('gives the leaf sizes of Linux: 4K 2M 1G, 16K 32M, 64K 512M', () => {
    expect(GRANULE_4K.entryBytes.slice(1)).toEqual([0x4000_0000, 0x20_0000, 0x1000]);
    expect(GRANULE_16K.entryBytes.slice(2)).toEqual([0x200_0000, 0x4000]);
    expect(GRANULE_64K.entryBytes.slice(2)).toEqual([0x2000_0000, 0x1_0000]);
    expect(GRANULE_64K.entryBytes[1]).toBe(2 ** 42);
  });

  it('derives from shift and stride, and back from TG0 and TG1', () => {
    for (const one of all) {
      expect(one.bytes).toBe(2 ** one.shift);
      expect(one.stride).toBe(one.shift - 3);
      expect(one.entryBytes).toEqual([3, 2, 1, 0].map((n) => 2 ** (one.shift + n * one.stride)));
      expect(TG0_GRANULE[one.tg0]).toBe(one.bytes);
      expect(TG1_GRANULE[one.tg1]).toBe(one.bytes);
      expect(tg0Code(one.bytes)).toBe(one.tg0);
      expect(tg1Code(one.bytes)).toBe(one.tg1);
      expect(one.tlbiTg).toBe((one.shift - 10) / 2);
      expect(granuleGeometry(one.bytes)).toBe(one);
    }
    expect(granuleGeometry(0x2000)).toBeUndefined();
    expect(tg0Code(0x2000)).toBeUndefined();
    expect(tg1Code(0x2000)).toBeUndefined();
  });

  it.each([
    [
      GRANULE_4K,
      [
        [12, -1],
        [15, -1],
        [16, 0],
        [24, 0],
        [25, 1],
        [33, 1],
        [34, 2],
        [42, 2],
        [43, 3],
        [48, 3],
      ],
    ],
    [
      GRANULE_16K,
      [
        [16, 0],
        [17, 1],
        [27, 1],
        [28, 2],
        [38, 2],
        [39, 3],
        [48, 3],
      ],
    ],
    [
      GRANULE_64K,
      [
        [12, 1],
        [16, 1],
        [21, 1],
        [22, 2],
        [34, 2],
        [35, 3],
        [47, 3],
      ],
    ],
  ] as const)('stage 1 start level %#', (granule, rows) => {
    for (const [txsz, level] of rows) expect(startLevel(granule, txsz)).toBe(level);
  });

  it('stage 2 start level by SL0', () => {
    expect([0, 1, 2, 3, 4].map((sl) => s2StartLevel(GRANULE_4K, sl))).toEqual([2, 1, 0, 3, -1]);
    expect([0, 1, 2, 3].map((sl) => s2StartLevel(GRANULE_16K, sl))).toEqual([3, 2, 1, 0]);
    expect([0, 1, 2, 3].map((sl) => s2StartLevel(GRANULE_64K, sl))).toEqual([3, 2, 1, undefined]);
  });

  it('output sizes', () => {
    expect(OAS_BITS).toEqual([32, 36, 40, 42, 44, 48, 52, 56]);
    expect(oasCode(48)).toBe(5);
    expect(oasCode(47)).toBeUndefined();
  });
});

describe('lane constants', () => {
  it.each([
    ['PTE_VALID', 'Valid'],
    ['PTE_LO_NS', 'NS'],
    ['PTE_LO_SH_MASK', 'SH'],
    ['PTE_LO_AF', 'AF'],
    ['PTE_LO_NG', 'nG'],
    ['PTE_HI_DBM', 'DBM'],
    ['PTE_HI_CONTIGUOUS', 'Contiguous'],
    ['PTE_HI_PXN', 'PXN'],
    ['PTE_HI_UXN', 'UXN'],
  ] as const)('%s is the mask of %s', (constant, field) => {
    const mask = S1_LEAF.mask(field);
    expect(new Map<string, unknown>(Object.entries(arch)).get(constant)).toBe(
      mask[constant.startsWith('PTE_HI') ? 1 : 0],
    );
  });

  it('table limits and addresses are those of the layouts', () => {
    expect(arch.PTE_HI_NSTABLE).toBe(VMSAV8_64_TABLE.mask('NSTable')[1]);
    expect(arch.PTE_HI_UXNTABLE).toBe(VMSAV8_64_TABLE.mask('UXNTable')[1]);
    expect(arch.PTE_HI_PXNTABLE).toBe(VMSAV8_64_TABLE.mask('PXNTable')[1]);
    expect(arch.PTE_HI_APTABLE_NO_UNPRIV + arch.PTE_HI_APTABLE_NO_WRITE).toBe(
      VMSAV8_64_TABLE.mask('APTable')[1],
    );
    const oa = S1_LEAF.mask('OA');
    expect([arch.PTE_LO_ADDRESS_MASK, arch.PTE_HI_ADDRESS_MASK]).toEqual([oa[0], oa[1]]);
  });

  it('adds up to the page descriptors that Linux writes', () => {
    // READ|WRITE|CACHE and MMIO READ|WRITE of arm_lpae_prot_to_pte
    const { PTE_TYPE_PAGE, PTE_LO_AP_UNPRIV, PTE_LO_SH_ISH, PTE_LO_SH_OSH, PTE_LO_AF, PTE_LO_NG } =
      arch;
    const shift = arch.PTE_LO_ATTRINDX_SHIFT;
    expect(
      PTE_TYPE_PAGE | (1 << shift) | PTE_LO_AP_UNPRIV | PTE_LO_SH_ISH | PTE_LO_AF | PTE_LO_NG,
    ).toBe(0xf47);
    expect(
      PTE_TYPE_PAGE | (2 << shift) | PTE_LO_AP_UNPRIV | PTE_LO_SH_OSH | PTE_LO_AF | PTE_LO_NG,
    ).toBe(0xe4b);
  });
});
