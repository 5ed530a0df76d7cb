import { hex } from '@iommukit/bits';
import {
  DmaApi,
  type DmaCaches,
  DmaDebug,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaDirection,
  type DmaEvent,
  type DmaReport,
  type FlushQueueSettings,
  Swiotlb,
} from '@iommukit/dma-api';
import { type MemoryView, NonCoherentView, TraceChannel } from '@iommukit/platform';
import { kernelProfile } from '../kernel-profile.ts';
import { readBytes, writeBytes } from '../memory-bytes.lanes.ts';
import type { Observed, ScenarioCase } from './scenario.ts';
import type { Counts, RigOptions, ScenarioRig } from './scenario-rig.ts';
import { pagesOf } from './table-image.ts';

const LINE = 64;
/** Bounce slots: above the data of scenarios, below the driver's own memory. */
const POOL = { base: 0x6000_0000, size: 0x100_0000 } as const;

/** What a DMA rig is built with, besides what the plain rig takes; `mode: 'nc'` is the walker alone. */
export interface DmaRigOptions extends RigOptions {
  /** Absent: the device snoops. */
  readonly device?: 'coherent' | 'non-coherent';
  /** Absent: strict. */
  readonly domain?: 'strict' | 'lazy';
  /** Absent: 1. */
  readonly cpus?: number;
  /** Addresses that callers give are compared with the tables. */
  readonly checking?: boolean;
  /** Absent: a PCI device with 64-bit mask, segments of any length. */
  readonly dev?: Partial<DmaDeviceOptions>;
  /** Bytes of bounce slots; absent: plenty. */
  readonly bounceBytes?: number;
  /** Absent for a lazy domain: the kernel's rings, and no timer. */
  readonly flushQueue?: FlushQueueSettings;
  /** The case does what dma-debug is there for; absent: its reports are faults. */
  readonly misuse?: true;
  /** Told of each maintenance of the data cache; bytes. */
  readonly onCache?: (what: 'clean' | 'invalidate', paddr: number, size: number) => void;
}

/** What a stretch of work cost: the plain rig's counts and those of the DMA layer. `warn` has both layers' warnings. */
export type DmaCounts = Counts & {
  /** Lookups of physical addresses, and the table levels they visited. */
  walk: number;
  wl: number;
  /** Lookups saved by an address that the caller knew. */
  saved: number;
  /** Lookups of checking mode. */
  checks: number;
  /** IOVA ranges handed out and taken back. */
  iovas: number;
  iovasFreed: number;
  /** 64-byte lines of data cleaned for the device, and invalidated for the CPU. */
  linesOut: number;
  linesIn: number;
  /** Bytes copied into bounce slots and back. */
  copiedIn: number;
  copiedOut: number;
  /** Buffers that went through bounce slots. */
  bounced: number;
};

/** Maintenance of the data cache, counted. */
class DataCaches implements DmaCaches {
  linesOut = 0;
  linesIn = 0;
  readonly view: NonCoherentView;
  readonly #told: DmaRigOptions['onCache'];

  constructor(view: NonCoherentView, told: DmaRigOptions['onCache']) {
    this.view = view;
    this.#told = told;
  }

  forDevice(paddr: number, size: number): void {
    this.linesOut += linesOf(paddr, size);
    this.#told?.('clean', paddr, size);
    this.view.clean(paddr, size);
  }

  forCpu(paddr: number, size: number, dir: DmaDirection): void {
    // The device wrote nothing.
    if (dir === 'TO_DEVICE') return;
    this.linesIn += linesOf(paddr, size);
    this.#told?.('invalidate', paddr, size);
    // Lines at the ends may hold a neighbour's bytes.
    if (paddr % LINE !== 0) this.view.clean(paddr, 1);
    if ((paddr + size) % LINE !== 0) this.view.clean(paddr + size - 1, 1);
    this.view.invalidate(paddr, size);
  }
}

function linesOf(paddr: number, size: number): number {
  return Math.ceil((paddr + size) / LINE) - Math.floor(paddr / LINE);
}

/**
 * The DMA layer over a rig's machine: one device, its IOVA space, data caches and bounce slots, all counted. Case code calls `api` with `dev`
 * itself; the rig's mirror follows core's own report of maps and unmaps. At the end everything must be back where it was.
 */
export class DmaRig {
  readonly rig: ScenarioRig;
  readonly api: DmaApi;
  readonly dev: DmaDevice;
  readonly swiotlb: Swiotlb;
  /** What a driver sees memory through. */
  readonly cpu: MemoryView;
  /** Live IOVA ranges: granules by first pfn. */
  readonly live: Map<number, number> = new Map<number, number>();
  /** Lines that the DMA layer printed. */
  readonly printed: string[] = [];
  /** What a kernel with `CONFIG_DMA_API_DEBUG` would report. */
  readonly debug: DmaDebug;
  readonly #misuse: boolean;
  readonly #caches: DataCaches;
  readonly #seen = { iovas: 0, iovasFreed: 0, warnings: 0 };
  readonly #undo: (() => void)[] = [];

  constructor(rig: ScenarioRig, options: DmaRigOptions = {}) {
    this.rig = rig;
    const { machine } = rig;
    const { cpus = 1, device = 'coherent', domain = 'strict', kernel = '7.3' } = options;
    this.#caches = new DataCaches(new NonCoherentView(machine.memory), options.onCache);
    this.cpu = device === 'coherent' ? machine.memory : this.#caches.view;
    this.swiotlb = new Swiotlb({
      base: POOL.base,
      size: options.bounceBytes ?? POOL.size,
      memory: this.cpu,
      platform: machine.platform,
      cpus,
      print: (text) => void this.printed.push(text),
    });
    const trace = new TraceChannel<DmaEvent>();
    this.#listen(trace);
    const { dma, iova } = kernelProfile(kernel);
    this.debug = new DmaDebug({ profile: dma, errors: 'all' });
    this.#misuse = options.misuse === true;
    this.api = new DmaApi({
      core: machine.core,
      platform: machine.platform,
      cpus,
      profile: dma,
      iovaProfile: iova,
      trace,
      caches: this.#caches,
      bounce: this.swiotlb,
      flushQueue: { timer: 'external', ...options.flushQueue },
      checking: options.checking === true,
      debug: this.debug,
    });
    this.dev = this.api.setupDevice(rig.device, {
      dmaBits: 64,
      coherentDmaBits: 64,
      maxSegSize: 0xffff_ffff,
      coherent: device === 'coherent',
      ...options.dev,
    });
    const { group } = rig.device;
    if (domain === 'lazy' && group !== null)
      machine.core.setGroupType(group, 'dma-fq', (lazy) => this.api.initFlushQueue(lazy));
    rig.atEnd.push(() => this.#end());
  }

  /** Counts what `work` does. */
  count(work: () => void): DmaCounts {
    const { counters } = this.rig.table;
    const { walkLevels } = counters;
    const lookups = { ...this.api.counters };
    const { iovas, iovasFreed, warnings } = this.#seen;
    const { linesOut, linesIn } = this.#caches;
    const { copiedIn, copiedOut, maps } = this.swiotlb.report();
    const counts = this.rig.count(work);
    const after = this.swiotlb.report();
    return {
      ...counts,
      warn: counts.warn + this.#seen.warnings - warnings,
      walk: this.api.counters.walks - lookups.walks,
      wl: counters.walkLevels - walkLevels,
      saved: this.api.counters.walksSaved - lookups.walksSaved,
      checks: this.api.counters.checks - lookups.checks,
      iovas: this.#seen.iovas - iovas,
      iovasFreed: this.#seen.iovasFreed - iovasFreed,
      linesOut: this.#caches.linesOut - linesOut,
      linesIn: this.#caches.linesIn - linesIn,
      copiedIn: after.copiedIn - copiedIn,
      copiedOut: after.copiedOut - copiedOut,
      bounced: after.maps - maps,
    };
  }

  /** As `count`, with what the work returned. */
  measure<T>(work: () => T): { readonly counts: DmaCounts; readonly result: T } {
    const results: T[] = [];
    const counts = this.count(() => void results.push(work()));
    return { counts, result: results[0] as T };
  }

  /** The device reads a page at a DMA address: it must find `paddr`, or be refused (-1). */
  expectAt(dmaAddr: number, paddr: number): void {
    const at = dmaAddr - (dmaAddr % this.rig.granule);
    this.rig.warmPages([at]);
    const got = this.rig.access(at);
    const wanted = paddr < 0 ? -1 : paddr - (paddr % this.rig.granule);
    if (got !== wanted)
      this.rig.fault(`${hex(dmaAddr)} is at ${got.toString(16)}, expected ${wanted.toString(16)}`);
  }

  /** Undone when the case's counts, tables and accesses have been compared; last first. */
  later(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** IOVA ranges that are handed out. */
  get liveIovas(): number {
    return this.live.size;
  }

  /** Bounce slots in use. */
  get slots(): number {
    return this.swiotlb.report().usedSlots;
  }

  /** Pages that the tables map outside live IOVA ranges. */
  leaks(): number {
    const { rig } = this;
    let leaks = 0;
    for (const iova of pagesOf(rig.machine.memory, rig.table).keys())
      if (!this.#isLive(iova / rig.granule)) leaks++;
    return leaks;
  }

  /** What the device reads at a DMA address, past the CPU's caches; null when it is refused. */
  deviceRead(dmaAddr: number, size: number): Uint8Array | null {
    const bytes = new Uint8Array(size);
    const done = this.#pages(dmaAddr, size, 'access', (paddr, at, count) =>
      bytes.set(readBytes(this.rig.machine.memory, paddr, count), at),
    );
    return done ? bytes : null;
  }

  /** The device writes; false when it is refused. */
  deviceWrite(dmaAddr: number, bytes: Uint8Array): boolean {
    return this.#pages(dmaAddr, bytes.length, 'writes', (paddr, at, count) =>
      writeBytes(this.rig.machine.memory, paddr, bytes.subarray(at, at + count)),
    );
  }

  /** What a driver reads and writes, through its cache. */
  cpuRead(paddr: number, size: number): Uint8Array {
    return readBytes(this.cpu, paddr, size);
  }

  cpuWrite(paddr: number, bytes: Uint8Array): void {
    writeBytes(this.cpu, paddr, bytes);
  }

  #pages(
    dmaAddr: number,
    size: number,
    how: 'access' | 'writes',
    visit: (paddr: number, at: number, count: number) => void,
  ): boolean {
    for (let at = 0; at < size; ) {
      const offset = (dmaAddr + at) % 4096;
      const count = Math.min(size - at, 4096 - offset);
      const page = this.rig[how](dmaAddr + at - offset);
      if (page < 0) return false;
      visit(page + offset, at, count);
      at += count;
    }
    return true;
  }

  #isLive(pfn: number): boolean {
    for (const [first, pages] of this.live) if (pfn >= first && pfn < first + pages) return true;
    return false;
  }

  #listen(trace: TraceChannel<DmaEvent>): void {
    const { rig, live, printed } = this;
    const seen = this.#seen;
    let pages = 0;
    trace.listen((event) => {
      if (event.name === 'alloc_fast') pages = event.size;
      else if (event.name === 'alloc_fast_ret' && event.pfn !== 0) {
        seen.iovas++;
        live.set(event.pfn, pages);
      } else if (event.name === 'free_fast') {
        seen.iovasFreed++;
        const known = live.get(event.pfn);
        if (known !== event.size)
          rig.fault(`pfn ${event.pfn}: ${event.size} granules freed of ${known ?? 'none'}`);
        live.delete(event.pfn);
      } else if (event.name === 'warn_on') seen.warnings++;
      else if (event.name === 'warn' || event.name === 'notice') printed.push(event.text);
    });
    // What the driver's page tables must hold, as core reports it.
    const { granule, mirror } = rig;
    rig.machine.coreTrace.listen((event) => {
      if (event.name === 'map')
        for (let at = 0; at < event.size; at += granule)
          mirror.set(event.iova + at, event.paddr + at);
      else if (event.name === 'unmap')
        for (let at = 0; at < event.unmappedSize; at += granule) mirror.delete(event.iova + at);
    });
  }

  /** What drivers did wrong. A case need not ask whether a map failed: its counts and the mirror tell. */
  #reports(): readonly DmaReport[] {
    return this.debug.reports.filter(({ rule }) => rule !== 'map-error-unchecked');
  }

  /** Undoes what is left, lets a flush queue run dry, and looks for what is still in use. */
  #end(): void {
    const { rig, dev } = this;
    for (const undo of this.#undo.reverse()) undo();
    dev.space?.flushQueue?.expire();
    if (!this.#misuse) for (const { text } of this.#reports()) rig.fault(text);
    if (rig.mirror.size !== 0) rig.fault(`${rig.mirror.size} pages stay mapped`);
    if (this.live.size !== 0) rig.fault(`${this.live.size} IOVA ranges leak`);
    if (this.slots !== 0) rig.fault(`${this.slots} bounce slots leak`);
    if (this.api.handles.live !== 0) rig.fault(`${this.api.handles.live} handles leak`);
    this.api.releaseDomain(dev.domain);
  }
}

/** One case on a DMA rig. */
export interface DmaCase
  extends Pick<ScenarioCase, 'way' | 'expected' | 'tables' | 'stale' | 'fails'> {
  readonly rig?: DmaRigOptions;
  run(dma: DmaRig): Observed;
}

/** A case of a scenario that runs on a DMA rig. Failing allocations are not swept: cases undo what they did. */
export function dmaCase({ rig: options, run, ...one }: DmaCase): ScenarioCase {
  return {
    ...one,
    ...(options === undefined ? {} : { rig: options }),
    sweep: false,
    run: (rig) => run(new DmaRig(rig, options)),
  };
}
