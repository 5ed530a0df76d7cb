/*
 * Translation by stage 2, of a transaction or of the address of a structure (IHI 0070 3.4, 5.2, 7.3.12-7.3.16).
 * Not modelled: Secure IPAs; speculative walks.
 */
import type { CachePolicy } from './cache-policy.ts';
import type { CacheUses } from './cache-uses.ts';
import type { FaultClass, FaultState } from './fault.ts';
import type { Features } from './features.ts';
import { isDeviceLeaf } from './memory-attribute.lanes.ts';
import { lacksWrite, permits, STRUCTURE_WRITE, writes } from './permission.lanes.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbEntry } from './tlb-entry.ts';
import { lookupKey } from './translation-key.lanes.ts';
import { type StructureAccess, type WalkCounts, Walker } from './walk.lanes.ts';

/** Hits and misses of entries whose input is an IPA. */
export interface Stage2Counts extends WalkCounts {
  ipaHits: number;
  ipaMisses: number;
  walkHits: number;
}

/** What stage 2 is made of. */
export interface Stage2Parts {
  readonly memory: ConstructorParameters<typeof Walker>[0]['memory'];
  readonly fault: FaultState;
  readonly features: Features;
  readonly policy: CachePolicy;
  readonly detector: CacheUses | undefined;
  readonly counts: Stage2Counts;
}

/** Stage 2 of every stream. */
export class Stage2 implements StructureAccess {
  readonly walker: Walker;
  readonly #fault: FaultState;
  readonly #policy: CachePolicy;
  readonly #detector: CacheUses | undefined;
  readonly #counts: Stage2Counts;

  constructor(parts: Stage2Parts) {
    const { memory, fault, counts, policy, features } = parts;
    this.#fault = fault;
    this.#policy = policy;
    this.#detector = parts.detector;
    this.#counts = counts;
    this.walker = new Walker({
      memory,
      fault,
      counts,
      keepTables: policy.walk === 'keep',
      traces: parts.detector !== undefined,
      structures: this,
      bbml: features.bbml,
    });
  }

  /** Takes a page-aligned IPA to the leaf that maps it and permits the access; `undefined` after raising the fault. */
  resolve(stream: CachedStream, page: number, need: number, cls: FaultClass): TlbEntry | undefined {
    const { stage2, ipaSpace } = stream;
    const fault = this.#fault;
    if (stage2 === undefined || ipaSpace === undefined || page >= stage2.bytes) {
      fault.raiseStage2('F_TRANSLATION', cls, page);
      return undefined;
    }
    let entry = this.#lookup(stream, page);
    if (entry === undefined || (entry.clean && writes(need) && !permits(entry.permissions, need)))
      entry = this.#walk(stream, page, need, cls);
    if (entry === undefined) return undefined;
    if (permits(entry.permissions, need)) return entry;
    fault.raiseStage2('F_PERMISSION', cls, page);
    // What a structure lacks says nothing about the transaction, whose RnW is recorded (7.3).
    fault.lacksWrite = cls !== 'IN' || lacksWrite(entry.dirtied, need);
    return undefined;
  }

  /** The same for a CD or a stage-1 table, which must not lie in Device memory when S2PTW=1 (5.2). */
  structure(
    stream: CachedStream,
    page: number,
    need: number,
    cls: FaultClass,
  ): TlbEntry | undefined {
    const entry = this.resolve(stream, page, need, cls);
    if (entry !== undefined && !(stream.s2ptw && isDeviceLeaf(entry.lo, stream))) return entry;
    if (entry !== undefined) this.#fault.raiseStage2('F_PERMISSION', cls, page);
    this.#fault.tableRead = need !== STRUCTURE_WRITE;
    return undefined;
  }

  #lookup(stream: CachedStream, page: number): TlbEntry | undefined {
    const entry = stream.ipaSpace?.lookup(lookupKey(page));
    if (entry === undefined) {
      this.#counts.ipaMisses++;
      return undefined;
    }
    this.#counts.ipaHits++;
    this.#detector?.checkIpa(entry, stream);
    return entry;
  }

  #walk(stream: CachedStream, page: number, need: number, cls: FaultClass): TlbEntry | undefined {
    const { stage2, ipaSpace, words } = stream;
    if (stage2 === undefined || ipaSpace === undefined) return undefined;
    const { walk, tlb, nested } = this.#policy;
    const cached = walk === 'keep' ? ipaSpace.lookupWalk(lookupKey(page)) : undefined;
    const above = cached?.granuleLg2 === stage2.granule.shift ? cached : undefined;
    if (above !== undefined) {
      this.#counts.walkHits++;
      this.#detector?.checkIpaWalk(above, stream);
    }
    const entry = this.walker.walk({
      regime: stage2,
      page,
      need,
      class: cls,
      above,
      space: ipaSpace,
      made: words,
      through: undefined,
    });
    // A stream without stage 1 has no combined entries: its IPA entries are its only ones.
    const keeps = tlb === 'keep' && (nested !== 'combined' || stream.kind === 'stage2');
    if (entry !== undefined && keeps && !this.walker.isTransient(entry)) ipaSpace.insert(entry);
    return entry;
  }
}
