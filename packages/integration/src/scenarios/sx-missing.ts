/* SX-3: a command that is left out or too narrow, and the one that would have cured it. */
import { CMD_TLBI_NH_VA, OPCODE } from '@iommukit/arm-arch';
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import { createPrng } from '@iommukit/platform';
import type { StaleUse } from '@iommukit/smmu-v3-model';
import { type IoMm, svaFreePasid, svaMap, svaUnmap } from '@iommukit/sva-pasid';
import { type CommandChange, CommandDefect } from './command-defect.ts';
import { PasidRig, type PasidRigOptions } from './pasid-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, scat, X } from './setup.ts';

const READS = 1000;
const SEED = 3;
const PASID = 5;

/** One defect: what is done with the right driver, what with the wrong one, and where the device reads then. */
interface DefectRow {
  /** Number in the list of mutations, and what is wrong. */
  readonly way: string;
  readonly options?: PasidRigOptions;
  readonly prepare?: (rig: PasidRig) => void;
  readonly change: (rig: PasidRig) => CommandChange;
  readonly work: (rig: PasidRig) => void;
  /** What the device does at every store of the work. */
  readonly meanwhile?: (rig: PasidRig) => void;
  /** Pages that the device reads, from X on; absent: 512. */
  readonly pages?: number;
  readonly pasid?: number | null;
  /** The command that would have cured it. */
  readonly cure: string;
  /** Whose tag it has to name, by PASID. */
  readonly tag?: (rig: PasidRig) => number;
}

/** Random reads until one uses an entry that nothing invalidates; how many it took, and the use. */
function findMissing(rig: PasidRig, row: DefectRow): { reads: number; use: StaleUse | undefined } {
  const { pages = 512, pasid = null } = row;
  const prng = createPrng(SEED);
  const { model } = rig.machine;
  const before = new Map(model.staleUses.map((one) => [one, one.uses]));
  const again = (one: StaleUse): boolean =>
    one.class === 'missing' && one.uses > (before.get(one) ?? 0);
  for (let reads = 1; reads <= READS; reads++) {
    rig.access(pasid, X + prng.below(pages) * SZ_4K);
    const use = model.staleUses.find(again);
    if (use !== undefined) return { reads, use };
  }
  return { reads: READS, use: undefined };
}

/** Whether the named command reaches what was used: opcode, tag and page. */
function cures(text: string, use: StaleUse, row: DefectRow, tag: number): boolean {
  const fields = text.split(' ');
  if (fields[0] !== row.cure) return false;
  if (use.iova === undefined) return fields[1] === 'sid=0x8';
  const covered = use.iova >= X - SZ_2M && use.iova < X + 2 * SZ_2M;
  return fields[1] === `asid=${tag}` && covered && use.asid === tag;
}

function observe(row: DefectRow, driver: 'right' | 'wrong'): Observed {
  let onStore: (pa: number) => void = () => {};
  const rig = new PasidRig({ ...row.options, onStore: (pa) => onStore(pa) });
  const { memory, model } = rig.machine;
  row.prepare?.(rig);
  const tag = row.tag?.(rig) ?? rig.asid(null);
  const defect = new CommandDefect(memory, rig.machine.driver.cmdq, row.change(rig));
  onStore = (pa) => {
    if (driver === 'wrong') defect.stored(pa);
    row.meanwhile?.(rig);
  };
  row.work(rig);
  onStore = () => {};
  const { reads, use } = findMissing(rig, row);
  const named = use?.removedBy.some((text) => cures(text, use, row, tag)) ?? false;
  const missing = model.staleUses.filter((one) => one.class === 'missing').length;
  return { missing: missing > 0, found: reads < READS, named, changed: defect.changed > 0 };
}

/** The device reads pages from X on, so that its caches hold them. */
function warm(rig: PasidRig, pages: number, pasid: number | null = null): void {
  for (let i = 0; i < pages; i++) rig.access(pasid, X + i * SZ_4K);
}

function mapWarm(rig: PasidRig, pages: number): void {
  rig.machine.core.mapSg(rig.domain, X, scat(pages), PROT);
  warm(rig, pages);
}

function mapBlock(rig: PasidRig): void {
  rig.machine.core.map(rig.domain, X, PA, SZ_2M, PROT);
}

function unmap(rig: PasidRig, pages: number): void {
  rig.machine.core.unmap(rig.domain, X, pages * SZ_4K);
}

/** Leaves that are cleared one size at a time: the empty table stays linked. */
function emptyTable(rig: PasidRig): void {
  mapWarm(rig, 512);
  const { core } = rig.machine;
  const gather = new IotlbGather();
  rig.domain.ops.unmapPages(X, SZ_4K, 512, gather);
  core.iotlbSync(rig.domain, gather);
}

const drop =
  (opcode: number): ((rig: PasidRig) => CommandChange) =>
  () =>
  (_words, seen) =>
    seen === opcode ? 'drop' : 'keep';

/** Changes fields of every TLBI by VA. */
const change =
  (edit: (words: Uint32Array) => void): ((rig: PasidRig) => CommandChange) =>
  () =>
  (words, seen) => {
    if (seen === OPCODE.TLBI_NH_VA) edit(words);
    return 'keep';
  };

const { get, set } = CMD_TLBI_NH_VA;

/** A private address space with a warm page at X. */
function space(rig: PasidRig): IoMm {
  const ioMm = rig.alloc();
  svaMap(ioMm, X, PA, SZ_4K, PROT);
  warm(rig, 1, ioMm.pasid);
  return ioMm;
}

const spaceOf = (rig: PasidRig): IoMm | undefined => rig.sva.contexts[0];
const withSpace = {
  prepare: (rig: PasidRig): void => void space(rig),
  pasid: PASID,
  pages: 1,
  tag: (rig: PasidRig): number => rig.asid(PASID),
} as const;

const CONFIGURATION: readonly DefectRow[] = [
  {
    way: '1: no CFGI_CD, attach',
    prepare: (rig) => void rig.access(PASID, X),
    change: drop(OPCODE.CFGI_CD),
    work: (rig) => void rig.alloc(),
    ...{ pasid: PASID, cure: 'CMD_CFGI_CD' },
  },
  {
    way: '1: no CFGI_CD, detach',
    ...withSpace,
    change: drop(OPCODE.CFGI_CD),
    work(rig) {
      const ioMm = spaceOf(rig);
      if (ioMm !== undefined) svaFreePasid(rig.domain, ioMm);
    },
    cure: 'CMD_CFGI_CD',
  },
  {
    way: '2: no CFGI_STE',
    options: { defaultDomain: 'identity' },
    prepare: (rig) => void rig.access(null, X),
    change: drop(OPCODE.CFGI_STE),
    work: (rig) => void rig.alloc(),
    cure: 'CMD_CFGI_STE',
  },
];

const TAGS: readonly DefectRow[] = [
  {
    way: '4: PASID freed without TLBI by ASID',
    ...withSpace,
    change: drop(OPCODE.TLBI_NH_ASID),
    work(rig) {
      const ioMm = spaceOf(rig);
      if (ioMm !== undefined) svaFreePasid(rig.domain, ioMm);
      // The next address space gets the same tag.
      svaMap(rig.alloc(), X, PA + SZ_2M, SZ_4K, PROT);
    },
    ...{ pasid: PASID + 1, cure: 'CMD_TLBI_NH_ASID' },
  },
  {
    way: '7: the domain’s ASID in a PASID’s TLBI',
    ...withSpace,
    change: (rig) => (words, seen) => {
      if (seen === OPCODE.TLBI_NH_VA) set.ASID(words, rig.asid(null));
      return 'keep';
    },
    work(rig) {
      const ioMm = spaceOf(rig);
      if (ioMm !== undefined) svaUnmap(ioMm, X, SZ_4K);
    },
    cure: 'CMD_TLBI_NH_VA',
  },
];

const va = { cure: 'CMD_TLBI_NH_VA' } as const;
const RANGES: readonly DefectRow[] = [
  {
    way: '6: unmap without sync',
    prepare: (rig) => mapWarm(rig, 512),
    change: drop(OPCODE.TLBI_NH_VA),
    work: (rig) => unmap(rig, 16),
    ...va,
  },
  {
    way: '12: LEAF=1 when a table was detached',
    prepare: (rig) => mapWarm(rig, 512),
    change: change((words) => set.Leaf(words, 1)),
    work: (rig) => unmap(rig, 512),
    ...va,
  },
  {
    way: '13: no invalidation when a block replaces a table',
    prepare: emptyTable,
    change: drop(OPCODE.TLBI_NH_VA),
    work: mapBlock,
    ...va,
  },
  {
    way: '14: TTL 3 for a block',
    prepare(rig) {
      mapBlock(rig);
      warm(rig, 1);
    },
    change: change((words) => set.TTL(words, 3)),
    work: (rig) => unmap(rig, 512),
    ...va,
  },
  {
    way: '14: TTL 2 for pages',
    prepare: (rig) => mapWarm(rig, 64),
    change: change((words) => set.TTL(words, 2)),
    work: (rig) => unmap(rig, 32),
    ...va,
  },
  {
    way: '15, 18: NUM too small by one',
    prepare: (rig) => mapWarm(rig, 64),
    change: change((words) => set.NUM(words, get.NUM(words) - 1)),
    work: (rig) => unmap(rig, 31),
    pages: 64,
    ...va,
  },
  {
    way: '15: SCALE too small by one',
    prepare: (rig) => mapWarm(rig, 64),
    change: change((words) => set.SCALE(words, get.SCALE(words) - 1)),
    work: (rig) => unmap(rig, 32),
    pages: 64,
    ...va,
  },
  {
    way: '16: second range command dropped',
    prepare: (rig) => mapWarm(rig, 64),
    change: () => {
      let seen = 0;
      return (_words, opcode) => (opcode === OPCODE.TLBI_NH_VA && ++seen === 2 ? 'drop' : 'keep');
    },
    work: (rig) => unmap(rig, 33),
    pages: 64,
    ...va,
  },
  {
    way: '22: a batch maps over a pending unmap, and nothing is flushed',
    prepare: (rig) => mapWarm(rig, 512),
    change: drop(OPCODE.TLBI_NH_VA),
    work(rig) {
      const batch = rig.machine.core.beginBatch(rig.domain);
      if (typeof batch === 'number') return;
      batch.unmapRange(X, SZ_2M);
      batch.mapSg(X, scat(512, SZ_4K, PA + SZ_2M), PROT);
      batch.flush();
    },
    ...va,
  },
  {
    way: '25: unwinding forgets the sync',
    prepare: (rig) => void rig.machine.core.map(rig.domain, X + 5 * SZ_4K, PA, SZ_4K, PROT),
    change: drop(OPCODE.TLBI_NH_VA),
    work: (rig) => void rig.machine.core.mapSg(rig.domain, X, scat(8), PROT),
    meanwhile: (rig) => warm(rig, 5),
    pages: 8,
    ...va,
  },
];

export const sx3: Scenario = {
  id: 'SX-3',
  title: 'missing invalidation, and its cure',
  *cases(): Iterable<ScenarioCase> {
    for (const row of [...CONFIGURATION, ...TAGS, ...RANGES])
      for (const driver of ['wrong', 'right'] as const) {
        const found = driver === 'wrong';
        yield {
          way: driver === 'wrong' ? row.way : `${row.way}: right`,
          run: () => observe(row, driver),
          expected: { missing: found, found, named: found, changed: found },
          sweep: false,
        };
      }
  },
};
