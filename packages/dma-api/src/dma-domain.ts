import type { IommuDomain } from '@iommukit/iommu-core';
import type { IovaDomain } from '@iommukit/iova-allocator';
import type { FlushQueue, FlushQueueOptions } from './flush-queue.ts';

/**
 * A doorbell page mapped for interrupts; bytes.
 * @example const page: MsiPage = { paddr: 0x809_0000, iova: 0xffff_f000 };
 */
export interface MsiPage {
  readonly paddr: number;
  readonly iova: number;
}

/**
 * What the DMA layer keeps for a domain (`struct iommu_dma_cookie`): the IOVA space and the doorbell pages.
 * @example dma.initDomain(domain, device).granule // 4096
 */
export class DmaDomain {
  readonly domain: IommuDomain;
  readonly iovad: IovaDomain;
  /** Order of initialisation, from 0; events name the space by it. */
  readonly id: number;
  /** Page of the IOVA space, bytes: the domain's smallest page. */
  readonly granule: number;
  /** Newest first. */
  readonly msiPages: MsiPage[] = [];
  /** Where unmapped ranges wait for a flush; null in strict mode (`fq_domain`). */
  flushQueue: FlushQueue | null = null;
  /** What that queue is or would be; the first device of the domain decided. */
  readonly flushQueueOptions: FlushQueueOptions;

  constructor(
    domain: IommuDomain,
    iovad: IovaDomain,
    id: number,
    flushQueueOptions: FlushQueueOptions,
  ) {
    this.flushQueueOptions = flushQueueOptions;
    this.domain = domain;
    this.iovad = iovad;
    this.id = id;
    this.granule = iovad.granule;
  }
}
