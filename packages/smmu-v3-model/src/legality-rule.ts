/*
 * The rules that make an STE or a CD ILLEGAL, by name, with what each says and where (IHI 0070 5.2, 5.4, 5.5).
 * Not modelled: rules about features that this SMMU lacks (VMS, DPT, MPAM, VMSAv8-32).
 */

/** What a rule says, and its section. */
export interface LegalityRule {
  readonly section: string;
  readonly says: string;
}

/** A rule that an STE may break. */
export type StreamRule =
  | 'V'
  | 'S1P'
  | 'S2P'
  | 'EATS_SPLIT'
  | 'EATS_STALL'
  | 'STRW'
  | 'S1STALLD'
  | 'S1CDMAX'
  | 'S1FMT'
  | 'S1CONTEXTPTR'
  | 'S2S_UNSUPPORTED'
  | 'S2S_REQUIRED'
  | 'S2AA64'
  | 'S2ENDI'
  | 'S2HA'
  | 'S2HD'
  | 'S2HAFT'
  | 'S2TG'
  | 'S2T0SZ'
  | 'S2SL0'
  | 'S2TTB'
  | 'S2VMID';

/** A rule that a CD may break. */
export type ContextRule =
  | 'V'
  | 'S_STALLD'
  | 'S_UNSUPPORTED'
  | 'S_REQUIRED'
  | 'A'
  | 'AA64'
  | 'HA'
  | 'HD'
  | 'HAFT'
  | 'ASID'
  | 'ENDI'
  | 'TG0'
  | 'TG1'
  | 'T0SZ'
  | 'T1SZ'
  | 'TTB0'
  | 'TTB1';

function ste(says: string, section = 'IHI 0070 5.2'): LegalityRule {
  return { section, says };
}

function cd(says: string, section = 'IHI 0070 5.4'): LegalityRule {
  return { section, says };
}

/** Rules for STEs; a C_BAD_STE breaks one of them. */
export const STREAM_RULES: Readonly<Record<StreamRule, LegalityRule>> = {
  V: ste('STE.V=0'),
  S1P: ste('STE.Config=1x1 enables stage 1, which IDR0.S1P=0 lacks'),
  S2P: ste('STE.Config=11x enables stage 2, which IDR0.S2P=0 lacks'),
  EATS_SPLIT: ste('STE.EATS=10 (split-stage ATS) needs Config=111, S2S=0 and IDR0.NS1ATS=0'),
  EATS_STALL: ste('STE.EATS=01 (full ATS) must not stand with stage 2 and S2S=1'),
  STRW: ste('STE.STRW=x1 is reserved where only stage 1 translates'),
  S1STALLD: ste('STE.S1STALLD=1 needs IDR0.STALL_MODEL=00', 'IHI 0070 5.5'),
  S1CDMAX: ste('STE.S1CDMax is above IDR1.SSIDSIZE'),
  S1FMT: ste('STE.S1Fmt names a two-level CD table, which IDR0.CD2L=0 lacks'),
  S1CONTEXTPTR: ste('STE.S1ContextPtr lies beyond the output address size', 'IHI 0070 3.4.3'),
  S2S_UNSUPPORTED: ste(
    'STE.S2S=1 asks for stalls, which IDR0.STALL_MODEL=01 lacks',
    'IHI 0070 5.5',
  ),
  S2S_REQUIRED: ste('STE.S2S=0 refuses stalls, which IDR0.STALL_MODEL=10 forces', 'IHI 0070 5.5'),
  S2AA64: ste('STE.S2AA64=0 selects VMSAv8-32 tables, which IDR0.TTF lacks'),
  S2ENDI: ste('STE.S2ENDI=1 selects big-endian tables, which IDR0.TTENDIAN lacks'),
  S2HA: ste('STE.S2HA=1 needs IDR0.HTTU of 1 or more'),
  S2HD: ste('STE.S2HD=1 needs IDR0.HTTU of 2 or more'),
  S2HAFT: ste('STE.S2HAFT=1 needs S2HA=1'),
  S2TG: ste('STE.S2TG is reserved or names a granule that IDR5 lacks'),
  S2T0SZ: ste('STE.S2T0SZ is out of range for the granule and the input address size'),
  S2SL0: ste(
    'STE.S2SL0 is no start level for this S2T0SZ and S2TG',
    'IHI 0070 5.2, DDI 0487 D8.2.2',
  ),
  S2TTB: ste('STE.S2TTB lies beyond the effective S2PS', 'IHI 0070 3.4.3'),
  S2VMID: ste('STE.S2VMID is wider than 8 bits, and IDR0.VMID16=0'),
};

/** Rules for CDs; a C_BAD_CD breaks one of them. */
export const CONTEXT_RULES: Readonly<Record<ContextRule, LegalityRule>> = {
  V: cd('CD.V=0'),
  S_STALLD: cd('CD.S=1 stands against STE.S1STALLD=1', 'IHI 0070 5.5'),
  S_UNSUPPORTED: cd('CD.S=1 asks for stalls, which IDR0.STALL_MODEL=01 lacks', 'IHI 0070 5.5'),
  S_REQUIRED: cd('CD.S=0 refuses stalls, which IDR0.STALL_MODEL=10 forces', 'IHI 0070 5.5'),
  A: cd('CD.A=0 asks for RAZ/WI, which IDR0.TERM_MODEL=1 lacks', 'IHI 0070 5.5'),
  AA64: cd('CD.AA64=0 selects VMSAv8-32 tables, which IDR0.TTF lacks'),
  HA: cd('CD.HA=1 needs IDR0.HTTU of 1 or more'),
  HD: cd('CD.HD=1 needs IDR0.HTTU of 2 or more'),
  HAFT: cd('CD.HAFT=1 needs HA=1'),
  ASID: cd('CD.ASID is wider than 8 bits, and IDR0.ASID16=0'),
  ENDI: cd('CD.ENDI=1 selects big-endian tables, which IDR0.TTENDIAN lacks'),
  TG0: cd('CD.TG0 is reserved or names a granule that IDR5 lacks'),
  TG1: cd('CD.TG1 is reserved or names a granule that IDR5 lacks'),
  T0SZ: cd('CD.T0SZ is out of range for the granule'),
  T1SZ: cd('CD.T1SZ is out of range for the granule'),
  TTB0: cd('CD.TTB0 lies beyond the effective IPS', 'IHI 0070 3.4.3'),
  TTB1: cd('CD.TTB1 lies beyond the effective IPS', 'IHI 0070 3.4.3'),
};
