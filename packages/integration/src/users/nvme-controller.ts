import {
  type DmaPiece,
  decodePrps,
  decodeSgl,
  NVME_PAGE,
  PRP_BYTES,
  SGL_BYTES,
} from './nvme-data-pointer.ts';
import type { NvmeRequest } from './nvme-request.ts';

/** How a device reaches memory: by DMA addresses, through the SMMU. Null and false: refused. */
export interface DmaPort {
  deviceRead(dmaAddr: number, size: number): Uint8Array | null;
  deviceWrite(dmaAddr: number, bytes: Uint8Array): boolean;
}

/**
 * The device's side of a request: finds its memory by the command's data pointer, and fetches or stores the data.
 * @example const data = new NvmeController(port).fetch(request);
 */
export class NvmeController {
  readonly #port: DmaPort;

  constructor(port: DmaPort) {
    this.#port = port;
  }

  /** The data of a write command, or null when an access was refused or a list makes no sense. */
  fetch(request: NvmeRequest): Uint8Array | null {
    const pieces = this.#pieces(request);
    if (pieces === null) return null;
    const data = new Uint8Array(request.length);
    let at = 0;
    for (const { dmaAddr, length } of pieces) {
      const bytes = this.#port.deviceRead(dmaAddr, length);
      if (bytes === null || at + length > data.length) return null;
      data.set(bytes, at);
      at += length;
    }
    return at === data.length ? data : null;
  }

  /** Stores the data of a read command; false when an access was refused, a list makes no sense, or the data has another length. */
  store(request: NvmeRequest, data: Uint8Array): boolean {
    let at = 0;
    for (const { dmaAddr, length } of this.#pieces(request) ?? []) {
      if (!this.#port.deviceWrite(dmaAddr, data.subarray(at, at + length))) return false;
      at += length;
    }
    return at === data.length;
  }

  #pieces(request: NvmeRequest): readonly DmaPiece[] | null {
    return request.format === 'prp' ? this.#prpPieces(request) : this.#sglPieces(request);
  }

  #prpPieces({ dataPointer, length }: NvmeRequest): DmaPiece[] | null {
    const [first = 0, second = 0] = decodePrps(dataPointer);
    const room = NVME_PAGE - (first % NVME_PAGE);
    const left = length - room;
    const pages = [first];
    if (left > 0 && left <= NVME_PAGE) pages.push(second);
    else if (left > 0) {
      const bytes = this.#port.deviceRead(second, Math.ceil(left / NVME_PAGE) * PRP_BYTES);
      if (bytes === null) return null;
      pages.push(...decodePrps(bytes));
    }
    let done = 0;
    return pages.map((dmaAddr) => {
      const piece = Math.min(length - done, NVME_PAGE - (dmaAddr % NVME_PAGE));
      done += piece;
      return { dmaAddr, length: piece };
    });
  }

  #sglPieces({ dataPointer }: NvmeRequest): DmaPiece[] | null {
    const own = decodeSgl(dataPointer, 0);
    if (own === null) return null;
    if (own.type === 'data') return [own];
    const bytes = this.#port.deviceRead(own.dmaAddr, own.length);
    if (bytes === null) return null;
    const pieces: DmaPiece[] = [];
    for (let at = 0; at < bytes.length; at += SGL_BYTES) {
      const piece = decodeSgl(bytes, at);
      if (piece?.type !== 'data') return null;
      pieces.push(piece);
    }
    return pieces;
  }
}
