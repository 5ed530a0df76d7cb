/*
 * The parts that a transaction passes, put together in the order of IHI 0070 3.4: stream table, CD table, stage 1, stage 2.
 * Not modelled: nothing is decided here; each part says what it leaves out.
 */
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import type { CacheUses } from './cache-uses.ts';
import type { ConfigCache } from './config-cache.ts';
import { ContextTable } from './context-table.ts';
import { FaultState } from './fault.ts';
import type { Features } from './features.ts';
import { Stage2 } from './stage2.ts';
import type { StaleLog } from './stale-use.ts';
import { StreamTable } from './stream-table.ts';
import type { Tlb } from './tlb.ts';
import { TlbFront } from './tlb-front.lanes.ts';
import { type CacheCounts, Translator } from './translator.ts';

/** What the path is built from. */
export interface PathParts {
  readonly words: Uint32Array;
  readonly memory: MemoryView;
  readonly features: Features;
  readonly policy: CachePolicy;
  readonly tlb: Tlb;
  readonly config: ConfigCache;
  /** Hears of every use of a cached entry. */
  readonly uses: CacheUses | undefined;
  readonly counts: CacheCounts;
  readonly staleLog: StaleLog;
  /** `every-step`: somebody watches, so that no short cut is taken. */
  readonly shortCut: 'allowed' | 'every-step';
}

/** The parts, from the outermost in. */
export interface TranslationPath {
  readonly streams: StreamTable;
  readonly contexts: ContextTable;
  readonly stage2: Stage2;
  readonly translator: Translator;
}

/** Builds the path. */
export function translationPath(parts: PathParts): TranslationPath {
  const { words, memory, features, policy, tlb, config: cache, counts, staleLog } = parts;
  const detector = parts.uses;
  const fault = new FaultState();
  const streams = new StreamTable({ memory, words, features, cache, policy, tlb, detector });
  const stage2 = new Stage2({ memory, fault, features, policy, detector, counts });
  const contexts = new ContextTable({
    memory,
    features,
    policy,
    tlb,
    structures: stage2,
    detector,
  });
  // The front holds what the caches hold: where those keep nothing, it may not either.
  const keeps = policy.tlb === 'keep' && policy.config !== 'none';
  const watched = policy.detectStale ? memory : undefined;
  const front =
    parts.shortCut === 'allowed' && keeps
      ? new TlbFront({ words, cache, streams, tlb, log: staleLog, watched })
      : undefined;
  const translator = new Translator({
    words,
    features,
    policy,
    cache,
    streams,
    contexts,
    stage2,
    fault,
    detector,
    counts,
    front,
  });
  return { streams, contexts, stage2, translator };
}
