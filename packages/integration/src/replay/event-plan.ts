import type { FtraceTrace, TraceEvent } from '@iommukit/captures';
import { LazyUnmaps } from './lazy-unmaps.ts';
import { type Allocation, type Operation, type Step, stamped, type Unjoined } from './operation.ts';
import { ProbeBatches } from './probe-batches.ts';

const PAGE = 4096;
/** The SMMU itself is a device of the trace: its allocations are environment, not mappings. */
export const SMMU_SUFFIX = '.smmuv3';

interface Context {
  /** Between the entry of `alloc_iova_fast` and its return. */
  open: Allocation | null;
  /** The allocation is done: at the probe of `alloc_iova`, where the cache had missed. */
  placed: boolean;
  /** Allocated, and its dma event not seen yet. */
  awaiting: Allocation | null;
  /** Unmapped, and its free not seen yet. */
  unmapped: (Operation & { op: 'unmap' }) | null;
  /** The device whose attach was the last event. */
  attached: string;
}

/** Operations of a trace with the kernel probes, each at the position of its own event. */
export interface EventPlan {
  readonly operations: Operation[];
  readonly unjoined: Unjoined[];
}

/**
 * Joins the events of each context into operations (first pass of the replay, `--feed events`). In strict mode an unmap ends with the free of its
 * range; in lazy mode that comes later and elsewhere, and the dma event around the unmap names its device.
 */
export function planEvents(trace: FtraceTrace, policy: 'strict' | 'lazy' = 'strict'): EventPlan {
  const planner = new EventPlanner(policy);
  for (const event of trace.events) planner.take(event);
  planner.finish();
  return { operations: planner.operations, unjoined: planner.unjoined };
}

class EventPlanner {
  readonly operations: Operation[] = [];
  readonly unjoined: Unjoined[] = [];
  readonly #contexts = new Map<number, Context>();
  readonly #probes = new ProbeBatches();
  /** Live allocations by domain pointer, then first page frame of the kernel. */
  readonly #live = new Map<string, Map<number, Allocation>>();
  /** Null in strict mode. */
  readonly #lazy: LazyUnmaps | null;

  constructor(policy: 'strict' | 'lazy') {
    this.#lazy =
      policy === 'lazy' ? new LazyUnmaps((line, expected) => this.#lost(line, expected)) : null;
  }

  take(event: TraceEvent): void {
    switch (event.event) {
      case 'add_device_to_group': {
        this.#lazy?.joined(event.device, event.groupId);
        const operation = this.#probes.join(event);
        if (operation !== null) this.operations.push(operation);
        return;
      }
      case 'attach_device_to_domain':
        this.#probes.attached(event.context);
        this.#context(event).attached = event.device;
        return;
      case 'init': {
        const { attached: device } = this.#context(event);
        this.#lazy?.initialised(device, event.iovad);
        this.#push(event, { op: 'init', iovad: event.iovad, device });
        return;
      }
      case 'reserve': {
        const { iovad, pfnLo, pfnHi } = event;
        this.#push(event, { op: 'reserve', iovad, pfnLo, pfnHi });
        return;
      }
      case 'alloc_fast':
        this.#asked(event);
        return;
      case 'alloc': {
        const context = this.#context(event);
        if (context.open === null || context.placed) return;
        context.placed = true;
        this.#push(event, { op: 'alloc', alloc: context.open });
        return;
      }
      case 'alloc_fast_ret':
        this.#allocated(event);
        return;
      case 'map':
        this.#mapped(event);
        return;
      case 'unmap':
        this.#unmap(event);
        return;
      case 'cmdlist':
        this.#flushed(event);
        return;
      case 'free_fast':
        this.#freed(event);
        return;
      case 'tracing_mark_write':
        this.#push(event, { op: 'mark', text: event.text });
        return;
      default:
        this.#dmaEvent(event);
    }
  }

  /** Names what the end of the trace cut off. */
  finish(): void {
    for (const { unmapped } of this.#contexts.values())
      if (unmapped !== null)
        this.#lost(unmapped.line, 'a free_fast after this unmap in the same context');
    this.#lazy?.finish();
  }

  #unmap(event: TraceEvent & { event: 'unmap' }): void {
    const { iova, size, line } = event;
    const step = { op: 'unmap' as const, alloc: null, size, line, fillsRing: false };
    const operation = stamped(event, step);
    this.operations.push(operation);
    if (this.#lazy === null) {
      this.#context(event).unmapped = operation;
      return;
    }
    const candidates: Allocation[] = [];
    for (const domain of this.#live.values()) {
      const alloc = domain.get(iova / PAGE);
      if (alloc !== undefined) candidates.push(alloc);
    }
    this.#lazy.unmapped(event.context, operation, candidates);
  }

  #flushed(event: TraceEvent): void {
    const flush = this.#lazy?.issued(event.context) ?? null;
    if (flush !== null) this.#push(event, flush);
  }

  #asked(event: TraceEvent & { event: 'alloc_fast' }): void {
    const context = this.#context(event);
    const { iovad, size: pages, limitPfn, flush } = event;
    // No dma event came for a doorbell.
    context.awaiting = null;
    context.open = {
      ...{ iovad, pages, limitPfn, flush },
      ...{ kernelPfn: -1, dir: null, device: '', ourPfn: 0 },
    };
    context.placed = false;
  }

  #allocated(event: TraceEvent & { event: 'alloc_fast_ret' }): void {
    const context = this.#context(event);
    const alloc = context.open;
    if (alloc === null) {
      this.#lost(event.line, 'an alloc_fast before in the same context');
      return;
    }
    if (!context.placed) this.#push(event, { op: 'alloc', alloc });
    this.#push(event, { op: 'alloc-ret', alloc, pfn: event.pfn });
    context.open = null;
    if (event.pfn === 0) return;
    alloc.kernelPfn = event.pfn;
    context.awaiting = alloc;
    let domain = this.#live.get(alloc.iovad);
    if (domain === undefined) {
      domain = new Map();
      this.#live.set(alloc.iovad, domain);
    }
    domain.set(event.pfn, alloc);
  }

  #mapped(event: TraceEvent & { event: 'map' }): void {
    const alloc = this.#context(event).awaiting;
    const offset = alloc === null ? -1 : event.iova - alloc.kernelPfn * PAGE;
    if (alloc === null || offset < 0 || offset + event.size > alloc.pages * PAGE) {
      this.#lost(event.line, 'an alloc_fast_ret of this range before in the same context');
      return;
    }
    const { paddr, size } = event;
    this.#push(event, { op: 'map', alloc, offset, paddr, size });
  }

  /** The dma event that follows the maps of an allocation. */
  #dmaEvent(event: TraceEvent): void {
    switch (event.event) {
      case 'dma_map_page':
      case 'dma_map_phys':
      case 'dma_map_resource':
      case 'dma_map_sg':
        this.#named(event, event.dir);
        return;
      case 'dma_alloc':
        // The direction of dma_alloc is not set by every kernel; coherent memory is always bidirectional.
        if (!event.device.endsWith(SMMU_SUFFIX)) this.#named(event, 'BIDIRECTIONAL');
        return;
      default:
        this.#lazy?.take(event);
    }
  }

  #named(event: TraceEvent & { device: string }, dir: Allocation['dir']): void {
    const context = this.#context(event);
    const alloc = context.awaiting;
    // A device without an IOMMU domain has dma events and no allocation.
    if (alloc === null) return;
    alloc.dir = dir;
    alloc.device = event.device;
    context.awaiting = null;
  }

  #freed(event: TraceEvent & { event: 'free_fast' }): void {
    this.#flushed(event);
    const domain = this.#live.get(event.iovad);
    const alloc = domain?.get(event.pfn);
    if (domain === undefined || alloc === undefined) {
      this.#lost(event.line, `a live range at page frame 0x${event.pfn.toString(16)}`);
      return;
    }
    domain.delete(event.pfn);
    const context = this.#context(event);
    if (context.unmapped !== null) {
      context.unmapped.alloc = alloc;
      context.unmapped = null;
    }
    this.#push(event, { op: 'free', alloc, pages: event.size });
  }

  #context(event: TraceEvent): Context {
    let context = this.#contexts.get(event.context);
    if (context === undefined) {
      context = { open: null, placed: false, awaiting: null, unmapped: null, attached: '' };
      this.#contexts.set(event.context, context);
    }
    return context;
  }

  #push(event: TraceEvent, step: Step): void {
    this.operations.push(stamped(event, step));
  }

  #lost(line: number, expected: string): void {
    this.unjoined.push({ line, expected });
  }
}
