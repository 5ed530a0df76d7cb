// Every count of S1: scenarios.test.ts. Here: what breaks them.
import { DmaApi, Swiotlb } from '@iommukit/dma-api';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { dmaCase } from '../src/scenarios/dma-rig.ts';
import { runScenarios } from '../src/scenarios/run-scenarios.ts';
import { runScenario, type ScenarioRun } from '../src/scenarios/scenario.ts';

/** The cases of a scenario that are not as expected. */
function wrong(id: string): readonly ScenarioRun[] {
  return runScenarios([id]).scenarios.flatMap(({ runs }) => runs.filter(({ ok }) => !ok));
}

describe('one defect each, and what notices it', () => {
  afterEach(() => vi.restoreAllMocks());

  test('destroy frees the mapped part of the IOVA only: S1-5', () => {
    const { iovaDestroy } = DmaApi.prototype;
    vi.spyOn(DmaApi.prototype, 'iovaDestroy').mockImplementation(function (
      this: DmaApi,
      dev,
      state,
      what,
    ) {
      if (what.mapped > 0) state.assign(state.addr, what.mapped);
      iovaDestroy.call(this, dev, state, what);
    });
    const [run] = wrong('S1-5').filter(({ way }) => way.startsWith('destroy'));
    expect(run?.broken.join()).toContain('512 granules freed of 1024');
  });

  test('a link error loses the bounce slot: S1-10', () => {
    vi.spyOn(Swiotlb.prototype, 'unmap').mockImplementation(() => {});
    const runs = wrong('S1-10');
    expect(runs.map(({ way }) => way)).toContain('no slot for the tail');
    for (const { broken } of runs) expect(broken.join()).toContain('bounce slots leak');
  });

  test('a sync too many: S1-1 and S1-6', () => {
    const { iovaSync } = DmaApi.prototype;
    vi.spyOn(DmaApi.prototype, 'iovaSync').mockImplementation(function (this: DmaApi, ...args) {
      iovaSync.apply(this, args);
      return iovaSync.apply(this, args);
    });
    const [first] = wrong('S1-1').filter(({ way }) => way.startsWith('two-step'));
    expect(first?.differences).toEqual(['hook: expected 1, got 2']);
    expect(wrong('S1-6').map(({ way }) => way)).toEqual([
      'a driver with the hook',
      'whose hook fails',
    ]);
  });

  test('an unlink that leaves the invalidation to somebody else: S1-2, S1-4', () => {
    const { iovaUnlink } = DmaApi.prototype;
    vi.spyOn(DmaApi.prototype, 'iovaUnlink').mockImplementation(function (
      this: DmaApi,
      dev,
      ...args
    ) {
      const { ops } = dev.domain;
      const sync = ops.iotlbSync;
      ops.iotlbSync = () => {};
      iovaUnlink.call(this, dev, ...args);
      ops.iotlbSync = sync;
    });
    const [run] = wrong('S1-4').filter(({ way }) => way === 'unlink 32..47');
    expect(run?.differences).toContain('VA: expected 1, got 0');
    expect(run?.broken.join()).toContain('the device reads fffe0000 at 880040000, expected -1');
  });

  test('a range that stays, pages that stay, a slot that stays', () => {
    const one = dmaCase({
      way: 'leaks',
      rig: { untrusted: true, misuse: true },
      run(dma) {
        dma.api.mapPhys(dma.dev, 0x4100_0200, 0x400, 'TO_DEVICE');
        return { leaks: dma.leaks() };
      },
      expected: { leaks: 0 },
    });
    const { runs } = runScenario({ id: 'T', title: 'leaks', cases: () => [one] });
    expect(runs[0]?.broken).toEqual([
      '1 pages stay mapped',
      '1 IOVA ranges leak',
      '2 bounce slots leak',
    ]);
  });
});
