import { log2Ceil } from '@iommukit/bits';
import type { TraceEvent } from '@iommukit/captures';
import type { DmaCall } from './operation.ts';

interface Pending {
  iovad: string;
  /** log2 of the pages asked for, rounded up: ranges of other orders lie in other caches. */
  order: number;
  /** When the kernel's cache or tree answered. */
  answered: number;
  /** When the unmap of this context stood in the trace; -1 without one. */
  unmapped: number;
}

interface Space {
  /** Frees: when we would make them (at the unmap), and when the kernel did. */
  readonly frees: { readonly order: number; readonly ours: number; readonly kernel: number }[];
  /** Calls, and when we would make them (at the first map). */
  readonly calls: { readonly call: DmaCall; readonly order: number; readonly ours: number }[];
}

/** More than can happen between two events of one allocation. */
const RECENT = 256;

/**
 * Finds the calls whose place in the order of their IOVA space differs between kernel and replay. A whole call is made at its first
 * `map` and undone at its `unmap`; the kernel chose the IOVA earlier and freed it later. Where a free falls between, the two orders
 * differ, the caches hold their ranges in another order, and later answers may differ too. Only the kernel probes show this.
 */
export class DriftCauses {
  readonly #contexts = new Map<number, Pending>();
  readonly #spaces = new Map<string, Space>();
  #sequence = 0;

  /** Takes every event of the trace in order, before `begun` is called for it. */
  take(event: TraceEvent): void {
    this.#sequence++;
    switch (event.event) {
      case 'alloc_fast': {
        const pending = this.#pending(event.context);
        pending.iovad = event.iovad;
        pending.order = log2Ceil(event.size);
        pending.answered = -1;
        return;
      }
      case 'alloc':
      case 'alloc_fast_ret': {
        const pending = this.#pending(event.context);
        if (pending.answered < 0) pending.answered = this.#sequence;
        return;
      }
      case 'unmap':
        this.#pending(event.context).unmapped = this.#sequence;
        return;
      case 'free_fast': {
        const pending = this.#pending(event.context);
        if (pending.unmapped < 0) return;
        const order = log2Ceil(event.size);
        const free = { order, ours: pending.unmapped, kernel: this.#sequence };
        pending.unmapped = -1;
        const space = this.#space(event.iovad);
        keep(space.frees, free);
        // We free before these calls, the kernel after them.
        for (const made of space.calls)
          if (made.order === order && made.ours > free.ours) made.call.drifts = true;
        return;
      }
      default:
        return;
    }
  }

  /** A call starts at the current event, its first map. */
  begun(call: DmaCall, context: number): void {
    const pending = this.#contexts.get(context);
    if (pending === undefined || pending.iovad === '') return;
    const space = this.#space(pending.iovad);
    const { order, answered } = pending;
    keep(space.calls, { call, order, ours: this.#sequence });
    // The kernel freed these after it had chosen, we before.
    if (space.frees.some((free) => free.order === order && free.kernel > answered))
      call.drifts = true;
  }

  #pending(context: number): Pending {
    let pending = this.#contexts.get(context);
    if (pending === undefined) {
      pending = { iovad: '', order: 0, answered: -1, unmapped: -1 };
      this.#contexts.set(context, pending);
    }
    return pending;
  }

  #space(iovad: string): Space {
    let space = this.#spaces.get(iovad);
    if (space === undefined) {
      space = { frees: [], calls: [] };
      this.#spaces.set(iovad, space);
    }
    return space;
  }
}

function keep<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > RECENT) list.shift();
}
