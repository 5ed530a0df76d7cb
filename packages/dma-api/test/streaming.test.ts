import { describe, expect, it } from 'vitest';
import { DMA_MAPPING_ERROR, type DmaAttrs, type DmaDirection, sgElement } from '../src/index.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

const PAGE = 4096;
const BASE = 0x4000_0000;
const TOP = 2 ** 48 - PAGE;
/** arm64: `ARCH_DMA_MINALIGN` 128, lines of 64 bytes. */
const ARM64 = { minAlign: 128, cacheAlign: 64 };

function machine(options: MachineOptions = {}, coherent = true, minAlignMask = 0) {
  const m = new Machine({ version: '7.3', ...options });
  const dev = m.setUp({ coherent, minAlignMask });
  m.take();
  return { m, dev, dma: m.dma };
}

function names(m: Machine): string[] {
  return m.take().map(([name]) => String(name));
}

describe('one range, by each of its names', () => {
  const CALLS = [
    ['mapPhys', 'unmapPhys'],
    ['mapPage', 'unmapPage'],
    ['mapSingle', 'unmapSingle'],
  ] as const;
  for (const [map, unmap] of CALLS)
    it(`${map} and ${unmap}`, () => {
      const { m, dev, dma } = machine({}, false);
      const address = dma[map](dev, BASE + 0x123, 0x456, 'FROM_DEVICE');
      expect([address, dma.mappingError(dev, address)]).toEqual([TOP + 0x123, false]);
      expect(names(m)).toEqual(['cache_dev', 'cache_flush', 'alloc_iova', 'map']);
      dma[unmap](dev, address, 0x456, 'FROM_DEVICE');
      expect(names(m)).toEqual(['cache_cpu', 'cache_flush', 'unmap', 'sync', 'free_iova']);
    });

  it('device memory: MMIO and no CACHE, no maintenance, no bounce, no lookup', () => {
    const { m, dev, dma } = machine({ untrusted: true, bounce: {} }, false);
    const address = dma.mapResource(dev, 0x900_0040, 8, 'BIDIRECTIONAL');
    expect(m.take().slice(1)).toEqual([
      ['map', `0x${TOP.toString(16)}`, '0x9000000', '0x1000', 1, 19],
    ]);
    dma.unmapResource(dev, address, 8, 'BIDIRECTIONAL');
    expect([names(m), m.walks]).toEqual([['unmap', 'sync', 'free_iova'], 0]);
  });

  it('a full space: the error that mappingError knows, nothing left', () => {
    const { m, dev, dma } = machine({ apertureStart: 0x1000, apertureEnd: 0x2000 });
    const address = dma.mapPhys(dev, BASE, 2 * PAGE, 'TO_DEVICE');
    expect([address, dma.mappingError(dev, address)]).toEqual([DMA_MAPPING_ERROR, true]);
    expect(m.mappedPages).toBe(0);
  });

  it('tables keep their segments', () => {
    const { m, dev, dma } = machine({}, false);
    const table = { sg: [sgElement(BASE, PAGE), sgElement(BASE + 2 * PAGE, PAGE)], nents: 0 };
    expect([dma.mapSgtable(dev, table, 'FROM_DEVICE'), table.nents]).toEqual([0, 1]);
    m.take();
    dma.syncSgtableForCpu(dev, table, 'FROM_DEVICE');
    dma.syncSgtableForDevice(dev, table, 'FROM_DEVICE');
    expect(names(m).join()).toBe('cache_cpu,cache_cpu,cache_flush,cache_dev,cache_dev,cache_flush');
    dma.unmapSgtable(dev, table, 'FROM_DEVICE');
    expect(m.mappedPages).toBe(0);
    const failing = machine({ mock: { fail_call: 1, fail_errno: 28 } });
    const untouched = { sg: [sgElement(BASE, PAGE)], nents: 7 };
    expect(failing.dma.mapSgtable(failing.dev, untouched, 'TO_DEVICE')).toBe(-22);
    expect(untouched.nents).toBe(7);
  });
});

describe('which buffers are bounced', () => {
  const untrusted: MachineOptions = { untrusted: true, bounce: {} };
  const kmalloc: MachineOptions = { bounce: {}, api: { kmalloc: ARM64 } };
  const rows: [
    name: string,
    machine: MachineOptions,
    coherent: boolean,
    offset: number,
    size: number,
    dir: DmaDirection,
    bounced: boolean,
  ][] = [
    ['untrusted, whole granules', untrusted, true, 0, 2 * PAGE, 'TO_DEVICE', false],
    ['untrusted, begins inside', untrusted, true, 0x800, 0x1800, 'TO_DEVICE', true],
    ['untrusted, ends inside', untrusted, true, 0, 0x1800, 'TO_DEVICE', true],
    ['trusted, no rule', { bounce: {} }, false, 0x200, 96, 'FROM_DEVICE', false],
    ['96 bytes share a line', kmalloc, false, 0x200, 96, 'FROM_DEVICE', true],
    ['65 bytes are rounded to 96', kmalloc, false, 0x200, 65, 'FROM_DEVICE', true],
    ['64 bytes fill their line', kmalloc, false, 0x200, 64, 'FROM_DEVICE', false],
    ['97 bytes are rounded to 128', kmalloc, false, 0x200, 97, 'FROM_DEVICE', false],
    ['130 bytes are rounded to 192', kmalloc, false, 0x200, 130, 'BIDIRECTIONAL', false],
    ['193 bytes are rounded to 256', kmalloc, false, 0x200, 193, 'BIDIRECTIONAL', false],
    ['8 bytes', kmalloc, false, 0x208, 8, 'BIDIRECTIONAL', true],
    ['256 bytes and more are safe', kmalloc, false, 0x210, 256, 'FROM_DEVICE', false],
    ['the device only reads', kmalloc, false, 0x200, 96, 'TO_DEVICE', false],
    ['the device snoops', kmalloc, true, 0x200, 96, 'FROM_DEVICE', false],
  ];
  for (const [name, options, coherent, offset, size, dir, bounced] of rows)
    it(`${name}: ${bounced ? 'bounced' : 'mapped as it is'}`, () => {
      const { m, dev, dma } = machine(options, coherent);
      const address = dma.mapPhys(dev, BASE + offset, size, dir);
      expect(names(m).includes('bounce')).toBe(bounced);
      expect(m.bounce?.live).toBe(bounced ? 1 : 0);
      dma.unmapPhys(dev, address, size, dir);
      expect([m.bounce?.live, m.mappedPages]).toEqual([0, 0]);
      // A list with one such element is mapped element by element.
      const sg = [sgElement(BASE + offset, size), sgElement(BASE + 0x10_0000, PAGE)];
      m.take();
      expect(dma.mapSg(dev, sg, dir)).toBe(2);
      const iovas = names(m).filter((call) => call === 'alloc_iova').length;
      expect(iovas).toBe(sg[0]?.dmaBounced === true ? 2 : 1);
      expect(m.bounce?.live).toBe(bounced ? 1 : 0);
      dma.unmapSg(dev, sg, dir);
      expect([m.bounce?.live, m.mappedPages]).toEqual([0, 0]);
    });

  it('without minAlignMask the address loses its offset; with it the padding on both sides is zeroed', () => {
    const lost = machine(untrusted);
    expect(lost.dma.mapPhys(lost.dev, BASE + 0x234, 0x100, 'TO_DEVICE')).toBe(TOP);
    expect(lost.m.bounce?.zeroed).toEqual([['0x7000000100', '0xf00']]);
    const kept = machine(untrusted, true, 0xfff);
    expect(kept.dma.mapPhys(kept.dev, BASE + 0x234, 0x100, 'TO_DEVICE')).toBe(TOP + 0x234);
    expect(kept.m.bounce?.zeroed).toEqual([
      ['0x7000000000', '0x234'],
      ['0x7000000334', '0xccc'],
    ]);
    // A trusted device is trusted with what lies beside its bytes.
    const trusted = machine(kmalloc, false);
    trusted.dma.mapPhys(trusted.dev, BASE + 0x200, 96, 'FROM_DEVICE');
    expect(trusted.m.bounce?.zeroed).toEqual([]);
  });

  const refused: [string, MachineOptions, DmaAttrs, [string, string][]][] = [
    [
      'no swiotlb',
      { untrusted: true },
      {},
      [['warn', 'DMA bounce buffers are inactive, unable to map unaligned transaction.']],
    ],
    ['coherence required', untrusted, { requireCoherent: true }, []],
    ['no slot', { untrusted: true, bounce: { fail: 1 } }, {}, []],
    ['no table', { untrusted: true, bounce: {}, mock: { fail_call: 1, fail_errno: 12 } }, {}, []],
  ];
  for (const [name, options, attrs, log] of refused)
    it(`${name}: the error, and neither slot nor mapping stays`, () => {
      const { m, dev, dma } = machine(options);
      m.takeLog();
      expect(dma.mapPhys(dev, BASE + 0x200, 0x400, 'TO_DEVICE', attrs)).toBe(DMA_MAPPING_ERROR);
      expect(m.takeLog().log).toEqual(log);
      expect([m.bounce?.live ?? 0, m.mappedPages]).toEqual([0, 0]);
      expect(dma.mapPhys(dev, BASE, PAGE, 'TO_DEVICE', attrs)).toBe(TOP);
    });
});

describe('the page as a parameter', () => {
  it('a sync of a part of a bounced mapping is looked up, however aligned the part is', () => {
    const { m, dev, dma } = machine({ untrusted: true, bounce: {} }, true, 0xfff);
    const address = dma.mapPhys(dev, BASE + 0x200, 0x1e00, 'FROM_DEVICE');
    m.take();
    dma.syncForCpu(dev, address + 0xe00, PAGE, 'FROM_DEVICE', BASE + PAGE);
    expect(m.take()).toEqual([['bounce_cpu', '0x7000001000', '0x1000']]);
    expect(dma.counters).toEqual({ walks: 1, walksSaved: 0, checks: 0 });
  });

  it('under the kmalloc rule a small part is looked up too, a larger one is not', () => {
    const { m, dev, dma } = machine({ bounce: {}, api: { kmalloc: ARM64 } }, false);
    const small = dma.mapPhys(dev, BASE + 0x200, 96, 'FROM_DEVICE');
    m.take();
    dma.syncForCpu(dev, small, 64, 'FROM_DEVICE', BASE + 0x200);
    expect(m.take()[0]).toEqual(['cache_cpu', '0x7000000000', '0x40']);
    const large = dma.mapPhys(dev, BASE + PAGE, 0x800, 'FROM_DEVICE');
    m.take();
    dma.syncForCpu(dev, large + 0x100, 0x100, 'FROM_DEVICE', BASE + PAGE + 0x100);
    expect(m.take()[0]).toEqual(['cache_cpu', '0x40001100', '0x100']);
    expect(dma.counters).toEqual({ walks: 1, walksSaved: 1, checks: 0 });
  });

  it('without checking mode a wrong page goes unnoticed: the wrong lines are cleaned', () => {
    const { m, dev, dma } = machine({}, false);
    const address = dma.mapPhys(dev, BASE, PAGE, 'FROM_DEVICE');
    m.take();
    const misuse = () => dma.unmapPhys(dev, address, PAGE, 'FROM_DEVICE', { page: BASE + 0x8000 });
    expect(codeOf(misuse)).toBe('none');
    expect(m.take()[0]).toEqual(['cache_cpu', '0x40008000', '0x1000']);
  });
});
