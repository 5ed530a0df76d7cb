import { IommuDevice } from '@iommukit/iommu-core';
import { kernelProfile, Machine, MEMORY_OF_CAPTURES } from '../src/index.ts';

const idr = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };
const machine = new Machine({
  idr,
  profile: kernelProfile('6.12'),
  cpus: 1,
  memory: MEMORY_OF_CAPTURES,
});
machine.boot();
const device = new IommuDevice({ name: '0000:00:01.0', ids: [8], groupKey: 'a', isPci: true });
machine.core.probeDevice(device, machine.driver);
const dev = machine.dma.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent: true });
const words = new Uint32Array(1024);

/** The same descriptors and nothing else: the limit. */
function plain(pages: number): number {
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

function throughAllLayers(bytes: number): number {
  const iova = machine.dma.mapPage(dev, 0x4000_0000, bytes, 'BIDIRECTIONAL');
  machine.dma.unmapPage(dev, iova, bytes, 'BIDIRECTIONAL');
  return iova;
}

export const cases = [
  {
    name: 'plain stores, 512 pages (page)',
    reference: true as const,
    ops: 512,
    run: () => plain(512),
  },
  { name: 'plain stores, 1 page (page)', ops: 1, run: () => plain(1) },
  { name: 'map+unmap, 512 pages (page)', ops: 512, run: () => throughAllLayers(512 * 4096) },
  { name: 'map+unmap, 1 page (page)', ops: 1, run: () => throughAllLayers(4096) },
];
