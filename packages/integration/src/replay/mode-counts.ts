/**
 * What one mode did with the calls of a trace, until the flush queues have drained. The names of commands are the architecture's, without prefix.
 * @example const { commands, syncs, exposure }: ModeCounts = report.modes.lazy;
 */
export interface ModeCounts {
  /** Maps and unmaps of the trace that were run, and maps that found no room. */
  readonly requests: number;
  readonly unmaps: number;
  readonly failed: number;
  /** Requests that the two-step calls made, and those that got a handle. */
  readonly linked: number;
  readonly handles: number;
  readonly iova: {
    /** Ranges handed out. */
    readonly allocations: number;
    /** Of those, by a CPU's cache. */
    readonly fromCaches: number;
    /** Ranges that searches of the tree looked at. */
    readonly nodesVisited: number;
  };
  readonly walks: {
    /** Lookups of a physical address in the page table (`iovaToPhys`), and the levels that they visited. */
    readonly walks: number;
    readonly levels: number;
    /** Lookups that a handle made unnecessary. */
    readonly saved: number;
  };
  readonly tables: {
    readonly allocated: number;
    readonly freed: number;
    /** Calls of the page-table format, and the levels that they visited. */
    readonly formatCalls: number;
    readonly levels: number;
  };
  /** Flushes of a whole domain by a queue. */
  readonly flushes: number;
  /** Commands in the queue, those of boot and attach included. */
  readonly commands: number;
  readonly syncs: number;
  readonly commandsByType: Readonly<Record<string, number>>;
  /** What stayed within reach of devices after its unmap: the trace's own clock. */
  readonly exposure: {
    readonly pages: number;
    readonly peakPages: number;
    readonly pageMilliseconds: number;
    readonly longestMilliseconds: number;
  };
  /** The pieces that were mapped: `equal` lead where the trace says. */
  readonly translations: {
    readonly compared: number;
    readonly equal: number;
    /** Pieces that a device still reached when their unmap had returned. */
    readonly reachable: number;
    readonly examples: readonly string[];
  };
  /** Live mappings that were found by cached entries of an older one: must be 0, an IOVA is free only after its invalidation. */
  readonly staleUses: number;
  /** Requests whose IOVA is the one in the trace. */
  readonly iovasAsRecorded: number;
  readonly warnings: number;
}

/**
 * What a mode left when everything was unmapped and released; all but `stillMapped` must be 0.
 * @example const { frames }: ModeLeaks = report.modes.strict.leaks;
 */
export interface ModeLeaks {
  /** Requests that the trace itself never unmapped. */
  readonly stillMapped: number;
  readonly iovaRanges: number;
  readonly mappedBytes: number;
  readonly handles: number;
  /** Page-table frames. */
  readonly frames: number;
  /** Entries of the SMMU's cache that outlived their domain. */
  readonly cachedTranslations: number;
}

/** Pieces compared so far. */
export interface PieceCounts {
  compared: number;
  equal: number;
  reachable: number;
  readonly differing: string[];
}

/** Nothing compared yet. */
export function noPieces(): PieceCounts {
  return { compared: 0, equal: 0, reachable: 0, differing: [] };
}
