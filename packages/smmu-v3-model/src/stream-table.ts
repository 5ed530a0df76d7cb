/*
 * From a StreamID to an STE (IHI 0070 3.3.1, 5.1, 5.2, 6.3.24, 6.3.25).
 * Does not model: stage 2 (refused at use), VMS, MPAM, MECID, the CONT hint; reserved fields of an STE are not checked for zero;
 * attribute overrides other than PRIVCFG and INSTCFG, as no memory types leave the model.
 */
import {
  CR2,
  EATS,
  L1STD,
  L1STD_BYTES,
  REGISTER_OFFSET as R,
  S1FMT,
  STE,
  STE_BYTES,
  STE_CONFIG,
  STRTAB_BASE,
  STRTAB_BASE_CFG,
  STRW,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import { type ConfigCache, StreamContexts } from './config-cache.ts';
import type { FaultState } from './fault.ts';
import type { Features } from './features.ts';
import type { StaleDetector } from './stale-detector.lanes.ts';
import type { MayBeStale, StaleRecord } from './stale-use.ts';

/** A fetched level-1 stream table descriptor. */
export interface L1StreamEntry extends MayBeStale {
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  readonly span: number;
  readonly table: number;
  readonly firstSid: number;
  readonly lastSid: number;
}

/** What an STE makes of its stream. */
export type StreamKind = 'illegal' | 'abort' | 'bypass' | 'stage1' | 'stage2';

/** A fetched STE, decoded. */
export interface CachedStream extends MayBeStale {
  readonly streamId: number;
  readonly paddr: number;
  readonly words: Uint32Array;
  readonly l1std: L1StreamEntry | undefined;
  /** Stream table (base and format) through which it was found. */
  readonly tableGeneration: number;
  readonly kind: StreamKind;
  readonly contextPtr: number;
  /** log2 of the number of CDs; 0 also when substreams do not exist. */
  readonly cdMax: number;
  /** SubstreamID bits below the L1CD index; 0: linear table. */
  readonly cdSplit: number;
  readonly s1dss: number;
  readonly stallDisabled: boolean;
  /** 0 NS-EL1, 1 NS-EL2, 2 NS-EL2-E2H. */
  readonly world: number;
  readonly vmid: number;
  readonly privCfg: number;
  readonly instCfg: number;
  readonly contexts: StreamContexts;
  stale: StaleRecord | undefined;
}

const STE_LANES = 16;

/** Looks STEs up in memory and keeps them. */
export class StreamTable {
  readonly #memory: MemoryView;
  readonly #words: Uint32Array;
  readonly #features: Features;
  readonly #cache: ConfigCache;
  readonly #policy: CachePolicy;
  readonly #detector: StaleDetector | undefined;
  readonly #scratch: Uint32Array = new Uint32Array(2);
  /** Bumped when software moves the table. */
  generation = 0;
  loads = 0;

  constructor(parts: {
    memory: MemoryView;
    words: Uint32Array;
    features: Features;
    cache: ConfigCache;
    policy: CachePolicy;
    detector: StaleDetector | undefined;
  }) {
    this.#memory = parts.memory;
    this.#words = parts.words;
    this.#features = parts.features;
    this.#cache = parts.cache;
    this.#policy = parts.policy;
    this.#detector = parts.detector;
  }

  /** Fetches the STE of a stream, past the STE cache but through the L1STD cache; `undefined` after raising the fault. */
  fetch(streamId: number, fault: FaultState): CachedStream | undefined {
    const words = this.#words;
    const log2Size = STRTAB_BASE_CFG.get.LOG2SIZE(words, R.STRTAB_BASE_CFG / 4);
    if (streamId >= 2 ** Math.min(log2Size, this.#features.sidSize)) return this.#badStream(fault);
    const format = STRTAB_BASE_CFG.get.FMT(words, R.STRTAB_BASE_CFG / 4);
    const base = STRTAB_BASE.get.ADDR(words, R.STRTAB_BASE / 4);
    if (format !== 1 || !this.#features.twoLevelStrtab) {
      const table = base - (base % 2 ** (log2Size + 6));
      return this.#fetchSte(streamId, table + streamId * STE_BYTES, undefined, fault);
    }
    const split = this.#split();
    const table = base - (base % 2 ** Math.max(6, log2Size - split + 3));
    const l1std = this.#l1std(streamId, split, table, fault);
    if (l1std === undefined) return undefined;
    const { span } = l1std;
    const index = streamId % 2 ** split;
    if (span === 0 || span > split + 1 || index >= 2 ** (span - 1)) return this.#badStream(fault);
    return this.#fetchSte(streamId, l1std.table + index * STE_BYTES, l1std, fault);
  }

  #split(): number {
    const split = STRTAB_BASE_CFG.get.SPLIT(this.#words, R.STRTAB_BASE_CFG / 4);
    return split === 8 || split === 10 ? split : 6;
  }

  #l1std(
    streamId: number,
    split: number,
    table: number,
    fault: FaultState,
  ): L1StreamEntry | undefined {
    const size = 2 ** split;
    const index = Math.floor(streamId / size);
    const cached = this.#cache.l1stds.get(index);
    if (cached !== undefined) {
      this.#detector?.checkL1Stream(cached, streamId);
      return cached;
    }
    const paddr = table + index * L1STD_BYTES;
    if (this.#unreachable(paddr)) {
      fault.raise('F_STE_FETCH', paddr);
      return undefined;
    }
    const lanes = this.#scratch;
    const lo = this.#memory.load64(paddr);
    const { hi } = this.#memory;
    lanes[0] = lo;
    lanes[1] = hi;
    this.loads++;
    const raw = L1STD.get.Span(lanes);
    const span = raw > 11 ? 0 : raw;
    const ptr = L1STD.get.L2Ptr(lanes);
    const entry: L1StreamEntry = {
      paddr,
      lo,
      hi,
      span,
      table: ptr - (ptr % 2 ** (span + 5)),
      firstSid: index * size,
      lastSid: index * size + size - 1,
      stale: undefined,
    };
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && span !== 0))
      this.#cache.l1stds.set(index, entry);
    return entry;
  }

  #fetchSte(
    streamId: number,
    paddr: number,
    l1std: L1StreamEntry | undefined,
    fault: FaultState,
  ): CachedStream | undefined {
    if (this.#unreachable(paddr)) {
      fault.raise('F_STE_FETCH', paddr);
      return undefined;
    }
    const words = new Uint32Array(STE_LANES);
    loadStructure(this.#memory, paddr, words);
    this.loads += STE_LANES / 2;
    const stream = this.#decode(streamId, paddr, words, l1std);
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && stream.kind !== 'illegal'))
      this.#cache.streams.set(streamId, stream);
    return stream;
  }

  #decode(
    streamId: number,
    paddr: number,
    words: Uint32Array,
    l1std: L1StreamEntry | undefined,
  ): CachedStream {
    const f = this.#features;
    const { get } = STE;
    const substreams = f.ssidSize > 0;
    const cdMax = substreams ? get.S1CDMax(words) : 0;
    const format = cdMax > 0 ? get.S1Fmt(words) : 0;
    const e2h = CR2.get.E2H(this.#words, R.CR2 / 4) === 1;
    const hyp = f.hyp && get.Config(words) === STE_CONFIG.S1 && get.STRW(words) === STRW.EL2;
    return {
      streamId,
      paddr,
      words,
      l1std,
      tableGeneration: this.generation,
      kind: classifyStream(words, f),
      contextPtr: get.S1ContextPtr(words),
      cdMax,
      cdSplit: format === S1FMT.TWO_LEVEL_4K ? 6 : format === S1FMT.TWO_LEVEL_64K ? 10 : 0,
      s1dss: get.S1DSS(words),
      stallDisabled: get.S1STALLD(words) === 1,
      world: hyp ? (e2h ? 2 : 1) : 0,
      vmid: f.s2p && !hyp ? get.S2VMID(words) : 0,
      privCfg: f.attrPermsOvr ? get.PRIVCFG(words) : 0,
      instCfg: f.attrPermsOvr ? get.INSTCFG(words) : 0,
      contexts: new StreamContexts(),
      stale: undefined,
    };
  }

  #badStream(fault: FaultState): undefined {
    // The transaction is refused always; CR2 only decides whether that is recorded (7.3.3).
    if (CR2.get.RECINVSID(this.#words, R.CR2 / 4) === 1) fault.raise('C_BAD_STREAMID', 0);
    else fault.refuse('bad-stream-id-unrecorded');
    return undefined;
  }

  #unreachable(paddr: number): boolean {
    return paddr >= 2 ** this.#features.oas || !this.#memory.isBacked(paddr);
  }
}

/** Loads a structure of whole doublewords. */
export function loadStructure(memory: MemoryView, paddr: number, words: Uint32Array): void {
  for (let i = 0; i < words.length; i += 2) {
    words[i] = memory.load64(paddr + i * 4);
    words[i + 1] = memory.hi;
  }
}

/** What an STE is, by the rules of 5.2 and 5.5. Stage 2 is told apart so that its use can be refused. */
export function classifyStream(words: Uint32Array, f: Features): StreamKind {
  const { get } = STE;
  if (get.V(words) === 0) return 'illegal';
  const config = get.Config(words);
  if (config < STE_CONFIG.BYPASS) return 'abort';
  const stage1 = config === STE_CONFIG.S1 || config === STE_CONFIG.NESTED;
  const stage2 = config >= STE_CONFIG.S2;
  if ((stage1 && !f.s1p) || (stage2 && !f.s2p)) return 'illegal';
  if (config !== STE_CONFIG.BYPASS && f.ats && illegalAts(words, f)) return 'illegal';
  if (stage1 && illegalStage1(words, f)) return 'illegal';
  if (stage2) return 'stage2';
  return stage1 ? 'stage1' : 'bypass';
}

function illegalAts(words: Uint32Array, f: Features): boolean {
  const eats = STE.get.EATS(words);
  const stage2 = STE.get.Config(words) >= STE_CONFIG.S2;
  const stall2 = stage2 && STE.get.S2S(words) === 1;
  if (eats === EATS.SPLIT) return STE.get.Config(words) !== STE_CONFIG.NESTED || stall2 || f.ns1ats;
  // Without DPT, 11 acts as 00.
  return eats === EATS.FULL && stall2;
}

function illegalStage1(words: Uint32Array, f: Features): boolean {
  const { get } = STE;
  const stage1Only = get.Config(words) === STE_CONFIG.S1;
  const strw = get.STRW(words);
  if (f.hyp && stage1Only && strw % 2 === 1) return true;
  if (get.S1STALLD(words) === 1 && f.stallModel !== 0) return true;
  if (f.ssidSize > 0) {
    const cdMax = get.S1CDMax(words);
    const format = get.S1Fmt(words);
    if (cdMax > f.ssidSize) return true;
    if (cdMax > 0 && (format === S1FMT.TWO_LEVEL_4K || format === S1FMT.TWO_LEVEL_64K) && !f.cd2l)
      return true;
  }
  if (stage1Only && get.S1ContextPtr(words) >= 2 ** f.oas) return true;
  const vmidUsed = f.s2p && !(f.hyp && stage1Only && strw === STRW.EL2);
  return vmidUsed && !f.vmid16 && get.S2VMID(words) > 0xff;
}
