/* S1-11: what is refused, and what that leaves. */
import { SZ_4K } from '@iommukit/bits';
import { DMA_MAPPING_ERROR, type DmaDevice, DmaIovaState, sgElement } from '@iommukit/dma-api';
import { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT } from './setup.ts';

const dir = 'TO_DEVICE' as const;

/** A second device, which bypasses the SMMU. */
function identityDevice(dma: DmaRig): DmaDevice {
  const { core, driver } = dma.rig.machine;
  core.setDefaultDomainType('identity');
  const device = new IommuDevice({ name: '0000:00:02.0', ids: [16], groupKey: 'b', isPci: true });
  core.probeDevice(device, driver);
  dma.later(() => core.releaseDevice(device));
  return dma.api.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent: true });
}

const TRY_ALLOC: readonly {
  name: string;
  rig?: DmaRigOptions;
  device?: (dma: DmaRig) => DmaDevice;
  size: number;
  warn: number;
}[] = [
  { name: 'no DMA domain', device: identityDevice, size: SZ_4K, warn: 0 },
  { name: 'size 0', size: 0, warn: 1 },
  { name: 'size with bit 63', size: 2 ** 63, warn: 1 },
  // Page 0 is never used: one page is left.
  { name: 'space full', rig: { dev: { dmaBits: 13 } }, size: 2 * SZ_4K, warn: 0 },
];

function* allocations(): Iterable<ScenarioCase> {
  for (const { name, rig, device, size, warn } of TRY_ALLOC)
    yield dmaCase({
      way: `try_alloc: ${name}`,
      ...(rig === undefined ? {} : { rig }),
      run(dma): Observed {
        const { api } = dma;
        const dev = device?.(dma) ?? dma.dev;
        const state = new DmaIovaState();
        state.assign(0x1234_5000, 0x1000);
        state.usesBounce = true;
        const { counts, result } = dma.measure(() => api.iovaTryAlloc(dev, state, PA, size));
        const { addr, sizeWord } = state;
        const zero = addr === 0 && sizeWord === 0n && !state.usesIova;
        const page = api.mapPhys(dev, PA, SZ_4K, dir);
        if (page !== DMA_MAPPING_ERROR) api.unmapPhys(dev, page, SZ_4K, dir);
        const { warn: warnings, iovas, st, cmd } = counts;
        const works = page !== DMA_MAPPING_ERROR;
        return { result, zero, works, warn: warnings, iovas, st, cmd };
      },
      expected: { result: false, zero: true, works: true, warn, iovas: 0, st: 0, cmd: 0 },
    });
}

interface LinkRow {
  readonly name: string;
  readonly rig?: DmaRigOptions;
  /** Linked before. */
  readonly first?: { readonly paddr: number; readonly size: number };
  readonly link: {
    readonly paddr: number;
    readonly offset: number;
    readonly size: number;
    readonly attrs?: { readonly mmio?: boolean; readonly requireCoherent?: boolean };
  };
  readonly errno: number;
  readonly warn: number;
}

const bounces: DmaRigOptions = { untrusted: true, dev: { minAlignMask: 4095 } };
const page = { paddr: 0x4010_0000, offset: 0, size: SZ_4K };
const LINKS: readonly LinkRow[] = [
  {
    name: 'inside a granule, offset > 0',
    link: { ...page, paddr: 0x4010_0200, offset: SZ_4K, size: 0x800 },
    ...{ errno: -ERRNO.EIO, warn: 1 },
  },
  {
    name: 'coherence required, device does not snoop',
    rig: { device: 'non-coherent' },
    link: { ...page, attrs: { requireCoherent: true } },
    ...{ errno: -ERRNO.EOPNOTSUPP, warn: 0 },
  },
  {
    name: 'coherence required after a bounce',
    rig: bounces,
    first: { paddr: 0x4010_0200, size: 0x400 },
    link: { ...page, offset: SZ_4K, attrs: { requireCoherent: true } },
    ...{ errno: -ERRNO.EOPNOTSUPP, warn: 1 },
  },
  {
    name: 'a bounce of device memory',
    rig: bounces,
    link: { ...page, size: 0x400, attrs: { mmio: true } },
    ...{ errno: -ERRNO.EPERM, warn: 0 },
  },
  {
    name: 'a bounce of memory that must be coherent',
    rig: bounces,
    link: { ...page, size: 0x400, attrs: { requireCoherent: true } },
    ...{ errno: -ERRNO.EPERM, warn: 0 },
  },
  {
    name: 'over a linked page',
    first: { paddr: PA, size: SZ_4K },
    link: page,
    ...{ errno: -ERRNO.EEXIST, warn: 1 },
  },
];

function* links(): Iterable<ScenarioCase> {
  for (const { name, rig, first, link, errno, warn } of LINKS)
    yield dmaCase({
      way: `link: ${name}`,
      ...(rig === undefined ? {} : { rig }),
      run(dma): Observed {
        const { api, dev } = dma;
        const state = new DmaIovaState();
        api.iovaTryAlloc(dev, state, first?.paddr ?? link.paddr, 4 * SZ_4K);
        if (first !== undefined) api.iovaLink(dev, state, { ...first, offset: 0, dir });
        const before = dma.rig.mirror.size;
        const slots = dma.slots;
        const { counts, result } = dma.measure(() => api.iovaLink(dev, state, { ...link, dir }));
        dma.later(() => api.iovaDestroy(dev, state, { mapped: first?.size ?? 0, dir }));
        const { st, cmd } = counts;
        const pages = dma.rig.mirror.size - before;
        return { result, warn: counts.warn, st, cmd, pages, slots: dma.slots - slots };
      },
      expected: { result: errno, warn, st: 0, cmd: 0, pages: 0, slots: 0 },
    });
}

/** Where the next request of two pages goes. */
const NEXT = 0xffff_e000;

interface MapErrorRow {
  readonly name: string;
  readonly sg: number;
  readonly twoStep: number | null;
  /** What makes the map fail. */
  prepare(dma: DmaRig): void;
  readonly peer?: true;
}

const MAP_ERRORS: readonly MapErrorRow[] = [
  {
    name: 'something is mapped behind the allocator: EEXIST',
    ...{ sg: -ERRNO.EINVAL, twoStep: -ERRNO.EEXIST },
    prepare(dma) {
      const { machine, domain } = dma.rig;
      machine.core.map(domain, NEXT, PA, SZ_4K, PROT);
      dma.later(() => void machine.core.unmap(domain, NEXT, SZ_4K));
    },
  },
  {
    name: 'no table: ENOMEM',
    ...{ sg: -ERRNO.ENOMEM, twoStep: -ERRNO.ENOMEM },
    prepare(dma) {
      dma.rig.machine.frames.failIn = 1;
    },
  },
  {
    name: 'a peer out of reach: EREMOTEIO',
    // Two-step users look at their peers before they link.
    ...{ sg: -ERRNO.EREMOTEIO, twoStep: null },
    prepare() {},
    peer: true,
  },
];

function* mapErrors(): Iterable<ScenarioCase> {
  for (const { name, sg, twoStep, prepare, peer } of MAP_ERRORS) {
    const list = [sgElement(PA + SZ_4K, 2 * SZ_4K)].map((element) =>
      peer === true ? { ...element, peer: 'not-supported' as const } : element,
    );
    yield dmaCase({
      way: `map_sg: ${name}`,
      run(dma): Observed {
        prepare(dma);
        const result = dma.api.mapSg(dma.dev, list, dir);
        return { result, live: dma.liveIovas };
      },
      expected: { result: sg, live: 0 },
    });
    if (twoStep === null) continue;
    yield dmaCase({
      way: `link: ${name}`,
      run(dma): Observed {
        prepare(dma);
        const { api, dev } = dma;
        const state = new DmaIovaState();
        api.iovaTryAlloc(dev, state, 0, 2 * SZ_4K);
        const link = { paddr: PA + SZ_4K, offset: 0, size: 2 * SZ_4K, dir };
        const result = api.iovaLink(dev, state, link);
        api.iovaDestroy(dev, state, { mapped: 0, dir });
        return { result, live: dma.liveIovas };
      },
      expected: { result: twoStep, live: 0 },
    });
  }
}

export const s111: Scenario = {
  id: 'S1-11',
  title: 'refusals',
  *cases(): Iterable<ScenarioCase> {
    yield* allocations();
    yield* links();
    yield* mapErrors();
    yield dmaCase({
      way: 'destroy with mapped 0',
      run(dma): Observed {
        const { api, dev } = dma;
        const state = new DmaIovaState();
        api.iovaTryAlloc(dev, state, 0, 2 * SZ_4K);
        const { fmt, cmd, iovasFreed } = dma.count(() =>
          api.iovaDestroy(dev, state, { mapped: 0, dir }),
        );
        return { fmt, cmd, iovasFreed, live: dma.liveIovas };
      },
      expected: { fmt: 0, cmd: 0, iovasFreed: 1, live: 0 },
    });
  },
};
