import {
  COMMAND_BYTES,
  EVENT_BYTES,
  IDR0,
  IDR1,
  IDR3,
  IDR5,
  OAS_BITS,
  PAGE_REQUEST_BYTES,
  REGISTER_OFFSET,
} from '@iommukit/arm-arch';
import { minPageSize, SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { ERRNO, type MmioFrame } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { errataOf, type HardwareErrata } from './hardware-errata.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import { probeLine } from './probe-line.ts';

/** The block that comes with 52-bit output addresses (IDR5.OAS = 6): Linux adds it whatever the granule. */
const SZ_4T = 2 ** 42;

/** Entries that a batch and its SYNC need: a queue that cannot hold one batch is refused. */
const MIN_CMDQ_LG2 = 6;
/** Streams of one second-level table: fewer need no first level. */
const LINEAR_SID_BITS = 8;

/** What a probe works with. */
export interface ProbeParts {
  readonly registers: MmioFrame;
  readonly profile: DriverProfile;
  readonly log: LogSink;
  /** What firmware says of coherence, which counts; absent: as IDR0 says. */
  readonly firmwareCoherent?: boolean;
}

type Word = readonly [number, number];

/** The ID registers as read. */
export interface IdRegisters {
  readonly idr0: Word;
  readonly idr1: Word;
  readonly idr3: Word;
  readonly idr5: Word;
  readonly iidr: number;
}

/** Reads the ID registers; -ENXIO with the kernel's message when the hardware cannot be driven. */
export function probeHardware(parts: ProbeParts): HardwareFeatures | number {
  const { profile, log } = parts;
  const ids = readIds(parts.registers);
  const refusal = refusalOf(ids, profile);
  if (refusal !== null) {
    log({ level: 'err', text: refusal });
    return -ERRNO.ENXIO;
  }
  const coherent = coherence(ids, parts);
  const oas = outputSize(IDR5.get.OAS(ids.idr5), log);
  const errata = errataOf(ids.iidr);
  const features = featuresOf(ids, { coherent, oas, errata, profile });
  log({ level: 'info', text: probeLine(ids, features, errata, profile) });
  return features;
}

function readIds(registers: MmioFrame): IdRegisters {
  const word = (offset: number): Word => [registers.read32(offset), 0];
  return {
    idr0: word(REGISTER_OFFSET.IDR0),
    idr1: word(REGISTER_OFFSET.IDR1),
    idr3: word(REGISTER_OFFSET.IDR3),
    idr5: word(REGISTER_OFFSET.IDR5),
    iidr: registers.read32(REGISTER_OFFSET.IIDR),
  };
}

/** Why the kernel would not drive this hardware, in its words and in the order in which it looks, or null. */
function refusalOf({ idr0, idr1 }: IdRegisters, profile: DriverProfile): string | null {
  const endian = IDR0.get.TTENDIAN(idr0);
  if (endian !== 0 && endian !== 2) return 'unknown/unsupported TT endianness!';
  if (IDR0.get.S1P(idr0) === 0 && IDR0.get.S2P(idr0) === 0) return 'no translation support!';
  const ttf = IDR0.get.TTF(idr0);
  if (ttf !== 2 && ttf !== 3) return 'AArch64 table format not supported!';
  if (IDR1.get.TABLES_PRESET(idr1) === 1 || IDR1.get.QUEUES_PRESET(idr1) === 1)
    return 'embedded implementation not supported';
  if (queueLg2(IDR1.get.CMDQS(idr1), COMMAND_BYTES, profile) <= MIN_CMDQ_LG2)
    return `command queue size <= ${2 ** MIN_CMDQ_LG2} entries not supported`;
  return null;
}

function coherence({ idr0 }: IdRegisters, { firmwareCoherent, log }: ProbeParts): boolean {
  const claims = IDR0.get.COHACC(idr0) === 1;
  const coherent = firmwareCoherent ?? claims;
  if (coherent !== claims)
    log({
      level: 'warn',
      text: `IDR0.COHACC overridden by FW configuration (${String(coherent)})`,
    });
  return coherent;
}

function featuresOf(
  { idr0, idr1, idr3, idr5 }: IdRegisters,
  found: {
    readonly coherent: boolean;
    readonly oas: number;
    readonly errata: HardwareErrata;
    readonly profile: DriverProfile;
  },
): HardwareFeatures {
  const { coherent, oas, errata, profile } = found;
  const stage1 = IDR0.get.S1P(idr0) === 1;
  const stage2 = IDR0.get.S2P(idr0) === 1;
  const priq = IDR0.get.PRI(idr0) === 1;
  const sidBits = IDR1.get.SIDSIZE(idr1);
  const stallModel = IDR0.get.STALL_MODEL(idr0);
  const pgsizeBitmap = pageSizes(idr5, oas);
  return {
    twoLevelStreamTable: IDR0.get.ST_LEVEL(idr0) === 1 && sidBits > LINEAR_SID_BITS,
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
    accessFlag: IDR0.get.HTTU(idr0) >= 1,
    tableAccessFlag: IDR0.get.HTTU(idr0) === 3,
    bbml2: IDR3.get.BBML(idr3) === 2,
    broadcastTlbi: IDR0.get.BTM(idr0) === 1,
    va52: IDR5.get.VAX(idr5) === 1,
    forceSync: errata.forceSync,
    forcedWriteBack: IDR3.get.FWB(idr3) === 1,
    vmidBits: IDR0.get.VMID16(idr0) === 1 ? 16 : 8,
    asidBits: IDR0.get.ASID16(idr0) === 1 ? 16 : 8,
    sidBits,
    ssidBits: IDR1.get.SSIDSIZE(idr1),
    ias: Math.min(IDR5.get.VAX(idr5) === 1 ? 52 : 48, profile.vaBits),
    oas,
    cmdqLg2: queueLg2(IDR1.get.CMDQS(idr1), COMMAND_BYTES, profile),
    evtqLg2: queueLg2(IDR1.get.EVENTQS(idr1), EVENT_BYTES, profile),
    priqLg2: priq ? queueLg2(IDR1.get.PRIQS(idr1), PAGE_REQUEST_BYTES, profile) : 0,
    pgsizeBitmap,
    minPage: minPageSize(pgsizeBitmap),
  };
}

function pageSizes(idr5: Word, oas: number): number {
  return (
    (IDR5.get.GRAN64K(idr5) === 1 ? SZ_64K + SZ_512M : 0) +
    (IDR5.get.GRAN16K(idr5) === 1 ? SZ_16K + SZ_32M : 0) +
    (IDR5.get.GRAN4K(idr5) === 1 ? SZ_4K + SZ_2M + SZ_1G : 0) +
    (oas === 52 ? SZ_4T : 0)
  );
}

function outputSize(code: number, log: LogSink): number {
  const bits = OAS_BITS[code] ?? 0;
  if (bits > 0 && bits <= 52) return bits;
  log({ level: 'info', text: 'unknown output address size. Truncating to 48-bit' });
  return 48;
}

/** The advertised size, as far as the kernel can allocate it in one piece. */
function queueLg2(advertised: number, entryBytes: number, profile: DriverProfile): number {
  let lg2 = advertised;
  while (2 ** lg2 * entryBytes > profile.maxQueueBytes) lg2--;
  return lg2;
}
