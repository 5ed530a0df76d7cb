import type { IotlbGather } from '@iommukit/io-pgtable';
import {
  type DomainOps,
  type DomainType,
  type IommuCore,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
  type ReservedRegion,
} from '../src/index.ts';

/** The options of the recorded mock driver (the data's README, "iommu-core"). */
export interface Mock {
  per_call?: number;
  table?: number;
  fail_call?: number;
  fail_errno?: number;
  fail_pages?: number;
  unmap_zero?: number;
  gather?: 'page' | 'range';
  no_sync?: number;
  no_sync_map?: number;
  sync_fail?: number;
  sync_errno?: number;
}

export type Call = (string | number)[];

export function h(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The inclusive end as Linux keeps it. */
export function lastOf(end: number): string {
  return end === 0 ? '0x0' : `0x${(BigInt(end) - 1n).toString(16)}`;
}

export function startOf(start: number): string {
  return start === 2 ** 64 ? '0xffffffffffffffff' : h(start);
}

/** A driver that keeps mapped intervals, records every operation, and fails on demand. */
export class FakeDomain implements DomainOps {
  readonly calls: Call[];
  readonly mock: Mock;
  readonly core: () => IommuCore;
  mapped = 0;
  domain: IommuDomain | null = null;
  attachErrno: (device: IommuDevice) => number = () => 0;
  iotlbSyncMap?: (iova: number, size: number) => number;
  freed = false;
  #ranges: [start: number, end: number, offset: number][] = [];
  #maps = 0;
  #unmaps = 0;
  #syncMaps = 0;

  constructor(core: () => IommuCore, mock: Mock = {}, calls: Call[] = []) {
    this.core = core;
    this.mock = mock;
    this.calls = calls;
    if (mock.no_sync_map === undefined)
      this.iotlbSyncMap = (iova, size) => {
        const fails = ++this.#syncMaps === mock.sync_fail;
        const errno = fails ? -(mock.sync_errno ?? 0) : 0;
        calls.push(['sync_map', h(iova), h(size), ...(errno === 0 ? [] : [errno])]);
        return errno;
      };
  }

  preset(start: number, size: number): void {
    this.#ranges.push([start, start + size, 0x90_0000_0000]);
  }

  attachDev(device: IommuDevice, old: IommuDomain | null): number {
    const errno = this.attachErrno(device);
    this.calls.push(['attach', device.name, old?.type ?? 'none', ...(errno ? [errno] : [])]);
    return errno;
  }

  #limit(iova: number, pgsize: number, count: number): number {
    let pages = count;
    if (this.mock.per_call !== undefined) pages = Math.min(pages, this.mock.per_call);
    if (this.mock.table !== undefined)
      pages = Math.min(pages, 512 - Number((BigInt(iova) / BigInt(pgsize)) % 512n));
    return pages;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    let pages = this.#limit(iova, pgsize, pgcount);
    let errno = 0;
    if (++this.#maps === this.mock.fail_call) {
      pages = Math.min(pages, this.mock.fail_pages ?? 0);
      errno = -(this.mock.fail_errno ?? 0);
    }
    const bytes = pages * pgsize;
    if (bytes > 0) this.#ranges.push([iova, iova + bytes, paddr - iova]);
    this.mapped = bytes;
    const call: Call = ['map', h(iova), h(paddr), h(pgsize), pgcount, prot];
    if (pages !== pgcount || errno !== 0) call.push(h(bytes), errno);
    this.calls.push(call);
    return errno;
  }

  #covered(start: number, end: number): boolean {
    let at = start;
    for (;;) {
      const hit = this.#ranges.find(([s, e]) => s <= at && at < e);
      if (hit === undefined) return false;
      at = hit[1];
      if (at >= end) return true;
    }
  }

  #clear(start: number, end: number): void {
    const left: [number, number, number][] = [];
    for (const [s, e, o] of this.#ranges) {
      if (e <= start || s >= end) left.push([s, e, o]);
      else {
        if (s < start) left.push([s, start, o]);
        if (e > end) left.push([end, e, o]);
      }
    }
    this.#ranges = left;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    const limit = ++this.#unmaps === this.mock.unmap_zero ? 0 : this.#limit(iova, pgsize, pgcount);
    let pages = 0;
    const call: Call = ['unmap', h(iova), h(pgsize), pgcount];
    this.calls.push(call);
    while (pages < limit && this.#covered(iova + pages * pgsize, iova + (pages + 1) * pgsize)) {
      this.#clear(iova + pages * pgsize, iova + (pages + 1) * pgsize);
      pages++;
    }
    const bytes = pages * pgsize;
    if (pages !== pgcount) call.push(h(bytes));
    if (bytes > 0 && !gather.queued && this.domain !== null) {
      if (this.mock.gather === 'page')
        this.core().gatherAddPages(this.domain, gather, iova, pgsize, pages);
      if (this.mock.gather === 'range') gather.addRange(iova, bytes);
    }
    return bytes;
  }

  iovaToPhys(iova: number): number {
    const hit = this.#ranges.find(([s, e]) => s <= iova && iova < e);
    return hit === undefined ? 0 : iova + hit[2];
  }

  flushIotlbAll(): void {
    this.calls.push(['flush_all']);
  }

  iotlbSync(gather: IotlbGather): void {
    if (this.mock.no_sync !== undefined) return;
    const call: Call = ['sync', startOf(gather.start), lastOf(gather.end), h(gather.pgsize)];
    if (gather.queued) call.push(1);
    this.calls.push(call);
  }

  free(): void {
    this.freed = true;
    this.calls.push(['free']);
  }
}

export interface FakeDriverOptions {
  readonly pgsizeBitmap?: number;
  readonly regions?: readonly ReservedRegion[];
  readonly refuse?: readonly DomainType[];
  readonly probeErrno?: number;
  readonly defType?: DomainType;
  readonly mock?: Mock;
}

/** A driver for devices; every domain and device writes to the same list of calls. */
export class FakeDriver implements IommuOps {
  readonly calls: Call[] = [];
  readonly domains: FakeDomain[] = [];
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };
  readonly options: FakeDriverOptions;
  core: IommuCore | null = null;

  constructor(options: FakeDriverOptions = {}) {
    this.options = options;
  }

  probeDevice(device: IommuDevice): number {
    this.calls.push(['probe', device.name]);
    return this.options.probeErrno ?? 0;
  }

  releaseDevice(device: IommuDevice): void {
    this.calls.push(['release', device.name]);
  }

  domainAlloc(type: DomainType): IommuDomain | number {
    this.calls.push(['alloc', type]);
    if (this.options.refuse?.includes(type)) return -95;
    const ops = new FakeDomain(() => this.core as IommuCore, this.options.mock ?? {}, this.calls);
    const domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap:
        type === 'identity' || type === 'blocked' ? 0 : (this.options.pgsizeBitmap ?? 0x4020_1000),
      apertureStart: 0,
      apertureEnd: 2 ** 48,
    });
    ops.domain = domain;
    this.domains.push(ops);
    return domain;
  }

  getResvRegions(): readonly ReservedRegion[] {
    return this.options.regions ?? [];
  }

  defDomainType(): DomainType | undefined {
    return this.options.defType;
  }
}
