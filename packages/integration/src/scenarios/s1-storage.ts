/* S1-7: a storage request, from its vectors to the device and back. */
import { SZ_4K } from '@iommukit/bits';
import type { PageProvider } from '@iommukit/dma-api';
import { patternBytes } from '../memory-bytes.lanes.ts';
import { DescriptorPool } from '../users/descriptor-pool.ts';
import { NvmeController } from '../users/nvme-controller.ts';
import { type BioVec, type NvmeRequest, NvmeRequestPath } from '../users/nvme-request.ts';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import { mapRequest } from './request-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { bytesOf, scat } from './setup.ts';

/** What the NVMe driver asks for. */
const NVME: DmaRigOptions = { dev: { minAlignMask: 4095 } };
const DATA = 0x4100_0000;
const LISTS = 0x4800_0000;

const vectors: readonly BioVec[] = scat(32, SZ_4K, DATA).map(({ paddr, length }) => ({
  paddr,
  length,
}));
/** One of them does not begin at a page. */
const unaligned = vectors.map((vector, i) =>
  i === 16 ? { paddr: vector.paddr + 0x200, length: vector.length - 0x200 } : vector,
);

/** Pages from an address on, none of which comes back into use. */
function pagesFrom(base: number): PageProvider {
  let next = base;
  return {
    alloc(size) {
      const paddr = next;
      next += size;
      return [{ paddr, length: size }];
    },
    free() {},
  };
}

type Ranges = 'two-step' | 'single';

/** A request path whose pools have their pages already. */
function pathOf(dma: DmaRig, format: 'prp' | 'sgl', ranges: Ranges): NvmeRequestPath {
  const { api, dev } = dma;
  const pages = pagesFrom(LISTS);
  const small = new DescriptorPool(api, dev, pages, 256);
  const page = new DescriptorPool(api, dev, pages, SZ_4K);
  for (const pool of [small, page]) {
    const block = pool.alloc();
    if (block !== null) pool.free(block);
    dma.later(() => pool.destroy());
  }
  const options = { dma: api, dev, memory: dma.rig.machine.memory, pools: { small, page }, format };
  return new NvmeRequestPath(ranges === 'two-step' ? options : { ...options, ranges });
}

/** The bytes of a request, written to its pages. */
function fill(dma: DmaRig, list: readonly BioVec[]): Uint8Array {
  const data = patternBytes(7, bytesOf(list));
  let at = 0;
  for (const { paddr, length } of list) {
    dma.cpuWrite(paddr, data.subarray(at, at + length));
    at += length;
  }
  return data;
}

/** Maps a request, lets the device fetch its data, and undoes it. */
function roundTrip(dma: DmaRig, path: NvmeRequestPath, list: readonly BioVec[]): Observed {
  const data = fill(dma, list);
  const tried = countTries(dma);
  const { counts, result: request } = dma.measure(() => path.map(list));
  if (typeof request === 'number') return { errno: request };
  const fetched = new NvmeController(dma).fetch(request);
  const undo = dma.count(() => path.unmap(request));
  const after = new NvmeController(dma).fetch(request);
  return {
    ...shapeOf(request),
    ...{ iovas: counts.iovas, fmt: counts.fmt, cmd: counts.cmd, tried: tried() },
    ...{ VA: undo.VA, SYNC: undo.SYNC, walk: undo.walk, freed: undo.iovasFreed },
    fetched:
      fetched?.every((byte, i) => byte === data[i]) === true && fetched.length === data.length,
    reachable: after !== null,
  };
}

function shapeOf(request: NvmeRequest): Observed {
  const { entries, listBytes, blockBytes, mappings } = request;
  return { entries, listBytes, blockBytes, mappings };
}

/** How often the path asks for a range. */
function countTries(dma: DmaRig): () => number {
  const { api } = dma;
  const tryAlloc = api.iovaTryAlloc.bind(api);
  let tries = 0;
  api.iovaTryAlloc = (...of) => {
    tries++;
    return tryAlloc(...of);
  };
  return () => tries;
}

const oneRange = {
  ...{ iovas: 1, fmt: 32, cmd: 0, tried: 1, mappings: 0 },
  ...{ VA: 1, SYNC: 1, walk: 0, freed: 1, fetched: true, reachable: false },
};
const singly = {
  ...{ iovas: 32, fmt: 32, cmd: 0, tried: 0, mappings: 32 },
  ...{ VA: 32, SYNC: 32, walk: 32, freed: 32, fetched: true, reachable: false },
};
const noList = { entries: 0, listBytes: 0, blockBytes: 0 };
const prps = { entries: 31, listBytes: 248, blockBytes: 256 };
const sgls = { entries: 32, listBytes: 512, blockBytes: 4096 };
const oneSegment = { ...singly, iovas: 1, fmt: 1, mappings: 1, VA: 1, SYNC: 1, walk: 1, freed: 1 };

const ROWS: readonly {
  name: string;
  format: 'prp' | 'sgl';
  ranges: Ranges;
  vectors: readonly BioVec[];
  expected: Observed;
}[] = [
  {
    ...{ name: 'two-step, PRP', format: 'prp', ranges: 'two-step', vectors },
    expected: { ...oneRange, ...prps },
  },
  {
    ...{ name: 'an address each, PRP', format: 'prp', ranges: 'single', vectors },
    expected: { ...singly, ...prps },
  },
  {
    ...{ name: 'two-step, SGL', format: 'sgl', ranges: 'two-step', vectors },
    expected: { ...oneRange, ...noList },
  },
  {
    ...{ name: 'an address each, SGL', format: 'sgl', ranges: 'single', vectors },
    expected: { ...singly, ...sgls },
  },
  {
    ...{ name: 'a vector at 0x200 in the middle', format: 'sgl', ranges: 'two-step' },
    vectors: unaligned,
    expected: { ...singly, ...sgls },
  },
  {
    ...{ name: 'a single segment', format: 'prp', ranges: 'two-step' },
    vectors: vectors.slice(0, 1),
    expected: { ...oneSegment, ...noList },
  },
];

const REQUESTS = 1000;

/** Commands of 1000 requests, one after another. */
function manyRequests(dma: DmaRig, once: () => void): Observed {
  const total = { VA: 0, SYNC: 0, cmd: 0 };
  for (let i = 0; i < REQUESTS; i++) {
    const counts = dma.count(once);
    total.VA += counts.VA;
    total.SYNC += counts.SYNC;
    total.cmd += counts.cmd;
  }
  return total;
}

function onPath(dma: DmaRig, path: NvmeRequestPath): Observed {
  return manyRequests(dma, () => {
    const request = path.map(vectors);
    if (typeof request !== 'number') path.unmap(request);
  });
}

const MANY: readonly { way: string; run(dma: DmaRig): Observed; each: number }[] = [
  { way: 'two-step', run: (dma) => onPath(dma, pathOf(dma, 'prp', 'two-step')), each: 1 },
  {
    way: 'map_sg',
    run: (dma) => manyRequests(dma, () => mapRequest(dma, 'map_sg', vectors).undo()),
    each: 1,
  },
  { way: 'an address each', run: (dma) => onPath(dma, pathOf(dma, 'prp', 'single')), each: 32 },
];

export const s17: Scenario = {
  id: 'S1-7',
  title: 'storage request of 128 KiB',
  *cases(): Iterable<ScenarioCase> {
    for (const { name, format, ranges, vectors: list, expected } of ROWS)
      yield dmaCase({
        way: name,
        rig: NVME,
        run: (dma) => roundTrip(dma, pathOf(dma, format, ranges), list),
        expected,
      });
    for (const { way, run, each } of MANY)
      yield dmaCase({
        way: `1000 requests, ${way}`,
        rig: NVME,
        run,
        expected: { VA: REQUESTS * each, SYNC: REQUESTS * each, cmd: REQUESTS * each * 2 },
      });
  },
};
