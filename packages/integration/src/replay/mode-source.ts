import {
  type Capture,
  type FtraceTrace,
  InputError,
  parseFtrace,
  readText,
  type UnreadLine,
} from '@iommukit/captures';
import type { ByteRange } from '@iommukit/dma-api';
import type { IdrWords } from '@iommukit/smmu-v3-model';
import { planCalls } from './call-plan.ts';
import { idrWords } from './dump-checks.ts';
import { streamIdsOf } from './environment.ts';
import type { EventPlan } from './event-plan.ts';
import { withGroups } from './trace-groups.ts';

/** The SMMU of a trace that does not say: QEMU's, with 48-bit output addresses. */
const PLAIN_IDR: IdrWords = {
  IDR0: 0x0d44101b,
  IDR1: 0x02730010,
  IDR3: 0x1414,
  IDR5: 0x75,
  AIDR: 1,
};

/** What the modes run: the DMA calls of a trace, and the machine around them. */
export interface ModeSource {
  readonly name: string;
  /** `trace`: only what stands in the trace is known. */
  readonly kind: 'capture' | 'trace';
  /** Kernel that wrote the trace, or the closest one that its events fit. */
  readonly kernel: string;
  readonly cpus: number;
  readonly idr: IdrWords;
  readonly plan: EventPlan;
  readonly events: number;
  readonly unread: readonly UnreadLine[];
  readonly traceFile: string;
  readonly pciWindows: readonly ByteRange[];
  streamIds(device: string): readonly number[];
}

/** A capture as the modes see it. */
export function captureSource(capture: Capture): ModeSource {
  const trace = capture.trace();
  return {
    name: capture.name,
    kind: 'capture',
    kernel: capture.kernel,
    cpus: capture.cpus,
    idr: idrWords(capture.regs('idle').registers),
    plan: planCalls(trace),
    events: trace.events.length,
    unread: trace.unread,
    traceFile: capture.path('trace'),
    pciWindows: capture.pcieWindows.map(({ start, last }) => ({ start, end: last + 1 })),
    streamIds: (device) => streamIdsOf(device, capture.bridges),
  };
}

/**
 * A trace file with `dma:*` and `iommu:*` events, plain or gzip. Devices that the trace does not put into groups have one each from
 * their first use on. `twoStepDevice` has the maps that no dma event names; empty: they are not made. Throws `InputError` when it holds no call to run.
 */
export function traceSource(file: string, twoStepDevice = ''): ModeSource {
  const trace = parseFtrace(readText(file), file);
  if (!trace.events.some(({ event }) => event === 'map'))
    throw new InputError({ file, expected: 'iommu:map events beside those of dma:*' });
  const plan = planCalls(withGroups(trace, twoStepDevice), { isRam: ramOf(trace), twoStepDevice });
  if (!plan.operations.some(({ op }) => op === 'call'))
    throw new InputError({ file, expected: 'a dma:dma_map_* event after an iommu:map' });
  const numbers = new Map<string, number>();
  return {
    name: file,
    kind: 'trace',
    kernel: kernelOf(trace),
    cpus: cpusOf(trace),
    idr: PLAIN_IDR,
    plan,
    events: trace.events.length,
    unread: trace.unread,
    traceFile: file,
    pciWindows: [],
    // The trace names no stream: they are numbered.
    streamIds: (device) => {
      const id = numbers.get(device) ?? numbers.size + 1;
      numbers.set(device, id);
      return [id];
    },
  };
}

/** `dma_map_phys` came with 6.18; the profiles around it are 6.12 and 7.2. */
function kernelOf(trace: FtraceTrace): string {
  return trace.events.some(({ event }) => event === 'dma_map_phys') ? '7.2' : '6.12';
}

function cpusOf(trace: FtraceTrace): number {
  let cpus = trace.header?.cpus ?? 1;
  for (const { cpu } of trace.events) cpus = Math.max(cpus, cpu + 1);
  return cpus;
}

/** Memory lies between the lowest and the highest address that a streaming mapping names. */
function ramOf(trace: FtraceTrace): (paddr: number) => boolean {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = -1;
  for (const event of trace.events) {
    if (event.event !== 'dma_map_page' && event.event !== 'dma_map_phys') continue;
    if (event.attrs.includes('MMIO')) continue;
    lowest = Math.min(lowest, event.physAddr);
    highest = Math.max(highest, event.physAddr);
  }
  // Lists alone name no doorbell either: then everything is memory.
  return highest < 0
    ? () => true
    : (paddr) => paddr >= floorRam(lowest) && paddr <= ceilRam(highest);
}

/** Memory comes in pieces of 128 MiB and more. */
const RAM_STEP = 2 ** 27;

function floorRam(paddr: number): number {
  return Math.floor(paddr / RAM_STEP) * RAM_STEP;
}

function ceilRam(paddr: number): number {
  return Math.ceil((paddr + 1) / RAM_STEP) * RAM_STEP - 1;
}
