import { hex } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { Bouncer } from './bounce.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaError } from './dma-error.ts';
import type { DmaIovaState } from './dma-iova-state.ts';
import { cleans, type DmaLayer } from './dma-layer.ts';
import { type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
import type { RangeMapper } from './range-mapper.ts';
import { DMA_MAPPING_ERROR } from './scatter-list.ts';

/**
 * One piece to link; bytes.
 * @example const link: IovaLink = { paddr: 0x4000_0000, offset: 0, size: 0x1000, dir: 'TO_DEVICE' };
 */
export interface IovaLink {
  readonly paddr: number;
  /** From the state's first byte. Only the first piece may begin inside a granule. */
  readonly offset: number;
  readonly size: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
}

/**
 * What was linked where, as its linker remembers it: offset from the state's first byte, physical address, bytes.
 * @example const piece: LinkedPiece = { offset: 0, paddr: 0x4000_0000, size: 0x1000 };
 */
export interface LinkedPiece {
  readonly offset: number;
  readonly paddr: number;
  readonly size: number;
}

/**
 * How to unlink.
 * @example dma.iovaUnlink(dev, state, { offset: 0, size: 0x2000, dir: 'FROM_DEVICE' });
 */
export interface IovaUnlink {
  readonly offset: number;
  readonly size: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
  /** The pieces as they were linked, ascending, without gaps over the range: then no table is walked for them, except for bounced ends. */
  readonly pieces?: readonly LinkedPiece[] | undefined;
}

/**
 * How to destroy: the first `mapped` bytes are linked, and nothing else.
 * @example dma.iovaDestroy(dev, state, { mapped: state.size, dir: 'TO_DEVICE' });
 */
export interface IovaDestroy {
  readonly mapped: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
  readonly pieces?: readonly LinkedPiece[] | undefined;
}

const SIZE_LIMIT = 2 ** 63;

/** An IOVA range first, then what it maps, piece by piece (`dma_iova_try_alloc`, `dma_iova_link` and the others of `dma-iommu.c`). */
export class TwoStep {
  readonly #layer: DmaLayer;
  readonly #ranges: RangeMapper;
  readonly #bouncer: Bouncer;

  constructor(layer: DmaLayer, ranges: RangeMapper, bouncer: Bouncer) {
    this.#layer = layer;
    this.#ranges = ranges;
    this.#bouncer = bouncer;
  }

  tryAlloc(dev: DmaDevice, state: DmaIovaState, paddr: number, size: number): boolean {
    const layer = this.#layer;
    if (layer.profile.twoStepDestroy === 'absent')
      throw new DmaError(
        'NO_TWO_STEP',
        dev.name,
        'runs under a kernel without two-step mapping',
        "Use a profile from '7.2' on, or map the pieces with mapPhys or mapSg",
      );
    state.assign(0, 0);
    if (dev.space === null) return false;
    if (size === 0 || size >= SIZE_LIMIT) {
      layer.warnOn(`two-step mapping of ${hex(size)} bytes`);
      return false;
    }
    const { granule } = dev.space;
    const pad = paddr % granule;
    const iova = layer.spaces.alloc(dev, dev.space, ceilTo(size + pad, granule), dev.dmaEnd);
    if (iova === 0) return false;
    state.assign(iova + pad, size);
    return true;
  }

  link(dev: DmaDevice, state: DmaIovaState, link: IovaLink): number {
    const layer = this.#layer;
    const { paddr, offset, size, dir, attrs } = link;
    const { granule } = layer.spaceOf(dev);
    const pad = paddr % granule;
    if (pad !== 0 && offset > 0) {
      layer.warnOn('only the first piece may begin inside a granule');
      return -ERRNO.EIO;
    }
    if (attrs?.requireCoherent === true) {
      if (state.usesBounce) {
        layer.warnOn('a bounced range cannot hold memory that must be coherent');
        return -ERRNO.EOPNOTSUPP;
      }
      if (dev.coherence === 'non-coherent') return -ERRNO.EOPNOTSUPP;
    }
    if ((pad !== 0 || size % granule !== 0) && this.#bouncer.mayBounce(dev, size, dir)) {
      if (attrs?.mmio === true || attrs?.requireCoherent === true) return -ERRNO.EPERM;
      return this.#linkBounced(dev, state, link);
    }
    const bytes = ceilTo(size + pad, granule);
    return this.#map(dev, state.addr + offset - pad, paddr - pad, bytes, link);
  }

  /** Whole granules: clean, then page tables without the driver's hook (`__dma_iova_link`). */
  #map(dev: DmaDevice, iova: number, paddr: number, size: number, link: IovaLink): number {
    const { dir, attrs } = link;
    if (attrs?.mmio !== true && cleans(dev, attrs)) this.#layer.cleanForDevice(paddr, size, dir);
    const prot = dmaProt(dir, attrs, dev.coherence);
    return this.#layer.core.mapNosync(dev.domain, iova, paddr, size, prot);
  }

  /** The unaligned ends through slots, what is between them directly (`iommu_dma_iova_link_swiotlb`). */
  #linkBounced(dev: DmaDevice, state: DmaIovaState, link: IovaLink): number {
    const { paddr, offset, dir, attrs } = link;
    const { granule } = this.#layer.spaceOf(dev);
    const head = paddr % granule;
    const tail = (paddr + link.size) % granule;
    let left = link.size;
    let mapped = 0;
    if (head !== 0) {
      const size = Math.min(left, granule - head);
      const errno = this.#bounceAndMap(dev, state, { ...link, size });
      if (errno !== 0) return errno;
      mapped = size;
      left -= size;
      if (left === 0) return 0;
    }
    left -= tail;
    let errno = 0;
    if (left > 0) {
      errno = this.#map(dev, state.addr + offset + mapped, paddr + mapped, left, link);
      if (errno === 0) mapped += left;
    }
    if (errno === 0 && tail !== 0)
      errno = this.#bounceAndMap(dev, state, {
        ...link,
        paddr: paddr + mapped,
        offset: offset + mapped,
        size: tail,
      });
    if (errno !== 0 && mapped > 0) this.unlink(dev, state, { offset, size: mapped, dir, attrs });
    return errno;
  }

  /** `iommu_dma_iova_bounce_and_link`. */
  #bounceAndMap(dev: DmaDevice, state: DmaIovaState, link: IovaLink): number {
    const { granule } = this.#layer.spaceOf(dev);
    const { paddr, offset, size, dir, attrs } = link;
    const pad = paddr % granule;
    const slot = this.#bouncer.map(dev, link);
    if (slot === DMA_MAPPING_ERROR) return -ERRNO.ENOMEM;
    const bytes = ceilTo(size, granule);
    const errno = this.#map(dev, state.addr + offset - pad, slot - pad, bytes, link);
    if (errno === 0) state.usesBounce = true;
    else this.#layer.bounce?.unmap(slot, size, dir, attrs);
    return errno;
  }

  sync(dev: DmaDevice, state: DmaIovaState, offset: number, size: number): number {
    const layer = this.#layer;
    const { granule } = layer.spaceOf(dev);
    const addr = state.addr + offset;
    const pad = addr % granule;
    if (dev.coherence === 'non-coherent') layer.barrier();
    return layer.core.syncMap(dev.domain, addr - pad, ceilTo(size + pad, granule));
  }

  unlink(dev: DmaDevice, state: DmaIovaState, what: IovaUnlink): void {
    const { granule } = this.#layer.spaceOf(dev);
    this.#release(dev, state, what);
    const addr = state.addr + what.offset;
    const pad = addr % granule;
    this.#ranges.unmapNow(dev, addr - pad, ceilTo(what.size + pad, granule));
  }

  destroy(dev: DmaDevice, state: DmaIovaState, what: IovaDestroy): void {
    const { mapped, dir, attrs, pieces } = what;
    if (mapped > 0) {
      const unlink = { offset: 0, size: mapped, dir, attrs, pieces };
      if (this.#layer.profile.twoStepDestroy === 'queued') {
        // Frees as many bytes as were mapped, in the end or through the flush queue.
        this.#release(dev, state, unlink);
        this.#ranges.unmap(dev, state.addr, mapped);
        return;
      }
      this.unlink(dev, state, unlink);
    }
    this.free(dev, state);
  }

  free(dev: DmaDevice, state: DmaIovaState): void {
    const space = this.#layer.spaceOf(dev);
    const pad = state.addr % space.granule;
    const bytes = ceilTo(state.size + pad, space.granule);
    this.#layer.spaces.free(space, state.addr - pad, bytes);
  }

  /** Caches and slots of what is about to be unmapped, granule by granule (`iommu_dma_iova_unlink_range_slow`). */
  #release(dev: DmaDevice, state: DmaIovaState, what: IovaUnlink): void {
    const { dir, attrs } = what;
    const clean = attrs?.mmio !== true && cleans(dev, attrs);
    if (!state.usesBounce && !clean) return;
    const layer = this.#layer;
    const { granule } = layer.spaceOf(dev);
    const known = what.pieces === undefined ? null : this.#known(dev, state, what, what.pieces);
    const end = state.addr + what.offset + what.size;
    let at = 0;
    for (let addr = state.addr + what.offset; addr < end; at++) {
      const length = Math.min(end - addr, granule - (addr % granule));
      let paddr = known?.[at] ?? -1;
      if (paddr < 0) paddr = layer.walk(dev, addr);
      else layer.counters.walksSaved++;
      if (paddr === 0) {
        layer.warnOn(`unlink of ${hex(addr)}, which does not translate`);
        return;
      }
      if (clean) layer.cleanForCpu(paddr, length, dir);
      layer.bounce?.unmap(paddr, length, dir, attrs);
      addr += length;
    }
    if (clean) layer.barrier();
  }

  /** Physical addresses of the granules of a range from the caller's pieces, -1 for bounced ones. Throws before anything is changed. */
  #known(
    dev: DmaDevice,
    state: DmaIovaState,
    what: IovaUnlink,
    pieces: readonly LinkedPiece[],
  ): readonly number[] {
    const { granule } = this.#layer.spaceOf(dev);
    const end = what.offset + what.size;
    const known: number[] = [];
    let next = 0;
    for (let offset = what.offset; offset < end; ) {
      let piece = pieces[next];
      while (piece !== undefined && piece.offset + piece.size <= offset) piece = pieces[++next];
      if (piece === undefined || piece.offset > offset)
        throw new DmaError(
          'PIECES_INCOMPLETE',
          dev.name,
          `has no piece for offset ${hex(offset)} of the range at ${hex(state.addr)}`,
          'Pass every piece that was linked in the range, ascending',
        );
      const addr = state.addr + offset;
      const length = Math.min(end - offset, granule - (addr % granule));
      const paddr = piece.paddr + (offset - piece.offset);
      const partial = paddr % granule !== 0 || piece.offset + piece.size - offset < granule;
      if (partial && this.#bouncer.bounces(dev, piece.paddr, piece.size, what.dir, what.attrs))
        known.push(-1);
      else {
        this.#layer.checkMapped(dev, addr, paddr);
        known.push(paddr);
      }
      offset += length;
    }
    return known;
  }
}

function ceilTo(size: number, granule: number): number {
  return Math.ceil(size / granule) * granule;
}
