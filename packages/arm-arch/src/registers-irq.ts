import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, uint } from './row.ts';

/**
 * Interrupt enables. Source: IHI 0070 6.3.16.
 * @example IRQ_CTRL.get.EVENTQ_IRQEN(words)
 */
export const IRQ_CTRL = layout(
  'IRQ_CTRL',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.16',
    linux: 'ARM_SMMU_IRQ_CTRL',
    offset: 0x50,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW',
  },
  {
    GERROR_IRQEN: bool(0, 0, 'interrupts of global errors', 'IRQ_CTRL_GERROR_IRQEN'),
    PRIQ_IRQEN: bool(0, 1, 'interrupts of the page request queue', 'IRQ_CTRL_PRIQ_IRQEN'),
    EVENTQ_IRQEN: bool(0, 2, 'interrupts of the event queue', 'IRQ_CTRL_EVTQ_IRQEN'),
    RES0_31_3: res0(0, 31, 3),
  },
);

/**
 * Acknowledged interrupt enables. Source: IHI 0070 6.3.18.
 * @example IRQ_CTRLACK.get.EVENTQ_IRQEN(words)
 */
export const IRQ_CTRLACK = layout(
  'IRQ_CTRLACK',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.18',
    linux: 'ARM_SMMU_IRQ_CTRLACK',
    offset: 0x54,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RO',
  },
  {
    GERROR_IRQEN: bool(0, 0, 'interrupts of global errors', 'IRQ_CTRL_GERROR_IRQEN'),
    PRIQ_IRQEN: bool(0, 1, 'interrupts of the page request queue', 'IRQ_CTRL_PRIQ_IRQEN'),
    EVENTQ_IRQEN: bool(0, 2, 'interrupts of the event queue', 'IRQ_CTRL_EVTQ_IRQEN'),
    RES0_31_3: res0(0, 31, 3),
  },
);

/**
 * Global errors; an error is active while its bit differs from GERRORN. Source: IHI 0070 6.3.19.
 * @example GERROR.get.DPT_ERR(words)
 */
export const GERROR = layout(
  'GERROR',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.19',
    linux: 'ARM_SMMU_GERROR',
    offset: 0x60,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RO',
  },
  {
    CMDQ_ERR: bool(0, 0, 'a command failed, see CMDQ_CONS.ERR', 'GERROR_CMDQ_ERR'),
    RES0_1: res0(0, 1, 1),
    EVENTQ_ABT_ERR: bool(0, 2, 'a write to the event queue was aborted', 'GERROR_EVTQ_ABT_ERR'),
    PRIQ_ABT_ERR: bool(
      0,
      3,
      'a write to the page request queue was aborted',
      'GERROR_PRIQ_ABT_ERR',
    ),
    MSI_CMDQ_ABT_ERR: bool(0, 4, 'a CMD_SYNC interrupt was aborted', 'GERROR_MSI_CMDQ_ABT_ERR'),
    MSI_EVENTQ_ABT_ERR: bool(
      0,
      5,
      'an event queue interrupt was aborted',
      'GERROR_MSI_EVTQ_ABT_ERR',
    ),
    MSI_PRIQ_ABT_ERR: bool(
      0,
      6,
      'a page request queue interrupt was aborted',
      'GERROR_MSI_PRIQ_ABT_ERR',
    ),
    MSI_GERROR_ABT_ERR: bool(
      0,
      7,
      'a global error interrupt was aborted',
      'GERROR_MSI_GERROR_ABT_ERR',
    ),
    SFM_ERR: bool(0, 8, 'service failure mode', 'GERROR_SFM_ERR'),
    CMDQP_ERR: bool(0, 9, 'an enhanced command queue failed'),
    DPT_ERR: bool(0, 10, 'a device permission table lookup failed'),
    RES0_31_11: res0(0, 31, 11),
  },
);

/**
 * Acknowledged global errors. Source: IHI 0070 6.3.20.
 * @example GERRORN.get.DPT_ERR(words)
 */
export const GERRORN = layout(
  'GERRORN',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.20',
    linux: 'ARM_SMMU_GERRORN',
    offset: 0x64,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW',
  },
  {
    CMDQ_ERR: bool(0, 0, 'a command failed, see CMDQ_CONS.ERR', 'GERROR_CMDQ_ERR'),
    RES0_1: res0(0, 1, 1),
    EVENTQ_ABT_ERR: bool(0, 2, 'a write to the event queue was aborted', 'GERROR_EVTQ_ABT_ERR'),
    PRIQ_ABT_ERR: bool(
      0,
      3,
      'a write to the page request queue was aborted',
      'GERROR_PRIQ_ABT_ERR',
    ),
    MSI_CMDQ_ABT_ERR: bool(0, 4, 'a CMD_SYNC interrupt was aborted', 'GERROR_MSI_CMDQ_ABT_ERR'),
    MSI_EVENTQ_ABT_ERR: bool(
      0,
      5,
      'an event queue interrupt was aborted',
      'GERROR_MSI_EVTQ_ABT_ERR',
    ),
    MSI_PRIQ_ABT_ERR: bool(
      0,
      6,
      'a page request queue interrupt was aborted',
      'GERROR_MSI_PRIQ_ABT_ERR',
    ),
    MSI_GERROR_ABT_ERR: bool(
      0,
      7,
      'a global error interrupt was aborted',
      'GERROR_MSI_GERROR_ABT_ERR',
    ),
    SFM_ERR: bool(0, 8, 'service failure mode', 'GERROR_SFM_ERR'),
    CMDQP_ERR: bool(0, 9, 'an enhanced command queue failed'),
    DPT_ERR: bool(0, 10, 'a device permission table lookup failed'),
    RES0_31_11: res0(0, 31, 11),
  },
);

/**
 * MSI address. Source: IHI 0070 6.3.21.
 * @example GERROR_IRQ_CFG0.get.ADDR(words)
 */
export const GERROR_IRQ_CFG0 = layout(
  'GERROR_IRQ_CFG0',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.21',
    linux: 'ARM_SMMU_GERROR_IRQ_CFG0',
    offset: 0x68,
    width: 64,
    access: 'RW while GERROR_IRQEN=0',
  },
  {
    RES0_1_0: res0(0, 1, 0),
    ADDR: addr(0, 55, 2, 'MSI address, 0 for none', 'MSI_CFG0_ADDR_MASK'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/**
 * MSI data. Source: IHI 0070 6.3.22.
 * @example GERROR_IRQ_CFG1.get.DATA(words)
 */
export const GERROR_IRQ_CFG1 = layout(
  'GERROR_IRQ_CFG1',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.22',
    linux: 'ARM_SMMU_GERROR_IRQ_CFG1',
    offset: 0x70,
    width: 32,
    access: 'RW while GERROR_IRQEN=0',
  },
  {
    DATA: uint(0, 31, 0, 'MSI data'),
  },
);

/**
 * MSI attributes. Source: IHI 0070 6.3.23.
 * @example GERROR_IRQ_CFG2.get.SH(words)
 */
export const GERROR_IRQ_CFG2 = layout(
  'GERROR_IRQ_CFG2',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.23',
    linux: 'ARM_SMMU_GERROR_IRQ_CFG2',
    offset: 0x74,
    width: 32,
    access: 'RW while GERROR_IRQEN=0',
  },
  {
    MemAttr: uint(0, 3, 0, 'memory type of the MSI write', 'MSI_CFG2_MEMATTR'),
    SH: choice(0, 5, 4, 'shareability of the MSI write', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'MSI_CFG2_SH',
    }),
    RES0_31_6: res0(0, 31, 6),
  },
);

/**
 * MSI address. Source: IHI 0070 6.3.30.
 * @example EVENTQ_IRQ_CFG0.get.ADDR(words)
 */
export const EVENTQ_IRQ_CFG0 = layout(
  'EVENTQ_IRQ_CFG0',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.30',
    linux: 'ARM_SMMU_EVTQ_IRQ_CFG0',
    offset: 0xb0,
    width: 64,
    access: 'RW while EVENTQ_IRQEN=0',
  },
  {
    RES0_1_0: res0(0, 1, 0),
    ADDR: addr(0, 55, 2, 'MSI address, 0 for none', 'MSI_CFG0_ADDR_MASK'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/**
 * MSI data. Source: IHI 0070 6.3.31.
 * @example EVENTQ_IRQ_CFG1.get.DATA(words)
 */
export const EVENTQ_IRQ_CFG1 = layout(
  'EVENTQ_IRQ_CFG1',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.31',
    linux: 'ARM_SMMU_EVTQ_IRQ_CFG1',
    offset: 0xb8,
    width: 32,
    access: 'RW while EVENTQ_IRQEN=0',
  },
  {
    DATA: uint(0, 31, 0, 'MSI data'),
  },
);

/**
 * MSI attributes. Source: IHI 0070 6.3.32.
 * @example EVENTQ_IRQ_CFG2.get.SH(words)
 */
export const EVENTQ_IRQ_CFG2 = layout(
  'EVENTQ_IRQ_CFG2',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.32',
    linux: 'ARM_SMMU_EVTQ_IRQ_CFG2',
    offset: 0xbc,
    width: 32,
    access: 'RW while EVENTQ_IRQEN=0',
  },
  {
    MemAttr: uint(0, 3, 0, 'memory type of the MSI write', 'MSI_CFG2_MEMATTR'),
    SH: choice(0, 5, 4, 'shareability of the MSI write', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'MSI_CFG2_SH',
    }),
    RES0_31_6: res0(0, 31, 6),
  },
);

/**
 * MSI address. Source: IHI 0070 6.3.34.
 * @example PRIQ_IRQ_CFG0.get.ADDR(words)
 */
export const PRIQ_IRQ_CFG0 = layout(
  'PRIQ_IRQ_CFG0',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.34',
    linux: 'ARM_SMMU_PRIQ_IRQ_CFG0',
    offset: 0xd0,
    width: 64,
    access: 'RW while PRIQ_IRQEN=0',
  },
  {
    RES0_1_0: res0(0, 1, 0),
    ADDR: addr(0, 55, 2, 'MSI address, 0 for none', 'MSI_CFG0_ADDR_MASK'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/**
 * MSI data. Source: IHI 0070 6.3.35.
 * @example PRIQ_IRQ_CFG1.get.DATA(words)
 */
export const PRIQ_IRQ_CFG1 = layout(
  'PRIQ_IRQ_CFG1',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.35',
    linux: 'ARM_SMMU_PRIQ_IRQ_CFG1',
    offset: 0xd8,
    width: 32,
    access: 'RW while PRIQ_IRQEN=0',
  },
  {
    DATA: uint(0, 31, 0, 'MSI data'),
  },
);

/**
 * MSI attributes. Source: IHI 0070 6.3.36.
 * @example PRIQ_IRQ_CFG2.get.LO(words)
 */
export const PRIQ_IRQ_CFG2 = layout(
  'PRIQ_IRQ_CFG2',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.36',
    linux: 'ARM_SMMU_PRIQ_IRQ_CFG2',
    offset: 0xdc,
    width: 32,
    access: 'RW while PRIQ_IRQEN=0',
  },
  {
    MemAttr: uint(0, 3, 0, 'memory type of the MSI write', 'MSI_CFG2_MEMATTR'),
    SH: choice(0, 5, 4, 'shareability of the MSI write', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'MSI_CFG2_SH',
    }),
    RES0_30_6: res0(0, 30, 6),
    LO: bool(0, 31, 'interrupt only for the last request of a group'),
  },
);
