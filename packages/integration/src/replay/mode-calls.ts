import {
  type DmaApi,
  type DmaDevice,
  DmaIovaState,
  type SgElement,
  sgElement,
} from '@iommukit/dma-api';
import type { ModePolicy } from './mode-policy.ts';
import type { DmaCall } from './operation.ts';

/** A handle's record has 32 bits for the size. */
const HANDLE_LIMIT = 2 ** 32;

/** A request that was made: its first address, and its end. */
export interface MadeCall {
  /** -1: the call failed. */
  readonly iova: number;
  undo(): void;
}

const FAILED: MadeCall = { iova: -1, undo() {} };

/** Makes the requests of a plan by the calls of a mode. */
export class ModeCalls {
  /** Requests made by the two-step calls. */
  linked = 0;
  /** Requests that got a handle. */
  handles = 0;
  readonly #dma: DmaApi;
  readonly #calls: ModePolicy['calls'];
  /** The kernel has calls for requests that it links itself. */
  readonly #links: boolean;

  constructor(dma: DmaApi, calls: ModePolicy['calls'], kernelLinks: 'links' | 'gathers') {
    this.#dma = dma;
    this.#calls = calls;
    this.#links = kernelLinks === 'links';
  }

  make(call: DmaCall, dev: DmaDevice): MadeCall {
    switch (call.kind) {
      case 'msi':
        return this.#doorbell(call, dev);
      case 'page':
        return this.#page(call, dev);
      case 'two-step':
        return this.#links ? this.#linked(call, dev) : this.#list(call, dev);
      case 'sg':
      case 'coherent':
        if (this.#calls === 'linked' && call.pieces.length > 1) return this.#linked(call, dev);
        return call.kind === 'sg' ? this.#list(call, dev) : this.#coherent(call, dev);
    }
  }

  #doorbell(call: DmaCall, dev: DmaDevice): MadeCall {
    const [first] = call.pieces;
    const iova = first === undefined ? -1 : this.#dma.mapMsiPage(dev, first.paddr);
    // A doorbell stays as long as its domain.
    return iova < 0 ? FAILED : { iova, undo() {} };
  }

  #page(call: DmaCall, dev: DmaDevice): MadeCall {
    const dma = this.#dma;
    const { paddr, size, dir } = call;
    if (this.#calls === 'handles' && size < HANDLE_LIMIT) {
      const handle = dma.mapPhysHandle(dev, paddr, size, dir);
      if (handle === null) return FAILED;
      this.handles++;
      return { iova: handle.dmaAddr, undo: () => dma.unmapHandle(dev, handle) };
    }
    const iova = dma.mapPhys(dev, paddr, size, dir);
    if (iova < 0) return FAILED;
    return { iova, undo: () => dma.unmapPhys(dev, iova, size, dir) };
  }

  #list(call: DmaCall, dev: DmaDevice): MadeCall {
    const dma = this.#dma;
    const { size, dir } = call;
    const sg = call.pieces.map(({ paddr, size: length }) => sgElement(paddr, length));
    if (this.#calls === 'handles' && size < HANDLE_LIMIT) {
      const list = dma.mapSgHandle(dev, sg, dir);
      if (typeof list === 'number') return FAILED;
      this.handles++;
      return { iova: firstAddress(sg), undo: () => dma.unmapSgHandle(dev, list) };
    }
    if (dma.mapSg(dev, sg, dir) <= 0) return FAILED;
    return { iova: firstAddress(sg), undo: () => dma.unmapSg(dev, sg, dir) };
  }

  #coherent(call: DmaCall, dev: DmaDevice): MadeCall {
    const dma = this.#dma;
    const runs = call.pieces.map(({ paddr, size }) => ({ paddr, length: size }));
    const memory = dma.allocCoherent(dev, call.size, { alloc: () => runs, free() {} });
    if (memory === null) return FAILED;
    const { dmaAddress } = memory;
    return { iova: dmaAddress, undo: () => dma.unmapRange(dev, dmaAddress, call.size) };
  }

  /** One range, every piece linked into it, made visible. */
  #linked(call: DmaCall, dev: DmaDevice): MadeCall {
    const dma = this.#dma;
    const { dir, pieces } = call;
    const state = new DmaIovaState();
    const [first] = pieces;
    const bytes = Math.max(call.asked, call.size);
    if (first === undefined || !dma.iovaTryAlloc(dev, state, first.paddr, bytes)) return FAILED;
    this.linked++;
    let mapped = 0;
    for (const { paddr, size } of pieces) {
      if (dma.iovaLink(dev, state, { paddr, offset: mapped, size, dir }) !== 0) {
        dma.iovaDestroy(dev, state, { mapped, dir });
        return FAILED;
      }
      mapped += size;
    }
    if (dma.iovaSync(dev, state, 0, mapped) !== 0) {
      dma.iovaDestroy(dev, state, { mapped, dir });
      return FAILED;
    }
    return { iova: state.addr, undo: () => dma.iovaDestroy(dev, state, { mapped, dir }) };
  }
}

function firstAddress(sg: readonly SgElement[]): number {
  return sg[0]?.dmaAddress ?? -1;
}
