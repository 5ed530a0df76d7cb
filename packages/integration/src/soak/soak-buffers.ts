import { DMA_MAPPING_ERROR, DmaIovaState, type SgElement, sgElement } from '@iommukit/dma-api';
import type { SoakDevice, SoakMachine } from './soak-machine.ts';
import type { Extent, SoakMapping } from './soak-mapping.ts';
import type { SoakOperation } from './soak-operation.ts';

const PAGE = 4096;
const WORD = 4;
const WORDS = PAGE / WORD;

/** What a mapping is to be made of. */
interface Plan {
  readonly device: SoakDevice;
  readonly operation: SoakOperation;
  readonly memory: readonly Extent[];
  readonly bytes: number;
  release(): void;
}

type Made = Pick<SoakMapping, 'bus' | 'unmap' | 'sync'>;

/** Makes mappings of memory of its own, by every way that drivers have; null where there is no memory or no room. */
export class SoakBuffers {
  readonly #on: SoakMachine;

  constructor(on: SoakMachine) {
    this.#on = on;
  }

  make(device: SoakDevice, operation: SoakOperation): SoakMapping | null {
    const { way, dir } = operation;
    if (way === 'coherent') return this.#coherent(device, operation);
    const plan = this.#plan(device, operation);
    if (plan === null) return null;
    const made = this.#ways[way](plan);
    if (made === null) {
      plan.release();
      return null;
    }
    const { memory, bytes } = plan;
    return { way, device, dir, bytes, memory, ...made, release: () => plan.release() };
  }

  readonly #ways: Readonly<
    Record<Exclude<SoakOperation['way'], 'coherent'>, (plan: Plan) => Made | null>
  > = {
    single: (plan) => this.#single(plan),
    handle: (plan) => this.#handle(plan),
    sg: (plan) => this.#list(plan),
    'sg-handle': (plan) => this.#listHandle(plan),
    'two-step': (plan) => this.#twoStep(plan),
  };

  /** Memory in one piece for ways that take one, else page by page; it begins and ends inside pages. */
  #plan(device: SoakDevice, operation: SoakOperation): Plan | null {
    const { way, pages, at, seed } = operation;
    const { frames } = this.#on;
    const offset = seed % 3 === 0 ? 0 : (at % WORDS) * WORD;
    const tail = seed % 5 < 3 ? 0 : (seed % WORDS) * WORD;
    const bytes = Math.max(WORD, pages * PAGE - offset - tail);
    const whole = way === 'single' || way === 'handle';
    const base: number[] = [];
    const release = (): void => {
      for (const paddr of base) frames.free(paddr, whole ? pages * PAGE : PAGE);
    };
    for (let i = 0; i < (whole ? 1 : pages); i++) {
      const paddr = frames.alloc(whole ? pages * PAGE : PAGE);
      if (paddr >= 0) base.push(paddr);
      else {
        release();
        return null;
      }
    }
    // Not as the allocator gave them: adjacent pages would become one segment.
    if (seed % 2 === 0) base.reverse();
    const memory = whole
      ? [{ start: (base[0] as number) + offset, length: bytes }]
      : pieces(base, offset, bytes);
    return { device, operation, memory, bytes, release };
  }

  #single({ device: { dev }, operation: { dir }, memory, bytes }: Plan): Made | null {
    const { api } = this.#on;
    const dma = api.mapPhys(dev, memory[0]?.start ?? 0, bytes, dir);
    if (api.mappingError(dev, dma)) return null;
    return {
      bus: [{ start: dma, length: bytes }],
      unmap: () => api.unmapPhys(dev, dma, bytes, dir),
      sync: (target, at, size) => {
        if (target === 'cpu') api.syncForCpu(dev, dma + at, size, dir);
        else api.syncForDevice(dev, dma + at, size, dir);
      },
    };
  }

  #handle({ device: { dev }, operation: { dir }, memory, bytes }: Plan): Made | null {
    const { api } = this.#on;
    const handle = api.mapPhysHandle(dev, memory[0]?.start ?? 0, bytes, dir);
    if (handle === null) return null;
    return {
      bus: [{ start: handle.dmaAddr, length: bytes }],
      unmap: () => api.unmapHandle(dev, handle),
      sync: (target, at, size) => {
        if (target === 'cpu') api.syncHandleForCpu(dev, handle, at, size);
        else api.syncHandleForDevice(dev, handle, at, size);
      },
    };
  }

  #list({ device: { dev }, operation: { dir }, memory }: Plan): Made | null {
    const { api } = this.#on;
    const sg = memory.map(({ start, length }) => sgElement(start, length));
    const nents = api.mapSg(dev, sg, dir);
    if (nents <= 0) return null;
    return {
      bus: segments(sg, nents),
      unmap: () => api.unmapSg(dev, sg, dir),
      sync: (target) => {
        if (target === 'cpu') api.syncSgForCpu(dev, sg, dir);
        else api.syncSgForDevice(dev, sg, dir);
      },
    };
  }

  #listHandle({ device: { dev }, operation: { dir }, memory }: Plan): Made | null {
    const { api } = this.#on;
    const list = api.mapSgHandle(
      dev,
      memory.map(({ start, length }) => sgElement(start, length)),
      dir,
    );
    if (typeof list === 'number') return null;
    return {
      bus: segments(list.sg, list.nents),
      unmap: () => api.unmapSgHandle(dev, list),
      sync: (target) => {
        if (target === 'cpu') api.syncSgHandleForCpu(dev, list);
        else api.syncSgHandleForDevice(dev, list);
      },
    };
  }

  #twoStep({ device: { dev }, operation: { dir, seed }, memory, bytes }: Plan): Made | null {
    const { api, violation } = this.#on;
    const state = new DmaIovaState();
    if (!api.iovaTryAlloc(dev, state, memory[0]?.start ?? 0, bytes)) return null;
    let offset = 0;
    const linked = memory.map(({ start, length }) => {
      const piece = { paddr: start, offset, size: length };
      offset += length;
      return piece;
    });
    for (const piece of linked) {
      const errno = api.iovaLink(dev, state, { ...piece, dir });
      if (errno === 0) continue;
      violation.report(
        'result',
        `iovaLink for ${dev.name} of ${piece.size} bytes at ${piece.paddr.toString(16)}, offset ${piece.offset} of ${bytes}: ${errno}`,
      );
      api.iovaDestroy(dev, state, { mapped: piece.offset, dir });
      return null;
    }
    const errno = api.iovaSync(dev, state, 0, bytes);
    if (errno !== 0) violation.report('result', `iovaSync: ${errno}`);
    const known = seed % 2 === 0 ? { pieces: linked } : {};
    return {
      bus: [{ start: state.addr, length: bytes }],
      unmap: () => {
        if (seed % 7 !== 0) {
          api.iovaDestroy(dev, state, { mapped: bytes, dir, ...known });
          return;
        }
        api.iovaUnlink(dev, state, { offset: 0, size: bytes, dir, ...known });
        api.iovaFree(dev, state);
      },
    };
  }

  #coherent(device: SoakDevice, { pages, at }: SoakOperation): SoakMapping | null {
    const { api, twin } = this.#on;
    const { dev } = device;
    const bytes = Math.max(8, pages * PAGE - (at % WORDS) * WORD);
    const memory = api.allocCoherent(dev, bytes);
    if (memory === null || memory.dmaAddress === DMA_MAPPING_ERROR) return null;
    for (const { paddr, length } of memory.runs) twin.zero(paddr, length);
    return {
      way: 'coherent',
      device,
      dir: 'BIDIRECTIONAL',
      bytes,
      memory: memory.runs.map(({ paddr, length }) => ({ start: paddr, length })),
      bus: [{ start: memory.dmaAddress, length: bytes }],
      unmap: () => api.freeCoherent(dev, memory),
      release: () => {},
    };
  }
}

/** `bytes` bytes over pages, from `offset` in the first one on. */
function pieces(pages: readonly number[], offset: number, bytes: number): Extent[] {
  const extents: Extent[] = [];
  let left = bytes;
  for (const [i, page] of pages.entries()) {
    const from = i === 0 ? offset : 0;
    const length = Math.min(left, PAGE - from);
    if (length > 0) extents.push({ start: page + from, length });
    left -= length;
  }
  return extents;
}

function segments(sg: readonly SgElement[], nents: number): Extent[] {
  return sg
    .slice(0, nents)
    .map(({ dmaAddress, dmaLength }) => ({ start: dmaAddress, length: dmaLength }));
}
