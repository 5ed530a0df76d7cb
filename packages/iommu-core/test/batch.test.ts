import { describe, expect, it } from 'vitest';
import { BatchDroppedError, BatchEndedError, type CoreEvent } from '../src/index.ts';
import { BatchRig, CONT, PROT, scat, X } from './batch-rig.ts';
import { PAGE, POISON, SLOT } from './toy-driver.ts';

const EEXIST = -17;
const addresses = (sg: readonly { paddr: number }[]): number[] => sg.map(({ paddr }) => paddr);
const other = 0x9_0000_0000;

describe('begin', () => {
  it('needs all of the range operations', () => {
    const { core, domain } = new BatchRig({ ranges: false });
    expect(core.beginBatch(domain)).toBe(-19);
    const half = new BatchRig({ defect: 'half of the range operations' });
    expect(half.core.beginBatch(half.domain)).toBe(-19);
  });

  it('needs a domain that core maps', () => {
    const { core, driver, device } = new BatchRig();
    const identity = driver.domainAlloc('identity');
    const sva = core.domainAllocSva(device, {});
    for (const domain of [identity, sva])
      expect(typeof domain === 'number' ? domain : core.beginBatch(domain)).toBe(-22);
  });
});

describe('S0-13 nothing to flush', () => {
  it('sends nothing for an empty batch, a second flush, maps alone', () => {
    const rig = new BatchRig({ syncMap: true });
    const batch = rig.begin();
    expect(batch.flush()).toBe(0);
    expect(rig.driver.commands).toEqual([]);
    expect(batch.mapSg(X, scat(8), PROT)).toBe(8 * PAGE);
    expect(batch.mapSg(X + 8 * PAGE, scat(8, other), PROT)).toBe(8 * PAGE);
    expect(batch.mapRange(X + 4 * SLOT, CONT, PAGE, PROT)).toBe(0);
    expect(batch.flush()).toBe(0);
    // One hook for each joined range.
    expect(rig.driver.commands).toEqual([
      ['sync_map', X, 16 * PAGE],
      ['sync_map', X + 4 * SLOT, PAGE],
    ]);
    expect(batch.flush()).toBe(0);
    expect(rig.driver.commands).toHaveLength(2);
    expect(batch.flushes).toBe(0);
  });

  it('a hole unmaps nothing and leaves no record', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    expect(batch.unmapRange(X, SLOT)).toBe(0);
    expect([batch.records, batch.bytes, batch.flush()]).toEqual([0, 0, 0]);
    expect(rig.driver.commands).toEqual([]);
  });

  it('a range of no bytes is nothing', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    expect(batch.mapRange(X, CONT, 0, PROT)).toBe(0);
    expect(batch.mapSg(X, [], PROT)).toBe(0);
    expect(batch.unmapRange(X, 0)).toBe(0);
    expect(rig.driver.rangeCalls).toBe(0);
  });
});

describe('S0-14 overlap', () => {
  function occupied() {
    const rig = new BatchRig();
    rig.core.map(rig.domain, X + 0x5000, CONT, PAGE, PROT);
    rig.clear();
    return { rig, batch: rig.begin() };
  }
  const ways = {
    contiguous: [{ paddr: other, length: 8 * PAGE }],
    scattered: scat(8, other),
  };
  for (const [name, sg] of Object.entries(ways))
    it(`${name}: refused with the page, nothing stored, nothing sent`, () => {
      const { rig, batch } = occupied();
      const before = rig.phys(X, 8);
      expect(batch.mapSg(X, sg, PROT)).toBe(EEXIST);
      expect(batch.failure).toEqual({ operation: 0, errno: EEXIST, iova: X, page: 5 });
      expect(rig.events).toContainEqual({
        name: 'batch_failure',
        operation: 0,
        errno: -17,
        iova: X,
      });
      expect(rig.phys(X, 8)).toEqual(before);
      expect(rig.driver.commands).toEqual([]);
      expect(rig.touch(X + 0x5000, 1)).toEqual([CONT]);
      expect(batch.bytes).toBe(0);
    });

  it('a block never replaces a live page, but an empty table', () => {
    const { rig, batch } = occupied();
    const block = 0x9_0000_0000;
    expect(batch.mapRange(X, block, SLOT, PROT)).toBe(EEXIST);
    expect(batch.failure?.page).toBe(5);
    rig.core.unmap(rig.domain, X + 0x5000, PAGE);
    rig.clear();
    expect(batch.mapRange(X, block, SLOT, PROT)).toBe(0);
    expect(rig.driver.commands).toEqual([['inv', X, X + SLOT, 0], ['sync']]);
    expect(rig.driver.frames.used).toBe(0);
  });
});

describe('S0-17 what is remembered', () => {
  it('S0-5: 32 records for 64 lists, whatever their length', () => {
    for (const pages of [1, 64, 256]) {
      const rig = new BatchRig();
      const batch = rig.begin();
      for (let i = 0; i < 32; i++) batch.mapSg(X + i * SLOT, scat(pages), PROT);
      for (let i = 0; i < 32; i++)
        expect(batch.unmapRange(X + i * SLOT, pages * PAGE)).toBe(pages * PAGE);
      for (let i = 32; i < 64; i++) batch.mapSg(X + i * SLOT, scat(pages), PROT);
      expect([batch.bytes, batch.records, batch.detached]).toEqual([768, 32, 0]);
      expect(rig.driver.rangeCalls).toBe(96);
      expect(rig.sent).toEqual([0, 0]);
      expect(batch.flush()).toBe(0);
      expect(rig.sent).toEqual([32, 1]);
      expect([batch.bytes, batch.peakBytes, batch.flushes, batch.earlyFlushes]).toEqual([
        0, 768, 1, 0,
      ]);
      expect(rig.end()).toBe(0);
    }
  });

  it('S0-6: adjacent buffers are one record, and one for each table', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    batch.mapSg(X, scat(4096), PROT);
    expect(rig.driver.frames.used).toBe(8);
    expect(batch.unmapRange(X, 4096 * PAGE)).toBe(4096 * PAGE);
    expect([batch.bytes, batch.records, batch.detached]).toEqual([88, 1, 8]);
    expect(rig.driver.frames.used).toBe(8);
    batch.flush();
    expect(rig.driver.commands).toEqual([['inv', X, X + 8 * SLOT, 0], ['sync']]);
    expect(rig.driver.frames.used).toBe(0);
    // The same in 64 unmaps: no table is covered by one of them.
    batch.mapSg(X, scat(4096), PROT);
    for (let i = 0; i < 64; i++) batch.unmapRange(X + i * 64 * PAGE, 64 * PAGE);
    expect([batch.bytes, batch.detached]).toEqual([24, 0]);
  });

  it('maps cost 16 bytes for each joined range, only where the driver has the hook', () => {
    for (const [syncMap, bytes] of [
      [false, 0],
      [true, 16],
    ] as const) {
      const rig = new BatchRig({ syncMap });
      const batch = rig.begin();
      for (let i = 0; i < 10; i++) batch.mapRange(X + i * PAGE, CONT, PAGE, PROT);
      expect(batch.bytes).toBe(bytes);
    }
  });

  it('what is unmapped again need not be published', () => {
    const rig = new BatchRig({ syncMap: true });
    const batch = rig.begin();
    batch.mapRange(X, CONT, 8 * PAGE, PROT);
    batch.unmapRange(X + 2 * PAGE, PAGE);
    expect(batch.bytes).toBe(24 + 2 * 16);
    batch.flush();
    expect(rig.driver.commands).toEqual([
      ['inv', X + 2 * PAGE, X + 3 * PAGE, 1],
      ['sync'],
      ['sync_map', X, 2 * PAGE],
      ['sync_map', X + 3 * PAGE, 5 * PAGE],
    ]);
  });
});

describe('a map that meets a pending range (R7, S0-9, S0-10)', () => {
  const old = scat(512);
  const next = scat(512, other);
  function warm(options: Parameters<BatchRig['begin']>[0]) {
    const rig = new BatchRig();
    rig.core.mapSg(rig.domain, X, old, PROT);
    rig.touch(X, 16);
    rig.clear();
    return { rig, batch: rig.begin(options) };
  }

  it('flushes first', () => {
    const { rig, batch } = warm({});
    expect(batch.unmapRange(X, SLOT)).toBe(SLOT);
    expect(batch.mapSg(X, next, PROT)).toBe(SLOT);
    expect(rig.driver.commands).toEqual([['inv', X, X + SLOT, 0], ['sync']]);
    expect([batch.flushes, batch.earlyFlushes, batch.bytes]).toEqual([1, 1, 0]);
    expect(rig.touch(X, 512)).toEqual(addresses(next));
    batch.flush();
    expect(rig.sent).toEqual([1, 1]);
    expect(rig.events.filter(({ name }) => name === 'batch_flush')).toEqual([
      { name: 'batch_flush', cause: 'early', records: 1, tables: 1 },
    ]);
  });

  it('with tables reused: leaves only, no allocation', () => {
    const { rig, batch } = warm({ reuseTables: true });
    const { allocations } = rig.driver.frames;
    batch.unmapRange(X, SLOT);
    batch.mapSg(X, next, PROT);
    expect(rig.driver.commands).toEqual([['inv', X, X + SLOT, 1], ['sync']]);
    expect(rig.driver.frames.allocations).toBe(allocations);
    expect(rig.touch(X, 512)).toEqual(addresses(next));
  });

  it('quiesced: nothing early; a device that breaks the promise reaches the old pages', () => {
    for (const [reuseTables, stale] of [
      [false, 512],
      [true, 16],
    ] as const) {
      const { rig, batch } = warm({ quiesced: true, reuseTables });
      batch.unmapRange(X, SLOT);
      batch.mapSg(X, next, PROT);
      expect(rig.driver.commands).toEqual([]);
      const early = rig.touch(X, 512);
      expect(early.filter((paddr, i) => paddr === old[i]?.paddr)).toHaveLength(stale);
      batch.flush();
      expect([rig.sent, batch.earlyFlushes]).toEqual([[1, 1], 0]);
      expect(rig.touch(X, 512)).toEqual(addresses(next));
      expect(rig.end()).toBe(0);
    }
  });

  it('leaves other ranges pending together', () => {
    const { rig, batch } = warm({});
    rig.core.mapSg(rig.domain, X + SLOT, scat(4), PROT);
    batch.unmapRange(X, 4 * PAGE);
    batch.mapSg(X + 2 * SLOT, scat(4), PROT);
    batch.mapSg(X + SLOT + 4 * PAGE, scat(4), PROT);
    expect([batch.earlyFlushes, batch.records]).toEqual([0, 1]);
    batch.mapRange(X + 3 * PAGE, CONT, PAGE, PROT);
    expect([batch.earlyFlushes, batch.records]).toEqual([1, 0]);
  });

  it('a map beside the batch flushes it too', () => {
    const { rig, batch } = warm({});
    batch.unmapRange(X, SLOT);
    expect(rig.core.map(rig.domain, X, other, PAGE, PROT)).toBe(0);
    expect([batch.earlyFlushes, batch.records]).toEqual([1, 0]);
    expect(rig.touch(X, 1)).toEqual([other]);
  });

  it('S0-18: memory at its peak', () => {
    const rows = [
      [{}, 18 - 2, 1, 16],
      [{ quiesced: true }, 32, 1, 16],
      [{ reuseTables: true }, 16, 1, 0],
    ] as const;
    for (const [options, peak, syncs, allocations] of rows) {
      const rig = new BatchRig();
      const batch = rig.begin(options);
      for (let i = 0; i < 16; i++) batch.mapSg(X + i * SLOT, scat(512), PROT);
      const before = rig.driver.frames.allocations;
      for (let i = 0; i < 16; i++) batch.unmapRange(X + i * SLOT, SLOT);
      for (let i = 0; i < 16; i++) batch.mapSg(X + i * SLOT, scat(512, other), PROT);
      batch.flush();
      expect(rig.sent).toEqual([1, syncs]);
      expect(rig.driver.frames.peak).toBe(peak);
      expect(rig.driver.frames.allocations - before).toBe(allocations);
    }
    const rig = new BatchRig();
    const batch = rig.begin();
    for (let i = 0; i < 16; i++) batch.mapSg(X + i * SLOT, scat(512), PROT);
    for (let i = 0; i < 16; i++) {
      batch.unmapRange(X + i * SLOT, SLOT);
      batch.mapSg(X + i * SLOT, scat(512, other), PROT);
    }
    batch.flush();
    expect([rig.sent, rig.driver.frames.peak]).toEqual([[16, 16], 16]);
  });
});

describe('freed only after the flush (S0-11)', () => {
  it('a walker never sees a freed table', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    batch.mapSg(X, scat(4096), PROT);
    rig.touch(X, 4096);
    batch.unmapRange(X, 4096 * PAGE);
    // Old translations may live on until the flush, but never rubbish.
    expect(rig.touch(X, 4096)).not.toContain(POISON);
    expect(rig.driver.frames.used).toBe(8);
    batch.flush();
    expect(rig.driver.frames.used).toBe(0);
    expect(new Set(rig.touch(X, 4096))).toEqual(new Set([undefined]));
  });
});

describe('failure', () => {
  it('S0-12: at the k-th table, alone, named; nothing lost', () => {
    const list = scat(4 * 512, other);
    for (let k = 1; k <= 5; k++) {
      const rig = new BatchRig();
      const batch = rig.begin();
      batch.mapSg(X, scat(512), PROT);
      batch.unmapRange(X, SLOT);
      batch.mapRange(X + 8 * SLOT, CONT, PAGE, PROT);
      rig.driver.frames.failAt = k;
      const before = [rig.phys(X, 2048), rig.driver.frames.used, batch.bytes];
      const result = batch.mapSg(X + SLOT, list, PROT);
      rig.driver.frames.failAt = 0;
      if (k <= 4) {
        expect(result).toBe(-12);
        expect(batch.failure).toEqual({ operation: 3, errno: -12, iova: X + SLOT, page: -1 });
        expect([rig.phys(X, 2048), rig.driver.frames.used, batch.bytes]).toEqual(before);
        expect(rig.sent).toEqual([0, 0]);
        // Earlier operations stand, and a retry works.
        expect(rig.phys(X + 8 * SLOT, 1)).toEqual([CONT]);
        expect(batch.mapSg(X + SLOT, list, PROT)).toBe(list.length * PAGE);
      } else expect(result).toBe(list.length * PAGE);
      batch.flush();
      expect(rig.sent).toEqual([1, 1]);
      expect(rig.phys(X + SLOT, list.length)).toEqual(addresses(list));
      expect(rig.end()).toBe(0);
    }
  });

  it('a flush that times out keeps records and tables', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    batch.mapSg(X, scat(512), PROT);
    batch.unmapRange(X, SLOT);
    rig.toy.flushErrno = -110;
    expect(batch.flush()).toBe(-110);
    expect([batch.bytes, rig.driver.frames.used]).toEqual([32, 1]);
    // A map that needs it fails alone.
    expect(batch.mapSg(X, scat(4, other), PROT)).toBe(-110);
    expect(batch.failure?.operation).toBe(2);
    expect(rig.core.map(rig.domain, X, other, PAGE, PROT)).toBe(-110);
    rig.toy.flushErrno = 0;
    expect(batch.flush()).toBe(0);
    expect([batch.bytes, rig.driver.frames.used]).toEqual([0, 0]);
  });

  it('a range that is not published stays mapped, and is tried again', () => {
    const rig = new BatchRig({ syncMap: true });
    const batch = rig.begin();
    batch.mapRange(X, CONT, PAGE, PROT);
    batch.mapRange(X + SLOT, CONT, PAGE, PROT);
    rig.toy.syncMapErrno = -12;
    expect(batch.flush()).toBe(-12);
    expect(batch.failure).toEqual({ operation: -1, errno: -12, iova: X + SLOT, page: -1 });
    expect([batch.failures, batch.bytes]).toEqual([2, 32]);
    rig.toy.syncMapErrno = 0;
    expect(batch.flush()).toBe(0);
    expect(rig.driver.count('sync_map')).toBe(4);
  });

  it('unaligned values, and no protection', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    expect(batch.mapRange(X + 1, CONT, PAGE, PROT)).toBe(-22);
    expect(batch.mapRange(X, CONT + 8, PAGE, PROT)).toBe(-22);
    expect(batch.mapSg(X, [{ paddr: CONT, length: 12 }], PROT)).toBe(-22);
    expect(batch.mapRange(X, CONT, PAGE, 0)).toBe(-22);
    expect(batch.unmapRange(X + 1, PAGE)).toBe(0);
    expect(batch.unmapRange(X, 12)).toBe(0);
    expect([rig.warnings, batch.operations, batch.failures]).toEqual([5, 6, 4]);
  });
});

describe('scatter lists', () => {
  it('neighbours are joined, bus pieces and empty ones skipped; no end is lost', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    const sg = [
      { paddr: CONT, length: PAGE },
      { paddr: CONT + PAGE, length: PAGE },
      { paddr: other, length: 0 },
      { paddr: other, length: PAGE },
      // iommu_map_sg loses the run before a neighbouring bus piece that ends the list.
      { paddr: other + PAGE, length: PAGE, bus: true },
    ];
    expect(batch.mapSg(X, sg, PROT)).toBe(3 * PAGE);
    expect(rig.phys(X, 4)).toEqual([CONT, CONT + PAGE, other, 0]);
    const maps = rig.events.filter(
      (event): event is CoreEvent & { name: 'map' } => event.name === 'map',
    );
    expect(maps).toEqual([
      { name: 'map', iova: X, paddr: CONT, size: 2 * PAGE },
      { name: 'map', iova: X + 2 * PAGE, paddr: other, size: PAGE },
    ]);
    batch.unmapRange(X, 4 * PAGE);
    expect(rig.events.at(-1)).toEqual({
      name: 'unmap',
      iova: X,
      size: 4 * PAGE,
      unmappedSize: 3 * PAGE,
    });
  });
});

describe('a batch that is dropped', () => {
  function dropped() {
    const rig = new BatchRig({ syncMap: true });
    const batch = rig.begin();
    batch.mapSg(X, scat(512), PROT);
    batch.unmapRange(X, SLOT);
    batch.mapRange(X + SLOT, CONT, PAGE, PROT);
    return { rig, batch };
  }
  const remains = {
    ranges: [{ start: X, end: X + SLOT, leafSize: 0 }],
    tables: 1,
    unpublished: 1,
  };

  const uses: [string, (rig: BatchRig) => unknown][] = [
    ['the next begin', ({ core, domain }) => core.beginBatch(domain)],
    ['the release of the last device', ({ core, device }) => core.releaseDevice(device)],
    [
      'a change of the type',
      ({ core, device }) => core.setGroupType(device.group as never, 'identity'),
    ],
  ];
  for (const [name, use] of uses)
    it(`is reported by ${name}, and still works`, () => {
      const { rig, batch } = dropped();
      const thrown = ((): unknown => {
        try {
          return use(rig);
        } catch (error) {
          return error;
        }
      })();
      expect(thrown).toBeInstanceOf(BatchDroppedError);
      expect((thrown as BatchDroppedError).operands).toEqual(remains);
      expect((thrown as BatchDroppedError).code).toBe('BATCH_DROPPED');
      expect(batch.flush()).toBe(0);
      expect(() => use(rig)).not.toThrow();
    });

  it('is reported by domainFree', () => {
    const rig = new BatchRig();
    const domain = rig.core.domainAllocUnmanaged(rig.device);
    if (typeof domain === 'number') throw new Error('no domain');
    const batch = rig.core.beginBatch(domain);
    if (typeof batch === 'number') throw new Error('no batch');
    batch.mapRange(X, CONT, PAGE, PROT);
    batch.unmapRange(X, PAGE);
    expect(() => rig.core.domainFree(domain)).toThrow('BATCH_DROPPED');
    batch.flush();
    rig.core.domainFree(domain);
    expect(() => batch.flush()).toThrow(BatchEndedError);
  });

  it('abandoned: tables come back, nothing is sent, and it has ended', () => {
    const { rig, batch } = dropped();
    rig.clear();
    expect(batch.abandon()).toEqual(remains);
    expect(rig.driver.commands).toEqual([]);
    expect(rig.driver.frames.used).toBe(1);
    expect(rig.domain.batch).toBeNull();
    expect(() => batch.mapRange(X, CONT, PAGE, PROT)).toThrow('BATCH_ENDED');
    expect(rig.end()).toBe(0);
  });

  it('with nothing pending is no misuse', () => {
    const { rig, batch } = dropped();
    batch.flush();
    const next = rig.begin();
    expect(next).not.toBe(batch);
    expect(() => batch.unmapRange(X, PAGE)).toThrow('BATCH_ENDED');
  });
});
