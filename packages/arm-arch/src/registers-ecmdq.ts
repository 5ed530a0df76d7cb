import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0 } from './row.ts';

/**
 * Place of control page 0 of the enhanced command queues, page n 32*n bytes further; present if IDR1.ECMDQ=1. Source: IHI 0070 6.3.49.
 * @example CMDQ_CONTROL_PAGE_BASE.get.ADDR(words)
 */
export const CMDQ_CONTROL_PAGE_BASE = layout(
  'CMDQ_CONTROL_PAGE_BASE',
  { dwords: 1, spec: 'IHI 0070 6.3.49', offset: 0x4000, width: 64, access: 'RO' },
  {
    CMDQ_CONTROL_PAGE_PRESET: bool(0, 0, '1: the queue interfaces are registers'),
    CMDQGS: choice(0, 2, 1, 'size of the control page', { of: { 1: '64 KiB' } }),
    RES0_15_3: res0(0, 15, 3),
    ADDR: addr(0, 55, 16, 'offset of the control page from register page 0'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/**
 * Enable of control page 0, page n 32*n bytes further; present if IDR1.ECMDQ=1. Source: IHI 0070 6.3.50.
 * @example CMDQ_CONTROL_PAGE_CFG.get.EN(words)
 */
export const CMDQ_CONTROL_PAGE_CFG = layout(
  'CMDQ_CONTROL_PAGE_CFG',
  { dwords: 1, spec: 'IHI 0070 6.3.50', offset: 0x4008, width: 32, access: 'RO' },
  {
    EN: bool(0, 0, 'control page is enabled, always 1'),
    RES0_31_1: res0(0, 31, 1),
  },
);

/**
 * Status of control page 0, page n 32*n bytes further; present if IDR1.ECMDQ=1. Source: IHI 0070 6.3.51.
 * @example CMDQ_CONTROL_PAGE_STATUS.get.ENACK(words)
 */
export const CMDQ_CONTROL_PAGE_STATUS = layout(
  'CMDQ_CONTROL_PAGE_STATUS',
  { dwords: 1, spec: 'IHI 0070 6.3.51', offset: 0x400c, width: 32, access: 'RO' },
  {
    ENACK: bool(0, 0, 'control page is enabled, always 1'),
    RES0_31_1: res0(0, 31, 1),
  },
);
