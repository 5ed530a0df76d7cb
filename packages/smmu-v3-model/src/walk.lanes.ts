/*
 * The stage-1 walk of VMSAv8-64 tables (IHI 0070 3.4.1; DDI 0487 D8.2-D8.7).
 * Does not model: stage 2 under it, 52-bit addresses, HTTU, the Contiguous hint (ignoring it is allowed), nT, memory attributes,
 * permission indirection and overlays.
 */
import {
  type GranuleGeometry,
  PTE_HI_ADDRESS_MASK,
  PTE_HI_APTABLE_NO_UNPRIV,
  PTE_HI_APTABLE_NO_WRITE,
  PTE_HI_PXN,
  PTE_HI_PXNTABLE,
  PTE_HI_UXN,
  PTE_HI_UXNTABLE,
  PTE_LO_AF,
  PTE_LO_AP_RDONLY,
  PTE_LO_AP_UNPRIV,
  PTE_LO_NG,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
  PTE_VALID,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachedContext, Half } from './context-descriptor.ts';
import type { FaultState } from './fault.ts';
import type { TlbEntry, WalkEntry } from './tlb.ts';
import { alignKey, lookupKey } from './translation-key.lanes.ts';

const TWO32 = 0x1_0000_0000;
const TAG = 2 ** 56;
const ALL = 2 ** 64;
const NO_EL0 = 1;
const NO_WRITE = 2;
const NO_UNPRIV_EXECUTE = 4;
const NO_PRIV_EXECUTE = 8;

/** Which bit of `TlbEntry.permissions` an access needs: data read 0, data write 1, instruction read 2; privileged adds 3. */
function accessBit(rw: number, instruction: boolean, privileged: boolean): number {
  return 1 << ((rw === 1 ? 1 : instruction ? 2 : 0) + (privileged ? 3 : 0));
}

/** True when a leaf permits the access. */
export function permits(
  permissions: number,
  rw: number,
  instruction: boolean,
  privileged: boolean,
): boolean {
  return (permissions & accessBit(rw, instruction, privileged)) !== 0;
}

/** Counts of one walker. */
export interface WalkCounts {
  walks: number;
  descriptorLoads: number;
}

/**
 * Walks the tables of one half for a page-aligned input address that lies in its range. `undefined` after raising the fault.
 * `above` is a cached table descriptor to start below; `keep` receives each table descriptor that was loaded.
 */
export function walkStage1(
  memory: MemoryView,
  cd: CachedContext,
  at: { half: Half; page: number; above: WalkEntry | undefined; keepTables: boolean },
  fault: FaultState,
  counts: WalkCounts,
): TlbEntry | undefined {
  const { half, page, keepTables } = at;
  const { granule } = half;
  const key = lookupKey(page);
  const ia = half.upper || page >= half.bytes ? page % half.bytes : page;
  const limit = 2 ** Math.min(cd.ips, 48);
  let parent = at.above;
  let level = parent === undefined ? half.startLevel : parent.level + 1;
  let table = parent === undefined ? half.root : parent.next;
  let limits = parent === undefined ? 0 : parent.limits;
  counts.walks++;
  for (;;) {
    const size = granule.entryBytes[level] as number;
    const index =
      level === half.startLevel ? Math.trunc(ia / size) : (ia / size) & ((1 << granule.stride) - 1);
    const paddr = table + index * 8;
    if (!memory.isBacked(paddr)) {
      fault.raise('F_WALK_EABT', paddr);
      return undefined;
    }
    const lo = memory.load64(paddr);
    const { hi } = memory;
    counts.descriptorLoads++;
    const isTable = level < 3 && (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE;
    if (isTable) {
      const next = outputOf(lo, hi, granule.bytes);
      if (next >= limit) {
        fault.raiseConfigurable('F_ADDR_SIZE');
        return undefined;
      }
      if (!half.had) limits |= tableLimits(hi);
      parent = {
        parent,
        paddr,
        lo,
        hi,
        level,
        key: alignKey(key, size),
        size,
        next,
        limits,
        contextWords: cd.words,
        granuleLg2: granule.shift,
        stale: undefined,
      };
      if (keepTables) cd.space.insertWalk(parent);
      table = next;
      level++;
      continue;
    }
    if (!isLeaf(lo, level, granule)) {
      fault.raiseConfigurable('F_TRANSLATION');
      return undefined;
    }
    const output = outputOf(lo, hi, size);
    if (output >= limit) {
      fault.raiseConfigurable('F_ADDR_SIZE');
      return undefined;
    }
    if ((lo & PTE_LO_AF) === 0 && !cd.affd) {
      fault.raiseConfigurable('F_ACCESS');
      return undefined;
    }
    const global = cd.space.world !== 1 && (lo & PTE_LO_NG) === 0;
    return {
      parent,
      paddr,
      lo,
      hi,
      level,
      key: alignKey(key, size),
      size,
      output,
      permissions:
        cd.space.world === 1
          ? el2Permissions(lo, hi, limits, cd.wxn)
          : el1Permissions(lo, hi, limits, cd),
      contextWords: cd.words,
      granuleLg2: granule.shift,
      space: global ? cd.space.global : cd.space,
      stale: undefined,
    };
  }
}

/** True when a page-aligned address lies in the range of the half that its bit 55 selects (3.4.1). */
export function inHalf(page: number, half: Half): boolean {
  const { bytes } = half;
  if (!half.upper && page < bytes) return true;
  const top = half.tbi ? TAG : ALL;
  const address = half.tbi ? page % TAG : page;
  return half.upper ? address >= top - bytes : address < bytes;
}

function isLeaf(lo: number, level: number, granule: GranuleGeometry): boolean {
  if ((lo & PTE_VALID) === 0) return false;
  if (level === 3) return (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE;
  return level >= granule.leafLevel;
}

function outputOf(lo: number, hi: number, size: number): number {
  const address = (hi & PTE_HI_ADDRESS_MASK) * TWO32 + lo;
  return alignKey(address, size);
}

function tableLimits(hi: number): number {
  return (
    ((hi & PTE_HI_APTABLE_NO_UNPRIV) !== 0 ? NO_EL0 : 0) |
    ((hi & PTE_HI_APTABLE_NO_WRITE) !== 0 ? NO_WRITE : 0) |
    ((hi & PTE_HI_UXNTABLE) !== 0 ? NO_UNPRIV_EXECUTE : 0) |
    ((hi & PTE_HI_PXNTABLE) !== 0 ? NO_PRIV_EXECUTE : 0)
  );
}

function el1Permissions(lo: number, hi: number, limits: number, cd: CachedContext): number {
  const writable = (lo & PTE_LO_AP_RDONLY) === 0 && (limits & NO_WRITE) === 0;
  const el0 = (lo & PTE_LO_AP_UNPRIV) !== 0 && (limits & NO_EL0) === 0;
  const uxn = (hi & PTE_HI_UXN) !== 0 || (limits & NO_UNPRIV_EXECUTE) !== 0;
  const pxn = (hi & PTE_HI_PXN) !== 0 || (limits & NO_PRIV_EXECUTE) !== 0;
  const el0Writes = el0 && writable;
  const el0Executes = !uxn && !(cd.wxn && el0Writes);
  const el1Executes = !pxn && !el0Writes && !(cd.wxn && writable);
  const el1Data = !(cd.pan && (el0 || (cd.epan && !uxn)));
  return (
    (el0 ? 1 : 0) |
    (el0Writes ? 2 : 0) |
    (el0Executes ? 4 : 0) |
    (el1Data ? 8 : 0) |
    (el1Data && writable ? 16 : 0) |
    (el1Executes ? 32 : 0)
  );
}

/** NS-EL2 has one privilege: AP[1] reads as 1 and PnU is not looked at (DDI 0487 D8.4). */
function el2Permissions(lo: number, hi: number, limits: number, wxn: boolean): number {
  const writable = (lo & PTE_LO_AP_RDONLY) === 0 && (limits & NO_WRITE) === 0;
  const xn = (hi & PTE_HI_UXN) !== 0 || (limits & NO_UNPRIV_EXECUTE) !== 0;
  const bits = 1 | (writable ? 2 : 0) | (!xn && !(wxn && writable) ? 4 : 0);
  return bits | (bits << 3);
}

/** Bits of a leaf that decide a translation: the software and hardware-use bits 63:55 do not. */
export function leafDiffers(entry: TlbEntry, lo: number, hi: number): boolean {
  return entry.lo !== lo || ((entry.hi ^ hi) & 0x007f_ffff) !== 0;
}

/** Bits of a table descriptor that decide a translation: type, address, limits. */
export function tableDiffers(entry: WalkEntry, lo: number, hi: number): boolean {
  return ((entry.lo ^ lo) & 0xffff_f003) !== 0 || ((entry.hi ^ hi) & 0x7800_ffff) !== 0;
}
