import type { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { MmOps } from './context-ops.ts';
import { IoMm, mustLive } from './io-mm.ts';
import { IOMMU_SVA_FEAT_PRIVATE, type SvaDevice, svaDeviceOf } from './sva-device.ts';

/**
 * Gives a device one more address space, empty, under a PASID of its own (`iommu_sva_alloc_pasid` of the 2018 review): a handle, or a
 * negative errno with nothing changed. `domain` is where the device's requests without PASID go. -ENODEV: the device was not prepared by
 * `svaDeviceInit` with `IOMMU_SVA_FEAT_PRIVATE`, its driver attaches no PASID, or it has only one of `mmAlloc` and `mmFree`; -EINVAL: not
 * the domain of this device; -ENOSPC: all PASIDs of the range are in use; else what the allocation or the attach said.
 * @example const ioMm = svaAllocPasid(domain, device); if (typeof ioMm !== 'number') svaMap(ioMm, 0x1000, paddr, 4096, IOMMU_READ);
 */
export function svaAllocPasid(domain: IommuDomain, device: IommuDevice): IoMm | number {
  const sva = svaDeviceOf(device);
  if (sva === undefined || !sva.has(IOMMU_SVA_FEAT_PRIVATE)) return -ERRNO.ENODEV;
  if (device.group?.domain !== domain) return -ERRNO.EINVAL;
  const { mm, contextOps } = sva;
  if ((mm.mmAlloc === undefined) !== (mm.mmFree === undefined)) return -ERRNO.ENODEV;
  const errno = contextOps.ready(device);
  if (errno !== 0) return errno;
  const own = mm.mmAlloc?.(domain, device) ?? sva.core.domainAllocUnmanaged(device);
  if (typeof own === 'number') return own;
  const pasid = sva.pasids.alloc(sva.minPasid, sva.maxPasid);
  if (pasid < 0) {
    freeOwn(sva, own);
    return pasid;
  }
  const ioMm = new IoMm({ kind: 'private', core: sva.core, device, domain: own, pasid });
  const attached = contextOps.attach(ioMm);
  if (attached !== 0) {
    ioMm.retire();
    freeOwn(sva, own);
    sva.pasids.free(pasid);
    return attached;
  }
  sva.track(ioMm, domain, () => release(sva, ioMm));
  return ioMm;
}

/**
 * Takes an address space from its device (`iommu_sva_free_pasid`): 0, or a negative errno with nothing changed. When it returns, DMA with
 * the PASID is refused, nothing of it is cached, its tables are free, and only then the PASID. -ENODEV: a shared one; -EINVAL: `domain` is
 * not the one that it was made with. Throws `IoMmError` for a handle that was freed before.
 * @example svaFreePasid(domain, ioMm) // 0
 */
export function svaFreePasid(domain: IommuDomain, ioMm: IoMm): number {
  mustLive(ioMm);
  const sva = svaDeviceOf(ioMm.device);
  if (ioMm.kind !== 'private' || sva === undefined) return -ERRNO.ENODEV;
  if (sva.parentOf(ioMm) !== domain) return -ERRNO.EINVAL;
  release(sva, ioMm);
  return 0;
}

/** The order is the point: hardware first, then memory, then the id, which somebody else may get at once. */
function release(sva: SvaDevice, ioMm: IoMm): void {
  sva.contextOps.detach(ioMm);
  sva.untrack(ioMm);
  ioMm.retire();
  freeOwn(sva, ioMm.domain);
  sva.pasids.free(ioMm.pasid);
}

function freeOwn(
  { mm, core }: { readonly mm: MmOps; readonly core: SvaDevice['core'] },
  domain: IommuDomain,
): void {
  if (mm.mmFree === undefined) core.domainFree(domain);
  else mm.mmFree(domain);
}
