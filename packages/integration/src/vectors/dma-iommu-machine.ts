import { minPageSize } from '@iommukit/bits';
import {
  DMA_PROFILES,
  DmaApi,
  type DmaDevice,
  DmaDomain,
  type DmaEvent,
  type FlushQueue,
} from '@iommukit/dma-api';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  IommuDomain,
} from '@iommukit/iommu-core';
import { IOVA_PROFILES } from '@iommukit/iova-allocator';
import { type Clock, type Platform, SimPlatform, TraceChannel } from '@iommukit/platform';
import { RecordedBounce } from './dma-iommu-bounce.ts';
import { type CoreCall, type CoreMock, CoreMockDomain } from './iommu-core-mock.ts';
import { exactNumber, hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

const CPUS = 4;
/** The recorded harness changes the number of queues and their size only. */
const TIMEOUT_US = 10_000;

/** A flush while another CPU queues something. */
export interface NestedEntry {
  readonly cpu: number;
  readonly pfn: number;
  readonly pages: number;
}

/** The recorded driver with what the DMA layer asks besides. */
class DmaMockDomain extends CoreMockDomain {
  onFlush: () => void = () => {};

  override flushIotlbAll(): void {
    super.flushIotlbAll();
    this.onFlush();
  }

  freeTables(tables: readonly number[]): void {
    this.calls.push(['put_pages', [...tables]]);
  }
}

/** What an inclusive limit leaves below it. */
export function endOf(last: string): number {
  return Number(BigInt(last) + 1n);
}

/** A limit of the form 2^k - 1 as k. */
function bitsOf(last: string, where: string): number {
  const bits = Math.log2(endOf(last));
  if (!Number.isInteger(bits) || bits < 1) throw new VectorError(where, 'a mask of low bits', last);
  return bits;
}

/** One domain of the product over the recorded driver; everything that happens is one list of calls. */
export class DmaVectorMachine {
  readonly dma: DmaApi;
  readonly core: IommuCore;
  readonly dev: DmaDevice;
  readonly platform: SimPlatform = new SimPlatform();
  readonly granule: number;
  /** Memory for flush queues is out. */
  memoryFails = false;
  /** What another CPU queues while the next flush runs. */
  nested: NestedEntry | null = null;
  readonly #ops: DmaMockDomain;
  #log: CoreCall[] = [];
  #warns = 0;

  /** `domain` of a case; the queue's size and number come from its first `fq_init`. */
  constructor(row: JsonRow, queue: JsonRow) {
    const coreTrace = new TraceChannel<CoreEvent>();
    coreTrace.listen((event) => {
      if (event.name === 'warn' && event.text.startsWith('unaligned:'))
        this.#log.push(['err', event.text]);
    });
    this.core = new IommuCore({
      trace: coreTrace,
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: 'dma',
    });
    const pgsizeBitmap = exactNumber(row['pgsize_bitmap'], 'domain.pgsize_bitmap');
    this.granule = minPageSize(pgsizeBitmap);
    const { mock = {}, sync_map_op } = row as { mock?: CoreMock; sync_map_op?: boolean };
    const ops = new DmaMockDomain(this.core, {
      ...mock,
      ...(sync_map_op === true ? {} : { no_sync_map: 1 }),
    });
    this.#ops = ops;
    ops.onFlush = () => this.#otherCpu();
    const domain = new IommuDomain({
      type: 'dma',
      ops,
      pgsizeBitmap,
      apertureStart: exactNumber(row['start_pfn'] ?? '0x1', 'domain.start_pfn') * this.granule,
      apertureEnd: endOf(row['aperture_end']),
    });
    ops.domain = domain;
    this.dma = this.#layer(row, queue);
    this.dev = this.#setUp(row, domain);
  }

  #layer(row: JsonRow, queue: JsonRow): DmaApi {
    const trace = new TraceChannel<DmaEvent>();
    this.#listen(trace);
    const { calls } = this.#ops;
    return new DmaApi({
      core: this.core,
      platform: this.#recordedPlatform(),
      cpus: CPUS,
      profile: DMA_PROFILES['7.3'],
      iovaProfile: IOVA_PROFILES['7.3'],
      trace,
      caches: {
        forDevice: (paddr, size) => calls.push(['cache_dev', hex(paddr), hex(size)]),
        forCpu: (paddr, size) => calls.push(['cache_cpu', hex(paddr), hex(size)]),
        flush: () => calls.push(['cache_flush']),
      },
      bounce: new RecordedBounce(
        calls,
        row['no_bounce'] === true ? 'inactive' : 'active',
        row['bounce_fail'] ?? 0,
      ),
      flushQueue: {
        mode: queue['single'] === 1 ? 'single' : 'per-cpu',
        ...(queue['fq_size'] === undefined ? {} : { size: queue['fq_size'] }),
        timeoutUs: TIMEOUT_US,
        memoryFails: () => this.memoryFails,
      },
    });
  }

  #setUp(row: JsonRow, domain: IommuDomain): DmaDevice {
    const device = new IommuDevice({
      name: 'd',
      ids: [1],
      groupKey: 'd',
      isPci: row['pci'] === true,
      untrusted: row['untrusted'] === true,
    });
    this.core.probeDevice(device, {
      probeDevice: () => 0,
      releaseDevice() {},
      domainAlloc: () => domain,
      getResvRegions: () => [],
      capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
    });
    const { bus_dma_limit, max_seg, seg_boundary, min_align_mask } = row;
    const dev = this.dma.setupDevice(device, {
      dmaBits: bitsOf(row['mask'], 'domain.mask'),
      coherentDmaBits: 48,
      coherent: row['coherent'] === true,
      ...(bus_dma_limit === undefined ? {} : { busDmaLimit: endOf(bus_dma_limit) }),
      ...(max_seg === undefined ? {} : { maxSegSize: exactNumber(max_seg, 'domain.max_seg') }),
      ...(seg_boundary === undefined ? {} : { segBoundary: endOf(seg_boundary) }),
      ...(min_align_mask === undefined
        ? {}
        : { minAlignMask: exactNumber(min_align_mask, 'domain.min_align_mask') }),
    });
    for (const [lo, hi] of row['reserve'] ?? [])
      this.dma.reserve(
        domain,
        exactNumber(lo, 'domain.reserve'),
        exactNumber(hi, 'domain.reserve'),
      );
    return dev;
  }

  /** The domain's flush queue, if it is lazy. */
  get queue(): FlushQueue | null {
    return this.#space.flushQueue;
  }

  /** Size, number and timer of its rings, or of those that it would have. */
  get queueOptions(): DmaDomain['flushQueueOptions'] {
    return this.#space.flushQueueOptions;
  }

  get #space(): DmaDomain {
    const space = this.dev.domain.dmaCookie;
    if (space instanceof DmaDomain) return space;
    throw new VectorError('domain', 'an IOVA space', space);
  }

  /** Makes the domain lazy, as its group's `type` file does; once more, it stays so. */
  makeLazy(): number {
    const { group } = this.dev.device;
    const { domain } = this.dev;
    if (domain.type === 'dma-fq' || group === null) return this.dma.initFlushQueue(domain);
    return this.core.setGroupType(group, 'dma-fq', (lazy) => this.dma.initFlushQueue(lazy));
  }

  /** Entries of `queue` steps were never allocated: they return to nobody. */
  keepUnallocated(): void {
    const { iovad } = this.#space;
    const free = iovad.freeIovaFast.bind(iovad);
    iovad.freeIovaFast = (cpu, pfn, size) => {
      if (iovad.findIova(pfn) !== null) free(cpu, pfn, size);
    };
  }

  /** What happened since the last call of this; absent: nothing of the kind. */
  take(): JsonRow {
    const calls = this.#ops.calls.splice(0);
    const log = this.#log;
    const warns = this.#warns;
    this.#log = [];
    this.#warns = 0;
    return {
      ...(calls.length === 0 ? {} : { calls }),
      ...(log.length === 0 ? {} : { log }),
      ...(warns === 0 ? {} : { warns }),
    };
  }

  #otherCpu(): void {
    const { nested, platform } = this;
    if (nested === null) return;
    this.nested = null;
    const { cpu } = platform;
    const { calls } = this.#ops;
    platform.cpu = nested.cpu;
    calls.push(['other_cpu', nested.cpu, hex(nested.pfn), hex(nested.pages)]);
    this.queue?.queue(nested.pfn, nested.pages, []);
    calls.push(['other_cpu_end']);
    platform.cpu = cpu;
  }

  /** The simulated platform, whose timers are written down. */
  #recordedPlatform(): Platform {
    const { platform } = this;
    const { clock } = platform;
    const { calls } = this.#ops;
    const recorded: Clock = {
      get nowUs() {
        return clock.nowUs;
      },
      schedule(delayUs, callback) {
        // The allocator's depot has a timer of its own, which no recording shows.
        if (delayUs === TIMEOUT_US) calls.push(['arm', delayUs / 1000]);
        return clock.schedule(delayUs, callback);
      },
      cancel: (id) => clock.cancel(id),
    };
    return {
      clock: recorded,
      get cpu() {
        return platform.cpu;
      },
      set cpu(cpu: number) {
        platform.cpu = cpu;
      },
      pollUntil: (condition, timeoutUs) => platform.pollUntil(condition, timeoutUs),
    };
  }

  #listen(trace: TraceChannel<DmaEvent>): void {
    const { calls } = this.#ops;
    let asked: CoreCall = [];
    trace.listen((event) => {
      if (event.name === 'alloc_fast')
        asked = [hex(event.size), hex(event.limitPfn), event.flush === 'flush' ? 1 : 0];
      else if (event.name === 'alloc_fast_ret')
        calls.push(['alloc_iova', ...asked, hex(event.pfn)]);
      else if (event.name === 'free_fast')
        calls.push(['free_iova', hex(event.pfn), hex(event.size)]);
      else if (event.name === 'warn' || event.name === 'notice')
        this.#log.push([event.name, event.text]);
      else if (event.name === 'warn_on') {
        this.#warns++;
        if (event.message !== null) this.#log.push(['warn_once', event.message]);
      }
    });
  }
}
