/*
 * The walk of VMSAv8-64 tables, once for both stages (IHI 0070 3.4.1, 3.13; DDI 0487 D8.2-D8.7): a stage is a `Regime`.
 * Does not model: the Contiguous hint (ignoring it is allowed), big-endian tables, permission indirection and overlays, VMSAv9-128;
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
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';
import { alignKey, lookupKey } from './translation-key.lanes.ts';

const TWO32 = 0x1_0000_0000;
const TAG = 2 ** 56;
const ALL = 2 ** 64;
const PAGE = 4096;
/** Bytes of an entry of level -1, which only the 4 KiB granule has. */
const LEVEL_MINUS_1 = 2 ** 48;

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

/** Reads tables, and updates them. */
export class Walker {
  readonly #memory: MemoryView;
  readonly #fault: FaultState;
  readonly #counts: WalkCounts;
  readonly #keepTables: boolean;
  readonly #structures: StructureAccess;
  readonly #levelOneHint: boolean;

  constructor(parts: {
    memory: MemoryView;
    fault: FaultState;
    counts: WalkCounts;
    keepTables: boolean;
    structures: StructureAccess;
    bbml: number;
  }) {
    this.#memory = parts.memory;
    this.#fault = parts.fault;
    this.#counts = parts.counts;
    this.#keepTables = parts.keepTables;
    this.#structures = parts.structures;
    this.#levelOneHint = parts.bbml === 1;
  }

  /** The leaf that maps the address, whatever it permits; `undefined` after raising the fault (7.3.12-7.3.15, in that order). */
  walk(job: WalkJob): TlbEntry | undefined {
    const { regime, page, need, space, made, through } = job;
    const { granule, startLevel, outputEnd } = regime;
    const memory = this.#memory;
    const key = lookupKey(page);
    const ia = page >= regime.bytes ? page % regime.bytes : page;
    const granuleLg2 = granule.shift;
    let parent = job.above;
    let level = parent === undefined ? startLevel : parent.level + 1;
    let table = parent === undefined ? regime.root : parent.next;
    let limits = parent === undefined ? 0 : parent.limits;
    let under: TlbEntry | undefined;
    this.#counts.walks++;
    for (;;) {
      const size = level < 0 ? LEVEL_MINUS_1 : (granule.entryBytes[level] as number);
      const index =
        level === startLevel ? Math.trunc(ia / size) : (ia / size) & ((1 << granule.stride) - 1);
      const at = table + index * 8;
      let paddr = at;
      if (through !== undefined) {
        const page = at - (at & (PAGE - 1));
        under = this.#structures.structure(through, page, STRUCTURE_READ, 'TT');
        if (under === undefined) return undefined;
        paddr = under.output + (at - under.key);
      }
      if (!memory.isBacked(paddr)) {
        this.#fault.raiseWalkAbort(regime.stage, job.class, paddr);
        return undefined;
      }
      const lo = memory.load64(paddr);
      const { hi } = memory;
      this.#counts.descriptorLoads++;
      if (level < 3 && (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE) {
        const next = outputOf(lo, hi, granule.bytes, regime.wide);
        if (next >= outputEnd) return this.#refuse(job, 'F_ADDR_SIZE');
        let used = lo;
        if (regime.haft && (lo & PTE_LO_AF) === 0) {
          used = (lo | PTE_LO_AF) >>> 0;
          const done = this.#update(job, at, paddr, { lo, hi, used });
          if (done === undefined) return undefined;
          if (!done) continue;
        }
        if (regime.stage === 1 && !regime.had) limits |= tableLimits(hi);
        const start = alignKey(key, size);
        parent = {
          parent,
          under,
          paddr,
          lo: used,
          hi,
          level,
          key: start,
          size,
          coverKey: start,
          coverSize: size,
          made,
          granuleLg2,
          next,
          limits,
          footprint: undefined,
          stale: undefined,
        };
        if (this.#keepTables) space.insertWalk(parent);
        table = next;
        level++;
        continue;
      }
      if (!isLeaf(lo, level, regime)) return this.#refuse(job, 'F_TRANSLATION');
      const block = alignKey(key, size);
      const base = outputOf(lo, hi, size, regime.wide);
      if (base + (key - block) >= outputEnd) return this.#refuse(job, 'F_ADDR_SIZE');
      let used = lo;
      if ((lo & PTE_LO_AF) === 0) {
        // With HA=1, AFFD is ignored (3.13).
        if (regime.ha) used = (used | PTE_LO_AF) >>> 0;
        else if (!regime.affd) return this.#refuse(job, 'F_ACCESS');
      }
      const granted = leafPermissions(regime, lo, hi, limits);
      let clean = isWritableClean(regime, lo, hi);
      // Stage 2 never dirties the leaf that maps a CD; a CD is only ever read.
      if (clean && writes(need) && permits(granted, need)) {
        used = dirtied(regime, used);
        clean = false;
      }
      if (used !== lo) {
        const done = this.#update(job, at, paddr, { lo, hi, used });
        if (done === undefined) return undefined;
        if (!done) continue;
      }
      // A block larger than the output range is kept as far as that reaches.
      const covered = Math.min(size, outputEnd);
      const start = alignKey(key, covered);
      const global = regime.rule === 'el1' && (lo & PTE_LO_NG) === 0;
      return {
        parent,
        under,
        paddr,
        lo: used,
        hi,
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
        inner: undefined,
        outer: undefined,
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
    at: number,
    paddr: number,
    word: { lo: number; hi: number; used: number },
  ): boolean | undefined {
    const { through } = job;
    if (through !== undefined) {
      // The update of a stage-1 descriptor is a write of its own at stage 2, and may dirty the leaf there.
      const page = at - (at & (PAGE - 1));
      if (this.#structures.structure(through, page, STRUCTURE_WRITE, 'TT') === undefined)
        return undefined;
    }
    return this.#memory.cas64(paddr, word.lo, word.hi, word.used, word.hi);
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

function isLeaf(lo: number, level: number, regime: Regime): boolean {
  if ((lo & PTE_VALID) === 0) return false;
  if (level === 3) return (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE;
  return level >= regime.leafLevel;
}

function outputOf(lo: number, hi: number, size: number, wide: WideFormat): number {
  if (wide === 'none') return alignKey((hi & PTE_HI_ADDRESS_MASK) * TWO32 + lo, size);
  const top =
    wide === 'ds'
      ? (hi & 0x3_ffff) | ((lo & 0x300) << 10)
      : (hi & PTE_HI_ADDRESS_MASK) | ((lo & 0xf000) << 4);
  return alignKey(top * TWO32 + lo, size);
}
