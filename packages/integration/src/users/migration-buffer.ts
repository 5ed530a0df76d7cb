import {
  type DmaApi,
  type DmaDevice,
  DmaIovaState,
  type SgElement,
  sgElement,
} from '@iommukit/dma-api';
import { ERRNO } from '@iommukit/platform';

const DIR = 'FROM_DEVICE';
const PAGE = 4096;
/** `sizeof(struct scatterlist)` on arm64, bytes. */
const ENTRY_BYTES = 32;

/**
 * A device's state while a virtual machine moves: pages are appended as the device asks for more, then it writes all of them through one
 * address. What is kept besides the pages themselves is the difference between the two ways.
 * @example const buffer: MigrationBuffer = new TwoStepBuffer(dma, dev, 1024); buffer.append(pages); const address = buffer.map();
 */
export interface MigrationBuffer {
  /** 0, or a negative errno. */
  append(pages: readonly number[]): number;
  /** The DMA address of the first byte once all pages are there, or a negative errno. */
  map(): number;
  unmap(): void;
  /** Bytes of DMA bookkeeping. */
  readonly bytes: number;
}

/** With a scatter list that grows by an entry a page and is mapped at the end. @example new ScatterBuffer(dma, dev) */
export class ScatterBuffer implements MigrationBuffer {
  readonly #dma: DmaApi;
  readonly #dev: DmaDevice;
  readonly #sg: SgElement[] = [];

  constructor(dma: DmaApi, dev: DmaDevice) {
    this.#dma = dma;
    this.#dev = dev;
  }

  append(pages: readonly number[]): number {
    for (const paddr of pages) this.#sg.push(sgElement(paddr, PAGE));
    return 0;
  }

  map(): number {
    const nents = this.#dma.mapSg(this.#dev, this.#sg, DIR);
    return nents < 0 ? nents : (this.#sg[0]?.dmaAddress ?? -ERRNO.EINVAL);
  }

  unmap(): void {
    this.#dma.unmapSg(this.#dev, this.#sg, DIR);
  }

  get bytes(): number {
    return this.#sg.length * ENTRY_BYTES;
  }
}

/** With one IOVA range of the final size, into which pages are linked as they come. @example new TwoStepBuffer(dma, dev, 1024) */
export class TwoStepBuffer implements MigrationBuffer {
  readonly #dma: DmaApi;
  readonly #dev: DmaDevice;
  readonly #state = new DmaIovaState();
  readonly #capacity: number;
  #linked = 0;

  /** `capacity` in pages. */
  constructor(dma: DmaApi, dev: DmaDevice, capacity: number) {
    this.#dma = dma;
    this.#dev = dev;
    this.#capacity = capacity * PAGE;
  }

  append(pages: readonly number[]): number {
    const [dma, dev, state] = [this.#dma, this.#dev, this.#state];
    if (!state.usesIova && !dma.iovaTryAlloc(dev, state, 0, this.#capacity)) return -ERRNO.ENOMEM;
    if (this.#linked + pages.length * PAGE > this.#capacity) return -ERRNO.ENOMEM;
    for (const paddr of pages) {
      const errno = dma.iovaLink(dev, state, { paddr, offset: this.#linked, size: PAGE, dir: DIR });
      if (errno !== 0) return errno;
      this.#linked += PAGE;
    }
    return 0;
  }

  map(): number {
    const errno = this.#dma.iovaSync(this.#dev, this.#state, 0, this.#linked);
    return errno === 0 ? this.#state.addr : errno;
  }

  unmap(): void {
    this.#dma.iovaDestroy(this.#dev, this.#state, { mapped: this.#linked, dir: DIR });
  }

  get bytes(): number {
    return DmaIovaState.bytes;
  }
}
