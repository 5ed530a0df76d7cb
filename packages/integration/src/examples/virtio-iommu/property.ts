import { type U64, u64Of } from '@iommukit/bits';

/** Type of the one property that is defined, and its subtypes (virtio 1.2, 5.13.6.8). */
const RESV_MEM = 1;
export const RESV_SUBTYPE = { reserved: 0, msi: 1 } as const;
/** Bytes of a property's header, and of RESV_MEM behind it. */
const HEADER_BYTES = 4;
const RESV_MEM_BYTES = 20;
/** The type takes 12 bits; those above it are reserved. */
const TYPE_VALUES = 0x1000;

/**
 * Virtual addresses that cannot be mapped; bytes, `end` exclusive. `msi`: the window of doorbells.
 * @example const doorbells: ReservedMemory = { kind: 'msi', start: 0x800_0000, end: 0x810_0000 };
 */
export interface ReservedMemory {
  readonly kind: 'reserved' | 'msi';
  readonly start: number;
  readonly end: number;
}

/** The properties of an endpoint in `size` bytes, the rest zero; null when they do not fit. */
export function encodeProperties(
  regions: readonly ReservedMemory[],
  size: number,
): Uint8Array | null {
  if (regions.length * (HEADER_BYTES + RESV_MEM_BYTES) > size) return null;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [i, { kind, start, end }] of regions.entries()) {
    const at = i * (HEADER_BYTES + RESV_MEM_BYTES);
    view.setUint16(at, RESV_MEM, true);
    view.setUint16(at + 2, RESV_MEM_BYTES, true);
    view.setUint8(at + 4, RESV_SUBTYPE[kind]);
    setLanes(view, at + 8, u64Of(start));
    setLanes(view, at + 16, lastOf(end));
  }
  return bytes;
}

/** The reserved memory that a list of properties tells of; a type that is not known, or not clean, is passed over. */
export function decodeProperties(bytes: Uint8Array): readonly ReservedMemory[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const regions: ReservedMemory[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const typeWord = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (typeWord % TYPE_VALUES === 0) break;
    const whole = at + HEADER_BYTES + length <= bytes.length;
    if (typeWord === RESV_MEM && length >= RESV_MEM_BYTES && whole) {
      // A subtype that is not known is to be taken for `reserved` (5.13.6.8.1).
      const kind = view.getUint8(at + 4) === RESV_SUBTYPE.msi ? 'msi' : 'reserved';
      const start = numberAt(view, at + 8);
      regions.push({ kind, start, end: endAt(view, at + 16) });
    }
    at += HEADER_BYTES + length;
  }
  return regions;
}

/** The last byte before `end`, which is above 0. */
export function lastOf(end: number): U64 {
  const { lo, hi } = u64Of(end);
  return lo === 0 ? { lo: 0xffff_ffff, hi: hi - 1 } : { lo: lo - 1, hi };
}

function setLanes(view: DataView, at: number, { lo, hi }: U64): void {
  view.setUint32(at, lo, true);
  view.setUint32(at + 4, hi, true);
}

function numberAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** One more than the 64-bit value: exact where that is page-aligned. */
function endAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + (view.getUint32(at, true) + 1);
}
