import { OPCODE } from '@iommukit/arm-arch';
import { log2Floor } from '@iommukit/bits';
import type { CommandStream } from './command-stream.ts';
import type { InvalidationRules } from './driver-profile.ts';
import { tlbiOpcodes } from './tlbi-opcode.ts';

/**
 * An SMMU as an invalidation array knows it: its place in the order, what it can do, and where its commands go.
 * @example const unit: InvalidationUnit = { order: 0, ranges: true, e2h: false, rules: DRIVER_PROFILES['7.3'], stream };
 */
export interface InvalidationUnit {
  /** Sorts the entries of several SMMUs; the kernel sorts by the address of its own record. */
  readonly order: number;
  /** The SMMU has range invalidation. */
  readonly ranges: boolean;
  /** Stage 1 uses the EL2 regime. */
  readonly e2h: boolean;
  readonly rules: InvalidationRules;
  readonly stream: CommandStream;
}

/**
 * What an entry invalidates, in the order in which entries stand in an array: stage 1 by ASID, stage 2 by VMID, the stage 1 of guests
 * under a VMID, an endpoint's range, all of an endpoint.
 * @example INVALIDATION_TYPE.ATS // 3
 */
export const INVALIDATION_TYPE = {
  S1_ASID: 0,
  S2_VMID: 1,
  S2_VMID_S1_CLEAR: 2,
  ATS: 3,
  ATS_FULL: 4,
} as const;

/**
 * One of {@link INVALIDATION_TYPE}.
 * @example const type: InvalidationType = INVALIDATION_TYPE.S1_ASID;
 */
export type InvalidationType = (typeof INVALIDATION_TYPE)[keyof typeof INVALIDATION_TYPE];

/**
 * One entry (`struct arm_smmu_inv`). Without users it is trash: skipped, and dropped by the next merge or purge.
 * @example const entry: InvalidationEntry = invalidationEntry(unit, { type: 0, id: 1 });
 */
export interface InvalidationEntry {
  readonly unit: InvalidationUnit;
  readonly type: InvalidationType;
  /** ASID, VMID or StreamID. */
  readonly id: number;
  /** SubstreamID of an ATS entry, else 0. */
  readonly ssid: number;
  /** Opcode for a range. */
  readonly sized: number;
  /** Opcode for everything. */
  readonly unsized: number;
  /** log2 of the domain's smallest page where ranges are one command, else 0. */
  readonly pageLg2: number;
  /** Attachments that need the entry. */
  users: number;
}

/**
 * What names an entry of a domain: `minPage` is the smallest page, bytes, for the entries with ranges.
 * @example invalidationEntry(unit, { type: INVALIDATION_TYPE.ATS, id: 8, ssid: 5 });
 */
export interface InvalidationKey {
  readonly type: InvalidationType;
  readonly id: number;
  readonly ssid?: number;
  readonly minPage?: number;
}

/**
 * An entry without users, its opcodes chosen by type and regime (`arm_smmu_master_build_inv`).
 * @example invalidationEntry(unit, { type: INVALIDATION_TYPE.S1_ASID, id: 1, minPage: 4096 }).sized // OPCODE.TLBI_NH_VA
 */
export function invalidationEntry(unit: InvalidationUnit, key: InvalidationKey): InvalidationEntry {
  const { type, id, ssid = 0, minPage = 0 } = key;
  const pageLg2 = unit.ranges && minPage > 0 ? log2Floor(minPage) : 0;
  const entry = { unit, type, id, ssid, users: 0 };
  switch (type) {
    case INVALIDATION_TYPE.S1_ASID:
      return { ...entry, ...tlbiOpcodes(1, unit), pageLg2 };
    case INVALIDATION_TYPE.S2_VMID:
      return { ...entry, ...tlbiOpcodes(2, unit), pageLg2 };
    case INVALIDATION_TYPE.S2_VMID_S1_CLEAR:
      return { ...entry, sized: OPCODE.TLBI_NH_ALL, unsized: OPCODE.TLBI_NH_ALL, pageLg2: 0 };
    default:
      return { ...entry, sized: OPCODE.ATC_INV, unsized: OPCODE.ATC_INV, pageLg2: 0 };
  }
}

/**
 * What a device adds to the array of the domain that it attaches to.
 * @example const attachment: Attachment = { stage: 1, id: 1, minPage: 4096, nestParent: false, streamIds: [8], ats: true, ssid: 0 };
 */
export interface Attachment {
  readonly stage: 1 | 2;
  /** ASID or VMID. */
  readonly id: number;
  /** Smallest page of the domain, bytes. */
  readonly minPage: number;
  /** The domain is the stage 2 of guests, whose stage 1 must go too. */
  readonly nestParent: boolean;
  /** Stream ids, ascending. */
  readonly streamIds: readonly number[];
  readonly ats: boolean;
  readonly ssid: number;
}

/**
 * The entries of one device in one domain (`arm_smmu_master_build_invs`), sorted, without users.
 * @example buildEntries(unit, attachment).map(({ type }) => type) // [0, 3]
 */
export function buildEntries(unit: InvalidationUnit, attachment: Attachment): InvalidationEntry[] {
  const { stage, id, minPage, nestParent, streamIds, ats, ssid } = attachment;
  const { S1_ASID, S2_VMID, S2_VMID_S1_CLEAR, ATS, ATS_FULL } = INVALIDATION_TYPE;
  const entries = [invalidationEntry(unit, { type: stage === 1 ? S1_ASID : S2_VMID, id, minPage })];
  if (nestParent) entries.push(invalidationEntry(unit, { type: S2_VMID_S1_CLEAR, id }));
  if (!ats) return entries;
  // Which guest address an IPA has is unknown: all of the endpoint's cache goes.
  for (const streamId of streamIds)
    entries.push(
      invalidationEntry(
        unit,
        nestParent ? { type: ATS_FULL, id: streamId } : { type: ATS, id: streamId, ssid },
      ),
    );
  return entries;
}

/** Order of two entries: SMMU, type, id, and SubstreamID for endpoints. */
function compare(a: InvalidationEntry, b: InvalidationEntry): number {
  return a.unit.order - b.unit.order || a.type - b.type || a.id - b.id || a.ssid - b.ssid;
}

/** True for what an endpoint, not the SMMU, holds. */
export function isEndpointEntry(entry: InvalidationEntry): boolean {
  return entry.type >= INVALIDATION_TYPE.ATS;
}

/**
 * The sorted entries of a domain (`struct arm_smmu_invs`): one for each tag and each endpoint that an invalidation must reach, with
 * the number of attachments that need it. `merge` and `purge` make new arrays, as the kernel's readers demand.
 * @example domain.invs = domain.invs.merge(entries);
 */
export class InvalidationArray {
  /** The entries up to the last one in use; `entries.length` is the kernel's `num_invs`. */
  readonly entries: InvalidationEntry[];
  /** An entry of an endpoint is or was among them. */
  readonly hasAts: boolean;

  /** An array of sorted entries; `state` where an endpoint was among them earlier. */
  constructor(
    entries: readonly InvalidationEntry[] = [],
    state: { readonly hasAts?: boolean } = {},
  ) {
    this.entries = [...entries];
    this.hasAts = state.hasAts ?? entries.some(isEndpointEntry);
  }

  /** Entries without users among `entries` (`num_trashes`). */
  get trash(): number {
    return this.entries.reduce((n, { users }) => n + (users === 0 ? 1 : 0), 0);
  }

  /** A new array with one more user for each of `added` (sorted), without trash (`arm_smmu_invs_merge`). */
  merge(added: readonly InvalidationEntry[]): InvalidationArray {
    const merged: InvalidationEntry[] = [];
    const old = this.entries;
    let i = 0;
    let j = 0;
    while (i < old.length || j < added.length) {
      const left = old[i];
      const right = added[j];
      if (left !== undefined && left.users === 0) {
        i++;
        continue;
      }
      const order = left === undefined ? 1 : right === undefined ? -1 : compare(left, right);
      if (order <= 0 && left !== undefined) {
        merged.push({ ...left, users: left.users + (order === 0 ? 1 : 0) });
        i++;
      } else if (right !== undefined) merged.push({ ...right, users: 1 });
      if (order >= 0) j++;
    }
    return new InvalidationArray(merged);
  }

  /**
   * Takes one user from each of `removed` (sorted), in place (`arm_smmu_invs_unref`); entries left without users at the end are cut
   * off. The users of `removed` say what became of theirs: 1 still used, 0 trash.
   */
  unref(removed: readonly InvalidationEntry[]): void {
    const { entries } = this;
    let i = 0;
    for (const entry of removed) {
      for (;;) {
        const at = entries[i];
        if (at === undefined || (at.users > 0 && compare(at, entry) >= 0)) break;
        i++;
      }
      const mine = entries[i];
      if (mine === undefined || compare(mine, entry) !== 0) continue;
      mine.users--;
      entry.users = mine.users > 0 ? 1 : 0;
      i++;
    }
    while (entries.at(-1)?.users === 0) entries.pop();
  }

  /** A new array without trash, or null when there is none (`arm_smmu_invs_purge`). */
  purge(): InvalidationArray | null {
    if (this.trash === 0) return null;
    return new InvalidationArray(this.entries.filter(({ users }) => users > 0));
  }
}
