import type { DmaDirection, FtraceTrace, GroupEvent, TraceEvent } from '@iommukit/captures';
import { DriftCauses } from './drift-causes.ts';
import { inRam } from './environment.ts';
import { type EventPlan, SMMU_SUFFIX } from './event-plan.ts';
import {
  type DmaCall,
  type Operation,
  type Piece,
  type Step,
  stamped,
  type Unjoined,
} from './operation.ts';
import { ProbeBatches } from './probe-batches.ts';
import { UnnamedMaps } from './unnamed-maps.ts';

const PAGE = 4096;
/** No probe tells the group of a map. */
const NO_GROUP = -1;
const NAMELESS_MAP = 'a dma_map event after these maps, or an alloc_fast before';
const NAMELESS_UNMAP = 'a dma_unmap event after this unmap';

interface Undo {
  readonly operation: Operation & { op: 'uncall' };
  readonly iova: number;
  readonly line: number;
  /** Without probes: the map that no dma event named, should none name this unmap either. */
  readonly unnamed: DmaCall | null;
}

/** What a trace does not say, for {@link planCalls}. */
export interface CallPlanOptions {
  /** Tells memory from doorbells. Absent: as in the captures. */
  readonly isRam?: (paddr: number) => boolean;
  /** Device of the two-step ranges in a trace without probes. Absent: nobody knows, and they are not made. */
  readonly twoStepDevice?: string;
}

interface Context {
  /** The map run that no dma event has closed yet. */
  open: {
    readonly call: DmaCall;
    readonly pieces: Piece[];
    readonly attached: number;
    /** The group whose IOVA space it lies in, by a probe; -1 without one. */
    readonly group: number;
    readonly line: number;
    end: number;
  } | null;
  /** The last request for an IOVA that a probe saw; null without probes. */
  asked: { readonly group: number; readonly bytes: number } | null;
  /** An unmap whose dma_unmap_page has not come yet. */
  undo: Undo | null;
  /** The device of a dma_unmap_sg or dma_free, which come before their unmap. */
  undoing: string;
  /** The group that this context attached, while nothing else has happened since. */
  attached: number;
  /** Maps whose group the next dma event of this context tells: doorbells, and without probes all that no dma event closed. */
  readonly waiting: { readonly call: DmaCall; readonly line: number }[];
}

/** Joins the dma and iommu events of a trace into whole DMA calls (first pass of the replay, `--feed calls`). */
export function planCalls(trace: FtraceTrace, options: CallPlanOptions = {}): EventPlan {
  const planner = new CallPlanner(options);
  for (const event of trace.events) planner.take(event);
  return planner.finish();
}

class CallPlanner {
  readonly #operations: Operation[] = [];
  readonly #unjoined: Unjoined[] = [];
  readonly #contexts = new Map<number, Context>();
  readonly #probes = new ProbeBatches();
  readonly #drift = new DriftCauses();
  readonly #groupOf = new Map<string, number>();
  /** Groups by the kernel's pointer of their IOVA domain; empty without probes. */
  readonly #groupOfSpace = new Map<string, number>();
  readonly #firstDevice = new Map<number, string>();
  readonly #withDoorbell = new Set<number>();
  /** Live calls by device group, then by the kernel's first IOVA. */
  readonly #live = new Map<number, Map<number, DmaCall>>();
  readonly #isRam: (paddr: number) => boolean;
  readonly #unnamed: UnnamedMaps;

  constructor({ isRam = inRam, twoStepDevice = '' }: CallPlanOptions) {
    this.#isRam = isRam;
    this.#unnamed = new UnnamedMaps(twoStepDevice);
  }

  take(event: TraceEvent): void {
    this.#drift.take(event);
    switch (event.event) {
      case 'add_device_to_group':
        this.#joined(event);
        return;
      case 'attach_device_to_domain':
        this.#probes.attached(event.context);
        this.#context(event).attached = this.#groupOf.get(event.device) ?? -1;
        return;
      case 'init':
        this.#groupOfSpace.set(event.iovad, this.#context(event).attached);
        return;
      case 'alloc_fast': {
        const context = this.#context(event);
        // What is still open got no dma event.
        this.#settle(context);
        const group = this.#groupOfSpace.get(event.iovad) ?? -1;
        context.asked = { group, bytes: event.size * PAGE };
        return;
      }
      case 'free_fast':
        this.#freed(event);
        return;
      case 'map':
        this.#map(event);
        return;
      case 'unmap':
        this.#unmap(event);
        return;
      case 'tracing_mark_write':
        this.#push(event, { op: 'mark', text: event.text });
        return;
      default:
        this.#dmaEvent(event);
    }
  }

  finish(): EventPlan {
    for (const context of this.#contexts.values()) {
      this.#settle(context);
      for (const { call, line } of context.waiting)
        if (call.kind === 'msi') this.#placeWaiting(call, this.#lowestWithout());
        else if (!this.#unnamed.leave(call)) this.#lost(line, NAMELESS_MAP);
      this.#endUnnamed(context.undo);
    }
    for (const line of this.#unnamed.orphanedEnds) this.#lost(line, NAMELESS_UNMAP);
    // A call whose device nobody named cannot be made: it is counted, not replayed.
    const operations = this.#operations.filter(
      (operation) => !('call' in operation) || operation.call.device !== '',
    );
    return { operations, unjoined: this.#unjoined };
  }

  #joined(event: GroupEvent): void {
    const { device, groupId } = event;
    this.#groupOf.set(device, groupId);
    if (!this.#firstDevice.has(groupId)) this.#firstDevice.set(groupId, device);
    const operation = this.#probes.join(event);
    if (operation !== null) this.#operations.push(operation);
  }

  /** The dma events, which come after the maps and around the unmaps of a call. */
  #dmaEvent(event: TraceEvent): void {
    switch (event.event) {
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
      default:
        return;
    }
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
    const { asked } = context;
    context.asked = null;
    const pieces: Piece[] = [{ paddr, size }];
    const call: DmaCall = {
      kind: 'msi',
      device: '',
      dir: 'BIDIRECTIONAL',
      kernelIova: iova,
      paddr,
      size,
      pieces,
      asked: asked?.bytes ?? -1,
      drifts: false,
      ourIova: -1,
    };
    const { attached } = context;
    const group = asked?.group ?? NO_GROUP;
    context.open = { call, pieces, attached, group, line: event.line, end: iova + size };
    context.attached = -1;
    this.#drift.begun(call, event.context);
    this.#push(event, { op: 'call', call });
  }

  /** A dma event names the device and direction of the run before it. */
  #close(event: TraceEvent & { device: string }, dir: DmaDirection): DmaCall | null {
    const context = this.#context(event);
    const group = this.#groupOf.get(event.device);
    if (group === undefined) return null;
    for (const { call } of context.waiting.splice(0)) this.#placeWaiting(call, group);
    context.attached = -1;
    const open = context.open;
    if (open !== null && open.group >= 0 && open.group !== group) {
      this.#settle(context);
      return null;
    }
    context.open = null;
    if (open === null) return null;
    open.call.device = event.device;
    open.call.dir = dir;
    this.#calls(group).set(open.call.kernelIova, open.call);
    return open.call;
  }

  /**
   * A run that no dma event closed is a doorbell, of the group that this context has just attached, or of the next event's; or, in RAM, pieces of
   * the two-step API, whose group only a probe tells. In a trace without probes it counts as memory of the next event's group.
   */
  #settle(context: Context): void {
    const { open } = context;
    context.open = null;
    if (open === null) return;
    const { call, attached, group, line } = open;
    // A doorbell is one page.
    if (call.pieces.length === 1 && !this.#isRam(call.paddr)) {
      if (attached >= 0) this.#placeWaiting(call, attached);
      else context.waiting.push({ call, line });
    } else if (this.#groupOfSpace.size > 0) this.#placeTwoStep(call, group, line);
    else {
      this.#unnamed.add(call);
      context.waiting.push({ call, line });
    }
  }

  #placeTwoStep(call: DmaCall, group: number, line: number): void {
    const device = this.#firstDevice.get(group);
    if (device === undefined) {
      this.#lost(line, NAMELESS_MAP);
      return;
    }
    call.kind = 'two-step';
    call.device = device;
    this.#calls(group).set(call.kernelIova, call);
  }

  #placeWaiting(call: DmaCall, group: number): void {
    const device = this.#firstDevice.get(group);
    // A two-step range that was ended may have its device already.
    if (device === undefined || call.device !== '') return;
    call.device = device;
    if (call.kind === 'msi') this.#withDoorbell.add(group);
    if (call.kind === 'msi' || this.#unnamed.has(call))
      this.#calls(group).set(call.kernelIova, call);
  }

  #lowestWithout(): number {
    for (const group of [...this.#firstDevice.keys()].sort((a, b) => a - b))
      if (!this.#withDoorbell.has(group)) return group;
    return -1;
  }

  #unmap(event: TraceEvent & { event: 'unmap' }): void {
    const context = this.#context(event);
    const { iova, size, line } = event;
    const probed = this.#groupOfSpace.size > 0;
    const operation = stamped(event, { op: 'uncall' as const, call: NO_CALL });
    this.#operations.push(operation);
    const unnamed = probed || context.undoing !== '' ? null : this.#unnamedAt(iova, size);
    const undo: Undo = { operation, iova, line, unnamed };
    if (context.undoing === '') {
      if (!probed) this.#endUnnamed(context.undo);
      context.undo = undo;
      return;
    }
    this.#undo(undo, context.undoing);
    context.undoing = '';
  }

  #unnamedAt(iova: number, size: number): DmaCall | null {
    if (this.#unnamed.at(iova, size) === null) this.#settleAt(NO_GROUP, iova);
    return this.#unnamed.at(iova, size);
  }

  /** No dma event named an unmap. */
  #endUnnamed(undo: Undo | null): void {
    if (undo === null) return;
    const { operation, iova, line, unnamed: call } = undo;
    if (call === null) {
      this.#lost(line, NAMELESS_UNMAP);
      return;
    }
    const group = this.#groupOf.get(call.device) ?? NO_GROUP;
    if (this.#calls(group).get(iova) === call) this.#calls(group).delete(iova);
    this.#unnamed.end(call, line);
    operation.call = call;
  }

  /** The free of a two-step range: no dma event will name its device, so the probe does. */
  #freed(event: TraceEvent & { event: 'free_fast' }): void {
    const context = this.#context(event);
    const { undo } = context;
    const group = this.#groupOfSpace.get(event.iovad);
    if (undo === null || group === undefined || undo.iova !== event.pfn * PAGE) return;
    const calls = this.#calls(group);
    if (!calls.has(undo.iova)) this.#settleAt(group, undo.iova);
    const call = calls.get(undo.iova);
    if (call?.kind !== 'two-step') return;
    context.undo = null;
    this.#undo(undo, call.device);
  }

  /** The context that mapped the range may have been silent since. */
  #settleAt(group: number, iova: number): void {
    for (const context of this.#contexts.values()) {
      const { open } = context;
      if (open?.group === group && open.call.kernelIova === iova) this.#settle(context);
    }
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
      context = {
        open: null,
        asked: null,
        undo: null,
        undoing: '',
        attached: -1,
        waiting: [],
      };
      this.#contexts.set(event.context, context);
    }
    return context;
  }

  #push(event: TraceEvent, step: Step): void {
    this.#operations.push(stamped(event, step));
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
  asked: -1,
  drifts: false,
  ourIova: -1,
};
