import { IommuDevice } from '@iommukit/iommu-core';
import { kernelProfile, Machine, MEMORY_OF_CAPTURES } from '../src/index.ts';

const idr = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };
const words = new Uint32Array(1024);

/** The descriptors that mapping and unmapping `pages` pages stores, and nothing else: the limit. */
export function plainStores(pages: number): number {
  for (let i = 0; i < pages; i++) {
    words[i * 2] = 0x4000_0f47 + i * 4096;
    words[i * 2 + 1] = 0;
  }
  for (let i = 0; i < pages; i++) {
    words[i * 2] = 0;
    words[i * 2 + 1] = 0;
  }
  return words[0] as number;
}

/** Maps and unmaps through every layer: DMA API, IOVA, core, page table, commands consumed by the model. */
export function wholeStack(): (bytes: number) => number {
  const profile = kernelProfile('6.12');
  const machine = new Machine({ idr, profile, cpus: 1, memory: MEMORY_OF_CAPTURES });
  machine.boot();
  const device = new IommuDevice({ name: '0000:00:01.0', ids: [8], groupKey: 'a', isPci: true });
  machine.core.probeDevice(device, machine.driver);
  const dev = machine.dma.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent: true });
  return (bytes) => {
    // Off the 2 MiB boundary: every page gets a descriptor of its own.
    const iova = machine.dma.mapPage(dev, 0x4000_1000, bytes, 'BIDIRECTIONAL');
    machine.dma.unmapPage(dev, iova, bytes, 'BIDIRECTIONAL');
    return iova;
  };
}
