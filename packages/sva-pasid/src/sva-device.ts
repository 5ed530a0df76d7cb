import { hasPageSize } from '@iommukit/bits';
import type { IommuCore, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { type ContextOps, type MmOps, pasidContexts } from './context-ops.ts';
import type { IoMm } from './io-mm.ts';
import { IOMMU_FIRST_GLOBAL_PASID, PASID_MAX, PasidAllocator } from './pasid-allocator.ts';

/** Feature flag: page faults of the device are handled (`IOMMU_SVA_FEAT_IOPF`). @example svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_IOPF }); */
export const IOMMU_SVA_FEAT_IOPF = 1;
/** Feature flag: private address spaces (`IOMMU_SVA_FEAT_PRIVATE` as the review proposed it). @example svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE }); */
export const IOMMU_SVA_FEAT_PRIVATE = 2;
const ALL_FEATURES = IOMMU_SVA_FEAT_IOPF + IOMMU_SVA_FEAT_PRIVATE;

/**
 * What a device driver asks for when it prepares a device.
 * @example const init: SvaDeviceInit = { core, device, features: IOMMU_SVA_FEAT_PRIVATE, minPasid: 5, maxPasid: 8 };
 */
export interface SvaDeviceInit {
  readonly core: IommuCore;
  /** Probed by core. */
  readonly device: IommuDevice;
  /** Sum of `IOMMU_SVA_FEAT_*`. */
  readonly features: number;
  /** Lowest PASID; absent: 1. */
  readonly minPasid?: number;
  /** Highest PASID, inclusive; absent: what device and SMMU take. */
  readonly maxPasid?: number;
  /** An id space that devices share, such as the global one. Absent: the device's own, cyclic. */
  readonly pasids?: PasidAllocator;
  readonly mm?: MmOps;
  /** Absent: by PASID. */
  readonly contexts?: ContextOps;
}

/** One address space of a device, with the domain of its requests without PASID at the time. */
interface Context {
  readonly parent: IommuDomain | null;
  /** Takes the address space from the device, and ends the handle. */
  readonly release: () => void;
}

/**
 * What `svaDeviceInit` leaves at a device (`struct iommu_sva_param`): id range, features, and the list of its address spaces.
 * @example const sva: SvaDevice | undefined = svaDeviceOf(device);
 */
export class SvaDevice {
  readonly core: IommuCore;
  readonly device: IommuDevice;
  readonly features: number;
  readonly minPasid: number;
  /** Inclusive. */
  readonly maxPasid: number;
  readonly pasids: PasidAllocator;
  readonly mm: MmOps;
  readonly contextOps: ContextOps;
  readonly #contexts = new Map<IoMm, Context>();

  constructor(
    init: SvaDeviceInit,
    space: Pick<SvaDevice, 'minPasid' | 'maxPasid' | 'pasids' | 'contextOps'>,
  ) {
    this.core = init.core;
    this.device = init.device;
    this.features = init.features;
    this.minPasid = space.minPasid;
    this.maxPasid = space.maxPasid;
    this.pasids = space.pasids;
    this.mm = init.mm ?? {};
    this.contextOps = space.contextOps;
  }

  /** The live address spaces, in the order in which they were made. */
  get contexts(): readonly IoMm[] {
    return [...this.#contexts.keys()];
  }

  /** The domain of requests without PASID when the address space was made; null for one that has none, or is not here. */
  parentOf(ioMm: IoMm): IommuDomain | null {
    return this.#contexts.get(ioMm)?.parent ?? null;
  }

  /** True when the device was prepared for a feature. */
  has(feature: number): boolean {
    return hasPageSize(this.features, feature);
  }

  /** Puts an address space on the list, with what `unbindDevAll` calls for it. */
  track(ioMm: IoMm, parent: IommuDomain | null, release: () => void): void {
    this.#contexts.set(ioMm, { parent, release });
  }

  /** Takes it off again; called by `release` too. */
  untrack(ioMm: IoMm): void {
    this.#contexts.delete(ioMm);
  }

  /** Releases all of them, in order. */
  releaseAll(): void {
    for (const { release } of [...this.#contexts.values()]) release();
  }
}

/** The slot of a device (`dev->iommu_param->sva_param`). */
const prepared = new WeakMap<IommuDevice, SvaDevice>();

/**
 * Prepares a device for PASIDs (`iommu_sva_device_init` of the 2018 series): 0, or a negative errno with nothing changed. -ENODEV: the
 * device is in no group, or has no PASIDs; -EINVAL: an unknown feature, or a range that is empty, begins below 1 or ends beyond what the
 * device, its SMMU or the id space have; -EEXIST: prepared already.
 * @example const errno = svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE });
 */
export function svaDeviceInit(init: SvaDeviceInit): number {
  const { device, features } = init;
  if (device.group === null) return -ERRNO.ENODEV;
  if (!(Number.isInteger(features) && features >= 0 && features <= ALL_FEATURES))
    return -ERRNO.EINVAL;
  if (prepared.has(device)) return -ERRNO.EEXIST;
  const contextOps = init.contexts ?? pasidContexts(device);
  const most = Math.min(contextOps.most, init.pasids?.last ?? PASID_MAX);
  if (most < IOMMU_FIRST_GLOBAL_PASID) return -ERRNO.ENODEV;
  const least = init.pasids?.first ?? IOMMU_FIRST_GLOBAL_PASID;
  const { minPasid = least, maxPasid = most } = init;
  if (!(Number.isInteger(minPasid) && Number.isInteger(maxPasid))) return -ERRNO.EINVAL;
  if (minPasid < least || maxPasid > most || minPasid > maxPasid) return -ERRNO.EINVAL;
  const pasids =
    init.pasids ?? new PasidAllocator({ first: minPasid, last: maxPasid, order: 'cyclic' });
  prepared.set(device, new SvaDevice(init, { minPasid, maxPasid, pasids, contextOps }));
  return 0;
}

/**
 * What a device was prepared with, or undefined before `svaDeviceInit`.
 * @example svaDeviceOf(device)?.contexts.length // 0
 */
export function svaDeviceOf(device: IommuDevice): SvaDevice | undefined {
  return prepared.get(device);
}

/**
 * Takes all address spaces from a device and forgets what it was prepared with (`iommu_sva_device_shutdown`). -ENODEV: it was not.
 * @example svaDeviceShutdown(device); core.releaseDevice(device);
 */
export function svaDeviceShutdown(device: IommuDevice): number {
  const sva = prepared.get(device);
  if (sva === undefined) return -ERRNO.ENODEV;
  sva.releaseAll();
  prepared.delete(device);
  return 0;
}

/**
 * Takes all address spaces from a device, private ones and those of processes (`iommu_sva_unbind_dev_all` of the 2018 series): how many there were,
 * or -ENODEV when the device was not prepared.
 * @example unbindDevAll(device) // 0 when nothing was bound
 */
export function unbindDevAll(device: IommuDevice): number {
  const sva = prepared.get(device);
  if (sva === undefined) return -ERRNO.ENODEV;
  const bound = sva.contexts.length;
  sva.releaseAll();
  return bound;
}
