/* S1-1 to S1-3: one request in three ways, and back. */
import { hex, SZ_2M, SZ_4K } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import { type MappedRequest, mapRequest, type RequestWay } from './request-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, scat } from './setup.ts';

const MODES = ['coh', 'nc'] as const;
type Mode = (typeof MODES)[number];

/** `nc`: neither the walker nor the device snoops. */
function rigOf(mode: Mode): DmaRigOptions {
  return { mode, hook: true, device: mode === 'coh' ? 'coherent' : 'non-coherent' };
}

/** Stores, clean calls and lines of the table walker's memory. */
type Stores = Readonly<Record<Mode, readonly [st: number, cmc: number, cml: number]>>;

function storesOf(stores: Stores, mode: Mode): Observed {
  const [st, cmc, cml] = stores[mode];
  return { st, cmc, cml };
}

/** The device finds each page of each vector: in one range, or at an address of its own. */
function readAll(dma: DmaRig, addresses: readonly number[], vectors: readonly SgRun[]): void {
  let offset = 0;
  for (const [i, { paddr, length }] of vectors.entries()) {
    const own = addresses.length === 1 ? (addresses[0] ?? 0) + offset : (addresses[i] ?? 0);
    for (let at = 0; at < length; at += SZ_4K) dma.expectAt(own + at, paddr + at);
    offset += length;
  }
}

function mapCounted(dma: DmaRig, way: RequestWay, vectors: readonly SgRun[]) {
  const { counts, result } = dma.measure(() => mapRequest(dma, way, vectors));
  readAll(dma, result.addresses, vectors);
  return { counts, request: result };
}

function undoCounted(dma: DmaRig, request: MappedRequest, vectors: readonly SgRun[]): Observed {
  const counts = dma.count(() => request.undo());
  for (const address of request.addresses) dma.expectAt(address, -1);
  const bytes = vectors.reduce((sum, { length }) => sum + length, 0);
  if (request.addresses.length === 1) dma.rig.look(request.addresses[0] ?? 0, bytes);
  return { ...counts, live: dma.liveIovas };
}

const scattered = scat(32);
const cost = { fmt: 32, lvl: 128, alloc: 3, free: 0, walk: 0, warn: 0, cmd: 0, errno: 0 };
const sameStores: Stores = { coh: [35, 0, 0], nc: [38, 38, 227] };
const oneRange = { iovas: 1, hook: 1, first: '0xfffe0000', last: '0xfffe0000' };
const MAPS: readonly { way: RequestWay; expected: Observed; tables?: string }[] = [
  { way: 'map_sg', expected: { ...oneRange, bytes: 1024, allocations: 1 }, tables: 'one range' },
  { way: 'two-step', expected: { ...oneRange, bytes: 16, allocations: 0 }, tables: 'one range' },
  {
    way: 'map_page',
    expected: { iovas: 32, hook: 32, first: '0xfffff000', last: '0xfffe0000', bytes: 32 * 8 },
  },
];

export const s11: Scenario = {
  id: 'S1-1',
  title: '32 scattered vectors of 4 KiB',
  *cases(): Iterable<ScenarioCase> {
    for (const mode of MODES)
      for (const { way, expected, tables } of MAPS)
        yield dmaCase({
          way: `${way} ${mode}`,
          rig: rigOf(mode),
          run(dma) {
            const { counts, request } = mapCounted(dma, way, scattered);
            dma.later(request.undo);
            const { errno, bytes, allocations, addresses } = request;
            const [first, last] = [hex(addresses[0] ?? 0), hex(addresses.at(-1) ?? 0)];
            return { ...counts, errno, bytes, allocations, first, last };
          },
          expected: { ...cost, ...expected, ...storesOf(sameStores, mode) },
          ...(tables === undefined ? {} : { tables: `${tables} ${mode}` }),
        });
  },
};

const flushOfOne = { VA: 1, SYNC: 1, cmd: 2, fields: '1x NUM=0 SCALE=5 TG=1 TTL=3 LEAF=1' };
const UNDOS: readonly {
  way: RequestWay;
  expected: Observed;
  walks: Readonly<Record<Mode, readonly [walk: number, wl: number]>>;
  stores: Stores;
}[] = [
  {
    way: 'map_sg',
    expected: { fmt: 1, lvl: 4, ...flushOfOne, iovasFreed: 1 },
    walks: { coh: [0, 0], nc: [0, 0] },
    stores: { coh: [32, 0, 0], nc: [32, 1, 4] },
  },
  {
    way: 'two-step',
    expected: { fmt: 1, lvl: 4, ...flushOfOne, iovasFreed: 1 },
    walks: { coh: [0, 0], nc: [32, 128] },
    stores: { coh: [32, 0, 0], nc: [32, 1, 4] },
  },
  {
    way: 'map_page',
    expected: { fmt: 32, lvl: 128, VA: 32, SYNC: 32, cmd: 64, iovasFreed: 32 },
    walks: { coh: [32, 128], nc: [32, 128] },
    stores: { coh: [32, 0, 0], nc: [32, 32, 32] },
  },
];

export const s12: Scenario = {
  id: 'S1-2',
  title: 'undo of S1-1',
  *cases(): Iterable<ScenarioCase> {
    for (const mode of MODES)
      for (const { way, expected, walks, stores } of UNDOS)
        yield dmaCase({
          way: `${way} ${mode}`,
          rig: rigOf(mode),
          run(dma) {
            const { request } = mapCounted(dma, way, scattered);
            return undoCounted(dma, request, scattered);
          },
          expected: {
            ...{ ...expected, ...storesOf(stores, mode) },
            ...{ walk: walks[mode][0], wl: walks[mode][1], free: 0, warn: 0, live: 0 },
          },
        });
  },
};

const joined: readonly SgRun[] = [{ paddr: PA, length: SZ_2M }];
const raw: readonly SgRun[] = Array.from({ length: 512 }, (_, i) => ({
  paddr: PA + i * SZ_4K,
  length: SZ_4K,
}));
const block = {
  map: { fmt: 1, lvl: 3, alloc: 2, st: 3, walk: 0, cmd: 0, iovas: 1, first: '0xffe00000' },
  undo: { fmt: 1, free: 0, walk: 0, VA: 1, SYNC: 1, cmd: 2, iovasFreed: 1, live: 0 },
};
const CONTIGUOUS: readonly {
  name: string;
  way: RequestWay;
  vectors: readonly SgRun[];
  map: Observed;
  undo: Observed;
  tables: string;
}[] = [
  { name: 'map_sg', way: 'map_sg', vectors: raw, ...block, tables: 'joined' },
  {
    name: 'two-step, a link for each vector',
    way: 'two-step',
    vectors: raw,
    map: { fmt: 512, lvl: 2048, alloc: 3, st: 515, walk: 0, cmd: 0, iovas: 1, first: '0xffe00000' },
    undo: { fmt: 1, lvl: 3, st: 2, free: 1, walk: 0, VA: 2, SYNC: 2, cmd: 4, live: 0 },
    tables: 'raw',
  },
  { name: 'two-step, joined', way: 'two-step', vectors: joined, ...block, tables: 'joined' },
];

export const s13: Scenario = {
  id: 'S1-3',
  title: 'contiguous 2 MiB in 512 vectors',
  *cases(): Iterable<ScenarioCase> {
    for (const { name, way, vectors, map, undo, tables } of CONTIGUOUS) {
      yield dmaCase({
        way: name,
        run(dma) {
          const { counts, request } = mapCounted(dma, way, vectors);
          dma.later(request.undo);
          return { ...counts, first: hex(request.addresses[0] ?? 0) };
        },
        expected: map,
        tables,
      });
      yield dmaCase({
        way: `${name}: undo`,
        run: (dma) => undoCounted(dma, mapCounted(dma, way, vectors).request, vectors),
        expected: undo,
      });
    }
  },
};
