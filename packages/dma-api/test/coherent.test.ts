import { FrameAllocator, NonCoherentView, PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AllocRequest,
  type CoherentMemory,
  DMA_PROFILES,
  DmaDebug,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaMemory,
} from '../src/index.ts';
import { h } from './call.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

const BASE = 0x4000_0000;
const MiB = 0x10_0000;

interface Rig {
  readonly m: Machine;
  readonly dev: DmaDevice;
  readonly frames: FrameAllocator;
}

/** A machine with 32 MiB to allocate from and, unless said, no atomic pool. */
function rig(
  options: MachineOptions = {},
  device: Partial<DmaDeviceOptions> = {},
  memory: Partial<DmaMemory> = {},
): Rig {
  const frames = new FrameAllocator({ base: BASE, size: 32 * MiB });
  const api = { memory: { frames, atomicPool: 0, ...memory }, ...options.api };
  const m = new Machine({ version: '7.3', ...options, api });
  const dev = m.setUp(device);
  m.take();
  return { m, dev, frames };
}

const lengths = (memory: CoherentMemory | null) => memory?.runs.map(({ length }) => length);
const maps = (m: Machine) => m.take().filter(([name]) => name === 'map');

function got(memory: CoherentMemory | null): CoherentMemory {
  if (memory === null) throw new Error('no memory');
  return memory;
}

describe('who may wait gets scattered pages behind one IOVA (iommu_dma_alloc_remap)', () => {
  it('as large pieces as the domain maps: 513 pages are 2 MiB and one page', () => {
    const { m, dev, frames } = rig();
    const memory = got(m.dma.allocAttrs(dev, 513 * 4096));
    expect([memory.origin, frames.used, frames.allocCalls]).toEqual(['scattered', 513, 2]);
    expect(maps(m)).toEqual([
      ['map', h(memory.dmaAddress), h(BASE), '0x200000', 1, 7],
      ['map', h(memory.dmaAddress + 2 * MiB), h(BASE + 2 * MiB), '0x1000', 1, 7],
    ]);
    m.dma.freeAttrs(dev, memory);
    expect([frames.used, m.mappedPages]).toEqual([0, 0]);
  });

  it.each<[string, number, Partial<DmaMemory>, AllocRequest, number]>([
    ['single pages when asked for', 513, {}, { attrs: { allocSinglePages: true } }, 513],
    ['orders of the domain only: 512 pages of 4 KiB, 1023 pages', 1023, {}, {}, 1 + 511],
    ['no order above the largest', 512, { maxPageOrder: 8 }, {}, 512],
  ])('%s', (_, pages, memory, request, calls) => {
    const { m, dev, frames } = rig({}, {}, memory);
    const found = got(m.dma.allocAttrs(dev, pages * 4096, request));
    expect([frames.allocCalls, frames.used]).toEqual([calls, pages]);
    m.dma.freeAttrs(dev, found);
    expect(frames.used).toBe(0);
  });

  it('an order that failed once is not tried again', () => {
    const { m, dev, frames } = rig();
    frames.failIn = 1;
    got(m.dma.allocAttrs(dev, 1024 * 4096));
    expect(frames.allocCalls).toBe(1 + 1024);
  });

  it.each([1, 2, 300])('no memory at piece %i: null, and nothing kept', (piece) => {
    const { m, dev, frames } = rig({ pgsizeBitmap: 0x1000 });
    frames.failIn = piece;
    expect(m.dma.allocAttrs(dev, 400 * 4096)).toBeNull();
    expect([frames.used, m.take()]).toEqual([0, []]);
  });

  it('no table: null, IOVA and pages go back', () => {
    const { m, dev, frames } = rig({ mock: { fail_call: 1, fail_errno: 12 } });
    expect(m.dma.allocAttrs(dev, 4096)).toBeNull();
    expect([frames.used, m.take().at(-1)?.[0]]).toEqual([0, 'free_iova']);
    expect(m.events.at(-1)).toMatchObject({ name: 'dma_alloc', dmaAddr: 0, size: 4096 });
  });

  it('below the coherent mask, in whole granules', () => {
    const { m, dev } = rig({}, { dmaBits: 48, coherentDmaBits: 32 });
    const memory = got(m.dma.allocAttrs(dev, 100));
    expect([memory.dmaAddress, memory.size, lengths(memory)]).toEqual([0xffff_f000, 100, [0x1000]]);
  });

  it('privileged memory stays privileged', () => {
    const { m, dev } = rig();
    for (const wait of ['may-wait', 'cannot-wait'] as const)
      got(m.dma.allocAttrs(dev, 4096, { wait, attrs: { privileged: true } }));
    expect(maps(m).map((call) => call.at(-1))).toEqual([39, 39]);
  });

  it('a granule above the page: sizes grow to it', () => {
    const { m, dev, frames } = rig({ pgsizeBitmap: 0x2001_0000 });
    const memory = got(m.dma.allocAttrs(dev, 4096));
    expect([lengths(memory), frames.used]).toEqual([[0x1_0000], 16]);
    expect(maps(m)).toEqual([['map', h(memory.dmaAddress), h(BASE), '0x10000', 1, 7]]);
    m.dma.freeAttrs(dev, memory);
    expect([frames.used, m.mappedPages]).toEqual([0, 0]);
  });

  it('a granule below the page: whole pages, but no more IOVA than the size needs', () => {
    const { m, dev, frames } = rig({}, {}, { pageSize: 0x1_0000 });
    const memory = got(m.dma.allocAttrs(dev, 0x1800));
    expect(frames.used).toBe(16);
    expect(m.take()[0]).toEqual(['alloc_iova', '0x2', h(2 ** 36 - 1), 1, h(2 ** 36 - 2)]);
    expect(m.mappedPages).toBe(2);
    m.dma.freeAttrs(dev, memory);
    expect([frames.used, m.mappedPages]).toEqual([0, 0]);
  });

  it('page sizes above 4 GiB do not count', () => {
    const { m, dev, frames } = rig({ pgsizeBitmap: 0x80_0000_1000 });
    got(m.dma.allocAttrs(dev, 2 * MiB));
    expect(frames.allocCalls).toBe(512);
  });

  it('a device that does not snoop: caches are cleaned before the map, and no CACHE bit', () => {
    const { m, dev } = rig({}, { coherent: false });
    const memory = got(m.dma.allocAttrs(dev, 0x1800));
    expect(m.take().slice(1)).toEqual([
      ['cache_dev', h(BASE), '0x2000'],
      ['map', h(memory.dmaAddress), h(BASE), '0x1000', 2, 3],
    ]);
  });
});

describe('in one piece', () => {
  it.each<[string, AllocRequest]>([
    ['forceContiguous', { attrs: { forceContiguous: true } }],
    ['who cannot wait, for a device that snoops', { wait: 'cannot-wait' }],
  ])('%s', (_, request) => {
    const { m, dev, frames } = rig();
    const memory = got(m.dma.allocAttrs(dev, 3 * 4096, request));
    // Four pages are the order; the fourth goes back.
    expect([memory.origin, frames.allocCalls, frames.used]).toEqual(['contiguous', 1, 3]);
    expect(memory.runs).toEqual([{ paddr: BASE, length: 0x3000 }]);
    m.dma.freeAttrs(dev, memory);
    expect([frames.used, m.mappedPages]).toEqual([0, 0]);
  });

  it('a device that does not snoop: caches are cleaned before the map', () => {
    const { m, dev } = rig({}, { coherent: false });
    const memory = got(m.dma.allocAttrs(dev, 0x1800, { attrs: { forceContiguous: true } }));
    expect(m.take().filter(([name]) => name !== 'alloc_iova')).toEqual([
      ['cache_dev', h(BASE), '0x1800'],
      ['map', h(memory.dmaAddress), h(BASE), '0x1000', 2, 3],
    ]);
  });

  it('more than the largest order: null', () => {
    const { m, dev, frames } = rig();
    expect(m.dma.allocAttrs(dev, 4 * MiB + 1, { attrs: { forceContiguous: true } })).toBeNull();
    expect(frames.used).toBe(0);
    expect(m.dma.allocAttrs(dev, 4 * MiB, { attrs: { forceContiguous: true } })).not.toBeNull();
  });

  it('no table: the pages go back', () => {
    const { m, dev, frames } = rig({ mock: { fail_call: 1, fail_errno: 12 } });
    expect(m.dma.allocAttrs(dev, 8192, { wait: 'cannot-wait' })).toBeNull();
    expect(frames.used).toBe(0);
  });
});

describe('the atomic pool: who cannot wait, for a device that does not snoop', () => {
  const atomic: AllocRequest = { wait: 'cannot-wait' };
  const poolOf = (atomicPool: number | undefined = undefined) => {
    const frames = new FrameAllocator({ base: BASE, size: 32 * MiB });
    const memory = atomicPool === undefined ? { frames } : { frames, atomicPool };
    const m = new Machine({ version: '7.3', api: { memory } });
    return { m, dev: m.setUp({ coherent: false }), frames };
  };

  it('128 KiB are ready at the start, and calls take nothing from the frames', () => {
    const { m, dev, frames } = poolOf();
    expect(frames.used).toBe(32);
    const calls = frames.allocCalls;
    const memory = got(m.dma.allocAttrs(dev, 100, atomic));
    expect([memory.origin, frames.allocCalls]).toEqual(['pool', calls]);
    m.dma.freeAttrs(dev, memory);
    expect([frames.used, m.mappedPages]).toEqual([32, 0]);
  });

  it('caches are cleaned once, when memory joins the pool', () => {
    const { m, dev } = poolOf();
    got(m.dma.allocAttrs(dev, 100, atomic));
    expect(m.take().filter(([name]) => name === 'cache_dev')).toEqual([
      ['cache_dev', h(BASE), '0x20000'],
    ]);
  });

  it('what was freed before the work item ran needs no growth', () => {
    const { m, dev, frames } = poolOf();
    m.dma.freeAttrs(dev, got(m.dma.allocAttrs(dev, 4096, atomic)));
    m.platform.clock.advance(0);
    expect(frames.used).toBe(32);
  });

  it('pieces are aligned to their order', () => {
    const { m, dev } = poolOf();
    const starts = [1, 3, 2, 1].map(
      (pages) =>
        ((got(m.dma.allocAttrs(dev, pages * 4096, atomic)).runs[0]?.paddr ?? 0) - BASE) / 4096,
    );
    expect(starts).toEqual([0, 4, 2, 1]);
  });

  it('doubles from a work item as soon as less than its first size is free', () => {
    const { m, dev, frames } = poolOf();
    got(m.dma.allocAttrs(dev, 4096, atomic));
    expect(frames.used).toBe(32);
    m.platform.clock.advance(0);
    expect(frames.used).toBe(64);
    // 63 pages are free: enough, until less than 32 are.
    got(m.dma.allocAttrs(dev, 31 * 4096, atomic));
    m.platform.clock.advance(0);
    expect(frames.used).toBe(64);
    got(m.dma.allocAttrs(dev, 4096, atomic));
    m.platform.clock.advance(0);
    expect(frames.used).toBe(128);
  });

  it.each<['6.12' | '7.2', number, AllocRequest, string | null]>([
    ['7.2', 0x1000, atomic, 'DMA pool exhausted for d'],
    ['7.2', 0x1000, { ...atomic, attrs: { noWarn: true } }, null],
    ['7.2', 0, { ...atomic, attrs: { noWarn: true } }, 'Failed to get suitable pool for d'],
    ['6.12', 0x1000, { ...atomic, attrs: { noWarn: true } }, 'Failed to get suitable pool for d'],
  ])("full: null, with the kernel's warning: %s, %i bytes, %j", (version, size, request, text) => {
    const { m, dev } = rig({ version }, { coherent: false }, { atomicPool: size });
    if (size > 0) got(m.dma.allocAttrs(dev, 4096, atomic));
    m.takeLog();
    expect(m.dma.allocAttrs(dev, 4096, request)).toBeNull();
    expect(m.takeLog().log).toEqual(text === null ? [] : [['warn_once', text]]);
  });

  it.each([
    ['1 GiB', 2 ** 30, 32],
    ['3 GiB, 96 pages, rounded up to an order', 3 * 2 ** 30, 128],
    ['64 GiB: the largest order', 2 ** 36, 1024],
  ])('a share of memory: %s', (_, end, pages) => {
    const frames = new FrameAllocator({ base: BASE, size: 32 * MiB });
    new Machine({ version: '7.3', api: { memory: { frames }, ram: { start: 0, end } } });
    expect(frames.used).toBe(pages);
  });

  it('no memory for the pool: as much as there is, or a warning', () => {
    const frames = new FrameAllocator({ base: BASE, size: 0x4000 });
    new Machine({ version: '7.3', api: { memory: { frames } } });
    expect(frames.used).toBe(4);
    const m = new Machine({ version: '7.3', api: { memory: { frames } } });
    expect(m.takeLog().log).toEqual([
      ['warn', 'DMA: failed to allocate 128 KiB GFP_KERNEL pool for atomic allocation'],
    ]);
  });
});

describe('without IOMMU: in one piece below the coherent mask (dma_direct_alloc)', () => {
  const high = { base: 2 ** 32, size: MiB };
  const low = { base: 0x1000_0000, size: MiB };
  const direct = (device: Partial<DmaDeviceOptions>, withLow: 'low' | 'no-low') => {
    const frames = new FrameAllocator(high);
    const lowFrames = new FrameAllocator(low);
    const memory = withLow === 'low' ? { frames, lowFrames } : { frames };
    const m = new Machine({
      version: '7.3',
      type: 'identity',
      api: { memory: { ...memory, atomicPool: 0 } },
    });
    return { m, dev: m.setUp(device), frames, lowFrames };
  };

  it('memory that the device reaches is taken as it is', () => {
    const { m, dev, frames, lowFrames } = direct({ coherentDmaBits: 36 }, 'low');
    const memory = got(m.dma.allocCoherent(dev, 4096));
    expect([memory.dmaAddress, frames.used, lowFrames.used]).toEqual([2 ** 32, 1, 0]);
    m.dma.freeCoherent(dev, memory);
    expect(frames.used).toBe(0);
  });

  it('memory out of reach goes back, and the low zone is tried', () => {
    const { m, dev, frames, lowFrames } = direct({ coherentDmaBits: 32 }, 'low');
    const memory = got(m.dma.allocCoherent(dev, 0x3000));
    expect([memory.dmaAddress, frames.used, lowFrames.used]).toEqual([0x1000_0000, 0, 3]);
    m.dma.freeCoherent(dev, memory);
    expect(lowFrames.used).toBe(0);
  });

  it.each([{ coherentDmaBits: 32 }, { coherentDmaBits: 64, busDmaLimit: 2 ** 32 }])(
    'nothing in reach: null, and nothing kept (%j)',
    (options) => {
      const { m, dev, frames } = direct(options, 'no-low');
      expect(m.dma.allocCoherent(dev, 4096)).toBeNull();
      expect(frames.used).toBe(0);
    },
  );

  it('scattered pages of a provider go back before the refusal', () => {
    const { m, dev } = direct({}, 'no-low');
    const runs = [0x1000, 0x5000].map((paddr) => ({ paddr, length: 0x1000 }));
    const freed: unknown[] = [];
    const pages = { alloc: () => runs, free: (given: unknown) => freed.push(given) };
    expect(codeOf(() => m.dma.allocCoherent(dev, 0x2000, pages))).toBe('PAGES_SCATTERED');
    expect(freed).toEqual([runs]);
  });
});

describe('pages for streaming', () => {
  it('allocPages: mapped with the streaming mask and the direction, never cleaned', () => {
    const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'], errors: 'all' });
    const { m, dev, frames } = rig({ api: { debug } }, { coherent: false, dmaBits: 32 });
    const memory = got(m.dma.allocPages(dev, 0x2801, 'FROM_DEVICE'));
    expect([memory.size, memory.dmaAddress, frames.used]).toEqual([0x3000, 0xffff_c000, 3]);
    expect(m.take().slice(1)).toEqual([['map', '0xffffc000', h(BASE), '0x1000', 3, 2]]);
    m.dma.freePages(dev, memory, 'TO_DEVICE');
    expect([frames.used, m.mappedPages]).toEqual([0, 0]);
    expect(debug.reports.map(({ rule }) => rule)).toEqual(['free-direction']);
  });

  it("allocNoncontiguous: scattered, one segment, and a kernel's view of its pages in order", () => {
    const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'], errors: 'all' });
    const { m, dev, frames } = rig({ api: { debug } });
    // Every other page is taken, so that no two are adjacent.
    const taken = Array.from({ length: 6 }, () => frames.alloc(4096));
    for (const at of taken.filter((_, i) => i % 2 === 0)) frames.free(at, 4096);
    const memory = got(m.dma.allocNoncontiguous(dev, 0x2800, 'TO_DEVICE'));
    const pages = [0, 2, 4].map((i) => BASE + i * 0x1000);
    expect(m.dma.vmapNoncontiguous(dev, memory)).toEqual(pages);
    expect(m.dma.getSgtable(memory)).toEqual([
      { paddr: pages[0], length: 0x1000 },
      { paddr: pages[1], length: 0x1000 },
      { paddr: pages[2], length: 0x800 },
    ]);
    expect(m.mappedPages).toBe(3);
    m.dma.freeNoncontiguous(dev, memory, 'TO_DEVICE');
    expect([frames.used, m.mappedPages, debug.reports]).toEqual([3, 0, []]);
  });

  it('allocNoncontiguous without IOMMU is one piece; other attributes than single pages are refused with a warning', () => {
    const { m, dev, frames } = rig({ type: 'identity' });
    const memory = got(m.dma.allocNoncontiguous(dev, 0x2800, 'TO_DEVICE'));
    expect([memory.dmaAddress, memory.runs.length]).toEqual([BASE, 1]);
    m.dma.freeNoncontiguous(dev, memory, 'TO_DEVICE');
    m.takeLog();
    const attrs = { forceContiguous: true };
    expect(m.dma.allocNoncontiguous(dev, 0x1000, 'TO_DEVICE', attrs)).toBeNull();
    expect([m.takeLog().warns, frames.used]).toEqual([1, 0]);
    expect(
      m.dma.allocNoncontiguous(dev, 0x1000, 'TO_DEVICE', { allocSinglePages: true }),
    ).not.toBeNull();
  });
});

it('memory that the wrong call frees goes where it is from, and debugging says so', () => {
  const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'], errors: 'all' });
  const { m, dev, frames } = rig({ api: { debug } }, { coherent: false }, { atomicPool: 0x1000 });
  const memory = got(m.dma.allocAttrs(dev, 4096, { wait: 'cannot-wait' }));
  m.dma.freePages(dev, memory, 'BIDIRECTIONAL');
  expect([frames.used, m.mappedPages]).toEqual([1, 0]);
  expect(got(m.dma.allocAttrs(dev, 4096, { wait: 'cannot-wait' })).runs).toEqual(memory.runs);
  expect(debug.reports.map(({ text }) => text)).toEqual([
    'DMA-API: platform d: device driver frees DMA memory with wrong function [device address=0x0000fffffffff000] [size=4096 bytes] [mapped as coherent] [unmapped as noncoherent]',
  ]);
});

describe('memory in an address space', () => {
  it.each([
    ['all of it', 0, 3, [0, 1, 2]],
    ['its last page', 2, 1, [2]],
    ['nothing, at its beginning', 0, 0, []],
    ['one page too many', 1, 3, -6],
    ['behind its end', 3, 0, -6],
  ] as const)('%s', (_, pgoff, pages, expected) => {
    const { m, dev } = rig();
    const memory = got(m.dma.allocAttrs(dev, 0x2001));
    const result = m.dma.mmapCoherent(memory, { pgoff, pages });
    expect(
      typeof result === 'number' ? result : result.map((paddr) => (paddr - BASE) / 4096),
    ).toEqual(expected);
  });

  it('a table of memory in one piece has whole pages, one of scattered memory the size', () => {
    const { m, dev } = rig();
    const table = (request: AllocRequest) =>
      m.dma.getSgtable(got(m.dma.allocAttrs(dev, 0x1800, request))).map(({ length }) => length);
    expect(table({})).toEqual([0x1800]);
    expect(table({ attrs: { forceContiguous: true } })).toEqual([0x2000]);
  });
});

describe('memory is zeroed, also for a device that does not snoop', () => {
  it.each<[string, Partial<DmaDeviceOptions>, AllocRequest]>([
    ['scattered', {}, {}],
    ['contiguous', {}, { wait: 'cannot-wait' }],
    ['pool', { coherent: false }, { wait: 'cannot-wait' }],
  ])('%s', (origin, options, request) => {
    const device = new PhysicalMemory([{ base: BASE, size: 32 * MiB }]);
    for (let at = BASE; at < BASE + MiB; at += 4) device.store32(at, 0x5a5a_5a5a);
    const view = new NonCoherentView(device);
    const { m, dev } = rig({}, options, { view, atomicPool: 0x2_0000 });
    const memory = got(m.dma.allocAttrs(dev, 0x1800, request));
    expect(memory.origin).toBe(origin);
    for (const { paddr, length } of memory.runs)
      for (let at = paddr; at < paddr + length; at += 4) expect(device.load32(at)).toBe(0);
  });
});

describe('any mix of allocations', () => {
  const asked = fc.record({
    call: fc.constantFrom('attrs', 'contiguous', 'atomic', 'pages', 'noncontiguous'),
    size: fc.integer({ min: 1, max: 0x5_0000 }),
    // Which of the live ones is freed instead, if there is one.
    free: fc.option(fc.nat(20), { freq: 2 }),
    failIn: fc.option(fc.integer({ min: 1, max: 6 }), { freq: 6 }),
  });
  it.each([
    ['4 KiB', 0x4020_1000, 4096, true],
    ['a granule of 64 KiB', 0x2001_0000, 4096, true],
    ['a page of 16 KiB over a granule of 4 KiB', 0x4020_1000, 0x4000, true],
    ['a device that does not snoop', 0x4020_1000, 4096, false],
  ])('%s: each byte is where its runs say, none is given twice, and nothing stays', (...row) => {
    const [, pgsizeBitmap, pageSize, coherent] = row;
    fc.assert(
      fc.property(fc.array(asked, { maxLength: 40 }), (steps) => {
        const { m, dev, frames } = rig({ pgsizeBitmap }, { coherent }, { pageSize });
        const live: { memory: CoherentMemory; free(): void }[] = [];
        const { dma } = m;
        const keep = (memory: CoherentMemory | null, free: (given: CoherentMemory) => void) => {
          if (memory !== null) live.push({ memory, free: () => free(memory) });
        };
        for (const { call, size, free, failIn } of steps) {
          if (free !== null && live.length > 0) {
            live.splice(free % live.length, 1)[0]?.free();
            continue;
          }
          frames.failIn = failIn ?? 0;
          if (call === 'pages')
            keep(dma.allocPages(dev, size, 'FROM_DEVICE'), (one) =>
              dma.freePages(dev, one, 'FROM_DEVICE'),
            );
          else if (call === 'noncontiguous')
            keep(dma.allocNoncontiguous(dev, size, 'FROM_DEVICE'), (one) =>
              dma.freeNoncontiguous(dev, one, 'FROM_DEVICE'),
            );
          else
            keep(
              dma.allocAttrs(dev, size, {
                wait: call === 'atomic' ? 'cannot-wait' : 'may-wait',
                attrs: { forceContiguous: call === 'contiguous' },
              }),
              (one) => dma.freeAttrs(dev, one),
            );
          frames.failIn = 0;
        }
        const seen = new Set<number>();
        for (const { memory } of live) {
          let at = memory.dmaAddress;
          for (const { paddr, length } of memory.runs)
            for (let page = paddr; page < paddr + length; page += 4096, at += 4096) {
              expect(seen.has(page)).toBe(false);
              seen.add(page);
              if (at < memory.dmaAddress + memory.size) expect(m.iovaToPhys(at)).toBe(page);
            }
        }
        expect(frames.used).toBe(seen.size);
        for (const { free } of live) free();
        expect([frames.used, m.mappedPages]).toEqual([0, 0]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('refusals leave everything as it was', () => {
  it.each([0, -4096, 1.5, Number.NaN])('%f bytes', (size) => {
    const { m, dev, frames } = rig();
    for (const call of [
      () => m.dma.allocAttrs(dev, size),
      () => m.dma.allocPages(dev, size, 'TO_DEVICE'),
      () => m.dma.allocNoncontiguous(dev, size, 'TO_DEVICE'),
    ])
      expect(codeOf(call)).toBe('DMA_PARAMETER');
    expect([frames.used, m.take()]).toEqual([0, []]);
  });

  it('no memory to take from', () => {
    const m = new Machine();
    const dev = m.setUp();
    expect(codeOf(() => m.dma.allocCoherent(dev, 4096))).toBe('DMA_MEMORY');
    expect(codeOf(() => m.dma.allocPages(dev, 4096, 'TO_DEVICE'))).toBe('DMA_MEMORY');
  });

  it('memory that is not held: freed twice, by another device, made up, or with a strange provider', () => {
    const { m, dev, frames } = rig();
    const other = m.setUp({}, m.device('other', 'other'));
    const memory = got(m.dma.allocCoherent(dev, 4096));
    const provider = { alloc: () => null, free() {} };
    m.take();
    for (const call of [
      () => m.dma.freeCoherent(other, memory),
      () => m.dma.freeCoherent(dev, { ...memory }),
      () => m.dma.freeCoherent(dev, memory, provider),
      () => m.dma.freePages(other, memory, 'TO_DEVICE'),
      () => m.dma.freeNoncontiguous(other, memory, 'TO_DEVICE'),
    ])
      expect(codeOf(call)).toBe('MEMORY_FOREIGN');
    expect([frames.used, m.take()]).toEqual([1, []]);
    m.dma.freeCoherent(dev, memory);
    expect(codeOf(() => m.dma.freeCoherent(dev, memory))).toBe('MEMORY_FOREIGN');
  });

  it.each([{ pageSize: 2048 }, { pageSize: 5000 }, { maxPageOrder: -1 }, { maxPageOrder: 21 }])(
    'memory %j',
    (bad) => {
      expect(codeOf(() => rig({}, {}, bad))).toBe('DMA_PARAMETER');
    },
  );
});
