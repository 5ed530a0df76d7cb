import { layout } from '@iommukit/bits';
import { addr, bool, res0, uint } from './row.ts';

/**
 * Page request record, 16 bytes. Source: IHI 0070 8.
 * @example PAGE_REQUEST.get.PRGIndex(record)
 */
export const PAGE_REQUEST = layout(
  'PAGE_REQUEST',
  { dwords: 2, spec: 'IHI 0070 8' },
  {
    StreamID: uint(0, 31, 0, 'StreamID', 'PRIQ_0_SID'),
    SubstreamID: uint(0, 51, 32, 'SubstreamID, the PASID', 'PRIQ_0_SSID'),
    RES0_57_52: res0(0, 57, 52),
    Priv: bool(0, 58, 'privileged', 'PRIQ_0_PERM_PRIV'),
    X: bool(0, 59, 'execute', 'PRIQ_0_PERM_EXEC'),
    R: bool(0, 60, 'read', 'PRIQ_0_PERM_READ'),
    W: bool(0, 61, 'write', 'PRIQ_0_PERM_WRITE'),
    Last: bool(0, 62, 'last request of its group', 'PRIQ_0_PRG_LAST'),
    SSV: bool(0, 63, 'SubstreamID is valid', 'PRIQ_0_SSID_V'),
    PRGIndex: uint(1, 8, 0, 'page request group', 'PRIQ_1_PRG_IDX'),
    RES0_75_73: res0(1, 11, 9),
    Address: addr(1, 63, 12, 'page', 'PRIQ_1_ADDR_MASK'),
  },
);

/** Bytes of a page request record, IHI 0070 8. @example PAGE_REQUEST_BYTES * queueIndex(cons, lg2) */
export const PAGE_REQUEST_BYTES = 16;
