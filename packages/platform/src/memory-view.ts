/**
 * Physical memory as one observer sees it: a CPU, a device, or a test that steps or records. The 64-bit accessors are the atomic
 * unit: no observer ever sees half of a doubleword (single-copy atomicity, DDI 0487 B2.2.1).
 *
 * Addresses are bytes, plain numbers; 64-bit accesses are 8-byte aligned, 32-bit ones 4-byte aligned.
 * Access to an address that no memory backs throws `BusError`; ask `isBacked` first where the address is data of a device.
 *
 * For who implements one:
 * - Lanes are unsigned when they come out and anything modulo 2^32 when they go in: -1 stores 0xffff_ffff.
 * - What a view stored it loads again at once; when other views see it is the view's own matter until `clean`, which nobody may see in halves.
 *   A coherent view makes it visible at once, and its `clean` only counts, or does nothing.
 * - A wrapper forwards every member, `hi` after the inner load included, and returns `undefined` from `lanes` and `block` if it must see each access.
 * - Alignment is the caller's duty, checked by nobody. Nothing but `BusError` is thrown, and nothing is stored then.
 * - The view owns no memory and frees none. Arrays that it lends stay valid as long as the memory does.
 * Source of the contract: Linux's READ_ONCE, WRITE_ONCE and cmpxchg64 on a table word, dma_sync_single_for_device for `clean`.
 * @example const lo = view.load64(0x4000_0000); const hi = view.hi;
 */
export interface MemoryView {
  /** The high lane of the last `load64` of this view; valid until the next one. Unsigned. */
  readonly hi: number;
  /** Loads a doubleword: returns its low lane (unsigned) and leaves the high lane in `hi`. */
  load64(pa: number): number;
  /** Stores a doubleword; the lanes are taken modulo 2^32. */
  store64(pa: number, lo: number, hi: number): void;
  /** Stores (lo, hi) if the doubleword equals (oldLo, oldHi); true when it did. */
  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean;
  /** Loads a 32-bit word, unsigned. */
  load32(pa: number): number;
  /** Stores a 32-bit word. */
  store32(pa: number, value: number): void;
  /** Makes this view's stores to [pa, pa + bytes) visible to every other view (a cache clean to the point of coherency). */
  clean(pa: number, bytes: number): void;
  /** True when memory backs the address. */
  isBacked(pa: number): boolean;
  /**
   * The 4 KiB page that holds `pa` as 1,024 u32 lanes, or `undefined` when every access must go through the methods above
   * (an observer is attached, the view is not coherent, the memory is shared between workers, or nothing backs the page).
   */
  lanes(pa: number): Uint32Array | undefined;
  /** Bytes of the blocks that `block` returns: a power of two, at least 4096. */
  readonly blockBytes: number;
  /**
   * The naturally aligned block of `blockBytes` bytes that holds the address in lanes (lo, hi), as u32 lanes, or `undefined` as for
   * `lanes`, and where not all of the block is memory. For walks, which stay in one block for most of their steps and never make
   * the address a number. What is stored through it must lie in pages that were stored to before.
   */
  block(lo: number, hi: number): Uint32Array | undefined;
}
