import {
  CORE_PROFILES,
  type DeviceFault,
  type DomainOps,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
  type PageResponse,
  type ProcessNotifier,
  type ProcessSpace,
  type ReservedRegion,
} from '@iommukit/iommu-core';
import { TraceChannel } from '@iommukit/platform';
import {
  IOMMU_FIRST_GLOBAL_PASID,
  IopfQueue,
  type IopfQueueParts,
  type Mm,
  type MmAccess,
  type MmFaultResult,
  PASID_MAX,
  PasidAllocator,
  SvaBinder,
  type VmArea,
} from '../src/index.ts';

export const PAGE = 4096;
export const RW: VmArea = { read: true, write: true, exec: false };

/** A process of an outsider: a map of pages that are there, and one area. */
export class ToyMm implements Mm {
  users = 1;
  sharesTables = true;
  readonly tables: Map<number, { write: boolean }> = new Map();
  readonly notifiers = new Set<ProcessNotifier>();
  readonly handled: string[] = [];
  area: VmArea = RW;
  end = 2 ** 40;
  result: MmFaultResult = 'done';

  addNotifier(notifier: ProcessNotifier): number {
    if (this.users === 0) return -22;
    this.notifiers.add(notifier);
    return 0;
  }

  removeNotifier(notifier: ProcessNotifier): void {
    this.notifiers.delete(notifier);
  }

  areaAt(address: number): VmArea | null {
    return address < this.end ? this.area : null;
  }

  handleFault(address: number, { write, instruction, user }: MmAccess): MmFaultResult {
    const who = user ? 'user' : 'kernel';
    this.handled.push(`${write ? 'w' : instruction ? 'x' : 'r'} ${address.toString(16)} ${who}`);
    if (this.result === 'done') this.tables.set(address - (address % PAGE), { write });
    return this.result;
  }

  /** Takes a page away, in the order that the contract states. */
  drop(page: number): void {
    this.tables.delete(page);
    for (const notifier of [...this.notifiers]) notifier.invalidate(page, page + PAGE);
  }

  exit(): void {
    this.users = 0;
    for (const notifier of [...this.notifiers]) notifier.release();
    this.tables.clear();
  }
}

/** A domain over a {@link ToyMm}: it caches what it walked, until a notice. */
export class ToySvaDomain implements DomainOps, ProcessNotifier {
  readonly mapped = 0;
  readonly driver: SharedDriver;
  readonly space: ProcessSpace;
  readonly cached = new Set<number>();
  gone = false;

  constructor(driver: SharedDriver, space: ProcessSpace) {
    this.driver = driver;
    this.space = space;
  }

  attachDev(): number {
    return -19;
  }

  setDevPasid(device: IommuDevice, pasid: number): number {
    if (this.driver.refuses.has(this) || this.driver.attachErrno !== 0)
      return this.driver.attachErrno || -22;
    this.driver.log.push(`attach ${device.name} ${pasid}`);
    return 0;
  }

  /** An access of a device: whether it gets through. */
  reaches(address: number): boolean {
    const page = address - (address % PAGE);
    if (this.gone) return false;
    if (this.cached.has(page)) return true;
    if (!(this.space.tables as ToyMm['tables']).has(page)) return false;
    this.cached.add(page);
    return true;
  }

  invalidate(start: number, end: number): void {
    for (const page of [...this.cached]) if (page >= start && page < end) this.cached.delete(page);
  }

  release(): void {
    this.gone = true;
    this.cached.clear();
    this.driver.log.push('release');
  }

  mapPages(): number {
    return -19;
  }

  unmapPages(): number {
    return 0;
  }

  iovaToPhys(): number {
    return 0;
  }

  flushIotlbAll(): void {
    this.cached.clear();
  }

  iotlbSync(): void {}

  free(): void {
    this.space.removeNotifier(this);
    this.driver.log.push('free');
  }
}

/** A driver whose domains do nothing but for processes; it writes down what it is told. */
export class SharedDriver implements IommuOps {
  readonly maxPasids = 2 ** 20;
  readonly log: string[] = [];
  readonly responses: { readonly fault: DeviceFault; readonly response: PageResponse }[] = [];
  readonly refuses = new Set<DomainOps>();
  attachErrno = 0;
  allocErrno = 0;
  readonly blockedDomain: IommuDomain = this.#plain('blocked');
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };

  probeDevice(): number {
    return 0;
  }

  releaseDevice(): void {}

  domainAlloc(): IommuDomain {
    return this.#plain('dma');
  }

  domainAllocSva(_device: IommuDevice, mm: ProcessSpace): IommuDomain | number {
    if (this.allocErrno !== 0) return this.allocErrno;
    const ops = new ToySvaDomain(this, mm);
    const errno = mm.addNotifier(ops);
    if (errno !== 0) return errno;
    this.log.push('alloc');
    return domainOf('sva', ops);
  }

  getResvRegions(): readonly ReservedRegion[] {
    return [];
  }

  pageResponse(_device: IommuDevice, fault: DeviceFault, response: PageResponse): void {
    this.responses.push({ fault, response });
  }

  #plain(type: 'blocked' | 'dma'): IommuDomain {
    const { log } = this;
    return domainOf(type, {
      mapped: 0,
      attachDev: () => 0,
      setDevPasid: (device, pasid) => {
        log.push(`${type === 'blocked' ? 'detach' : 'attach'} ${device.name} ${pasid}`);
        return 0;
      },
      mapPages: () => -19,
      unmapPages: () => 0,
      iovaToPhys: () => 0,
      flushIotlbAll: () => {},
      iotlbSync: () => {},
      free: () => {},
    });
  }
}

function domainOf(type: 'blocked' | 'dma' | 'sva', ops: DomainOps): IommuDomain {
  return new IommuDomain({ type, ops, pgsizeBitmap: PAGE, apertureStart: 0, apertureEnd: 2 ** 48 });
}

/** Core, driver, a fault queue, the processes bound. */
export class SharedRig {
  readonly driver: SharedDriver = new SharedDriver();
  readonly core: IommuCore = new IommuCore({
    trace: new TraceChannel(),
    profile: CORE_PROFILES['7.3'],
    defaultDomainType: 'dma',
  });
  readonly pasids: PasidAllocator = new PasidAllocator({
    first: IOMMU_FIRST_GLOBAL_PASID,
    last: PASID_MAX,
    order: 'lowest',
  });
  readonly binder: SvaBinder = new SvaBinder(this.core, this.pasids);
  readonly warnings: string[] = [];
  readonly queue: IopfQueue;

  constructor(parts: Partial<IopfQueueParts> = {}) {
    this.queue = new IopfQueue({ name: 'toy', warn: (text) => this.warnings.push(text), ...parts });
  }

  device(name: string, options: { readonly maxPasids?: number; readonly group?: string } = {}) {
    const { maxPasids = 64, group = name } = options;
    const device = new IommuDevice({ name, ids: [1], groupKey: group, maxPasids });
    this.core.probeDevice(device, this.driver);
    return device;
  }

  report(device: IommuDevice, fault: Partial<DeviceFault> & { readonly at?: number }): number {
    const { at = 0, ...rest } = fault;
    const addr = { lo: at % 2 ** 32, hi: Math.floor(at / 2 ** 32) };
    return this.core.reportDeviceFault(device, {
      addr,
      pasid: 1,
      perm: 1,
      grpid: 0,
      lastPage: true,
      ...rest,
    });
  }

  /** Responses since the last call: group id and answer. */
  answered(): [number, PageResponse][] {
    const taken = this.driver.responses.splice(0);
    return taken.map(({ fault, response }) => [fault.grpid, response]);
  }
}
