import { sgElement } from '../src/index.ts';
import { BUFFERS, PagedDma } from './paged-dma.ts';

// Strict against lazy. Nobody waits for hardware here, which is what lazy mode saves most of.
const REQUESTS = 1020;
const PAGES = 32;
const kind = { coherent: true, untrusted: false };
const strict = new PagedDma(kind);
const lazy = new PagedDma({ ...kind, type: 'dma-fq' });
const sg = Array.from({ length: PAGES }, (_, i) => sgElement(BUFFERS + i * 0x3000, 4096));

function pages({ dma, dev, counts }: PagedDma): number {
  for (let i = 0; i < REQUESTS; i++)
    dma.unmapPhys(dev, dma.mapPhys(dev, BUFFERS, 4096, 'TO_DEVICE'), 4096, 'TO_DEVICE');
  return counts.syncs;
}

function lists({ dma, dev, counts }: PagedDma): number {
  for (let i = 0; i < REQUESTS; i++) {
    dma.mapSg(dev, sg, 'TO_DEVICE');
    dma.unmapSg(dev, sg, 'TO_DEVICE');
  }
  return counts.syncs;
}

/** Commands and syncs for 1020 single pages from a queue at rest: what the names say is what is counted here. */
function counted(one: PagedDma): string {
  const { commands, syncs } = one.counts;
  pages(one);
  one.platform.clock.advance(10_000);
  return `${one.counts.commands - commands} commands, ${one.counts.syncs - syncs} syncs`;
}

const strictCount = counted(strict);
const lazyCount = counted(lazy);

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: `strict, ${REQUESTS} pages: ${strictCount}; a page`,
    reference: true,
    ops: REQUESTS,
    run: () => pages(strict),
  },
  {
    name: `lazy, ${REQUESTS} pages: ${lazyCount}; a page`,
    ops: REQUESTS,
    run: () => pages(lazy),
  },
  { name: 'strict, lists of 32, a page', ops: REQUESTS * PAGES, run: () => lists(strict) },
  { name: 'lazy, lists of 32, a page', ops: REQUESTS * PAGES, run: () => lists(lazy) },
];
