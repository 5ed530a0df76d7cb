import type { DeviceInfo, IommuDevice } from '../device.ts';
import type { IommuCore } from '../iommu-core.ts';
import type { IommuOps } from '../iommu-ops.ts';

/**
 * A driver over its hardware, and what the contract looks at; every call of `create` makes new ones.
 * @example const parts: DriverParts = { driver, devices: [{ name: 'a', ids: [1], groupKey: 'a' }], access, commands, frames };
 */
export interface DriverParts {
  readonly driver: IommuOps;
  /** Two or more devices that the driver claims, each in a group of its own. */
  readonly devices: readonly DeviceInfo[];
  /**
   * Where DMA of a device (with this PASID, 0: without one) ends that goes to any byte of an IOVA: the physical address, or -1 when it
   * is refused. It goes through the hardware's caches, and fills them.
   */
  access(device: IommuDevice, iova: number, pasid: number): number;
  /** Commands that the hardware was given so far: invalidations, waits, configuration. */
  commands(): number;
  /** What the driver has allocated: frames of tables and whatever else must come back. */
  frames(): number;
  /** Lets the k-th allocation from now on fail, once; 0: none. Absent: no failures are tried. */
  failAllocation?(k: number): void;
  /** Start of the physical addresses that are mapped, a multiple of every page size; absent: 0x8_0000_0000. */
  readonly memory?: number;
}

/**
 * A driver that the contract is run on. The aperture of its paging domains has room for at least 1024 of their smallest pages; page sizes
 * that do not fit into it sixteen times are left out.
 * @example const subject: DriverSubject = { name: 'my driver', create: (core) => makeMachine(core) };
 */
export interface DriverSubject {
  readonly name: string;
  /** New hardware and a driver for it, with nothing probed. The core is there for `gatherAddPages`. */
  create(core: IommuCore): DriverParts;
}
