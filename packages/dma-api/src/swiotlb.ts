import { log2Ceil } from '@iommukit/bits';
import type { MemoryView, Platform } from '@iommukit/platform';
import type { BounceBuffers, BounceRequest } from './bounce-buffers.ts';
import { copyBytes, zeroBytes } from './byte-copy.lanes.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaError } from './dma-error.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { DMA_MAPPING_ERROR } from './scatter-list.ts';
import {
  alignOffset,
  limitAreas,
  type SlotSearch,
  SWIOTLB_SEGMENT,
  SWIOTLB_SLOT,
  SwiotlbPool,
  slotsOf,
} from './swiotlb-pool.lanes.ts';

/**
 * Where further pools come from (`CONFIG_SWIOTLB_DYNAMIC`): physically contiguous, page aligned memory below `end`.
 * @example const growth: SwiotlbGrowth = { alloc: () => null, free() {} }; // may grow, but there is no memory
 */
export interface SwiotlbGrowth {
  /** The first byte of `bytes` bytes that end at `end` at most, or null. `now`: the caller must not wait for memory. */
  alloc(bytes: number, end: number, wait: 'now' | 'may-wait'): number | null;
  free(paddr: number, bytes: number): void;
}

/**
 * How a {@link Swiotlb} is made.
 * @example const options: SwiotlbOptions = { memory, platform, base: 0x7000_0000, size: 0x400_0000, cpus: 4 };
 */
export interface SwiotlbOptions {
  /** How the CPU sees memory: copies go through it. */
  readonly memory: MemoryView;
  /** `cpu` chooses the area; the clock runs the work that grows the pool. */
  readonly platform: Pick<Platform, 'cpu' | 'clock'>;
  /** First byte of the default pool, page aligned. */
  readonly base: number;
  /** Bytes of the default pool: a power of two, 4 KiB at least, or 0 for none (`swiotlb=`; the kernel's default is 64 MiB). */
  readonly size: number;
  /** Possible CPUs: areas, rounded up to a power of two. */
  readonly cpus: number;
  /** Absent: a full buffer stays full. */
  readonly growth?: SwiotlbGrowth;
  /** Exclusive end of memory for pools that are added; default 4 GiB. */
  readonly end?: number;
  /** What the kernel would print, without the device's name in front. */
  readonly print?: (text: string) => void;
}

/** What a {@link Swiotlb} has done and holds. @example swiotlb.report().usedSlots */
export interface SwiotlbReport {
  /** Slots of the default pool and of those that were added for good. */
  readonly slots: number;
  /** Pools, transient ones included. */
  readonly pools: number;
  readonly transientPools: number;
  readonly usedSlots: number;
  /** The most that were ever used at one time (`io_tlb_used_hiwater`). */
  readonly highWater: number;
  /** Buffers mapped so far, and requests refused. */
  readonly maps: number;
  readonly refused: number;
  /** Bytes copied from originals into slots, and back. */
  readonly copiedIn: number;
  readonly copiedOut: number;
}

/** Fewest and most slots of a pool that is added (`IO_TLB_MIN_SLABS`, the largest order of the page allocator). */
const LEAST_GROWTH = 512;
const MOST_GROWTH = 2048;

/**
 * Bounce buffers (`kernel/dma/swiotlb.c`): pools of 2 KiB slots in areas, one area for each CPU. A buffer lies in adjacent slots of one
 * segment of 128, so it has 256 KiB at most. Rate limits of messages are not modelled.
 * Source: `Documentation/core-api/swiotlb.rst`, `swiotlb_tbl_map_single`, `swiotlb_bounce`, `swiotlb_release_slots`.
 * @example const bounce = new Swiotlb({ memory, platform, base: 0x7000_0000, size: 0x400_0000, cpus: 1 }); new DmaApi({ ...options, bounce });
 */
export class Swiotlb implements BounceBuffers {
  readonly maxMappingSize: number = SWIOTLB_SLOT * SWIOTLB_SEGMENT;
  readonly #options: SwiotlbOptions;
  readonly #pools: SwiotlbPool[] = [];
  readonly #defaultSlots: number;
  readonly #defaultAreas: number;
  #slots = 0;
  #used = 0;
  #highWater = 0;
  #maps = 0;
  #refused = 0;
  #copiedIn = 0;
  #copiedOut = 0;
  #growing = false;
  #overflowed = false;
  #alignWarned = false;

  constructor(options: SwiotlbOptions) {
    const { base, size, cpus } = options;
    const whole = size === 0 || (size >= 4096 && 2 ** log2Ceil(size) === size);
    if (!whole || base % 4096 !== 0)
      throw new DmaError(
        'DMA_SETUP',
        'swiotlb',
        `has a pool of ${size} bytes at ${base}`,
        'Give it a power of two, 4096 or more, at a page',
      );
    this.#options = options;
    this.#defaultSlots = size / SWIOTLB_SLOT;
    this.#defaultAreas = limitAreas(cpus, this.#defaultSlots);
    if (size > 0)
      this.#add(new SwiotlbPool(base, this.#defaultSlots, this.#defaultAreas, 'lasting'));
  }

  get active(): boolean {
    return this.#slots > 0;
  }

  /** The figures so far. */
  report(): SwiotlbReport {
    return {
      slots: this.#slots,
      pools: this.#pools.length,
      transientPools: this.#pools.filter(({ transient }) => transient).length,
      usedSlots: this.#used,
      highWater: this.#highWater,
      maps: this.#maps,
      refused: this.#refused,
      copiedIn: this.#copiedIn,
      copiedOut: this.#copiedOut,
    };
  }

  owns(paddr: number): boolean {
    return this.#owner(paddr) !== null;
  }

  /** As {@link BounceBuffers.map}; throws {@link DmaError} `BOUNCE_SIZE` for a size of 0. */
  map(request: BounceRequest): number {
    const { device, paddr, size, allocAlignMask, attrs } = request;
    if (size === 0)
      throw new DmaError('BOUNCE_SIZE', device.name, 'maps 0 bytes', 'Map at least one byte');
    if (!this.active) {
      this.#print(
        "Can not allocate SWIOTLB buffer earlier and can't now provide you with the DMA bounce buffer",
      );
      return DMA_MAPPING_ERROR;
    }
    if (allocAlignMask > 4095 && !this.#alignWarned) {
      this.#alignWarned = true;
      this.#print('Alloc alignment may prevent fulfilling requests with max mapping_size');
    }
    const { minAlignMask, segBoundary } = device;
    const offset = alignOffset(minAlignMask, allocAlignMask, paddr);
    const unit = allocAlignMask + 1;
    const bytes = Math.ceil((size + offset) / unit) * unit;
    const search = { paddr, size: bytes, allocAlignMask, minAlignMask, segBoundary };
    const found = this.#find(device, search);
    if (found === null) {
      this.#refused++;
      if (attrs?.noWarn !== true)
        this.#print(
          `swiotlb buffer is full (sz: ${bytes} bytes), total ${this.#slots} (slots), used ${this.#used} (slots)`,
        );
      return DMA_MAPPING_ERROR;
    }
    const { pool, index } = found;
    const padSlots = Math.floor(offset / SWIOTLB_SLOT);
    const first = index + padSlots;
    pool.describe(first, slotsOf(bytes) - padSlots, search, padSlots);
    const slot = pool.start + first * SWIOTLB_SLOT + (offset % SWIOTLB_SLOT);
    this.#maps++;
    this.#copiedIn += this.#copy(pool, slot, size, 'in');
    return slot;
  }

  unmap(paddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): void {
    const pool = this.#owner(paddr);
    if (pool === null) return;
    if (attrs?.skipCpuSync !== true && writes(dir))
      this.#copiedOut += this.#copy(pool, paddr, size, 'out');
    this.#used -= pool.release(paddr);
    if (!pool.transient) return;
    this.#pools.splice(this.#pools.indexOf(pool), 1);
    this.#options.growth?.free(pool.start, pageBytes(pool.slots));
  }

  syncForDevice(paddr: number, size: number, dir: DmaDirection): void {
    const pool = this.#owner(paddr);
    if (pool !== null && (dir === 'TO_DEVICE' || dir === 'BIDIRECTIONAL'))
      this.#copiedIn += this.#copy(pool, paddr, size, 'in');
  }

  syncForCpu(paddr: number, size: number, dir: DmaDirection): void {
    const pool = this.#owner(paddr);
    if (pool !== null && writes(dir)) this.#copiedOut += this.#copy(pool, paddr, size, 'out');
  }

  zero(paddr: number, size: number): void {
    zeroBytes(this.#options.memory, paddr, size);
  }

  /** Bytes copied between slot and original, from a bounced address on (`swiotlb_bounce`). */
  #copy(pool: SwiotlbPool, address: number, size: number, way: 'in' | 'out'): number {
    const original = pool.original(address);
    if (original === null) return 0;
    let bytes = size;
    if (size > original.size) {
      if (!this.#overflowed)
        this.#print(
          `Buffer overflow detected. Allocation size: ${original.size}. Mapping size: ${size}.`,
        );
      this.#overflowed = true;
      bytes = original.size;
    }
    const { memory } = this.#options;
    if (way === 'in') copyBytes(memory, address, original.paddr, bytes);
    else copyBytes(memory, original.paddr, address, bytes);
    return bytes;
  }

  /** Slots for a request, in any pool, else in a pool of its own (`swiotlb_find_slots`). */
  #find(device: DmaDevice, search: SlotSearch): { pool: SwiotlbPool; index: number } | null {
    if (search.size > this.maxMappingSize) return null;
    for (let i = 0; i < this.#defaultAreas; i++)
      for (const pool of this.#pools) {
        if (pool.transient || i >= pool.areas) continue;
        const index = pool.take((this.#options.platform.cpu + i) % pool.areas, search);
        if (index >= 0) return this.#taken(pool, index, search);
      }
    const { growth } = this.#options;
    if (growth === undefined) return null;
    this.#scheduleGrowth(growth);
    const slots = slotsOf(search.size);
    const end = Math.min(device.dmaEnd, device.busEnd);
    const start = growth.alloc(pageBytes(slots), end, 'now');
    if (start === null) return null;
    const pool = new SwiotlbPool(start, slots, 1, 'transient');
    const index = pool.take(0, search);
    if (index < 0) {
      growth.free(start, pageBytes(slots));
      return null;
    }
    this.#pools.push(pool);
    return this.#taken(pool, index, search);
  }

  #taken(
    pool: SwiotlbPool,
    index: number,
    search: SlotSearch,
  ): { pool: SwiotlbPool; index: number } {
    this.#used += slotsOf(search.size);
    this.#highWater = Math.max(this.#highWater, this.#used);
    return { pool, index };
  }

  /** A pool for good, from a work item (`swiotlb_dyn_alloc`): as large as the default one, halved while there is no memory. */
  #scheduleGrowth(growth: SwiotlbGrowth): void {
    if (this.#growing) return;
    this.#growing = true;
    this.#options.platform.clock.schedule(0, () => {
      this.#growing = false;
      for (let slots = Math.min(this.#defaultSlots, MOST_GROWTH); ; ) {
        const start = growth.alloc(pageBytes(slots), this.#options.end ?? 2 ** 32, 'may-wait');
        if (start !== null) {
          this.#add(
            new SwiotlbPool(start, slots, limitAreas(this.#defaultAreas, slots), 'lasting'),
          );
          return;
        }
        if (slots <= LEAST_GROWTH) break;
        slots = Math.ceil(slots / 2 / SWIOTLB_SEGMENT) * SWIOTLB_SEGMENT;
      }
      this.#print('Failed to allocate new pool');
    });
  }

  #add(pool: SwiotlbPool): void {
    this.#pools.push(pool);
    this.#slots += pool.slots;
  }

  /** The pool of an address whose slot is taken. */
  #owner(paddr: number): SwiotlbPool | null {
    for (const pool of this.#pools) if (pool.holds(paddr)) return pool.isTaken(paddr) ? pool : null;
    return null;
  }

  #print(text: string): void {
    this.#options.print?.(text);
  }
}

/** The device may have written. */
function writes(dir: DmaDirection): boolean {
  return dir === 'FROM_DEVICE' || dir === 'BIDIRECTIONAL';
}

function pageBytes(slots: number): number {
  return Math.ceil((slots * SWIOTLB_SLOT) / 4096) * 4096;
}
