import { layout } from '@iommukit/bits';
import { bool, choice, impdef, res0, uint } from './row.ts';

/**
 * Features, first identification register. Source: IHI 0070 6.3.1.
 * @example IDR0.get.RME_IMPL(words)
 */
export const IDR0 = layout(
  'IDR0',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.1',
    linux: 'ARM_SMMU_IDR0',
    offset: 0x0,
    width: 32,
    access: 'RO',
  },
  {
    S2P: bool(0, 0, 'stage 2 is supported', 'IDR0_S2P'),
    S1P: bool(0, 1, 'stage 1 is supported', 'IDR0_S1P'),
    TTF: choice(0, 3, 2, 'translation table formats', {
      of: { 1: 'AArch32 LPAE', 2: 'AArch64', 3: 'both' },
      linux: 'IDR0_TTF',
    }),
    COHACC: bool(0, 4, 'table and queue accesses are coherent', 'IDR0_COHACC'),
    BTM: bool(0, 5, 'broadcast TLB maintenance'),
    HTTU: choice(0, 7, 6, 'hardware update of translation tables', {
      of: {
        0: 'none',
        1: 'access flag',
        2: 'access flag and dirty state',
        3: 'also access flag of tables',
      },
      linux: 'IDR0_HTTU',
    }),
    DORMHINT: bool(0, 8, 'dormant hint'),
    Hyp: bool(0, 9, 'EL2 translation regimes', 'IDR0_HYP'),
    ATS: bool(0, 10, 'PCIe ATS', 'IDR0_ATS'),
    NS1ATS: bool(0, 11, 'split-stage ATS is not supported'),
    ASID16: bool(0, 12, '16-bit ASIDs', 'IDR0_ASID16'),
    MSI: bool(0, 13, 'message-signalled interrupts', 'IDR0_MSI'),
    SEV: bool(0, 14, 'wake-up events to processors', 'IDR0_SEV'),
    ATOS: bool(0, 15, 'address translation operations'),
    PRI: bool(0, 16, 'PCIe page requests', 'IDR0_PRI'),
    VMW: bool(0, 17, 'VMID wildcards'),
    VMID16: bool(0, 18, '16-bit VMIDs', 'IDR0_VMID16'),
    CD2L: bool(0, 19, 'two-level CD tables', 'IDR0_CD2L'),
    VATOS: bool(0, 20, 'virtual address translation operations'),
    TTENDIAN: choice(0, 22, 21, 'endianness of translation tables', {
      of: { 0: 'mixed', 2: 'little-endian', 3: 'big-endian' },
      linux: 'IDR0_TTENDIAN',
    }),
    ATSRECERR: bool(0, 23, 'configuration errors of ATS can be recorded'),
    STALL_MODEL: choice(0, 25, 24, 'stalling of faulting transactions', {
      of: { 0: 'stall and terminate', 1: 'terminate only', 2: 'stall forced' },
      linux: 'IDR0_STALL_MODEL',
    }),
    TERM_MODEL: bool(0, 26, 'RAZ/WI termination is absent'),
    ST_LEVEL: choice(0, 28, 27, 'stream table formats', {
      of: { 0: 'linear', 1: 'linear and two-level' },
      linux: 'IDR0_ST_LVL',
    }),
    RES0_29: res0(0, 29, 29),
    RME_IMPL: bool(0, 30, 'RME features are implemented'),
    RES0_31: res0(0, 31, 31),
  },
);

/**
 * Sizes, second identification register. Source: IHI 0070 6.3.2.
 * @example IDR1.get.ECMDQ(words)
 */
export const IDR1 = layout(
  'IDR1',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.2',
    linux: 'ARM_SMMU_IDR1',
    offset: 0x4,
    width: 32,
    access: 'RO',
  },
  {
    SIDSIZE: uint(0, 5, 0, 'StreamID bits, 0 to 32', 'IDR1_SIDSIZE'),
    SSIDSIZE: uint(0, 10, 6, 'SubstreamID bits, 0 to 20', 'IDR1_SSIDSIZE'),
    PRIQS: uint(0, 15, 11, 'greatest log2 of page request entries', 'IDR1_PRIQS'),
    EVENTQS: uint(0, 20, 16, 'greatest log2 of event entries', 'IDR1_EVTQS'),
    CMDQS: uint(0, 25, 21, 'greatest log2 of command entries', 'IDR1_CMDQS'),
    ATTR_PERMS_OVR: bool(0, 26, 'permission attributes can be overridden'),
    ATTR_TYPES_OVR: bool(0, 27, 'memory types can be overridden', 'IDR1_ATTR_TYPES_OVR'),
    REL: bool(0, 28, 'preset bases are relative to the register frame', 'IDR1_REL'),
    QUEUES_PRESET: bool(0, 29, 'queue bases are fixed', 'IDR1_QUEUES_PRESET'),
    TABLES_PRESET: bool(0, 30, 'table bases are fixed', 'IDR1_TABLES_PRESET'),
    ECMDQ: bool(0, 31, 'enhanced command queues'),
  },
);

/**
 * Place of the VATOS page. Source: IHI 0070 6.3.3.
 * @example IDR2.get.BA_VATOS(words)
 */
export const IDR2 = layout(
  'IDR2',
  { dwords: 1, spec: 'IHI 0070 6.3.3', offset: 0x8, width: 32, access: 'RO' },
  {
    BA_VATOS: uint(0, 9, 0, 'VATOS page number after page 1, in 64 KiB'),
    RES0_31_10: res0(0, 31, 10),
  },
);

/**
 * Features, fourth identification register. Source: IHI 0070 6.3.4.
 * @example IDR3.get.AIE(words)
 */
export const IDR3 = layout(
  'IDR3',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.4',
    linux: 'ARM_SMMU_IDR3',
    offset: 0xc,
    width: 32,
    access: 'RO',
  },
  {
    RES0_1_0: res0(0, 1, 0),
    HAD: bool(0, 2, 'hierarchical attributes can be disabled'),
    PBHA: bool(0, 3, 'page-based hardware attributes'),
    XNX: bool(0, 4, 'EL0 and EL1 execute control of stage 2'),
    PPS: bool(0, 5, 'PASID is always in page request responses'),
    RES0_6: res0(0, 6, 6),
    MPAM: bool(0, 7, 'memory partitioning'),
    FWB: bool(0, 8, 'stage 2 forced write-back', 'IDR3_FWB'),
    STT: bool(0, 9, 'small translation tables'),
    RIL: bool(0, 10, 'range and level TLB invalidation', 'IDR3_RIL'),
    BBML: choice(0, 12, 11, 'break-before-make level', {
      of: { 0: 'level 0', 1: 'level 1', 2: 'level 2' },
      linux: 'IDR3_BBM',
    }),
    E0PD: bool(0, 13, 'unprivileged access to a half can be prevented'),
    PTWNNC: bool(0, 14, 'stage 1 tables in Device memory read as Normal Non-cacheable'),
    DPT: bool(0, 15, 'device permission table'),
    PASIDTT: bool(0, 16, 'PASID on translated transactions'),
    EPAN: bool(0, 17, 'enhanced privileged access never'),
    S1PI: bool(0, 18, 'stage 1 permission indirection'),
    S2PI: bool(0, 19, 'stage 2 permission indirection'),
    S2PO: bool(0, 20, 'stage 2 permission overlays'),
    THE: bool(0, 21, 'translation hardening'),
    MTEPERM: bool(0, 22, 'MTE permission attributes'),
    AIE: bool(0, 23, 'memory attribute index enhancement'),
    RES0_31_24: res0(0, 31, 24),
  },
);

/**
 * Implementation defined identification. Source: IHI 0070 6.3.5.
 * @example IDR4.get.IMPDEF(words)
 */
export const IDR4 = layout(
  'IDR4',
  { dwords: 1, spec: 'IHI 0070 6.3.5', offset: 0x10, width: 32, access: 'RO' },
  {
    IMPDEF: impdef(0, 31, 0, 'implementation defined'),
  },
);

/**
 * Address sizes and granules. Source: IHI 0070 6.3.6.
 * @example IDR5.get.STALL_MAX(words)
 */
export const IDR5 = layout(
  'IDR5',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.6',
    linux: 'ARM_SMMU_IDR5',
    offset: 0x14,
    width: 32,
    access: 'RO',
  },
  {
    OAS: choice(0, 2, 0, 'output address size', {
      of: {
        0: '32 bits',
        1: '36 bits',
        2: '40 bits',
        3: '42 bits',
        4: '44 bits',
        5: '48 bits',
        6: '52 bits',
        7: '56 bits',
      },
      linux: 'IDR5_OAS',
    }),
    RES0_3: res0(0, 3, 3),
    GRAN4K: bool(0, 4, '4 KiB granule', 'IDR5_GRAN4K'),
    GRAN16K: bool(0, 5, '16 KiB granule', 'IDR5_GRAN16K'),
    GRAN64K: bool(0, 6, '64 KiB granule', 'IDR5_GRAN64K'),
    DS: bool(0, 7, '52-bit addresses with 4 KiB and 16 KiB granules', 'IDR5_DS'),
    D128: bool(0, 8, '128-bit descriptors'),
    RES0_9: res0(0, 9, 9),
    VAX: choice(0, 11, 10, 'virtual address extension', {
      of: { 0: '48 bits', 1: '52 bits', 2: '56 bits' },
      linux: 'IDR5_VAX',
    }),
    RES0_15_12: res0(0, 15, 12),
    STALL_MAX: uint(0, 31, 16, 'greatest number of stalled transactions', 'IDR5_STALL_MAX'),
  },
);

/**
 * Implementation identification. Source: IHI 0070 6.3.7.
 * @example IIDR.get.ProductID(words)
 */
export const IIDR = layout(
  'IIDR',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.7',
    linux: 'ARM_SMMU_IIDR',
    offset: 0x18,
    width: 32,
    access: 'RO',
  },
  {
    Implementer: uint(0, 11, 0, 'JEP106 code of the implementer', 'IIDR_IMPLEMENTER'),
    Revision: uint(0, 15, 12, 'minor revision', 'IIDR_REVISION'),
    Variant: uint(0, 19, 16, 'major revision', 'IIDR_VARIANT'),
    ProductID: uint(0, 31, 20, 'product', 'IIDR_PRODUCTID'),
  },
);

/**
 * Architecture version. Source: IHI 0070 6.3.8.
 * @example AIDR.get.ArchMajorRev(words)
 */
export const AIDR = layout(
  'AIDR',
  { dwords: 1, spec: 'IHI 0070 6.3.8', offset: 0x1c, width: 32, access: 'RO' },
  {
    ArchMinorRev: choice(0, 3, 0, 'minor version, 0 to 4 for SMMUv3.0 to SMMUv3.4', {
      of: { 0: 'SMMUv3.0', 1: 'SMMUv3.1', 2: 'SMMUv3.2', 3: 'SMMUv3.3', 4: 'SMMUv3.4' },
    }),
    ArchMajorRev: uint(0, 7, 4, 'major version, 0 for SMMUv3'),
    RES0_31_8: res0(0, 31, 8),
  },
);

/**
 * Enhanced command queues; present if IDR1.ECMDQ=1. Source: IHI 0070 6.3.45.
 * @example IDR6.get.CMDQ_CONTROL_PAGE_LOG2NUMP(words)
 */
export const IDR6 = layout(
  'IDR6',
  { dwords: 1, spec: 'IHI 0070 6.3.45', offset: 0x190, width: 32, access: 'RO' },
  {
    RES0_15_0: res0(0, 15, 0),
    CMDQ_CONTROL_PAGE_LOG2NUMQ: uint(
      0,
      19,
      16,
      'log2 of the queues of a command queue control page',
    ),
    RES0_23_20: res0(0, 23, 20),
    CMDQ_CONTROL_PAGE_LOG2NUMP: uint(0, 27, 24, 'log2 of the command queue control pages'),
    RES0_31_28: res0(0, 31, 28),
  },
);
