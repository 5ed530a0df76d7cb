// A device that keeps translations itself: what it holds of a PASID goes with the PASID, and after the SMMU's own (linux-iommu.md 6.8, 6.9).
import { svaFlushTlbAll, svaFreePasid, svaMap, svaUnmap } from '@iommukit/sva-pasid';
import { expect, test } from 'vitest';
import { PasidRig } from '../src/scenarios/pasid-rig.ts';
import { PA, PROT, X } from '../src/scenarios/setup.ts';

const PAGE = 4096;
const OTHER = PA + 0x10_0000;
const EVERYTHING = 52;

test('commands to endpoints carry the PASID; another PASID keeps what it has', () => {
  const rig = new PasidRig({ ats: true });
  const attach = rig.count(() => rig.alloc());
  expect(attach.order).toBe('CD SYNC CD SYNC ATC SYNC');
  const [five] = rig.sva.contexts;
  if (five === undefined) throw new Error('not listed');
  const six = rig.alloc();
  const held = () =>
    rig.endpoint.translations
      .map(({ substreamId }) => substreamId)
      .sort()
      .join(' ');
  const target = () =>
    rig.tape
      .filter(({ kind }) => kind === 'ATC')
      .map(({ fields }) => [fields['SSV'], fields['SubstreamID'], fields['Size']].join(' '));

  for (const [ioMm, paddr] of [
    [five, PA],
    [six, OTHER],
  ] as const)
    for (const at of [0, PAGE]) expect(svaMap(ioMm, X + at, paddr + at, PAGE, PROT)).toBe(0);
  const reads = () => [5, 6].flatMap((pasid) => [X, X + PAGE].map((at) => rig.access(pasid, at)));
  expect(reads()).toEqual([PA, PA + PAGE, OTHER, OTHER + PAGE]);
  expect(held()).toBe('5 5 6 6');

  expect(rig.count(() => svaUnmap(five, X, PAGE)).order).toBe('VA SYNC ATC SYNC');
  expect(target()).toEqual(['1 5 0']);
  expect(held()).toBe('5 6 6');
  expect(reads()).toEqual(['denied', PA + PAGE, OTHER, OTHER + PAGE]);

  expect(rig.count(() => svaFlushTlbAll(six)).order).toBe('ASID SYNC ATC SYNC');
  expect(target()).toEqual([`1 6 ${EVERYTHING}`]);
  expect(held()).toBe('5');
  expect(reads().slice(2)).toEqual([OTHER, OTHER + PAGE]);

  expect(rig.count(() => svaFreePasid(rig.domain, five)).order).toBe(
    'CD SYNC CD SYNC ATC SYNC ASID SYNC',
  );
  expect(target()).toEqual([`1 5 ${EVERYTHING}`]);
  expect(held()).toBe('6 6');
  expect(reads()).toEqual(['refused', 'refused', OTHER, OTHER + PAGE]);
  expect(rig.end()).toEqual([]);
});
