/** The start of an empty gather: above every address. */
const NOTHING = 2 ** 64;

/**
 * What an unmap cleared and nobody has invalidated yet (`struct iommu_iotlb_gather`). One range and one page size; whoever adds
 * something that does not fit drains it first. Addresses in bytes; `end` is exclusive (Linux keeps the last byte).
 * @example const gather = new IotlbGather(); core.unmapFast(domain, iova, size, gather); core.iotlbSync(domain, gather);
 */
export class IotlbGather {
  start: number = NOTHING;
  end = 0;
  /** Size of the leaves in the range, bytes; 0 when no page was added yet. */
  pgsize = 0;
  /** The flush is deferred to a flush queue: page tables then add no pages. Set by the DMA layer, cleared by every sync. */
  queued = false;
  /** Levels of cleared leaves, of removed tables, a bit each; only where a table was configured to tell them (`DETAILED_GATHER`). */
  leafLevels = 0;
  tableLevels = 0;
  /** Addresses of table pages to free after the invalidation. */
  freelist: number[] = [];

  /** Empties the gather (`iommu_iotlb_gather_init`). */
  init(): void {
    this.start = NOTHING;
    this.end = 0;
    this.pgsize = 0;
    this.queued = false;
    this.leafLevels = 0;
    this.tableLevels = 0;
    if (this.freelist.length > 0) this.freelist = [];
  }

  /** True when nothing waits for an invalidation. */
  get isEmpty(): boolean {
    return this.start >= this.end;
  }

  /**
   * True when [iova, iova + size) neither overlaps nor touches what is gathered (`iommu_iotlb_gather_is_disjoint`). Beside the end of
   * the 64-bit space nothing touches: the kernel adds 1 to the last byte, and that wraps.
   */
  isDisjoint(iova: number, size: number): boolean {
    const end = iova + size;
    return (
      this.end !== 0 &&
      ((end === NOTHING ? 0 : end) < this.start || iova > (this.end === NOTHING ? 0 : this.end))
    );
  }

  /** Grows the range over [iova, iova + size) (`iommu_iotlb_gather_add_range`). Nothing at IOVA 0 is everything, as there. */
  addRange(iova: number, size: number): void {
    const end = iova + size;
    if (iova < this.start) this.start = iova;
    // The last byte of no bytes at 0 is the last of the space.
    if (end === 0) this.end = NOTHING;
    else if (end > this.end) this.end = end;
  }
}
