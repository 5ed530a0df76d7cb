import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { BASE, type BenchTable, flatCopy, LEAF_LO, PROT } from './bench-table.ts';

const PA = 0x2_0000_0000;
const ROOT_SPAN = 2 ** 39;

/**
 * The limit of a one-page map and unmap: a hand-written descent of four levels in one flat array, and a store. The tables are those
 * that `rig` has after each IOVA was mapped and unmapped once.
 */
export function handWrittenRounds(
  rig: BenchTable,
  bytes: number,
  iovas: Float64Array,
): () => number {
  const { table } = rig;
  for (const iova of iovas) table.mapPages(iova, PA, SZ_4K, 1, PROT);
  for (const iova of iovas) table.unmapPages(iova, SZ_4K, 1, null);
  const flat = flatCopy(rig, bytes);
  const root = (table.base - BASE) / 4;

  /** Where the leaf of an IOVA stands in the flat array; 0 when a table on the way is missing. */
  function leafIndex(iova: number): number {
    let i = root + ((iova / ROOT_SPAN) & 511) * 2;
    let lo = flat[i] as number;
    if ((lo & 3) !== 3) return 0;
    i = base(lo, flat[i + 1] as number) + ((iova / SZ_1G) & 511) * 2;
    lo = flat[i] as number;
    if ((lo & 3) !== 3) return 0;
    i = base(lo, flat[i + 1] as number) + ((iova / SZ_2M) & 511) * 2;
    lo = flat[i] as number;
    if ((lo & 3) !== 3) return 0;
    return base(lo, flat[i + 1] as number) + ((iova / SZ_4K) & 511) * 2;
  }

  return () => {
    let stored = 0;
    for (let k = 0; k < iovas.length; k++) {
      const i = leafIndex(iovas[k] as number);
      if (flat[i] !== 0) return -1;
      const paddr = PA + k * SZ_4K;
      flat[i] = LEAF_LO | paddr;
      flat[i + 1] = (paddr / 0x1_0000_0000) & 0xffff;
      stored++;
    }
    for (let k = 0; k < iovas.length; k++) {
      const i = leafIndex(iovas[k] as number);
      if (flat[i] === 0) return -1;
      flat[i] = 0;
      flat[i + 1] = 0;
      stored++;
    }
    return stored;
  };
}

/** First lane of the table that an entry points to; tables may lie anywhere in 48 bits, the array holds those from BASE on. */
function base(lo: number, hi: number): number {
  return (((hi & 0xffff) * 0x1_0000_0000 + ((lo & 0xffff_f000) >>> 0) - BASE) / 4) | 0;
}
