import { describe, expect, it } from 'vitest';
import type { CoreEvent } from '../src/index.ts';
import { BatchRig, CONT, OTHER, PROT, scat, X } from './rig.ts';
import { PAGE, SLOT } from './toy-domain.ts';

const EEXIST = -17;

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
    const sva = core.domainAllocSva(device, {
      users: 1,
      tables: null,
      addNotifier: () => 0,
      removeNotifier: () => {},
    });
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
    expect(batch.mapSg(X + 8 * PAGE, scat(8, OTHER), PROT)).toBe(8 * PAGE);
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
    contiguous: [{ paddr: OTHER, length: 8 * PAGE }],
    scattered: scat(8, OTHER),
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

describe('scatter lists', () => {
  it('neighbours are joined, bus pieces and empty ones skipped; no end is lost', () => {
    const rig = new BatchRig();
    const batch = rig.begin();
    const sg = [
      { paddr: CONT, length: PAGE },
      { paddr: CONT + PAGE, length: PAGE },
      { paddr: OTHER, length: 0 },
      { paddr: OTHER, length: PAGE },
      // iommu_map_sg loses the run before a neighbouring bus piece that ends the list.
      { paddr: OTHER + PAGE, length: PAGE, bus: true },
    ];
    expect(batch.mapSg(X, sg, PROT)).toBe(3 * PAGE);
    expect(rig.phys(X, 4)).toEqual([CONT, CONT + PAGE, OTHER, 0]);
    const maps = rig.events.filter(
      (event): event is CoreEvent & { name: 'map' } => event.name === 'map',
    );
    expect(maps).toEqual([
      { name: 'map', iova: X, paddr: CONT, size: 2 * PAGE },
      { name: 'map', iova: X + 2 * PAGE, paddr: OTHER, size: PAGE },
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
