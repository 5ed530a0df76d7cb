/* S2-10 and S2-15: the limits of PASIDs, of handles and of addresses. */
import { SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import {
  type IoMm,
  PasidAllocator,
  svaAllocPasid,
  svaDeviceInit,
  svaFreePasid,
  svaMap,
} from '@iommukit/sva-pasid';
import { codeOf, pasidCase } from './pasid-case.ts';
import { type PasidRig, tableOf } from './pasid-rig.ts';
import { resultOf, tryAlloc } from './s2-handle.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, X } from './setup.ts';

/** PASIDs or errnos of `n` allocations. */
function allocs(rig: PasidRig, n: number): string {
  return Array.from({ length: n }, () => resultOf(svaAllocPasid(rig.domain, rig.device))).join(' ');
}

function byPasid(rig: PasidRig, pasid: number): IoMm {
  const found = rig.sva.contexts.find((ioMm) => ioMm.pasid === pasid);
  if (found === undefined) throw new RangeError(`PASID ${pasid} is not listed`);
  return found;
}

/** `svaDeviceInit` of a range. */
function initRange(minPasid: number, maxPasid: number): ScenarioCase {
  return pasidCase({
    way: `remark: limits of the range: [${minPasid}, ${maxPasid}]`,
    options: { range: null },
    run(rig) {
      const { core } = rig.machine;
      const errno = svaDeviceInit({ core, device: rig.device, features: 2, minPasid, maxPasid });
      return { errno, ...tryAlloc(rig) };
    },
    expected: { errno: -ERRNO.EINVAL, result: -ERRNO.ENODEV, cmd: 0, same: true },
  });
}

export const s210: Scenario = {
  id: 'S2-10',
  title: 'range and cycle',
  *cases(): Iterable<ScenarioCase> {
    yield pasidCase({
      way: 'remark: the range is inclusive',
      run(rig) {
        const first = allocs(rig, 5);
        svaFreePasid(rig.domain, byPasid(rig, 6));
        return { first, later: allocs(rig, 2) };
      },
      expected: { first: `5 6 7 8 -${ERRNO.ENOSPC}`, later: `6 -${ERRNO.ENOSPC}` },
    });
    yield pasidCase({
      way: 'remark: cyclic',
      run(rig) {
        const first = rig.alloc();
        svaFreePasid(rig.domain, first);
        const later = allocs(rig, 3);
        svaFreePasid(rig.domain, byPasid(rig, 7));
        return { first: first.pasid, later, wraps: allocs(rig, 2) };
      },
      expected: { first: 5, later: '6 7 8', wraps: '5 7' },
    });
    yield pasidCase({
      way: 'a global space, lowest first',
      options: { range: null },
      run(rig) {
        const { core } = rig.machine;
        const pasids = new PasidAllocator({ first: 1, last: 8, order: 'lowest' });
        const errno = svaDeviceInit({ core, device: rig.device, features: 2, pasids });
        const first = rig.alloc();
        svaFreePasid(rig.domain, first);
        // Somebody else's device has taken one from the same space.
        pasids.alloc();
        return { errno, first: first.pasid, later: allocs(rig, 2), used: pasids.used };
      },
      expected: { errno: 0, first: 1, later: '2 3', used: 3 },
    });
    yield initRange(8, 5);
    yield initRange(5, 1024);
    yield initRange(0, 8);
  },
};

/** A map that is refused: what it returned, and stores. */
function refusedMap(way: string, map: (ioMm: IoMm) => number, errno: number): ScenarioCase {
  return pasidCase({
    way: `map ${way}`,
    run(rig) {
      const ioMm = rig.alloc();
      const { counters } = tableOf(ioMm.domain);
      const { stores } = counters;
      let result = 0;
      const { cmd } = rig.count(() => {
        result = map(ioMm);
      });
      return { errno: result, st: counters.stores - stores, cmd };
    },
    expected: { errno: -errno, st: 0, cmd: 0 },
  });
}

export const s215: Scenario = {
  id: 'S2-15',
  title: 'beyond the table, and after the end',
  *cases(): Iterable<ScenarioCase> {
    yield pasidCase({
      way: 'a PASID above S1CDMax',
      run(rig) {
        rig.alloc();
        return { inside: rig.access(1023, X), beyond: rig.access(1024, X) };
      },
      expected: { inside: 'C_BAD_CD', beyond: 'C_BAD_SUBSTREAMID' },
    });
    yield pasidCase({
      way: 'a handle that was freed',
      run(rig) {
        const ioMm = rig.alloc();
        svaFreePasid(rig.domain, ioMm);
        const before = rig.state();
        let [again, used] = ['', ''];
        const { cmd } = rig.count(() => {
          again = codeOf(() => svaFreePasid(rig.domain, ioMm));
          used = codeOf(() => svaMap(ioMm, X, PA, SZ_4K, PROT));
        });
        return { again, used, cmd, same: rig.state() === before };
      },
      expected: { again: 'IO_MM_FREED', used: 'IO_MM_FREED', cmd: 0, same: true },
    });
    yield refusedMap('of no size', (ioMm) => svaMap(ioMm, X, PA, 0, PROT), ERRNO.EINVAL);
    yield refusedMap('unaligned', (ioMm) => svaMap(ioMm, X + 1, PA, SZ_4K, PROT), ERRNO.EINVAL);
    yield refusedMap('beyond IAS', (ioMm) => svaMap(ioMm, 2 ** 48, PA, SZ_4K, PROT), ERRNO.ERANGE);
  },
};
