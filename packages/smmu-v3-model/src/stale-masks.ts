/*
 * Which bits of a structure decide anything, so that a change of others is none (IHI 0070 5.2, 5.2.1, 5.4.1).
 * Not modelled: fields that only an unmodelled feature reads.
 */
import { CD, STE } from '@iommukit/arm-arch';
import type { StreamKind } from './stream-entry.ts';

/** Lanes of an STE or CD that hold what is modelled. */
const LANES = 8;

function used(mask: Uint32Array): Uint32Array {
  return mask.subarray(0, LANES);
}

const ATTRIBUTES = ['MemAttr', 'MTCFG', 'ALLOCCFG', 'SHCFG', 'PRIVCFG', 'INSTCFG', 'EATS'] as const;
const STAGE1 = [
  'S1Fmt',
  'S1ContextPtr',
  'S1CDMax',
  'S1DSS',
  'S1CIR',
  'S1COR',
  'S1CSH',
  'S1STALLD',
  'STRW',
] as const;
/** The fields of stage 2 that a TLB may hold (5.2.1). */
const STAGE2_CACHED = [
  'S2FWB',
  'S2VMID',
  'S2T0SZ',
  'S2SL0',
  'S2IR0',
  'S2OR0',
  'S2SH0',
  'S2TG',
  'S2PS',
  'S2AA64',
  'S2ENDI',
  'S2AFFD',
  'S2PTW',
  'S2HD',
  'S2HA',
  'S2HAFT',
  'S2SL0_2',
  'S2DS',
  'S2TTB',
] as const;
const STAGE2 = [...STAGE2_CACHED, 'S2S', 'S2R'] as const;
const BASE = ['V', 'Config'] as const;

/** Of an STE, by what it makes of its stream. */
export const STE_USED: Readonly<Record<StreamKind, Uint32Array>> = {
  abort: used(STE.mask(...BASE)),
  bypass: used(STE.mask(...BASE, ...ATTRIBUTES)),
  stage1: used(STE.mask(...BASE, ...ATTRIBUTES, ...STAGE1, 'S2VMID')),
  stage2: used(STE.mask(...BASE, ...ATTRIBUTES, ...STAGE2)),
  nested: used(STE.mask(...BASE, ...ATTRIBUTES, ...STAGE1, ...STAGE2)),
  illegal: used(STE.mask(...BASE, ...ATTRIBUTES, ...STAGE1, ...STAGE2)),
};

/** Of an STE, what entries made by its stage 2 hold. */
export const STE_STAGE2_CACHED: Uint32Array = used(STE.mask(...STAGE2_CACHED));

const LOWER = [
  'T0SZ',
  'TG0',
  'IR0',
  'OR0',
  'SH0',
  'EPD0',
  'TBI0',
  'HAD0',
  'E0PD0',
  'TTB0',
] as const;
const UPPER = [
  'T1SZ',
  'TG1',
  'IR1',
  'OR1',
  'SH1',
  'EPD1',
  'TBI1',
  'HAD1',
  'E0PD1',
  'TTB1',
] as const;
const BOTH = [
  'ENDI',
  'IPS',
  'AFFD',
  'WXN',
  'UWXN',
  'PAN',
  'EPAN',
  'AA64',
  'HD',
  'HA',
  'HAFT',
  'DS',
  'MAIR0',
  'MAIR1',
] as const;

/** Of a CD. */
export const CD_USED: Uint32Array = used(
  CD.mask(...LOWER, ...UPPER, ...BOTH, 'V', 'S', 'R', 'A', 'ASET', 'ASID'),
);
/** Of a CD, what translations of its lower and of its upper half hold (5.4.1). */
export const CD_LOWER: Uint32Array = used(CD.mask(...LOWER, ...BOTH));
export const CD_UPPER: Uint32Array = used(CD.mask(...UPPER, ...BOTH));
