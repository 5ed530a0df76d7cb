import { IotlbGather, RangeGather } from '@iommukit/io-pgtable';

/**
 * A gather that keeps every range by itself, so that disjoint ranges and several page sizes wait for one sync; its memory is
 * {@link ListGather.bytes}. The kernel has nothing like it: a domain asks for it with `gatherKind: 'list'`.
 * `start` and `end` span all that is held. Made by `core.newGather`.
 * @example const gather = core.newGather(domain); core.unmapFast(domain, iova, size, gather); core.iotlbSync(domain, gather);
 */
export class ListGather extends IotlbGather {
  /** What was added by page; the leaf size of a record is its page size. */
  readonly records: RangeGather = new RangeGather();
  /** What was added as a range without a page size, as the kernel holds it. */
  readonly loose: IotlbGather = new IotlbGather();

  /** Bytes that the list holds: 24 for each range. */
  get bytes(): number {
    return this.records.bytes;
  }

  override init(): void {
    super.init();
    this.loose.init();
    // Leaves were added, and no tables.
    if (!this.records.isEmpty) this.records.releaseDetached({ releaseTable() {} });
  }

  override addRange(iova: number, size: number): void {
    super.addRange(iova, size);
    this.loose.addRange(iova, size);
  }

  /** Adds `count` adjacent pages of `pgsize` bytes. */
  addPages(iova: number, pgsize: number, count: number): void {
    super.addRange(iova, pgsize * count);
    this.pgsize = pgsize;
    this.records.add(iova, iova + pgsize * count, pgsize);
  }
}
