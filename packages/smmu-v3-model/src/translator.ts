/*
 * The path of an untranslated transaction, in the order of the specification (IHI 0070 3.4, 7.2, 7.3), which the numbered steps below
 * follow.
 * Not modelled: speculative reads; MPAM; VMS. What ATS asks for comes through here as transactions of `ats.ts`.
 */
import { GBPA, REGISTER_OFFSET as R, S1DSS } from '@iommukit/arm-arch';
import { accessMode, effectiveAttributes, isPrivileged } from './access-mode.lanes.ts';
import type { CachePolicy } from './cache-policy.ts';
import type { CacheUses } from './cache-uses.ts';
import { combinedEntry } from './combined-entry.ts';
import type { ConfigCache } from './config-cache.ts';
import type { CachedContext } from './context-descriptor.ts';
import type { ContextTable } from './context-table.ts';
import { isEnabled } from './control-register.ts';
import type { FaultState } from './fault.ts';
import { type Features, inputSize } from './features.ts';
import { lacksWrite, neededBits, permits, writes } from './permission.lanes.ts';
import type { Regime } from './regime.ts';
import type { Stage2, Stage2Counts } from './stage2.ts';
import type { CachedStream } from './stream-entry.ts';
import type { StreamTable } from './stream-table.ts';
import type { TlbEntry } from './tlb-entry.ts';
import type { FrontAccess, FrontGroup, TlbFront } from './tlb-front.lanes.ts';
import { isUpper, lookupKey } from './translation-key.lanes.ts';
import { inHalf } from './walk.lanes.ts';

const NO_SUBSTREAM = -1;
const REFUSED = -1;
/** S1DSS=01: the transaction passes stage 1 by. */
const BYPASS_STAGE1 = -2;

/** Hits and misses of the caches. */
export interface CacheCounts extends Stage2Counts {
  tlbHits: number;
  tlbMisses: number;
  configHits: number;
  configMisses: number;
}

/** What the last transaction met, beside its result; reused, so that the hot path allocates nothing. */
export class Translator {
  readonly fault: FaultState;
  /** The last transaction passed untranslated. */
  bypassed = false;
  tlbHit = false;
  /** Attributes of the transaction, see `access-mode.lanes.ts`: those that it comes with, then those after STE.PRIVCFG and INSTCFG. */
  attributes = 0;
  /** The STE and CD in force; `undefined` where the transaction did not get so far. */
  stream: CachedStream | undefined = undefined;
  context: CachedContext | undefined = undefined;
  half: Regime | undefined = undefined;
  /** What the cache last gave, while nothing is removed from it: a device repeats itself. */
  #lastStream: CachedStream | undefined = undefined;
  #lastContext: CachedContext | undefined = undefined;
  #lastGeneration = -1;
  readonly #words: Uint32Array;
  readonly #features: Features;
  readonly #policy: CachePolicy;
  readonly #cache: ConfigCache;
  readonly #streams: StreamTable;
  readonly #contexts: ContextTable;
  readonly #stage2: Stage2;
  readonly #detector: CacheUses | undefined;
  readonly #counts: CacheCounts;
  readonly #front: TlbFront | undefined;
  /** The entry that translated the last transaction alone, or the leaves that did so together. */
  #entry: TlbEntry | undefined = undefined;
  #inner: TlbEntry | undefined = undefined;
  #outer: TlbEntry | undefined = undefined;
  /** The group of the last transaction, if the front translated it. */
  #group: FrontGroup | undefined = undefined;

  constructor(parts: {
    words: Uint32Array;
    features: Features;
    policy: CachePolicy;
    cache: ConfigCache;
    streams: StreamTable;
    contexts: ContextTable;
    stage2: Stage2;
    fault: FaultState;
    detector: CacheUses | undefined;
    counts: CacheCounts;
    /** Absent where every step is wanted. */
    front?: TlbFront | undefined;
  }) {
    this.fault = parts.fault;
    this.#words = parts.words;
    this.#features = parts.features;
    this.#policy = parts.policy;
    this.#cache = parts.cache;
    this.#streams = parts.streams;
    this.#contexts = parts.contexts;
    this.#stage2 = parts.stage2;
    this.#detector = parts.detector;
    this.#counts = parts.counts;
    this.#front = parts.front;
  }

  /** The leaf of stage 1 that translated the last transaction. */
  get inner(): TlbEntry | undefined {
    // Not on each hit: to read the entry costs a line of the CPU's cache.
    return this.#entry === undefined ? this.#inner : (this.#entry.inner ?? this.#entry);
  }

  /** The leaf of stage 2. */
  get outer(): TlbEntry | undefined {
    return this.#entry === undefined ? this.#outer : this.#entry.outer;
  }

  /**
   * Takes a page-aligned address to a page-aligned physical one, or -1 after filling `fault`. `rw` is 0 to read, 1 to write, 2 for
   * both; `ssid` is -1 for SSV=0.
   */
  resolve(streamId: number, ssid: number, page: number, rw: number): number {
    const front = this.#front;
    if (front === undefined) return this.#resolve(streamId, ssid, page, rw);
    const mode = accessMode(rw, this.attributes);
    const slot = front.find(streamId, ssid, page, mode);
    if (slot < 0) return this.#unknown(front, { streamId, ssid, page, mode }, rw);
    const group = front.groupAt(slot);
    if (this.#group !== group) {
      // A device repeats itself: what the group gives is in place already.
      this.#group = group;
      this.bypassed = false;
      this.tlbHit = true;
      this.stream = group.stream;
      this.context = group.context;
      this.half = group.half;
    }
    this.#entry = front.entryAt(slot);
    this.#override(group.stream, rw);
    const counts = this.#counts;
    counts.configHits += 2;
    counts.tlbHits++;
    return front.outputAt(slot);
  }

  /** The full path, where the front knows no answer. */
  #unknown(front: TlbFront, access: FrontAccess, rw: number): number {
    const { reports } = front;
    const paddr = this.#resolve(access.streamId, access.ssid, access.page, rw);
    if (this.#entry !== undefined && paddr >= 0 && front.reports === reports)
      this.#admit(front, access, paddr);
    return paddr;
  }

  /** Leaves a hit to the front, when its STE and CD came from the cache. */
  #admit(front: TlbFront, access: FrontAccess, paddr: number): void {
    const { stream, context, half } = this;
    const entry = this.#entry;
    if (stream === undefined || context === undefined || half === undefined) return;
    if (entry === undefined || this.#lastStream !== stream || this.#lastContext !== context) return;
    front.admit(access, { stream, context, half, entry }, paddr);
  }

  #resolve(streamId: number, ssid: number, page: number, rw: number): number {
    this.#entry = undefined;
    this.#group = undefined;
    this.bypassed = false;
    this.tlbHit = false;
    this.stream = undefined;
    this.context = undefined;
    this.#inner = undefined;
    this.#outer = undefined;
    // Step 2: SMMUEN=0 (3.4, 6.3.9.6).
    if (!isEnabled(this.#words)) return this.#disabled(page);
    // Step 3: the STE.
    const stream = this.#stream(streamId);
    if (stream === undefined) return REFUSED;
    this.stream = stream;
    const { kind } = stream;
    if (kind !== 'stage1' && kind !== 'nested') return this.#withoutStage1(stream, ssid, page, rw);
    // Step 4: the SubstreamID.
    const index =
      ssid === NO_SUBSTREAM && stream.cdMax === 0 ? 0 : this.#contextIndex(stream, ssid);
    if (index === REFUSED) return REFUSED;
    // Step 5: overrides.
    this.#override(stream, rw);
    if (index === BYPASS_STAGE1) return this.#bypassStage1(stream, page, rw);
    // Step 7: the CD.
    const cd = this.#context(stream, index);
    if (cd === undefined) return REFUSED;
    return this.#stage1(stream, cd, page, rw);
  }

  /** The STE of a stream, as a transaction would find it; `undefined` after raising the fault. */
  lookupStream(streamId: number): CachedStream | undefined {
    return this.#stream(streamId);
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
    const cache = this.#cache;
    const same =
      this.#lastStream?.streamId === streamId && this.#lastGeneration === cache.generation;
    const cached = same ? this.#lastStream : cache.streams.get(streamId);
    if (cached === undefined) {
      this.#counts.configMisses++;
      return this.#streams.fetch(streamId, this.fault);
    }
    if (!same) {
      this.#lastStream = cached;
      this.#lastContext = undefined;
      this.#lastGeneration = cache.generation;
    }
    this.#counts.configHits++;
    this.#detector?.checkStream(cached, this.#streams.generation);
    return cached;
  }

  /** Steps 3 to 6 of streams that do not use stage 1. */
  #withoutStage1(stream: CachedStream, ssid: number, page: number, rw: number): number {
    const { kind } = stream;
    if (kind === 'illegal') {
      this.fault.raise('C_BAD_STE', 0);
      return REFUSED;
    }
    if (kind === 'abort') return this.#refuse('ste-abort');
    if (ssid !== NO_SUBSTREAM) return this.#badSubstream(ssid);
    this.#override(stream, rw);
    return this.#bypassStage1(stream, page, rw);
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
    this.attributes = effectiveAttributes(this.attributes, stream, rw);
  }

  /** Step 6: stage 1 is passed by, and an address that it could not output is refused whatever A, R and S say (3.4, 3.12). */
  #bypassStage1(stream: CachedStream, page: number, rw: number): number {
    const { kind } = stream;
    const bits = kind === 'bypass' ? this.#features.oas : inputSize(this.#features);
    if (page >= 2 ** bits) {
      this.fault.raise('F_ADDR_SIZE', 0);
      return REFUSED;
    }
    if (kind === 'stage2' || kind === 'nested') return this.#stage2Only(stream, page, rw);
    this.bypassed = true;
    return page;
  }

  /** Step 9 alone. */
  #stage2Only(stream: CachedStream, page: number, rw: number): number {
    const need = neededBits(rw, this.attributes);
    const { ipaMisses } = this.#counts;
    const entry = this.#stage2.resolve(stream, page, need, 'IN');
    if (entry === undefined) return REFUSED;
    this.tlbHit = this.#counts.ipaMisses === ipaMisses;
    this.#outer = entry;
    return entry.output + (page - entry.key);
  }

  #context(stream: CachedStream, index: number): CachedContext | undefined {
    const same = this.#lastStream === stream && this.#lastContext?.ssid === index;
    let cd = same ? this.#lastContext : stream.contexts.cds.get(index);
    if (cd === undefined) {
      this.#counts.configMisses++;
      cd = this.#contexts.fetch(stream, index, this.fault);
      if (cd === undefined) return undefined;
    } else {
      if (!same && this.#lastStream === stream) this.#lastContext = cd;
      this.#counts.configHits++;
      this.#detector?.checkContext(stream, cd);
    }
    if (cd.legal) return cd;
    this.fault.raise('C_BAD_CD', 0);
    return undefined;
  }

  /** Step 8, and 9 for a nested stream. */
  #stage1(stream: CachedStream, cd: CachedContext, page: number, rw: number): number {
    const half = isUpper(page) ? cd.upper : cd.lower;
    this.context = cd;
    this.half = half;
    if (!inHalf(page, half) || (half.e0pd && !isPrivileged(this.attributes))) {
      this.fault.raiseStage1('F_TRANSLATION');
      return REFUSED;
    }
    const key = lookupKey(page);
    const need = neededBits(rw, this.attributes);
    const { space } = cd;
    const { global } = space;
    const entry = space.lookup(key) ?? (global.isEmpty ? undefined : global.lookup(key));
    if (entry === undefined) {
      this.#counts.tlbMisses++;
      return this.#miss(stream, cd, page, need);
    }
    this.#counts.tlbHits++;
    this.#detector?.checkLeaf(entry, stream, cd, half);
    if (!permits(entry.permissions, need)) return this.#unpermitted(entry, stream, page, need);
    this.tlbHit = true;
    this.#entry = entry;
    return entry.output + (key - entry.key);
  }

  /** A cached entry does not permit the access: a fault of the stage that refuses, or one more walk where hardware may dirty it. */
  #unpermitted(entry: TlbEntry, stream: CachedStream, page: number, need: number): number {
    const { context, fault } = this;
    const inner = entry.inner ?? entry;
    const dirty =
      writes(need) &&
      (inner.clean || (entry.outer?.clean === true && permits(inner.permissions, need)));
    if (dirty) this.#front?.forget();
    if (dirty && context !== undefined) return this.#miss(stream, context, page, need);
    this.tlbHit = true;
    if (!permits(inner.permissions, need)) return this.#unpermittedStage1(inner, need);
    fault.raiseStage2('F_PERMISSION', 'IN', inner.output + (lookupKey(page) - inner.key));
    fault.lacksWrite = lacksWrite(entry.outer?.dirtied ?? 0, need);
    return REFUSED;
  }

  #unpermittedStage1(entry: TlbEntry, need: number): number {
    this.fault.raiseStage1('F_PERMISSION');
    this.fault.lacksWrite = lacksWrite(entry.dirtied, need);
    return REFUSED;
  }

  #miss(stream: CachedStream, cd: CachedContext, page: number, need: number): number {
    const { nested, tlb } = this.#policy;
    const isNested = stream.stage2 !== undefined;
    const key = lookupKey(page);
    let entry = isNested ? this.#lookupPart(stream, cd, key) : undefined;
    if (entry?.clean === true && writes(need) && !permits(entry.permissions, need))
      entry = undefined;
    if (entry === undefined) {
      entry = this.#walk(stream, cd, page, need);
      if (entry === undefined) return REFUSED;
      if (tlb === 'keep' && !this.#stage2.walker.isTransient(entry)) {
        if (!isNested) entry.space.insert(entry);
        else if (nested !== 'combined') entry.space.insertPart(entry);
      }
    }
    if (!permits(entry.permissions, need)) return this.#unpermittedStage1(entry, need);
    this.#inner = entry;
    const output = entry.output + (key - entry.key);
    if (!isNested) return output;
    // Step 9: stage 2 on the IPA.
    const outer = this.#stage2.resolve(stream, output, need, 'IN');
    if (outer === undefined) return REFUSED;
    this.#outer = outer;
    const { walker } = this.#stage2;
    if (
      tlb === 'keep' &&
      nested !== 'separate' &&
      !walker.isTransient(entry) &&
      !walker.isTransient(outer)
    )
      entry.space.insert(combinedEntry(entry, outer, key));
    return outer.output + (output - outer.key);
  }

  #lookupPart(stream: CachedStream, cd: CachedContext, key: number): TlbEntry | undefined {
    const { space } = cd;
    const { global } = space;
    const part = space.lookupPart(key) ?? (global.isEmpty ? undefined : global.lookupPart(key));
    if (part === undefined || this.half === undefined) return undefined;
    this.#counts.tlbHits++;
    this.#detector?.checkLeaf(part, stream, cd, this.half);
    return part;
  }

  #walk(stream: CachedStream, cd: CachedContext, page: number, need: number): TlbEntry | undefined {
    const { half } = this;
    // EPDx stops walks, not hits (5.4).
    if (half === undefined || half.disabled) {
      this.fault.raiseStage1('F_TRANSLATION');
      return undefined;
    }
    const cached = this.#policy.walk === 'keep' ? cd.space.lookupWalk(lookupKey(page)) : undefined;
    const above = cached?.granuleLg2 === half.granule.shift ? cached : undefined;
    if (above !== undefined) {
      this.#counts.walkHits++;
      this.#detector?.checkWalk(above, stream, cd, half);
    }
    return this.#stage2.walker.walk({
      regime: half,
      page,
      need,
      class: 'IN',
      above,
      space: cd.space,
      made: cd.words,
      through: stream.stage2 === undefined ? undefined : stream,
    });
  }
}
