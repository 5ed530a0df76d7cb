import { IommuError } from '@iommukit/bits';
import { PasidBitmap } from './pasid-bitmap.lanes.ts';

/** Requests without a PASID; never handed out (`IOMMU_NO_PASID`). @example if (pasid === IOMMU_NO_PASID) untagged(); */
export const IOMMU_NO_PASID = 0;
/** Lowest PASID of the global space (`IOMMU_FIRST_GLOBAL_PASID`). @example new PasidAllocator({ first: IOMMU_FIRST_GLOBAL_PASID, last: PASID_MAX, order: 'lowest' }); */
export const IOMMU_FIRST_GLOBAL_PASID = 1;
/** No PASID at all, all ones (`IOMMU_PASID_INVALID`). @example if (pasid === IOMMU_PASID_INVALID) return -28; */
export const IOMMU_PASID_INVALID = 0xffff_ffff;
/** Highest PASID: 20 bits (PCIe base specification, section 6.20). @example PASID_MAX // 1048575 */
export const PASID_MAX = 0xf_ffff;

const ENOSPC = 28;
const EINVAL = 22;

/** Stable codes of {@link PasidError}. @example if (e.code === 'PASID_NOT_ALLOCATED') report(e.operands.pasid); */
export type PasidErrorCode = 'PASID_RANGE' | 'PASID_NOT_ALLOCATED';

/**
 * A PASID space was made or used wrongly: `PASID_RANGE` for a space outside 1 to {@link PASID_MAX}, `PASID_NOT_ALLOCATED` for
 * an id that is freed twice or was never given.
 * @example try { pasids.free(5); } catch (e) { (e as PasidError).code; }
 */
export class PasidError extends IommuError<{ pasid: number }> {
  override readonly name = 'PasidError';
  constructor(code: PasidErrorCode, pasid: number, what: string, fix: string) {
    super(code, { pasid }, what, fix);
  }
}

/**
 * How a {@link PasidAllocator} is set up.
 * @example const options: PasidSpace = { first: 5, last: 8, order: 'cyclic' };
 */
export interface PasidSpace {
  /** Lowest id, at least 1: 0 means "no PASID". */
  readonly first: number;
  /** Highest id, inclusive, at most {@link PASID_MAX}. */
  readonly last: number;
  /** `lowest`: always the lowest free id (Linux's global IDA); `cyclic`: upwards from the last one given, then from the lowest again. */
  readonly order: 'lowest' | 'cyclic';
}

/**
 * Hands out PASIDs. The global space of Linux is `{ first: 1, last: PASID_MAX, order: 'lowest' }` (`iommu_alloc_global_pasid`); a driver with
 * a space of its own may go round in circles, so that an id just freed is not the next one given.
 * @example const pasids = new PasidAllocator({ first: 1, last: 255, order: 'lowest' }); pasids.alloc(); // 1
 */
export class PasidAllocator {
  readonly first: number;
  readonly last: number;
  readonly order: PasidSpace['order'];
  readonly #taken: PasidBitmap;
  /** Where a cyclic search starts. */
  #next: number;
  #used = 0;

  constructor(space: PasidSpace) {
    const { first, last } = space;
    if (
      !Number.isInteger(first) ||
      !Number.isInteger(last) ||
      first < IOMMU_FIRST_GLOBAL_PASID ||
      last > PASID_MAX ||
      first > last
    )
      throw new PasidError(
        'PASID_RANGE',
        first,
        `${first} to ${last} is no range of PASIDs`,
        `Pass 1 <= first <= last <= ${PASID_MAX}`,
      );
    this.first = first;
    this.last = last;
    this.order = space.order;
    this.#taken = new PasidBitmap(last);
    this.#next = first;
  }

  /** Ids in use. */
  get used(): number {
    return this.#used;
  }

  /**
   * A free id from `min` to `max`, both inclusive and within the space. -ENOSPC (-28): all are taken; -EINVAL (-22): `min > max`, or outside the space.
   * @example new PasidAllocator({ first: 5, last: 8, order: 'lowest' }).alloc(7) // 7
   */
  alloc(min: number = this.first, max: number = this.last): number {
    if (!(min <= max && min >= this.first && max <= this.last)) return -EINVAL;
    let pasid = -1;
    if (this.order === 'cyclic' && this.#next > min && this.#next <= max)
      pasid = this.#taken.firstFree(this.#next, max);
    if (pasid < 0) pasid = this.#taken.firstFree(min, max);
    if (pasid < 0) return -ENOSPC;
    this.#taken.set(pasid);
    this.#used++;
    this.#next = pasid + 1;
    return pasid;
  }

  /**
   * An id that a device with `maxPasids` PASIDs can use: 1 to `maxPasids - 1`, as far as the space reaches. {@link IOMMU_PASID_INVALID} when there is
   * none, or the device has no PASIDs (`iommu_alloc_global_pasid`).
   * @example pasids.allocForDevice(16) // at most 15
   */
  allocForDevice(maxPasids: number): number {
    const pasid = this.alloc(this.first, Math.min(maxPasids - 1, this.last));
    return pasid < 0 ? IOMMU_PASID_INVALID : pasid;
  }

  /**
   * Takes an id back; it may be given again at once. Throws {@link PasidError} for an id that is not in use.
   * @example pasids.free(pasids.alloc());
   */
  free(pasid: number): void {
    if (!this.isAllocated(pasid))
      throw new PasidError(
        'PASID_NOT_ALLOCATED',
        pasid,
        `PASID ${pasid} is not allocated`,
        'Free each PASID once, and only what alloc returned',
      );
    this.#taken.clear(pasid);
    this.#used--;
  }

  /**
   * True while an id is in use; false for every number outside the space.
   * @example pasids.isAllocated(IOMMU_NO_PASID) // false
   */
  isAllocated(pasid: number): boolean {
    return (
      Number.isInteger(pasid) && pasid >= this.first && pasid <= this.last && this.#taken.has(pasid)
    );
  }
}
