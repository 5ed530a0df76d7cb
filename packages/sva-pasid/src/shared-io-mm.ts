import { IoMm, type IoMmParts } from './io-mm.ts';
import type { Mm } from './mm.ts';
import type { SvaBinder } from './sva-bind.ts';

/**
 * The handle of a process that a device is bound to (`struct iommu_sva`): one for all binds of a group to it.
 * @example const handle = svaBindDevice(binder, device, mm); if (typeof handle !== 'number') submit(handle.pasid);
 */
export class SharedIoMm extends IoMm {
  /** Who made it and takes it back. */
  readonly binder: SvaBinder;
  readonly mm: Mm;
  /** Binds that are not undone. */
  users = 0;

  constructor(
    parts: Omit<IoMmParts, 'kind' | 'core'>,
    owner: { readonly binder: SvaBinder; readonly mm: Mm },
  ) {
    super({ ...parts, core: owner.binder.core, kind: 'shared' });
    this.binder = owner.binder;
    this.mm = owner.mm;
  }
}
