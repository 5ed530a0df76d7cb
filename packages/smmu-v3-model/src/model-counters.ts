/*
 * What a model counts. These are the model's own figures, not the counters of a PMCG (IHI 0070 10).
 * Not modelled: performance monitors.
 */
import type { CacheCounts } from './translator.ts';

/**
 * What a model has done so far.
 * @example smmu.counters.tlbHits
 */
export interface ModelCounters extends CacheCounts {
  commands: number;
  syncs: number;
  accesses: number;
  faults: number;
  eventsWritten: number;
  eventsDropped: number;
  eventsSuppressed: number;
}

/** Everything at zero. */
export function newCounters(): ModelCounters {
  return {
    commands: 0,
    syncs: 0,
    accesses: 0,
    faults: 0,
    eventsWritten: 0,
    eventsDropped: 0,
    eventsSuppressed: 0,
    walks: 0,
    descriptorLoads: 0,
    tlbHits: 0,
    tlbMisses: 0,
    walkHits: 0,
    ipaHits: 0,
    ipaMisses: 0,
    configHits: 0,
    configMisses: 0,
  };
}
