import { CD, CD_BYTES, S1FMT, STE, VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import { readLanes } from '../stream-leaves.ts';

/** `STE.Config`: bypass, and stage 1 alone. */
const [CONFIG_BYPASS, CONFIG_S1] = [4, 5];
/** Bytes that an entry of each level spans with a 4 KiB granule (DDI 0487 D8.2). */
const SPAN = [2 ** 39, 2 ** 30, 2 ** 21, 2 ** 12] as const;
const LEAF = 3;
/** AP[2:1] of a leaf: bit 7 is "read only" (DDI 0487 D8.4). */
const READ_ONLY = 128;

/** One access; a stream without PASID has `pasid` null. */
export interface PlainAccess {
  readonly streamId: number;
  readonly pasid: number | null;
  readonly iova: number;
  readonly rw: 'read' | 'write';
}

/**
 * A second SMMU, as short as it can be: no cache, no queue, no register but where the stream table lies; each access is answered from memory
 * alone. Linear stream and CD tables, stage 1 with 4 KiB pages. It shares nothing with the model but the layouts.
 */
export class PlainSmmu {
  readonly #memory: MemoryView;
  readonly #entryOf: (streamId: number) => number;

  /** `entryOf`: the physical address of the STE of a stream. */
  constructor(memory: MemoryView, entryOf: (streamId: number) => number) {
    this.#memory = memory;
    this.#entryOf = entryOf;
  }

  /** The physical address, or the event that refuses the access. */
  access({ streamId, pasid, iova, rw }: PlainAccess): number | string {
    const ste = readLanes(this.#memory, this.#entryOf(streamId), 8);
    if (STE.get.V(ste) === 0) return 'C_BAD_STE';
    const config = STE.get.Config(ste);
    if (config === CONFIG_BYPASS) return iova;
    if (config !== CONFIG_S1 || STE.get.S1Fmt(ste) !== S1FMT.LINEAR) return 'C_BAD_STE';
    const ssid = pasid ?? 0;
    if (ssid >= 2 ** STE.get.S1CDMax(ste)) return 'C_BAD_SUBSTREAMID';
    const cd = readLanes(this.#memory, STE.get.S1ContextPtr(ste) + ssid * CD_BYTES, 8);
    if (CD.get.V(cd) === 0) return 'C_BAD_CD';
    if (iova >= 2 ** (64 - CD.get.T0SZ(cd))) return 'F_TRANSLATION';
    const level = LEAF - Math.floor((64 - CD.get.T0SZ(cd) - 12 - 1) / 9);
    return this.#walk(CD.get.TTB0(cd), level, iova, rw);
  }

  #walk(start: number, first: number, iova: number, rw: 'read' | 'write'): number | string {
    const memory = this.#memory;
    let table = start;
    for (let level = first; level <= LEAF; level++) {
      const size = SPAN[level] as number;
      const lo = memory.load64(table + (Math.floor(iova / size) % 512) * 8);
      const words = [lo, memory.hi] as const;
      const type = lo % 4;
      if (type % 2 === 0 || (type === 1 && level === LEAF)) return 'F_TRANSLATION';
      const next = VMSAV8_64_TABLE.get.NextTable(words);
      if (type === 1 || level === LEAF) {
        if (rw === 'write' && Math.floor(lo / READ_ONLY) % 2 === 1) return 'F_PERMISSION';
        return next - (next % size) + (iova % size);
      }
      table = next;
    }
    return 'F_TRANSLATION';
  }
}
