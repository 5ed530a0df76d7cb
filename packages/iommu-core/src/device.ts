import type { IommuGroup } from './group.ts';
import type { IommuOps } from './iommu-ops.ts';
import type { PageRequestQueue } from './page-request.ts';

/**
 * What the bus knows of a device before an IOMMU driver sees it.
 * @example const info: DeviceInfo = { name: '0000:00:01.0', ids: [0x8], groupKey: '0000:00:01.0' };
 */
export interface DeviceInfo {
  /** As in the kernel's messages, e.g. `0000:00:01.0`. */
  readonly name: string;
  /** The ids that its transactions carry (fwspec): own requester id first, then aliases. */
  readonly ids: readonly number[];
  /** Devices with equal keys cannot be told apart by the IOMMU and share a group (`pci_device_group`). */
  readonly groupKey: string;
  readonly isPci?: boolean;
  /** Attached from outside: forces a DMA domain and bounce buffers (`pci_dev.untrusted`). */
  readonly untrusted?: boolean;
  /** PASIDs that the device itself can send, PASID 0 included; absent: none. */
  readonly maxPasids?: number;
}

/**
 * A device known to core.
 * @example const device = new IommuDevice({ name: '0000:00:01.0', ids: [0x8], groupKey: 'a' });
 */
export class IommuDevice {
  readonly info: DeviceInfo;
  readonly name: string;
  /** Set while core has the device in a group. */
  group: IommuGroup | null = null;
  ops: IommuOps | null = null;
  /** The driver's own state of the device; nobody else looks inside. */
  priv: unknown = null;
  /** PASIDs below this can be attached; what the device and its IOMMU both support. Set by the probe. */
  maxPasids = 0;
  /** The device stays as it was found until somebody uses it (a crash kernel). Set by the probe. */
  attachDeferred = false;
  /** Flushes are costly: flush queues are one for all CPUs, long and slow (`shadow_on_flush`). Set by the probe. */
  shadowOnFlush = false;
  /** Collects page requests of the device; null: they cannot be handled. */
  pageRequests: PageRequestQueue | null = null;

  constructor(info: DeviceInfo) {
    this.info = info;
    this.name = info.name;
  }
}
