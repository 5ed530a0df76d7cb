/**
 * Index registers of the queues, IHI 0070 3.5.1: index in bits lg2-1:0, wrap flag in bit lg2, overflow or acknowledge flag in
 * bit 31. `lg2` is the effective LOG2SIZE, 0 to 19. Every register is a u32.
 */

/** Bit 31: OVFLG or OVACKFLG. Linux: `Q_OVERFLOW_FLAG`. @example (prod & QUEUE_OVERFLOW) !== (cons & QUEUE_OVERFLOW) */
export const QUEUE_OVERFLOW = 0x80000000;

/** Index of the entry, without the wrap flag. Linux: `Q_IDX`. @example queueIndex(0x13, 4) // 3 */
export function queueIndex(reg: number, lg2: number): number {
  return reg & ((1 << lg2) - 1);
}

/** Wrap flag, 0 or 1. Linux: `Q_WRP`. @example queueWrap(0x13, 4) // 1 */
export function queueWrap(reg: number, lg2: number): number {
  return (reg >>> lg2) & 1;
}

/** Whether nothing is queued: index and wrap are equal. Linux: `queue_empty`. @example queueEmpty(5, 5, 4) // true */
export function queueEmpty(prod: number, cons: number, lg2: number): boolean {
  return ((prod ^ cons) & ((2 << lg2) - 1)) === 0;
}

/** Whether every entry is used: indexes equal, wraps differ. Linux: `queue_full`. @example queueFull(0x15, 5, 4) // true */
export function queueFull(prod: number, cons: number, lg2: number): boolean {
  return ((prod ^ cons) & ((2 << lg2) - 1)) === 1 << lg2;
}

/** The register one entry further; bit 31 is kept, bits between are cleared. Linux: `queue_inc_prod_n`. @example queueNext(0xf, 4) // 0x10 */
export function queueNext(reg: number, lg2: number): number {
  return queueAdvance(reg, 1, lg2);
}

/** The register `n` entries further, 0 <= n <= 2^lg2; bit 31 is kept. Linux: `queue_inc_prod_n`. @example queueAdvance(0x1e, 3, 4) // 1 */
export function queueAdvance(reg: number, n: number, lg2: number): number {
  return ((reg & QUEUE_OVERFLOW) | ((reg + n) & ((2 << lg2) - 1))) >>> 0;
}

/** Entries in use, 0 to 2^lg2 for consistent registers. @example queueUsed(0x11, 0xf, 4) // 2 */
export function queueUsed(prod: number, cons: number, lg2: number): number {
  return (prod - cons) & ((2 << lg2) - 1);
}

/** Free entries, for consistent registers. Linux: `queue_has_space`. @example queueSpace(0x11, 0xf, 4) // 14 */
export function queueSpace(prod: number, cons: number, lg2: number): number {
  return (1 << lg2) - queueUsed(prod, cons, lg2);
}
