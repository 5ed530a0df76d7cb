import { DMA_PROFILES, DmaDebug } from '../src/index.ts';
import { BUFFERS, PagedDma } from './paged-dma.ts';

const OPS = 256;
const SIZE = 0x400;
const plain = new PagedDma({ coherent: true, untrusted: false });
const debugged = new PagedDma({
  coherent: true,
  untrusted: false,
  debug: new DmaDebug({ profile: DMA_PROFILES['7.3'] }),
});

function mapAndUnmap({ dma, dev }: PagedDma): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++) {
    const address = dma.mapPhys(dev, BUFFERS + (i % 64) * 0x1000, SIZE, 'FROM_DEVICE');
    if (dma.mappingError(dev, address)) break;
    sum += address;
    dma.unmapPhys(dev, address, SIZE, 'FROM_DEVICE');
  }
  return sum;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'map, check, unmap without dma-debug',
    reference: true,
    ops: OPS,
    run: () => mapAndUnmap(plain),
  },
  { name: 'the same with dma-debug', ops: OPS, run: () => mapAndUnmap(debugged) },
];
