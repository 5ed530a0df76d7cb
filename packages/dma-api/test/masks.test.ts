import { describe, expect, it } from 'vitest';
import { DMA_PROFILES, DmaDebug, type DmaDeviceOptions } from '../src/index.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

const GiB = 2 ** 30;
const UNLIMITED = 2 ** 64;

function machine(options: MachineOptions = {}, device: Partial<DmaDeviceOptions> = {}) {
  const m = new Machine({ version: '7.3', ...options });
  return { m, dma: m.dma, dev: m.setUp(device) };
}

const direct = (
  ram: { start: number; end: number; dmaZoneEnd?: number },
  device: Partial<DmaDeviceOptions> = {},
  options: MachineOptions = {},
) => machine({ type: 'identity', ...options, api: { ...options.api, ram } }, device);

describe('masks', () => {
  it.each([1, 24, 32, 64])('behind an IOMMU %i bits will do', (bits) => {
    const { dma, dev } = machine();
    expect(dma.setMaskAndCoherent(dev, bits)).toBe(0);
    expect([dev.dmaEnd, dev.coherentEnd]).toEqual([2 ** bits, 2 ** bits]);
  });

  it('mappings keep to a new mask', () => {
    const { dma, dev } = machine();
    expect(dma.mapPhys(dev, 0x1000, 1, 'TO_DEVICE')).toBe(2 ** 48 - 0x1000);
    expect(dma.setMask(dev, 30)).toBe(0);
    expect(dma.mapPhys(dev, 0x1000, 1, 'TO_DEVICE')).toBe(2 ** 30 - 0x1000);
    expect(dev.coherentEnd).toBe(2 ** 48);
  });

  const ram = { start: 0, end: 4 * GiB };
  it.each<[string, Parameters<typeof direct>[0], number, number]>([
    ['32 bits reach enough of any memory', { start: 0, end: 64 * GiB }, 32, 0],
    ['31 bits do not reach 4 GiB', ram, 31, -5],
    ['but 1 GiB', { start: 0, end: GiB }, 30, 0],
    ['29 bits do not', { start: 0, end: GiB }, 29, -5],
    ['30 bits reach a zone of 1 GiB', { ...ram, dmaZoneEnd: GiB }, 30, 0],
    ['29 bits do not reach it', { ...ram, dmaZoneEnd: GiB }, 29, -5],
  ])('without IOMMU: %s', (_, memory, bits, errno) => {
    const { dma, dev } = direct(memory);
    expect(dma.setMask(dev, bits)).toBe(errno);
    expect(dma.setCoherentMask(dev, bits)).toBe(errno);
    expect(dma.setMaskAndCoherent(dev, bits)).toBe(errno);
    const end = errno === 0 ? 2 ** bits : 2 ** 48;
    expect([dev.dmaEnd, dev.coherentEnd]).toEqual([end, end]);
  });

  it.each([0, 65, -1, 1.5, Number.NaN])('%f bits are none: refused, nothing changes', (bits) => {
    const { dma, dev } = machine();
    for (const call of [
      () => dma.setMask(dev, bits),
      () => dma.setCoherentMask(dev, bits),
      () => dma.setMaskAndCoherent(dev, bits),
    ])
      expect(codeOf(call)).toBe('DMA_PARAMETER');
    expect([dev.dmaEnd, dev.coherentEnd]).toEqual([2 ** 48, 2 ** 48]);
  });
});

describe('what a device needs', () => {
  it('32 bits behind an IOMMU, however much memory there is', () => {
    const { dma, dev } = machine({ api: { ram: { start: 0, end: 64 * GiB } } });
    expect(dma.requiredMask(dev)).toBe(32);
    expect(dma.addressingLimited(dev)).toBe(false);
    dma.setMask(dev, 31);
    expect(dma.addressingLimited(dev)).toBe(true);
  });

  it.each([
    [GiB, 30],
    [GiB + 0x1000, 31],
    [4 * GiB, 32],
    [64 * GiB, 36],
  ])('without IOMMU the bits of the last byte: %i', (end, bits) => {
    const { dma, dev } = direct({ start: 0, end });
    expect(dma.requiredMask(dev)).toBe(bits);
  });

  it.each<[string, Partial<DmaDeviceOptions>, boolean]>([
    ['wide', { dmaBits: 36 }, false],
    ['narrow', { dmaBits: 35 }, true],
    ['behind a narrow bus', { dmaBits: 64, busDmaLimit: 4 * GiB }, true],
    [
      'with a window on all memory',
      { dmaRanges: [{ cpuStart: 0, dmaStart: 0, size: 64 * GiB }] },
      false,
    ],
    [
      'with two windows and a hole',
      {
        dmaRanges: [
          { cpuStart: 33 * GiB, dmaStart: 33 * GiB, size: 31 * GiB },
          { cpuStart: 0, dmaStart: 0, size: 32 * GiB },
        ],
      },
      true,
    ],
  ])('a device %s: limited %s', (_, device, limited) => {
    const { dma, dev } = direct({ start: 0, end: 64 * GiB }, device);
    expect(dma.addressingLimited(dev)).toBe(limited);
  });

  it('a window that does not show the end of memory needs all bits', () => {
    const { dma, dev } = direct(
      { start: 0, end: 64 * GiB },
      { dmaRanges: [{ cpuStart: 0, dmaStart: 0, size: GiB }] },
    );
    expect(dma.requiredMask(dev)).toBe(64);
  });
});

describe('sizes', () => {
  // The fake's slots hold 128 KiB.
  it.each<[string, MachineOptions, Partial<DmaDeviceOptions>, number, number]>([
    ['behind an IOMMU', {}, {}, UNLIMITED, 0x2_0000],
    ['untrusted', { untrusted: true, bounce: {} }, {}, 0x2_0000, 0x2_0000],
    [
      'untrusted, keeping 12 bits',
      { untrusted: true, bounce: {} },
      { minAlignMask: 4095 },
      0x2_0000 - 0x1000,
      0x2_0000 - 0x1000,
    ],
    ['without IOMMU', { type: 'identity', bounce: {} }, {}, UNLIMITED, UNLIMITED],
    [
      'without IOMMU, narrow',
      { type: 'identity', bounce: {} },
      { dmaBits: 31 },
      0x2_0000,
      0x2_0000,
    ],
    [
      'without IOMMU, narrow, no slots',
      { type: 'identity', bounce: { active: false } },
      { dmaBits: 31 },
      UNLIMITED,
      UNLIMITED,
    ],
  ])('%s', (_, options, device, max, opt) => {
    const { dma, dev } = machine(options, device);
    expect([dma.maxMappingSize(dev), dma.optMappingSize(dev)]).toEqual([max, opt]);
  });

  it.each<[string, MachineOptions, number]>([
    ['4 KiB pages', {}, 0xfff],
    ['16 KiB pages', { pgsizeBitmap: 0x200_4000 }, 0x3fff],
    ['no IOMMU', { type: 'identity' }, 0],
  ])('elements merge at the boundary of %s', (_, options, boundary) => {
    const { dma, dev } = machine(options);
    expect(dma.mergeBoundary(dev)).toBe(boundary);
  });
});

describe('what a driver may leave out', () => {
  it.each<[string, MachineOptions, Partial<DmaDeviceOptions>, boolean, boolean]>([
    ['an IOMMU, snooping', {}, {}, true, false],
    ['an IOMMU, not snooping', {}, { coherent: false }, true, true],
    ['no IOMMU, snooping', { type: 'identity' }, {}, false, false],
    ['no IOMMU, not snooping', { type: 'identity' }, { coherent: false }, true, true],
    ['6.1, an IOMMU', { version: '6.1' }, {}, true, true],
    ['6.1, no IOMMU', { version: '6.1', type: 'identity' }, {}, true, false],
  ])('%s', (_, options, device, unmap, sync) => {
    const { dma, dev } = machine(options, device);
    expect([dma.needUnmap(dev), dma.needSync(dev, 0x1000)]).toEqual([unmap, sync]);
  });

  it('a bounce slot changes that for good; without IOMMU only its own addresses need syncs', () => {
    const { dma, dev } = machine({ type: 'identity', bounce: {} }, { dmaBits: 40 });
    expect([dma.needUnmap(dev), dma.needSync(dev, 0x1000)]).toEqual([false, false]);
    const slot = dma.mapPhys(dev, 2 ** 41, 64, 'TO_DEVICE');
    expect([dma.needUnmap(dev), dma.needSync(dev, slot), dma.needSync(dev, 0x1000)]).toEqual([
      true,
      true,
      false,
    ]);
    dma.unmapPhys(dev, slot, 64, 'TO_DEVICE');
    expect(dma.needUnmap(dev)).toBe(true);
    const behind = machine({ untrusted: true, bounce: {} });
    behind.dma.mapPhys(behind.dev, 0x1010, 64, 'TO_DEVICE');
    expect(behind.dma.needSync(behind.dev, 0x1000)).toBe(true);
  });

  it('nothing while debugging wants to see every call', () => {
    const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'] });
    const { dma, dev } = machine({ type: 'identity', api: { debug } });
    expect(dma.needUnmap(dev)).toBe(true);
  });
});

describe('a machine that cannot be', () => {
  it.each([
    { cpuStart: -1, dmaStart: 0, size: 1 },
    { cpuStart: 0, dmaStart: -1, size: 1 },
    { cpuStart: 0, dmaStart: 0, size: 0 },
  ])('range %j', (range) => {
    expect(codeOf(() => machine({}, { dmaRanges: [range] }))).toBe('DMA_PARAMETER');
  });

  it.each([
    { start: 0, end: 0 },
    { start: -1, end: 1 },
    { start: 0, end: Number.NaN },
  ])('memory %j', (ram) => {
    expect(codeOf(() => machine({ api: { ram } }))).toBe('DMA_PARAMETER');
  });
});

describe('limits on segments', () => {
  it('hold for the next list', () => {
    const { dma, dev } = machine();
    dma.setMaxSegSize(dev, 0x1000);
    dma.setSegBoundary(dev, 2 ** 32);
    dma.setMinAlignMask(dev, 0xfff);
    expect([dev.maxSegSize, dev.segBoundary, dev.minAlignMask]).toEqual([0x1000, 2 ** 32, 0xfff]);
    dma.setSegBoundary(dev, UNLIMITED);
    dma.setMinAlignMask(dev, 0);
    expect([dev.segBoundary, dev.minAlignMask]).toEqual([UNLIMITED, 0]);
  });

  it('what is none is refused, and nothing changes', () => {
    const { dma, dev } = machine();
    const bad = [
      ...[0, -1, 1.5, 2 ** 32].map((size) => () => dma.setMaxSegSize(dev, size)),
      ...[0, 3, 2 ** 65, 0.5].map((size) => () => dma.setSegBoundary(dev, size)),
      ...[-1, 2, 0x1000, 0.5].map((mask) => () => dma.setMinAlignMask(dev, mask)),
    ];
    for (const call of bad) expect(codeOf(call)).toBe('DMA_PARAMETER');
    expect([dev.maxSegSize, dev.segBoundary, dev.minAlignMask]).toEqual([0x1_0000, UNLIMITED, 0]);
  });
});
