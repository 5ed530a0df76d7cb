import {
  CORE_PROFILES,
  type DomainOps,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { IOVA_PROFILES, IovaDomain } from '@iommukit/iova-allocator';
import { SimPlatform, TraceChannel } from '@iommukit/platform';
import { DMA_PROFILES, DmaApi, sgElement } from '../src/index.ts';

const ops: DomainOps & { mapped: number } = {
  mapped: 0,
  attachDev: () => 0,
  mapPages(_iova, _paddr, pgsize, pgcount) {
    this.mapped = pgsize * pgcount;
    return 0;
  },
  unmapPages: (_iova, pgsize, pgcount) => pgsize * pgcount,
  iovaToPhys: (iova) => iova,
  flushIotlbAll() {},
  iotlbSync() {},
  free() {},
};
const driver: IommuOps = {
  probeDevice: () => 0,
  releaseDevice() {},
  domainAlloc: (type) =>
    new IommuDomain({
      type,
      ops,
      pgsizeBitmap: 0x4020_1000,
      apertureStart: 0,
      apertureEnd: 2 ** 48,
    }),
  getResvRegions: () => [],
  capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
};
const platform = new SimPlatform();
const core = new IommuCore({
  trace: new TraceChannel(),
  profile: CORE_PROFILES['6.12'],
  defaultDomainType: 'dma',
});
const dma = new DmaApi({
  core,
  platform,
  cpus: 1,
  profile: DMA_PROFILES['6.12'],
  iovaProfile: IOVA_PROFILES['6.12'],
  trace: new TraceChannel(),
});
const device = new IommuDevice({ name: 'd', ids: [1], groupKey: 'd' });
core.probeDevice(device, driver);
const dev = dma.setupDevice(device, { dmaBits: 48, coherentDmaBits: 48, coherent: true });
const iovad = new IovaDomain({
  granule: 4096,
  startPfn: 1,
  clock: platform.clock,
  cpus: 1,
  profile: IOVA_PROFILES['6.12'],
});
const LIMIT = 2 ** 36 - 1;
const OPS = 1024;
const sg = Array.from({ length: 16 }, (_, i) => sgElement(0x4000_0000 + i * 0x3000, 4096));

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain loop: allocator and driver',
    reference: true,
    ops: OPS,
    run() {
      let sum = 0;
      for (let i = 0; i < OPS; i++) {
        const pfn = iovad.allocIovaFast(0, 1, LIMIT, 'flush');
        ops.mapPages(pfn * 4096, 0x4000_0000, 4096, 1, 7);
        sum += pfn + ops.mapped;
        iovad.freeIovaFast(0, pfn, 1);
      }
      return sum;
    },
  },
  {
    name: 'mapPage + unmapPage, 4 KiB',
    ops: OPS,
    run() {
      let sum = 0;
      for (let i = 0; i < OPS; i++) {
        const address = dma.mapPage(dev, 0x4000_0000, 4096, 'TO_DEVICE');
        sum += address;
        dma.unmapPage(dev, address, 4096, 'TO_DEVICE');
      }
      return sum;
    },
  },
  {
    name: 'mapSg + unmapSg, 16 elements, an element',
    ops: 64 * 16,
    run() {
      let sum = 0;
      for (let i = 0; i < 64; i++) {
        sum += dma.mapSg(dev, sg, 'TO_DEVICE');
        dma.unmapSg(dev, sg, 'TO_DEVICE');
      }
      return sum;
    },
  },
];
