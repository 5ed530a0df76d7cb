import { DmaIovaState, type LinkedPiece, type SgElement, sgElement } from '../src/index.ts';
import { BUFFERS, PagedDma } from './paged-dma.ts';

const PIECES = 32;
const PAGE = 4096;
const REQUESTS = 16;
const bytes = PIECES * PAGE;
const addresses = Array.from({ length: PIECES }, (_, i) => BUFFERS + i * 2 * PAGE);
const pieces: LinkedPiece[] = addresses.map((paddr, i) => ({
  offset: i * PAGE,
  paddr,
  size: PAGE,
}));
const coherent = new PagedDma({ coherent: true, untrusted: false });
const incoherent = new PagedDma({ coherent: false, untrusted: false });
const kept = addresses.map((paddr) => sgElement(paddr, PAGE));
const state = new DmaIovaState();

function oneShot({ dma, dev }: PagedDma, listOf: () => readonly SgElement[]): number {
  let sum = 0;
  for (let i = 0; i < REQUESTS; i++) {
    const sg = listOf();
    sum += dma.mapSg(dev, sg, 'TO_DEVICE') + (sg[0] as SgElement).dmaAddress;
    dma.unmapSg(dev, sg, 'TO_DEVICE');
  }
  return sum;
}

function twoStep({ dma, dev }: PagedDma, known?: readonly LinkedPiece[]): number {
  let sum = 0;
  for (let i = 0; i < REQUESTS; i++) {
    dma.iovaTryAlloc(dev, state, 0, bytes);
    for (let k = 0; k < PIECES; k++)
      dma.iovaLink(dev, state, {
        paddr: addresses[k] as number,
        offset: k * PAGE,
        size: PAGE,
        dir: 'TO_DEVICE',
      });
    sum += dma.iovaSync(dev, state, 0, bytes) + state.addr;
    dma.iovaDestroy(dev, state, { mapped: bytes, dir: 'TO_DEVICE', pieces: known });
  }
  return sum;
}

/** The same request of 32 scattered pages, mapped and undone; a request is one operation. */
export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'map_sg, list kept',
    reference: true,
    ops: REQUESTS,
    run: () => oneShot(coherent, () => kept),
  },
  {
    name: 'map_sg, list built for the request',
    ops: REQUESTS,
    run: () => oneShot(coherent, () => addresses.map((paddr) => sgElement(paddr, PAGE))),
  },
  { name: 'two-step', ops: REQUESTS, run: () => twoStep(coherent) },
  {
    name: 'map_sg, not coherent',
    ops: REQUESTS,
    run: () => oneShot(incoherent, () => kept),
  },
  { name: 'two-step, not coherent', ops: REQUESTS, run: () => twoStep(incoherent) },
  {
    name: 'two-step, not coherent, with pieces',
    ops: REQUESTS,
    run: () => twoStep(incoherent, pieces),
  },
];
