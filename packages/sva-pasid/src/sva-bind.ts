import type { IommuCore, IommuDevice, IommuDomain, ProcessNotifier } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { IoMmError, mustLive } from './io-mm.ts';
import { IopfQueue } from './iopf-queue.ts';
import type { Mm } from './mm.ts';
import { IOMMU_PASID_INVALID, type PasidAllocator } from './pasid-allocator.ts';
import { SharedIoMm } from './shared-io-mm.ts';
import { svaDeviceOf } from './sva-device.ts';
import { svaPageRequestHandler } from './sva-fault.ts';

/** A domain over a process, and the handles that are in it. */
interface SvaDomain {
  readonly domain: IommuDomain;
  users: number;
}

/** What a process has here (`struct iommu_mm_data`). */
interface MmData {
  readonly pasid: number;
  /** Newest first, the order in which they are tried. */
  readonly domains: SvaDomain[];
  /** Hears of the exit, after which nothing keeps the PASID but domains. */
  readonly notifier: ProcessNotifier;
}

/**
 * The processes that devices are bound to: one for each core, with the global PASID space (the mutex and the IDA of the kernel).
 * @example
 * const space = { first: IOMMU_FIRST_GLOBAL_PASID, last: PASID_MAX, order: 'lowest' } as const;
 * const binder = new SvaBinder(core, new PasidAllocator(space));
 */
export class SvaBinder {
  readonly core: IommuCore;
  readonly pasids: PasidAllocator;
  readonly #processes = new Map<Mm, MmData>();

  constructor(core: IommuCore, pasids: PasidAllocator) {
    this.core = core;
    this.pasids = pasids;
  }

  /** The PASID of a process, from its first bind to its end, or -1 (`mm_get_enqcmd_pasid`, `iommu_sva_get_pasid`). */
  pasidOf(mm: Mm): number {
    return this.#processes.get(mm)?.pasid ?? -1;
  }

  /** Domains over a process, in the order in which a bind tries them. */
  domainsOf(mm: Mm): readonly IommuDomain[] {
    return this.#processes.get(mm)?.domains.map(({ domain }) => domain) ?? [];
  }

  /** `iommu_sva_bind_device`; see {@link svaBindDevice}. */
  bind(device: IommuDevice, mm: Mm): SharedIoMm | number {
    const { group } = device;
    if (group === null) return -ERRNO.ENODEV;
    const data = this.#dataOf(mm, device);
    if (typeof data === 'number') return data;
    const known = this.core.attachHandle(group, data.pasid, 'sva');
    if (typeof known !== 'number') {
      if (!(known instanceof SharedIoMm) || known.mm !== mm) return -ERRNO.EBUSY;
      known.users++;
      return known;
    }
    if (known !== -ERRNO.ENOENT) return known;
    for (const { domain } of data.domains) {
      const handle = this.#attach(device, { mm, domain, pasid: data.pasid });
      if (typeof handle === 'number') continue;
      this.#userOf(data, domain, 1);
      return handle;
    }
    const domain = this.core.domainAllocSva(device, mm);
    if (typeof domain === 'number') return domain;
    // Before the attach: the driver prepares for faults only where somebody handles them.
    domain.pageRequestHandler = svaPageRequestHandler;
    const handle = this.#attach(device, { mm, domain, pasid: data.pasid });
    if (typeof handle === 'number') this.core.domainFree(domain);
    else data.domains.unshift({ domain, users: 1 });
    return handle;
  }

  /** `iommu_sva_unbind_device`; see {@link svaUnbindDevice}. */
  unbind(handle: SharedIoMm): void {
    handle.users--;
    if (handle.users === 0) this.#release(handle);
  }

  /** Takes the process from its device, however many binds are not undone. */
  #release(handle: SharedIoMm): void {
    const { device, domain, pasid, mm } = handle;
    for (const member of device.group?.devices ?? [])
      if (member.pageRequests instanceof IopfQueue) member.pageRequests.flushDevice(member);
    this.core.detachDevicePasid(domain, device, pasid);
    svaDeviceOf(device)?.untrack(handle);
    handle.retire();
    const data = this.#processes.get(mm);
    if (data === undefined || this.#userOf(data, domain, -1) > 0) return;
    data.domains.splice(
      data.domains.findIndex((each) => each.domain === domain),
      1,
    );
    this.core.domainFree(domain);
    this.#dropDead(mm, data);
  }

  /** The PASID of a process, allocated at its first bind (`iommu_alloc_mm_data`); it stays when the bind fails later. */
  #dataOf(mm: Mm, device: IommuDevice): MmData | number {
    if (mm.sharesTables === false) return -ERRNO.EBUSY;
    const known = this.#processes.get(mm);
    if (known !== undefined) return known.pasid >= device.maxPasids ? -ERRNO.EOVERFLOW : known;
    const data = { domains: [], notifier: this.#exitNotifier(mm) };
    // Nobody binds a process that is gone; its PASID would have no end.
    if (mm.users === 0) return -ERRNO.EINVAL;
    const pasid = this.pasids.allocForDevice(device.maxPasids);
    if (pasid === IOMMU_PASID_INVALID) return -ERRNO.ENOSPC;
    const errno = mm.addNotifier(data.notifier);
    if (errno !== 0) {
      this.pasids.free(pasid);
      return errno;
    }
    const made = { ...data, pasid };
    this.#processes.set(mm, made);
    return made;
  }

  #exitNotifier(mm: Mm): ProcessNotifier {
    return {
      invalidate: () => {},
      release: () => {
        const data = this.#processes.get(mm);
        if (data !== undefined) this.#dropDead(mm, data);
      },
    };
  }

  /** The end of a process that no domain is over any more (`mm_pasid_drop`). */
  #dropDead(mm: Mm, data: MmData): void {
    if (mm.users > 0 || data.domains.length > 0) return;
    mm.removeNotifier(data.notifier);
    this.#processes.delete(mm);
    this.pasids.free(data.pasid);
  }

  #attach(
    device: IommuDevice,
    to: { readonly mm: Mm; readonly domain: IommuDomain; readonly pasid: number },
  ): SharedIoMm | number {
    const { mm, domain, pasid } = to;
    const handle = new SharedIoMm({ device, domain, pasid }, { binder: this, mm });
    const errno = this.core.attachDevicePasid({ domain, device, pasid, handle });
    if (errno !== 0) return errno;
    handle.users = 1;
    svaDeviceOf(device)?.track(handle, device.group?.domain ?? null, () => this.#release(handle));
    return handle;
  }

  #userOf(data: MmData, domain: IommuDomain, change: 1 | -1): number {
    const known = data.domains.find((each) => each.domain === domain);
    if (known === undefined) return 0;
    known.users += change;
    return known.users;
  }
}

/**
 * Lets a device translate through the tables of a process, under the PASID of that (`iommu_sva_bind_device`). A second bind of the same
 * device, or of one of its group, gives the same handle. Put the device into an {@link IopfQueue} (the driver's `faultQueue`) for its
 * faults to be handled.
 *
 * -ENODEV: the device has no group; -EBUSY: the tables cannot be shared, or the PASID is another's on this device; -EOVERFLOW: the PASID of
 * the process is beyond those of the device; -ENOSPC: none is free; -EOPNOTSUPP: the driver cannot; -EINVAL: the process has exited; else
 * what the driver said. The PASID stays the process's, also when the bind fails.
 * @example const handle = svaBindDevice(binder, device, mm); if (typeof handle === 'number') return handle;
 */
export function svaBindDevice(binder: SvaBinder, device: IommuDevice, mm: Mm): SharedIoMm | number {
  return binder.bind(device, mm);
}

/**
 * Undoes one bind (`iommu_sva_unbind_device`); the device uses the PASID no more. The last one does the work that waits in the device's
 * fault queue, takes the PASID out of the device, and frees the domain where it was its last user. Throws {@link IoMmError} for a handle
 * that is none, was given back, or is private.
 * @example svaUnbindDevice(handle);
 */
export function svaUnbindDevice(handle: SharedIoMm): void {
  mustLive(handle);
  if (!(handle instanceof SharedIoMm))
    throw new IoMmError(
      'NO_IO_MM',
      -1,
      'a private handle was given where a process is unbound',
      'Give private handles to svaFreePasid',
    );
  handle.binder.unbind(handle);
}
