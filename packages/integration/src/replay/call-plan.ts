import type { DmaDirection, FtraceTrace, TraceEvent } from '@iommukit/captures';
import { DriftCauses } from './drift-causes.ts';
import { type EventPlan, SMMU_SUFFIX } from './event-plan.ts';
import type { DmaCall, Operation, Piece, Unjoined } from './operation.ts';

interface Undo {
  readonly operation: Operation & { op: 'uncall' };
  readonly iova: number;
  readonly line: number;
}

interface Context {
  /** The map run that no dma event has closed yet. */
  open: {
    readonly call: DmaCall;
    readonly pieces: Piece[];
    readonly attached: number;
    end: number;
  } | null;
  /** An unmap whose dma_unmap_page has not come yet. */
  undo: Undo | null;
  /** The device of a dma_unmap_sg or dma_free, which come before their unmap. */
  undoing: string;
  /** The group that this context attached, while nothing else has happened since. */
  attached: number;
  /** Doorbell maps whose group the next dma event of this context tells. */
  readonly doorbells: DmaCall[];
}

/** Joins the dma and iommu events of a trace into whole DMA calls (first pass of the replay, `--feed calls`). */
export function planCalls(trace: FtraceTrace): EventPlan {
  const planner = new CallPlanner();
  for (const event of trace.events) planner.take(event);
  return planner.finish();
}

class CallPlanner {
  readonly #operations: Operation[] = [];
  readonly #unjoined: Unjoined[] = [];
  readonly #contexts = new Map<number, Context>();
  readonly #drift = new DriftCauses();
  readonly #groupOf = new Map<string, number>();
  readonly #firstDevice = new Map<number, string>();
  readonly #withDoorbell = new Set<number>();
  /** Live calls by device group, then by the kernel's first IOVA. */
  readonly #live = new Map<number, Map<number, DmaCall>>();

  take(event: TraceEvent): void {
    this.#drift.take(event);
    switch (event.event) {
      case 'add_device_to_group': {
        const { device, groupId } = event;
        this.#groupOf.set(device, groupId);
        if (!this.#firstDevice.has(groupId)) this.#firstDevice.set(groupId, device);
        this.#push(event, { op: 'attach', device, group: groupId });
        return;
      }
      case 'attach_device_to_domain':
        this.#context(event).attached = this.#groupOf.get(event.device) ?? -1;
        return;
      case 'map':
        this.#map(event);
        return;
      case 'dma_map_page':
      case 'dma_map_phys':
      case 'dma_map_resource': {
        const call = this.#close(event, event.dir);
        if (call === null) return;
        call.kind = 'page';
        call.paddr = event.physAddr;
        call.size = event.size;
        return;
      }
      case 'dma_map_sg': {
        const call = this.#close(event, event.dir);
        if (call !== null) call.kind = 'sg';
        return;
      }
      case 'dma_alloc': {
        if (event.device.endsWith(SMMU_SUFFIX)) return;
        const call = this.#close(event, 'BIDIRECTIONAL');
        if (call !== null) call.kind = 'coherent';
        return;
      }
      case 'unmap':
        this.#unmap(event);
        return;
      case 'dma_unmap_page':
      case 'dma_unmap_phys':
      case 'dma_unmap_resource': {
        const context = this.#context(event);
        if (context.undo === null) return;
        this.#undo(context.undo, event.device);
        context.undo = null;
        return;
      }
      case 'dma_unmap_sg':
      case 'dma_free':
        this.#context(event).undoing = event.device;
        return;
      case 'tracing_mark_write':
        this.#push(event, { op: 'mark', text: event.text });
        return;
      default:
        return;
    }
  }

  finish(): EventPlan {
    for (const context of this.#contexts.values()) {
      this.#settle(context);
      for (const call of context.doorbells) this.#placeDoorbell(call, this.#lowestWithout());
      if (context.undo !== null)
        this.#lost(context.undo.line, 'a dma_unmap event after this unmap');
    }
    // A call whose device nobody named cannot be made: it is counted, not replayed.
    const operations = this.#operations.filter(
      (operation) => !('call' in operation) || operation.call.device !== '',
    );
    return { operations, unjoined: this.#unjoined };
  }

  #map(event: TraceEvent & { event: 'map' }): void {
    const context = this.#context(event);
    const { iova, paddr, size } = event;
    const { open } = context;
    if (open !== null && open.end === iova) {
      open.pieces.push({ paddr, size });
      open.end = iova + size;
      open.call.size += size;
      return;
    }
    this.#settle(context);
    const pieces: Piece[] = [{ paddr, size }];
    const call: DmaCall = {
      kind: 'msi',
      device: '',
      dir: 'BIDIRECTIONAL',
      kernelIova: iova,
      paddr,
      size,
      pieces,
      drifts: false,
      ourIova: -1,
    };
    context.open = { call, pieces, attached: context.attached, end: iova + size };
    context.attached = -1;
    this.#drift.begun(call, event.context);
    this.#push(event, { op: 'call', call });
  }

  /** A dma event names the device and direction of the run before it. */
  #close(event: TraceEvent & { device: string }, dir: DmaDirection): DmaCall | null {
    const context = this.#context(event);
    const group = this.#groupOf.get(event.device);
    if (group === undefined) return null;
    for (const call of context.doorbells.splice(0)) this.#placeDoorbell(call, group);
    context.attached = -1;
    const open = context.open;
    context.open = null;
    if (open === null) return null;
    open.call.device = event.device;
    open.call.dir = dir;
    this.#calls(group).set(open.call.kernelIova, open.call);
    return open.call;
  }

  /** A run that no dma event closed is a doorbell: of the group that this context has just attached, or of the next event's. */
  #settle(context: Context): void {
    const { open } = context;
    context.open = null;
    if (open === null) return;
    if (open.attached >= 0) this.#placeDoorbell(open.call, open.attached);
    else context.doorbells.push(open.call);
  }

  #placeDoorbell(call: DmaCall, group: number): void {
    const device = this.#firstDevice.get(group);
    if (device === undefined) return;
    call.device = device;
    this.#withDoorbell.add(group);
    this.#calls(group).set(call.kernelIova, call);
  }

  #lowestWithout(): number {
    for (const group of [...this.#firstDevice.keys()].sort((a, b) => a - b))
      if (!this.#withDoorbell.has(group)) return group;
    return -1;
  }

  #unmap(event: TraceEvent & { event: 'unmap' }): void {
    const context = this.#context(event);
    const { cpu, context: key, tsUs, iova, line } = event;
    const operation = { op: 'uncall' as const, call: NO_CALL, cpu, context: key, tsUs };
    this.#operations.push(operation);
    const undo: Undo = { operation, iova, line };
    if (context.undoing === '') {
      context.undo = undo;
      return;
    }
    this.#undo(undo, context.undoing);
    context.undoing = '';
  }

  #undo(undo: Undo, device: string): void {
    const calls = this.#calls(this.#groupOf.get(device) ?? -1);
    const call = calls.get(undo.iova);
    if (call === undefined) {
      this.#lost(undo.line, 'an unmap of a live mapping of the device');
      return;
    }
    calls.delete(undo.iova);
    undo.operation.call = call;
  }

  #calls(group: number): Map<number, DmaCall> {
    let calls = this.#live.get(group);
    if (calls === undefined) {
      calls = new Map();
      this.#live.set(group, calls);
    }
    return calls;
  }

  #context(event: TraceEvent): Context {
    let context = this.#contexts.get(event.context);
    if (context === undefined) {
      context = { open: null, undo: null, undoing: '', attached: -1, doorbells: [] };
      this.#contexts.set(event.context, context);
    }
    return context;
  }

  #push(
    event: TraceEvent,
    operation:
      | { op: 'attach'; device: string; group: number }
      | { op: 'call'; call: DmaCall }
      | { op: 'mark'; text: string },
  ): void {
    const { cpu, context, tsUs } = event;
    this.#operations.push({ ...operation, cpu, context, tsUs });
  }

  #lost(line: number, expected: string): void {
    this.#unjoined.push({ line, expected });
  }
}

/** Stands in an unmap until its dma event names the call; an unmap that is never named undoes nothing. */
const NO_CALL: DmaCall = {
  kind: 'page',
  device: '',
  dir: 'NONE',
  kernelIova: -1,
  paddr: 0,
  size: 0,
  pieces: [],
  drifts: false,
  ourIova: -1,
};
