import type { Capture, TraceEvent } from '@iommukit/captures';
import {
  IOVA_PROFILES,
  type IovaCounters,
  IovaDomain,
  type IovaSearch,
} from '@iommukit/iova-allocator';
import { SimClock } from '@iommukit/platform';

/**
 * What the probes need of an allocator; `IovaDomain` has it.
 * @example const make: MakeProbed = (init) => new IovaDomain({ ...init, profile });
 */
export interface ProbedAllocator {
  readonly counters: Readonly<
    Pick<IovaCounters, 'treeAllocs' | 'depotPushes' | 'depotPops' | 'nodesVisited'>
  >;
  reserveIova(pfnLo: number, pfnHi: number): unknown;
  allocIovaFast(
    cpu: number,
    size: number,
    limitPfn: number,
    flushRcache: 'flush' | 'no-flush',
  ): number;
  freeIovaFast(cpu: number, pfn: number, size: number): void;
}

/**
 * Makes the allocator of one domain when its `init` probe is met.
 * @example const make: MakeProbed = ({ granule, startPfn, clock, cpus }) => allocator;
 */
export type MakeProbed = (init: {
  readonly granule: number;
  readonly startPfn: number;
  readonly clock: SimClock;
  readonly cpus: number;
}) => ProbedAllocator;

/**
 * What a replay of the allocation probes found.
 * @example const bad = report.compared - report.equal;
 */
export interface ProbeReport {
  readonly capture: string;
  /** Returns of `alloc_iova_fast` in the trace. */
  readonly compared: number;
  /** Of them with the pfn that was predicted. */
  readonly equal: number;
  /** Of them where cache or tree was predicted rightly. */
  readonly equalSource: number;
  /** Allocations that the kernel served from the tree. */
  readonly fromTree: number;
  readonly frees: number;
  readonly depotPushes: number;
  readonly depotPops: number;
  readonly domains: number;
  readonly nodesVisited: number;
  /** Calls without a return: tracing stopped within them. */
  readonly unanswered: number;
  /** The first few differences. */
  readonly examples: readonly string[];
}

interface Call {
  readonly domain: ProbedAllocator | undefined;
  readonly cpu: number;
  readonly size: number;
  readonly limitPfn: number;
  readonly flush: boolean;
  searched: boolean;
  predicted: number;
  fromTree: boolean;
}

const EXAMPLES = 5;

/**
 * Replays the allocator's probes of a capture, open loop: the model is never corrected after a wrong prediction. The caches are asked when the call returns, or when its
 * tree search begins if there is one: an interrupt may free a range between the entry probe and the kernel's lock.
 * Source: the allocator's kprobes (`init_iova_domain`, `reserve_iova`, `alloc_iova_fast` and its return, `alloc_iova`, `free_iova_fast`).
 * @example replayIovaProbes(openCapture(shippedCapture('linux-6.12-strict-up') ?? '')).equal // 8656
 */
export function replayIovaProbes(
  capture: Pick<Capture, 'name' | 'kernel' | 'cpus'> & {
    trace(): { readonly events: readonly TraceEvent[] };
  },
  allocator: IovaSearch | MakeProbed = 'linear',
): ProbeReport {
  const profile = IOVA_PROFILES[capture.kernel];
  const make: MakeProbed =
    typeof allocator === 'function'
      ? allocator
      : (init) => new IovaDomain({ ...init, profile, search: allocator });
  const replay = new ProbeReplay(make, capture.cpus);
  for (const event of capture.trace().events) replay.take(event);
  return replay.report(capture.name);
}

class ProbeReplay {
  readonly #make: MakeProbed;
  readonly #cpus: number;
  readonly #clock = new SimClock();
  /** By the kernel's pointer, which a later domain may have again. */
  readonly #domains = new Map<string, ProbedAllocator>();
  readonly #all: ProbedAllocator[] = [];
  /** Calls that have not returned yet, by context. */
  readonly #calls = new Map<number, Call>();
  readonly #examples: string[] = [];
  readonly #count = { compared: 0, equal: 0, equalSource: 0, fromTree: 0, frees: 0 };

  constructor(make: MakeProbed, cpus: number) {
    this.#make = make;
    this.#cpus = cpus;
  }

  take(event: TraceEvent): void {
    this.#clock.advanceTo(event.tsUs);
    switch (event.event) {
      case 'init': {
        const { granule, startPfn, iovad } = event;
        const domain = this.#make({ granule, startPfn, clock: this.#clock, cpus: this.#cpus });
        this.#domains.set(iovad, domain);
        this.#all.push(domain);
        return;
      }
      case 'reserve':
        this.#domains.get(event.iovad)?.reserveIova(event.pfnLo, event.pfnHi);
        return;
      case 'alloc_fast': {
        const { cpu, size, limitPfn, flush } = event;
        const domain = this.#domains.get(event.iovad);
        const asked = { domain, cpu, size, limitPfn, flush };
        this.#calls.set(event.context, {
          ...asked,
          searched: false,
          predicted: 0,
          fromTree: false,
        });
        return;
      }
      case 'alloc': {
        const call = this.#calls.get(event.context);
        if (call === undefined || call.searched) return;
        call.searched = true;
        predict(call);
        return;
      }
      case 'alloc_fast_ret':
        this.#returned(event);
        return;
      case 'free_fast':
        this.#count.frees++;
        this.#domains.get(event.iovad)?.freeIovaFast(event.cpu, event.pfn, event.size);
        return;
    }
  }

  report(capture: string): ProbeReport {
    const sum = (name: 'depotPushes' | 'depotPops' | 'nodesVisited'): number =>
      this.#all.reduce((total, { counters }) => total + counters[name], 0);
    return {
      capture,
      ...this.#count,
      depotPushes: sum('depotPushes'),
      depotPops: sum('depotPops'),
      domains: this.#all.length,
      nodesVisited: sum('nodesVisited'),
      unanswered: this.#calls.size,
      examples: this.#examples,
    };
  }

  #returned(event: TraceEvent & { event: 'alloc_fast_ret' }): void {
    const call = this.#calls.get(event.context);
    if (call === undefined) return;
    this.#calls.delete(event.context);
    if (!call.searched) predict(call);
    const count = this.#count;
    count.compared++;
    if (call.searched) count.fromTree++;
    if (call.fromTree === call.searched) count.equalSource++;
    if (call.predicted === event.pfn) count.equal++;
    else if (this.#examples.length < EXAMPLES)
      this.#examples.push(
        `line ${event.line}: pfn 0x${event.pfn.toString(16)}, predicted 0x${call.predicted.toString(16)}`,
      );
  }
}

/** Asks our allocator at this moment. */
function predict(call: Call): void {
  const { domain, cpu, size, limitPfn, flush } = call;
  if (domain === undefined) return;
  const before = domain.counters.treeAllocs;
  call.predicted = domain.allocIovaFast(cpu, size, limitPfn, flush ? 'flush' : 'no-flush');
  call.fromTree = domain.counters.treeAllocs !== before;
}
