import type { DmaHandle } from '../src/index.ts';
import { BUFFERS, PagedDma } from './paged-dma.ts';

const OPS = 256;
const SIZE = 0x400;
const bounced = new PagedDma({ coherent: true, untrusted: true });
const incoherent = new PagedDma({ coherent: false, untrusted: false });
const coherent = new PagedDma({ coherent: true, untrusted: false });

function paddrOf(i: number): number {
  return BUFFERS + (i % 64) * 0x1000 + 0x200;
}

function byAddress({ dma, dev }: PagedDma): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++) {
    const address = dma.mapPhys(dev, paddrOf(i), SIZE, 'TO_DEVICE');
    sum += address;
    dma.unmapPhys(dev, address, SIZE, 'TO_DEVICE');
  }
  return sum;
}

function byPage({ dma, dev }: PagedDma): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++) {
    const page = paddrOf(i);
    const address = dma.mapPhys(dev, page, SIZE, 'TO_DEVICE');
    sum += address;
    dma.unmapPhys(dev, address, SIZE, 'TO_DEVICE', { page });
  }
  return sum;
}

function byHandle({ dma, dev }: PagedDma): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++) {
    const handle = dma.mapPhysHandle(dev, paddrOf(i), SIZE, 'TO_DEVICE') as DmaHandle;
    sum += handle.dmaAddr;
    dma.unmapHandle(dev, handle);
  }
  return sum;
}

function syncsByAddress({ dma, dev }: PagedDma): number {
  const address = dma.mapPhys(dev, BUFFERS, SIZE, 'FROM_DEVICE');
  for (let i = 0; i < OPS; i++) {
    dma.syncForCpu(dev, address, SIZE, 'FROM_DEVICE');
    dma.syncForDevice(dev, address, SIZE, 'FROM_DEVICE');
  }
  dma.unmapPhys(dev, address, SIZE, 'FROM_DEVICE');
  return address;
}

function syncsByHandle({ dma, dev }: PagedDma): number {
  const handle = dma.mapPhysHandle(dev, BUFFERS, SIZE, 'FROM_DEVICE') as DmaHandle;
  for (let i = 0; i < OPS; i++) {
    dma.syncHandleForCpu(dev, handle);
    dma.syncHandleForDevice(dev, handle);
  }
  dma.unmapHandle(dev, handle);
  return handle.dmaAddr;
}

/** Map and unmap of one buffer of 1 KiB over four-level tables, or two syncs of it, is one operation. */
export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'coherent, by address', reference: true, ops: OPS, run: () => byAddress(coherent) },
  { name: 'coherent, by handle', ops: OPS, run: () => byHandle(coherent) },
  { name: 'not coherent, by address', ops: OPS, run: () => byAddress(incoherent) },
  { name: 'not coherent, with the page', ops: OPS, run: () => byPage(incoherent) },
  { name: 'not coherent, by handle', ops: OPS, run: () => byHandle(incoherent) },
  { name: 'bounced, by address', ops: OPS, run: () => byAddress(bounced) },
  { name: 'bounced, by handle', ops: OPS, run: () => byHandle(bounced) },
  { name: 'not coherent, two syncs by address', ops: OPS, run: () => syncsByAddress(incoherent) },
  { name: 'not coherent, two syncs by handle', ops: OPS, run: () => syncsByHandle(incoherent) },
];
