import type { U64 } from '@iommukit/bits';

/** `type` of struct virtio_iommu_req_head (virtio 1.2, 5.13.6). */
export const REQUEST_TYPE = { attach: 1, detach: 2, map: 3, unmap: 4, probe: 5 } as const;

/** `status` of struct virtio_iommu_req_tail (virtio 1.2, 5.13.6). */
export const STATUS = {
  OK: 0,
  IOERR: 1,
  UNSUPP: 2,
  DEVERR: 3,
  INVAL: 4,
  RANGE: 5,
  NOENT: 6,
  FAULT: 7,
  NOMEM: 8,
} as const;

/** `flags` of a MAP request (5.13.6.5). MMIO needs the feature VIRTIO_IOMMU_F_MMIO. */
export const MAP_FLAG = { READ: 1, WRITE: 2, MMIO: 4 } as const;

/** Bytes of the device-readable part by type; of the tail. Those of PROBE are followed by properties, device-writable (5.13.6.7). */
export const READABLE_BYTES = { attach: 20, detach: 20, map: 36, unmap: 28, probe: 72 } as const;
export const TAIL_BYTES = 4;

/** A request as the wire has it; `virtEnd` is the last byte of a range. Reserved fields are zero unless given. */
export type Request =
  | {
      readonly type: 'attach';
      readonly domain: number;
      readonly endpoint: number;
      readonly flags: number;
      readonly reserved?: number;
    }
  | { readonly type: 'detach'; readonly domain: number; readonly endpoint: number }
  | {
      readonly type: 'map';
      readonly domain: number;
      readonly virtStart: U64;
      readonly virtEnd: U64;
      readonly physStart: U64;
      readonly flags: number;
    }
  | {
      readonly type: 'unmap';
      readonly domain: number;
      readonly virtStart: U64;
      readonly virtEnd: U64;
      readonly reserved?: number;
    }
  | { readonly type: 'probe'; readonly endpoint: number };

/** Words of the fields behind the head, in order, 64-bit ones low lane first (5.13.6.3 to 5.13.6.7). */
function fieldWords(request: Request): readonly number[] {
  switch (request.type) {
    case 'attach':
      return [request.domain, request.endpoint, request.flags, request.reserved ?? 0];
    case 'detach':
      return [request.domain, request.endpoint];
    case 'map': {
      const { domain, virtStart, virtEnd, physStart, flags } = request;
      const lanes = [virtStart, virtEnd, physStart].flatMap(({ lo, hi }) => [lo, hi]);
      return [domain, ...lanes, flags];
    }
    case 'unmap': {
      const { domain, virtStart, virtEnd, reserved = 0 } = request;
      return [domain, virtStart.lo, virtStart.hi, virtEnd.lo, virtEnd.hi, reserved];
    }
    case 'probe':
      return [request.endpoint];
  }
}

/** The device-readable part of a request, little-endian. */
export function encodeRequest(request: Request): Uint8Array {
  const bytes = new Uint8Array(READABLE_BYTES[request.type]);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, REQUEST_TYPE[request.type]);
  for (const [i, word] of fieldWords(request).entries()) view.setUint32(4 + 4 * i, word, true);
  return bytes;
}

/** What the device-readable part says; null when its type is unknown or it is too short for it. */
export function decodeRequest(bytes: Uint8Array): Request | null {
  const types = Object.keys(REQUEST_TYPE) as Request['type'][];
  const type = types.find((name) => REQUEST_TYPE[name] === bytes[0]);
  if (type === undefined || bytes.length < READABLE_BYTES[type]) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (offset: number): number => view.getUint32(offset, true);
  const lanes = (offset: number): U64 => ({ lo: word(offset), hi: word(offset + 4) });
  const domain = word(4);
  switch (type) {
    case 'attach':
      return { type, domain, endpoint: word(8), flags: word(12), reserved: word(16) };
    case 'detach':
      return { type, domain, endpoint: word(8) };
    case 'map':
      return {
        type,
        domain,
        virtStart: lanes(8),
        virtEnd: lanes(16),
        physStart: lanes(24),
        flags: word(32),
      };
    case 'unmap':
      return { type, domain, virtStart: lanes(8), virtEnd: lanes(16), reserved: word(24) };
    case 'probe':
      return { type, endpoint: word(4) };
  }
}
