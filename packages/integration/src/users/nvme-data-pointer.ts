/*
 * Data pointers of NVMe commands: physical region pages and scatter-gather lists (NVM Express Base Specification 2.0, 4.1.1 and 4.1.2).
 * Not modelled: lists of more than one memory page, metadata, SGL segments in a controller's memory buffer, bit bucket and keyed descriptors.
 */

/** Memory page of the controller, bytes (`NVME_CTRL_PAGE_SIZE`). */
export const NVME_PAGE = 4096;
/** A PRP entry, bytes. */
export const PRP_BYTES = 8;
/** An SGL descriptor, bytes. */
export const SGL_BYTES = 16;

/** One piece of a transfer as the device is told of it; bytes. */
export interface DmaPiece {
  readonly dmaAddr: number;
  readonly length: number;
}

/** What an SGL descriptor describes: data, or the last list of descriptors (type 0h and 3h). */
export type SglType = 'data' | 'last-segment';

const TYPE_UNIT = 16;
const CODES: Readonly<Record<SglType, number>> = { data: 0, 'last-segment': 3 };

function putAddress(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

function getAddress(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** Addresses as PRP entries. */
export function encodePrps(addresses: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(addresses.length * PRP_BYTES);
  for (const [i, address] of addresses.entries()) putAddress(bytes, i * PRP_BYTES, address);
  return bytes;
}

/** PRP entries as addresses. */
export function decodePrps(bytes: Uint8Array): number[] {
  return Array.from({ length: bytes.length / PRP_BYTES }, (_, i) =>
    getAddress(bytes, i * PRP_BYTES),
  );
}

/** One SGL descriptor: address, length, and its type in the upper half of the last byte. */
export function encodeSgl({ dmaAddr, length }: DmaPiece, type: SglType): Uint8Array {
  const bytes = new Uint8Array(SGL_BYTES);
  putAddress(bytes, 0, dmaAddr);
  new DataView(bytes.buffer).setUint32(8, length, true);
  bytes[15] = CODES[type] * TYPE_UNIT;
  return bytes;
}

/** What {@link encodeSgl} made; null for another type. */
export function decodeSgl(bytes: Uint8Array, at: number): (DmaPiece & { type: SglType }) | null {
  const code = Math.floor((bytes[at + 15] ?? 0) / TYPE_UNIT);
  const type =
    code === CODES.data ? 'data' : code === CODES['last-segment'] ? 'last-segment' : null;
  if (type === null) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + 8, true);
  return { dmaAddr: getAddress(bytes, at), length, type };
}

/** The addresses of the memory pages that pieces cover, in order: every piece but the first begins at a page, every one but the last ends at one. */
export function pagesOfPieces(pieces: readonly DmaPiece[]): number[] {
  const pages: number[] = [];
  for (const { dmaAddr, length } of pieces)
    for (let at = dmaAddr; at < dmaAddr + length; at += NVME_PAGE - (at % NVME_PAGE))
      pages.push(at);
  return pages;
}
