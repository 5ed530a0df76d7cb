import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, u64, uint } from './row.ts';

/**
 * Fetch of a translation table was aborted. Source: IHI 0070 7.3.12.
 * @example F_WALK_EABT.get.StreamID(record)
 */
export const F_WALK_EABT = layout(
  'F_WALK_EABT',
  { dwords: 4, spec: 'IHI 0070 7.3.12' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x0b', {
      of: { 11: 'F_WALK_EABT' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    GPCF: bool(1, 16, 'granule protection check fault'),
    RES0_96_81: res0(1, 32, 17),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_102_100: res0(1, 38, 36),
    S2: bool(1, 39, 'stage 2 faulted', 'EVTQ_1_S2'),
    CLASS: choice(1, 41, 40, 'what was accessed', {
      of: { 0: 'CD', 1: 'TT', 2: 'IN' },
      linux: 'EVTQ_1_CLASS',
    }),
    RES0_127_106: res0(1, 63, 42),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_194_192: res0(3, 2, 0),
    FetchAddr: addr(3, 55, 3, 'address of the fetch', 'EVTQ_3_FETCH_ADDR'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * No translation. Source: IHI 0070 7.3.13.
 * @example F_TRANSLATION.get.StreamID(record)
 */
export const F_TRANSLATION = layout(
  'F_TRANSLATION',
  { dwords: 4, spec: 'IHI 0070 7.3.13' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x10', {
      of: { 16: 'F_TRANSLATION' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    STAG: uint(1, 15, 0, 'tag of the stalled transaction', 'EVTQ_1_STAG'),
    RES0_94_80: res0(1, 30, 16),
    STALL: bool(1, 31, 'the transaction stalls', 'EVTQ_1_STALL'),
    RES0_96: res0(1, 32, 32),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_101_100: res0(1, 37, 36),
    NSIPA: bool(1, 38, 'IPA is Non-secure'),
    S2: bool(1, 39, 'stage 2 faulted', 'EVTQ_1_S2'),
    CLASS: choice(1, 41, 40, 'what was accessed', {
      of: { 0: 'CD', 1: 'TT', 2: 'IN' },
      linux: 'EVTQ_1_CLASS',
    }),
    RES0_127_106: res0(1, 63, 42),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_203_192: res0(3, 11, 0),
    IPA: addr(3, 55, 12, 'stage 2 input, valid if S2=1', 'EVTQ_3_IPA'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * Address is beyond the output size. Source: IHI 0070 7.3.14.
 * @example F_ADDR_SIZE.get.StreamID(record)
 */
export const F_ADDR_SIZE = layout(
  'F_ADDR_SIZE',
  { dwords: 4, spec: 'IHI 0070 7.3.14' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x11', {
      of: { 17: 'F_ADDR_SIZE' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    STAG: uint(1, 15, 0, 'tag of the stalled transaction', 'EVTQ_1_STAG'),
    RES0_94_80: res0(1, 30, 16),
    STALL: bool(1, 31, 'the transaction stalls', 'EVTQ_1_STALL'),
    RES0_96: res0(1, 32, 32),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_101_100: res0(1, 37, 36),
    NSIPA: bool(1, 38, 'IPA is Non-secure'),
    S2: bool(1, 39, 'stage 2 faulted', 'EVTQ_1_S2'),
    CLASS: choice(1, 41, 40, 'what was accessed', {
      of: { 0: 'CD', 1: 'TT', 2: 'IN' },
      linux: 'EVTQ_1_CLASS',
    }),
    RES0_127_106: res0(1, 63, 42),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_203_192: res0(3, 11, 0),
    IPA: addr(3, 55, 12, 'stage 2 input, valid if S2=1', 'EVTQ_3_IPA'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * Access flag is 0. Source: IHI 0070 7.3.15.
 * @example F_ACCESS.get.StreamID(record)
 */
export const F_ACCESS = layout(
  'F_ACCESS',
  { dwords: 4, spec: 'IHI 0070 7.3.15' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x12', {
      of: { 18: 'F_ACCESS' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    STAG: uint(1, 15, 0, 'tag of the stalled transaction', 'EVTQ_1_STAG'),
    RES0_94_80: res0(1, 30, 16),
    STALL: bool(1, 31, 'the transaction stalls', 'EVTQ_1_STALL'),
    RES0_96: res0(1, 32, 32),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_101_100: res0(1, 37, 36),
    NSIPA: bool(1, 38, 'IPA is Non-secure'),
    S2: bool(1, 39, 'stage 2 faulted', 'EVTQ_1_S2'),
    CLASS: choice(1, 41, 40, 'what was accessed', {
      of: { 0: 'CD', 1: 'TT', 2: 'IN' },
      linux: 'EVTQ_1_CLASS',
    }),
    RES0_127_106: res0(1, 63, 42),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_203_192: res0(3, 11, 0),
    IPA: addr(3, 55, 12, 'stage 2 input, valid if S2=1', 'EVTQ_3_IPA'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * Permission is missing. Source: IHI 0070 7.3.16.
 * @example F_PERMISSION.get.StreamID(record)
 */
export const F_PERMISSION = layout(
  'F_PERMISSION',
  { dwords: 4, spec: 'IHI 0070 7.3.16' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x13', {
      of: { 19: 'F_PERMISSION' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    STAG: uint(1, 15, 0, 'tag of the stalled transaction', 'EVTQ_1_STAG'),
    RES0_94_80: res0(1, 30, 16),
    STALL: bool(1, 31, 'the transaction stalls', 'EVTQ_1_STALL'),
    RES0_96: res0(1, 32, 32),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_101_100: res0(1, 37, 36),
    NSIPA: bool(1, 38, 'IPA is Non-secure'),
    S2: bool(1, 39, 'stage 2 faulted', 'EVTQ_1_S2'),
    CLASS: choice(1, 41, 40, 'what was accessed', {
      of: { 0: 'CD', 1: 'TT', 2: 'IN' },
      linux: 'EVTQ_1_CLASS',
    }),
    RES0_107_106: res0(1, 43, 42),
    TTRnW: bool(1, 44, 'descriptor read, with CLASS=TT', 'EVTQ_1_TT_READ'),
    RES0_127_109: res0(1, 63, 45),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_203_192: res0(3, 11, 0),
    IPA: addr(3, 55, 12, 'stage 2 input, valid if S2=1', 'EVTQ_3_IPA'),
    RES0_255_248: res0(3, 63, 56),
  },
);
