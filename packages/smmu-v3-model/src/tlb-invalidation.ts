/*
 * What a TLB invalidation command removes, at the least (IHI 0070 4.4).
 * Not modelled: removing more than that, which is always allowed.
 */
import type { SpaceTags } from './tlb.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** A decoded TLBI. `start` and `end` are keys, half open; all addresses when `end` is 0. */
export interface TlbInvalidation {
  readonly what: 'tlb';
  /** Entries whose input is a VA (combined ones among them), and those whose input is an IPA. */
  readonly stage1: boolean;
  readonly stage2: boolean;
  readonly worlds: readonly number[];
  /** -1: any. */
  readonly vmid: number;
  /** Low VMID values that are ignored: a power of two, 1 for an exact match. */
  readonly vmidStep: number;
  /** -1: any. */
  readonly asid: number;
  /** By ASID: global entries stay. By address: global entries go whatever the ASID. */
  readonly globals: boolean;
  readonly start: number;
  readonly end: number;
  /** log2 of the granule whose entries go; 0: any. */
  readonly granuleLg2: number;
  /** Level of the leaves that go; 0: any. */
  readonly ttl: number;
  /** Only last-level entries. */
  readonly leaf: boolean;
}

/** True when the command reaches the space at all. */
export function reachesSpace(op: TlbInvalidation, space: SpaceTags): boolean {
  if (!(space.stage === 1 ? op.stage1 : op.stage2)) return false;
  if (!op.worlds.includes(space.world)) return false;
  if (
    op.vmid >= 0 &&
    space.world === 0 &&
    Math.floor(space.vmid / op.vmidStep) !== Math.floor(op.vmid / op.vmidStep)
  )
    return false;
  return op.asid < 0 || space.asid === op.asid || (space.asid < 0 && op.globals);
}

/** True when the command removes the leaf. */
export function coversLeaf(op: TlbInvalidation, space: SpaceTags, entry: TlbEntry): boolean {
  return reachesSpace(op, space) && hitsLeaf(op, entry);
}

/** True when the command removes the table descriptor. */
export function coversWalk(op: TlbInvalidation, space: SpaceTags, entry: WalkEntry): boolean {
  return reachesSpace(op, space) && hitsWalk(op, entry);
}

function inRange(op: TlbInvalidation, entry: TlbEntry | WalkEntry): boolean {
  if (op.end === 0) return true;
  if (op.granuleLg2 !== 0 && entry.granuleLg2 !== op.granuleLg2) return false;
  return entry.coverKey < op.end && entry.coverKey + entry.coverSize > op.start;
}

/** By address, granule and level alone. */
export function hitsLeaf(op: TlbInvalidation, entry: TlbEntry): boolean {
  return inRange(op, entry) && (op.ttl === 0 || entry.level === op.ttl);
}

/** By address, granule and level alone. */
export function hitsWalk(op: TlbInvalidation, entry: WalkEntry): boolean {
  return inRange(op, entry) && !op.leaf && (op.ttl === 0 || entry.level < op.ttl);
}
