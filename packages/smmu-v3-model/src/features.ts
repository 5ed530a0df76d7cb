/*
 * The ID registers (IHI 0070 6.3.1-6.3.8) as the model uses them, in both directions.
 * Not modelled: what `feature-rules.ts` refuses; it has no field here, as it can only read as not implemented.
 */
import { AIDR, IDR0, IDR1, IDR3, IDR5, OAS_BITS, oasCode } from '@iommukit/arm-arch';

/**
 * Raw reset values of the ID registers, as a capture or a specification gives them; a word that is left out is 0. GBPA is here
 * because its reset value is the implementation's choice too (6.3.14).
 * @example const idr: IdrWords = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };
 */
export interface IdrWords {
  readonly IDR0: number;
  readonly IDR1: number;
  readonly IDR2?: number;
  readonly IDR3?: number;
  readonly IDR4?: number;
  readonly IDR5: number;
  readonly IIDR?: number;
  readonly AIDR?: number;
  readonly GBPA?: number;
}

/**
 * What an SMMU implements. Booleans say "implemented"; sizes are in bits, `...Lg2` are exponents.
 * @example decodeFeatures({ IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 }).oas // 44
 */
export interface Features {
  readonly s1p: boolean;
  readonly s2p: boolean;
  /** IDR0.TTF has VMSAv8-64. */
  readonly aarch64: boolean;
  /** IDR0.COHACC: table and queue accesses are coherent. */
  readonly cohacc: boolean;
  /** IDR0.HTTU: 0 none, 1 access flag, 2 also dirty state, 3 also Table descriptors. */
  readonly httu: number;
  readonly hyp: boolean;
  readonly ats: boolean;
  /** IDR0.NS1ATS: split-stage ATS is not supported. */
  readonly ns1ats: boolean;
  readonly asid16: boolean;
  readonly msi: boolean;
  readonly sev: boolean;
  readonly pri: boolean;
  readonly vmw: boolean;
  readonly vmid16: boolean;
  readonly cd2l: boolean;
  /** IDR0.TTENDIAN: 2 little; the others are refused. */
  readonly ttEndian: number;
  readonly atsRecErr: boolean;
  /** IDR0.STALL_MODEL: 0 both, 1 terminate only, 2 stall forced. */
  readonly stallModel: number;
  /** IDR0.TERM_MODEL: RAZ/WI termination is absent. */
  readonly termModel: boolean;
  readonly twoLevelStrtab: boolean;
  /** Bits of a StreamID. */
  readonly sidSize: number;
  /** Bits of a SubstreamID; 0: none. */
  readonly ssidSize: number;
  readonly cmdqMaxLg2: number;
  readonly eventqMaxLg2: number;
  readonly priqMaxLg2: number;
  readonly attrPermsOvr: boolean;
  readonly attrTypesOvr: boolean;
  readonly tablesPreset: boolean;
  readonly queuesPreset: boolean;
  readonly had: boolean;
  /** IDR3.PBHA: descriptor bits 62:59 are hardware's; the model gives them no effect. */
  readonly pbha: boolean;
  /** IDR3.XNX: execute control of stage 2 by privilege. */
  readonly xnx: boolean;
  /** IDR3.PPS: automatic PRG responses carry the PASID. */
  readonly pps: boolean;
  /** IDR3.FWB: stage 2 forced write-back. */
  readonly fwb: boolean;
  readonly stt: boolean;
  readonly ril: boolean;
  /** IDR3.BBML: break-before-make level, 0 to 2. */
  readonly bbml: number;
  readonly e0pd: boolean;
  /** IDR3.PTWNNC: stage 1 tables in Device memory read as Normal Non-cacheable. */
  readonly ptwnnc: boolean;
  readonly epan: boolean;
  /** Output address size, bits. */
  readonly oas: number;
  readonly gran4k: boolean;
  readonly gran16k: boolean;
  readonly gran64k: boolean;
  /** 52-bit addresses with the 4 and 16 KiB granules. */
  readonly ds: boolean;
  /** Maximum input address size, bits. */
  readonly vax: number;
  /** IDR5.STALL_MAX: stalled transactions at a time. */
  readonly stallMax: number;
  /** Minor version: 0 to 3 for SMMUv3.0 to v3.3. */
  readonly minor: number;
  /** IDR4 and IIDR, implementation defined. */
  readonly idr4: number;
  readonly iidr: number;
  /** Reset value of GBPA. */
  readonly gbpa: number;
}

const VAX_BITS = [48, 52, 56, 56] as const;

/** Size in bits of an IDR5.OAS, CD.IPS or STE.S2PS encoding, 0 to 7. */
export function addressSize(encoding: number): number {
  return OAS_BITS[encoding] as number;
}

/** Bits of an input address of stage 2, and of stage 1 bypass: IAS (3.4); it differs from OAS only with VMSAv8-32 tables. */
export function inputSize(features: Features): number {
  return features.oas;
}

/**
 * Decodes reset values; refuses nothing: the constructor of the model checks them.
 * @example decodeFeatures({ IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 }).sidSize // 16
 */
export function decodeFeatures(idr: IdrWords): Features {
  const id0 = IDR0.decode([idr.IDR0, 0]).values;
  const id1 = IDR1.decode([idr.IDR1, 0]).values;
  const id3 = IDR3.decode([idr.IDR3 ?? 0, 0]).values;
  const id5 = IDR5.decode([idr.IDR5, 0]).values;
  return {
    s1p: id0.S1P === 1,
    s2p: id0.S2P === 1,
    aarch64: id0.TTF >= 2,
    cohacc: id0.COHACC === 1,
    httu: id0.HTTU,
    hyp: id0.Hyp === 1,
    ats: id0.ATS === 1,
    ns1ats: id0.NS1ATS === 1,
    asid16: id0.ASID16 === 1,
    msi: id0.MSI === 1,
    sev: id0.SEV === 1,
    pri: id0.PRI === 1,
    vmw: id0.VMW === 1,
    vmid16: id0.VMID16 === 1,
    cd2l: id0.CD2L === 1,
    ttEndian: id0.TTENDIAN,
    atsRecErr: id0.ATSRECERR === 1,
    stallModel: id0.STALL_MODEL,
    termModel: id0.TERM_MODEL === 1,
    twoLevelStrtab: id0.ST_LEVEL === 1,
    sidSize: id1.SIDSIZE,
    ssidSize: id1.SSIDSIZE,
    priqMaxLg2: id1.PRIQS,
    eventqMaxLg2: id1.EVENTQS,
    cmdqMaxLg2: id1.CMDQS,
    attrPermsOvr: id1.ATTR_PERMS_OVR === 1,
    attrTypesOvr: id1.ATTR_TYPES_OVR === 1,
    queuesPreset: id1.QUEUES_PRESET === 1,
    tablesPreset: id1.TABLES_PRESET === 1,
    had: id3.HAD === 1,
    pbha: id3.PBHA === 1,
    xnx: id3.XNX === 1,
    pps: id3.PPS === 1,
    fwb: id3.FWB === 1,
    stt: id3.STT === 1,
    ril: id3.RIL === 1,
    bbml: id3.BBML,
    e0pd: id3.E0PD === 1,
    ptwnnc: id3.PTWNNC === 1,
    epan: id3.EPAN === 1,
    oas: addressSize(id5.OAS),
    gran4k: id5.GRAN4K === 1,
    gran16k: id5.GRAN16K === 1,
    gran64k: id5.GRAN64K === 1,
    ds: id5.DS === 1,
    vax: VAX_BITS[id5.VAX as 0],
    stallMax: id5.STALL_MAX,
    minor: AIDR.get.ArchMinorRev([idr.AIDR ?? 0, 0]),
    idr4: idr.IDR4 ?? 0,
    iidr: idr.IIDR ?? 0,
    gbpa: idr.GBPA ?? 0,
  };
}

/**
 * The reset values of an SMMU with these features. A field that does not fit its register throws `LayoutError`.
 * @example encodeFeatures(FEATURE_PRESETS['qemu-11-s1']).IDR0 // 0x0d44101a
 */
export function encodeFeatures(f: Features): Required<IdrWords> {
  return {
    IDR0: encodeIdr0(f),
    IDR1: encodeIdr1(f),
    IDR2: 0,
    IDR3: encodeIdr3(f),
    IDR4: f.idr4,
    IDR5: encodeIdr5(f),
    IIDR: f.iidr,
    AIDR: f.minor,
    GBPA: f.gbpa,
  };
}

function encodeIdr0(f: Features): number {
  return IDR0.encode({
    S2P: Number(f.s2p),
    S1P: Number(f.s1p),
    TTF: f.aarch64 ? 2 : 0,
    COHACC: Number(f.cohacc),
    HTTU: f.httu,
    Hyp: Number(f.hyp),
    ATS: Number(f.ats),
    NS1ATS: Number(f.ns1ats),
    ASID16: Number(f.asid16),
    MSI: Number(f.msi),
    SEV: Number(f.sev),
    PRI: Number(f.pri),
    VMW: Number(f.vmw),
    VMID16: Number(f.vmid16),
    CD2L: Number(f.cd2l),
    TTENDIAN: f.ttEndian,
    ATSRECERR: Number(f.atsRecErr),
    STALL_MODEL: f.stallModel,
    TERM_MODEL: Number(f.termModel),
    ST_LEVEL: Number(f.twoLevelStrtab),
  })[0] as number;
}

function encodeIdr1(f: Features): number {
  return IDR1.encode({
    SIDSIZE: f.sidSize,
    SSIDSIZE: f.ssidSize,
    PRIQS: f.priqMaxLg2,
    EVENTQS: f.eventqMaxLg2,
    CMDQS: f.cmdqMaxLg2,
    ATTR_PERMS_OVR: Number(f.attrPermsOvr),
    ATTR_TYPES_OVR: Number(f.attrTypesOvr),
    QUEUES_PRESET: Number(f.queuesPreset),
    TABLES_PRESET: Number(f.tablesPreset),
  })[0] as number;
}

function encodeIdr3(f: Features): number {
  return IDR3.encode({
    HAD: Number(f.had),
    PBHA: Number(f.pbha),
    XNX: Number(f.xnx),
    PPS: Number(f.pps),
    FWB: Number(f.fwb),
    STT: Number(f.stt),
    RIL: Number(f.ril),
    BBML: f.bbml,
    E0PD: Number(f.e0pd),
    PTWNNC: Number(f.ptwnnc),
    EPAN: Number(f.epan),
  })[0] as number;
}

function encodeIdr5(f: Features): number {
  return IDR5.encode({
    OAS: oasCode(f.oas) ?? 7,
    GRAN4K: Number(f.gran4k),
    GRAN16K: Number(f.gran16k),
    GRAN64K: Number(f.gran64k),
    DS: Number(f.ds),
    VAX: f.vax === 52 ? 1 : f.vax === 56 ? 2 : 0,
    STALL_MAX: f.stallMax,
  })[0] as number;
}
