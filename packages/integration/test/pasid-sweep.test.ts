// The life of an address space with each allocation failing in turn: it is reported, nothing is left, and the next attempt works.
import type { FrameAllocator } from '@iommukit/platform';
import {
  type IoMm,
  svaAllocPasid,
  svaFreePasid,
  svaMap,
  svaMapSg,
  svaUnmap,
} from '@iommukit/sva-pasid';
import { describe, expect, test } from 'vitest';
import { PasidRig, type PasidRigOptions } from '../src/scenarios/pasid-rig.ts';
import { PA, PROT, scat, X } from '../src/scenarios/setup.ts';

const PAGE = 4096;
const ENOMEM = -12;

/** Alloc, two maps, unmaps and free; what each step returned that can fail. */
function life(rig: PasidRig): number[] {
  // A stream that bypasses again has no place for PASIDs at all.
  const refused = rig.domain.type === 'identity' ? 'C_BAD_SUBSTREAMID' : 'C_BAD_CD';
  const ioMm: IoMm | number = svaAllocPasid(rig.domain, rig.device);
  if (typeof ioMm === 'number') return [ioMm];
  const results = [
    Math.min(svaMapSg(ioMm, X, scat(16), PROT), 0),
    svaMap(ioMm, 16 * X, PA, PAGE, PROT),
  ];
  const { pasid } = ioMm;
  const reads = [rig.access(pasid, X + 15 * PAGE), rig.access(pasid, 16 * X)];
  for (const [i, errno] of results.entries())
    expect(reads[i] === 'F_TRANSLATION').toBe(errno !== 0);
  if (results[0] === 0) expect(svaUnmap(ioMm, X, 16 * PAGE)).toBe(16 * PAGE);
  expect(svaFreePasid(rig.domain, ioMm)).toBe(0);
  expect(rig.access(pasid, X)).toBe(refused);
  return results;
}

/** Runs the life with the k-th allocation of a source failing, for every k; how many there were. */
function sweep(options: PasidRigOptions, source: (rig: PasidRig) => FrameAllocator): number {
  for (let k = 1; ; k++) {
    const rig = new PasidRig(options);
    const before = rig.state();
    const from = source(rig);
    from.failIn = k;
    const results = life(rig);
    const failed = from.failIn === 0;
    from.failIn = 0;
    expect(results.filter((errno) => errno !== 0)).toEqual(failed ? [ENOMEM] : []);
    // Tables of CDs stay with the device until it is released.
    const lasting = (state: string): string => state.replace(/coherent \d+/, '');
    expect(lasting(rig.state())).toBe(lasting(before));
    expect(life(rig)).toEqual([0, 0]);
    expect(rig.end()).toEqual([]);
    if (!failed) return k - 1;
  }
}

describe('each allocation fails in turn', () => {
  test('tables', () => {
    // The top, three for the first IOVA, and two more for the second, which is in the same 512 GiB.
    expect(sweep({}, (rig) => rig.machine.frames)).toBe(6);
  });

  test('context descriptors', () => {
    const options = { ssidBits: 16, cdTable: 'two-level', range: [2048, 2050] } as const;
    expect(sweep(options, (rig) => rig.coherent)).toBe(1);
  });

  test('context descriptors of a device in identity mode', () => {
    const options = { ssidBits: 16, cdTable: 'two-level', defaultDomain: 'identity' } as const;
    // The first level too: nothing has needed it yet.
    expect(sweep(options, (rig) => rig.coherent)).toBe(2);
  });
});
