import { u64Of } from '@iommukit/bits';
import { ATC_ALL, type AtcSpan, atcSpan } from './atc-span.lanes.ts';
import {
  INVALIDATION_TYPE,
  type InvalidationArray,
  type InvalidationEntry,
  isEndpointEntry,
} from './invalidation-array.ts';
import { SPACE_END } from './kernel-address.ts';
import { addRange, type InvalidRange, isTooBig, WHOLE_SPACE } from './range-invalidation.ts';

/**
 * Invalidates a range for everything in an array (`arm_smmu_domain_inv_range`): TLBs first, then the guests' stage 1, then the
 * endpoints, each with its own SYNC, and one SMMU after the other. Returns 0, or the last error of a SYNC.
 * @example invalidateArray(domain.invs, { iova: 0x1000, size: 0x1000, granule: 0x1000, leaf: true });
 */
export function invalidateArray(array: InvalidationArray, range: InvalidRange): number {
  return invalidateArrayRanges(array, [range]);
}

/** The same for several ranges, which share their SYNCs: no kernel has this; a batch of unmaps needs it. */
export function invalidateArrayRanges(
  array: InvalidationArray,
  ranges: readonly InvalidRange[],
): number {
  const spans = array.hasAts
    ? ranges.map(({ iova, size }) => atcSpan(u64Of(iova), u64Of(size % SPACE_END)))
    : [];
  let errno = 0;
  let previous: InvalidationEntry | undefined;
  for (const entry of array.entries) {
    if (entry.users === 0) continue;
    if (previous === undefined) entry.unit.stream.begin();
    else if (endsList(previous, entry)) {
      errno = close(previous) || errno;
      entry.unit.stream.begin();
    }
    addEntry(entry, ranges, spans);
    previous = entry;
  }
  return (previous === undefined ? 0 : close(previous)) || errno;
}

/**
 * Invalidates everything (`arm_smmu_domain_inv`).
 * @example invalidateWholeArray(domain.invs);
 */
export function invalidateWholeArray(array: InvalidationArray): number {
  return invalidateArray(array, WHOLE_SPACE);
}

/**
 * Invalidates all of one entry's tag and waits (`arm_smmu_inv_flush_iotlb_tag`): 0 or -ETIMEDOUT.
 * @example invalidateTag(array.entries[0]);
 */
export function invalidateTag(entry: InvalidationEntry): number {
  const { stream } = entry.unit;
  stream.begin();
  addUnsized(entry);
  return stream.submit();
}

/** A list that came to nothing: a SYNC alone would wait for nobody's commands. */
function close({ unit }: InvalidationEntry): number {
  const { stream, rules } = unit;
  return stream.pending === 0 && rules.wrappedRange === 'nothing' ? 0 : stream.submit();
}

/**
 * What must have happened before the next entry's commands: another SMMU is another queue; the stage 1 of guests may be refilled from a
 * stage 2 that still stands; and an endpoint may ask again and get what the TLB still holds.
 */
function endsList(entry: InvalidationEntry, next: InvalidationEntry): boolean {
  if (entry.unit !== next.unit) return true;
  const { S2_VMID_S1_CLEAR } = INVALIDATION_TYPE;
  if (entry.type !== S2_VMID_S1_CLEAR && next.type === S2_VMID_S1_CLEAR) return true;
  return !isEndpointEntry(entry) && isEndpointEntry(next);
}

function addEntry(
  entry: InvalidationEntry,
  ranges: readonly InvalidRange[],
  spans: readonly AtcSpan[],
): void {
  const { unit, type, id, ssid } = entry;
  const { stream } = unit;
  switch (type) {
    case INVALIDATION_TYPE.ATS:
      for (const span of spans) stream.room().atcInv({ streamId: id, substreamId: ssid, ...span });
      return;
    case INVALIDATION_TYPE.ATS_FULL:
      stream.room().atcInv({ streamId: id, substreamId: 0, ...ATC_ALL });
      return;
    default:
  }
  const whole = ranges.some((range) => isTooBig(range, unit));
  if (type === INVALIDATION_TYPE.S2_VMID_S1_CLEAR) {
    // TLBI_S12_VMALL of the same VMID has dropped it already.
    if (!whole) addUnsized(entry);
    return;
  }
  if (whole) {
    addUnsized(entry);
    return;
  }
  const scope = {
    opcode: entry.sized,
    ...tagOf(entry),
    minPage: 2 ** entry.pageLg2,
    ranges: unit.ranges,
    maskIpa: type === INVALIDATION_TYPE.S2_VMID && unit.rules.ipaBits === 'masked',
  };
  for (const range of ranges) addRange(stream, scope, range);
}

function addUnsized(entry: InvalidationEntry): void {
  entry.unit.stream.room().tlbiTag(entry.unsized, tagOf(entry));
}

function tagOf({ type, id }: InvalidationEntry): { readonly asid: number; readonly vmid: number } {
  return type === INVALIDATION_TYPE.S1_ASID ? { asid: id, vmid: 0 } : { asid: 0, vmid: id };
}

/**
 * Invalidates all that endpoints hold for one SubstreamID (`arm_smmu_atc_inv_master`): 0 or -ETIMEDOUT.
 * @example invalidateEndpoint(unit, [8], 0);
 */
export function invalidateEndpoint(
  unit: Pick<InvalidationEntry['unit'], 'stream'>,
  streamIds: readonly number[],
  ssid: number,
): number {
  const { stream } = unit;
  stream.begin();
  for (const streamId of streamIds)
    stream.room().atcInv({ streamId, substreamId: ssid, ...ATC_ALL });
  return stream.submit();
}
