import { IommuError } from '@iommukit/bits';
import type { IotlbGather } from '@iommukit/io-pgtable';
import {
  AttachHandle,
  type IommuCore,
  type IommuDevice,
  type IommuDomain,
} from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';

/**
 * Whose page tables an {@link IoMm} has: `private`, filled by `svaMap`; `shared`, those of a process, which only its kernel maps.
 * @example const kind: IoMmKind = ioMm.kind;
 */
export type IoMmKind = 'private' | 'shared';

/**
 * What a handle is made of.
 * @example const parts: IoMmParts = { kind: 'private', core, device, domain, pasid: 5 };
 */
export interface IoMmParts {
  readonly kind: IoMmKind;
  readonly core: IommuCore;
  readonly device: IommuDevice;
  /** Its address space: a domain of its own, attached to the PASID and to nothing else that is private. */
  readonly domain: IommuDomain;
  readonly pasid: number;
}

/**
 * One address space of a device that a PASID names (`struct io_mm` of the 2018 review): the handle of all calls on it, so that map
 * and unmap look nothing up. It is also the attach handle under which core knows the PASID, so a page request finds it. Made by
 * `svaAllocPasid` and `svaBindDevice`, and dead once freed or unbound: a number would be given again, an object is not.
 * @example const ioMm = svaAllocPasid(domain, device); if (typeof ioMm !== 'number') device.submit(ioMm.pasid);
 */
export class IoMm extends AttachHandle {
  readonly kind: IoMmKind;
  readonly core: IommuCore;
  readonly device: IommuDevice;
  /** Goes into the device's work descriptors. */
  readonly pasid: number;
  /** What `svaUnmapFast` and `svaTlbRangeAdd` left for `svaTlbSync`. */
  readonly gather: IotlbGather;
  #live = true;
  /** `live` and `kind` in one: every map and unmap asks. */
  #mappable: boolean;

  constructor(parts: IoMmParts) {
    super(parts.domain);
    this.kind = parts.kind;
    this.core = parts.core;
    this.device = parts.device;
    this.pasid = parts.pasid;
    this.gather = parts.core.newGather(parts.domain);
    this.#mappable = parts.kind === 'private';
  }

  /** False once the PASID was freed or the last bind undone. */
  get live(): boolean {
    return this.#live;
  }

  /** True while its owner may map and unmap: private, and not freed. */
  get mappable(): boolean {
    return this.#mappable;
  }

  /** Ends its life; called by whoever has taken the PASID from the device, after that. */
  retire(): void {
    this.#live = false;
    this.#mappable = false;
  }
}

/** Stable codes of {@link IoMmError}. @example if (e.code === 'IO_MM_FREED') report(e.operands.pasid); */
export type IoMmErrorCode = 'NO_IO_MM' | 'IO_MM_FREED';

/**
 * A call got something that is no live handle: `NO_IO_MM` for another value, such as the PASID as a number; `IO_MM_FREED` for a handle that
 * was freed or unbound. Nothing has changed.
 * @example try { svaFreePasid(domain, ioMm); } catch (e) { (e as IoMmError).operands.pasid; }
 */
export class IoMmError extends IommuError<{ pasid: number }> {
  override readonly name = 'IoMmError';
  constructor(code: IoMmErrorCode, pasid: number, what: string, fix: string) {
    super(code, { pasid }, what, fix);
  }
}

/** Throws {@link IoMmError} unless a value is a live handle; for callers without types too. */
export function mustLive(ioMm: IoMm): void {
  if (ioMm instanceof IoMm && ioMm.live) return;
  if (ioMm instanceof IoMm)
    throw new IoMmError(
      'IO_MM_FREED',
      ioMm.pasid,
      `the handle of PASID ${ioMm.pasid} was freed`,
      'Drop every copy of a handle when its PASID is freed or its last bind undone',
    );
  throw new IoMmError(
    'NO_IO_MM',
    typeof ioMm === 'number' ? ioMm : -1,
    `${String(ioMm)} is no handle`,
    'Pass what svaAllocPasid or svaBindDevice returned, and not its PASID',
  );
}

/** Checks that a handle can be mapped by its owner: 0, or -ENODEV for a shared one. Throws {@link IoMmError} for a dead one. */
export function privateErrno(ioMm: IoMm): number {
  // Whoever has no types may pass anything.
  if (ioMm?.mappable === true) return 0;
  mustLive(ioMm);
  return -ERRNO.ENODEV;
}
