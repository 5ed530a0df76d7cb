import { IOMMU_READ, IOMMU_WRITE, type IotlbGather } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
  type ReservedRegion,
} from '@iommukit/iommu-core';
import { TraceChannel } from '@iommukit/platform';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  type SvaDeviceInit,
  svaAllocPasid,
  svaDeviceInit,
} from '../src/index.ts';

export const PAGE = 4096;
export const PROT: number = IOMMU_READ + IOMMU_WRITE;
const [EINVAL, EEXIST] = [22, 17];

/** A domain with a page table of one level, and a TLB that keeps what was read until it is told. */
export class PagedDomain implements DomainOps {
  mapped = 0;
  readonly id: number;
  readonly driver: PrivateDriver;
  readonly pages = new Map<number, number>();
  readonly tlb = new Map<number, number>();
  domain: IommuDomain | null = null;

  constructor(driver: PrivateDriver, id: number) {
    this.driver = driver;
    this.id = id;
  }

  attachDev(): number {
    return 0;
  }

  setDevPasid(_device: IommuDevice, pasid: number): number {
    const errno = this.driver.attachErrno;
    this.driver.note(`attach ${pasid}${errno === 0 ? '' : ` ${errno}`}`);
    if (errno === 0) this.driver.contexts.set(pasid, this);
    return errno;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    this.mapped = 0;
    if (prot === 0) return -EINVAL;
    for (let i = 0; i < pgcount; i++) {
      if (this.pages.has(iova + i * pgsize)) return -EEXIST;
      this.pages.set(iova + i * pgsize, paddr + i * pgsize);
      this.mapped += pgsize;
    }
    this.driver.note(`map ${this.id}`);
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    let pages = 0;
    while (pages < pgcount && this.pages.delete(iova + pages * pgsize)) pages++;
    this.driver.note(`unmap ${this.id}`);
    if (this.domain !== null)
      this.driver.core.gatherAddPages(this.domain, gather, iova, pgsize, pages);
    return pages * pgsize;
  }

  iovaToPhys(iova: number): number {
    const page = this.pages.get(iova - (iova % PAGE));
    return page === undefined ? 0 : page + (iova % PAGE);
  }

  flushIotlbAll(): void {
    this.driver.note(`flush ${this.id}`);
    this.tlb.clear();
  }

  iotlbSync({ start, end, pgsize }: IotlbGather): void {
    this.driver.note(`sync ${this.id} ${(end - start) / pgsize} x ${pgsize}`);
    for (const page of this.tlb.keys()) if (page >= start && page < end) this.tlb.delete(page);
  }

  /** What a device reads that walks this table. */
  read(page: number): number {
    const paddr = this.tlb.get(page) ?? this.pages.get(page) ?? -1;
    if (paddr >= 0) this.tlb.set(page, paddr);
    return paddr;
  }

  free(): void {
    this.driver.note(`free ${this.id}`);
  }
}

/** A driver whose device has 16 PASIDs; it writes down what reaches hardware. */
export class PrivateDriver implements IommuOps {
  readonly log: string[] = [];
  readonly contexts = new Map<number, PagedDomain>();
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };
  readonly maxPasids = 16;
  readonly blockedDomain?: IommuDomain;
  readonly core: IommuCore;
  /** What the next attaches return. */
  attachErrno = 0;
  /** False: `domainAlloc` has no memory. */
  memory: 'there' | 'gone' = 'there';
  #ids = 0;

  constructor(pasids: 'detachable' | 'never' = 'detachable') {
    this.core = new IommuCore({
      trace: new TraceChannel(),
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: 'dma',
    });
    if (pasids === 'detachable') this.blockedDomain = this.#blocked();
  }

  note(what: string): void {
    this.log.push(what);
  }

  /** What was written down since the last time. */
  noted(): string[] {
    return this.log.splice(0);
  }

  #blocked(): IommuDomain {
    const ops = new PagedDomain(this, 0);
    ops.setDevPasid = (_device, pasid) => {
      this.note(`detach ${pasid}`);
      this.contexts.get(pasid)?.tlb.clear();
      this.contexts.delete(pasid);
      return 0;
    };
    return new IommuDomain({ ...APERTURE, type: 'blocked', ops, pgsizeBitmap: 0 });
  }

  probeDevice(): number {
    return 0;
  }

  releaseDevice(): void {}

  getResvRegions(): readonly ReservedRegion[] {
    return [];
  }

  domainAlloc(type: DomainType): IommuDomain | number {
    if (this.memory === 'gone') return -12;
    const ops = new PagedDomain(this, ++this.#ids);
    const domain = new IommuDomain({ ...APERTURE, type, ops, pgsizeBitmap: PAGE });
    ops.domain = domain;
    return domain;
  }
}

const APERTURE = { apertureStart: 0, apertureEnd: 2 ** 48 };

/** A device under the driver, prepared with the range [5, 8] unless said otherwise; null: not prepared. */
export class PrivateRig {
  readonly driver: PrivateDriver;
  readonly core: IommuCore;
  readonly device: IommuDevice;
  readonly domain: IommuDomain;

  constructor(init: Partial<SvaDeviceInit> | null = {}, driver = new PrivateDriver()) {
    this.driver = driver;
    this.core = driver.core;
    this.device = new IommuDevice({ name: 'gpu', ids: [1], groupKey: 'gpu', maxPasids: 16 });
    this.core.probeDevice(this.device, driver);
    this.domain = this.device.group?.domain as IommuDomain;
    if (init !== null) this.init(init);
    driver.noted();
  }

  /** `svaDeviceInit`, on top of the usual range. */
  init(init: Partial<SvaDeviceInit>): number {
    const { core, device } = this;
    const usual = { features: IOMMU_SVA_FEAT_PRIVATE, minPasid: 5, maxPasid: 8 };
    return svaDeviceInit({ core, device, ...usual, ...init });
  }

  alloc(): IoMm {
    const ioMm = svaAllocPasid(this.domain, this.device);
    if (typeof ioMm === 'number') throw new Error(`svaAllocPasid: ${ioMm}`);
    return ioMm;
  }

  /** What the device reads with a PASID: -1 when it is refused. */
  read(pasid: number, page: number): number {
    return this.driver.contexts.get(pasid)?.read(page) ?? -1;
  }
}
