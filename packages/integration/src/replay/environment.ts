import { and64, parseHex64, type U64 } from '@iommukit/bits';
import { type Capture, type FtraceTrace, InputError, type PciBridge } from '@iommukit/captures';
import type { CoherentMemory } from '@iommukit/smmu-v3-driver';
import { MEMORY_OF_CAPTURES } from '../machine.ts';
import { SMMU_SUFFIX } from './event-plan.ts';
import type { PlannedAccess } from './operation.ts';

/** The requester id of `domain:bus:device.function`: bus << 8 | device << 3 | function. */
export function requesterId(bdf: string): number {
  const match = /^[0-9a-f]{4,}:([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/.exec(bdf);
  if (match === null) return -1;
  const [bus, device, fn] = match.slice(1).map((digits) => Number.parseInt(digits, 16));
  return (bus as number) * 256 + (device as number) * 8 + (fn as number);
}

/** The stream ids of a device: its own requester id, then that of the bridge which takes ownership of its transactions. */
export function streamIdsOf(bdf: string, bridges: readonly PciBridge[]): number[] {
  const rid = requesterId(bdf);
  const bus = Math.floor(rid / 256);
  // A PCIe-to-PCI bridge forwards with requester id secondary bus, device 0, function 0.
  return bridges.some((bridge) => bridge.secondaryBus === bus) ? [rid, bus * 256] : [rid];
}

/** Outside RAM the captures map only the doorbell. */
export function inRam(paddr: number): boolean {
  const { base, size } = MEMORY_OF_CAPTURES.ram;
  return paddr >= base && paddr < base + size;
}

/** Hands out the addresses of the SMMU's own allocations exactly as the trace has them, in order. */
export class RecordedMemory implements CoherentMemory {
  readonly #queue: { readonly pa: number; readonly size: number; readonly line: number }[];
  readonly #file: string;
  #next = 0;

  constructor(trace: FtraceTrace, file: string) {
    this.#file = file;
    this.#queue = [];
    for (const event of trace.events)
      if (event.event === 'dma_alloc' && event.device.endsWith(SMMU_SUFFIX))
        this.#queue.push({ pa: event.dmaAddr, size: event.size, line: event.line });
  }

  alloc(bytes: number): number {
    const next = this.#queue[this.#next];
    if (next === undefined || next.size !== bytes)
      throw new InputError({
        file: this.#file,
        ...(next === undefined ? {} : { line: next.line }),
        expected: `a dma_alloc of ${bytes} bytes by the SMMU`,
      });
    this.#next++;
    return next.pa;
  }

  free(): void {}
}

/** The fault accesses that the guest announced: marks `PHASE:fault-edu DEVICE`, then `PHASE:fault-edu ADDRESS done`. */
export function plannedAccesses(trace: FtraceTrace, capture: Capture): PlannedAccess[] {
  const accesses: PlannedAccess[] = [];
  let device = '';
  for (const event of trace.events) {
    if (event.event !== 'tracing_mark_write') continue;
    const [phase, what, done] = event.text.split(' ');
    if (phase !== 'PHASE:fault-edu' || what === undefined) continue;
    if (done !== 'done') {
      device = what.slice(what.lastIndexOf('/') + 1);
      continue;
    }
    const address = parseHex64(what);
    if (address === undefined) continue;
    const streamId = streamIdsOf(device, capture.bridges).at(-1) ?? -1;
    const clamped = and64(address, deviceMask(device, capture));
    // The device reads first, then writes.
    accesses.push({ streamId, address: clamped, rw: 'read' });
    accesses.push({ streamId, address: clamped, rw: 'write' });
  }
  return accesses;
}

/** QEMU's edu device clamps DMA addresses to `dma_mask`, 28 bits unless the command line says otherwise. */
function deviceMask(device: string, capture: Capture): U64 {
  const slot = device.slice(-4);
  const bus = Number.parseInt(device.slice(-7, -5), 16);
  const behind = capture.bridges.some((bridge) => bridge.secondaryBus === bus);
  for (const option of capture.cmdline.split(' ')) {
    if (!option.startsWith('edu,') || !option.includes(`addr=${slot}`)) continue;
    if (option.includes('bus=') !== behind) continue;
    const mask = /dma_mask=(0x[0-9a-f]+)/.exec(option)?.[1];
    if (mask !== undefined) return parseHex64(mask) ?? { lo: 0x0fff_ffff, hi: 0 };
  }
  return { lo: 0x0fff_ffff, hi: 0 };
}
