import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { expect, test } from 'vitest';
import {
  type FlushOps,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  type TableFrames,
  walkTable,
} from '../src/index.ts';
import { rig } from './rig.lanes.ts';

// Flush ops written from the text of `FlushOps` alone, over a device that caches all that it may: leaves, and the tables that its walks
// went through. Invalidations wait in a batch, which one submission completes.
interface Range {
  readonly start: number;
  readonly end: number;
}

class CachingDevice {
  /** Leaves by IOVA page, and table pages with the range that the entry to each spanned. */
  readonly leaves = new Map<number, number>();
  readonly tables = new Map<number, Range>();

  /** Drops what a range covers; table entries only when they are meant too. */
  drop({ start, end }: Range, what: 'leaves' | 'leaves and tables'): void {
    for (const iova of this.leaves.keys())
      if (iova >= start && iova < end) this.leaves.delete(iova);
    if (what === 'leaves') return;
    for (const [table, range] of this.tables)
      if (range.start < end && range.end > start) this.tables.delete(table);
  }
}

class BatchingFlushOps implements FlushOps {
  submissions = 0;
  readonly #device: CachingDevice;
  #batch: (() => void)[] = [];

  constructor(device: CachingDevice) {
    this.#device = device;
  }

  tlbFlushAll(): void {
    this.#add({ start: 0, end: 2 ** 64 }, 'leaves and tables');
    this.#submit();
  }

  tlbFlushWalk(iova: number, size: number, granule: number): void {
    expect(granule).toBe(SZ_4K);
    this.#add({ start: iova, end: iova + size }, 'leaves and tables');
    this.#submit();
  }

  tlbAddPage(gather: IotlbGather, iova: number, granule: number, count: number): void {
    expect(gather.queued, 'a queued gather is told nothing').toBe(false);
    expect(count).toBeGreaterThan(0);
    const size = granule * count;
    if (gather.isDisjoint(iova, size) || (gather.pgsize !== 0 && gather.pgsize !== granule))
      this.#moveToBatch(gather);
    gather.pgsize = granule;
    gather.addRange(iova, size);
  }

  /** What the owner of the gather calls at the end. */
  sync(gather: IotlbGather): void {
    this.#moveToBatch(gather);
    this.#submit();
  }

  /** The batch takes what a gather holds: still to be completed before the sync of this gather returns. */
  #moveToBatch(gather: IotlbGather): void {
    if (!gather.isEmpty) this.#add({ start: gather.start, end: gather.end }, 'leaves');
    gather.init();
  }

  #add(range: Range, what: 'leaves' | 'leaves and tables'): void {
    this.#batch.push(() => this.#device.drop(range, what));
  }

  #submit(): void {
    if (this.#batch.length === 0) return;
    this.submissions++;
    for (const complete of this.#batch) complete();
    this.#batch = [];
  }
}

const RW = IOMMU_READ + IOMMU_WRITE;
const X = 0x4000_0000;

function machine() {
  const device = new CachingDevice();
  const flush = new BatchingFlushOps(device);
  const { table, memory, frames } = rig((parts) => ({
    flush,
    frames: {
      alloc: (bytes) => parts.frames.alloc(bytes),
      free(pa, bytes) {
        expect(device.tables.has(pa), `a freed table is cached: ${pa}`).toBe(false);
        parts.frames.free(pa, bytes);
      },
    } satisfies TableFrames,
  }));
  return {
    device,
    flush,
    table,
    frames,
    /** A DMA to a page: the device walks and caches. */
    touch(iova: number): void {
      let above: Range | undefined;
      const kind = walkTable(memory, table.shape, iova, (entry) => {
        if (above !== undefined) device.tables.set(entry.table, above);
        const span = table.shape.entrySpan(entry.level);
        above = { start: entry.iova, end: entry.iova + span };
      });
      if (kind === 'leaf') device.leaves.set(iova, table.iovaToPhys(iova));
    },
    map(iova: number, pgsize: number, count: number): void {
      expect(table.mapPages(iova, 0x8000_0000, pgsize, count, RW)).toBe(0);
      expect(table.mapped).toBe(pgsize * count);
    },
    /** What the device holds is what the tables say. */
    coherent(): void {
      for (const [iova, paddr] of device.leaves) expect(table.iovaToPhys(iova)).toBe(paddr);
    },
  };
}

test('pages that are unmapped one by one are one invalidation', () => {
  const m = machine();
  m.map(X, SZ_4K, 512);
  for (let i = 0; i < 512; i++) m.touch(X + i * SZ_4K);
  const gather = new IotlbGather();
  for (let i = 0; i < 512; i++) m.table.unmapPages(X + i * SZ_4K, SZ_4K, 1, gather);
  expect([m.flush.submissions, m.device.leaves.size]).toEqual([0, 512]);
  m.flush.sync(gather);
  expect([m.flush.submissions, m.device.leaves.size]).toEqual([1, 0]);
});

test('what does not fit into the gather, by its place or its page size, still goes before the sync returns', () => {
  const m = machine();
  m.map(X, SZ_4K, 8);
  m.map(X + SZ_2M, SZ_2M, 1);
  for (const at of [0, SZ_4K, 5 * SZ_4K, SZ_2M]) m.touch(X + at);
  const gather = new IotlbGather();
  m.table.unmapPages(X, SZ_4K, 2, gather);
  m.table.unmapPages(X + 5 * SZ_4K, SZ_4K, 1, gather);
  m.table.unmapPages(X + SZ_2M, SZ_2M, 1, gather);
  m.flush.sync(gather);
  expect([m.flush.submissions, [...m.device.leaves.keys()]]).toEqual([1, []]);
  m.coherent();
});

test('a table page is freed only after the walk flush of all that it translated', () => {
  const m = machine();
  m.map(X, SZ_4K, 512);
  m.touch(X);
  m.touch(X + 511 * SZ_4K);
  const used = m.frames.used;
  const gather = new IotlbGather();
  expect(m.table.unmapPages(X, SZ_2M, 1, gather)).toBe(SZ_2M);
  expect(m.frames.used).toBe(used - 1);
  expect(m.device.leaves.size).toBe(0);
  m.flush.sync(gather);
  m.coherent();
});

test('a large page over an emptied table flushes the walk although it is a map', () => {
  const m = machine();
  m.map(X, SZ_4K, 1);
  m.touch(X);
  const gather = new IotlbGather();
  m.table.unmapPages(X, SZ_4K, 1, gather);
  m.flush.sync(gather);
  m.map(X, SZ_2M, 1);
  expect(m.flush.submissions).toBe(2);
  m.touch(X);
  m.coherent();
});

test('a queued gather is told nothing: the flush of everything covers it', () => {
  const m = machine();
  m.map(X, SZ_4K, 4);
  m.touch(X);
  const gather = new IotlbGather();
  gather.queued = true;
  m.table.unmapPages(X, SZ_4K, 4, gather);
  expect([gather.isEmpty, m.device.leaves.size]).toEqual([true, 1]);
  m.flush.tlbFlushAll();
  expect(m.device.leaves.size).toBe(0);
});

test('freeing the table flushes everything before any table page goes', () => {
  const m = machine();
  m.map(X, SZ_4K, 4);
  m.touch(X);
  m.table.free();
  expect([m.device.leaves.size, m.device.tables.size, m.frames.used]).toEqual([0, 0, 0]);
});
