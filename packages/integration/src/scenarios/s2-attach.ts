/* S2-4 to S2-6 and S2-14: the context descriptor of a PASID, from nothing to its address space and to another one. */
import { CD } from '@iommukit/arm-arch';
import { SZ_4K } from '@iommukit/bits';
import { AttachHandle } from '@iommukit/iommu-core';
import { svaFreePasid, svaMap } from '@iommukit/sva-pasid';
import { pasidCase } from './pasid-case.ts';
import type { Outcome, PasidRig, PasidRigOptions } from './pasid-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, X } from './setup.ts';

const OTHER = PA + 0x100_0000;

/** Calls `seen` at each CMD_SYNC that the driver issues, before it is written. */
function atSyncs(rig: PasidRig, seen: () => void): void {
  const { cmdq } = rig.machine.driver;
  const issueSync = cmdq.issueSync.bind(cmdq);
  cmdq.issueSync = (batch) => {
    seen();
    return issueSync(batch);
  };
}

/** A row that watches each store and each sync. */
interface Watch {
  onStore: (pa: number) => void;
}

function watched(options: PasidRigOptions = {}): {
  readonly watch: Watch;
  readonly options: PasidRigOptions;
} {
  const watch: Watch = { onStore: () => {} };
  return { watch, options: { ...options, onStore: (pa) => watch.onStore(pa) } };
}

/** The doublewords of a CD that were stored, in order. */
function storesTo(rig: PasidRig, pasid: number, watch: Watch): number[] {
  const at = rig.cdAddress(pasid);
  const words: number[] = [];
  watch.onStore = (pa) => {
    if (pa >= at && pa < at + 64) words.push((pa - at) / 8);
  };
  return words;
}

/** The first address space, where the device has tried the PASID before. */
function firstAttach(rig: PasidRig, watch: Watch): Observed {
  const before = rig.access(5, X);
  const words = storesTo(rig, 5, watch);
  const atSync: Uint32Array[] = [];
  atSyncs(rig, () => atSync.push(rig.cd(5)));
  const valid = rig.validCds();
  const counts = rig.count(() => rig.alloc());
  const now = rig.cd(5);
  // An invalid CD is used for nothing but its V; a valid one must be whole.
  const torn = atSync.filter((cd) => CD.get.V(cd) === 1 && CD.diff(cd, now).length > 0).length;
  const ioMm = rig.sva.contexts[0];
  const errno = ioMm === undefined ? -1 : svaMap(ioMm, X, PA, SZ_4K, PROT);
  return {
    ...counts,
    ...{ before, words: words.join(' '), torn, errno, reads: rig.access(5, X) },
    ownAsid: rig.asid(5) !== 0 && rig.asid(5) !== rig.asid(0),
    valid: rig.validCds() - valid,
  };
}

export const s24: Scenario = {
  id: 'S2-4',
  title: 'attach writes the CD',
  *cases(): Iterable<ScenarioCase> {
    for (const streams of [1, 2, 4]) {
      const { watch, options } = watched({ streams });
      yield pasidCase({
        way: `remark: attach_domain is true: ${streams} streams`,
        options,
        run: (rig) => firstAttach(rig, watch),
        expected: {
          ...{ CD: 2 * streams, SYNC: 2, STE: 0, VA: 0, ASID: 0, cmd: 2 * streams + 2 },
          ...{ before: 'C_BAD_CD', words: '1 3 0', torn: 0, errno: 0, reads: PA },
          ...{ ownAsid: true, valid: 1 },
        },
      });
    }
    yield pasidCase({
      way: 'mutation: attach_domain is false',
      options: { contexts: { most: 1023, ready: () => 0, attach: () => 0, detach() {} } },
      run(rig) {
        const { cmd } = rig.count(() => rig.alloc());
        return { cmd, access: rig.access(5, X) };
      },
      expected: { cmd: 0, access: 'C_BAD_CD' },
    });
  },
};

/** Costs of the next allocations, one after the other. */
function allocOrders(rig: PasidRig, n: number): Observed {
  const orders: Record<string, string> = {};
  for (let i = 0; i < n; i++) {
    let pasid = 0;
    const { order } = rig.count(() => {
      pasid = rig.alloc().pasid;
    });
    const leaves = rig.tape.flatMap(({ kind, fields }) => (kind === 'CD' ? [fields['Leaf']] : []));
    orders[`${pasid}`] = `${order}, leaf ${leaves.join(' ')}`;
  }
  return orders;
}

export const s25: Scenario = {
  id: 'S2-5',
  title: 'two-level CD table',
  *cases(): Iterable<ScenarioCase> {
    const linked = 'CD SYNC CD SYNC, leaf 1 1';
    const linking = 'CD SYNC CD SYNC CD SYNC, leaf 0 1 1';
    yield pasidCase({
      way: 'PASIDs 5 to 8',
      options: { ssidBits: 16, cdTable: 'two-level' },
      run: (rig) => allocOrders(rig, 4),
      expected: { '5': linked, '6': linked, '7': linked, '8': linked },
    });
    yield pasidCase({
      way: 'over the boundary of 1024',
      options: { ssidBits: 16, cdTable: 'two-level', range: [1023, 1026] },
      run: (rig) => allocOrders(rig, 4),
      expected: { '1023': linked, '1024': linking, '1025': linked, '1026': linked },
    });
  },
};

export const s26: Scenario = {
  id: 'S2-6',
  title: 'first PASID of a device in identity mode',
  *cases(): Iterable<ScenarioCase> {
    const { watch, options } = watched({ defaultDomain: 'identity' });
    yield pasidCase({
      way: 'untagged DMA bypasses at every step',
      options,
      run(rig) {
        let lost = rig.access(null, X) === X ? 0 : 1;
        let looks = 0;
        watch.onStore = () => {
          looks++;
          if (rig.access(null, X) !== X) lost++;
        };
        let reads: Outcome = -1;
        const first = rig.count(() => {
          const ioMm = rig.alloc();
          svaMap(ioMm, X, PA, SZ_4K, PROT);
          reads = rig.access(5, X);
        });
        const second = rig.count(() => rig.alloc());
        const [five, six] = rig.sva.contexts;
        const notLast = rig.count(() => void (six !== undefined && svaFreePasid(rig.domain, six)));
        const last = rig.count(() => void (five !== undefined && svaFreePasid(rig.domain, five)));
        watch.onStore = () => {};
        const ends = rig.access(null, X) === X;
        return {
          ...{ reads, lost, looked: looks > 20, ends, first: first.order, second: second.order },
          ...{ notLast: notLast.order, last: last.order },
        };
      },
      expected: {
        ...{ reads: PA, lost: 0, looked: true, ends: true },
        first: 'CD SYNC CD SYNC STE SYNC STE SYNC PREFETCH',
        second: 'CD SYNC CD SYNC',
        notLast: 'CD SYNC CD SYNC ASID SYNC',
        last: 'CD SYNC CD SYNC ASID SYNC STE SYNC STE SYNC PREFETCH',
      },
      stale: 'race',
    });
  },
};

export const s214: Scenario = {
  id: 'S2-14',
  title: 'replace on a live PASID',
  *cases(): Iterable<ScenarioCase> {
    const { watch, options } = watched();
    yield pasidCase({
      way: 'old, refused, or new; never a mixture',
      options,
      run(rig) {
        const { core } = rig.machine;
        const { device } = rig;
        const ioMm = rig.alloc();
        const old = ioMm.domain;
        svaMap(ioMm, X, PA, SZ_4K, PROT);
        const other = core.domainAllocUnmanaged(device);
        if (typeof other === 'number') return { other };
        core.map(other, X, OTHER, SZ_4K, PROT);
        const [oldAsid, oldTable] = [rig.asid(5), CD.get.TTB0(rig.cd(5))];
        const seen = new Set<Outcome>([rig.access(5, X)]);
        let mixed = 0;
        watch.onStore = () => {
          seen.add(rig.access(5, X));
          const cd = rig.cd(5);
          const [asid, table] = [rig.asid(5), CD.get.TTB0(cd)];
          if (asid !== 0 && (asid === oldAsid) !== (table === oldTable)) mixed++;
        };
        const { pasid } = ioMm;
        const counts = rig.count(() => {
          core.replaceDevicePasid({
            domain: other,
            device,
            pasid,
            handle: new AttachHandle(other),
          });
        });
        watch.onStore = () => {};
        const inBetween = [...seen].filter(
          (one) => one !== PA && one !== OTHER && one !== 'C_BAD_CD',
        );
        const reads = rig.access(5, X);
        const tag = rig.tape.find(({ kind }) => kind === 'ASID')?.fields['ASID'];
        core.replaceDevicePasid({ domain: old, device, pasid, handle: ioMm });
        core.domainFree(other);
        return {
          order: counts.order,
          cmd: counts.cmd,
          oldTag: tag === oldAsid,
          mixed,
          inBetween: inBetween.length,
          reads,
        };
      },
      expected: {
        ...{ order: 'CD SYNC CD SYNC CD SYNC ASID SYNC', cmd: 8, oldTag: true },
        ...{ mixed: 0, inBetween: 0, reads: OTHER },
      },
      stale: 'race',
    });
  },
};
