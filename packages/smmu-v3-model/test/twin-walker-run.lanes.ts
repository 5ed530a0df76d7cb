/*
 * What all parts of the twin walker share: inputs, features, records of faults (IHI 0070 6.3, 7.3).
 */
import type { TwinAttributes } from './twin-walker-attributes.lanes.ts';

/** Bits high to low of a value. */
export function bits(value: bigint, high: number, low: number): number {
  return Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
}

/** The same as an address, in place. */
export function field(value: bigint, high: number, low: number): bigint {
  return value & (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));
}

export interface TwinMemory {
  /** `undefined`: an external abort. Aligned to 8 bytes. */
  read64(address: bigint): bigint | undefined;
  write64(address: bigint, value: bigint): void;
}

export interface TwinRegisters {
  readonly IDR0: bigint;
  readonly IDR1: bigint;
  readonly IDR3: bigint;
  readonly IDR5: bigint;
  readonly AIDR: bigint;
  readonly CR0: bigint;
  readonly CR2: bigint;
  readonly GBPA: bigint;
  readonly STRTAB_BASE: bigint;
  readonly STRTAB_BASE_CFG: bigint;
}

export interface TwinAccess {
  readonly sid: number;
  readonly ssid?: number | undefined;
  readonly address: bigint;
  readonly write: boolean;
  /** A read and a write at once (13.1.1); `write` is true as well. */
  readonly atomic?: boolean;
  readonly privileged: boolean;
  readonly instruction: boolean;
  readonly attributes?: TwinAttributes;
}

/** What the architecture leaves to an implementation, where a result can tell. */
export interface TwinChoices {
  /** 3.4.3 (2): the CD pointer of a nested stream beyond IAS. */
  readonly nestedCdPointer: 'C_BAD_STE' | 'stage-2-fault';
  /** 3.4.3 (4): the same of an L1CD. */
  readonly nestedL2Pointer: 'C_BAD_SUBSTREAMID' | 'stage-2-fault';
  /** 3.4.3 (5). */
  readonly steAddress: 'F_STE_FETCH' | 'truncate';
  /** 3.13.2: the access flag of stage 1 is updated although the access is then refused; stage 2 may refuse the update first. */
  readonly accessFlagOnPermissionFault: boolean;
}

export const TWIN_CHOICES: TwinChoices = {
  nestedCdPointer: 'C_BAD_STE',
  nestedL2Pointer: 'C_BAD_SUBSTREAMID',
  steAddress: 'F_STE_FETCH',
  accessFlagOnPermissionFault: true,
};

export type TwinClass = 'CD' | 'TT' | 'IN';

export interface TwinFault {
  readonly kind: 'fault';
  readonly event: string;
  /** The four doublewords of the record; STAG is 0. */
  readonly record: readonly [bigint, bigint, bigint, bigint];
  /** Whether a writable queue gets the record. */
  readonly recorded: boolean;
  readonly response: 'abort' | 'raz-wi' | 'stall';
}

export type TwinResult =
  | {
      readonly kind: 'ok';
      readonly pa: bigint;
      readonly route: 'off' | 'bypass' | 's1' | 's2' | 'nested';
      readonly attributes: TwinAttributes;
    }
  | { readonly kind: 'abort'; readonly why: string }
  | TwinFault;

const OAS_BITS = [32, 36, 40, 42, 44, 48, 52, 56] as const;

export function sizeOf(code: number): number {
  return OAS_BITS[code] as number;
}

/** Fields of the ID registers (6.3.1-6.3.8). */
export interface TwinFeatures {
  readonly s1p: boolean;
  readonly s2p: boolean;
  readonly httu: number;
  readonly hyp: boolean;
  readonly ats: boolean;
  readonly ns1ats: boolean;
  readonly asid16: boolean;
  readonly vmid16: boolean;
  readonly cd2l: boolean;
  readonly ttEndian: number;
  readonly stallModel: number;
  readonly termModel: boolean;
  readonly twoLevel: boolean;
  readonly sidSize: number;
  readonly ssidSize: number;
  readonly permsOvr: boolean;
  readonly typesOvr: boolean;
  readonly had: boolean;
  readonly xnx: boolean;
  readonly fwb: boolean;
  readonly stt: boolean;
  readonly e0pd: boolean;
  readonly epan: boolean;
  readonly oas: number;
  /** log2 of the granules that are implemented. */
  readonly granules: readonly number[];
  readonly ds: boolean;
  readonly vax52: boolean;
  readonly minor: number;
}

export function twinFeatures(r: TwinRegisters): TwinFeatures {
  const on = (word: bigint, bit: number): boolean => bits(word, bit, bit) === 1;
  return {
    s2p: on(r.IDR0, 0),
    s1p: on(r.IDR0, 1),
    httu: bits(r.IDR0, 7, 6),
    hyp: on(r.IDR0, 9),
    ats: on(r.IDR0, 10),
    ns1ats: on(r.IDR0, 11),
    asid16: on(r.IDR0, 12),
    vmid16: on(r.IDR0, 18),
    cd2l: on(r.IDR0, 19),
    ttEndian: bits(r.IDR0, 22, 21),
    stallModel: bits(r.IDR0, 25, 24),
    termModel: on(r.IDR0, 26),
    twoLevel: bits(r.IDR0, 28, 27) !== 0,
    sidSize: bits(r.IDR1, 5, 0),
    ssidSize: bits(r.IDR1, 10, 6),
    permsOvr: on(r.IDR1, 26),
    typesOvr: on(r.IDR1, 27),
    had: on(r.IDR3, 2),
    xnx: on(r.IDR3, 4),
    fwb: on(r.IDR3, 8),
    stt: on(r.IDR3, 9),
    e0pd: on(r.IDR3, 13),
    epan: on(r.IDR3, 17),
    oas: sizeOf(bits(r.IDR5, 2, 0)),
    granules: [
      ...(on(r.IDR5, 4) ? [12] : []),
      ...(on(r.IDR5, 5) ? [14] : []),
      ...(on(r.IDR5, 6) ? [16] : []),
    ],
    ds: on(r.IDR5, 7),
    vax52: bits(r.IDR5, 11, 10) >= 1,
    minor: bits(r.AIDR, 3, 0),
  };
}

/** Everything that a step of the procedure needs. */
export interface TwinRun {
  readonly memory: TwinMemory;
  readonly regs: TwinRegisters;
  readonly f: TwinFeatures;
  readonly choices: TwinChoices;
  readonly access: TwinAccess;
  /** After the overrides of the STE (step 5). */
  privileged: boolean;
  instruction: boolean;
  attributes: TwinAttributes;
}

/** How the configurable faults of a stage end (5.5). */
export interface FaultModel {
  readonly recorded: boolean;
  readonly response: 'abort' | 'raz-wi' | 'stall';
}

export class TwinStop extends Error {
  readonly result: TwinResult;
  constructor(result: TwinResult) {
    super(result.kind === 'fault' ? result.event : result.kind);
    this.result = result;
  }
}

export const EVENT_NUMBER = {
  C_BAD_STREAMID: 0x02n,
  F_STE_FETCH: 0x03n,
  C_BAD_STE: 0x04n,
  F_STREAM_DISABLED: 0x06n,
  C_BAD_SUBSTREAMID: 0x08n,
  F_CD_FETCH: 0x09n,
  C_BAD_CD: 0x0an,
  F_WALK_EABT: 0x0bn,
  F_TRANSLATION: 0x10n,
  F_ADDR_SIZE: 0x11n,
  F_ACCESS: 0x12n,
  F_PERMISSION: 0x13n,
} as const;

export type TwinEventName = keyof typeof EVENT_NUMBER;

const ALWAYS: FaultModel = { recorded: true, response: 'abort' };

/** Ends with an error of the configuration (7.3.3-7.3.11); these always abort. */
export function configFault(run: TwinRun, event: TwinEventName, fetchAddress = 0n): never {
  const { sid, ssid } = run.access;
  let dw0 = EVENT_NUMBER[event] | (BigInt(sid) << 32n);
  if (event === 'C_BAD_SUBSTREAMID') dw0 |= BigInt(ssid ?? 0) << 12n;
  else if (event !== 'F_STREAM_DISABLED' && ssid !== undefined)
    dw0 |= (1n << 11n) | (BigInt(ssid) << 12n);
  const recorded = event !== 'C_BAD_STREAMID' || bits(run.regs.CR2, 1, 1) === 1;
  throw new TwinStop({
    kind: 'fault',
    event,
    record: [dw0, 0n, 0n, field(fetchAddress, 55, 3)],
    recorded,
    response: 'abort',
  });
}

export interface FaultPlace {
  readonly stage: 1 | 2;
  readonly class: TwinClass;
  /** The input of stage 2. */
  readonly ipa?: bigint;
  /** A write to a descriptor was refused (7.3.16 TTRnW). */
  readonly tableWrite?: boolean;
  /** RnW of an atomic that may not read (13.1.1). */
  readonly asRead?: boolean;
  readonly fetchAddress?: bigint;
}

/** Ends with a fault of a translation (7.3.12-7.3.16). */
export function translationFault(
  run: TwinRun,
  event: TwinEventName,
  place: FaultPlace,
  model: FaultModel,
): never {
  const { sid, ssid, address, write } = run.access;
  let dw0 = EVENT_NUMBER[event] | (BigInt(sid) << 32n);
  if (ssid !== undefined) dw0 |= (1n << 11n) | (BigInt(ssid) << 12n);
  const read = place.asRead === true || !write;
  const { recorded, response } = event === 'F_WALK_EABT' ? ALWAYS : model;
  let dw1 = 0n;
  if (response === 'stall') dw1 |= 1n << 31n;
  if (run.privileged) dw1 |= 1n << 33n;
  if (run.instruction) dw1 |= 1n << 34n;
  if (read) dw1 |= 1n << 35n;
  if (place.stage === 2) dw1 |= 1n << 39n;
  dw1 |= { CD: 0n, TT: 1n, IN: 2n }[place.class] << 40n;
  if (event === 'F_PERMISSION' && place.class === 'TT' && place.tableWrite !== true)
    dw1 |= 1n << 44n;
  let dw3 = 0n;
  if (event === 'F_WALK_EABT') dw3 = field(place.fetchAddress ?? 0n, 55, 3);
  else if (place.stage === 2) dw3 = field(place.ipa ?? 0n, 55, 12);
  throw new TwinStop({
    kind: 'fault',
    event,
    record: [dw0, dw1, address, dw3],
    recorded,
    response,
  });
}
