/*
 * The ID registers (IHI 0070 6.3.1-6.3.8) as the model uses them.
 * Does not model: MPAM, DPT, RME, BTM, DORMHINT, VMS, ATOS; their bits are read back and have no effect.
 */
import { AIDR, IDR0, IDR1, IDR3, IDR5 } from '@iommukit/arm-arch';

/**
 * Raw ID register words, as a capture or a specification gives them; a word that is left out is 0.
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
}

/**
 * The ID registers, decoded. Booleans say "implemented"; sizes are in bits, `...Lg2` are exponents.
 * @example decodeFeatures({ IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 }).oas // 44
 */
export interface Features {
  readonly s1p: boolean;
  readonly s2p: boolean;
  readonly lpae32: boolean;
  readonly aarch64: boolean;
  /** IDR0.HTTU: 0 none, 1 access flag, 2 also dirty state, 3 also Table descriptors. */
  readonly httu: number;
  readonly hyp: boolean;
  readonly ats: boolean;
  /** IDR0.NS1ATS: split-stage ATS is not supported. */
  readonly ns1ats: boolean;
  readonly asid16: boolean;
  readonly msi: boolean;
  readonly pri: boolean;
  readonly vmw: boolean;
  readonly vmid16: boolean;
  readonly cd2l: boolean;
  /** IDR0.TTENDIAN: 0 mixed, 2 little, 3 big. */
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
  readonly tablesPreset: boolean;
  readonly queuesPreset: boolean;
  readonly had: boolean;
  readonly stt: boolean;
  readonly ril: boolean;
  readonly e0pd: boolean;
  readonly epan: boolean;
  readonly s1pi: boolean;
  readonly aie: boolean;
  /** Output address size, bits. */
  readonly oas: number;
  readonly gran4k: boolean;
  readonly gran16k: boolean;
  readonly gran64k: boolean;
  readonly ds: boolean;
  /** Maximum input address size, bits. */
  readonly vax: number;
  /** Minor version: 0 to 4 for SMMUv3.0 to v3.4. */
  readonly minor: number;
}

/** Address sizes of IDR5.OAS, CD.IPS and STE.S2PS, bits (IHI 0070 6.3.6). */
const ADDRESS_SIZES: readonly number[] = [32, 36, 40, 42, 44, 48, 52, 56];

/** Size in bits of an IDR5.OAS or CD.IPS encoding, 0 to 7. */
export function addressSize(encoding: number): number {
  return ADDRESS_SIZES[encoding] as number;
}

/**
 * Decodes ID register words.
 * @example decodeFeatures({ IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 }).sidSize // 16
 */
export function decodeFeatures(idr: IdrWords): Features {
  const id0 = IDR0.decode([idr.IDR0, 0]).values;
  const id1 = IDR1.decode([idr.IDR1, 0]).values;
  const id3 = IDR3.decode([idr.IDR3 ?? 0, 0]).values;
  const id5 = IDR5.decode([idr.IDR5, 0]).values;
  const s1p = id0.S1P === 1;
  const s2p = id0.S2P === 1;
  const ats = id0.ATS === 1;
  return {
    s1p,
    s2p,
    lpae32: id0.TTF === 1 || id0.TTF === 3,
    aarch64: id0.TTF >= 2,
    httu: id0.HTTU,
    hyp: id0.Hyp === 1,
    ats,
    ns1ats: ats && s1p && s2p && id0.NS1ATS === 1,
    asid16: id0.ASID16 === 1,
    msi: id0.MSI === 1,
    pri: ats && id0.PRI === 1,
    vmw: id0.VMW === 1,
    vmid16: id0.VMID16 === 1,
    cd2l: id0.CD2L === 1,
    ttEndian: id0.TTENDIAN,
    atsRecErr: id0.ATSRECERR === 1,
    stallModel: id0.STALL_MODEL,
    termModel: id0.TERM_MODEL === 1,
    twoLevelStrtab: id0.ST_LEVEL === 1,
    sidSize: Math.min(id1.SIDSIZE, 32),
    ssidSize: Math.min(id1.SSIDSIZE, 20),
    priqMaxLg2: Math.min(id1.PRIQS, 19),
    eventqMaxLg2: Math.min(id1.EVENTQS, 19),
    cmdqMaxLg2: Math.min(id1.CMDQS, 19),
    attrPermsOvr: id1.ATTR_PERMS_OVR === 1,
    queuesPreset: id1.QUEUES_PRESET === 1,
    tablesPreset: id1.TABLES_PRESET === 1,
    had: id3.HAD === 1,
    stt: id3.STT === 1,
    ril: id3.RIL === 1,
    e0pd: id3.E0PD === 1,
    epan: id3.EPAN === 1,
    s1pi: id3.S1PI === 1,
    aie: id3.AIE === 1,
    oas: addressSize(id5.OAS),
    gran4k: id5.GRAN4K === 1,
    gran16k: id5.GRAN16K === 1,
    gran64k: id5.GRAN64K === 1,
    ds: id5.DS === 1,
    vax: id5.VAX === 1 ? 52 : id5.VAX === 2 ? 56 : 48,
    minor: AIDR.get.ArchMinorRev([idr.AIDR ?? 0, 0]),
  };
}
