import { REGISTER_FRAME_BYTES } from '@iommukit/arm-arch';
import { SZ_4K, u64Of } from '@iommukit/bits';
import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import { CORE_PROFILES, type CoreEvent, IommuCore, IommuDevice } from '@iommukit/iommu-core';
import {
  errnoName,
  FrameAllocator,
  MmioBus,
  PhysicalMemory,
  SimPlatform,
  TraceChannel,
} from '@iommukit/platform';
import { DRIVER_PROFILES, SmmuV3Driver } from '@iommukit/smmu-v3-driver';
import { SmmuV3Model } from '@iommukit/smmu-v3-model';
import { GuestMemory, type GuestRam, loadBytes, storeBytes } from './guest-memory.lanes.ts';

/** ID words of QEMU's SMMUv3. */
const IDR = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };
const SMMU_BASE = 0x0905_0000;
/** The host's own memory, and the 64 GiB of the guest, which thinks that they begin at 1 GiB. */
const TABLES = { base: 0x8000_0000, size: 0x400_0000 };
const QUEUES = { base: 0x8400_0000, size: 0x400_0000 };
const GUEST: GuestRam = { guest: 0x4000_0000, host: 0x10_4000_0000, size: 0x10_0000_0000 };

/** The host: memory, an SMMUv3 with its driver and core, and devices that the guest owns. */
export class HostMachine {
  readonly memory: PhysicalMemory = new PhysicalMemory([
    { base: TABLES.base, size: TABLES.size + QUEUES.size },
    { base: GUEST.host, size: GUEST.size },
  ]);
  readonly guestMemory: GuestMemory = new GuestMemory(this.memory, GUEST);
  readonly frames: FrameAllocator = new FrameAllocator(TABLES);
  readonly coherent: FrameAllocator = new FrameAllocator(QUEUES);
  readonly model: SmmuV3Model = new SmmuV3Model({ memory: this.memory, idr: IDR });
  readonly core: IommuCore = new IommuCore({
    trace: new TraceChannel<CoreEvent>(),
    profile: CORE_PROFILES['7.3'],
    defaultDomainType: 'dma',
  });
  readonly driver: SmmuV3Driver;
  /** The devices of the guest, by endpoint. */
  readonly endpoints: ReadonlyMap<number, IommuDevice>;
  readonly #streams: ReadonlyMap<number, number>;

  /** `streams`: the StreamID of each endpoint. */
  constructor(streams: ReadonlyMap<number, number>) {
    const { memory, frames, coherent, core } = this;
    const platform = new SimPlatform();
    platform.register(this.model);
    const bus = new MmioBus();
    bus.attach(SMMU_BASE, REGISTER_FRAME_BYTES, this.model.registers);
    const driver = SmmuV3Driver.probe({
      registers: bus.frameAt(SMMU_BASE),
      memory,
      frames,
      coherent,
      platform,
      profile: DRIVER_PROFILES['7.3'],
      pgtableProfile: IO_PGTABLE_PROFILES['7.3'],
      gatherPages: (domain, gather, iova, granule, count) =>
        core.gatherAddPages(domain, gather, iova, granule, count),
    });
    if (typeof driver === 'number') throw new Error(errnoName(driver));
    this.driver = driver;
    this.#streams = streams;
    const devices = [...streams].map(([endpoint, streamId]): [number, IommuDevice] => {
      const name = `endpoint-${endpoint}`;
      return [endpoint, new IommuDevice({ name, ids: [streamId], groupKey: name })];
    });
    for (const [, device] of devices) {
      const errno = core.probeDevice(device, driver) || core.claimDevice(device, this);
      if (errno !== 0) throw new Error(errnoName(errno));
    }
    this.endpoints = new Map(devices);
  }

  /** Where DMA of an endpoint to any byte ends, in host memory, or -1 when it is refused. */
  access(endpoint: number, iova: number, rw: 'read' | 'write'): number {
    const streamId = this.#streams.get(endpoint);
    if (streamId === undefined) return -1;
    const result = this.model.translate({ streamId, address: u64Of(iova), rw });
    return result.outcome === 'ok' ? result.paddr : -1;
  }

  /** What an endpoint reads, up to the first page that is refused. */
  read(endpoint: number, iova: number, length: number): Uint8Array {
    const bytes: number[] = [];
    while (bytes.length < length) {
      const at = iova + bytes.length;
      const paddr = this.access(endpoint, at, 'read');
      if (paddr < 0) break;
      const inPage = Math.min(length - bytes.length, SZ_4K - (at % SZ_4K));
      bytes.push(...loadBytes(this.memory, paddr, inPage));
    }
    return Uint8Array.from(bytes);
  }

  /** Writes as an endpoint does, up to the first page that is refused: the bytes written. */
  write(endpoint: number, iova: number, bytes: Uint8Array): number {
    let done = 0;
    while (done < bytes.length) {
      const paddr = this.access(endpoint, iova + done, 'write');
      if (paddr < 0) break;
      const inPage = Math.min(bytes.length - done, SZ_4K - ((iova + done) % SZ_4K));
      storeBytes(this.memory, paddr, bytes.subarray(done, done + inPage));
      done += inPage;
    }
    return done;
  }
}
