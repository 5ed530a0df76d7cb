import { ctz, log2Floor } from '@iommukit/bits';
import type { CommandBatch, TlbiVa } from './command-batch.ts';
import type { CommandQueue } from './command-queue.ts';

/** Five bits of NUM: at most 31 units a command, so that (NUM + 1) never has to be 32 (`CMDQ_TLBI_RANGE_NUM_MAX`). */
const NUM_MASK = 31;

const SPACE_END = 2 ** 64;

/** What a range invalidation needs to know of the domain and the hardware. */
export interface RangeScope {
  readonly asid: number;
  /** Smallest page of the domain, bytes. */
  readonly minPage: number;
  readonly rangeInvalidation: boolean;
}

/** One range to invalidate; bytes. */
export interface InvalidRange {
  readonly iova: number;
  readonly size: number;
  /** Size of the leaves that were cleared, or of the table's granule for a walk invalidation. */
  readonly granule: number;
  /** True when only leaves went; false when table entries did. */
  readonly leaf: boolean;
}

const command: TlbiVa = { asid: 0, address: 0, num: 0, scale: 0, tg: 0, ttl: 0, leaf: 0 };

/** Adds the commands that cover a range, smallest chunks first (`__arm_smmu_tlb_inv_range`); full lists are issued without SYNC. */
export function addRange(
  batch: CommandBatch,
  queue: CommandQueue,
  scope: RangeScope,
  range: InvalidRange,
): void {
  const { iova, size, granule, leaf } = range;
  command.asid = scope.asid;
  command.leaf = leaf ? 1 : 0;
  command.num = 0;
  command.scale = 0;
  command.tg = 0;
  command.ttl = 0;
  // A range that ends with the address space: the kernel's 64-bit end becomes 0, and it adds no command.
  const end = iova + size < SPACE_END ? iova + size : 0;
  if (!scope.rangeInvalidation) {
    for (let address = iova; address < end; address += granule) {
      command.address = address;
      if (batch.isFull) flush(batch, queue);
      batch.tlbiNhVa(command);
    }
    return;
  }
  const tg = log2Floor(scope.minPage);
  command.tg = (tg - 10) / 2;
  let pages = Math.floor(size / scope.minPage);
  if (leaf) command.ttl = 4 - Math.trunc((log2Floor(granule) - 3) / (tg - 3));
  // One page of a walk invalidation would be the reserved combination NUM = SCALE = TTL = 0 with TG set (IHI 0070 4.4.1.1).
  else if (pages % (NUM_MASK + 1) === 1) pages++;
  let address = iova;
  while (address < end) {
    const scale = ctz(pages);
    const units = (pages / 2 ** scale) % (NUM_MASK + 1);
    command.num = units;
    command.scale = scale;
    command.address = address;
    if (batch.isFull) flush(batch, queue);
    batch.tlbiNhVa(command);
    address += units * 2 ** scale * scope.minPage;
    pages -= units * 2 ** scale;
  }
}

function flush(batch: CommandBatch, queue: CommandQueue): void {
  queue.issue(batch);
  batch.reset();
}
