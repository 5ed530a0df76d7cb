/*
 * Configurations that work, a bench that changes them field by field, and the rules by which values are refused (IHI 0070 5.2, 5.3, 5.4).
 */
import { CD, STE } from '@iommukit/arm-arch';
import type { FieldRow } from '@iommukit/bits';
import { FEATURE_PRESETS, type Features } from '../src/index.ts';
import { twinWalk } from './twin-walker.lanes.ts';
import type { TwinCase } from './twin-walker-cases.lanes.ts';
import { modelText, TwinRig, twinText } from './twin-walker-rig.lanes.ts';
import type { TwinAccess } from './twin-walker-run.lanes.ts';
import { Space } from './twin-walker-space.lanes.ts';

const STRTAB = 0x4020_0000n;
export const L2TAB = 0x4030_0000n;
const CDTAB = 0x4026_0000n;
const L2CD = 0x4027_0000n;
const S1TABLE = 0x4040_0000n;
const S2TABLE = 0x4080_0000n;
const DATA = 0x4500_0000n;
export const SID = 5;

export interface Profile {
  readonly name: string;
  readonly f: Features;
  readonly config: 0 | 4 | 5 | 6 | 7;
  readonly strw?: number;
  readonly e2h?: boolean;
  /** log2 of the CDs; the access then has SubstreamID 3. */
  readonly cdMax?: number;
  readonly s1fmt?: number;
}

export const FULL: Features = { ...FEATURE_PRESETS.full, ats: false, pri: false, ns1ats: false };
export const SMALL: Features = {
  ...FULL,
  minor: 1,
  oas: 40,
  ds: false,
  vax: 48,
  httu: 0,
  hyp: false,
  asid16: false,
  vmid16: false,
  cd2l: false,
  stallModel: 1,
  termModel: true,
  ssidSize: 4,
  stt: false,
  gran16k: false,
  fwb: false,
  e0pd: false,
  epan: false,
  attrPermsOvr: false,
  attrTypesOvr: false,
  stallMax: 0,
};
const STALL: Features = { ...FULL, stallModel: 2, stallMax: 16, httu: 1, ssidSize: 0, vax: 52 };
const TERMINATE: Features = { ...FULL, stallModel: 1, stallMax: 0 };

const FEATURES: readonly (readonly [string, Features])[] = [
  ['all features', { ...FULL, stallModel: 0, stallMax: 16 }],
  ['few features', SMALL],
  ['stall forced', STALL],
  ['terminate only', TERMINATE],
  // Where v3.0 leaves a choice (5.4 TxSZ, 5.2 S2T0SZ, 3.4.3 S1ContextPtr) the model takes the one that v3.1 makes the rule.
  ['SMMUv3.0', { ...SMALL, minor: 0, had: false, xnx: false, ril: false, bbml: 0, ptwnnc: false }],
];

export const PROFILES: readonly Profile[] = FEATURES.flatMap(([name, f]) => [
  ...([4, 5, 6, 7] as const).map((config) => ({ name: `${name}, Config ${config}`, f, config })),
  { name: `${name}, Config 0`, f, config: 0 } as const,
  ...(f.ssidSize > 0
    ? ([5, 7] as const).map((config) => ({
        name: `${name}, Config ${config}, substreams`,
        f,
        config,
        cdMax: 2,
      }))
    : []),
  ...(f.cd2l && f.ssidSize > 0
    ? ([5, 7] as const).map((config) => ({
        name: `${name}, Config ${config}, two-level CDs`,
        f,
        config,
        cdMax: 2,
        s1fmt: 1,
      }))
    : []),
  ...(f.hyp
    ? [
        { name: `${name}, NS-EL2`, f, config: 5, strw: 2 } as const,
        { name: `${name}, NS-EL2-E2H`, f, config: 5, strw: 2, e2h: true } as const,
      ]
    : []),
]);

type Values = Readonly<Record<string, number | bigint>>;

function stall(f: Features): number {
  return f.stallModel === 2 ? 1 : 0;
}

function steValues(p: Profile): Values {
  return {
    V: 1,
    Config: p.config,
    S1Fmt: p.s1fmt ?? 0,
    S1ContextPtr: CDTAB,
    S1CDMax: p.cdMax ?? 0,
    S1DSS: 1,
    STRW: p.strw ?? 0,
    MemAttr: 15,
    SHCFG: 1,
    S2VMID: 3,
    S2T0SZ: 25,
    S2SL0: 1,
    S2PS: 2,
    S2AA64: 1,
    S2S: stall(p.f),
    S2R: 1,
    S2TTB: S2TABLE,
  };
}

function cdValues(p: Profile): Values {
  return {
    T0SZ: 25,
    T1SZ: 25,
    TG1: 2,
    V: 1,
    IPS: 2,
    AA64: 1,
    S: stall(p.f),
    R: 1,
    A: 1,
    ASID: 9,
    TTB0: S1TABLE,
    TTB1: S1TABLE,
    MAIR0: 0xff,
  };
}

function pack(rows: Readonly<Record<string, FieldRow>>, values: Values): bigint[] {
  const words = Array.from({ length: 8 }, () => 0n);
  for (const [name, value] of Object.entries(values)) {
    const row = rows[name] as FieldRow;
    const wide = BigInt(value);
    words[row.dw] =
      (words[row.dw] as bigint) | (row.kind === 'addr' ? wide : wide << BigInt(row.lo));
  }
  return words;
}

/** Bits of a field turned to `value`. */
export function withField(words: readonly bigint[], row: FieldRow, value: bigint): bigint[] {
  const mask = ((1n << BigInt(row.hi - row.lo + 1)) - 1n) << BigInt(row.lo);
  return words.map((word, i) =>
    i === row.dw ? (word & ~mask) | ((value << BigInt(row.lo)) & mask) : word,
  );
}

/** All values of a field of up to seven bits, else the base value with one bit turned. */
export function valuesOf(row: FieldRow, base: bigint): bigint[] {
  const width = row.hi - row.lo + 1;
  if (width <= 7 && row.kind !== 'res0')
    return Array.from({ length: 2 ** width }, (_, i) => BigInt(i));
  return Array.from({ length: width }, (_, bit) => base ^ (1n << BigInt(bit)));
}

export function read(words: readonly bigint[], row: FieldRow): bigint {
  return ((words[row.dw] as bigint) >> BigInt(row.lo)) & ((1n << BigInt(row.hi - row.lo + 1)) - 1n);
}

export class Bench {
  readonly rig: TwinRig;
  readonly profile: Profile;
  readonly ste: bigint[];
  readonly cd: bigint[];
  readonly l1std = L2TAB | 4n;
  readonly l1cd = L2CD | 1n;

  constructor(profile: Profile) {
    this.profile = profile;
    this.rig = new TwinRig(profile.f);
    this.ste = pack(STE.rows, steValues(profile));
    this.cd = pack(CD.rows, cdValues(profile));
  }

  /** The outcome with these structures, on the model and on the twin. */
  outcome(change: {
    ste?: readonly bigint[];
    cd?: readonly bigint[];
    l1std?: bigint;
    l1cd?: bigint;
    split?: number;
  }): { model: string; twin: string } {
    const { profile } = this;
    const space = new Space();
    const twoLevel = change.l1std !== undefined;
    const steAt = (twoLevel ? L2TAB : STRTAB) + BigInt(64 * SID);
    if (change.l1std !== undefined) space.put(STRTAB, change.l1std);
    (change.ste ?? this.ste).forEach((word, i) => {
      space.put(steAt + BigInt(8 * i), word);
    });
    const ssid = profile.cdMax === undefined ? undefined : 3;
    const cdAt = (profile.s1fmt === 1 ? L2CD : CDTAB) + BigInt(64 * (ssid ?? 0));
    if (profile.s1fmt === 1) space.put(CDTAB, change.l1cd ?? this.l1cd);
    (change.cd ?? this.cd).forEach((word, i) => {
      space.put(cdAt + BigInt(8 * i), word);
    });
    // VA 0x1000, three levels from level 1; stage 2 is the identity in blocks of 1 GiB.
    space.put(S1TABLE, (S1TABLE + 0x1000n) | 3n);
    space.put(S1TABLE + 0x1000n, (S1TABLE + 0x2000n) | 3n);
    space.put(S1TABLE + 0x2008n, DATA | 0x743n);
    space.put(S2TABLE + 8n, 0x4000_0000n | 0x7fdn);
    const one: TwinCase = {
      registers: {
        ...this.rig.idr,
        CR0: 0xdn,
        CR2: profile.e2h === true ? 3n : 2n,
        GBPA: 0n,
        STRTAB_BASE: STRTAB,
        STRTAB_BASE_CFG: 8n | BigInt((change.split ?? 8) << 6) | (twoLevel ? 1n << 16n : 0n),
      },
      space,
      accesses: [],
      ste: steAt,
      note: '',
    };
    const address = profile.config === 5 || profile.config === 7 ? 0x1000n : DATA;
    const access: TwinAccess = {
      sid: SID,
      ssid,
      address,
      write: false,
      privileged: true,
      instruction: false,
    };
    this.rig.load(one);
    const result = this.rig.access(access);
    const model = modelText(result, this.rig.records());
    if (result.outcome === 'stall') this.rig.release();
    this.rig.unload(one);
    return { model, twin: twinText(twinWalk(space, one.registers, access)) };
  }
}

export interface Rule {
  readonly field: string;
  readonly section: string;
  readonly illegal: (value: number, p: Profile, raw: bigint) => boolean;
}

export const stage1 = (p: Profile): boolean => p.config === 5 || p.config === 7;
const stage2 = (p: Profile): boolean => p.config === 6 || p.config === 7;

/** Address bits of a field that stands in place. */
function beyond(raw: bigint, low: number, size: number): boolean {
  return (raw << BigInt(low)) >> BigInt(size) !== 0n;
}

/** 5.2 S2T0SZ, S2SL0, S2TG; DDI 0487 D8.2.2. */
function stage2Illegal(p: Profile, size: { t0sz?: number; sl0?: number; tg?: number }): boolean {
  const { t0sz = 25, sl0 = 1, tg = 0 } = size;
  const granule = [12, 16, 14, 0][tg] as number;
  const has = { 12: p.f.gran4k, 14: p.f.gran16k, 16: p.f.gran64k, 0: false }[granule as 0];
  if (!has) return true;
  const most = p.f.stt ? (granule === 16 ? 47 : 48) : 39;
  if (t0sz < Math.max(granule === 16 ? 12 : 16, 64 - p.f.oas) || t0sz > most) return true;
  const level = (
    granule === 12 ? [2, 1, 0, p.f.stt ? 3 : 9] : granule === 14 ? [3, 2, 1, 9] : [3, 2, 1, 9]
  )[sl0];
  if (level === undefined || level === 9) return true;
  const stride = granule - 3;
  const n = 64 - t0sz - granule - stride * (3 - level);
  return n < 1 || n > stride + 4;
}

export const STE_RULES: readonly Rule[] = [
  { field: 'V', section: '5.2', illegal: (v) => v === 0 },
  {
    field: 'S1Fmt',
    section: '5.2',
    illegal: (v, p) => stage1(p) && (p.cdMax ?? 0) > 0 && !p.f.cd2l && (v === 1 || v === 2),
  },
  {
    field: 'S1CDMax',
    section: '5.2',
    illegal: (v, p) => stage1(p) && p.f.ssidSize > 0 && v > p.f.ssidSize,
  },
  {
    field: 'S1ContextPtr',
    section: '3.4.3',
    illegal: (_, p, raw) => stage1(p) && beyond(raw, 6, p.f.oas),
  },
  {
    field: 'S1STALLD',
    section: '5.2',
    illegal: (v, p) => stage1(p) && v === 1 && p.f.stallModel !== 0,
  },
  { field: 'STRW', section: '5.2', illegal: (v, p) => p.f.hyp && p.config === 5 && v % 2 === 1 },
  {
    field: 'S2VMID',
    section: '5.2',
    illegal: (v, p) => (stage2(p) || (p.config === 5 && p.strw !== 2)) && !p.f.vmid16 && v > 255,
  },
  {
    field: 'S2T0SZ',
    section: '5.2',
    illegal: (v, p) => stage2(p) && stage2Illegal(p, { t0sz: v }),
  },
  { field: 'S2SL0', section: '5.2', illegal: (v, p) => stage2(p) && stage2Illegal(p, { sl0: v }) },
  { field: 'S2TG', section: '5.2', illegal: (v, p) => stage2(p) && stage2Illegal(p, { tg: v }) },
  { field: 'S2AA64', section: '5.2', illegal: (v, p) => stage2(p) && v === 0 },
  { field: 'S2ENDI', section: '5.2', illegal: (v, p) => stage2(p) && v === 1 },
  { field: 'S2HA', section: '5.2', illegal: (v, p) => stage2(p) && v === 1 && p.f.httu === 0 },
  { field: 'S2HD', section: '5.2', illegal: (v, p) => stage2(p) && v === 1 && p.f.httu < 2 },
  { field: 'S2HAFT', section: '5.2', illegal: (v, p) => stage2(p) && v === 1 && p.f.httu === 3 },
  {
    field: 'S2S',
    section: '5.2',
    illegal: (v, p) => stage2(p) && (v === 1 ? p.f.stallModel === 1 : p.f.stallModel === 2),
  },
  // With S2DS=0 level -1 cannot be named: S2SL0_2 is ignored.
  {
    field: 'S2TTB',
    section: '5.2',
    illegal: (_, p, raw) => stage2(p) && beyond(raw & ((1n << 48n) - 1n), 4, 40),
  },
];

/** Rows that cannot change anything: reserved, implementation defined, for software, of features that the model refuses. */
export const STE_INERT: readonly string[] = [
  'S1CIR',
  'S1COR',
  'S1CSH',
  'S2HWU59',
  'S2HWU60',
  'S2HWU61',
  'S2HWU62',
  'DRE',
  'CONT',
  'DCP',
  'PPAR',
  'MEV',
  'SW',
  'S1PIE',
  'S2FWB',
  'S1MPAM',
  'EATS',
  'MemAttr',
  'MTCFG',
  'ALLOCCFG',
  'SHCFG',
  'NSCFG',
  'S2IR0',
  'S2OR0',
  'S2SH0',
  'S2PIE',
  'S2POE',
  'DPT_VMATCH',
  'S2NSW',
  'S2NSA',
  'S2SL0_2',
  'S2SKL',
  'PARTID',
  'S_S2T0SZ',
  'S_S2SL0',
  'S_S2TG',
  'MECID',
  'PMG',
  'MPAM_NS',
  'AssuredOnly',
  'TL0',
  'TL1',
  'VMSPtr',
  'S2SW',
  'S2SA',
  'S_S2SL0_2',
  'S_S2TTB',
  'S_S2SKL',
  'S2POI',
  'S2PTW',
  'S2AFFD',
]; // prettier-ignore

/** Rows that a Config ignores (5.2). */
export function steIgnored(name: string, p: Profile): boolean {
  if (p.config === 0) return name !== 'V' && name !== 'Config';
  if (name === 'STRW' && (!p.f.hyp || p.config !== 5)) return true;
  if (name === 'S1DSS' && (p.cdMax ?? 0) === 0) return true;
  if ((name === 'PRIVCFG' || name === 'INSTCFG') && !p.f.attrPermsOvr) return true;
  const ofStage1 = /^S1(Fmt|ContextPtr|CDMax|DSS|STALLD)$/.test(name);
  if (ofStage1 && !stage1(p)) return true;
  const ofStage2 = /^S2/.test(name);
  if (ofStage2 && !stage2(p)) return name !== 'S2VMID' || p.config === 4 || p.strw === 2;
  return false;
}

interface HalfSize {
  readonly txsz?: number;
  readonly granule?: number;
}

/** 5.4 TxSZ, TGx. */
function halfIllegal(p: Profile, { txsz = 25, granule = 12 }: HalfSize): boolean {
  const has = { 12: p.f.gran4k, 14: p.f.gran16k, 16: p.f.gran64k, 0: false }[granule as 0];
  if (!has) return true;
  const most = p.f.stt ? (granule === 16 ? 47 : 48) : 39;
  return txsz < (granule === 16 && p.f.vax >= 52 ? 12 : 16) || txsz > most;
}

const upperChecked = (p: Profile): boolean => !(p.strw === 2 && p.e2h !== true);
const asids = upperChecked;

export const CD_RULES: readonly Rule[] = [
  { field: 'V', section: '5.4', illegal: (v) => v === 0 },
  { field: 'T0SZ', section: '5.4', illegal: (v, p) => halfIllegal(p, { txsz: v }) },
  {
    field: 'T1SZ',
    section: '5.4',
    illegal: (v, p) => upperChecked(p) && halfIllegal(p, { txsz: v }),
  },
  {
    field: 'TG0',
    section: '5.4',
    illegal: (v, p) => halfIllegal(p, { granule: [12, 16, 14, 0][v] as number }),
  },
  {
    field: 'TG1',
    section: '5.4',
    illegal: (v, p) => upperChecked(p) && halfIllegal(p, { granule: [0, 14, 12, 16][v] as number }),
  },
  { field: 'ENDI', section: '5.4', illegal: (v) => v === 1 },
  { field: 'AA64', section: '5.4', illegal: (v) => v === 0 },
  { field: 'HA', section: '5.4', illegal: (v, p) => v === 1 && p.f.httu === 0 },
  { field: 'HD', section: '5.4', illegal: (v, p) => v === 1 && p.f.httu < 2 },
  { field: 'HAFT', section: '5.4', illegal: (v, p) => v === 1 && p.f.httu === 3 },
  {
    field: 'S',
    section: '5.4',
    illegal: (v, p) => (v === 1 ? p.f.stallModel === 1 : p.f.stallModel === 2),
  },
  { field: 'A', section: '5.4', illegal: (v, p) => v === 0 && p.f.termModel },
  { field: 'ASID', section: '5.4', illegal: (v, p) => asids(p) && !p.f.asid16 && v > 255 },
  {
    field: 'TTB0',
    section: '5.4',
    illegal: (_, _p, raw) => beyond(raw & ((1n << 48n) - 1n), 4, 40),
  },
  {
    field: 'TTB1',
    section: '5.4',
    illegal: (_, p, raw) => upperChecked(p) && beyond(raw & ((1n << 48n) - 1n), 4, 40),
  },
];

export const CD_INERT: readonly string[] = [
  'IR0',
  'OR0',
  'SH0',
  'IR1',
  'OR1',
  'SH1',
  'UWXN',
  'ASET',
  'NSCFG0',
  'HAD0',
  'PnCH',
  'EPAN',
  'HWU059',
  'HWU060',
  'HWU061',
  'HWU062',
  'NSCFG1',
  'HAD1',
  'AIE',
  'PIE',
  'HWU159',
  'HWU160',
  'HWU161',
  'HWU162',
  'MAIR0',
  'MAIR1',
  'AMAIR0',
  'AMAIR1',
  'IMPDEF5',
  'PARTID',
  'PMG',
  'PIIU',
  'PIIP',
  'EPD1',
  'AFFD',
  'WXN',
  'TBI0',
  'TBI1',
  'R',
  'E0PD1',
  'E0PD0',
]; // prettier-ignore

export function configRecord(event: number, p: Profile): string {
  const ssid = p.cdMax === undefined ? 0 : event === 8 ? 3 << 12 : (3 << 12) | (1 << 11);
  return `abort 0x${((BigInt(SID) << 32n) | BigInt(ssid | event)).toString(16)} 0x0 0x0 0x0`;
}
