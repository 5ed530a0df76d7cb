import { IommuError } from '@iommukit/bits';
import type { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';
import { type DeviceTraits, SmmuDevice } from './smmu-device.ts';
import type { SmmuSite } from './smmu-site.ts';

/** The devices of one SMMU by stream id; a stream id is one device's (`arm_smmu_insert_master`). */
export class DeviceTable {
  readonly #log: LogSink;
  readonly #devices = new Map<number, SmmuDevice>();

  constructor(log: LogSink) {
    this.#log = log;
  }

  /** Takes a device whose streams are free and have an entry: 0, or a negative errno with the device as it was. */
  claim(device: IommuDevice, site: SmmuSite, traits: DeviceTraits): number {
    const { ids } = device.info;
    const { profile, strtab } = site;
    const streamIds = profile.streamOrder === 'ascending' ? ids.toSorted((a, b) => a - b) : ids;
    for (const id of new Set(streamIds)) {
      const errno = strtab.ensure(id);
      if (errno < 0) return errno;
      const other = this.#devices.get(id);
      if (other === undefined) continue;
      const { name } = other.device;
      if (profile.sharedStream === 'in-tree') {
        this.#log({ level: 'warn', text: `stream ${id} already in tree from dev ${name}` });
        return -ERRNO.EINVAL;
      }
      const what = `Aliasing StreamID 0x${id.toString(16)} (from ${name})`;
      this.#log({ level: 'warn', text: `${what} unsupported, expect DMA to be broken` });
      return -ERRNO.ENODEV;
    }
    const known = new SmmuDevice({ device, streamIds, site, traits });
    for (const id of known.distinct) this.#devices.set(id, known);
    device.priv = known;
    return 0;
  }

  /** Blocks a device's streams and forgets it. */
  release(device: IommuDevice): void {
    const known = smmuDeviceOf(device);
    known.release();
    for (const id of known.distinct) this.#devices.delete(id);
    device.priv = null;
  }

  /** The device that sends a stream id, or undefined. */
  ofStream(streamId: number): SmmuDevice | undefined {
    return this.#devices.get(streamId);
  }
}

/** The driver's own state of a device; throws {@link DeviceNotProbed} for one that no driver of this kind has. */
export function smmuDeviceOf(device: IommuDevice): SmmuDevice {
  const known = device.priv;
  if (!(known instanceof SmmuDevice)) throw new DeviceNotProbed({ device: device.name });
  return known;
}

/**
 * A device was used that no `probeDevice` of this driver accepted; code `DEVICE_NOT_PROBED`.
 * @example try { driver.releaseDevice(device); } catch (e) { (e as DeviceNotProbed).operands.device; }
 */
export class DeviceNotProbed extends IommuError<{ device: string }> {
  override readonly name = 'DeviceNotProbed';
  constructor(operands: { device: string }) {
    super('DEVICE_NOT_PROBED', operands, `${operands.device} is unknown`, 'Call core.probeDevice');
  }
}
