/*
 * From a StreamID to an STE (IHI 0070 3.3.1, 5.1, 6.3.24, 6.3.25).
 * Not modelled: VMS, the CONT hint.
 */
import {
  CR2,
  L1STD,
  L1STD_BYTES,
  REGISTER_OFFSET as R,
  STE_BYTES,
  STRTAB_BASE,
  STRTAB_BASE_CFG,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import type { CacheUses } from './cache-uses.ts';
import type { ConfigCache } from './config-cache.ts';
import { usesE2h } from './control-register.ts';
import type { FaultState } from './fault.ts';
import type { Features } from './features.ts';
import { type CachedStream, decodeStream, type L1StreamEntry } from './stream-entry.ts';
import type { Tlb } from './tlb.ts';

const STE_LANES = STE_BYTES / 4;
/** Spans above are reserved, and act as 0 (5.1). */
const LARGEST_SPAN = 11;

/** Looks STEs up in memory and keeps them. */
export class StreamTable {
  readonly #memory: MemoryView;
  readonly #words: Uint32Array;
  readonly #features: Features;
  readonly #cache: ConfigCache;
  readonly #policy: CachePolicy;
  readonly #tlb: Tlb;
  readonly #detector: CacheUses | undefined;
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
    tlb: Tlb;
    detector: CacheUses | undefined;
  }) {
    this.#memory = parts.memory;
    this.#words = parts.words;
    this.#features = parts.features;
    this.#cache = parts.cache;
    this.#policy = parts.policy;
    this.#tlb = parts.tlb;
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
    // A descriptor that was cached under another SPLIT covers other streams.
    if (cached !== undefined && cached.firstSid <= streamId && streamId <= cached.lastSid) {
      this.#detector?.checkL1Stream(cached, streamId, this.generation);
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
    const span = raw > LARGEST_SPAN ? 0 : raw;
    const ptr = L1STD.get.L2Ptr(lanes);
    const entry: L1StreamEntry = {
      paddr,
      lo,
      hi,
      span,
      table: ptr - (ptr % 2 ** (span + 5)),
      firstSid: index * size,
      lastSid: index * size + size - 1,
      tableGeneration: this.generation,
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
    const stream = decodeStream(
      words,
      { streamId, paddr, l1std, tableGeneration: this.generation },
      {
        features: this.#features,
        e2h: usesE2h(this.#words),
        tlb: this.#tlb,
      },
    );
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && stream.kind !== 'illegal'))
      this.#cache.streams.set(streamId, stream);
    return stream;
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
