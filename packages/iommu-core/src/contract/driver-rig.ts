import { hex } from '@iommukit/bits';
import { IOMMU_READ, IOMMU_WRITE, PageRun } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import type { CoreEvent } from '../core-event.ts';
import { CORE_PROFILES } from '../core-profile.ts';
import { IommuDevice } from '../device.ts';
import type { IommuDomain } from '../domain.ts';
import { IommuCore } from '../iommu-core.ts';
import { DriverContractError } from './driver-contract-error.ts';
import type { DriverParts, DriverSubject } from './driver-subject.ts';

const MEMORY = 0x8_0000_0000;

/** One mapped page. */
export interface Page {
  readonly iova: number;
  readonly paddr: number;
  readonly size: number;
}

/** A core, a driver over new hardware, and its devices, probed. Throws {@link DriverContractError} where a rule is broken. */
export class DriverRig {
  readonly prot: number = IOMMU_READ + IOMMU_WRITE;
  readonly core: IommuCore;
  readonly parts: DriverParts;
  readonly devices: readonly IommuDevice[];
  readonly memory: number;
  /** What was allocated before the first probe. */
  readonly framesAtFirst: number;
  readonly #subject: DriverSubject;
  readonly #owned: IommuDomain[] = [];
  readonly #sizes = new PageRun();

  constructor(subject: DriverSubject) {
    this.#subject = subject;
    this.core = new IommuCore({
      trace: new TraceChannel<CoreEvent>(),
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: 'dma',
    });
    this.parts = subject.create(this.core);
    this.memory = this.parts.memory ?? MEMORY;
    this.framesAtFirst = this.parts.frames();
    this.devices = this.parts.devices.map((info) => new IommuDevice(info));
    if (this.devices.length < 2)
      this.fail('the subject has two devices', '2', String(this.devices.length));
    for (const device of this.devices) this.probe(device);
  }

  fail(rule: string, expected: string, got: string): never {
    throw new DriverContractError({ subject: this.#subject.name, rule, expected, got });
  }

  /** Two values that should be the same; numbers are shown in hexadecimal, small and negative ones in decimal. */
  same(rule: string, got: number | string, expected: number | string): void {
    if (got !== expected) this.fail(rule, text(expected), text(got));
  }

  /** The result of a call that must fail. */
  refused(rule: string, errno: number): void {
    if (!(errno < 0)) this.fail(rule, 'a negative errno', text(errno));
  }

  probe(device: IommuDevice): void {
    this.same(`probe of ${device.name}`, this.core.probeDevice(device, this.parts.driver), 0);
  }

  device(index: number): IommuDevice {
    const device = this.devices[index];
    return device ?? this.fail('the subject has enough devices', String(index + 1), 'fewer');
  }

  /** A new domain that is freed at the end. */
  domain(device: IommuDevice): IommuDomain {
    const domain = this.core.domainAllocUnmanaged(device);
    if (typeof domain === 'number')
      return this.fail('an unmanaged domain', 'a domain', text(domain));
    this.#owned.push(domain);
    return domain;
  }

  /** The first device in a new domain. */
  attached(): { device: IommuDevice; domain: IommuDomain } {
    const device = this.device(0);
    const domain = this.domain(device);
    this.same('attach', this.core.attachDevice(domain, device), 0);
    return { device, domain };
  }

  /** Page sizes, ascending, that fit into the aperture several times. */
  sizes(domain: IommuDomain): readonly number[] {
    const room = (domain.apertureEnd - domain.apertureStart) / 16;
    return this.#sizes.sizes(domain.pgsizeBitmap).filter((size) => size <= room);
  }

  /** An IOVA inside the aperture, a multiple of the size. */
  inside(domain: IommuDomain, size: number): number {
    return (Math.ceil(domain.apertureStart / size) + 4) * size;
  }

  map(domain: IommuDomain, { iova, paddr, size }: Page): void {
    const errno = this.core.map(domain, iova, paddr, size, this.prot);
    this.same(`map of ${hex(size)} bytes at ${hex(iova)}`, errno, 0);
  }

  unmap(domain: IommuDomain, iova: number, size: number): void {
    const bytes = this.core.unmap(domain, iova, size);
    this.same(`unmap of ${hex(size)} bytes at ${hex(iova)}`, bytes, size);
  }

  /** The page table and the device agree on where some bytes of a page are. */
  translates(domain: IommuDomain, device: IommuDevice, { iova, paddr, size }: Page): void {
    for (const offset of [0, 8, size / 2, size - 1]) {
      const what = `${hex(offset)} into the page at ${hex(iova)}`;
      this.same(`iovaToPhys ${what}`, this.core.iovaToPhys(domain, iova + offset), paddr + offset);
      this.same(`DMA ${what}`, this.parts.access(device, iova + offset, 0), paddr + offset);
    }
  }

  /** Neither the page table nor the device finds anything. */
  isHole(domain: IommuDomain, device: IommuDevice, iova: number): void {
    this.same(`iovaToPhys of the hole at ${hex(iova)}`, this.core.iovaToPhys(domain, iova), 0);
    this.refuses(device, iova);
  }

  refuses(device: IommuDevice, iova: number): void {
    this.same(`DMA to the hole at ${hex(iova)}`, this.parts.access(device, iova, 0), -1);
  }

  /** What the page table says of pages, as one text. */
  snapshot(domain: IommuDomain, iova: number, pages: number): string {
    const phys: number[] = [];
    for (let i = 0; i < pages; i++)
      phys.push(this.core.iovaToPhys(domain, iova + i * domain.minPage));
    return phys.join();
  }

  /** Everything goes back, in the order in which a system does it. */
  finish(): void {
    for (const device of this.devices) {
      const { group } = device;
      if (group === null) continue;
      for (const [pasid, entry] of [...group.pasids])
        this.core.detachDevicePasid(entry.domain, device, pasid);
      if (group.domain !== null && group.domain !== group.defaultDomain)
        this.core.detachGroup(group.domain, group);
    }
    for (const domain of this.#owned) this.core.domainFree(domain);
    for (const device of this.devices) if (device.group !== null) this.core.releaseDevice(device);
    this.same('allocations that came back', this.parts.frames(), this.framesAtFirst);
  }
}

function text(value: number | string): string {
  if (typeof value !== 'number') return value;
  return value > 9 ? hex(value) : String(value);
}
