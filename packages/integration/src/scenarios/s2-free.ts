/* S2-8, S2-9 and S2-13: what a PASID leaves behind: nothing. */
import { SZ_4K, SZ_64K } from '@iommukit/bits';
import type { IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { svaAllocPasid, svaFreePasid, svaMap, unbindDevAll } from '@iommukit/sva-pasid';
import { boundProcess } from './bound-process.ts';
import { pasidCase } from './pasid-case.ts';
import type { PasidRig, PasidRigOptions } from './pasid-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, X } from './setup.ts';

/** Bytes of a frame, and of a second-level CD table. */
const [FRAME, CD_TABLE] = [SZ_4K, SZ_64K];

/** Notes what is freed, with the commands that stood before it. */
function watchFrees(rig: PasidRig): string[] {
  const log: string[] = [];
  const { cmdq } = rig.machine.driver;
  const { issued } = cmdq;
  const { frames } = rig.machine;
  const { pasids } = rig.sva;
  const [freeFrames, freeId] = [frames.free.bind(frames), pasids.free.bind(pasids)];
  const note = (what: string): void => {
    const text = `${what} after ${cmdq.issued - issued}`;
    if (log.at(-1) !== text) log.push(text);
  };
  frames.free = (pa, bytes) => {
    note('tables');
    freeFrames(pa, bytes);
  };
  pasids.free = (pasid) => {
    note('id');
    freeId(pasid);
  };
  return log;
}

function freeOne(rig: PasidRig, onStores: (words: number[]) => void): Observed {
  const { model } = rig.machine;
  const entries = model.tlbSize;
  const ioMm = rig.alloc();
  svaMap(ioMm, X, PA, SZ_4K, PROT);
  const warm = rig.access(5, X);
  const asid = rig.asid(5);
  const [used, valid] = [rig.sva.pasids.used, rig.validCds()];
  const words: number[] = [];
  onStores(words);
  const frees = watchFrees(rig);
  const { order, cmd } = rig.count(() => void svaFreePasid(rig.domain, ioMm));
  const at = rig.cdAddress(5);
  const tag = rig.tape.find(({ kind }) => kind === 'ASID')?.fields['ASID'];
  return {
    ...{ warm, order, cmd, ownTag: tag === asid, frees: frees.join(', ') },
    words: words
      .filter((pa) => pa >= at && pa < at + 64)
      .map((pa) => (pa - at) / 8)
      .join(' '),
    access: rig.access(5, X),
    zero: rig.cd(5).every((lane) => lane === 0),
    entries: model.tlbSize - entries,
    used: rig.sva.pasids.used - used,
    valid: rig.validCds() - valid,
  };
}

export const s28: Scenario = {
  id: 'S2-8',
  title: 'free detaches',
  *cases(): Iterable<ScenarioCase> {
    let onStore: (pa: number) => void = () => {};
    yield pasidCase({
      way: 'remark: detach_domain is true',
      options: { onStore: (pa) => onStore(pa) },
      run: (rig) =>
        freeOne(rig, (words) => {
          onStore = (pa) => words.push(pa);
        }),
      expected: {
        ...{ warm: PA, order: 'CD SYNC CD SYNC ASID SYNC', cmd: 6, ownTag: true, words: '0 1 3' },
        ...{ frees: 'tables after 6, id after 6', access: 'C_BAD_CD', zero: true },
        ...{ entries: 0, used: -1, valid: -1 },
      },
    });
    yield pasidCase({
      way: 'the ASID and the PASID are used again, by nothing old',
      run(rig) {
        let wrong = 0;
        const asids = new Set<number>();
        for (let i = 0; i < 100; i++) {
          const ioMm = rig.alloc();
          asids.add(rig.asid(ioMm.pasid));
          if (rig.access(ioMm.pasid, X) !== 'F_TRANSLATION') wrong++;
          svaMap(ioMm, X, PA + i * SZ_4K, SZ_4K, PROT);
          if (rig.access(ioMm.pasid, X) !== PA + i * SZ_4K) wrong++;
          svaFreePasid(rig.domain, ioMm);
          if (rig.access(ioMm.pasid, X) !== 'C_BAD_CD') wrong++;
        }
        return { wrong, asids: asids.size };
      },
      expected: { wrong: 0, asids: 1 },
    });
  },
};

export const s29: Scenario = {
  id: 'S2-9',
  title: 'unbind_dev_all',
  *cases(): Iterable<ScenarioCase> {
    yield pasidCase({
      way: 'remark: contexts are on the list, and cleaned up',
      run(rig) {
        const before = rig.state();
        for (let i = 0; i < 3; i++) svaMap(rig.alloc(), X, PA, SZ_4K, PROT);
        let bound = 0;
        const { CD, ASID, SYNC, cmd } = rig.count(() => {
          bound = unbindDevAll(rig.device);
        });
        return { bound, CD, ASID, SYNC, cmd, same: rig.state() === before };
      },
      expected: { bound: 3, CD: 6, ASID: 3, SYNC: 9, cmd: 18, same: true },
    });
    yield pasidCase({
      way: 'a process among them',
      run(rig) {
        rig.alloc();
        const { mm, shared } = boundProcess(rig);
        const warm = typeof rig.access(shared.pasid, X);
        const { pasid } = rig.alloc();
        const bound = unbindDevAll(rig.device);
        const access = [5, shared.pasid, pasid].map((one) => rig.access(one, X)).join(' ');
        const listed = rig.sva.contexts.length;
        mm.exit();
        return { warm, bound, live: shared.live, access, listed, valid: rig.validCds() };
      },
      expected: {
        ...{ warm: 'number', bound: 3, live: false, access: 'C_BAD_CD C_BAD_CD C_BAD_CD' },
        ...{ listed: 0, valid: 0 },
      },
    });
    yield pasidCase({
      way: 'mutation: a handle that is not on the list',
      run(rig) {
        const { core } = rig.machine;
        const [first, second] = [rig.alloc(), rig.alloc()];
        rig.sva.untrack(second);
        const bound = unbindDevAll(rig.device);
        const valid = rig.validCds();
        const used = rig.sva.pasids.used;
        core.detachDevicePasid(second.domain, rig.device, second.pasid);
        core.domainFree(second.domain);
        rig.sva.pasids.free(second.pasid);
        return { bound, freed: !first.live, valid, used };
      },
      expected: { bound: 1, freed: true, valid: 1, used: 1 },
    });
  },
};

/** An allocation that fails where `fail` says; then the same one works. */
function failing(
  way: string,
  parts: {
    readonly options?: PasidRigOptions;
    readonly fail: (rig: PasidRig) => () => void;
    readonly errno: number;
    readonly order?: string;
  },
): ScenarioCase {
  return pasidCase({
    way,
    ...(parts.options === undefined ? {} : { options: parts.options }),
    run(rig) {
      const repair = parts.fail(rig);
      const before = rig.state();
      let errno = 0;
      const { order } = rig.count(() => {
        const made = svaAllocPasid(rig.device.group?.domain ?? rig.domain, rig.device);
        errno = typeof made === 'number' ? made : 0;
      });
      const same = rig.state() === before;
      repair();
      return { errno, order, same, later: svaMap(rig.alloc(), X, PA, SZ_4K, PROT) };
    },
    expected: { errno: -parts.errno, order: parts.order ?? '', same: true, later: 0 },
  });
}

/** The driver's own allocation fails. */
function noObject(): ScenarioCase {
  const { ENOMEM } = ERRNO;
  let object: 'fails' | 'works' = 'works';
  let machine: PasidRig['machine'] | null = null;
  return failing('object', {
    options: {
      mm: {
        mmAlloc: (_parent, device) =>
          object === 'fails' || machine === null
            ? -ENOMEM
            : machine.core.domainAllocUnmanaged(device),
        mmFree: (domain: IommuDomain) => machine?.core.domainFree(domain),
      },
    },
    fail(rig) {
      machine = rig.machine;
      object = 'fails';
      return () => {
        object = 'works';
      };
    },
    errno: ENOMEM,
  });
}

/**
 * The second device of the group has no memory for CDs: the first one has its level-1 entry and its CD by then, and the CD goes again
 * as in a free. Its empty level-2 table stays, and the next attempt finds it.
 */
function secondDevice(): ScenarioCase {
  return pasidCase({
    way: 'attach: the second device of the group, after the first',
    options: { ssidBits: 16, cdTable: 'two-level', range: [1024, 1024], devices: 2 },
    run(rig) {
      const [{ used }, valid] = [rig.coherent, rig.validCds(1024, 1030)];
      rig.coherent.failIn = 2;
      let errno = 0;
      const { order } = rig.count(() => {
        const made = svaAllocPasid(rig.domain, rig.device);
        errno = typeof made === 'number' ? made : 0;
      });
      const kept = (rig.coherent.used - used) * FRAME;
      const left = rig.validCds(1024, 1030) - valid + rig.sva.pasids.used;
      const again = rig.count(() => rig.alloc()).order;
      return { errno, order, kept, left, again };
    },
    expected: {
      ...{ errno: -ERRNO.ENOMEM, kept: CD_TABLE, left: 0 },
      order: 'CD SYNC CD SYNC CD SYNC CD SYNC CD SYNC ASID SYNC',
      again: 'CD SYNC CD SYNC CD SYNC CD SYNC CD SYNC',
    },
  });
}

export const s213: Scenario = {
  id: 'S2-13',
  title: 'failure leaves nothing',
  *cases(): Iterable<ScenarioCase> {
    const { ENOMEM, ENOSPC, EINVAL } = ERRNO;
    yield noObject();
    yield failing('id', {
      fail({ sva: { pasids } }) {
        const taken = Array.from({ length: 4 }, () => pasids.alloc());
        return () => {
          for (const pasid of taken) pasids.free(pasid);
        };
      },
      errno: ENOSPC,
    });
    yield failing('top-level table', {
      fail({ machine: { frames } }) {
        frames.failIn = 1;
        return () => {};
      },
      errno: ENOMEM,
    });
    yield failing('CD table', {
      options: { ssidBits: 16, cdTable: 'two-level', range: [1024, 1028] },
      fail({ coherent }) {
        coherent.failIn = 1;
        return () => {};
      },
      errno: ENOMEM,
    });
    yield failing('attach: the device is in a stage-2 domain', {
      fail(rig) {
        const { core, driver } = rig.machine;
        const parent = driver.allocNestParent();
        if (typeof parent === 'number') throw new RangeError(`allocNestParent: ${parent}`);
        core.attachDevice(parent, rig.device);
        return () => {
          core.detachDevice(parent, rig.device);
          core.domainFree(parent);
        };
      },
      errno: EINVAL,
    });
    yield secondDevice();
  },
};
