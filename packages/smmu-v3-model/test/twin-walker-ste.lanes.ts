/*
 * The twin's stream table: lookup (IHI 0070 3.3.1, 5.1, 6.3.24-25) and legality of an STE (5.2, 5.2.2).
 */
import {
  bits,
  configFault,
  field,
  sizeOf,
  type TwinFeatures,
  type TwinRun,
} from './twin-walker-run.lanes.ts';

export type World = 'EL1' | 'EL2' | 'EL2-E2H';

export interface SteView {
  readonly dw: readonly bigint[];
  readonly valid: boolean;
  readonly config: number;
  readonly s1fmt: number;
  readonly s1contextPtr: bigint;
  readonly s1cdmax: number;
  readonly s1dss: number;
  readonly s1stalld: boolean;
  readonly world: World;
  readonly privcfg: number;
  readonly instcfg: number;
  readonly fwb: boolean;
  readonly s2t0sz: number;
  readonly granule: number | undefined;
  readonly startLevel: number | undefined;
  readonly s2ps: number;
  readonly s2affd: boolean;
  readonly s2ptw: boolean;
  readonly s2ha: boolean;
  readonly s2hd: boolean;
  readonly s2haft: boolean;
  readonly s2s: boolean;
  readonly s2r: boolean;
  readonly s2ds: boolean;
  readonly s2ttb: bigint;
}

/** log2 of a granule by the TG0 encoding (5.2 S2TG, 5.4 TG0). */
export function tg0(code: number): number | undefined {
  return [12, 16, 14, undefined][code];
}

function badStreamId(run: TwinRun): never {
  return configFault(run, 'C_BAD_STREAMID');
}

/** Address of the STE of the transaction. */
function steAddress(run: TwinRun): bigint {
  const { regs, f, access } = run;
  const sid = BigInt(access.sid);
  const cfg = regs.STRTAB_BASE_CFG;
  const literal = bits(cfg, 5, 0);
  if (sid >> BigInt(Math.min(literal, f.sidSize)) !== 0n) badStreamId(run);
  const base = field(regs.STRTAB_BASE, 55, 6);
  const align = (address: bigint, low: number): bigint => (address >> BigInt(low)) << BigInt(low);
  if (!f.twoLevel || bits(cfg, 17, 16) !== 1) return align(base, literal + 6) + 64n * sid;
  const code = bits(cfg, 10, 6);
  const split = code === 8 || code === 10 ? code : 6;
  const first = align(base, Math.max(5, literal - split - 1 + 3) + 1);
  const at = fetchAddress(run, first + 8n * (sid >> BigInt(split)));
  const l1 = run.memory.read64(at);
  if (l1 === undefined) configFault(run, 'F_STE_FETCH', at);
  const span = bits(l1, 4, 0);
  if (span === 0 || span > 11 || span > split + 1) badStreamId(run);
  const index = sid & ((1n << BigInt(split)) - 1n);
  if (index >= 1n << BigInt(span - 1)) badStreamId(run);
  return align(field(l1, 55, 6), 5 + span) + 64n * index;
}

function fetchAddress(run: TwinRun, address: bigint): bigint {
  const top = BigInt(run.f.oas);
  if (address >> top === 0n) return address;
  if (run.choices.steAddress === 'F_STE_FETCH') return configFault(run, 'F_STE_FETCH', address);
  return address & ((1n << top) - 1n);
}

export function findSte(run: TwinRun): SteView {
  const at = fetchAddress(run, steAddress(run));
  const dw: bigint[] = [];
  for (let i = 0n; i < 8n; i++) {
    const word = run.memory.read64(at + 8n * i);
    if (word === undefined) configFault(run, 'F_STE_FETCH', at);
    dw.push(word);
  }
  return steView(dw, run);
}

function startLevel(
  granule: number | undefined,
  code: { sl0: number; sl2: number; ds: boolean },
  f: TwinFeatures,
): number | undefined {
  const { sl0, sl2, ds } = code;
  if (granule === 12) {
    if (sl2 === 1) return sl0 === 0 ? -1 : undefined;
    if (sl0 === 3) return f.stt ? 3 : undefined;
    return [2, 1, 0][sl0];
  }
  if (granule === 14) return sl0 === 3 && !ds ? undefined : [3, 2, 1, 0][sl0];
  if (granule === 16) return [3, 2, 1, undefined][sl0];
  return undefined;
}

function steView(dw: readonly bigint[], run: TwinRun): SteView {
  const { f, regs } = run;
  const [a, b, c, d] = dw as [bigint, bigint, bigint, bigint];
  const on = (word: bigint, bit: number): boolean => bits(word, bit, bit) === 1;
  const config = bits(a, 3, 1);
  const strwUsed = f.hyp && config === 5;
  const granule = tg0(bits(c, 47, 46));
  const s2ds = f.ds && granule !== 16 && on(d, 3);
  return {
    dw,
    valid: on(a, 0),
    config,
    s1fmt: bits(a, 5, 4),
    s1contextPtr: field(a, 55, 6),
    s1cdmax: f.ssidSize === 0 ? 0 : bits(a, 63, 59),
    s1dss: bits(b, 1, 0),
    s1stalld: on(b, 27),
    world: strwUsed && on(b, 31) ? (on(regs.CR2, 0) ? 'EL2-E2H' : 'EL2') : 'EL1',
    privcfg: bits(b, 49, 48),
    instcfg: bits(b, 51, 50),
    fwb: f.fwb && on(b, 25),
    s2t0sz: bits(c, 37, 32),
    granule,
    startLevel: startLevel(
      granule,
      { sl0: bits(c, 39, 38), sl2: s2ds && granule === 12 ? bits(d, 2, 2) : 0, ds: s2ds },
      f,
    ),
    s2ps: Math.min(sizeOf(bits(c, 50, 48)), f.oas, granule === 16 || s2ds ? 52 : 48),
    s2affd: on(c, 53),
    s2ptw: config === 7 && on(c, 54),
    s2ha: f.httu >= 1 && on(c, 56),
    s2hd: f.httu >= 2 && on(c, 56) && on(c, 55),
    s2haft: f.httu === 3 && on(c, 56) && on(c, 59),
    s2s: on(c, 57),
    s2r: on(c, 58),
    s2ds,
    s2ttb: field(d, 51, 4),
  };
}

/** Bits that the first lookup of stage 2 resolves, and whether its tables are a legal set (5.2 S2SL0, DDI 0487 D8.2.2). */
export function stage2Start(ste: SteView): number | undefined {
  const { granule, startLevel: level } = ste;
  if (granule === undefined || level === undefined) return undefined;
  const stride = granule - 3;
  const n = 64 - ste.s2t0sz - (granule + stride * (3 - level));
  return n >= 1 && n <= stride + 4 ? n : undefined;
}

/** The conditions of 5.2.2 for V=1 and Config=1xx. */
export function badSte(run: TwinRun, ste: SteView): boolean {
  const { f } = run;
  const [, b, c] = ste.dw as [bigint, bigint, bigint];
  const on = (word: bigint, bit: number): boolean => bits(word, bit, bit) === 1;
  const stage1 = (ste.config & 1) === 1;
  const stage2 = (ste.config & 2) === 2;
  if (stage1 && !f.s1p) return true;
  if (stage2 && !f.s2p) return true;
  if (f.ats && ste.config !== 4) {
    const eats = bits(b, 29, 28);
    if (eats === 2 && (ste.config !== 7 || ste.s2s || f.ns1ats)) return true;
    if (eats === 1 && ste.s2s && stage2) return true;
  }
  if (f.hyp && ste.config === 5 && on(b, 30)) return true;
  if (stage1) {
    if (ste.s1stalld && f.stallModel !== 0) return true;
    if (f.ssidSize > 0) {
      if (ste.s1cdmax > f.ssidSize) return true;
      if (ste.s1cdmax > 0 && (ste.s1fmt === 1 || ste.s1fmt === 2) && !f.cd2l) return true;
    }
    const outside = ste.s1contextPtr >> BigInt(f.oas) !== 0n;
    if (outside && (!stage2 || run.choices.nestedCdPointer === 'C_BAD_STE')) return true;
  }
  if (stage2) {
    if (ste.s2s && f.stallModel === 1) return true;
    if (!ste.s2s && f.stallModel === 2) return true;
    if (!on(c, 51)) return true;
    const ha = on(c, 56);
    const hd = on(c, 55);
    if ((ha || hd) && f.httu === 0) return true;
    if (hd && f.httu === 1) return true;
    if (on(c, 59) && !ha && f.httu === 3) return true;
    if (ste.granule === undefined || !f.granules.includes(ste.granule)) return true;
    if (ste.s2ttb >> BigInt(ste.s2ps) !== 0n) return true;
    const most = f.stt ? (ste.granule === 16 ? 47 : 48) : 39;
    const least = Math.max(ste.granule === 16 || ste.s2ds ? 12 : 16, 64 - f.oas);
    if (ste.s2t0sz < least || ste.s2t0sz > most) return true;
    if (stage2Start(ste) === undefined) return true;
    if (f.ttEndian === 2 && on(c, 52)) return true;
    if (f.ttEndian === 3 && !on(c, 52)) return true;
  }
  const vmidUsed = f.s2p && (stage2 || (ste.config === 5 && ste.world === 'EL1'));
  return vmidUsed && !f.vmid16 && bits(c, 15, 8) !== 0;
}
