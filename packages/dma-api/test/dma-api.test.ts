import type { SgRun } from '@iommukit/iommu-core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DMA_MAPPING_ERROR, type PageProvider, sgElement } from '../src/index.ts';
import { h } from './call.ts';
import { Machine } from './fake-iommu.ts';

const TOP = 0xffff_f000;

describe('order of events', () => {
  it('6.12: IOVA, tables, event; and back', () => {
    const m = new Machine({ isPci: true });
    const dev = m.setUp();
    m.take();
    m.events.length = 0;
    const address = m.dma.mapPage(dev, 0x44c5_4e00, 1536, 'FROM_DEVICE');
    // 1,536 bytes at offset 0xe00 reach into a second page, as in the capture of 6.12.
    expect(address).toBe(0xffff_ee00);
    expect(m.events).toEqual([
      { name: 'alloc_fast', iovad: 0, size: 2, limitPfn: 0xf_ffff, flush: 'no-flush' },
      { name: 'alloc_fast_ret', iovad: 0, pfn: 0xf_fffe },
      {
        name: 'dma_map_page',
        device: 'd',
        dir: 'FROM_DEVICE',
        dmaAddr: address,
        size: 1536,
        paddr: 0x44c5_4e00,
      },
    ]);
    m.events.length = 0;
    m.dma.unmapPage(dev, address, 1536, 'FROM_DEVICE');
    expect(m.take().map(([name]) => name)).toEqual([
      'alloc_iova',
      'map',
      'unmap',
      'sync',
      'free_iova',
    ]);
    expect(m.events.map(({ name }) => name)).toEqual(['free_fast', 'dma_unmap_page']);
  });

  it('names by version', () => {
    const names = (version: '6.1' | '6.12' | '7.2' | '7.3') => {
      const m = new Machine({ version });
      const dev = m.setUp();
      m.events.length = 0;
      m.dma.unmapPage(dev, m.dma.mapPage(dev, 0x1000, 1, 'TO_DEVICE'), 1, 'TO_DEVICE');
      return m.events.map(({ name }) => name).filter((name) => name.startsWith('dma_'));
    };
    expect(names('6.1')).toEqual([]);
    expect(names('6.12')).toEqual(['dma_map_page', 'dma_unmap_page']);
    expect(names('7.2')).toEqual(['dma_map_phys', 'dma_unmap_phys']);
    expect(names('7.3')).toEqual(['dma_map_phys', 'dma_unmap_phys']);
  });

  it('scatter-gather: the event is last on map, first on unmap', () => {
    const m = new Machine();
    const dev = m.setUp();
    m.events.length = 0;
    const sg = [sgElement(0x4000_0000, 0x1000), sgElement(0x5000_0000, 0x1000)];
    expect(m.dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(1);
    m.dma.unmapSg(dev, sg, 'TO_DEVICE');
    expect(m.events.map(({ name }) => name)).toEqual([
      'alloc_fast',
      'alloc_fast_ret',
      'dma_map_sg',
      'dma_unmap_sg',
      'free_fast',
    ]);
    expect(sg[0]).toMatchObject({ dmaAddress: 2 ** 48 - 0x2000, dmaLength: 0x2000 });
    expect(sg[1]?.dmaLength).toBe(0);
    expect(m.mappedPages).toBe(0);
  });
});

describe('set-up of a domain', () => {
  it('reserves windows, then regions, once, and not the software doorbell window', () => {
    const m = new Machine({
      regions: [
        { type: 'msi-software', start: 0x800_0000, end: 0x810_0000, prot: 26 },
        { type: 'reserved', start: 0x9000_0000, end: 0x9000_1800, prot: 0 },
        { type: 'msi', start: 0xfee0_0000, end: 0xfee0_2000, prot: 0 },
      ],
    });
    const pciWindows = [{ start: 0x1000_0000, end: 0x3eff_0000 }];
    const dev = m.setUp({ pciWindows }, m.device('a', 'g'));
    expect(m.events).toEqual([
      { name: 'init', iovad: 0, granule: 4096, startPfn: 1 },
      { name: 'reserve', iovad: 0, pfnLo: 0x1_0000, pfnHi: 0x3_efef },
      { name: 'reserve', iovad: 0, pfnLo: 0x9_0000, pfnHi: 0x9_0001 },
      { name: 'reserve', iovad: 0, pfnLo: 0xf_ee00, pfnHi: 0xf_ee01 },
    ]);
    m.setUp({ pciWindows: [{ start: 0x5000_0000, end: 0x6000_0000 }] }, m.device('b', 'g'));
    expect(m.events.length).toBe(4);
    expect(m.dma.iovaDomainOf(dev.domain).rangeCount).toBe(3);
    // The hardware's own doorbells need no mapping.
    expect(m.dma.mapMsiPage(dev, 0xfee0_1040)).toBe(0xfee0_1040);
  });

  it('the first pfn is 1, or where the aperture starts', () => {
    const m = new Machine({ apertureStart: 0x10_0000, apertureEnd: 0x10_2000 });
    const dev = m.setUp();
    expect(m.dma.iovaDomainOf(dev.domain).startPfn).toBe(0x100);
    const got = [0, 0, 0].map(() => m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE'));
    expect(got).toEqual([0x10_1000, 0x10_0000, DMA_MAPPING_ERROR]);
  });

  it('a second domain gets a number of its own; a released one can start again', () => {
    const m = new Machine();
    const a = m.setUp({}, m.device('a'));
    m.setUp({}, m.device('b'));
    m.dma.releaseDomain(a.domain);
    expect(() => m.dma.iovaDomainOf(a.domain)).toThrow('DMA_SETUP');
    m.dma.initDomain(a.domain, a.device);
    expect(m.events.filter(({ name }) => name === 'init')).toMatchObject([
      { iovad: 0 },
      { iovad: 1 },
      { iovad: 2 },
    ]);
  });

  it('what is not modelled is refused', () => {
    const refused = (m: Machine, coherent = true) => {
      try {
        m.setUp({ coherent });
        return 'accepted';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(refused(new Machine({ caches: 'none' }), false)).toBe('UNMODELLED_NON_COHERENT_DMA');
    expect(refused(new Machine({ type: 'unmanaged' }))).toBe('DMA_SETUP');
    expect(refused(new Machine({ caches: 'none' }))).toBe('accepted');
  });
});

describe('limits', () => {
  const rows: [string, Parameters<Machine['setUp']>[0], boolean, number][] = [
    ['28 bits', { dmaBits: 28 }, false, 0xfff_f000],
    ['24 bits, PCI', { dmaBits: 24 }, true, 0xff_f000],
    ['32 bits', { dmaBits: 32 }, true, TOP],
    ['48 bits, PCI: 32 first', { dmaBits: 48 }, true, TOP],
    ['48 bits, PCI, forcedac', { dmaBits: 48, forcedac: true }, true, 2 ** 48 - 4096],
    ['64 bits: the aperture limits', { dmaBits: 64 }, false, 2 ** 48 - 4096],
    ['bus of 30 bits', { dmaBits: 64, busDmaLimit: 2 ** 30 }, false, 2 ** 30 - 4096],
    ['bus that ends inside a page', { dmaBits: 64, busDmaLimit: 0x1_0800 }, false, 0x1_0000],
  ];
  for (const [name, options, isPci, expected] of rows)
    it(name, () => {
      const m = new Machine({ isPci });
      expect(m.dma.mapPage(m.setUp(options), 0x4000_0000, 4096, 'TO_DEVICE')).toBe(expected);
    });

  const full = (version: '6.1' | '6.12') => {
    const m = new Machine({ version, isPci: true });
    const dev = m.setUp();
    m.dma.reserve(dev.domain, 1, 0xf_ffff);
    m.take();
    for (let i = 0; i < 2; i++) m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE');
    return {
      limits: m.take().flatMap((c) => (c[0] === 'alloc_iova' ? [`${c[2]} ${c[3]}`] : [])),
      notices: m.events.flatMap((e) => (e.name === 'notice' ? [e.text] : [])),
    };
  };
  const [low, high] = ['0xfffff 0', '0xfffffffff 1'];

  it('6.12 gives 32 bits up for good after one failure', () => {
    expect(full('6.12')).toEqual({
      limits: [low, high, high],
      notices: ['Using 48-bit DMA addresses'],
    });
  });

  it('6.1 tries 32 bits every time', () => {
    expect(full('6.1')).toEqual({ limits: [low, high, low, high], notices: [] });
  });
});

describe('mapping', () => {
  it('per-CPU caches follow platform.cpu', () => {
    const m = new Machine();
    const dev = m.setUp({ dmaBits: 32 });
    const first = m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE');
    m.dma.unmapPage(dev, first, 4096, 'TO_DEVICE');
    m.platform.cpu = 1;
    expect(m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE')).toBe(TOP - 4096);
    m.platform.cpu = 0;
    expect(m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE')).toBe(first);
  });

  it('a failing map gives the IOVA back', () => {
    const m = new Machine({ mock: { fail_call: 1, fail_errno: 12 } });
    const dev = m.setUp({ dmaBits: 32 });
    expect(m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE')).toBe(DMA_MAPPING_ERROR);
    expect(m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE')).toBe(TOP);
  });

  it('an unmap of nothing warns and frees nothing', () => {
    const m = new Machine();
    const dev = m.setUp();
    m.take();
    m.dma.unmapPage(dev, 0x5000, 4096, 'TO_DEVICE');
    expect(m.take()).toEqual([]);
    expect(m.takeLog().warns).toBe(1);
  });

  it('an unmap of too much warns, and the IOVA is free all the same', () => {
    const m = new Machine();
    const dev = m.setUp({ dmaBits: 32 });
    const address = m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE');
    m.dma.unmapRange(dev, address, 8192);
    expect(m.events.filter(({ name }) => name === 'warn_on')).toEqual([
      {
        name: 'warn_on',
        text: `unmapped 0x1000 of 0x2000 bytes at ${h(address)}`,
        message: null,
      },
    ]);
  });

  it('steps can be driven one by one', () => {
    const m = new Machine();
    const dev = m.setUp();
    const pfn = m.dma.allocPfn(dev.domain, 4, 0xf_ffff, 'flush');
    expect(pfn).toBe(0xf_fffc);
    m.dma.freeIova(dev.domain, pfn * 4096, 4 * 4096);
    expect(m.dma.iovaDomainOf(dev.domain).allocIovaFast(0, 3, 0xf_ffff, 'flush')).toBe(pfn);
    const end = 2 ** 20;
    expect(m.dma.allocIova(dev, 4096, end)).toBe(end - 4096);
  });

  it('identity domains hand out physical addresses', () => {
    const m = new Machine({ type: 'identity' });
    const dev = m.setUp({ dmaBits: 32 });
    expect(m.dma.mapPage(dev, 0x4000_0123, 10, 'TO_DEVICE')).toBe(0x4000_0123);
    expect(m.dma.mapPage(dev, 2 ** 32 - 5, 10, 'TO_DEVICE')).toBe(DMA_MAPPING_ERROR);
    m.dma.unmapPage(dev, 0x4000_0123, 10, 'TO_DEVICE');
    const sg = [sgElement(0x4000_0000, 0x1000), sgElement(0x5000_0000, 0x1000)];
    expect(m.dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(2);
    expect(sg.map(({ dmaAddress }) => dmaAddress)).toEqual([0x4000_0000, 0x5000_0000]);
    m.dma.unmapSg(dev, sg, 'TO_DEVICE');
    expect(m.dma.mapMsiPage(dev, 0x809_0040)).toBe(0x809_0040);
    expect(m.take()).toEqual([]);
  });
});

describe('doorbells', () => {
  it('one mapping for a page and a domain', () => {
    const m = new Machine({ isPci: true });
    const [a, b] = [m.setUp({}, m.device('a', 'g')), m.setUp({}, m.device('b', 'g'))];
    m.take();
    expect(m.dma.mapMsiPage(a, 0x809_0040)).toBe(TOP + 0x40);
    expect(m.dma.mapMsiPage(b, 0x809_0080)).toBe(TOP + 0x80);
    expect(m.take()).toEqual([
      ['alloc_iova', '0x1', '0xfffff', 0, '0xfffff'],
      ['map', '0xfffff000', '0x8090000', '0x1000', 1, 26],
    ]);
  });

  it('-ENOMEM without an IOVA', () => {
    const m = new Machine({ apertureStart: 0x1000, apertureEnd: 0x2000 });
    const dev = m.setUp();
    m.dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE');
    expect(m.dma.mapMsiPage(dev, 0x809_0000)).toBe(-12);
  });
});

describe('coherent memory', () => {
  const provider = (...runs: SgRun[]) => {
    const freed: SgRun[] = [];
    const pages: PageProvider = {
      alloc: () => (runs.length === 0 ? null : runs),
      free: (back) => freed.push(...back),
    };
    return { pages, freed };
  };
  const two = [
    { paddr: 0x4000_0000, length: 0x2000 },
    { paddr: 0x5000_0000, length: 0x1000 },
  ];

  it('one IOVA, one map for each run, and back', () => {
    const m = new Machine();
    const dev = m.setUp({ coherentDmaBits: 32 });
    m.take();
    m.events.length = 0;
    const { pages, freed } = provider(...two);
    const memory = m.dma.allocCoherent(dev, 0x2800, pages);
    expect(memory?.dmaAddress).toBe(0xffff_c000);
    if (memory === null) throw new Error('no memory');
    m.dma.freeCoherent(dev, memory, pages);
    expect(m.take()).toEqual([
      ['alloc_iova', '0x3', '0xfffff', 1, '0xffffc'],
      ['map', '0xffffc000', '0x40000000', '0x1000', 2, 7],
      ['map', '0xffffe000', '0x50000000', '0x1000', 1, 7],
      ['unmap', '0xffffc000', '0x1000', 3],
      ['sync', '0xffffc000', '0xffffefff', '0x0'],
      ['free_iova', '0xffffc', '0x3'],
    ]);
    expect(freed).toEqual(two);
    expect(m.events.map(({ name }) => name)).toEqual([
      'alloc_fast',
      'alloc_fast_ret',
      'dma_alloc',
      'dma_free',
      'free_fast',
    ]);
  });

  it('failures leave nothing behind', () => {
    const m = new Machine({ version: '7.2', mock: { fail_call: 2, fail_errno: 12 } });
    const dev = m.setUp({ coherentDmaBits: 32 });
    const { pages, freed } = provider(...two);
    expect(m.dma.allocCoherent(dev, 0x3000, pages)).toBeNull();
    expect([m.mappedPages, freed]).toEqual([0, two]);
    expect(m.events.at(-1)).toMatchObject({ name: 'dma_alloc', dmaAddr: 0 });
    expect(m.dma.allocCoherent(dev, 0x3000, provider().pages)).toBeNull();
  });
});

describe('scatter lists of any shape', () => {
  it('every byte is reachable where the segments say, and everything is undone', () => {
    const element = fc.tuple(
      fc.integer({ min: 0x4_0000, max: 0x4_00ff }),
      fc.integer({ min: 0, max: 4095 }),
      fc.integer({ min: 1, max: 0x6000 }),
    );
    fc.assert(
      fc.property(
        fc.array(element, { minLength: 1, maxLength: 12 }),
        fc.constantFrom(0x2000, 0x1_0000),
        (shape, maxSegSize) => {
          const m = new Machine();
          const dev = m.setUp({ maxSegSize });
          const sg = shape.map(([page, offset, length]) => sgElement(page * 4096 + offset, length));
          const count = m.dma.mapSg(dev, sg, 'BIDIRECTIONAL');
          expect(count).toBeGreaterThan(0);
          const outputs = sg
            .slice(0, count)
            .map(({ dmaAddress, dmaLength }) => ({ at: dmaAddress, left: dmaLength }));
          // The bytes of the list, in order, are the bytes of the segments, in order.
          for (const { paddr, length } of sg) {
            const out = outputs.find(({ left }) => left > 0);
            if (out === undefined) throw new Error('too few segments');
            for (const at of [0, length - 1])
              expect(m.core.iovaToPhys(dev.domain, out.at + at)).toBe(paddr + at);
            out.at += length;
            out.left -= length;
            expect(out.left).toBeGreaterThanOrEqual(0);
          }
          expect(outputs.every(({ left }) => left === 0)).toBe(true);
          m.dma.unmapSg(dev, sg, 'BIDIRECTIONAL');
          expect(m.mappedPages).toBe(0);
        },
      ),
    );
  });
});
