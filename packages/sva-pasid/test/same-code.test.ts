// The review's other wish: the functions of a domain, with a PASID as one more argument. They are the same calls of core; a handle only
// saves the look-up.
import type { SgRun } from '@iommukit/iommu-core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type IoMm,
  svaFlushTlbAll,
  svaIovaToPhys,
  svaMap,
  svaMapSg,
  svaUnmap,
} from '../src/index.ts';
import { PAGE, PROT, PrivateRig } from './private-driver.ts';

/** One way to say which address space is meant. */
interface Calls {
  map(pasid: number, iova: number, paddr: number, size: number): number;
  mapSg(pasid: number, iova: number, sg: readonly SgRun[]): number;
  unmap(pasid: number, iova: number, size: number): number;
  flushAll(pasid: number): void;
  toPhys(pasid: number, iova: number): number;
}

function byHandle(handles: ReadonlyMap<number, IoMm>): Calls {
  const of = (pasid: number): IoMm => handles.get(pasid) as IoMm;
  return {
    map: (pasid, iova, paddr, size) => svaMap(of(pasid), iova, paddr, size, PROT),
    mapSg: (pasid, iova, sg) => svaMapSg(of(pasid), iova, sg, PROT),
    unmap: (pasid, iova, size) => svaUnmap(of(pasid), iova, size),
    flushAll: (pasid) => void svaFlushTlbAll(of(pasid)),
    toPhys: (pasid, iova) => svaIovaToPhys(of(pasid), iova),
  };
}

/** The kernel's functions of today, after one look-up of the PASID in the group of a domain's device. */
function byDomainAndPasid({ core, device }: PrivateRig): Calls {
  const of = (pasid: number) => {
    const handle = device.group === null ? -1 : core.attachHandle(device.group, pasid);
    if (typeof handle === 'number') throw new Error(`PASID ${pasid}: ${handle}`);
    return handle.domain;
  };
  return {
    map: (pasid, iova, paddr, size) => core.map(of(pasid), iova, paddr, size, PROT),
    mapSg: (pasid, iova, sg) => core.mapSg(of(pasid), iova, sg, PROT),
    unmap: (pasid, iova, size) => core.unmap(of(pasid), iova, size),
    flushAll: (pasid) => core.flushIotlbAll(of(pasid)),
    toPhys: (pasid, iova) => core.iovaToPhys(of(pasid), iova),
  };
}

type Step = {
  readonly op: keyof Calls;
  readonly pasid: number;
  readonly at: number;
  readonly n: number;
};

function play(calls: Calls, { op, pasid, at, n }: Step): number {
  const [iova, paddr] = [at * PAGE, 0x4000_0000 + at * PAGE];
  if (op === 'map') return calls.map(pasid, iova, paddr, n * PAGE);
  if (op === 'mapSg') return calls.mapSg(pasid, iova, [{ paddr, length: n * PAGE }]);
  if (op === 'unmap') return calls.unmap(pasid, iova, n * PAGE);
  if (op === 'toPhys') return calls.toPhys(pasid, iova + 1);
  calls.flushAll(pasid);
  return 0;
}

const step = fc.record({
  op: fc.constantFrom('map', 'mapSg', 'unmap', 'toPhys', 'flushAll'),
  pasid: fc.constantFrom(5, 6),
  at: fc.integer({ min: 0, max: 12 }),
  n: fc.integer({ min: 1, max: 4 }),
}) satisfies fc.Arbitrary<Step>;

test('by handle, and by domain and PASID: the same results and the same operations of the driver', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const rigs = [new PrivateRig(), new PrivateRig()] as const;
      const handles = rigs.map(
        (rig) => new Map([rig.alloc(), rig.alloc()].map((m) => [m.pasid, m])),
      );
      const [one, other] = [byHandle(handles[0] ?? new Map()), byDomainAndPasid(rigs[1])];
      for (const each of steps) {
        expect(play(other, each)).toBe(play(one, each));
        expect(rigs[1].driver.noted()).toEqual(rigs[0].driver.noted());
      }
    }),
  );
});
