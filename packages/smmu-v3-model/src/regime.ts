/*
 * The parameters of one stage of translation: what a walk needs to know (DDI 0487 D8.2, D8.3).
 * Not modelled: VMSAv8-32, VMSAv9-128, big-endian tables, permission indirection.
 */
import {
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  type GranuleGeometry,
  startLevel,
} from '@iommukit/arm-arch';
import type { Features } from './features.ts';

/** Where a descriptor holds output address bits 51:48: nowhere, in 15:12 (64 KiB granule), or in 49:48 and 9:8 (DS). */
export type WideFormat = 'none' | 'bits-15-12' | 'ds';

/** CD.DS or STE.S2DS in force: 52-bit addresses with the 4 and 16 KiB granules (IHI 0070 5.2, 5.4). */
export type DsMode = 'ds' | 'no-ds';

/** Who decides what a leaf permits (DDI 0487 D8.4). */
export type PermissionRule = 'el1' | 'el2' | 'stage2';

/** One stage, or one half of stage 1. */
export interface Regime {
  readonly stage: 1 | 2;
  readonly upper: boolean;
  /** EPDx=1: no walk. */
  readonly disabled: boolean;
  readonly tbi: boolean;
  readonly e0pd: boolean;
  /** APTable, UXNTable and PXNTable are ignored. */
  readonly had: boolean;
  readonly granule: GranuleGeometry;
  /** Bytes of the input range, a power of two. */
  readonly bytes: number;
  /** -1 to 3. */
  readonly startLevel: number;
  /** Root table, aligned as hardware aligns it; of stage 2 several, when concatenated. */
  readonly root: number;
  /** Exclusive end of the addresses that the stage may output. */
  readonly outputEnd: number;
  readonly wide: WideFormat;
  /** Lowest level number at which a leaf may stand. */
  readonly leafLevel: number;
  /** Shareability of cacheable output with DS=1, where descriptors have no SH; -1: descriptors have it. */
  readonly sharing: number;
  readonly affd: boolean;
  /** Hardware update of the access flag, of dirty state, and of the access flag of tables. */
  readonly ha: boolean;
  readonly hd: boolean;
  readonly haft: boolean;
  readonly rule: PermissionRule;
  readonly wxn: boolean;
  readonly pan: boolean;
  readonly epan: boolean;
  readonly xnx: boolean;
}

/** The granule that a TG0 or S2TG code selects; `undefined` for a reserved or absent one (5.4). */
export function granuleOfTg0(tg: number, f: Features): GranuleGeometry | undefined {
  if (tg === 0) return f.gran4k ? GRANULE_4K : undefined;
  if (tg === 1) return f.gran64k ? GRANULE_64K : undefined;
  return tg === 2 && f.gran16k ? GRANULE_16K : undefined;
}

/** The granule that a TG1 code selects: the codes differ from those of TG0 (5.4). */
export function granuleOfTg1(tg: number, f: Features): GranuleGeometry | undefined {
  if (tg === 1) return f.gran16k ? GRANULE_16K : undefined;
  if (tg === 2) return f.gran4k ? GRANULE_4K : undefined;
  return tg === 3 && f.gran64k ? GRANULE_64K : undefined;
}

/** Greatest TxSZ: 39, or with small tables 48, of the 64 KiB granule 47 (5.4). */
export function largestTxsz(granule: GranuleGeometry, f: Features): number {
  if (!f.stt) return 39;
  return granule === GRANULE_64K ? 47 : 48;
}

/** Bits of the addresses that a stage may hold in its tables: 52 only with the 64 KiB granule or DS=1 (5.4). */
export function outputBits(granule: GranuleGeometry, ds: DsMode, ips: number): number {
  return granule === GRANULE_64K || ds === 'ds' ? ips : Math.min(ips, 48);
}

/** How descriptors of this granule hold addresses. */
export function wideFormat(granule: GranuleGeometry, ds: DsMode, f: Features): WideFormat {
  if (granule === GRANULE_64K) return f.oas >= 52 ? 'bits-15-12' : 'none';
  return ds === 'ds' ? 'ds' : 'none';
}

/** Lowest level number at which a leaf may stand (DDI 0487 D8.3). */
export function lowestLeafLevel(granule: GranuleGeometry, wide: WideFormat): number {
  return wide === 'none' ? granule.leafLevel : granule.leafLevel52;
}

/** Start level of stage 1, kept within what exists: an ILLEGAL CD is decoded too. */
export function stage1StartLevel(granule: GranuleGeometry, txsz: number): number {
  return Math.min(3, Math.max(granule === GRANULE_4K ? -1 : 0, startLevel(granule, txsz)));
}

/** Bytes that one descriptor of a level covers. */
export function levelBytes(granule: GranuleGeometry, level: number): number {
  return 2 ** (granule.shift + granule.stride * (3 - level));
}

/** The root table as hardware takes it: low bits cleared to its size, and to 64 bytes when IPS or S2PS says 52 bits (5.4, D8.3). */
export function alignedRoot(
  base: number,
  at: { granule: GranuleGeometry; level: number; bytes: number; ips: number },
): number {
  const table = (at.bytes / levelBytes(at.granule, at.level)) * 8;
  const alignment = Math.max(at.ips > 48 ? 64 : 16, table);
  return base - (base % alignment);
}

/** Bits 55:52 of a table address belong to 56-bit addresses and are ignored without them (5.2, 5.4). */
export function tableAddress(base: number): number {
  return base % 2 ** 52;
}
