import { describe, expect, it } from 'vitest';
import { BatchDroppedError, BatchEndedError } from '../src/index.ts';
import { addresses, BatchRig, CONT, OTHER, PROT, scat, X } from './rig.ts';
import { PAGE, SLOT } from './toy-domain.ts';

describe('failure', () => {
  it('S0-12: at the k-th table, alone, named; nothing lost', () => {
    const list = scat(4 * 512, OTHER);
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
    expect(batch.mapSg(X, scat(4, OTHER), PROT)).toBe(-110);
    expect(batch.failure?.operation).toBe(2);
    expect(rig.core.map(rig.domain, X, OTHER, PAGE, PROT)).toBe(-110);
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
