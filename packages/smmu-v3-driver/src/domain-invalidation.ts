import { type U64, u64Of } from '@iommukit/bits';
import { ATC_ALL, type AtcSpan, atcSpan } from './atc-span.lanes.ts';
import type { CommandStream } from './command-stream.ts';
import type { InvalidationRules } from './driver-profile.ts';
import { SPACE_END } from './kernel-address.ts';
import { addRange, type InvalidRange, isTooBig, WHOLE_SPACE } from './range-invalidation.ts';
import { tlbiOpcodes } from './tlbi-opcode.ts';

/**
 * A domain as kernels before 7.x invalidate it: one tag, whether devices are attached or not.
 * @example const domain: TaggedDomain = { stage: 1, id: 1, minPage: 4096 };
 */
export interface TaggedDomain {
  readonly stage: 1 | 2;
  /** ASID or VMID. */
  readonly id: number;
  /** Smallest page, bytes. */
  readonly minPage: number;
}

/**
 * An attached endpoint.
 * @example const endpoint: Endpoint = { streamIds: [8], ssid: 0, ats: true };
 */
export interface Endpoint {
  readonly streamIds: readonly number[];
  readonly ssid: number;
  readonly ats: boolean;
}

/**
 * What the SMMU of a domain can do.
 * @example const unit: DomainUnit = { stream, ranges: true, e2h: false, ats: true, rules: DRIVER_PROFILES['6.12'] };
 */
export interface DomainUnit {
  readonly stream: CommandStream;
  readonly ranges: boolean;
  readonly e2h: boolean;
  readonly ats: boolean;
  readonly rules: InvalidationRules;
}

/**
 * Invalidates a range of a domain and of its endpoints (`arm_smmu_tlb_inv_range_domain` of 6.12). A size of 0 invalidates no TLB, and
 * everything that endpoints hold.
 * @example invalidateDomainRange(unit, domain, { iova: 0x1000, size: 0x1000, granule: 0x1000, leaf: true }, endpoints);
 */
export function invalidateDomainRange(
  unit: DomainUnit,
  domain: TaggedDomain,
  range: InvalidRange,
  endpoints: Iterable<Endpoint>,
): number {
  return invalidateDomainRanges(unit, domain, [range], endpoints);
}

/** The same for several ranges, which share their SYNCs: no kernel has this; a batch of unmaps needs it. */
export function invalidateDomainRanges(
  unit: DomainUnit,
  domain: TaggedDomain,
  ranges: readonly InvalidRange[],
  endpoints: Iterable<Endpoint>,
): number {
  const errno = invalidateTagRanges(unit, domain, ranges);
  return invalidateEndpoints(unit, ranges, endpoints) || errno;
}

/**
 * The part of it that TLBs hold (`__arm_smmu_tlb_inv_range`; with an ASID given alone, `arm_smmu_tlb_inv_range_asid`).
 * @example invalidateTagRange(unit, { stage: 1, id: 1, minPage: 4096 }, range);
 */
export function invalidateTagRange(
  unit: DomainUnit,
  domain: TaggedDomain,
  range: InvalidRange,
): number {
  return invalidateTagRanges(unit, domain, [range]);
}

function invalidateTagRanges(
  unit: DomainUnit,
  domain: TaggedDomain,
  ranges: readonly InvalidRange[],
): number {
  const { stream, rules } = unit;
  const { stage, id, minPage } = domain;
  const wanted = ranges.filter(({ size }) => size % SPACE_END !== 0);
  if (wanted.length === 0) return 0;
  if (wanted.some((range) => isTooBig(range, unit))) return invalidateDomainTag(unit, domain);
  const scope = {
    opcode: tlbiOpcodes(stage, unit).sized,
    asid: stage === 1 ? id : 0,
    vmid: stage === 2 ? id : 0,
    minPage,
    ranges: unit.ranges,
    maskIpa: stage === 2 && rules.ipaBits === 'masked',
  };
  stream.begin();
  for (const range of wanted) addRange(stream, scope, range);
  return stream.pending === 0 && rules.wrappedRange === 'nothing' ? 0 : stream.submit();
}

/**
 * Invalidates everything of a domain and its endpoints (`arm_smmu_tlb_inv_context`).
 * @example invalidateDomain(unit, domain, domain.endpoints());
 */
export function invalidateDomain(
  unit: DomainUnit,
  domain: TaggedDomain,
  endpoints: Iterable<Endpoint>,
): number {
  const errno = invalidateDomainTag(unit, domain);
  return invalidateEndpoints(unit, [WHOLE_SPACE], endpoints) || errno;
}

/**
 * The part of it that TLBs hold (`arm_smmu_tlb_inv_asid`).
 * @example invalidateDomainTag(unit, { stage: 1, id: 1 });
 */
export function invalidateDomainTag(
  unit: Pick<DomainUnit, 'stream' | 'e2h'>,
  { stage, id }: Pick<TaggedDomain, 'stage' | 'id'>,
): number {
  const { stream } = unit;
  stream.begin();
  const tag = { asid: stage === 1 ? id : 0, vmid: stage === 2 ? id : 0 };
  stream.room().tlbiTag(tlbiOpcodes(stage, unit).unsized, tag);
  return stream.submit();
}

/**
 * Invalidates ranges in all endpoints that have ATS (`arm_smmu_atc_inv_domain`); nothing is issued when none has.
 * @example invalidateEndpoints(unit, [{ iova: 0x7000, size: 0x4000 }], endpoints);
 */
export function invalidateEndpoints(
  { stream, ats }: Pick<DomainUnit, 'stream' | 'ats'>,
  ranges: readonly Pick<InvalidRange, 'iova' | 'size'>[],
  endpoints: Iterable<Endpoint>,
): number {
  if (!ats) return 0;
  let none = true;
  for (const { streamIds, ssid, ats: holds } of endpoints) {
    if (!holds) continue;
    if (none) stream.begin();
    none = false;
    for (const { iova, size } of ranges) {
      const span = endpointSpan(u64Of(iova), u64Of(size % SPACE_END));
      for (const streamId of streamIds)
        stream.room().atcInv({ streamId, substreamId: ssid, ...span });
    }
  }
  return none ? 0 : stream.submit();
}

/**
 * The span of a range as kernels before 7.x compute it (`arm_smmu_atc_inv_to_cmd` of 6.12): a size of 0 is everything.
 * @example endpointSpan({ lo: 0x1000, hi: 0 }, { lo: 0, hi: 0 }) // ATC_ALL
 */
export function endpointSpan(iova: U64, size: U64): AtcSpan {
  return size.lo === 0 && size.hi === 0 ? ATC_ALL : atcSpan(iova, size);
}
