import { hex, u64Of } from '@iommukit/bits';
import type { Capture } from '@iommukit/captures';
import { type DmaDevice, DmaIovaState, type SgElement, sgElement } from '@iommukit/dma-api';
import type { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import type { Machine } from '../machine.ts';
import type { CheckTally } from './check-tally.ts';
import { outcome } from './dump-checks.ts';
import type { IovaAnswers } from './iova-answers.ts';
import type { DmaCall } from './operation.ts';

const PAGE = 4096;

/** Makes and undoes the whole DMA calls of a plan (`--feed calls`). */
export class CallDriver {
  translated = 0;
  /** Ranges given back. */
  unmaps = 0;
  driftCauses = 0;
  /** Ranges allocated with the two-step calls. */
  twoSteps = 0;
  readonly #machine: Machine;
  readonly #capture: Capture;
  readonly #devices: ReadonlyMap<string, IommuDevice>;
  readonly #answers: IovaAnswers;
  readonly #dmaDevices = new Map<string, DmaDevice>();
  readonly #sgLists = new Map<DmaCall, readonly SgElement[]>();
  readonly #states = new Map<DmaCall, DmaIovaState>();
  readonly #drifted = new Set<IommuDomain>();
  readonly #differing: string[] = [];

  /** `devices`: those probed so far, by name. */
  constructor(
    machine: Machine,
    capture: Capture,
    devices: ReadonlyMap<string, IommuDevice>,
    answers: IovaAnswers,
  ) {
    this.#machine = machine;
    this.#capture = capture;
    this.#devices = devices;
    this.#answers = answers;
  }

  /** Tallies the translations of the mapped runs. */
  reportTranslations(tally: CheckTally): void {
    tally.equal += this.translated;
    for (const text of this.#differing) tally.differ(text);
  }

  #dmaDevice(name: string): DmaDevice | undefined {
    const known = this.#dmaDevices.get(name);
    if (known !== undefined) return known;
    const device = this.#devices.get(name);
    if (device === undefined) return undefined;
    const dev = this.#machine.dma.setupDevice(device, {
      dmaBits: 64,
      coherentDmaBits: 64,
      coherent: true,
      maxSegSize: 2 ** 32 - 1,
      pciWindows: this.#capture.pcieWindows.map(({ start, last }) => ({ start, end: last + 1 })),
    });
    this.#dmaDevices.set(name, dev);
    return dev;
  }

  call(call: DmaCall): void {
    const dev = this.#dmaDevice(call.device);
    if (dev === undefined) return;
    const { dma } = this.#machine;
    const [first] = call.pieces;
    switch (call.kind) {
      case 'page':
        call.ourIova = dma.mapPage(dev, call.paddr, call.size, call.dir);
        break;
      case 'msi':
        call.ourIova = first === undefined ? -1 : dma.mapMsiPage(dev, first.paddr);
        break;
      case 'sg':
        call.ourIova = this.#mapSg(dev, call);
        break;
      case 'coherent': {
        const runs = call.pieces.map(({ paddr, size }) => ({ paddr, length: size }));
        const memory = dma.allocCoherent(dev, call.size, { alloc: () => runs, free: () => {} });
        call.ourIova = memory?.dmaAddress ?? -1;
        break;
      }
      case 'two-step':
        // A kernel without two-step calls gathers the pieces in a list.
        call.ourIova = this.#machine.hasTwoStep ? this.#link(dev, call) : this.#mapSg(dev, call);
        break;
    }
    this.#compareCall(call, dev);
  }

  #mapSg(dev: DmaDevice, call: DmaCall): number {
    const list = call.pieces.map(({ paddr, size }) => sgElement(paddr, size));
    this.#sgLists.set(call, list);
    return this.#machine.dma.mapSg(dev, list, call.dir) > 0 ? (list[0]?.dmaAddress ?? -1) : -1;
  }

  /** One IOVA range, every piece linked into it, made visible: its address, or -1. */
  #link(dev: DmaDevice, call: DmaCall): number {
    const { dma } = this.#machine;
    const state = new DmaIovaState();
    const [first] = call.pieces;
    const bytes = Math.max(call.asked, call.size);
    if (first === undefined || !dma.iovaTryAlloc(dev, state, first.paddr, bytes)) return -1;
    this.#states.set(call, state);
    this.twoSteps++;
    let offset = 0;
    for (const { paddr, size } of call.pieces) {
      if (dma.iovaLink(dev, state, { paddr, offset, size, dir: call.dir }) !== 0) return -1;
      offset += size;
    }
    return dma.iovaSync(dev, state, 0, offset) === 0 ? state.addr : -1;
  }

  #compareCall(call: DmaCall, dev: DmaDevice): void {
    if (call.drifts) {
      this.#drifted.add(dev.domain);
      this.driftCauses++;
    }
    const ours = call.ourIova - (call.ourIova % PAGE);
    this.#answers.add({
      equal: ours === call.kernelIova,
      drifted: this.#drifted.has(dev.domain),
      text: () =>
        `${call.kind} for ${call.device}: ${hex(ours)}, the kernel ${hex(call.kernelIova)}`,
    });
    const streamId = dev.device.info.ids[0] ?? 0;
    const rw = call.dir === 'TO_DEVICE' ? 'read' : 'write';
    let at = ours;
    for (const { paddr, size } of call.pieces) {
      const result = this.#machine.model.translate({ streamId, address: u64Of(at), rw });
      if (result.outcome === 'ok' && result.paddr === paddr) this.translated++;
      else
        this.#differing.push(`${call.kind} ${hex(at)}: ${outcome(result)}, mapped ${hex(paddr)}`);
      at += size;
    }
  }

  uncall(call: DmaCall): void {
    const dev = this.#dmaDevice(call.device);
    if (dev === undefined || call.ourIova < 0) return;
    const { dma } = this.#machine;
    this.unmaps++;
    const { dir, size } = call;
    const list = this.#sgLists.get(call);
    const state = this.#states.get(call);
    this.#sgLists.delete(call);
    this.#states.delete(call);
    if (list !== undefined) dma.unmapSg(dev, list, dir);
    else if (state !== undefined) dma.iovaDestroy(dev, state, { mapped: size, dir });
    else if (call.kind === 'page') dma.unmapPage(dev, call.ourIova, size, dir);
    else dma.unmapRange(dev, call.ourIova, size);
  }
}
