import { loOf } from '@iommukit/bits';
import type { MemoryView } from './memory-view.ts';

/**
 * What an observer of stores is told, after the store took effect. `bytes` is 4 or 8; the lanes are
 * unsigned, `hi` is 0 for a 32-bit store. A `cas64` that did not store is not reported.
 * @example const log: StoreObserver = { onStore: (pa) => touched.push(pa) };
 */
export interface StoreObserver {
  onStore(pa: number, lo: number, hi: number, bytes: number): void;
  onClean?(pa: number, bytes: number): void;
}

/**
 * A view that reports each store and clean to an observer and otherwise behaves as the view underneath. Composition decides who is
 * observed; an unobserved view pays nothing.
 * @example const view = observeView(memory, { onStore: (pa, lo, hi) => seen.push([pa, lo, hi]) });
 */
export function observeView(view: MemoryView, observer: StoreObserver): MemoryView {
  return {
    get hi() {
      return view.hi;
    },
    load64: (pa) => view.load64(pa),
    store64(pa, lo, hi) {
      view.store64(pa, lo, hi);
      observer.onStore(pa, loOf(lo), loOf(hi), 8);
    },
    cas64(pa, oldLo, oldHi, lo, hi) {
      const done = view.cas64(pa, oldLo, oldHi, lo, hi);
      if (done) observer.onStore(pa, loOf(lo), loOf(hi), 8);
      return done;
    },
    load32: (pa) => view.load32(pa),
    store32(pa, value) {
      view.store32(pa, value);
      observer.onStore(pa, loOf(value), 0, 4);
    },
    clean(pa, bytes) {
      view.clean(pa, bytes);
      observer.onClean?.(pa, bytes);
    },
    isBacked: (pa) => view.isBacked(pa),
    lanes: () => undefined,
    blockBytes: 4096,
    block: () => undefined,
  };
}
