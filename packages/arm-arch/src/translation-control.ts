import { layout } from '@iommukit/bits';
import {
  OAS_NAMES,
  SHAREABILITY_NAMES,
  TG0_NAMES,
  TG1_NAMES,
  WALK_CACHEABILITY_NAMES,
} from './memory-attribute.ts';
import { bool, choice, res0, uint } from './row.ts';

/**
 * Stage 1 translation control of a processor; a CD holds the same fields at other places. Source: DDI 0487 D24.2.
 * @example TCR_EL1.get.MTX1(words)
 */
export const TCR_EL1 = layout(
  'TCR_EL1',
  { dwords: 1, spec: 'DDI 0487 D24.2' },
  {
    T0SZ: uint(0, 5, 0, '64 minus the bits of the lower half'),
    RES0_6: res0(0, 6, 6),
    EPD0: bool(0, 7, 'no walks in the lower half'),
    IRGN0: choice(0, 9, 8, 'inner cacheability of walks of the lower half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    ORGN0: choice(0, 11, 10, 'outer cacheability of walks of the lower half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    SH0: choice(0, 13, 12, 'shareability of walks of the lower half', { of: SHAREABILITY_NAMES }),
    TG0: choice(0, 15, 14, 'granule of the lower half', { of: TG0_NAMES }),
    T1SZ: uint(0, 21, 16, '64 minus the bits of the upper half'),
    A1: bool(0, 22, 'ASID is in TTBR1'),
    EPD1: bool(0, 23, 'no walks in the upper half'),
    IRGN1: choice(0, 25, 24, 'inner cacheability of walks of the upper half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    ORGN1: choice(0, 27, 26, 'outer cacheability of walks of the upper half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    SH1: choice(0, 29, 28, 'shareability of walks of the upper half', { of: SHAREABILITY_NAMES }),
    TG1: choice(0, 31, 30, 'granule of the upper half', { of: TG1_NAMES }),
    IPS: choice(0, 34, 32, 'output size', { of: OAS_NAMES }),
    RES0_35: res0(0, 35, 35),
    AS: bool(0, 36, '16-bit ASIDs'),
    TBI0: bool(0, 37, 'top byte is ignored in the lower half'),
    TBI1: bool(0, 38, 'top byte is ignored in the upper half'),
    HA: bool(0, 39, 'hardware updates of the access flag'),
    HD: bool(0, 40, 'hardware updates of dirty state'),
    HPD0: bool(0, 41, 'hierarchical permissions are off in the lower half'),
    HPD1: bool(0, 42, 'hierarchical permissions are off in the upper half'),
    HWU059: bool(0, 43, 'descriptor bit 59 of the lower half is for hardware use'),
    HWU060: bool(0, 44, 'descriptor bit 60 of the lower half is for hardware use'),
    HWU061: bool(0, 45, 'descriptor bit 61 of the lower half is for hardware use'),
    HWU062: bool(0, 46, 'descriptor bit 62 of the lower half is for hardware use'),
    HWU159: bool(0, 47, 'descriptor bit 59 of the upper half is for hardware use'),
    HWU160: bool(0, 48, 'descriptor bit 60 of the upper half is for hardware use'),
    HWU161: bool(0, 49, 'descriptor bit 61 of the upper half is for hardware use'),
    HWU162: bool(0, 50, 'descriptor bit 62 of the upper half is for hardware use'),
    TBID0: bool(0, 51, 'TBI0 applies to data only'),
    TBID1: bool(0, 52, 'TBI1 applies to data only'),
    NFD0: bool(0, 53, 'non-faulting accesses do not walk the lower half'),
    NFD1: bool(0, 54, 'non-faulting accesses do not walk the upper half'),
    E0PD0: bool(0, 55, 'unprivileged access to the lower half faults'),
    E0PD1: bool(0, 56, 'unprivileged access to the upper half faults'),
    TCMA0: bool(0, 57, 'unchecked tags in the lower half'),
    TCMA1: bool(0, 58, 'unchecked tags in the upper half'),
    DS: bool(0, 59, '52-bit addresses with 4 KiB and 16 KiB granules'),
    MTX0: bool(0, 60, 'extended tags in the lower half'),
    MTX1: bool(0, 61, 'extended tags in the upper half'),
    RES0_63_62: res0(0, 63, 62),
  },
);

/**
 * Stage 2 translation control; STE bits S2T0SZ to S2PS hold bits 18:0. Source: DDI 0487 D24.2.
 * @example VTCR_EL2.get.SL2(words)
 */
export const VTCR_EL2 = layout(
  'VTCR_EL2',
  { dwords: 1, spec: 'DDI 0487 D24.2' },
  {
    T0SZ: uint(0, 5, 0, '64 minus the bits of the IPA space', 'STRTAB_STE_2_VTCR_S2T0SZ'),
    SL0: uint(0, 7, 6, 'start level code, with the granule', 'STRTAB_STE_2_VTCR_S2SL0'),
    IRGN0: choice(0, 9, 8, 'inner cacheability of walks', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2IR0',
    }),
    ORGN0: choice(0, 11, 10, 'outer cacheability of walks', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2OR0',
    }),
    SH0: choice(0, 13, 12, 'shareability of walks', {
      of: SHAREABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2SH0',
    }),
    TG0: choice(0, 15, 14, 'granule', { of: TG0_NAMES, linux: 'STRTAB_STE_2_VTCR_S2TG' }),
    PS: choice(0, 18, 16, 'output size', { of: OAS_NAMES, linux: 'STRTAB_STE_2_VTCR_S2PS' }),
    VS: bool(0, 19, '16-bit VMIDs'),
    RES0_20: res0(0, 20, 20),
    HA: bool(0, 21, 'hardware updates of the access flag'),
    HD: bool(0, 22, 'hardware updates of dirty state'),
    RES0_24_23: res0(0, 24, 23),
    HWU59: bool(0, 25, 'descriptor bit 59 is for hardware use'),
    HWU60: bool(0, 26, 'descriptor bit 60 is for hardware use'),
    HWU61: bool(0, 27, 'descriptor bit 61 is for hardware use'),
    HWU62: bool(0, 28, 'descriptor bit 62 is for hardware use'),
    NSW: bool(0, 29, 'walks are Non-secure'),
    NSA: bool(0, 30, 'output is Non-secure'),
    RES1_31: uint(0, 31, 31, 'reserved, written as 1'),
    DS: bool(0, 32, '52-bit addresses with 4 KiB and 16 KiB granules'),
    SL2: bool(0, 33, 'third bit of the start level code'),
    RES0_63_34: res0(0, 63, 34),
  },
);

/**
 * Memory attributes that AttrIndx selects; MAIR0 is the low half, MAIR1 the high half. Source: DDI 0487 D24.2.
 * @example MAIR.get.Attr7(words)
 */
export const MAIR = layout(
  'MAIR',
  { dwords: 1, spec: 'DDI 0487 D24.2', linux: 'arm_lpae_s1_cfg.mair' },
  {
    Attr0: uint(0, 7, 0, 'attribute 0'),
    Attr1: uint(0, 15, 8, 'attribute 1'),
    Attr2: uint(0, 23, 16, 'attribute 2'),
    Attr3: uint(0, 31, 24, 'attribute 3'),
    Attr4: uint(0, 39, 32, 'attribute 4'),
    Attr5: uint(0, 47, 40, 'attribute 5'),
    Attr6: uint(0, 55, 48, 'attribute 6'),
    Attr7: uint(0, 63, 56, 'attribute 7'),
  },
);

/** Memory attribute bytes that Linux uses, DDI 0487 D24.2; Linux: `ARM_LPAE_MAIR_ATTR_*`. @example MAIR_ATTR.WBRWA // 0xff */
export const MAIR_ATTR = {
  DEVICE_nGnRnE: 0x00,
  DEVICE_nGnRE: 0x04,
  NC: 0x44,
  INC_OWBRWA: 0xf4,
  WBRWA: 0xff,
} as const;

/** Output size in bits by OAS, IPS or S2PS, IHI 0070 6.3.6. @example OAS_BITS[5] // 48 */
export const OAS_BITS: readonly number[] = [32, 36, 40, 42, 44, 48, 52, 56];

/** The code of an output size in bits, or undefined when there is none; Linux: the `oas` switch of `arm_64_lpae_alloc_pgtable_s1`.
 * @example oasCode(48) // 5 */
export function oasCode(bits: number): number | undefined {
  const code = OAS_BITS.indexOf(bits);
  return code < 0 ? undefined : code;
}

/** Granule in bytes by TG0 or S2TG, 0 when reserved; IHI 0070 5.4. @example TG0_GRANULE[2] // 16384 */
export const TG0_GRANULE = [0x1000, 0x10000, 0x4000, 0] as const;

/** Granule in bytes by TG1, 0 when reserved; IHI 0070 5.4. @example TG1_GRANULE[2] // 4096 */
export const TG1_GRANULE = [0, 0x4000, 0x1000, 0x10000] as const;

/** TG0 or S2TG of a granule in bytes, undefined when there is none. @example tg0Code(0x4000) // 2 */
export function tg0Code(granule: number): number | undefined {
  return granule === 0x1000 ? 0 : granule === 0x10000 ? 1 : granule === 0x4000 ? 2 : undefined;
}

/** TG1 of a granule in bytes, undefined when there is none. @example tg1Code(0x1000) // 2 */
export function tg1Code(granule: number): number | undefined {
  return granule === 0x4000 ? 1 : granule === 0x1000 ? 2 : granule === 0x10000 ? 3 : undefined;
}

/** SH fields, IHI 0070 5.2. @example SHAREABILITY.ISH // 3 */
export const SHAREABILITY = { NSH: 0, OSH: 2, ISH: 3 } as const;

/** IR and OR fields of walks, IHI 0070 5.4. @example WALK_CACHEABILITY.WBRAWA // 1 */
export const WALK_CACHEABILITY = { NC: 0, WBRAWA: 1, WT: 2, WBRANWA: 3 } as const;
