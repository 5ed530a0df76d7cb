/** A DMA address that is none (`DMA_MAPPING_ERROR`; the kernel's is all ones). @example if (addr === DMA_MAPPING_ERROR) fail(); */
export const DMA_MAPPING_ERROR = -1;

/**
 * One element of a scatter-gather list (`struct scatterlist`): what to map, and after `mapSg` one output segment. Outputs fill the
 * list from the front; there may be fewer of them than elements. Bytes.
 * @example const sg = [sgElement(0x4000_0e00, 0x400)]; dma.mapSg(dev, sg, 'FROM_DEVICE');
 */
export interface SgElement {
  /** Physical address of the first byte. */
  readonly paddr: number;
  readonly length: number;
  /** Peer memory: reached over the bus at `busAddress`, or not at all. */
  readonly peer?: 'bus' | 'not-supported';
  readonly busAddress?: number;
  /** Output: {@link DMA_MAPPING_ERROR} when there is none. */
  dmaAddress: number;
  /** Output: 0 ends the outputs. */
  dmaLength: number;
  /** Output: a bus address, nothing was mapped. */
  dmaBus: boolean;
  /** Output, of the first element: every element is a mapping of its own, which may be bounced (`SG_DMA_SWIOTLB`). */
  dmaBounced?: boolean;
}

/**
 * A list and how much of it is in use (`struct sg_table`).
 * @example const table: SgTable = { sg: [sgElement(0x4000_0000, 0x1000)], nents: 0 }; dma.mapSgtable(dev, table, 'TO_DEVICE');
 */
export interface SgTable {
  readonly sg: readonly SgElement[];
  /** Segments, after `mapSgtable`. */
  nents: number;
}

/**
 * An element without outputs.
 * @example const sg = [sgElement(0x4000_0000, 0x1000), sgElement(0x4000_1000, 0x200)];
 */
export function sgElement(paddr: number, length: number): SgElement {
  return { paddr, length, dmaAddress: DMA_MAPPING_ERROR, dmaLength: 0, dmaBus: false };
}

/** Forgets all outputs (`__invalidate_sg`). */
export function invalidateSg(sg: readonly SgElement[]): void {
  for (const element of sg) {
    element.dmaAddress = DMA_MAPPING_ERROR;
    element.dmaLength = 0;
    element.dmaBus = false;
    if (element.dmaBounced === true) element.dmaBounced = false;
  }
}

interface Slot {
  paddr: number;
  length: number;
  bus: boolean;
  /** Bytes in front of the element in its first granule. */
  offset: number;
}

const SEG_LIMIT = 2 ** 32;

/** Lays the elements of a list out in one IOVA range and merges them into segments afterwards. Kept and reused: a call allocates nothing. */
export class ScatterLayout {
  /** What to map, in order, element by element; granule aligned. */
  readonly runs: Slot[] = [];
  /** Bytes of IOVA that the list takes; 0 for a list of bus addresses. */
  iovaLength = 0;
  readonly #pool: Slot[] = [];

  /** Places the elements; false when a peer cannot be reached (-EREMOTEIO). `iommu_dma_map_sg`, first half. */
  place(sg: readonly SgElement[], granule: number, segBoundary: number): boolean {
    const { runs } = this;
    runs.length = 0;
    let iovaLength = 0;
    let previous: Slot | null = null;
    for (let i = 0; i < sg.length; i++) {
      const element = sg[i] as SgElement;
      const slot = this.#slot(i);
      runs.push(slot);
      slot.bus = element.peer === 'bus';
      if (element.peer === 'not-supported') return false;
      slot.offset = element.paddr % granule;
      slot.paddr = element.paddr;
      slot.length = element.length;
      if (slot.bus) continue;
      slot.paddr -= slot.offset;
      const used = element.length + slot.offset;
      const length = Math.ceil(used / granule) * granule;
      slot.length = length;
      const over = iovaLength % segBoundary;
      const pad = over === 0 ? 0 : segBoundary - over;
      // Padding in front of a boundary maps whatever lies behind the previous element, as in the kernel.
      if (pad !== 0 && pad < length - 1 && previous !== null) {
        previous.length += pad;
        iovaLength += pad;
      }
      iovaLength += length;
      previous = slot;
    }
    this.iovaLength = iovaLength;
    return true;
  }

  /** Writes the outputs and returns their number (`__finalise_sg`). */
  finalise(
    sg: readonly SgElement[],
    iova: number,
    segBoundary: number,
    maxSegSize: number,
  ): number {
    invalidateSg(sg);
    let dmaAddr = iova;
    let count = 0;
    let current = 0;
    for (let i = 0; i < sg.length; i++) {
      const { length: wanted, busAddress } = sg[i] as SgElement;
      const slot = this.runs[i] as Slot;
      if (slot.bus) {
        const out = sg[count++] as SgElement;
        out.dmaAddress = busAddress ?? slot.paddr;
        out.dmaLength = wanted;
        out.dmaBus = true;
        current = 0;
        continue;
      }
      // 32-bit unsigned: a segment that is too long already has room for everything.
      const room = (maxSegSize - current + SEG_LIMIT) % SEG_LIMIT;
      if (current !== 0 && slot.offset === 0 && dmaAddr % segBoundary !== 0 && room >= wanted) {
        current += wanted;
      } else {
        const out = sg[count++] as SgElement;
        out.dmaAddress = dmaAddr + slot.offset;
        current = wanted;
      }
      (sg[count - 1] as SgElement).dmaLength = current;
      dmaAddr += slot.length;
      // A hole in front of the next element: nothing can be appended.
      if (wanted + slot.offset < slot.length) current = 0;
    }
    return count;
  }

  #slot(at: number): Slot {
    let slot = this.#pool[at];
    if (slot === undefined) {
      slot = { paddr: 0, length: 0, bus: false, offset: 0 };
      this.#pool[at] = slot;
    }
    return slot;
  }
}
