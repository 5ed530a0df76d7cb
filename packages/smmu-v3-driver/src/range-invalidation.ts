import { ctz, log2Floor } from '@iommukit/bits';
import type { TlbiAddress } from './command-batch.ts';
import type { CommandStream } from './command-stream.ts';
import type { InvalidationRules } from './driver-profile.ts';
import { KERNEL_ADDRESS_END, SPACE_END } from './kernel-address.ts';

/** Five bits of NUM: at most 31 units a command, so that (NUM + 1) never has to be 32 (`CMDQ_TLBI_RANGE_NUM_MAX`). */
const NUM_MASK = 31;

/**
 * Which translations a range invalidation is about.
 * @example const scope: RangeScope = { opcode: OPCODE.TLBI_NH_VA, asid: 1, vmid: 0, minPage: 4096, ranges: true, maskIpa: true };
 */
export interface RangeScope {
  /** TLBI_NH_VA, TLBI_EL2_VA or TLBI_S2_IPA. */
  readonly opcode: number;
  /** The tag of stage 1, 0 for stage 2. */
  readonly asid: number;
  /** The tag of stage 2, 0 for stage 1. */
  readonly vmid: number;
  /** Smallest page of the domain, bytes. */
  readonly minPage: number;
  /** The SMMU has range invalidation. */
  readonly ranges: boolean;
  /** The address field of stage 2 is masked to 51:12. */
  readonly maskIpa: boolean;
}

/**
 * One range to invalidate; bytes. A size of 0 is the whole space, as a size of 2^64 that wrapped.
 * @example const range: InvalidRange = { iova: 0x1000, size: 0x4000, granule: 0x1000, leaf: true };
 */
export interface InvalidRange {
  readonly iova: number;
  readonly size: number;
  /** Size of the leaves that were cleared, or of the table's granule for a walk invalidation. */
  readonly granule: number;
  /** True when only leaves went; false when table entries did. */
  readonly leaf: boolean;
}

/** Everything that a domain maps. */
export const WHOLE_SPACE: InvalidRange = { iova: 0, size: 0, granule: 0, leaf: false };

// One for all: a range of many pages costs no object for each command.
const command: TlbiAddress = {
  opcode: 0,
  asid: 0,
  vmid: 0,
  address: 0,
  num: 0,
  scale: 0,
  tg: 0,
  ttl: 0,
  leaf: 0,
};

/** Adds the commands that cover a range, smallest chunks first (`arm_smmu_cmdq_batch_add_range`). */
export function addRange(stream: CommandStream, scope: RangeScope, range: InvalidRange): void {
  const { iova, size, granule, leaf } = range;
  command.opcode = scope.opcode;
  command.asid = scope.asid;
  command.vmid = scope.vmid;
  command.leaf = leaf ? 1 : 0;
  command.num = 0;
  command.scale = 0;
  command.tg = 0;
  command.ttl = 0;
  // A range that ends with the address space: the kernel's 64-bit end becomes 0, and it adds no command.
  const end = iova + size < SPACE_END ? iova + size : 0;
  if (!scope.ranges) {
    for (let address = iova; address < end; address += granule) {
      command.address = scope.maskIpa ? address % KERNEL_ADDRESS_END : address;
      stream.room().tlbiAddress(command);
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
    command.address = scope.maskIpa ? address % KERNEL_ADDRESS_END : address;
    stream.room().tlbiAddress(command);
    address += units * 2 ** scale * scope.minPage;
    pages -= units * 2 ** scale;
  }
}

/**
 * True when a range shall be invalidated by its tag alone (`arm_smmu_inv_size_too_big`): the whole space, or without range commands
 * as many granules as a table has entries.
 */
export function isTooBig(
  range: InvalidRange,
  unit: { readonly ranges: boolean; readonly rules: InvalidationRules },
): boolean {
  if (range.size === 0 || range.size >= SPACE_END) return true;
  if (unit.ranges || unit.rules.longRange === 'by-page') return false;
  return range.size >= range.granule * (range.granule / 8);
}
