/*
 * The path of an untranslated transaction (IHI 0070 3.4, 7.3): STE, SubstreamID checks, CD, TLB, walk, permission.
 * Does not model: stage 2, ATS requests and translated transactions, stalls, speculative reads, atomics, memory attributes.
 */
import { CR0, GBPA, REGISTER_OFFSET as R, S1DSS } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import type { ConfigCache } from './config-cache.ts';
import type { CachedContext, ContextTable, Half } from './context-descriptor.ts';
import { FaultState } from './fault.ts';
import type { Features } from './features.ts';
import { UnmodelledError } from './model-error.ts';
import type { StaleDetector } from './stale-detector.lanes.ts';
import type { CachedStream, StreamTable } from './stream-table.ts';
import type { TlbEntry } from './tlb.ts';
import { isUpper, lookupKey } from './translation-key.lanes.ts';
import { inHalf, permits, type WalkCounts, walkStage1 } from './walk.lanes.ts';

const NO_SUBSTREAM = -1;
const REFUSED = -1;
/** S1DSS=01: the transaction passes stage 1 by. */
const BYPASS_STAGE1 = -2;

/** Hits and misses of the caches. */
export interface CacheCounts extends WalkCounts {
  tlbHits: number;
  tlbMisses: number;
  walkHits: number;
  configHits: number;
  configMisses: number;
}

/** What the last transaction met, beside its result; reused, so that the hot path allocates nothing. */
export class Translator {
  readonly fault: FaultState = new FaultState();
  /** The last transaction passed untranslated. */
  bypassed = false;
  tlbHit = false;
  /** Effective attributes after STE.PRIVCFG and STE.INSTCFG. */
  privileged = false;
  instruction = false;
  /** The CD in force when a configurable fault was raised. */
  context: CachedContext | undefined = undefined;
  readonly #memory: MemoryView;
  readonly #words: Uint32Array;
  readonly #features: Features;
  readonly #policy: CachePolicy;
  readonly #cache: ConfigCache;
  readonly #streams: StreamTable;
  readonly #contexts: ContextTable;
  readonly #detector: StaleDetector | undefined;
  readonly #counts: CacheCounts;

  constructor(parts: {
    memory: MemoryView;
    words: Uint32Array;
    features: Features;
    policy: CachePolicy;
    cache: ConfigCache;
    streams: StreamTable;
    contexts: ContextTable;
    detector: StaleDetector | undefined;
    counts: CacheCounts;
  }) {
    this.#memory = parts.memory;
    this.#words = parts.words;
    this.#features = parts.features;
    this.#policy = parts.policy;
    this.#cache = parts.cache;
    this.#streams = parts.streams;
    this.#contexts = parts.contexts;
    this.#detector = parts.detector;
    this.#counts = parts.counts;
  }

  /** Sets the attributes that the next transaction comes with. */
  setAttributes(privileged: boolean, instruction: boolean): void {
    this.privileged = privileged;
    this.instruction = instruction;
  }

  /**
   * Takes a page-aligned address to a page-aligned physical one, or -1 after filling `fault`. `rw` is 0 to read, 1 to write; `ssid`
   * is -1 for SSV=0.
   */
  resolve(streamId: number, ssid: number, page: number, rw: number): number {
    this.bypassed = false;
    this.tlbHit = false;
    this.context = undefined;
    if (CR0.get.SMMUEN(this.#words, R.CR0ACK / 4) === 0) return this.#disabled(page);
    const stream = this.#stream(streamId);
    if (stream === undefined) return REFUSED;
    if (stream.kind !== 'stage1') return this.#withoutStage1(stream, { ssid, page, rw });
    const index =
      ssid === NO_SUBSTREAM && stream.cdMax === 0 ? 0 : this.#contextIndex(stream, ssid);
    if (index === REFUSED) return REFUSED;
    this.#override(stream, rw);
    if (index === BYPASS_STAGE1) return this.#bypassStage1(page);
    const cd = this.#context(stream, index);
    if (cd === undefined) return REFUSED;
    return this.#stage1(stream, cd, page, rw);
  }

  #disabled(page: number): number {
    if (GBPA.get.ABORT(this.#words, R.GBPA / 4) === 1) return this.#refuse('gbpa-abort');
    if (page >= 2 ** this.#features.oas) return this.#refuse('address-above-oas');
    this.bypassed = true;
    return page;
  }

  #refuse(reason: 'gbpa-abort' | 'address-above-oas' | 'ste-abort'): number {
    this.fault.refuse(reason);
    return REFUSED;
  }

  #stream(streamId: number): CachedStream | undefined {
    const cached = this.#cache.streams.get(streamId);
    if (cached === undefined) {
      this.#counts.configMisses++;
      return this.#streams.fetch(streamId, this.fault);
    }
    this.#counts.configHits++;
    this.#detector?.checkStream(cached, this.#streams.generation);
    return cached;
  }

  /** Streams that do not use stage 1. */
  #withoutStage1(stream: CachedStream, access: { ssid: number; page: number; rw: number }): number {
    const { streamId } = stream;
    const { ssid, page, rw } = access;
    if (stream.kind === 'illegal') {
      this.fault.raise('C_BAD_STE', 0);
      return REFUSED;
    }
    if (stream.kind === 'abort') return this.#refuse('ste-abort');
    if (stream.kind === 'stage2')
      throw new UnmodelledError('UNMODELLED_STAGE2', { streamId }, 'the STE enables stage 2');
    if (ssid !== NO_SUBSTREAM) return this.#badSubstream(ssid);
    this.#override(stream, rw);
    if (page >= 2 ** this.#features.oas) {
      this.fault.raise('F_ADDR_SIZE', 0);
      return REFUSED;
    }
    this.bypassed = true;
    return page;
  }

  #badSubstream(ssid: number): number {
    this.fault.raise('C_BAD_SUBSTREAMID', 0);
    this.fault.substreamId = ssid;
    return REFUSED;
  }

  /** The CD that a transaction uses (3.9, 5.2 S1DSS): its index, BYPASS_STAGE1, or -1 after raising the fault. */
  #contextIndex(stream: CachedStream, ssid: number): number {
    if (ssid !== NO_SUBSTREAM) {
      if (stream.cdMax === 0 || ssid >= 2 ** stream.cdMax) return this.#badSubstream(ssid);
      if (ssid === 0 && stream.s1dss === S1DSS.SSID0) return this.#streamDisabled();
      return ssid;
    }
    if (stream.s1dss === S1DSS.BYPASS) return BYPASS_STAGE1;
    return stream.s1dss === S1DSS.SSID0 ? 0 : this.#streamDisabled();
  }

  #streamDisabled(): number {
    this.fault.raise('F_STREAM_DISABLED', 0);
    return REFUSED;
  }

  #override(stream: CachedStream, rw: number): void {
    if (stream.privCfg >= 2) this.privileged = stream.privCfg === 3;
    if (rw === 1) this.instruction = false;
    else if (stream.instCfg >= 2) this.instruction = stream.instCfg === 3;
  }

  #bypassStage1(page: number): number {
    const { oas, lpae32 } = this.#features;
    const ias = lpae32 ? Math.max(40, oas) : oas;
    if (page >= 2 ** ias) {
      this.fault.raise('F_ADDR_SIZE', 0);
      return REFUSED;
    }
    this.bypassed = true;
    return page % 2 ** oas;
  }

  #context(stream: CachedStream, index: number): CachedContext | undefined {
    let cd = stream.contexts.cds.get(index);
    if (cd === undefined) {
      this.#counts.configMisses++;
      cd = this.#contexts.fetch(stream, index, this.fault);
      if (cd === undefined) return undefined;
    } else {
      this.#counts.configHits++;
      this.#detector?.checkContext(stream, cd);
    }
    if (cd.legal) return cd;
    this.fault.raise('C_BAD_CD', 0);
    return undefined;
  }

  #stage1(stream: CachedStream, cd: CachedContext, page: number, rw: number): number {
    const half = isUpper(page) ? cd.upper : cd.lower;
    this.context = cd;
    if (!inHalf(page, half) || (half.e0pd && !this.privileged)) {
      this.fault.raiseConfigurable('F_TRANSLATION');
      return REFUSED;
    }
    const key = lookupKey(page);
    const entry = this.#lookup(stream, cd, half, key) ?? this.#walk(stream, cd, half, page);
    if (entry === undefined) return REFUSED;
    if (!permits(entry.permissions, rw, this.instruction, this.privileged)) {
      this.fault.raiseConfigurable('F_PERMISSION');
      return REFUSED;
    }
    return entry.output + (key - entry.key);
  }

  #lookup(stream: CachedStream, cd: CachedContext, half: Half, key: number): TlbEntry | undefined {
    const { space } = cd;
    const entry =
      space.lookup(key) ?? (space.global.isEmpty ? undefined : space.global.lookup(key));
    if (entry === undefined) {
      this.#counts.tlbMisses++;
      return undefined;
    }
    this.#counts.tlbHits++;
    this.tlbHit = true;
    this.#detector?.checkLeaf(entry, stream.streamId, substreamOf(stream, cd), cd, half);
    return entry;
  }

  #walk(stream: CachedStream, cd: CachedContext, half: Half, page: number): TlbEntry | undefined {
    // EPDx stops walks, not hits (5.4).
    if (half.disabled) {
      this.fault.raiseConfigurable('F_TRANSLATION');
      return undefined;
    }
    const keepTables = this.#policy.walk === 'keep';
    const cached = keepTables ? cd.space.lookupWalk(lookupKey(page)) : undefined;
    const above = cached?.granuleLg2 === half.granule.shift ? cached : undefined;
    if (above !== undefined) {
      this.#counts.walkHits++;
      this.#detector?.checkWalk(above, stream.streamId, substreamOf(stream, cd), cd, half);
    }
    const entry = walkStage1(
      this.#memory,
      cd,
      { half, page, above, keepTables },
      this.fault,
      this.#counts,
    );
    if (entry !== undefined && this.#policy.tlb === 'keep') entry.space.insert(entry);
    return entry;
  }
}

/** The SubstreamID that names a CD to people; -1 where the stream has but one. */
function substreamOf(stream: CachedStream, cd: CachedContext): number {
  return stream.cdMax === 0 ? NO_SUBSTREAM : cd.ssid;
}
