import {
  PTE_HI_XN,
  PTE_LO_S2AP_READ,
  PTE_LO_S2AP_WRITE,
  PTE_LO_SH_OSH,
  PTE_TYPE_BLOCK,
} from '@iommukit/arm-arch';
import { type U64, u64 } from '@iommukit/bits';
import { IOMMU_NOEXEC, IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import { attributeIndex } from './arm-64-lpae-s1.lanes.ts';
import { type LpaeFormat, lpaeFormat } from './lpae-format.ts';
import { type LpaeGeometry, lpaeGeometry, onlySmallGranule } from './lpae-geometry.ts';

const INPUT_BITS = 48;
const OUTPUT_BITS = 40;

/** Bits of TRANSTAB beside the address. */
const ADDRESS_MODE_TABLE = 3;
const READ_INNER = 1 << 2;
const SHARE_OUTER = 1 << 4;

/** Of Mali's memory types by AttrIndx: 0x88 leaves the caching to the implementation, 0x8d is write-allocate. */
const MEMATTR = 0x88 | (0x8d << 8) | (0x88 << 16);

/**
 * Register values of a Mali table (`arm_mali_lpae_cfg`).
 * @example const { transtab, memattr }: MaliRegisters = table.registers;
 */
export interface MaliRegisters {
  /** Physical address of the top table, with the attributes of walks in bits 4:0. */
  readonly transtab: number;
  /** Memory attributes, a byte by AttrIndx. */
  readonly memattr: number;
}

/** A walk always starts at level 0, be it that one entry covers the space. */
function fromLevelZero(geometry: LpaeGeometry): LpaeGeometry {
  return geometry.startLevel > 0 ? { ...geometry, startLevel: 0, topEntries: 1 } : geometry;
}

/** Permissions as stage 2 has them, memory types as stage 1 has them; shareability has a meaning of its own. */
function leafAttributes(prot: number): U64 {
  let lo = attributeIndex(prot) | PTE_LO_SH_OSH;
  if ((prot & IOMMU_READ) !== 0) lo |= PTE_LO_S2AP_READ;
  if ((prot & IOMMU_WRITE) !== 0) lo |= PTE_LO_S2AP_WRITE;
  return u64(lo, (prot & IOMMU_NOEXEC) !== 0 ? PTE_HI_XN : 0);
}

/**
 * Mali's long descriptors (`ARM_MALI_LPAE`): granule 4 KiB, always four levels, at most 48 input and 40 output address bits. Pages
 * are of type 1 as blocks are.
 * @example const table = createPageTable(maliLpae, { ...config, ias: 33, oas: 40 });
 */
export const maliLpae: LpaeFormat<MaliRegisters> = lpaeFormat({
  name: 'mali-lpae',
  quirks: [],
  leafTypes: [PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_BLOCK],
  geometry: (request) => {
    if (request.ias > INPUT_BITS || request.oas > OUTPUT_BITS) return undefined;
    const geometry = lpaeGeometry(onlySmallGranule(request));
    return geometry && fromLevelZero(geometry);
  },
  registers: (_geometry, { coherentWalk }) => {
    const attributes = READ_INNER | ADDRESS_MODE_TABLE | (coherentWalk ? SHARE_OUTER : 0);
    return (base) => ({ transtab: base + attributes, memattr: MEMATTR });
  },
  leafAttributes,
  tableAttributes: () => u64(0, 0),
});
