/*
 * The twin's context descriptors: where they are (IHI 0070 5.2 S1Fmt, 5.3) and when one is ILLEGAL (5.4, 5.4.2).
 */
import {
  bits,
  configFault,
  field,
  sizeOf,
  type TwinFeatures,
  type TwinRun,
} from './twin-walker-run.lanes.ts';
import { type SteView, tg0, type World } from './twin-walker-ste.lanes.ts';
import { translateStage2 } from './twin-walker-tables.lanes.ts';

export interface HalfView {
  readonly disabled: boolean;
  readonly txsz: number;
  readonly granule: number | undefined;
  readonly ttb: bigint;
  readonly tbi: boolean;
  readonly had: boolean;
  readonly e0pd: boolean;
  /** 52-bit addresses with 4K or 16K pages. */
  readonly ds: boolean;
  /** Effective output size. */
  readonly ips: number;
}

export interface CdView {
  readonly dw: readonly bigint[];
  readonly world: World;
  readonly halves: readonly [HalfView, HalfView];
  readonly affd: boolean;
  readonly wxn: boolean;
  readonly pan: boolean;
  readonly epan: boolean;
  readonly ha: boolean;
  readonly hd: boolean;
  readonly haft: boolean;
  readonly a: boolean;
  readonly r: boolean;
  readonly s: boolean;
}

/** A configuration read through stage 2 if it is on; gives the physical address. */
function structureAddress(run: TwinRun, ste: SteView, address: bigint): bigint {
  if ((ste.config & 2) === 0) return address;
  return translateStage2(run, ste, {
    ipa: address,
    class: 'CD',
    read: true,
    write: false,
    execute: false,
    privileged: true,
  });
}

/** The eight doublewords of the CD. */
export function locateCd(run: TwinRun, ste: SteView): readonly bigint[] {
  const { f, access } = run;
  const n = BigInt(access.ssid ?? 0);
  const nested = (ste.config & 2) === 2;
  const align = (address: bigint, low: number): bigint => (address >> BigInt(low)) << BigInt(low);
  let at: bigint;
  if (ste.s1cdmax > 0 && (ste.s1fmt === 1 || ste.s1fmt === 2)) {
    const split = ste.s1fmt === 1 ? 6 : 10;
    const table = align(ste.s1contextPtr, Math.max(6, ste.s1cdmax - split + 3));
    const l1pa = structureAddress(run, ste, table + 8n * (n >> BigInt(split)));
    const l1 = run.memory.read64(l1pa);
    if (l1 === undefined) configFault(run, 'F_CD_FETCH', l1pa);
    if (bits(l1, 0, 0) === 0) configFault(run, 'C_BAD_SUBSTREAMID');
    const leaf = align(field(l1, 55, 12), split + 6);
    if (
      leaf >> BigInt(f.oas) !== 0n &&
      (!nested || run.choices.nestedL2Pointer === 'C_BAD_SUBSTREAMID')
    )
      configFault(run, 'C_BAD_SUBSTREAMID');
    at = leaf + 64n * (n & ((1n << BigInt(split)) - 1n));
  } else at = align(ste.s1contextPtr, ste.s1cdmax + 6) + 64n * n;
  const pa = structureAddress(run, ste, at);
  const words: bigint[] = [];
  for (let i = 0n; i < 8n; i++) {
    const word = run.memory.read64(pa + 8n * i);
    if (word === undefined) configFault(run, 'F_CD_FETCH', pa);
    words.push(word);
  }
  return words;
}

function tg1(code: number): number | undefined {
  return [undefined, 14, 12, 16][code];
}

export function cdView(dw: readonly bigint[], ste: SteView, f: TwinFeatures): CdView {
  const [a, b, c] = dw as [bigint, bigint, bigint];
  const on = (word: bigint, bit: number): boolean => bits(word, bit, bit) === 1;
  const { world } = ste;
  const ips = Math.min(sizeOf(bits(a, 34, 32)), f.oas);
  const half = (upper: 0 | 1): HalfView => {
    const word = upper === 1 ? c : b;
    const granule = upper === 1 ? tg1(bits(a, 23, 22)) : tg0(bits(a, 7, 6));
    const ds = f.ds && granule !== 16 && on(c, 58);
    return {
      disabled: world === 'EL2' ? upper === 1 : on(a, upper === 1 ? 30 : 14),
      txsz: upper === 1 ? bits(a, 21, 16) : bits(a, 5, 0),
      granule,
      ttb: field(word, 51, 4),
      tbi: on(a, 38 + upper),
      had: f.had && on(word, 1),
      e0pd: f.e0pd && world !== 'EL2' && on(word, 2),
      ds,
      ips: Math.min(ips, granule === 16 || ds ? 52 : 48),
    };
  };
  return {
    dw,
    world,
    halves: [half(0), half(1)],
    affd: on(a, 35),
    wxn: on(a, 36),
    pan: world !== 'EL2' && on(a, 40),
    epan: f.epan && on(b, 59),
    ha: f.httu >= 1 && on(a, 43),
    hd: f.httu >= 2 && on(a, 43) && on(a, 42),
    haft: f.httu === 3 && on(a, 43) && on(b, 3),
    s: on(a, 44),
    r: on(a, 45),
    a: on(a, 46),
  };
}

function badHalf(f: TwinFeatures, half: HalfView): boolean {
  if (half.disabled) return false;
  if (half.granule === undefined || !f.granules.includes(half.granule)) return true;
  const most = f.stt ? (half.granule === 16 ? 47 : 48) : 39;
  const least = f.vax52 && (half.granule === 16 || half.ds) ? 12 : 16;
  if (half.txsz < least || half.txsz > most) return true;
  return half.ttb >> BigInt(half.ips) !== 0n;
}

/** The conditions of 5.4.2. */
export function badCd(run: TwinRun, ste: SteView, cd: CdView): boolean {
  const { f } = run;
  const [a, b] = cd.dw as [bigint, bigint];
  const on = (word: bigint, bit: number): boolean => bits(word, bit, bit) === 1;
  if (!on(a, 31)) return true;
  if (ste.s1stalld && cd.s) return true;
  if (f.termModel && !cd.a) return true;
  if (f.stallModel === 1 && cd.s) return true;
  if (f.stallModel === 2 && !cd.s) return true;
  const [low, high] = cd.halves;
  if (!low.disabled || !high.disabled) {
    if (f.ttEndian === 2 && on(a, 15)) return true;
    if (f.ttEndian === 3 && !on(a, 15)) return true;
  }
  if (!on(a, 41)) return true;
  const ha = on(a, 43);
  const hd = on(a, 42);
  if ((ha || hd) && f.httu === 0) return true;
  if (hd && f.httu === 1) return true;
  if (f.httu === 3 && on(b, 3) && !ha) return true;
  if (cd.world !== 'EL2' && !f.asid16 && bits(a, 63, 56) !== 0) return true;
  return badHalf(f, low) || badHalf(f, high);
}
