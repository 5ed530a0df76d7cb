import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { TraceChannel } from '@iommukit/platform';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  svaAllocPasid,
  svaDeviceInit,
  svaMap,
  svaUnmap,
} from '../src/index.ts';

// One page mapped and unmapped at a time over the least that a driver does: one word stored and cleared. What a handle adds to the
// calls on a plain domain, and what a look-up of the PASID would add, as the patch of 2018 had it.
const PAGES = 4096;
const SIZE = 4096;
const BASE = 0xf000_0000;
const PROT: number = IOMMU_READ + IOMMU_WRITE;

class WordDomain implements DomainOps {
  mapped = 0;
  readonly words = new Uint32Array(PAGES);

  attachDev(): number {
    return 0;
  }

  setDevPasid(): number {
    return 0;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    for (let i = 0; i < pgcount; i++)
      this.words[(iova / SIZE + i) % PAGES] = paddr + i * pgsize + prot;
    this.mapped = pgsize * pgcount;
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number): number {
    for (let i = 0; i < pgcount; i++) this.words[(iova / SIZE + i) % PAGES] = 0;
    return pgsize * pgcount;
  }

  iovaToPhys(): number {
    return 0;
  }

  flushIotlbAll(): void {}

  iotlbSync(): void {}

  free(): void {}
}

function wordDomain(type: DomainType): IommuDomain {
  const [ops, pgsizeBitmap] = [new WordDomain(), type === 'blocked' ? 0 : 0x4020_1000];
  return new IommuDomain({ type, ops, pgsizeBitmap, apertureStart: 0, apertureEnd: 2 ** 48 });
}

const driver: IommuOps = {
  capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
  maxPasids: 2 ** 20,
  blockedDomain: wordDomain('blocked'),
  probeDevice: () => 0,
  releaseDevice() {},
  getResvRegions: () => [],
  domainAlloc: (type) => wordDomain(type),
};

const core = new IommuCore({
  trace: new TraceChannel(),
  profile: CORE_PROFILES['7.3'],
  defaultDomainType: 'dma',
});
const device = new IommuDevice({ name: 'gpu', ids: [1], groupKey: 'gpu', maxPasids: 2 ** 20 });
core.probeDevice(device, driver);
const plain = core.domainAllocUnmanaged(device);
if (typeof plain === 'number') throw new Error(`domainAllocUnmanaged: ${plain}`);
const domain = plain;
svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE });
const parent = device.group?.domain as IommuDomain;

/** Some address spaces, so that a look-up has something to look through. */
const handles = Array.from({ length: 64 }, (): IoMm => {
  const ioMm = svaAllocPasid(parent, device);
  if (typeof ioMm === 'number') throw new Error(`svaAllocPasid: ${ioMm}`);
  return ioMm;
});
const byPasid = new Map(handles.map((ioMm) => [ioMm.pasid, ioMm]));
const handle = handles[40] as IoMm;
const { pasid } = handle;

/** As `iommu_sva_map(int pasid, ...)` found it. */
function lookUp(id: number): IoMm {
  const ioMm = byPasid.get(id);
  if (ioMm === undefined || ioMm.kind !== 'private') throw new Error(`PASID ${id}`);
  return ioMm;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'map + unmap on a plain domain, one page',
    reference: true,
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += core.map(domain, BASE + i * SIZE, BASE + i * SIZE, SIZE, PROT);
        sum += core.unmap(domain, BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
  {
    name: 'svaMap + svaUnmap by handle',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += svaMap(handle, BASE + i * SIZE, BASE + i * SIZE, SIZE, PROT);
        sum += svaUnmap(handle, BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
  {
    name: 'the same with a look-up of the PASID in each call',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += svaMap(lookUp(pasid), BASE + i * SIZE, BASE + i * SIZE, SIZE, PROT);
        sum += svaUnmap(lookUp(pasid), BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
];
