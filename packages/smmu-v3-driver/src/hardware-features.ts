import { IDR0, IDR1, IDR3, IDR5, IIDR, OAS_BITS, REGISTER_OFFSET } from '@iommukit/arm-arch';
import { minPageSize, SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { ERRNO, type MmioFrame } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';

/**
 * What the driver found in the ID registers (`arm_smmu_device_hw_probe`); sizes in bits, entries as log2.
 * @example driver.features.rangeInvalidation // true
 */
export interface HardwareFeatures {
  readonly twoLevelStreamTable: boolean;
  readonly coherent: boolean;
  readonly stage1: boolean;
  readonly stage2: boolean;
  readonly rangeInvalidation: boolean;
  readonly stalls: boolean;
  readonly stallForce: boolean;
  readonly attrTypesOverride: boolean;
  readonly hyp: boolean;
  readonly priq: boolean;
  readonly ats: boolean;
  /** CMD_SYNC can write to memory when it is done. */
  readonly msi: boolean;
  /** An erratum of this implementation wants a SYNC after at most 63 commands. */
  readonly forceSync: boolean;
  /** CD tables may have two levels. */
  readonly twoLevelCdTable: boolean;
  /** Stage 1 of guests over stage 2. */
  readonly nesting: boolean;
  /** The SMMU itself marks dirty pages, and its walks are coherent, without which that is of no use (`arm_smmu_dbm_capable`). */
  readonly dirtyState: boolean;
  /** Stage 2 can force write-back. */
  readonly forcedWriteBack: boolean;
  readonly asidBits: number;
  readonly vmidBits: number;
  readonly sidBits: number;
  readonly ssidBits: number;
  /** Input size of stage 1. */
  readonly ias: number;
  /** Output size. */
  readonly oas: number;
  readonly cmdqLg2: number;
  readonly evtqLg2: number;
  /** 0 without page requests. */
  readonly priqLg2: number;
  /** Page sizes of stage 1: the sum of powers of two, bytes. */
  readonly pgsizeBitmap: number;
  /** The smallest of them, bytes. */
  readonly minPage: number;
}

const SZ_4T = 2 ** 42;

/** Entries that a batch and its SYNC need: a queue that cannot hold one batch is refused. */
const MIN_CMDQ_LG2 = 6;

/** What a probe works with. */
export interface ProbeParts {
  readonly registers: MmioFrame;
  readonly profile: DriverProfile;
  readonly log: LogSink;
  /** What firmware says of coherence, which counts; absent: as IDR0 says. */
  readonly firmwareCoherent?: boolean;
}

/** Reads the ID registers; -ENXIO with the kernel's message when the hardware cannot be driven. */
export function probeHardware(parts: ProbeParts): HardwareFeatures | number {
  const { registers, profile, log } = parts;
  const word = (offset: number): readonly [number, number] => [registers.read32(offset), 0];
  const idr0 = word(REGISTER_OFFSET.IDR0);
  const idr1 = word(REGISTER_OFFSET.IDR1);
  const idr3 = word(REGISTER_OFFSET.IDR3);
  const idr5 = word(REGISTER_OFFSET.IDR5);
  const fail = (text: string): number => {
    log({ level: 'err', text });
    return -ERRNO.ENXIO;
  };

  const endian = IDR0.get.TTENDIAN(idr0);
  if (endian !== 0 && endian !== 2) return fail('unknown/unsupported TT endianness!');
  const stage1 = IDR0.get.S1P(idr0) === 1;
  const stage2 = IDR0.get.S2P(idr0) === 1;
  if (!stage1 && !stage2) return fail('no translation support!');
  const ttf = IDR0.get.TTF(idr0);
  if (ttf !== 2 && ttf !== 3) return fail('AArch64 table format not supported!');
  if (IDR1.get.TABLES_PRESET(idr1) === 1 || IDR1.get.QUEUES_PRESET(idr1) === 1)
    return fail('embedded implementation not supported');
  const cmdqLg2 = queueLg2(IDR1.get.CMDQS(idr1), 16, profile);
  if (cmdqLg2 <= MIN_CMDQ_LG2)
    return fail(`command queue size <= ${2 ** MIN_CMDQ_LG2} entries not supported`);

  const claims = IDR0.get.COHACC(idr0) === 1;
  const coherent = parts.firmwareCoherent ?? claims;
  if (coherent !== claims)
    log({
      level: 'warn',
      text: `IDR0.COHACC overridden by FW configuration (${String(coherent)})`,
    });
  const priq = IDR0.get.PRI(idr0) === 1;
  const errata = errataOf(registers.read32(REGISTER_OFFSET.IIDR));
  const oas = outputSize(IDR5.get.OAS(idr5), log);
  const sidBits = IDR1.get.SIDSIZE(idr1);
  const stallModel = IDR0.get.STALL_MODEL(idr0);
  const pgsizeBitmap =
    (IDR5.get.GRAN64K(idr5) === 1 ? SZ_64K + SZ_512M : 0) +
    (IDR5.get.GRAN16K(idr5) === 1 ? SZ_16K + SZ_32M : 0) +
    (IDR5.get.GRAN4K(idr5) === 1 ? SZ_4K + SZ_2M + SZ_1G : 0) +
    (oas === 52 ? SZ_4T : 0);
  const features: HardwareFeatures = {
    twoLevelStreamTable: IDR0.get.ST_LEVEL(idr0) === 1 && sidBits > 8,
    coherent,
    stage1,
    stage2,
    rangeInvalidation: IDR3.get.RIL(idr3) === 1,
    stalls: stallModel === 0 || stallModel === 2,
    stallForce: stallModel === 2,
    attrTypesOverride: IDR1.get.ATTR_TYPES_OVR(idr1) === 1,
    hyp: IDR0.get.Hyp(idr0) === 1,
    priq,
    ats: IDR0.get.ATS(idr0) === 1,
    msi: IDR0.get.MSI(idr0) === 1,
    twoLevelCdTable: IDR0.get.CD2L(idr0) === 1,
    nesting: stage1 && stage2 && !errata.noNesting,
    dirtyState: IDR0.get.HTTU(idr0) >= 2 && coherent,
    forceSync: errata.forceSync,
    forcedWriteBack: IDR3.get.FWB(idr3) === 1,
    vmidBits: IDR0.get.VMID16(idr0) === 1 ? 16 : 8,
    asidBits: IDR0.get.ASID16(idr0) === 1 ? 16 : 8,
    sidBits,
    ssidBits: IDR1.get.SSIDSIZE(idr1),
    ias: Math.min(IDR5.get.VAX(idr5) === 1 ? 52 : 48, profile.vaBits),
    oas,
    cmdqLg2,
    evtqLg2: queueLg2(IDR1.get.EVENTQS(idr1), 32, profile),
    priqLg2: priq ? queueLg2(IDR1.get.PRIQS(idr1), 16, profile) : 0,
    pgsizeBitmap,
    minPage: minPageSize(pgsizeBitmap),
  };
  const httu = IDR0.get.HTTU(idr0);
  const newer = profile.printedFeatures === 'up-to-haft';
  const present = featureWord([
    [0, features.twoLevelStreamTable],
    [1, features.twoLevelCdTable],
    [2, true],
    [3, endian === 0],
    [4, features.priq],
    [5, features.ats],
    [6, IDR0.get.SEV(idr0) === 1 && !errata.noSev],
    [7, features.msi],
    [8, features.coherent],
    [9, stage1],
    [10, stage2],
    [11, features.stalls],
    [12, features.hyp],
    [13, features.stallForce],
    [14, IDR5.get.VAX(idr5) === 1],
    [15, features.rangeInvalidation],
    [19, features.nesting],
    [20, features.attrTypesOverride],
    [21, httu >= 1],
    [22, httu >= 2],
    [23, newer && features.forcedWriteBack],
    [24, newer && IDR3.get.BBML(idr3) === 2],
    [25, newer && httu >= 3],
  ]);
  // Tables of 32-bit processes have 40 bits of input; otherwise Linux prints the output size twice.
  const ias = Math.max(ttf === 3 ? 40 : 0, oas);
  const input = profile.probeLine === 'ias-oas' ? `ias ${ias}-bit, ` : '';
  log({ level: 'info', text: `${input}oas ${oas}-bit (features ${present})` });
  return features;
}

/** The bits of `ARM_SMMU_FEAT_*` that the ID registers alone decide; those that ask the CPU too (SVA, E2H) are left out. */
function featureWord(rows: readonly (readonly [bit: number, present: boolean])[]): string {
  const sum = rows.reduce((word, [bit, present]) => word + (present ? 2 ** bit : 0), 0);
  return `0x${sum.toString(16).padStart(8, '0')}`;
}

const ARM = 0x43b;
const MMU_600 = 0x483;
const MMU_700 = 0x487;

/** What errata of an implementation take away or demand (`arm_smmu_device_iidr_probe`). */
function errataOf(iidr: number): { noSev: boolean; noNesting: boolean; forceSync: boolean } {
  const word = [iidr, 0] as const;
  const of = (product: number): boolean =>
    IIDR.get.Implementer(word) === ARM && IIDR.get.ProductID(word) === product;
  const variant = IIDR.get.Variant(word);
  const revision = IIDR.get.Revision(word);
  const early700 = of(MMU_700) && (variant < 1 || revision < 1);
  return {
    noSev: of(MMU_600) && variant === 0 && revision <= 2,
    noNesting: (of(MMU_600) && variant < 2) || early700,
    forceSync: early700,
  };
}

function outputSize(code: number, log: LogSink): number {
  const bits = OAS_BITS[code] ?? 0;
  if (bits > 0 && bits <= 52) return bits;
  log({ level: 'info', text: 'unknown output address size. Truncating to 48-bit' });
  return 48;
}

function queueLg2(advertised: number, entryBytes: number, profile: DriverProfile): number {
  let lg2 = advertised;
  while (2 ** lg2 * entryBytes > profile.maxQueueBytes) lg2--;
  return lg2;
}
