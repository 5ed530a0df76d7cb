/* S2-1 to S2-3 and S2-11: what a handle is, and what is refused before anything happens. */
import { SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import {
  IoMm as Handle,
  type IoMm,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceShutdown,
  svaFreePasid,
  svaMap,
  svaUnmap,
} from '@iommukit/sva-pasid';
import { codeOf, pasidCase } from './pasid-case.ts';
import { type PasidRig, tableOf } from './pasid-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, X } from './setup.ts';

/** An allocation with its cost: the PASID or the errno, and what changed. */
export function tryAlloc(rig: PasidRig): Observed {
  const before = rig.state();
  let made: IoMm | number = 0;
  const { cmd } = rig.count(() => {
    made = svaAllocPasid(rig.domain, rig.device);
  });
  return { result: resultOf(made), cmd, same: rig.state() === before };
}

/** The PASID, or the errno. */
export function resultOf(made: IoMm | number): number {
  return typeof made === 'number' ? made : made.pasid;
}

export const s21: Scenario = {
  id: 'S2-1',
  title: 'a handle, not an int',
  *cases(): Iterable<ScenarioCase> {
    yield pasidCase({
      way: 'remark: return a structure representing the PASID',
      run(rig) {
        const ioMm = rig.alloc();
        const asNumber = ioMm.pasid as unknown as IoMm;
        const table = tableOf(ioMm.domain).counters;
        const { stores } = table;
        const number = codeOf(() => svaMap(asNumber, X, PA, SZ_4K, PROT));
        return {
          object: ioMm instanceof Handle,
          pasid: ioMm.pasid,
          number,
          st: table.stores - stores,
        };
      },
      expected: { object: true, pasid: 5, number: 'NO_IO_MM', st: 0 },
    });
    yield pasidCase({
      way: 'failure is an error value',
      options: { range: [5, 5] },
      run(rig) {
        rig.alloc();
        return tryAlloc(rig);
      },
      expected: { result: -ERRNO.ENOSPC, cmd: 0, same: true },
    });
  },
};

export const s22: Scenario = {
  id: 'S2-2',
  title: 'init first',
  *cases(): Iterable<ScenarioCase> {
    const refused = { result: -ERRNO.ENODEV, cmd: 0, same: true };
    yield pasidCase({
      way: 'remark: a NULL check on the param',
      options: { range: null },
      run: tryAlloc,
      expected: refused,
    });
    yield pasidCase({
      way: 'remark: private is a feature flag',
      options: { range: null },
      run(rig) {
        const { core } = rig.machine;
        const init = svaDeviceInit({ core, device: rig.device, features: 0 });
        return { init, ...tryAlloc(rig) };
      },
      expected: { init: 0, ...refused },
    });
    yield pasidCase({
      way: 'after the shutdown',
      run(rig) {
        svaDeviceShutdown(rig.device);
        return tryAlloc(rig);
      },
      expected: refused,
    });
  },
};

/** One round of alloc, map, free with the driver's own `mmAlloc` and `mmFree`; some of it fails. */
function ownMm(
  which: 'both' | 'neither' | 'alloc' | 'free',
  fail?: 'id' | 'attach' | 'alloc',
): ScenarioCase {
  const seen = { alloc: 0, free: 0 };
  let rigOf: PasidRig | null = null;
  const mmAlloc = (): ReturnType<PasidRig['machine']['core']['domainAllocUnmanaged']> => {
    if (rigOf === null || fail === 'alloc') return -ERRNO.ENOMEM;
    seen.alloc++;
    const made = rigOf.machine.core.domainAllocUnmanaged(rigOf.device);
    if (typeof made !== 'number' && fail === 'attach') made.ops.setDevPasid = () => -ERRNO.ENOMEM;
    return made;
  };
  const mmFree = (domain: PasidRig['domain']): void => {
    seen.free++;
    rigOf?.machine.core.domainFree(domain);
  };
  const has = (name: 'alloc' | 'free'): boolean => which === 'both' || which === name;
  const works = (which === 'both' || which === 'neither') && fail === undefined;
  const calls = which === 'both' && fail !== 'alloc' ? 1 : 0;
  const errno =
    which === 'both'
      ? { id: ERRNO.ENOSPC, attach: ERRNO.ENOMEM, alloc: ERRNO.ENOMEM }[fail ?? 'id']
      : ERRNO.ENODEV;
  return pasidCase({
    way: `remark: both present, or both absent: ${which}${fail === undefined ? '' : `, ${fail} fails`}`,
    options: { mm: { ...(has('alloc') ? { mmAlloc } : {}), ...(has('free') ? { mmFree } : {}) } },
    run(rig) {
      rigOf = rig;
      if (fail === 'id') for (let i = 0; i < 4; i++) rig.sva.pasids.alloc();
      const before = rig.state();
      const made = svaAllocPasid(rig.domain, rig.device);
      if (typeof made !== 'number') {
        svaMap(made, X, PA, SZ_4K, PROT);
        svaFreePasid(rig.domain, made);
      }
      return { result: resultOf(made), ...seen, same: rig.state() === before };
    },
    expected: { result: works ? 5 : -errno, alloc: calls, free: calls, same: true },
  });
}

export const s23: Scenario = {
  id: 'S2-3',
  title: 'mm_alloc and mm_free: both or neither',
  *cases(): Iterable<ScenarioCase> {
    for (const which of ['both', 'neither', 'alloc', 'free'] as const) yield ownMm(which);
    for (const fail of ['alloc', 'id', 'attach'] as const) yield ownMm('both', fail);
  },
};

/** Maps and unmaps 1000 pages one by one: by handle, or by looking the PASID up for each call. */
function thousand(lookUp: 'handle' | 'int'): ScenarioCase {
  return pasidCase({
    way: lookUp === 'handle' ? 'remark: no pasid-to-io_mm look-up: handle' : 'int interface',
    run(rig) {
      const ioMm = rig.alloc();
      const { group } = rig.device;
      let lookups = 0;
      const pasids = group?.pasids;
      const get = pasids?.get.bind(pasids);
      if (pasids !== undefined && get !== undefined)
        pasids.get = (pasid) => {
          lookups++;
          return get(pasid);
        };
      const handle = (): IoMm => {
        if (lookUp === 'handle') return ioMm;
        const found = group === null ? -1 : rig.machine.core.attachHandle(group, ioMm.pasid);
        return found as IoMm;
      };
      const { counters } = tableOf(ioMm.domain);
      const before = { ...counters };
      const { VA, SYNC, cmd } = rig.count(() => {
        for (let i = 0; i < 1000; i++) svaMap(handle(), X + i * SZ_4K, PA + i * SZ_4K, SZ_4K, PROT);
        for (let i = 0; i < 1000; i++) svaUnmap(handle(), X + i * SZ_4K, SZ_4K);
      });
      const stores = counters.stores - before.stores;
      const fmt = counters.formatCalls - before.formatCalls;
      if (pasids !== undefined && get !== undefined) pasids.get = get;
      return { lookups, VA, SYNC, cmd, fmt, st: stores };
    },
    expected: {
      lookups: lookUp === 'handle' ? 0 : 2000,
      // 1000 leaves stored and cleared; links to one table of the second level, one of the third, and the two of the fourth.
      ...{ VA: 1000, SYNC: 1000, cmd: 2000, fmt: 2000, st: 2000 + 4 },
    },
  });
}

export const s211: Scenario = {
  id: 'S2-11',
  title: 'no look-up',
  *cases(): Iterable<ScenarioCase> {
    yield thousand('handle');
    yield thousand('int');
  },
};
