import { EVENT_CLASS, EVENT_CODE, F_PERMISSION, F_STE_FETCH } from '@iommukit/arm-arch';
import { hex64, type U64 } from '@iommukit/bits';
import type { LogLine } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import type { EventRecord } from './event-record.ts';
import { KERNEL_ADDRESS_END } from './kernel-address.ts';

/** Names as the kernel prints them; it knows fewer than the architecture has. */
const NAMES = new Map<number, string>([
  [EVENT_CODE.C_BAD_STREAMID, 'C_BAD_STREAMID'],
  [EVENT_CODE.F_STE_FETCH, 'F_STE_FETCH'],
  [EVENT_CODE.C_BAD_STE, 'C_BAD_STE'],
  [EVENT_CODE.F_STREAM_DISABLED, 'F_STREAM_DISABLED'],
  [EVENT_CODE.C_BAD_SUBSTREAMID, 'C_BAD_SUBSTREAMID'],
  [EVENT_CODE.F_CD_FETCH, 'F_CD_FETCH'],
  [EVENT_CODE.C_BAD_CD, 'C_BAD_CD'],
  [EVENT_CODE.F_TRANSLATION, 'F_TRANSLATION'],
  [EVENT_CODE.F_ADDR_SIZE, 'F_ADDR_SIZE'],
  [EVENT_CODE.F_ACCESS, 'F_ACCESS'],
  [EVENT_CODE.F_PERMISSION, 'F_PERMISSION'],
  [EVENT_CODE.F_VMS_FETCH, 'F_VMS_FETCH'],
]);
/** Events whose record holds the address that could not be fetched (IHI 0070 7.3). */
const FETCHES: readonly number[] = [
  EVENT_CODE.F_STE_FETCH,
  EVENT_CODE.F_CD_FETCH,
  EVENT_CODE.F_VMS_FETCH,
];
/** Texts of CLASS (IHI 0070 7.3) as the kernel prints them. */
const CLASSES = [
  'CD fetch',
  'Stage 1 translation table fetch',
  'Input address caused fault',
  'Reserved',
] as const;

const { PnU, InD, RnW, S2, CLASS, TTRnW, STALL, STAG, IPA } = F_PERMISSION.get;
const { FetchAddr } = F_STE_FETCH.get;

/**
 * What the kernel prints of an event that nobody handled: five lines of the raw record; with the decoded dialect one or two more.
 * `client` is the device's name, null for a stream without one.
 * @example for (const line of eventLines(record, null, DRIVER_PROFILES['7.3'])) log(line);
 */
export function eventLines(
  record: EventRecord,
  client: string | null,
  { eventDialect }: Pick<DriverProfile, 'eventDialect'>,
): LogLine[] {
  const level = eventDialect === 'raw' ? 'info' : 'err';
  const texts = [
    `event 0x${record.code.toString(16).padStart(2, '0')} received:`,
    ...record.words.map((word) => `\t${hex16(word)}`),
    ...(eventDialect === 'raw' ? [] : decodedLines(record, client)),
  ];
  return texts.map((text) => ({ level, text }));
}

function decodedLines(record: EventRecord, client: string | null): string[] {
  const { code, words } = record;
  const lanes = words.flatMap(({ lo, hi }) => [lo, hi]);
  const sid = `sid: ${plain(record.streamId)} ssid: ${plain(record.substreamId ?? 0)}`;
  const head = `event: ${NAMES.get(code) ?? 'UNKNOWN'} client: ${client ?? '(unassigned sid)'} ${sid}`;
  if (FETCHES.includes(code))
    return [`${head} fetch_addr: ${plain(FetchAddr(lanes) % KERNEL_ADDRESS_END)}`];
  if (record.fault === null) return [head];
  const className = CLASSES[CLASS(lanes)];
  const walk = code === EVENT_CODE.F_PERMISSION && CLASS(lanes) === EVENT_CLASS.TT;
  const attributes = [
    PnU(lanes) === 1 ? 'priv' : 'unpriv',
    InD(lanes) === 1 ? 'inst' : 'data',
    RnW(lanes) === 1 ? 'read' : 'write',
    S2(lanes) === 1 ? 's2' : 's1',
    `"${className}"${walk ? (TTRnW(lanes) === 1 ? ' ttd_read' : ' ttd_write') : ''}${STALL(lanes) === 1 ? ' stall' : ''}`,
    `stag: ${plain(STAG(lanes))}`,
  ];
  return [
    `${head} iova: ${hex64(record.fault.address)} ipa: ${plain(IPA(lanes) % KERNEL_ADDRESS_END)}`,
    attributes.join(' '),
  ];
}

/** The kernel's `%#x`: 0 has its prefix too. */
function plain(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The kernel's `0x%016llx`. */
export function hex16(word: U64): string {
  return `0x${hex64(word).slice(2).padStart(16, '0')}`;
}

/** The kernel's `0x%08x`. */
export function hex8(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
