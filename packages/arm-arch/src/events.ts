import type { FieldRows, Layout } from '@iommukit/bits';
import {
  C_BAD_CD,
  C_BAD_STE,
  C_BAD_STREAMID,
  C_BAD_SUBSTREAMID,
  E_PAGE_REQUEST,
  F_BAD_ATS_TREQ,
  F_CD_FETCH,
  F_CFG_CONFLICT,
  F_STE_FETCH,
  F_STREAM_DISABLED,
  F_TLB_CONFLICT,
  F_TRANSL_FORBIDDEN,
  F_UUT,
  F_VMS_FETCH,
} from './events-config.ts';
import { F_ACCESS, F_ADDR_SIZE, F_PERMISSION, F_TRANSLATION, F_WALK_EABT } from './events-fault.ts';

/** Bytes of an event record, IHI 0070 7.3. @example EVENT_BYTES * queueIndex(cons, lg2) */
export const EVENT_BYTES = 32;

/** Event numbers, IHI 0070 7.3. @example EVENT_CODE.F_TRANSLATION // 0x10 */
export const EVENT_CODE = {
  F_UUT: 0x01,
  C_BAD_STREAMID: 0x02,
  F_STE_FETCH: 0x03,
  C_BAD_STE: 0x04,
  F_BAD_ATS_TREQ: 0x05,
  F_STREAM_DISABLED: 0x06,
  F_TRANSL_FORBIDDEN: 0x07,
  C_BAD_SUBSTREAMID: 0x08,
  F_CD_FETCH: 0x09,
  C_BAD_CD: 0x0a,
  F_WALK_EABT: 0x0b,
  F_TRANSLATION: 0x10,
  F_ADDR_SIZE: 0x11,
  F_ACCESS: 0x12,
  F_PERMISSION: 0x13,
  F_TLB_CONFLICT: 0x20,
  F_CFG_CONFLICT: 0x21,
  E_PAGE_REQUEST: 0x24,
  F_VMS_FETCH: 0x25,
} as const;

/** Name of an event. @example const name: EventName = 'F_TRANSLATION'; */
export type EventName = keyof typeof EVENT_CODE;

/** Layout of each event by number, IHI 0070 7.3. @example EVENTS.get(0x10)?.name // 'F_TRANSLATION' */
export const EVENTS: ReadonlyMap<number, Layout<FieldRows>> = new Map(
  [
    F_UUT,
    C_BAD_STREAMID,
    F_STE_FETCH,
    C_BAD_STE,
    F_BAD_ATS_TREQ,
    F_STREAM_DISABLED,
    F_TRANSL_FORBIDDEN,
    C_BAD_SUBSTREAMID,
    F_CD_FETCH,
    C_BAD_CD,
    F_WALK_EABT,
    F_TRANSLATION,
    F_ADDR_SIZE,
    F_ACCESS,
    F_PERMISSION,
    F_TLB_CONFLICT,
    F_CFG_CONFLICT,
    E_PAGE_REQUEST,
    F_VMS_FETCH,
  ].map((event): [number, Layout<FieldRows>] => [
    EVENT_CODE[event.name as EventName],
    event as unknown as Layout<FieldRows>,
  ]),
);

/** CLASS of a fault record: access to a CD, to a stage 1 table, or the input itself; IHI 0070 7.3. @example EVENT_CLASS.IN // 2 */
export const EVENT_CLASS = { CD: 0, TT: 1, IN: 2 } as const;
