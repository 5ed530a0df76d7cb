import type { DmaDirection } from '@iommukit/captures';

/** One IOVA range of the trace, from its allocation to its free. Kernel addresses name it; ours are filled in when it is replayed. */
export interface Allocation {
  /** The kernel's pointer of the IOVA domain, a name only; empty without probes. */
  readonly iovad: string;
  /** Pages asked for, not rounded. */
  readonly pages: number;
  readonly limitPfn: number;
  readonly flush: boolean;
  /** The kernel's first page frame; -1 until its event is met. */
  kernelPfn: number;
  /** Direction and device stand after the maps in the trace; null for a doorbell, which no dma event announces. */
  dir: DmaDirection | null;
  device: string;
  /** Ours; 0 before it is allocated or when that failed. */
  ourPfn: number;
}

/** A physically contiguous piece of a DMA call, bytes. */
export interface Piece {
  readonly paddr: number;
  readonly size: number;
}

/** A DMA call of the trace, for `--feed calls`. */
export interface DmaCall {
  /** `two-step`: an IOVA range first, then pieces linked into it (`dma_iova_try_alloc`, `dma_iova_link`). */
  kind: 'page' | 'sg' | 'coherent' | 'msi' | 'two-step';
  device: string;
  dir: DmaDirection;
  /** The kernel's first IOVA, page aligned, bytes. */
  readonly kernelIova: number;
  /** Physical start with its page offset, and length; only for kind `page`. */
  paddr: number;
  size: number;
  readonly pieces: readonly Piece[];
  /** Bytes of the IOVA range where they are known from a probe, and more than the pieces perhaps; -1 otherwise. */
  readonly asked: number;
  /** A free falls between the kernel's answer and our call, or the other way round: see `DriftCauses`. */
  drifts: boolean;
  /** Ours: the address that the call returned, or -1. */
  ourIova: number;
}

/** A device that joined a group of the trace. */
export interface Member {
  readonly device: string;
  readonly group: number;
}

/** Where and when an event of the trace happened; `context` is a task, or an interrupt of a CPU. */
export interface Stamp {
  readonly cpu: number;
  readonly context: number;
  readonly tsUs: number;
}

/** An unmap; whose range it is may stand later in the trace. */
export interface UnmapStep {
  readonly op: 'unmap';
  alloc: Allocation | null;
  readonly size: number;
  readonly line: number;
  /** Lazy: it finds its ring full, and its range is queued at the flush that it makes. */
  fillsRing: boolean;
}

/** A flush queue is flushed. */
export interface FlushStep {
  readonly op: 'flush';
  /** The kernel's pointer of the IOVA domain. */
  readonly iovad: string;
  /** The unmap that found its ring full; null: the timer. */
  readonly by: UnmapStep | null;
}

/** What is done at one event of the trace. */
export type Step =
  | { readonly op: 'attach'; readonly members: readonly Member[] }
  | { readonly op: 'init'; readonly iovad: string; readonly device: string }
  | {
      readonly op: 'reserve';
      readonly iovad: string;
      readonly pfnLo: number;
      readonly pfnHi: number;
    }
  | { readonly op: 'alloc'; readonly alloc: Allocation }
  | { readonly op: 'alloc-ret'; readonly alloc: Allocation; readonly pfn: number }
  | {
      readonly op: 'map';
      readonly alloc: Allocation;
      readonly offset: number;
      readonly paddr: number;
      readonly size: number;
    }
  | UnmapStep
  | { readonly op: 'free'; readonly alloc: Allocation; readonly pages: number }
  | FlushStep
  | { readonly op: 'call'; readonly call: DmaCall }
  | { readonly op: 'uncall'; call: DmaCall }
  | { readonly op: 'mark'; readonly text: string };

/** What the replay does, with CPU, context and time of its event. */
export type Operation = Stamp & Step;

/** A step at the event that it stands for. */
export function stamped<S extends Step>(event: Stamp, step: S): Stamp & S {
  const { cpu, context, tsUs } = event;
  return { ...step, cpu, context, tsUs };
}

/** An access that a device of the capture made on purpose. */
export interface PlannedAccess {
  readonly streamId: number;
  readonly address: { readonly lo: number; readonly hi: number };
  readonly rw: 'read' | 'write';
}

/** A line of the trace that joins to nothing. */
export interface Unjoined {
  readonly line: number;
  readonly expected: string;
}
