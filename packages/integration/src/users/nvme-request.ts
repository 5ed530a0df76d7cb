import {
  DMA_MAPPING_ERROR,
  type DmaApi,
  type DmaDevice,
  type DmaDirection,
  DmaIovaState,
} from '@iommukit/dma-api';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import { writeBytes } from '../memory-bytes.lanes.ts';
import type { DescriptorBlock, DescriptorPool } from './descriptor-pool.ts';
import {
  type DmaPiece,
  encodePrps,
  encodeSgl,
  NVME_PAGE,
  PRP_BYTES,
  pagesOfPieces,
  SGL_BYTES,
} from './nvme-data-pointer.ts';

/** A piece of a request's data (`struct bio_vec`): physical bytes. */
export interface BioVec {
  readonly paddr: number;
  readonly length: number;
}

/** What a request path is built of. */
export interface NvmeRequestPathOptions {
  readonly dma: DmaApi;
  readonly dev: DmaDevice;
  /** How the CPU sees coherent memory, where the lists are: not through a cache that the device does not snoop. */
  readonly memory: MemoryView;
  /** Lists of up to 256 bytes, and of up to a page. */
  readonly pools: { readonly small: DescriptorPool; readonly page: DescriptorPool };
  readonly format: 'prp' | 'sgl';
  /** `single`: an address for each vector, as without two-step mapping. Absent: two steps where the request allows. */
  readonly ranges?: 'single';
}

/** A request that is mapped: what its command says, and what it holds. */
export interface NvmeRequest {
  /** The command's 16 bytes of data pointer, and its kind (PSDT). */
  readonly dataPointer: Uint8Array;
  readonly format: 'prp' | 'sgl';
  readonly length: number;
  /** Entries of the list beside the command, their bytes, and those of the block that holds them; 0 without a list. */
  readonly entries: number;
  readonly listBytes: number;
  readonly blockBytes: number;
  /** Single mappings, or 0 for one range. */
  readonly mappings: number;
}

interface Mapped {
  readonly state: DmaIovaState | null;
  readonly pieces: readonly DmaPiece[];
  readonly dir: DmaDirection;
}

interface Held extends Mapped {
  readonly block: { readonly pool: DescriptorPool; readonly block: DescriptorBlock } | null;
}

/**
 * How Linux's NVMe driver maps a request, straight from its vectors: two steps where neighbouring vectors meet at page boundaries, else one
 * mapping for each (`blk_dma_map_iter_start`, `nvme_map_data`, `blk_rq_dma_unmap`). PRP lists and SGL descriptors are built in coherent memory.
 * @example const path = new NvmeRequestPath({ dma, dev, memory, pools, format: 'prp' }); const request = path.map(vectors);
 */
export class NvmeRequestPath {
  readonly #options: NvmeRequestPathOptions;
  readonly #held: Map<NvmeRequest, Held> = new Map<NvmeRequest, Held>();

  constructor(options: NvmeRequestPathOptions) {
    this.#options = options;
  }

  /** Maps a request, `FROM_DEVICE` for a read command: -ENOMEM without an address or a list, else the errno of the link; nothing stays mapped then. */
  map(vectors: readonly BioVec[], dir: DmaDirection = 'TO_DEVICE'): NvmeRequest | number {
    const segments = joinVectors(vectors);
    const mapped = this.#mapSegments(segments, dir);
    if (typeof mapped === 'number') return mapped;
    const request = this.#describe(mapped);
    if (typeof request === 'number') this.#unmap(mapped);
    return request;
  }

  /** The device has completed the request. */
  unmap(request: NvmeRequest): void {
    const held = this.#held.get(request);
    if (held === undefined) return;
    this.#held.delete(request);
    held.block?.pool.free(held.block.block);
    this.#unmap(held);
  }

  #mapSegments(segments: readonly BioVec[], dir: DmaDirection): Mapped | number {
    const { dma, dev, ranges } = this.#options;
    const first = segments[0];
    if (first === undefined) return -ERRNO.EINVAL;
    const length = segments.reduce((sum, segment) => sum + segment.length, 0);
    const state = new DmaIovaState();
    if (
      segments.length > 1 &&
      ranges !== 'single' &&
      meetAtPages(segments) &&
      dma.iovaTryAlloc(dev, state, first.paddr, length)
    )
      return this.#link(state, segments, dir);
    const pieces: DmaPiece[] = [];
    for (const { paddr, length: bytes } of segments) {
      const dmaAddr = dma.mapPhys(dev, paddr, bytes, dir);
      if (dmaAddr === DMA_MAPPING_ERROR) {
        this.#unmap({ state: null, pieces, dir });
        return -ERRNO.ENOMEM;
      }
      pieces.push({ dmaAddr, length: bytes });
    }
    return { state: null, pieces, dir };
  }

  #link(state: DmaIovaState, segments: readonly BioVec[], dir: DmaDirection): Mapped | number {
    const { dma, dev } = this.#options;
    let offset = 0;
    let errno = 0;
    for (const { paddr, length: size } of segments) {
      errno = dma.iovaLink(dev, state, { paddr, offset, size, dir });
      if (errno !== 0) break;
      offset += size;
    }
    if (errno === 0) errno = dma.iovaSync(dev, state, 0, offset);
    if (errno !== 0) {
      dma.iovaDestroy(dev, state, { mapped: offset, dir });
      return errno;
    }
    return { state, pieces: [{ dmaAddr: state.addr, length: offset }], dir };
  }

  #unmap({ state, pieces, dir }: Mapped): void {
    const { dma, dev } = this.#options;
    if (state !== null) dma.iovaDestroy(dev, state, { mapped: state.size, dir });
    else for (const { dmaAddr, length } of pieces) dma.unmapPhys(dev, dmaAddr, length, dir);
  }

  #describe(mapped: Mapped): NvmeRequest | number {
    const { format } = this.#options;
    const { pieces, state } = mapped;
    const described = format === 'prp' ? this.#prps(pieces) : this.#sgls(pieces);
    if (described === null) return -ERRNO.ENOMEM;
    const { dataPointer, entries, listBytes, block } = described;
    const request: NvmeRequest = {
      dataPointer,
      format,
      length: pieces.reduce((sum, { length }) => sum + length, 0),
      entries,
      listBytes,
      blockBytes: block?.pool.size ?? 0,
      mappings: state === null ? pieces.length : 0,
    };
    this.#held.set(request, { ...mapped, block });
    return request;
  }

  /** The first page in the command, and the second, or a list of all others. */
  #prps(pieces: readonly DmaPiece[]) {
    const [first = 0, ...others] = pagesOfPieces(pieces);
    if (others.length <= 1) return inCommand(encodePrps([first, others[0] ?? 0]));
    const list = this.#list(encodePrps(others));
    if (list === null) return null;
    const dataPointer = encodePrps([first, list.block.dmaAddr]);
    const listBytes = others.length * PRP_BYTES;
    return { dataPointer, entries: others.length, listBytes, block: list };
  }

  /** One descriptor in the command, of the data or of a list. */
  #sgls(pieces: readonly DmaPiece[]) {
    const [only] = pieces;
    if (only !== undefined && pieces.length === 1) return inCommand(encodeSgl(only, 'data'));
    const listBytes = pieces.length * SGL_BYTES;
    const bytes = new Uint8Array(listBytes);
    for (const [i, piece] of pieces.entries()) bytes.set(encodeSgl(piece, 'data'), i * SGL_BYTES);
    const list = this.#list(bytes);
    if (list === null) return null;
    const { dmaAddr } = list.block;
    const dataPointer = encodeSgl({ dmaAddr, length: listBytes }, 'last-segment');
    return { dataPointer, entries: pieces.length, listBytes, block: list };
  }

  #list(bytes: Uint8Array): { pool: DescriptorPool; block: DescriptorBlock } | null {
    const { pools, memory } = this.#options;
    const pool = bytes.length <= pools.small.size ? pools.small : pools.page;
    if (bytes.length > pool.size) return null;
    const block = pool.alloc();
    if (block === null) return null;
    writeBytes(memory, block.paddr, bytes);
    return { pool, block };
  }
}

function inCommand(dataPointer: Uint8Array) {
  return { dataPointer, entries: 0, listBytes: 0, block: null };
}

/** Vectors that follow each other in memory as one, as the block layer's iterator gives them. */
function joinVectors(vectors: readonly BioVec[]): BioVec[] {
  const joined: BioVec[] = [];
  for (const { paddr, length } of vectors) {
    const last = joined.at(-1);
    if (last !== undefined && last.paddr + last.length === paddr)
      joined[joined.length - 1] = { paddr: last.paddr, length: last.length + length };
    else joined.push({ paddr, length });
  }
  return joined;
}

/** Every segment but the first begins at a page, every one but the last ends at one: the merge boundary of the DMA layer. */
function meetAtPages(segments: readonly BioVec[]): boolean {
  return segments.every(({ paddr, length }, i) => {
    const begins = i === 0 || paddr % NVME_PAGE === 0;
    return begins && (i === segments.length - 1 || (paddr + length) % NVME_PAGE === 0);
  });
}
