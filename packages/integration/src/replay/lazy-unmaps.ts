import { parseHex64 } from '@iommukit/bits';
import type { TraceEvent } from '@iommukit/captures';
import type { Allocation, FlushStep, UnmapStep } from './operation.ts';

interface Context {
  /** An unmap whose device is not known yet, with the live ranges at its address. */
  nameless: { readonly unmap: UnmapStep; readonly candidates: readonly Allocation[] } | null;
  /** The device of a dma_unmap_sg or dma_free, which come before their unmap. */
  undoing: string;
  /** The timer of a flush queue runs. */
  timer: boolean;
  /** A flush whose command was not issued yet. */
  flush: FlushStep | null;
}

/** Joins the unmaps and flushes of a kernel in lazy mode, where the free of a range comes later and in another context than its unmap. */
export class LazyUnmaps {
  readonly #lost: (line: number, expected: string) => void;
  readonly #contexts = new Map<number, Context>();
  readonly #groupOf = new Map<string, number>();
  readonly #spaceOf = new Map<number, string>();

  /** `lost` hears of lines that join to nothing. */
  constructor(lost: (line: number, expected: string) => void) {
    this.#lost = lost;
  }

  joined(device: string, group: number): void {
    this.#groupOf.set(device, group);
  }

  /** The group of a device got its IOVA domain. */
  initialised(device: string, iovad: string): void {
    const group = this.#groupOf.get(device);
    if (group !== undefined) this.#spaceOf.set(group, iovad);
  }

  /** An unmap; `candidates` are the ranges that begin at its address, of any domain. */
  unmapped(key: number, unmap: UnmapStep, candidates: readonly Allocation[]): void {
    const context = this.#context(key);
    this.#guess(context);
    context.nameless = { unmap, candidates };
    if (context.undoing === '') return;
    this.#name(context, context.undoing);
    context.undoing = '';
  }

  /** Takes the events around unmaps, and the probes of the flush queue. */
  take(event: TraceEvent): void {
    const context = this.#context(event.context);
    switch (event.event) {
      case 'dma_unmap_page':
      case 'dma_unmap_phys':
      case 'dma_unmap_resource':
        this.#name(context, event.device);
        return;
      case 'dma_unmap_sg':
      case 'dma_free':
        context.undoing = event.device;
        return;
      case 'fq_timeout':
        context.timer = true;
        return;
      case 'fq_flush':
        this.#flush(event);
        return;
      default:
        return;
    }
  }

  /**
   * The flush that takes effect at this event of a context: at its command, since interrupts fall between that and the probe, and what they unmap is
   * covered; or at the first free after it, where no device is attached and no command issued.
   */
  issued(key: number): FlushStep | null {
    const context = this.#context(key);
    const { flush } = context;
    context.flush = null;
    return flush;
  }

  finish(): void {
    for (const context of this.#contexts.values()) this.#guess(context);
  }

  #flush(event: TraceEvent & { event: 'fq_flush' }): void {
    const context = this.#context(event.context);
    const unmap = context.timer ? null : (context.nameless?.unmap ?? null);
    const caused = context.timer || unmap !== null;
    context.timer = false;
    const iovad = nearest(event.cookie, this.#spaceOf.values());
    if (iovad === '') this.#lost(event.line, "an init of this queue's IOVA domain before");
    else if (!caused) this.#lost(event.line, 'a fq_timeout or an unmap before in the same context');
    else {
      if (unmap !== null) unmap.fillsRing = true;
      context.flush = { op: 'flush', iovad, by: unmap };
    }
  }

  /** A dma event tells the device of the unmap in its context. */
  #name(context: Context, device: string): void {
    const { nameless } = context;
    if (nameless === null) return;
    context.nameless = null;
    const iovad = this.#spaceOf.get(this.#groupOf.get(device) ?? -1);
    const alloc = nameless.candidates.find((candidate) => candidate.iovad === iovad);
    if (alloc === undefined) this.#lost(nameless.unmap.line, `a live range of ${device} there`);
    else nameless.unmap.alloc = alloc;
  }

  /** No dma event came for an unmap; its address may tell whose it was. */
  #guess(context: Context): void {
    const { nameless } = context;
    if (nameless === null) return;
    context.nameless = null;
    const [alloc, ...others] = nameless.candidates;
    if (alloc === undefined || others.length > 0)
      this.#lost(nameless.unmap.line, 'a dma_unmap event around this unmap in the same context');
    else nameless.unmap.alloc = alloc;
  }

  #context(key: number): Context {
    let context = this.#contexts.get(key);
    if (context === undefined) {
      context = { nameless: null, undoing: '', timer: false, flush: null };
      this.#contexts.set(key, context);
    }
    return context;
  }
}

/** More than any structure that holds an IOVA domain, bytes. */
const NEAR = 4096;

/** The IOVA domain that lies in the structure at `cookie`, or nothing: its offset there differs between kernels. */
function nearest(cookie: string, iovads: Iterable<string>): string {
  let found = '';
  let least = NEAR;
  for (const iovad of iovads) {
    const distance = Math.abs(difference(cookie, iovad));
    if (distance >= least) continue;
    least = distance;
    found = iovad;
  }
  return found;
}

/** Exact where it is small. */
function difference(a: string, b: string): number {
  const x = parseHex64(a);
  const y = parseHex64(b);
  if (x === undefined || y === undefined) return Number.POSITIVE_INFINITY;
  return (x.hi - y.hi) * 2 ** 32 + (x.lo - y.lo);
}
