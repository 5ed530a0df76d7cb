import { ERRNO } from '@iommukit/platform';
import type { AttachHandle } from './attach-handle.ts';
import type { IommuDevice } from './device.ts';
import type { DeviceFault, DomainFault, FaultHandler } from './device-fault.ts';
import type { DomainMapper } from './domain-mapper.ts';

/** Nobody handles faults of the domain; the kernel has this value in no other place of the layer. */
const ENOSYS = 38;

/** Handlers by PASID; null: whatever no other handler takes. */
type Handlers = Map<number | null, FaultHandler>;

/** Finds who handles a fault: a handler of the device, or the handler of the domain that the requester is attached to. */
export class FaultRoutes {
  readonly #mapper: DomainMapper;
  readonly #handlers = new Map<IommuDevice, Handlers>();

  constructor(mapper: DomainMapper) {
    this.#mapper = mapper;
  }

  set(device: IommuDevice, handler: FaultHandler | null, pasid: number | null): void {
    const handlers: Handlers = this.#handlers.get(device) ?? new Map();
    if (handler === null) handlers.delete(pasid);
    else handlers.set(pasid, handler);
    if (handlers.size > 0) this.#handlers.set(device, handlers);
    else this.#handlers.delete(device);
  }

  forget(device: IommuDevice): void {
    this.#handlers.delete(device);
  }

  /** `iommu_report_device_fault`. */
  report(device: IommuDevice, fault: DeviceFault): number {
    const handlers = this.#handlers.get(device);
    const handler = handlers?.get(fault.pasid) ?? handlers?.get(null);
    if (handler !== undefined) return handler(fault);
    const handle = this.#handleOf(device, fault.pasid);
    const queue = device.pageRequests;
    if (handle !== null && handle.domain.pageRequestHandler !== null && queue !== null)
      return queue.report(device, fault, handle);
    device.ops?.pageResponse?.(device, fault, 'invalid');
    return -ERRNO.EINVAL;
  }

  #handleOf(device: IommuDevice, pasid: number | null): AttachHandle | null {
    const { group } = device;
    if (group === null) return null;
    // DMA without PASID too has a handler only where it was attached with a handle.
    return group.pasids.get(pasid ?? 0)?.handle ?? null;
  }

  /** `report_iommu_fault`. */
  reportDomain(fault: DomainFault): number {
    const { domain, device, iova, write } = fault;
    const errno = domain.faultHandler?.(fault) ?? -ENOSYS;
    const { trace } = this.#mapper;
    if (trace.on) trace.emit({ name: 'io_page_fault', device: device.name, iova, write });
    return errno;
  }
}
