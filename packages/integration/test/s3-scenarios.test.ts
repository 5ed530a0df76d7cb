// Every count of S3: scenarios.test.ts. Here: what breaks them.
import { DmaApi, type DmaHandle, Swiotlb } from '@iommukit/dma-api';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { runScenarios } from '../src/scenarios/run-scenarios.ts';
import type { ScenarioRun } from '../src/scenarios/scenario.ts';

/** With `npm run soak` only: the defects of scenarios with 1000 buffers of which another test here runs the like. */
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

/** The cases of a scenario that are not as expected. */
function wrong(id: string): readonly ScenarioRun[] {
  return runScenarios([id]).scenarios.flatMap(({ runs }) => runs.filter(({ ok }) => !ok));
}

test('handles are tried in checking mode: 1000 of 1000 name what the tables and the device say', () => {
  const { runs } = runScenarios(['S3-4']).scenarios[0] ?? { runs: [] };
  expect(runs.map(({ way, counts }) => [way, counts['named'], counts['checks']])).toEqual([
    ['K', 0, 0],
    ['Q', 0, 0],
    ['H', 1000, 0],
    ['H checking', 1000, 1000],
  ]);
});

describe('one defect each, and what notices it', () => {
  afterEach(() => vi.restoreAllMocks());

  if (SOAK)
    test('an unmap hands the original page to the bounce code: wrong bytes, slots leak', () => {
      const { unmap } = Swiotlb.prototype;
      vi.spyOn(Swiotlb.prototype, 'unmap').mockImplementation(function (this: Swiotlb, _, ...rest) {
        unmap.call(this, 0x4100_0200, ...rest);
      });
      const runs = wrong('S3-4');
      expect(runs.map(({ way }) => way)).toEqual(['K', 'Q', 'H', 'H checking']);
      for (const { differences, broken } of runs) {
        expect(differences).toContain('filled: expected 1000, got 0');
        expect(broken.join()).toContain('2000 bounce slots leak');
      }
    });

  if (SOAK)
    test('a handle whose sync for the CPU does nothing: other work than by address', () => {
      vi.spyOn(DmaApi.prototype, 'syncHandleForCpu').mockImplementation(() => {});
      const runs = wrong('S3-3');
      expect(runs.map(({ way }) => way)).toEqual(['H', 'H checking']);
      for (const { differences, broken } of runs) {
        expect(differences).toContain('linesIn: expected 128000, got 64000');
        expect(differences).toContain('same: expected 4000, got 3000');
        expect(broken.join()).toContain('invalidate 41000000 1000');
      }
    });

  test('handles without generation: a stale one takes the mapping of another', () => {
    const { mapPhysHandle, unmapHandle } = DmaApi.prototype;
    const newest = new Map<number, DmaHandle>();
    vi.spyOn(DmaApi.prototype, 'mapPhysHandle').mockImplementation(function (
      this: DmaApi,
      ...args
    ) {
      const handle = mapPhysHandle.apply(this, args);
      if (handle !== null) newest.set(handle.slot, handle);
      return handle;
    });
    vi.spyOn(DmaApi.prototype, 'unmapHandle').mockImplementation(function (
      this: DmaApi,
      dev,
      handle,
      attrs,
    ) {
      const { generation, paddr } = newest.get(handle.slot) ?? handle;
      unmapHandle.call(this, dev, { ...handle, generation, paddr }, attrs);
    });
    expect(wrong('S3-9').map(({ way, differences }) => [way, differences[0]])).toEqual([
      [
        'H stale: its slot and IOVA are another mapping now',
        'refused: expected HANDLE_STALE, got none',
      ],
    ]);
  });

  test('a lookup too many: an unmap by handle that asks the table', () => {
    const { unmapHandle } = DmaApi.prototype;
    vi.spyOn(DmaApi.prototype, 'unmapHandle').mockImplementation(function (
      this: DmaApi,
      dev,
      handle,
      attrs,
    ) {
      this.counters.walks++;
      dev.domain.ops.iovaToPhys(handle.dmaAddr);
      unmapHandle.call(this, dev, handle, attrs);
    });
    const differences = wrong('S3-1').map(({ way, differences: found }) => [way, found[0]]);
    expect(differences).toEqual([
      ['H', 'walk: expected 0, got 1000'],
      ['H checking', 'walk: expected 0, got 1000'],
    ]);
  });
});
