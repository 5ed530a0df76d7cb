import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import {
  type BatchOptions,
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  type IommuDomain,
  type RangeBatch,
  type SgRun,
} from '../src/index.ts';
import { PAGE, type ToyDomain, ToyDriver, type ToyOptions } from './toy-driver.ts';

/** 1G-aligned, and its tables do not exist yet (evaluation.md section 1). */
export const X = 0x1_0000_0000;
export const PROT: number = IOMMU_READ + IOMMU_WRITE;
const MEMORY = 0x8_8000_0000;

/** n pages of which no two are neighbours. */
export function scat(n: number, base = MEMORY): SgRun[] {
  return Array.from({ length: n }, (_, i) => ({ paddr: base + 2 * i * PAGE, length: PAGE }));
}

/** Contiguous, but congruent to X only in pages. */
export const CONT: number = MEMORY + PAGE;

/** One device in a default domain of the toy hardware. */
export class BatchRig {
  readonly driver: ToyDriver;
  readonly core: IommuCore;
  readonly device: IommuDevice = new IommuDevice({ name: 'a', ids: [1], groupKey: 'a' });
  readonly domain: IommuDomain;
  readonly toy: ToyDomain;
  readonly events: CoreEvent[] = [];

  constructor(options: ToyOptions = {}) {
    this.driver = new ToyDriver(options);
    const trace = new TraceChannel<CoreEvent>();
    trace.listen((event) => this.events.push(event));
    this.core = new IommuCore({
      trace,
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: 'dma',
    });
    this.driver.core = this.core;
    if (this.core.probeDevice(this.device, this.driver) !== 0) throw new Error('no probe');
    this.domain = this.device.group?.domain as IommuDomain;
    this.toy = this.driver.domains[0] as ToyDomain;
    this.clear();
  }

  begin(options: BatchOptions = {}): RangeBatch {
    const batch = this.core.beginBatch(this.domain, options);
    if (typeof batch === 'number') throw new Error(`beginBatch: ${batch}`);
    return batch;
  }

  clear(): void {
    this.events.length = 0;
    this.driver.commands.length = 0;
    this.driver.rangeCalls = 0;
  }

  /** Invalidations and syncs since the last `clear`. */
  get sent(): [number, number] {
    return [this.driver.count('inv'), this.driver.count('sync')];
  }

  get warnings(): number {
    return this.events.filter(({ name }) => name === 'warn').length;
  }

  /** DMA of the device to every page of a range, as text: what each reached. */
  touch(iova: number, pages: number): (number | undefined)[] {
    return Array.from({ length: pages }, (_, i) =>
      this.driver.access(this.device, iova + i * PAGE),
    );
  }

  /** What the page table says of every page. */
  phys(iova: number, pages: number): number[] {
    return Array.from({ length: pages }, (_, i) =>
      this.core.iovaToPhys(this.domain, iova + i * PAGE),
    );
  }

  /** Takes the device away: every frame must come back. */
  end(): number {
    this.domain.batch?.flush();
    this.core.releaseDevice(this.device);
    return this.driver.frames.used;
  }
}
