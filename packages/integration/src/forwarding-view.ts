import type { MemoryView } from '@iommukit/platform';

/** A view that does what `memory` does, but for the members of `own`. */
export function forwardingView(
  memory: MemoryView,
  own: Partial<Omit<MemoryView, 'hi'>>,
): MemoryView {
  return {
    get hi() {
      return memory.hi;
    },
    load64: (pa) => memory.load64(pa),
    store64: (pa, lo, hi) => memory.store64(pa, lo, hi),
    cas64: (pa, oldLo, oldHi, lo, hi) => memory.cas64(pa, oldLo, oldHi, lo, hi),
    load32: (pa) => memory.load32(pa),
    store32: (pa, value) => memory.store32(pa, value),
    clean: (pa, bytes) => memory.clean(pa, bytes),
    isBacked: (pa) => memory.isBacked(pa),
    lanes: (pa) => memory.lanes(pa),
    blockBytes: memory.blockBytes,
    block: (lo, hi) => memory.block(lo, hi),
    ...own,
  };
}
