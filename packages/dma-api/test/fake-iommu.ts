import type { IotlbGather } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type CoreEvent,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
  type ReservedRegion,
} from '@iommukit/iommu-core';
import { IOVA_PROFILES } from '@iommukit/iova-allocator';
import { SimPlatform, TraceChannel } from '@iommukit/platform';
import {
  DMA_PROFILES,
  DmaApi,
  type DmaApiOptions,
  type DmaCaches,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaEvent,
  type FlushQueueSettings,
} from '../src/index.ts';

import { type Call, h } from './call.ts';
import { FakeBounce } from './fake-bounce.ts';

/** The code of the error that a call throws, or `none`. */
export function codeOf(call: () => unknown): string {
  try {
    call();
    return 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

/** How the driver misbehaves. */
export interface Mock {
  readonly fail_call?: number;
  readonly fail_errno?: number;
  readonly sync_fail?: number;
  readonly sync_errno?: number;
  /** A page that is mapped is not mapped again: -EEXIST. */
  readonly exclusive?: true;
}

export interface MachineOptions {
  readonly version?: '6.1' | '6.12' | '7.2' | '7.3';
  readonly pgsizeBitmap?: number;
  readonly apertureStart?: number;
  readonly apertureEnd?: number;
  readonly type?: DomainType;
  readonly mock?: Mock;
  readonly syncMap?: boolean;
  readonly regions?: readonly ReservedRegion[];
  readonly isPci?: boolean;
  readonly untrusted?: boolean;
  readonly caches?: 'none';
  readonly cpus?: number;
  /** Bounce slots that write down what is asked of them; absent: no swiotlb. */
  readonly bounce?: { readonly active?: boolean; readonly fail?: number };
  readonly flushQueue?: FlushQueueSettings;
  readonly api?: Partial<DmaApiOptions>;
}

/** A driver that keeps a set of pages, and one machine around it; everything that happens is one list of calls. */
export class Machine implements DomainOps, IommuOps {
  readonly calls: Call[] = [];
  readonly events: DmaEvent[] = [];
  readonly core: IommuCore;
  readonly dma: DmaApi;
  readonly platform: SimPlatform = new SimPlatform();
  readonly options: MachineOptions;
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };
  readonly bounce: FakeBounce | null;
  mapped = 0;
  /** Lookups of physical addresses, whoever asked. */
  walks = 0;
  iotlbSyncMap?: (iova: number, size: number) => number;
  readonly least: number;
  readonly #pages = new Map<number, number>();
  readonly #log: [string, string][] = [];
  #domain: IommuDomain | null = null;
  #warns = 0;
  #maps = 0;
  #syncs = 0;

  constructor(options: MachineOptions = {}) {
    this.options = options;
    const version = options.version ?? '6.12';
    const bitmap = options.pgsizeBitmap ?? 0x4020_1000;
    let least = 1;
    while ((bitmap / least) % 2 < 1) least *= 2;
    this.least = least;
    const coreTrace = new TraceChannel<CoreEvent>();
    coreTrace.listen((event) => {
      if (event.name === 'warn' && event.text.startsWith('unaligned:'))
        this.#log.push(['err', event.text]);
    });
    this.core = new IommuCore({
      trace: coreTrace,
      profile: CORE_PROFILES[version],
      defaultDomainType: 'dma',
    });
    const trace = new TraceChannel<DmaEvent>();
    let pending: Call = [];
    trace.listen((event) => {
      this.events.push(event);
      if (event.name === 'warn' || event.name === 'notice')
        this.#log.push([event.name, event.text]);
      if (event.name === 'warn_on') {
        this.#warns++;
        if (event.message !== null) this.#log.push(['warn_once', event.message]);
      }
      if (event.name === 'alloc_fast')
        pending = [h(event.size), h(event.limitPfn), event.flush === 'flush' ? 1 : 0];
      if (event.name === 'alloc_fast_ret')
        this.calls.push(['alloc_iova', ...pending, h(event.pfn)]);
      if (event.name === 'free_fast') this.calls.push(['free_iova', h(event.pfn), h(event.size)]);
    });
    const caches: DmaCaches = {
      forDevice: (paddr, size) => this.calls.push(['cache_dev', h(paddr), h(size)]),
      forCpu: (paddr, size) => this.calls.push(['cache_cpu', h(paddr), h(size)]),
      flush: () => this.calls.push(['cache_flush']),
    };
    this.bounce = options.bounce === undefined ? null : new FakeBounce(this.calls, options.bounce);
    this.dma = new DmaApi({
      core: this.core,
      platform: this.platform,
      cpus: options.cpus ?? 2,
      profile: DMA_PROFILES[version],
      iovaProfile: IOVA_PROFILES[version],
      trace,
      ...(options.caches === 'none' ? {} : { caches }),
      ...(this.bounce === null ? {} : { bounce: this.bounce }),
      ...(options.flushQueue === undefined ? {} : { flushQueue: options.flushQueue }),
      ...options.api,
    });
    if (options.syncMap === true)
      this.iotlbSyncMap = (iova, size) => {
        const errno =
          ++this.#syncs === options.mock?.sync_fail ? -(options.mock.sync_errno ?? 0) : 0;
        this.calls.push(['sync_map', h(iova), h(size), ...(errno === 0 ? [] : [errno])]);
        return errno;
      };
  }

  device(name = 'd', groupKey: string = name): IommuDevice {
    const { isPci = false, untrusted = false } = this.options;
    const device = new IommuDevice({ name, ids: [1], groupKey, isPci, untrusted });
    this.core.probeDevice(device, this);
    return device;
  }

  setUp(options: Partial<DmaDeviceOptions> = {}, device: IommuDevice = this.device()): DmaDevice {
    return this.dma.setupDevice(device, {
      dmaBits: 48,
      coherentDmaBits: 48,
      coherent: true,
      ...options,
    });
  }

  /** Names of what happened since the last call of this. */
  take(): Call[] {
    return this.calls.splice(0);
  }

  /** Printed lines and warnings since the last call of this. */
  takeLog(): { log: [string, string][]; warns: number } {
    const warns = this.#warns;
    this.#warns = 0;
    return { log: this.#log.splice(0), warns };
  }

  probeDevice(): number {
    return 0;
  }

  releaseDevice(): void {}

  domainAlloc(): IommuDomain {
    const type = this.options.type ?? 'dma';
    this.#domain = new IommuDomain({
      type,
      ops: this,
      pgsizeBitmap: type === 'identity' ? 0 : (this.options.pgsizeBitmap ?? 0x4020_1000),
      apertureStart: this.options.apertureStart ?? 0,
      apertureEnd: this.options.apertureEnd ?? 2 ** 48,
    });
    return this.#domain;
  }

  /** The domain made last. */
  domainOf(): IommuDomain {
    if (this.#domain === null) throw new Error('no domain yet');
    return this.#domain;
  }

  getResvRegions(): readonly ReservedRegion[] {
    return this.options.regions ?? [];
  }

  attachDev(): number {
    return 0;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const mock = this.options.mock ?? {};
    let pages = pgcount;
    let errno = 0;
    if (++this.#maps === mock.fail_call) {
      pages = 0;
      errno = -(mock.fail_errno ?? 0);
    }
    if (mock.exclusive === true)
      for (let at = 0; at < pages * pgsize; at += this.least)
        if (this.#pages.has(iova + at)) {
          pages = 0;
          errno = -17;
        }
    this.mapped = pages * pgsize;
    for (let at = 0; at < this.mapped; at += this.least) this.#pages.set(iova + at, paddr + at);
    const call: Call = ['map', h(iova), h(paddr), h(pgsize), pgcount, prot];
    if (pages !== pgcount || errno !== 0) call.push(h(this.mapped), errno);
    this.calls.push(call);
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number): number {
    const call: Call = ['unmap', h(iova), h(pgsize), pgcount];
    this.calls.push(call);
    const limit = pgcount * pgsize;
    let bytes = 0;
    while (bytes < limit && this.#pages.delete(iova + bytes)) bytes += this.least;
    bytes -= bytes % pgsize;
    if (bytes !== pgcount * pgsize) call.push(h(bytes));
    return bytes;
  }

  iovaToPhys(iova: number): number {
    this.walks++;
    const offset = iova % this.least;
    const page = this.#pages.get(iova - offset);
    return page === undefined ? 0 : page + offset;
  }

  get mappedPages(): number {
    return this.#pages.size;
  }

  flushIotlbAll(): void {
    this.calls.push(['flush_all']);
  }

  iotlbSync(gather: IotlbGather): void {
    const last = `0x${(BigInt(gather.end) - 1n).toString(16)}`;
    this.calls.push(['sync', h(gather.start), last, h(gather.pgsize)]);
  }

  free(): void {}
}
