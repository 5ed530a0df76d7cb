import { DMA_MAPPING_ERROR, type DmaDirection, DmaIovaState, sgElement } from '@iommukit/dma-api';
import type { SgRun } from '@iommukit/iommu-core';
import type { DmaRig } from './dma-rig.ts';
import { bytesOf } from './setup.ts';

/** `sizeof(struct scatterlist)` on arm64. */
export const SG_ENTRY_BYTES = 32;
const ADDRESS_BYTES = 8;

/** How a driver maps a request: a scatter list at once, two steps, or a page at a time. */
export type RequestWay = 'map_sg' | 'two-step' | 'map_page';

/** A mapped request, and what its driver keeps of it. */
export interface MappedRequest {
  /** 0, or the errno of what failed; then nothing is mapped. */
  readonly errno: number;
  /** DMA addresses that the device is given, one for each segment. */
  readonly addresses: readonly number[];
  /** Bytes that the driver holds for the request, and how many objects it allocated for them. */
  readonly bytes: number;
  readonly allocations: number;
  undo(): void;
}

/** Maps the vectors of a request in one way. */
export function mapRequest(
  dma: DmaRig,
  way: RequestWay,
  vectors: readonly SgRun[],
  dir: DmaDirection = 'TO_DEVICE',
): MappedRequest {
  if (way === 'map_sg') return mapList(dma, vectors, dir);
  if (way === 'two-step') return mapInSteps(dma, vectors, dir);
  return mapSingly(dma, vectors, dir);
}

function mapList(dma: DmaRig, vectors: readonly SgRun[], dir: DmaDirection): MappedRequest {
  const { api, dev } = dma;
  const sg = vectors.map(({ paddr, length }) => sgElement(paddr, length));
  const nents = api.mapSg(dev, sg, dir);
  return {
    errno: Math.min(nents, 0),
    addresses: sg.slice(0, Math.max(nents, 0)).map(({ dmaAddress }) => dmaAddress),
    bytes: sg.length * SG_ENTRY_BYTES,
    allocations: 1,
    undo: () => api.unmapSg(dev, sg, dir),
  };
}

function mapInSteps(dma: DmaRig, vectors: readonly SgRun[], dir: DmaDirection): MappedRequest {
  const { api, dev } = dma;
  const state = new DmaIovaState();
  const size = bytesOf(vectors);
  let errno = api.iovaTryAlloc(dev, state, vectors[0]?.paddr ?? 0, size) ? 0 : -1;
  let offset = 0;
  for (const { paddr, length } of vectors) {
    if (errno !== 0) break;
    errno = api.iovaLink(dev, state, { paddr, offset, size: length, dir });
    if (errno === 0) offset += length;
  }
  if (errno === 0) errno = api.iovaSync(dev, state, 0, offset);
  if (errno !== 0 && state.usesIova) api.iovaDestroy(dev, state, { mapped: offset, dir });
  return {
    errno,
    addresses: [state.addr],
    bytes: DmaIovaState.bytes,
    // The state is part of the request.
    allocations: 0,
    undo: () => api.iovaDestroy(dev, state, { mapped: size, dir }),
  };
}

function mapSingly(dma: DmaRig, vectors: readonly SgRun[], dir: DmaDirection): MappedRequest {
  const { api, dev } = dma;
  const addresses: number[] = [];
  const undo = (): void => {
    for (const [i, address] of addresses.entries())
      api.unmapPage(dev, address, vectors[i]?.length ?? 0, dir);
  };
  for (const { paddr, length } of vectors) {
    const address = api.mapPage(dev, paddr, length, dir);
    if (address === DMA_MAPPING_ERROR) {
      undo();
      return { errno: -1, addresses: [], bytes: 0, allocations: 0, undo: () => {} };
    }
    addresses.push(address);
  }
  return {
    errno: 0,
    addresses,
    bytes: vectors.length * ADDRESS_BYTES,
    allocations: 1,
    undo,
  };
}
