import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { domainRig } from './domain-rig.ts';

// 64 scatter lists of 32 pages, mapped and unmapped through core, driver, page table and consumed commands; the names carry the
// commands and CMD_SYNCs of one round.
const [LISTS, PAGES, SIZE, SLOT] = [64, 32, 4096, 0x20_0000];
const BASE = 0x1_0000_0000;
const PROT: number = IOMMU_READ + IOMMU_WRITE;
const { machine, domain } = domainRig();
const { core, model } = machine;
const lists = Array.from({ length: LISTS }, (_, list) =>
  Array.from({ length: PAGES }, (_, i) => ({
    paddr: 0x8_8000_0000 + (list * PAGES + i) * 2 * SIZE,
    length: SIZE,
  })),
);
const begun = core.beginBatch(domain);
if (typeof begun === 'number') throw new Error(`beginBatch: ${begun}`);
const batch = begun;

function oneAtATime(): number {
  let bytes = 0;
  for (const [i, list] of lists.entries()) {
    bytes += core.mapSg(domain, BASE + i * SLOT, list, PROT);
    bytes += core.unmap(domain, BASE + i * SLOT, PAGES * SIZE);
  }
  return bytes;
}

function inABatch(): number {
  let bytes = 0;
  for (const [i, list] of lists.entries()) bytes += batch.mapSg(BASE + i * SLOT, list, PROT);
  for (let i = 0; i < LISTS; i++) bytes += batch.unmapRange(BASE + i * SLOT, PAGES * SIZE);
  return bytes + batch.flush();
}

function counted(name: string, round: () => number): string {
  const { commands, syncs } = model.counters;
  round();
  const [all, sync] = [model.counters.commands - commands, model.counters.syncs - syncs];
  return `${name} (${all} commands, ${sync} of them SYNC)`;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: counted('64 lists of 32 pages, one at a time', oneAtATime),
    reference: true,
    ops: LISTS * PAGES,
    run: oneAtATime,
  },
  { name: counted('the same in a batch', inABatch), ops: LISTS * PAGES, run: inABatch },
];
