import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, u64, uint } from './row.ts';

/**
 * Unsupported upstream transaction. Source: IHI 0070 7.3.2.
 * @example F_UUT.get.StreamID(record)
 */
export const F_UUT = layout(
  'F_UUT',
  { dwords: 4, spec: 'IHI 0070 7.3.2' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x01', { of: { 1: 'F_UUT' }, linux: 'EVTQ_0_ID' }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    RES0_96_80: res0(1, 32, 16),
    PnU: bool(1, 33, 'privileged', 'EVTQ_1_PnU'),
    InD: bool(1, 34, 'instruction', 'EVTQ_1_InD'),
    RnW: bool(1, 35, 'read', 'EVTQ_1_RnW'),
    RES0_127_100: res0(1, 63, 36),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * StreamID is outside the stream table. Source: IHI 0070 7.3.3.
 * @example C_BAD_STREAMID.get.StreamID(record)
 */
export const C_BAD_STREAMID = layout(
  'C_BAD_STREAMID',
  { dwords: 4, spec: 'IHI 0070 7.3.3' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x02', {
      of: { 2: 'C_BAD_STREAMID' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Fetch of an STE or level 1 descriptor was aborted. Source: IHI 0070 7.3.4.
 * @example F_STE_FETCH.get.StreamID(record)
 */
export const F_STE_FETCH = layout(
  'F_STE_FETCH',
  { dwords: 4, spec: 'IHI 0070 7.3.4' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x03', {
      of: { 3: 'F_STE_FETCH' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    GPCF: bool(1, 16, 'granule protection check fault'),
    RES0_127_81: res0(1, 63, 17),
    RES0_191_128: res0(2, 63, 0),
    RES0_194_192: res0(3, 2, 0),
    FetchAddr: addr(3, 55, 3, 'address of the fetch', 'EVTQ_3_FETCH_ADDR'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * STE is invalid or illegal. Source: IHI 0070 7.3.5.
 * @example C_BAD_STE.get.StreamID(record)
 */
export const C_BAD_STE = layout(
  'C_BAD_STE',
  { dwords: 4, spec: 'IHI 0070 7.3.5' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x04', {
      of: { 4: 'C_BAD_STE' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Translation request of a stream without ATS. Source: IHI 0070 7.3.6.
 * @example F_BAD_ATS_TREQ.get.StreamID(record)
 */
export const F_BAD_ATS_TREQ = layout(
  'F_BAD_ATS_TREQ',
  { dwords: 4, spec: 'IHI 0070 7.3.6' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x05', {
      of: { 5: 'F_BAD_ATS_TREQ' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * SubstreamID is not allowed or is missing. Source: IHI 0070 7.3.7.
 * @example F_STREAM_DISABLED.get.StreamID(record)
 */
export const F_STREAM_DISABLED = layout(
  'F_STREAM_DISABLED',
  { dwords: 4, spec: 'IHI 0070 7.3.7' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x06', {
      of: { 6: 'F_STREAM_DISABLED' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_31_8: res0(0, 31, 8),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Translated transaction of a stream without ATS. Source: IHI 0070 7.3.8.
 * @example F_TRANSL_FORBIDDEN.get.StreamID(record)
 */
export const F_TRANSL_FORBIDDEN = layout(
  'F_TRANSL_FORBIDDEN',
  { dwords: 4, spec: 'IHI 0070 7.3.8' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x07', {
      of: { 7: 'F_TRANSL_FORBIDDEN' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_98_64: res0(1, 34, 0),
    RnW: bool(1, 35, 'read'),
    RES0_127_100: res0(1, 63, 36),
    InputAddr: u64(2, 'input address as it came', 'EVTQ_2_ADDR'),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * SubstreamID is outside the CD table. Source: IHI 0070 7.3.9.
 * @example C_BAD_SUBSTREAMID.get.StreamID(record)
 */
export const C_BAD_SUBSTREAMID = layout(
  'C_BAD_SUBSTREAMID',
  { dwords: 4, spec: 'IHI 0070 7.3.9' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x08', {
      of: { 8: 'C_BAD_SUBSTREAMID' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_11_8: res0(0, 11, 8),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Fetch of a CD or level 1 descriptor was aborted. Source: IHI 0070 7.3.10.
 * @example F_CD_FETCH.get.StreamID(record)
 */
export const F_CD_FETCH = layout(
  'F_CD_FETCH',
  { dwords: 4, spec: 'IHI 0070 7.3.10' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x09', {
      of: { 9: 'F_CD_FETCH' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    GPCF: bool(1, 16, 'granule protection check fault'),
    RES0_127_81: res0(1, 63, 17),
    RES0_191_128: res0(2, 63, 0),
    RES0_194_192: res0(3, 2, 0),
    FetchAddr: addr(3, 55, 3, 'address of the fetch', 'EVTQ_3_FETCH_ADDR'),
    RES0_255_248: res0(3, 63, 56),
  },
);

/**
 * CD is invalid or illegal. Source: IHI 0070 7.3.11.
 * @example C_BAD_CD.get.StreamID(record)
 */
export const C_BAD_CD = layout(
  'C_BAD_CD',
  { dwords: 4, spec: 'IHI 0070 7.3.11' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x0a', {
      of: { 10: 'C_BAD_CD' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_127_64: res0(1, 63, 0),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Several TLB entries match. Source: IHI 0070 7.3.17.
 * @example F_TLB_CONFLICT.get.StreamID(record)
 */
export const F_TLB_CONFLICT = layout(
  'F_TLB_CONFLICT',
  { dwords: 4, spec: 'IHI 0070 7.3.17' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x20', {
      of: { 32: 'F_TLB_CONFLICT' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    RES0_96_80: res0(1, 32, 16),
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
 * Several configuration cache entries match. Source: IHI 0070 7.3.18.
 * @example F_CFG_CONFLICT.get.StreamID(record)
 */
export const F_CFG_CONFLICT = layout(
  'F_CFG_CONFLICT',
  { dwords: 4, spec: 'IHI 0070 7.3.18' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x21', {
      of: { 33: 'F_CFG_CONFLICT' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    RES0_127_80: res0(1, 63, 16),
    RES0_191_128: res0(2, 63, 0),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Hint that pages will be accessed. Source: IHI 0070 7.3.19.
 * @example E_PAGE_REQUEST.get.StreamID(record)
 */
export const E_PAGE_REQUEST = layout(
  'E_PAGE_REQUEST',
  { dwords: 4, spec: 'IHI 0070 7.3.19' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x24', {
      of: { 36: 'E_PAGE_REQUEST' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    RES0_96_64: res0(1, 32, 0),
    uX: bool(1, 33, 'unprivileged execute'),
    uW: bool(1, 34, 'unprivileged write'),
    uR: bool(1, 35, 'unprivileged read'),
    RES0_100: res0(1, 36, 36),
    pX: bool(1, 37, 'privileged execute'),
    pW: bool(1, 38, 'privileged write'),
    pR: bool(1, 39, 'privileged read'),
    RES0_107_104: res0(1, 43, 40),
    Span: uint(1, 51, 44, 'pages'),
    RES0_127_116: res0(1, 63, 52),
    RES0_139_128: res0(2, 11, 0),
    InputAddr: addr(2, 63, 12, 'first address'),
    RES0_255_192: res0(3, 63, 0),
  },
);

/**
 * Fetch of a virtual machine structure was aborted. Source: IHI 0070 7.3.20.
 * @example F_VMS_FETCH.get.StreamID(record)
 */
export const F_VMS_FETCH = layout(
  'F_VMS_FETCH',
  { dwords: 4, spec: 'IHI 0070 7.3.20' },
  {
    EventNumber: choice(0, 7, 0, 'event number 0x25', {
      of: { 37: 'F_VMS_FETCH' },
      linux: 'EVTQ_0_ID',
    }),
    RES0_10_8: res0(0, 10, 8),
    SSV: bool(0, 11, 'SubstreamID is valid', 'EVTQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'EVTQ_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'EVTQ_0_SID'),
    Reason: uint(1, 15, 0, 'implementation defined cause'),
    GPCF: bool(1, 16, 'granule protection check fault'),
    RES0_127_81: res0(1, 63, 17),
    RES0_191_128: res0(2, 63, 0),
    RES0_194_192: res0(3, 2, 0),
    FetchAddr: addr(3, 55, 3, 'address of the fetch', 'EVTQ_3_FETCH_ADDR'),
    RES0_255_248: res0(3, 63, 56),
  },
);
