import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import {
  type BatchOptions,
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuGroup,
  type RangeBatch,
  type SgRun,
} from '../src/index.ts';
import { PAGE, type ToyDomain } from './toy-domain.ts';
import { ToyDriver, type ToyOptions } from './toy-driver.ts';

/** The toy hardware under a core of 7.3, which writes down its events. */
function machine(options: ToyOptions, events: CoreEvent[]) {
  const driver = new ToyDriver(options);
  const trace = new TraceChannel<CoreEvent>();
  trace.listen((event) => events.push(event));
  const core = new IommuCore({ trace, profile: CORE_PROFILES['7.3'], defaultDomainType: 'dma' });
  driver.core = core;
  return { driver, core };
}

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

/** Memory that neither holds. */
export const OTHER = 0x9_0000_0000;

/** Where each piece is. */
export const addresses = (sg: readonly SgRun[]): number[] => sg.map(({ paddr }) => paddr);

/** One device in a default domain of the toy hardware. */
export class BatchRig {
  readonly driver: ToyDriver;
  readonly core: IommuCore;
  readonly device: IommuDevice = new IommuDevice({ name: 'a', ids: [1], groupKey: 'a' });
  readonly domain: IommuDomain;
  readonly toy: ToyDomain;
  readonly events: CoreEvent[] = [];

  constructor(options: ToyOptions = {}) {
    ({ driver: this.driver, core: this.core } = machine(options, this.events));
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

export type Made = { readonly domain: IommuDomain; readonly ops: ToyDomain };

/** Devices a, b, c in one group over the toy hardware; device c has no PASIDs. */
export class GroupRig {
  readonly driver: ToyDriver;
  readonly core: IommuCore;
  readonly devices: readonly IommuDevice[];
  readonly #events: CoreEvent[] = [];

  constructor(options: ToyOptions = {}) {
    ({ driver: this.driver, core: this.core } = machine(options, this.#events));
    this.devices = ['a', 'b', 'c'].map(
      (name, i) =>
        new IommuDevice({
          name,
          ids: [i],
          groupKey: 'g',
          ...(name === 'c' ? {} : { maxPasids: 8 }),
        }),
    );
    for (const device of this.devices)
      if (this.core.probeDevice(device, this.driver) !== 0) throw new Error('no probe');
  }

  get warnings(): string[] {
    return this.#events.flatMap((event) => (event.name === 'warn' ? [event.text] : []));
  }

  device(index: number): IommuDevice {
    return this.devices[index] as IommuDevice;
  }

  get group(): IommuGroup {
    return this.device(0).group as IommuGroup;
  }

  get fallback(): Made {
    const domain = this.group.defaultDomain as IommuDomain;
    return { domain, ops: domain.ops as ToyDomain };
  }

  make(): Made {
    const domain = this.core.domainAllocUnmanaged(this.device(0));
    if (!(domain instanceof IommuDomain)) throw new Error('no domain');
    return { domain, ops: domain.ops as ToyDomain };
  }

  /** Types of the domains in which the hardware has the devices. */
  get where(): (string | undefined)[] {
    return this.devices.map((device) => this.driver.streams.get(device)?.type);
  }

  /** Which devices have which domain on a PASID. */
  on(pasid: number): (ToyDomain | undefined)[] {
    return this.devices.map(({ name }) => this.driver.pasids.get(`${name}/${pasid}`));
  }
}
