import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { DMA_PROFILES, DmaApi, type DmaDevice, type DmaEvent } from '@iommukit/dma-api';
import { CORE_PROFILES, type CoreEvent, IommuCore, IommuDevice } from '@iommukit/iommu-core';
import { IOVA_PROFILES } from '@iommukit/iova-allocator';
import { errnoName, SimPlatform, TraceChannel } from '@iommukit/platform';
import type { Configuration } from './configuration.ts';
import { HostMachine } from './host-machine.ts';
import type { ReservedMemory } from './property.ts';
import { RequestQueue } from './request-queue.ts';
import { ViommuDevice } from './viommu-device.ts';
import type { MapUnit } from './viommu-domain.ts';
import { ViommuDriver } from './viommu-driver.ts';
import { queueAt } from './virtqueue.ts';

/** StreamIDs of the endpoints: the guest has other names for its devices. */
const STREAMS: ReadonlyMap<number, number> = new Map([
  [0x101, 8],
  [0x102, 16],
]);
/** Where the guest has the virtqueue and the requests. */
const QUEUE_BASE = 0x4ff0_0000;

/**
 * What differs between compositions.
 * @example const options: GuestOptions = { queueSize: 8, unit: 'page' };
 */
export interface GuestOptions {
  /** Descriptors of the virtqueue, a power of two; a request takes two. Default: 64. */
  readonly queueSize?: number;
  /** Default: `run`. */
  readonly unit?: MapUnit;
  /** What cannot be mapped. Default: what the host's IOMMU driver says. */
  readonly reserved?: readonly ReservedMemory[];
  /** Whose core and DMA layer the guest has; two-step calls begin with 7.2. Default: 7.3. */
  readonly kernel?: '6.12' | '7.2' | '7.3';
  /** Strict by default. */
  readonly invalidation?: 'strict' | 'lazy';
}

/** The whole: a host with an SMMUv3; before it the paravirtual IOMMU; before that a guest with core and DMA layer of its own. */
export class GuestMachine {
  readonly host: HostMachine = new HostMachine(STREAMS);
  readonly device: ViommuDevice;
  readonly driver: ViommuDriver;
  readonly core: IommuCore;
  readonly dma: DmaApi;
  readonly platform: SimPlatform = new SimPlatform();
  readonly endpoints: readonly number[] = [...STREAMS.keys()];

  constructor(options: GuestOptions = {}) {
    const { queueSize = 64, unit = 'run', kernel = '7.3' } = options;
    const { core: hostCore, endpoints, guestMemory: memory } = this.host;
    const { layout, end } = queueAt(QUEUE_BASE, queueSize);
    const configuration: Configuration = {
      pageSizes: SZ_4K + SZ_2M + SZ_1G,
      inputStart: 0,
      inputEnd: 2 ** 39,
      firstDomain: 1,
      lastDomain: 0xffff,
      probeSize: 256,
    };
    const reserved = options.reserved ?? reservedOf(this.host);
    const { platform } = this;
    this.device = new ViommuDevice({
      core: hostCore,
      endpoints,
      memory,
      layout,
      configuration,
      reserved,
    });
    platform.register(this.device);
    const driver = ViommuDriver.create({
      features: this.device.features,
      configuration: this.device.configuration,
      unit,
      queue: ({ probeSize }) =>
        new RequestQueue({
          view: memory,
          layout,
          buffers: end,
          probeSize,
          platform,
          notify: () => this.device.notify(),
        }),
    });
    if (typeof driver === 'number') throw new Error(errnoName(driver));
    this.driver = driver;
    this.core = new IommuCore({
      trace: new TraceChannel<CoreEvent>(),
      profile: CORE_PROFILES[kernel],
      defaultDomainType: options.invalidation === 'lazy' ? 'dma-fq' : 'dma',
    });
    this.dma = new DmaApi({
      core: this.core,
      platform,
      cpus: 1,
      profile: DMA_PROFILES[kernel],
      iovaProfile: IOVA_PROFILES[kernel],
      trace: new TraceChannel<DmaEvent>(),
    });
  }

  /** A device of the guest, ready for DMA. */
  probe(endpoint: number): DmaDevice {
    const name = `0000:00:0${endpoint % 0x100}.0`;
    const device = new IommuDevice({ name, ids: [endpoint], groupKey: name, isPci: true });
    const errno = this.core.probeDevice(device, this.driver);
    if (errno !== 0) throw new Error(errnoName(errno));
    return this.dma.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent: true });
  }
}

/** Windows that the host's hardware keeps for itself: doorbells, and everything else. */
function reservedOf({ core, endpoints }: HostMachine): readonly ReservedMemory[] {
  const [device] = endpoints.values();
  if (device === undefined) return [];
  return core.getResvRegions(device).map(
    ({ type, start, end }): ReservedMemory => ({
      kind: type.startsWith('msi') ? 'msi' : 'reserved',
      start,
      end,
    }),
  );
}
