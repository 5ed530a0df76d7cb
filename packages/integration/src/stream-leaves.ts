import { CD, L1STD, STE, VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';

/**
 * One leaf that a stream can reach: where it maps and its raw descriptor.
 * @example const page: StreamLeaf = { streamId: 8, iova: 0xfffff000, size: 4096, lo: 0x44000f47, hi: 0 };
 */
export interface StreamLeaf {
  readonly streamId: number;
  readonly iova: number;
  readonly size: number;
  readonly lo: number;
  readonly hi: number;
}

/**
 * Where a stream table lies, from STRTAB_BASE and STRTAB_BASE_CFG.
 * @example const table: StreamTableLocation = { base: 0x4633b000, fmt: 1, split: 8, log2size: 16 };
 */
export interface StreamTableLocation {
  readonly base: number;
  /** 0 linear, 1 two-level. */
  readonly fmt: number;
  readonly split: number;
  readonly log2size: number;
}

const STE_BYTES = 64;
/** Bytes that an entry of each level spans with a 4 KiB granule, level 0 first (DDI 0487 D8.2). */
const SPAN = [2 ** 39, 2 ** 30, 2 ** 21, 2 ** 12] as const;
const CONFIG_S1 = 5;

/** Reads `count` doublewords as lanes. */
export function readLanes(memory: MemoryView, pa: number, count: number): Uint32Array {
  const words = new Uint32Array(count * 2);
  for (let q = 0; q < count; q++) {
    words[q * 2] = memory.load64(pa + q * 8);
    words[q * 2 + 1] = memory.hi;
  }
  return words;
}

/** The STEs of a stream table that lie in memory: stream id and physical address. */
export function* streamEntries(
  memory: MemoryView,
  table: StreamTableLocation,
): Generator<{ readonly streamId: number; readonly pa: number }> {
  const { base, fmt, split, log2size } = table;
  if (fmt === 0) {
    for (let sid = 0; sid < 2 ** log2size; sid++)
      yield { streamId: sid, pa: base + sid * STE_BYTES };
    return;
  }
  for (let index = 0; index < 2 ** (log2size - split); index++) {
    const descriptor = readLanes(memory, base + index * 8, 1);
    const span = L1STD.get.Span(descriptor);
    if (span === 0) continue;
    const l2 = L1STD.get.L2Ptr(descriptor);
    for (let i = 0; i < 2 ** (span - 1); i++)
      yield { streamId: index * 2 ** split + i, pa: l2 + i * STE_BYTES };
  }
}

/**
 * Every leaf of every stage-1 stream of a stream table, found by walking memory: a walker of its own, without a line of the page-table
 * package or of the model. Stage 1, one CD, TTB0, 4 KiB granule; other streams have no leaves here.
 * @example for (const leaf of streamLeaves(memory, table)) count++;
 */
export function* streamLeaves(
  memory: MemoryView,
  table: StreamTableLocation,
): Generator<StreamLeaf> {
  for (const { streamId, pa } of streamEntries(memory, table)) {
    const ste = readLanes(memory, pa, 8);
    if (STE.get.V(ste) === 0 || STE.get.Config(ste) !== CONFIG_S1) continue;
    const cd = readLanes(memory, STE.get.S1ContextPtr(ste), 8);
    if (CD.get.V(cd) === 0 || CD.get.TG0(cd) !== 0) continue;
    const level = 3 - Math.floor((64 - CD.get.T0SZ(cd) - 12 - 1) / 9);
    yield* tableLeaves(memory, CD.get.TTB0(cd), { streamId, level, iova: 0 });
  }
}

function* tableLeaves(
  memory: MemoryView,
  table: number,
  at: { readonly streamId: number; readonly level: number; readonly iova: number },
): Generator<StreamLeaf> {
  const { streamId, level } = at;
  const size = SPAN[level] as number;
  for (let i = 0; i < 512; i++) {
    const lo = memory.load64(table + i * 8);
    const hi = memory.hi;
    const type = lo % 4;
    if (type !== 1 && type !== 3) continue;
    const iova = at.iova + i * size;
    if (level < 3 && type === 3)
      yield* tableLeaves(memory, VMSAV8_64_TABLE.get.NextTable([lo, hi]), {
        streamId,
        level: level + 1,
        iova,
      });
    else if (level < 3 || type === 3) yield { streamId, iova, size, lo, hi };
  }
}
