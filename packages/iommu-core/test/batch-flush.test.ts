import { describe, expect, it } from 'vitest';
import { addresses, BatchRig, CONT, OTHER, PROT, scat, X } from './rig.ts';
import { PAGE, POISON, SLOT } from './toy-domain.ts';

describe('a map that meets a pending range (R7, S0-9, S0-10)', () => {
  const old = scat(512);
  const next = scat(512, OTHER);
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
    expect(rig.core.map(rig.domain, X, OTHER, PAGE, PROT)).toBe(0);
    expect([batch.earlyFlushes, batch.records]).toEqual([1, 0]);
    expect(rig.touch(X, 1)).toEqual([OTHER]);
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
      for (let i = 0; i < 16; i++) batch.mapSg(X + i * SLOT, scat(512, OTHER), PROT);
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
      batch.mapSg(X + i * SLOT, scat(512, OTHER), PROT);
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
