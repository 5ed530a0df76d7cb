import { describe, expect, it } from 'vitest';
import { type CoherentMemory, DMA_PROFILES, DmaDebug, type DmaDebugOptions } from '../src/index.ts';
import { type Bench, bench, lines, list, mapped, provider, type Version } from './debug-rig.ts';
import { codeOf, Machine } from './fake-iommu.ts';

describe('what is no mistake', () => {
  const rows: [string, (b: Bench) => void][] = [
    [
      'map, check, sync parts both ways, unmap',
      (b) => {
        const address = mapped(b);
        b.dma.syncForCpu(b.dev, address + 0x40, 0xc0, 'FROM_DEVICE');
        b.dma.syncForDevice(b.dev, address, 0x100, 'FROM_DEVICE');
        b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE');
      },
    ],
    [
      'any sync of a mapping of both directions',
      ({ dma, dev }) => {
        const address = dma.mapPhys(dev, 0x4000_0000, 0x100, 'BIDIRECTIONAL');
        dma.mappingError(dev, address);
        dma.syncForCpu(dev, address, 0x100, 'FROM_DEVICE');
        dma.syncForDevice(dev, address, 0x100, 'TO_DEVICE');
        dma.unmapPhys(dev, address, 0x100, 'BIDIRECTIONAL');
      },
    ],
    [
      'a list in fewer segments',
      ({ dma, dev }) => {
        const sg = list(0x4000_0000, 0x5000_0000, 0x6000_0000);
        dma.mapSg(dev, sg, 'FROM_DEVICE');
        dma.syncSgForCpu(dev, sg, 'FROM_DEVICE');
        dma.syncSgForDevice(dev, sg, 'FROM_DEVICE');
        dma.unmapSg(dev, sg, 'FROM_DEVICE');
      },
    ],
    [
      'one line twice that devices only read, or whose caller syncs the caches',
      ({ dma, dev }) => {
        for (const [dir, attrs] of [
          ['TO_DEVICE', undefined],
          ['FROM_DEVICE', { skipCpuSync: true }],
        ] as const) {
          const two = [0, 1].map(() => dma.mapPhys(dev, 0x4000_0000, 64, dir, attrs));
          for (const address of two) {
            dma.mappingError(dev, address);
            dma.unmapPhys(dev, address, 64, dir, attrs);
          }
        }
      },
    ],
    [
      'coherent memory',
      ({ dma, dev }) => {
        const pages = provider(0x4000_0000);
        dma.freeCoherent(dev, dma.allocCoherent(dev, 100, pages) as CoherentMemory, pages);
      },
    ],
    [
      'handles: a handle that is there was checked',
      ({ dma, dev }) => {
        const handle = dma.mapPhysHandle(dev, 0x4000_0000, 0x100, 'FROM_DEVICE');
        if (handle === null) throw new Error('not mapped');
        dma.syncHandleForCpu(dev, handle);
        dma.unmapHandle(dev, handle);
        const sg = dma.mapSgHandle(dev, list(0x4000_0000), 'FROM_DEVICE');
        if (typeof sg === 'number') throw new Error('not mapped');
        dma.syncSgHandleForCpu(dev, sg);
        dma.unmapSgHandle(dev, sg);
      },
    ],
    [
      'skipCpuSync at one end only',
      (b) => b.dma.unmapPhys(b.dev, mapped(b), 0x100, 'FROM_DEVICE', { skipCpuSync: true }),
    ],
  ];
  it.each(rows)('%s', (_, use) => {
    const b = bench();
    use(b);
    b.dma.releaseDevice(b.dev);
    expect(b.debug.reports).toEqual([]);
    expect(b.debug.state()).toMatchObject({ live: 0, errorCount: 0 });
  });

  it('overlaps that their drivers declare, from 7.2 on; or where small buffers are bounced', () => {
    const overlaps = (version: Version, options: Partial<DmaDebugOptions>, coherent: boolean[]) => {
      const b = bench(options, { version });
      for (const requireCoherent of coherent)
        b.dma.mapPhys(b.dev, 0x4000_0000, 64, 'FROM_DEVICE', { requireCoherent });
      return b.debug.countOf('overlap');
    };
    expect(overlaps('7.3', {}, [true, true])).toBe(0);
    expect(overlaps('7.3', {}, [true, false])).toBe(1);
    expect(overlaps('7.3', {}, [false, true])).toBe(1);
    expect(overlaps('6.12', {}, [true, true])).toBe(1);
    expect(overlaps('7.3', { kmallocBounces: true }, [false, false])).toBe(0);
    expect(overlaps('6.12', { kmallocBounces: true }, [false, false])).toBe(1);
  });

  it('calls do the same with and without debugging', () => {
    const calls = (debug: DmaDebug | null) => {
      const m = new Machine({ version: '7.3', api: debug === null ? {} : { debug } });
      const dev = m.setUp({ coherent: false });
      const address = m.dma.mapPhys(dev, 0x4000_0100, 0x100, 'FROM_DEVICE');
      m.dma.syncForCpu(dev, address, 0x200, 'TO_DEVICE');
      m.dma.unmapPhys(dev, address, 0x80, 'TO_DEVICE');
      return m.take();
    };
    const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'] });
    expect(calls(debug)).toEqual(calls(null));
    expect(debug.state().errorCount).toBe(4);
  });
});

describe('every sync is seen', () => {
  const wrongWay = (b: Bench, how: 'single' | 'list' | 'table', to: 'cpu' | 'device') => {
    const { dma, dev } = b;
    if (how === 'single') {
      const address = mapped(b);
      if (to === 'cpu') dma.syncForCpu(dev, address, 64, 'TO_DEVICE');
      else dma.syncForDevice(dev, address, 64, 'TO_DEVICE');
      return;
    }
    const table = { sg: list(0x4000_0000), nents: 0 };
    dma.mapSgtable(dev, table, 'FROM_DEVICE');
    if (how === 'list' && to === 'cpu') dma.syncSgForCpu(dev, table.sg, 'TO_DEVICE');
    else if (how === 'list') dma.syncSgForDevice(dev, table.sg, 'TO_DEVICE');
    else if (to === 'cpu') dma.syncSgtableForCpu(dev, table, 'TO_DEVICE');
    else dma.syncSgtableForDevice(dev, table, 'TO_DEVICE');
  };
  it.each([
    ['single', 'cpu', ['sync-direction']],
    ['single', 'device', ['sync-direction', 'sync-write-only']],
    ['list', 'cpu', ['sync-direction']],
    ['list', 'device', ['sync-direction', 'sync-write-only']],
    ['table', 'cpu', ['sync-direction']],
    ['table', 'device', ['sync-direction', 'sync-write-only']],
  ] as const)('%s for the %s', (how, to, expected) => {
    const b = bench();
    wrongWay(b, how, to);
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(expected);
  });

  // A handle keeps address and direction, so its syncs can only be wrong in what debugging was told before.
  it.each(['cpu', 'device'] as const)('by handle for the %s', (to) => {
    const b = bench();
    const handle = b.dma.mapPhysHandle(b.dev, 0x4000_0000, 0x100, 'FROM_DEVICE');
    const sg = b.dma.mapSgHandle(b.dev, list(0x5000_0000), 'FROM_DEVICE');
    if (handle === null || typeof sg === 'number') throw new Error('not mapped');
    const forget = { dmaAddr: handle.dmaAddr, size: 0x100, dir: 'FROM_DEVICE' } as const;
    b.debug.unmapPhys(b.dev, forget);
    if (to === 'cpu') {
      b.dma.syncHandleForCpu(b.dev, handle, 0x40, 0x80);
      b.dma.syncSgHandleForCpu(b.dev, sg);
    } else {
      b.dma.syncHandleForDevice(b.dev, handle, 0x40, 0x80);
      b.dma.syncSgHandleForDevice(b.dev, sg);
    }
    expect(lines(b.debug.reports)).toEqual([
      [
        'sync-unallocated',
        'device driver tries to sync DMA memory it has not allocated [device address=0x0000fffffffff040] [size=128 bytes]',
      ],
    ]);
  });
});

describe('the words of other kernels', () => {
  const wrong = (version: Version) => {
    const b = bench({}, { version });
    const sg = list(0x4000_0000);
    b.dma.mapSg(b.dev, sg, 'FROM_DEVICE');
    b.dma.unmapPhys(b.dev, sg[0]?.dmaAddress ?? 0, 0x1000, 'FROM_DEVICE');
    return b.debug.reports[0]?.text.split(' [mapped as ')[1];
  };
  it.each([
    ['6.1', 'scather-gather] [unmapped as single]'],
    ['6.12', 'scatter-gather] [unmapped as single]'],
    ['7.2', 'scatter-gather] [unmapped as phy]'],
    ['7.3', 'scatter-gather] [unmapped as phy]'],
  ] as const)('%s', (version, expected) => {
    expect(wrong(version)).toBe(expected);
  });

  it.each([
    ['7.2', []],
    ['7.3', ['free-attributes']],
  ] as const)('%s and other attributes: %j', (version, expected) => {
    const b = bench({}, { version });
    b.dma.unmapPhys(b.dev, mapped(b), 0x100, 'FROM_DEVICE', { privileged: true });
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(expected);
  });

  it('6.12 tells resources from single mappings, and follows no allocPages', () => {
    const b = bench({}, { version: '6.12' });
    const address = b.dma.mapResource(b.dev, 0x4000_0000, 64, 'TO_DEVICE');
    b.dma.mappingError(b.dev, address);
    b.dma.unmapPhys(b.dev, address, 64, 'TO_DEVICE');
    expect(b.debug.reports[0]?.text).toContain('[mapped as resource] [unmapped as single]');
  });
});

describe('entries and reports', () => {
  it('65,536 entries at the start, more when they are used up', () => {
    const printed: string[] = [];
    const b = bench({ print: (text) => printed.push(text) });
    expect(b.debug.state()).toMatchObject({ nrTotalEntries: 65536, numFreeEntries: 65536 });
    expect(printed).toEqual([
      'DMA-API: preallocated 65536 debug entries',
      'DMA-API: debugging enabled by kernel config',
    ]);
  });

  it('a pool that doubled is told of', () => {
    const printed: string[] = [];
    const b = bench({ entries: 32, print: (text) => printed.push(text) });
    for (let i = 0; i < 33; i++) mapped(b, 0x4000_0000 + i * 0x1000);
    expect(printed.at(-1)).toBe('DMA-API: dma_debug_entry pool grown to 64 (200%)');
    expect(b.debug.state()).toMatchObject({
      live: 33,
      nrTotalEntries: 64,
      numFreeEntries: 31,
      minFreeEntries: 0,
    });
  });

  it('without memory for more it ends for good, and reports nothing any more', () => {
    const printed: string[] = [];
    const b = bench({ entries: 32, maxEntries: 32, print: (text) => printed.push(text) });
    for (let i = 0; i < 33; i++) mapped(b, 0x4000_0000 + i * 0x1000);
    expect(printed.at(-1)).toBe('DMA-API: debugging out of memory - disabling');
    b.dma.unmapPhys(b.dev, 0x1000, 1, 'FROM_DEVICE');
    b.dma.syncForCpu(b.dev, 0x1000, 1, 'FROM_DEVICE');
    b.dma.releaseDevice(b.dev);
    expect(b.debug.reports).toEqual([]);
    expect(b.debug.state()).toMatchObject({ disabled: true, errorCount: 0 });
  });

  it('shows one report, or as many as asked for, and counts all', () => {
    const shown = (errors: number | 'all' | undefined, driver?: string) => {
      const b = bench({
        ...(errors === undefined ? {} : { errors }),
        ...(driver === undefined ? {} : { driver }),
        driverOf: () => 'net',
      });
      for (let i = 0; i < 3; i++) b.dma.unmapPhys(b.dev, 0x1000, 1, 'FROM_DEVICE');
      expect(b.debug.reports[0]?.text).toMatch(/^DMA-API: net d: /);
      return [b.debug.state().errorCount, ...b.debug.reports.map((report) => report.shown)];
    };
    expect(shown(1)).toEqual([3, true, false, false]);
    expect(shown(2)).toEqual([3, true, true, false]);
    expect(shown('all')).toEqual([3, true, true, true]);
    expect(shown('all', 'net')).toEqual([3, true, true, true]);
    expect(shown('all', 'disk')).toEqual([3, false, false, false]);
  });

  it('of several mappings at one address the one that agrees in everything is freed', () => {
    const b = bench({}, { type: 'identity' });
    const first = b.dma.mapPhys(b.dev, 0x4000_0000, 0x100, 'TO_DEVICE');
    const second = b.dma.mapPhys(b.dev, 0x4000_0000, 0x200, 'TO_DEVICE');
    expect(second).toBe(first);
    b.dma.mappingError(b.dev, first);
    b.dma.mappingError(b.dev, second);
    b.dma.unmapPhys(b.dev, second, 0x200, 'TO_DEVICE');
    expect(b.debug.reports).toEqual([]);
    // One is left: it is found although nothing else agrees.
    b.dma.unmapPhys(b.dev, first, 0x80, 'TO_DEVICE');
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(['free-size']);
  });

  it('a sync finds its mapping many pages below', () => {
    const b = bench();
    const address = mapped(b, 0x4000_0000, 0x20_0000);
    b.dma.syncForCpu(b.dev, address + 0x1f_f000, 0x1000, 'FROM_DEVICE');
    expect(b.debug.reports).toEqual([]);
  });

  it.each([{ entries: 0 }, { entries: 1.5 }, { maxEntries: -1 }, { cacheLine: Number.NaN }])(
    'refuses %j',
    (bad) => {
      expect(codeOf(() => new DmaDebug({ profile: DMA_PROFILES['7.3'], ...bad }))).toBe(
        'DMA_PARAMETER',
      );
    },
  );
});
