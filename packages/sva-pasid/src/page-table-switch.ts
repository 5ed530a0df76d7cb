import type { IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { ContextOps } from './context-ops.ts';
import { type IoMm, mustLive } from './io-mm.ts';
import { svaDeviceOf } from './sva-device.ts';

/**
 * The register of a device that has no PASIDs, and chooses the page table of its context bank itself: one at a time.
 * @example const bank: ContextBank = { most: 64, load: (domain) => gpu.setTable(domain) };
 */
export interface ContextBank {
  /** Address spaces that may exist at once, besides the device's own. */
  readonly most: number;
  /**
   * Makes the device walk the tables of a domain from now on, or, with null, those that it had at first: 0, or a negative errno with the old ones
   * still in use; null does not fail. When it returns, no DMA under way uses the tables of before.
   */
  load(domain: IommuDomain | null): number;
}

/**
 * Private address spaces for hardware without PASIDs: a device, such as a GPU, that writes its context bank by itself (the first paragraph
 * of the 2018 patch). The handles and all calls on them are those of PASIDs; only who chooses differs: the submitter of work, by
 * `switchTo`, and not each request. Pass it to `svaDeviceInit` as `contexts`.
 * @example const banks = new PageTableSwitch(bank); svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE, contexts: banks });
 */
export class PageTableSwitch implements ContextOps {
  readonly #bank: ContextBank;
  #current: IoMm | null = null;

  constructor(bank: ContextBank) {
    this.#bank = bank;
  }

  get most(): number {
    return this.#bank.most;
  }

  /** Whose tables the device walks; null: its own. */
  get current(): IoMm | null {
    return this.#current;
  }

  ready(): number {
    return 0;
  }

  /** Nothing is written: hardware learns of the tables when they are switched to. */
  attach(): number {
    return 0;
  }

  /** The device leaves the tables before what it cached of them goes. */
  detach(ioMm: IoMm): void {
    if (this.#current === ioMm) this.switchTo(null);
    ioMm.core.flushIotlbAll(ioMm.domain);
  }

  /**
   * Makes the device use an address space, or, with null, its own again: 0; -ENODEV: a shared one; -EINVAL: the handle of another device's bank;
   * or what the register said, and the old one stays. Throws `IoMmError` for a freed handle.
   * @example banks.switchTo(ioMm) // 0
   */
  switchTo(ioMm: IoMm | null): number {
    if (ioMm !== null) {
      mustLive(ioMm);
      if (ioMm.kind !== 'private') return -ERRNO.ENODEV;
      if (svaDeviceOf(ioMm.device)?.contextOps !== this) return -ERRNO.EINVAL;
    }
    if (ioMm === this.#current) return 0;
    const errno = this.#bank.load(ioMm?.domain ?? null);
    if (errno === 0) this.#current = ioMm;
    return errno;
  }
}
