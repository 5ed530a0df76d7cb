import { PhysicalMemory, SimPlatform } from '@iommukit/platform';
import { describe, expect, it } from 'vitest';
import { DMA_MAPPING_ERROR, type DmaDeviceOptions, Swiotlb, sgElement } from '../src/index.ts';
import { Machine, type MachineOptions } from './fake-iommu.ts';

/** A device in an identity domain. Bounce slots of the fake lie at 0x70_0000_0000. */
function direct(device: Partial<DmaDeviceOptions> = {}, options: MachineOptions = {}) {
  const m = new Machine({ version: '7.3', type: 'identity', ...options });
  const dev = m.setUp(device);
  m.take();
  m.takeLog();
  return { m, dma: m.dma, dev };
}

describe('what a device reaches (dma_capable)', () => {
  it.each<[string, Partial<DmaDeviceOptions>, number, number, boolean]>([
    ['the last byte of the mask', { dmaBits: 32 }, 0xffff_ff00, 0x100, true],
    ['one byte more', { dmaBits: 32 }, 0xffff_ff01, 0x100, false],
    ['all of 64 bits', { dmaBits: 64 }, 2 ** 52, 0x1000, true],
    ['the last byte of the bus', { dmaBits: 64, busDmaLimit: 0x1_0000 }, 0xf000, 0x1000, true],
    ['a mask that was never set', { dmaBits: 0, busDmaLimit: 0x1_0000 }, 0xf000, 0x1000, true],
    ['no mask and no limit', { dmaBits: 0 }, 0xf000, 0x1000, false],
    ['behind the bus', { dmaBits: 64, busDmaLimit: 0x1_0000 }, 0xf001, 0x1000, false],
  ])('%s', (_, device, paddr, size, reached) => {
    const { dma, dev } = direct(device);
    const address = dma.mapPhys(dev, paddr, size, 'TO_DEVICE');
    expect(address).toBe(reached ? paddr : DMA_MAPPING_ERROR);
  });

  it.each<[Partial<DmaDeviceOptions>, string]>([
    [{ dmaBits: 32 }, 'DMA addr 0x0000000100000000+256 overflow (mask ffffffff, bus limit 0).'],
    [
      { dmaBits: 64, busDmaLimit: 2 ** 32 },
      'DMA addr 0x0000000100000000+256 overflow (mask ffffffffffffffff, bus limit ffffffff).',
    ],
  ])('the kernel says so: %j', (device, message) => {
    const { m, dma, dev } = direct(device);
    expect(dma.mapPhys(dev, 2 ** 32, 0x100, 'TO_DEVICE')).toBe(DMA_MAPPING_ERROR);
    expect(m.takeLog()).toEqual({ log: [['warn_once', message]], warns: 1 });
    expect(m.take()).toEqual([]);
  });
});

describe('bounce slots', () => {
  const SLOT = 0x70_0000_0000;
  const bounce = {};

  it('memory behind the mask goes through a slot, copied back once', () => {
    const { m, dma, dev } = direct({ dmaBits: 40 }, { bounce });
    const address = dma.mapPhys(dev, 2 ** 41, 0x100, 'FROM_DEVICE');
    expect(address).toBe(SLOT);
    dma.syncForCpu(dev, address, 0x100, 'FROM_DEVICE');
    dma.syncForDevice(dev, address, 0x100, 'FROM_DEVICE');
    dma.unmapPhys(dev, address, 0x100, 'FROM_DEVICE');
    expect(m.take()).toEqual([
      ['bounce', '0x20000000000', '0x100', '0x7000000000'],
      ['bounce_cpu', '0x7000000000', '0x100'],
      ['bounce_dev', '0x7000000000', '0x100'],
      ['bounce_cpu', '0x7000000000', '0x100'],
      ['unbounce', '0x7000000000', '0x100'],
    ]);
    expect(m.bounce?.live).toBe(0);
  });

  it('of a device that does not snoop: cleaned when mapped, and before they are copied back', () => {
    const { m, dma, dev } = direct({ dmaBits: 40, coherent: false }, { bounce });
    const address = dma.mapPhys(dev, 2 ** 41, 0x100, 'FROM_DEVICE');
    dma.unmapPhys(dev, address, 0x100, 'FROM_DEVICE');
    expect(m.take().map(([name]) => name)).toEqual([
      'bounce',
      'cache_dev',
      'cache_flush',
      'cache_cpu',
      'cache_flush',
      'bounce_cpu',
      'unbounce',
    ]);
  });

  it('a slot behind the mask: given back, and the warning is about the slot', () => {
    const { m, dma, dev } = direct({ dmaBits: 32 }, { bounce });
    expect(dma.mapPhys(dev, 2 ** 32, 0x100, 'FROM_DEVICE')).toBe(DMA_MAPPING_ERROR);
    expect(m.bounce?.live).toBe(0);
    expect(m.takeLog().log).toEqual([
      ['warn_once', 'swiotlb addr 0x0000007000000000+256 overflow (mask ffffffff, bus limit 0).'],
    ]);
  });

  it('slots give their bytes back once, of one buffer as of a list', () => {
    const platform = new SimPlatform();
    const memory = new PhysicalMemory([
      { base: 0x4000_0000, size: 0x40_0000 },
      { base: 2 ** 32, size: 0x1000 },
    ]);
    const slots = new Swiotlb({ memory, platform, base: 0x4000_0000, size: 0x20_0000, cpus: 1 });
    const { dma, dev } = direct({ dmaBits: 32 }, { api: { bounce: slots } });
    const address = dma.mapPhys(dev, 2 ** 32, 0x100, 'FROM_DEVICE');
    dma.unmapPhys(dev, address, 0x100, 'FROM_DEVICE');
    expect(slots.report()).toMatchObject({ copiedIn: 0x100, copiedOut: 0x100, usedSlots: 0 });
    const sg = [sgElement(2 ** 32, 0x80)];
    dma.mapSg(dev, sg, 'FROM_DEVICE');
    dma.unmapSg(dev, sg, 'FROM_DEVICE');
    expect(slots.report()).toMatchObject({ copiedIn: 0x180, copiedOut: 0x180, usedSlots: 0 });
  });

  it.each<[string, MachineOptions, { requireCoherent?: boolean; mmio?: boolean }]>([
    ['no slots', { bounce: { active: false } }, {}],
    ['memory that must be coherent', { bounce }, { requireCoherent: true }],
    ['registers', { bounce }, { mmio: true }],
  ])('%s: an overflow', (_, options, attrs) => {
    const { m, dma, dev } = direct({ dmaBits: 40 }, options);
    expect(dma.mapPhys(dev, 2 ** 41, 64, 'FROM_DEVICE', attrs)).toBe(DMA_MAPPING_ERROR);
    expect(m.takeLog().warns).toBe(1);
    expect(m.take()).toEqual([]);
  });

  it('a full pool says nothing more', () => {
    const { m, dma, dev } = direct({ dmaBits: 40 }, { bounce: { fail: 1 } });
    expect(dma.mapPhys(dev, 2 ** 41, 64, 'FROM_DEVICE')).toBe(DMA_MAPPING_ERROR);
    expect(m.takeLog().warns).toBe(0);
  });

  it('small buffers of a device that does not snoop share cache lines: through a slot, which is cleaned', () => {
    const kmalloc = { minAlign: 128, cacheAlign: 64 };
    const { m, dma, dev } = direct({ coherent: false }, { bounce, api: { kmalloc } });
    expect(dma.mapPhys(dev, 0x4000_0000, 32, 'FROM_DEVICE')).toBe(SLOT);
    expect(m.take()).toEqual([
      ['bounce', '0x40000000', '0x20', '0x7000000000'],
      ['cache_dev', '0x7000000000', '0x20'],
      ['cache_flush'],
    ]);
    expect(dma.mapPhys(dev, 0x4000_0000, 64, 'FROM_DEVICE')).toBe(0x4000_0000);
    expect(dma.mapPhys(dev, 0x4000_0000, 32, 'TO_DEVICE')).toBe(0x4000_0000);
  });

  it('an untrusted device without IOMMU is not bounced for that alone', () => {
    const { m, dma, dev } = direct({}, { bounce, untrusted: true });
    expect(dma.mapPhys(dev, 0x4000_0010, 32, 'FROM_DEVICE')).toBe(0x4000_0010);
    expect(m.take()).toEqual([]);
  });
});

describe('lists: every element is its own segment (dma_direct_map_sg)', () => {
  it('with peers by their bus address', () => {
    const { dma, dev } = direct();
    const sg = [
      sgElement(0x4000_0000, 0x1000),
      { ...sgElement(0x9000_0000, 0x1000), peer: 'bus' as const, busAddress: 0x1000 },
      sgElement(0x4000_1000, 0x800),
    ];
    expect(dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(3);
    expect(sg.map(({ dmaAddress, dmaLength }) => [dmaAddress, dmaLength])).toEqual([
      [0x4000_0000, 0x1000],
      [0x1000, 0x1000],
      [0x4000_1000, 0x800],
    ]);
    dma.unmapSg(dev, sg, 'TO_DEVICE');
  });

  it.each<[string, 'not-supported' | undefined, number, number]>([
    ['a peer out of reach', 'not-supported', 0x9000_0000, -121],
    ['memory out of reach', undefined, 2 ** 41, -5],
  ])('%s undoes what was done', (_, peer, paddr, errno) => {
    const { m, dma, dev } = direct({ dmaBits: 40 }, { bounce: { fail: 2 } });
    const last = sgElement(paddr, 0x100);
    const sg = [sgElement(2 ** 41, 0x100), peer === undefined ? last : { ...last, peer }];
    expect(dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(errno);
    expect(m.bounce?.live).toBe(0);
    expect(sg.every(({ dmaAddress }) => dmaAddress === DMA_MAPPING_ERROR)).toBe(true);
  });

  it('a device that does not snoop: one barrier for a list', () => {
    const { m, dma, dev } = direct({ coherent: false });
    const sg = [sgElement(0x4000_0000, 0x100), sgElement(0x5000_0000, 0x100)];
    const toCpu = [
      ['cache_cpu', '0x40000000', '0x100'],
      ['cache_cpu', '0x50000000', '0x100'],
      ['cache_flush'],
    ];
    dma.mapSg(dev, sg, 'FROM_DEVICE');
    expect(m.take().map(([name]) => name)).toEqual(['cache_dev', 'cache_dev', 'cache_flush']);
    dma.syncSgForCpu(dev, sg, 'FROM_DEVICE');
    expect(m.take()).toEqual(toCpu);
    dma.unmapSg(dev, sg, 'FROM_DEVICE');
    expect(m.take()).toEqual(toCpu);
    dma.syncSgForDevice(dev, sg, 'FROM_DEVICE');
    expect(m.take()).toEqual([
      ['cache_dev', '0x40000000', '0x100'],
      ['cache_dev', '0x50000000', '0x100'],
      ['cache_flush'],
    ]);
  });
});

describe('memory that the bus sees elsewhere (dma_range_map)', () => {
  const dmaRanges = [
    { cpuStart: 0x8000_0000, dmaStart: 0, size: 0x1000_0000 },
    { cpuStart: 0x1_0000_0000, dmaStart: 0x4000_0000, size: 0x1000_0000 },
  ];

  it.each([
    [0x8000_0000, 0],
    [0x8fff_ff00, 0xfff_ff00],
    [0x1_0000_1000, 0x4000_1000],
    [0x9000_0000, DMA_MAPPING_ERROR],
    [0, DMA_MAPPING_ERROR],
  ])('%x is at %x', (paddr, dmaAddr) => {
    const { dma, dev } = direct({ dmaRanges });
    expect(dma.mapPhys(dev, paddr, 0x100, 'TO_DEVICE')).toBe(dmaAddr);
  });

  it('the way back: caches are maintained at physical addresses', () => {
    const { m, dma, dev } = direct({ dmaRanges, coherent: false });
    const address = dma.mapPhys(dev, 0x1_0000_1000, 0x100, 'FROM_DEVICE');
    dma.syncForDevice(dev, address, 0x40, 'FROM_DEVICE');
    dma.unmapPhys(dev, address, 0x100, 'FROM_DEVICE');
    expect(m.take()).toEqual([
      ['cache_dev', '0x100001000', '0x100'],
      ['cache_flush'],
      ['cache_dev', '0x100001000', '0x40'],
      ['cache_flush'],
      ['cache_cpu', '0x100001000', '0x100'],
      ['cache_flush'],
    ]);
  });

  it('registers are where they are', () => {
    const { dma, dev } = direct({ dmaRanges });
    expect(dma.mapResource(dev, 0x1000, 0x100, 'BIDIRECTIONAL')).toBe(0x1000);
  });
});
