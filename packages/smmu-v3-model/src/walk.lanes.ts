/*
 * The walk of VMSAv8-64 tables, once for both stages (IHI 0070 3.4.1, 3.13; DDI 0487 D8.2-D8.7): a stage is a `Regime`.
 * Not modelled: the Contiguous hint (ignoring it is allowed), big-endian tables, permission indirection and overlays, VMSAv9-128;
 * updates of descriptors in Non-cacheable memory are atomic too, which is the implementation's choice.
 */
import {
  PTE_HI_ADDRESS_MASK,
  PTE_LO_AF,
  PTE_LO_NG,
  PTE_LO_NT,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
  PTE_VALID,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { FaultClass, FaultState } from './fault.ts';
import {
  ANY_WRITE,
  dirtied,
  isWritableClean,
  leafPermissions,
  permits,
  STRUCTURE_READ,
  STRUCTURE_WRITE,
  tableLimits,
  writes,
} from './permission.lanes.ts';
import type { Regime, WideFormat } from './regime.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbSpace } from './tlb.ts';
import { NO_SLOT, type TlbEntry, type WalkEntry } from './tlb-entry.ts';
import { alignKey, lookupKey } from './translation-key.lanes.ts';

const TWO32 = 0x1_0000_0000;
const TAG = 2 ** 56;
const ALL = 2 ** 64;
const PAGE = 4096;
/** Powers of two; `**` costs twenty times a load. */
const SIZE: Float64Array = Float64Array.from({ length: 64 }, (_, n) => 2 ** n);
/** 1 / 2^n: what an index is multiplied with, which costs a quarter of a division. */
const INVERSE: Float64Array = Float64Array.from({ length: 64 }, (_, n) => 2 ** -n);

/** With DS=1: address bits 49:32 stand in place, 51:50 in bits 9:8 (DDI 0487 D8.3). */
const DS_HI = 0x3_ffff;
const DS_LO = 0x300;
/** With the 64 KiB granule: address bits 51:48 stand in bits 15:12 (DDI 0487 D8.3). */
const WIDE_LO = 0xf000;

/** Counts of one walker. */
export interface WalkCounts {
  walks: number;
  descriptorLoads: number;
}

/** Takes the address of a structure through stage 2: the leaf that maps its page, or `undefined` after raising the fault. */
export interface StructureAccess {
  structure(
    stream: CachedStream,
    page: number,
    need: number,
    cls: FaultClass,
  ): TlbEntry | undefined;
}

/** One walk. */
export interface WalkJob {
  readonly regime: Regime;
  /** Page-aligned input address, in range. */
  readonly page: number;
  /** What the access needs, see `permission.lanes.ts`. */
  readonly need: number;
  /** What the access is for: the CLASS of stage-2 faults. */
  readonly class: FaultClass;
  /** A cached table descriptor to start below. */
  readonly above: WalkEntry | undefined;
  /** Where leaves that are not global belong, and where table descriptors are kept. */
  readonly space: TlbSpace;
  /** The CD or STE in force. */
  readonly made: Uint32Array;
  /** The stream whose stage 2 the tables are read through; `undefined` when they are at physical addresses. */
  readonly through: CachedStream | undefined;
}

/** The block of memory that a stage's last descriptor lay in: tables stand close together. */
class HeldBlock {
  lo = 0;
  /** -1: none yet. */
  hi = -1;
  lanes: Uint32Array = new Uint32Array(0);
}

/** Reads tables, and updates them. */
export class Walker {
  readonly #held1: HeldBlock = new HeldBlock();
  readonly #held2: HeldBlock = new HeldBlock();
  readonly #memory: MemoryView;
  readonly #fault: FaultState;
  readonly #counts: WalkCounts;
  readonly #keepTables: boolean;
  /** Whether entries name the tables that they were found through. */
  readonly #traces: boolean;
  readonly #structures: StructureAccess;
  readonly #levelOneHint: boolean;

  constructor(parts: {
    memory: MemoryView;
    fault: FaultState;
    counts: WalkCounts;
    keepTables: boolean;
    /** Something compares entries with their tables later. */
    traces: boolean;
    structures: StructureAccess;
    bbml: number;
  }) {
    this.#memory = parts.memory;
    this.#fault = parts.fault;
    this.#counts = parts.counts;
    this.#keepTables = parts.keepTables;
    this.#traces = parts.traces || parts.keepTables;
    this.#structures = parts.structures;
    this.#levelOneHint = parts.bbml === 1;
  }

  /**
   * The leaf that maps the address, whatever it permits; `undefined` after raising the fault (7.3.12-7.3.15, in that order).
   * Long because a method for the read and one for the leaf cost 30 of 240 ns for a walk of one level, and 40 of 330 ns for four.
   */
  walk(job: WalkJob): TlbEntry | undefined {
    const { regime, page, need, space, made, through } = job;
    const { granule, startLevel, outputEnd, wide } = regime;
    const memory = this.#memory;
    const key = lookupKey(page);
    const ia = page >= regime.bytes ? page % regime.bytes : page;
    const granuleLg2 = granule.shift;
    const { stride } = granule;
    const held = regime.stage === 1 ? this.#held1 : this.#held2;
    const inBlock = memory.blockBytes - 1;
    // Outputs end at 2^32 at the least.
    const endHi = outputEnd / TWO32;
    let parent = job.above;
    let level = startLevel;
    // The root may be several tables; an index into it is as wide as the input.
    let mask = -1;
    let table = regime.root;
    let limits = 0;
    if (parent !== undefined) {
      level = parent.level + 1;
      mask = (1 << stride) - 1;
      table = parent.next;
      limits = parent.limits;
    }
    // In lanes: tables are aligned to their size, so that nothing carries.
    let tableLo = table | 0;
    let tableHi = (table / TWO32) | 0;
    let under: TlbEntry | undefined;
    this.#counts.walks++;
    for (;;) {
      const shift = granuleLg2 + stride * (3 - level);
      const atLo = tableLo | (((ia * (INVERSE[shift] as number)) & mask) << 3);
      const atHi = tableHi;
      let paLo = atLo;
      let paHi = atHi;
      if (through !== undefined) {
        const ipa = atHi * TWO32 + ((atLo & -PAGE) >>> 0);
        under = this.#structures.structure(through, ipa, STRUCTURE_READ, 'TT');
        if (under === undefined) return undefined;
        const frame = under.output + (ipa - under.key);
        paLo = frame | 0 | (atLo & (PAGE - 1));
        paHi = (frame / TWO32) | 0;
      }
      let lo: number;
      let hi: number;
      if ((((paLo ^ held.lo) & ~inBlock) | (paHi ^ held.hi)) === 0) {
        const k = (paLo & inBlock) >>> 2;
        lo = (held.lanes[k] as number) | 0;
        hi = (held.lanes[k + 1] as number) | 0;
      } else {
        const paddr = paHi * TWO32 + (paLo >>> 0);
        if (!memory.isBacked(paddr)) {
          this.#fault.raiseWalkAbort(regime.stage, job.class, paddr);
          return undefined;
        }
        lo = memory.load64(paddr) | 0;
        hi = memory.hi | 0;
        // Only where something stands: to hold a block makes it.
        if ((lo | hi) !== 0) hold(held, memory, paLo, paHi);
      }
      this.#counts.descriptorLoads++;
      if (level < 3 && (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE) {
        const nextLo = lo & -(1 << granuleLg2);
        const nextHi = addressHi(lo, hi, wide);
        if (nextHi >= endHi) return this.#refuse(job, 'F_ADDR_SIZE');
        let used = lo;
        if (regime.haft && (lo & PTE_LO_AF) === 0) {
          used = lo | PTE_LO_AF;
          const done = this.#update(job, { atLo, atHi, paLo, paHi }, { lo, hi, used });
          if (done === undefined) return undefined;
          if (!done) continue;
        }
        if (regime.stage === 1 && !regime.had) limits |= tableLimits(hi);
        if (this.#traces) {
          const size = SIZE[shift] as number;
          const start = alignKey(key, size);
          parent = {
            parent,
            under,
            paddr: paHi * TWO32 + (paLo >>> 0),
            lo: used >>> 0,
            hi: hi >>> 0,
            level,
            key: start,
            size,
            coverKey: start,
            coverSize: size,
            made,
            granuleLg2,
            next: nextHi * TWO32 + (nextLo >>> 0),
            limits,
            footprint: undefined,
            slot: NO_SLOT,
            stale: undefined,
          };
          if (this.#keepTables) space.insertWalk(parent);
        }
        tableLo = nextLo;
        tableHi = nextHi;
        mask = (1 << stride) - 1;
        level++;
        continue;
      }
      if (!isLeaf(lo, level, regime)) return this.#refuse(job, 'F_TRANSLATION');
      const size = SIZE[shift] as number;
      const block = size === PAGE ? key : alignKey(key, size);
      const base = outputOf(lo >>> 0, hi, size, wide);
      if (base + (key - block) >= outputEnd) return this.#refuse(job, 'F_ADDR_SIZE');
      let used = lo;
      if ((lo & PTE_LO_AF) === 0) {
        // With HA=1, AFFD is ignored (3.13).
        if (regime.ha) used |= PTE_LO_AF;
        else if (!regime.affd) return this.#refuse(job, 'F_ACCESS');
      }
      const granted = leafPermissions(regime, lo, hi, limits);
      let clean = isWritableClean(regime, lo, hi);
      // Stage 2 never dirties the leaf that maps a CD; a CD is only ever read.
      if (clean && writes(need) && permits(granted, need)) {
        used = dirtied(regime, used) | 0;
        clean = false;
      }
      if (used !== lo) {
        const done = this.#update(job, { atLo, atHi, paLo, paHi }, { lo, hi, used });
        if (done === undefined) return undefined;
        if (!done) continue;
      }
      // A block larger than the output range is kept as far as that reaches.
      const covered = Math.min(size, outputEnd);
      const start = covered === size ? block : alignKey(key, covered);
      const global = regime.rule === 'el1' && (lo & PTE_LO_NG) === 0;
      return {
        slot: NO_SLOT,
        inner: undefined,
        outer: undefined,
        parent,
        under,
        paddr: paHi * TWO32 + (paLo >>> 0),
        lo: used >>> 0,
        hi: hi >>> 0,
        level,
        key: start,
        size: covered,
        coverKey: block,
        coverSize: size,
        made,
        granuleLg2,
        output: base + (start - block),
        permissions: clean ? granted & ~ANY_WRITE : granted,
        dirtied: granted,
        clean,
        space: global ? space.global : space,
        footprint: undefined,
        stale: undefined,
      };
    }
  }

  /** True for a block with nT=1, which a level-1 implementation uses and does not keep (3.21.1). */
  isTransient(entry: TlbEntry): boolean {
    return this.#levelOneHint && entry.level < 3 && (entry.lo & PTE_LO_NT) !== 0;
  }

  /** Hardware update of a descriptor (3.13): false when memory has changed meanwhile, `undefined` after a fault of stage 2. */
  #update(
    job: WalkJob,
    at: { atLo: number; atHi: number; paLo: number; paHi: number },
    word: { lo: number; hi: number; used: number },
  ): boolean | undefined {
    const { through } = job;
    if (through !== undefined) {
      // The update of a stage-1 descriptor is a write of its own at stage 2, and may dirty the leaf there.
      const page = at.atHi * TWO32 + ((at.atLo & -PAGE) >>> 0);
      if (this.#structures.structure(through, page, STRUCTURE_WRITE, 'TT') === undefined)
        return undefined;
    }
    const { lo, hi, used } = word;
    const paddr = at.paHi * TWO32 + (at.paLo >>> 0);
    return this.#memory.cas64(paddr, lo >>> 0, hi >>> 0, used >>> 0, hi >>> 0);
  }

  #refuse(job: WalkJob, event: 'F_TRANSLATION' | 'F_ADDR_SIZE' | 'F_ACCESS'): undefined {
    if (job.regime.stage === 1) this.#fault.raiseStage1(event);
    else this.#fault.raiseStage2(event, job.class, job.page);
    return undefined;
  }
}

/** True when a page-aligned address lies in the range of the half that its bit 55 selects (3.4.1). */
export function inHalf(page: number, half: Regime): boolean {
  const { bytes } = half;
  if (!half.upper && page < bytes) return true;
  const top = half.tbi ? TAG : ALL;
  const address = half.tbi ? page % TAG : page;
  return half.upper ? address >= top - bytes : address < bytes;
}

/** True for a valid leaf where one may stand (DDI 0487 D8.3): level -1 to 3, any lo. */
export function isLeaf(lo: number, level: number, regime: Regime): boolean {
  if ((lo & PTE_VALID) === 0) return false;
  if (level === 3) return (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE;
  return level >= regime.leafLevel;
}

/** Bits 51:32 of the address that a descriptor holds; any lanes, signed or not. */
function addressHi(lo: number, hi: number, wide: WideFormat): number {
  if (wide === 'none') return hi & PTE_HI_ADDRESS_MASK;
  return wide === 'ds'
    ? (hi & DS_HI) | ((lo & DS_LO) << 10)
    : (hi & PTE_HI_ADDRESS_MASK) | ((lo & WIDE_LO) << 4);
}

function hold(held: HeldBlock, memory: MemoryView, lo: number, hi: number): void {
  const lanes = memory.block(lo, hi);
  if (lanes === undefined) return;
  held.lo = lo & ~(memory.blockBytes - 1);
  held.hi = hi;
  held.lanes = lanes;
}

/** The address that a descriptor holds, aligned to what it points to: 0 <= lo < 2^32, any hi, size a power of two from 4096. */
export function outputOf(lo: number, hi: number, size: number, wide: WideFormat): number {
  const value = addressHi(lo, hi, wide) * TWO32 + lo;
  return size === PAGE ? value - (lo & (PAGE - 1)) : alignKey(value, size);
}
