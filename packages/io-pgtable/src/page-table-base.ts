import type { MemoryView } from '@iommukit/platform';
import type { FlushOps } from './flush-ops.ts';
import { IotlbGather } from './iotlb-gather.ts';
import type { PageTableConfig, TableFrames } from './page-table-config.ts';
import {
  countClean,
  countTable,
  type PageTableCounters,
  pageTableCounters,
} from './page-table-counters.ts';

/**
 * What the short-descriptor and the DART tables have in common: memory, frames, invalidation, warnings and counters. They tell the
 * flush ops about cleared leaves also when the caller gave no gather, unlike the long-descriptor family.
 * @internal
 */
export class PageTableBase {
  /** Bytes that the last `mapPages` mapped, also when it failed. */
  mapped = 0;
  /** Warnings raised so far; those that the kernel prints only once are counted every time. */
  warnings = 0;
  readonly counters: PageTableCounters = pageTableCounters();
  /** Input address bits. */
  readonly ias: number;
  /** Output address bits. */
  readonly oas: number;

  /** @internal */ readonly memory: MemoryView;
  /** @internal */ readonly frames: TableFrames;
  /** @internal */ readonly flush: FlushOps;
  /** @internal */ readonly coherent: boolean;
  readonly #warn: ((text: string) => void) | undefined;
  /** Stands in where the kernel passes no gather on, so that flush ops always get one. */
  readonly #noGather = new IotlbGather();

  constructor(config: PageTableConfig) {
    this.ias = config.ias;
    this.oas = config.oas;
    this.memory = config.memory;
    this.frames = config.frames;
    this.flush = config.flush;
    this.coherent = config.coherentWalk;
    this.#warn = config.warn;
  }

  /** Counts a table below the top that `frames` gave. @internal */
  allocated(): void {
    countTable(this.counters);
  }

  /** Takes back a table below the top that nothing points to. @internal */
  release(table: number, bytes: number): void {
    this.counters.tablesFreed++;
    this.frames.free(table, bytes);
  }

  /** @internal */
  clean(pa: number, bytes: number): void {
    countClean(this.counters, pa, bytes);
    this.memory.clean(pa, bytes);
  }

  /** Reports `n` cleared leaves, unless a flush queue will invalidate everything. @internal */
  addPages(gather: IotlbGather | null, iova: number, size: number, n: number): void {
    if (n === 0 || gather?.queued) return;
    this.counters.tlbAddPages += n;
    if (gather === null) this.#noGather.init();
    this.flush.tlbAddPage(gather ?? this.#noGather, iova, size, n);
  }

  /** @internal */
  flushAll(): void {
    this.counters.tlbFlushAlls++;
    this.flush.tlbFlushAll();
  }

  /** @internal */
  raise(text: string): void {
    this.warnings++;
    this.#warn?.(text);
  }
}
