import { hex } from '@iommukit/bits';
import type { ContractPlan, Rule } from './contract-plan.ts';
import type { ContractRig, Page } from './contract-rig.ts';
import type { ContractSubject } from './contract-subject.ts';

/** Calls that no table may take: they change nothing, and the errno says why. */
export function refusalRules(subject: ContractSubject, plan: ContractPlan): Rule[] {
  const { iovaOutOfRange, paddrOutOfRange, badSize } = subject.traits;
  const rules: Rule[] = [
    { name: 'a map without a direction is refused', run: (rig) => noDirection(rig, plan) },
    { name: 'no pages: nothing happens', run: (rig) => noPages(rig, plan) },
  ];
  if (iovaOutOfRange !== null)
    for (const iova of outside(subject, plan))
      rules.push({
        name: `IOVA ${hex(iova)} is out of range`,
        run: (rig) => highIova(rig, plan, iova, iovaOutOfRange),
      });
  if (paddrOutOfRange !== null)
    rules.push({
      name: 'an output address out of range is refused',
      run: (rig) => highPaddr(rig, plan, paddrOutOfRange),
    });
  if (badSize !== null)
    rules.push({
      name: 'a page size that is not configured is refused',
      run: (rig) => foreignSizes(rig, plan, badSize),
    });
  return rules;
}

/** IOVAs that the subject says are outside; else those next to its spaces. */
function outside({ spaces, outside }: ContractSubject, plan: ContractPlan): number[] {
  const [size = 0] = plan.sizes;
  const edges = [...spaces.map(({ start }) => start - size), ...spaces.map(({ end }) => end)];
  // Beyond a space of the upper half comes no further address.
  return (outside ?? edges).filter(
    (iova) => iova >= 0 && iova < 2 ** 64 && !spaces.some((s) => iova >= s.start && iova < s.end),
  );
}

/** Something that a refused call could damage; its first page. */
function mapped(rig: ContractRig, plan: ContractPlan): Page {
  const [size = 0] = plan.sizes;
  const page = plan.page(plan.inside(size), size);
  rig.put(page, 2);
  return page;
}

function refused(rig: ContractRig, page: Page, errno: number): void {
  const rule = `map of ${hex(page.size)} at ${hex(page.iova)}`;
  rig.unchanged(rule, () => rig.mapOnce(page, 1), errno);
  rig.same('bytes mapped', rig.table.mapped, 0);
}

function noDirection(rig: ContractRig, plan: ContractPlan): void {
  const { size } = mapped(rig, plan);
  const page = plan.page(plan.start, size);
  const { noDirection } = rig.subject.traits;
  rig.unchanged('map without a direction', () => rig.mapOnce(page, 1, 0), noDirection);
  rig.same('bytes mapped', rig.table.mapped, 0);
}

function noPages(rig: ContractRig, plan: ContractPlan): void {
  const { table, prot } = rig;
  const page = mapped(rig, plan);
  const { iova, size } = page;
  const free = plan.page(iova - size, size);
  const map = (): number => table.mapPages(free.iova, free.paddr, size, 0, prot);
  rig.unchanged('map of no pages', map, rig.subject.traits.zeroCount);
  rig.same('bytes mapped', table.mapped, 0);
  rig.unchanged('unmap of no pages', () => table.unmapPages(iova, size, 0, null), 0);
  rig.translates(page);
}

function highIova(rig: ContractRig, plan: ContractPlan, iova: number, errno: number): void {
  const { size } = mapped(rig, plan);
  refused(rig, plan.page(iova, size), errno);
  rig.unchanged('unmap out of range', () => rig.unmap(iova, size), 0);
}

function highPaddr(rig: ContractRig, plan: ContractPlan, errno: number): void {
  const { size } = mapped(rig, plan);
  refused(rig, { iova: plan.start, paddr: plan.endPaddr, size }, errno);
}

function foreignSizes(rig: ContractRig, plan: ContractPlan, errno: number): void {
  const { table, prot } = rig;
  const { iova, size } = mapped(rig, plan);
  const paddr = plan.endPaddr / 2;
  for (const bad of [size / 2, size * 2, 0].filter((s) => !plan.sizes.includes(s))) {
    const map = (): number => table.mapPages(plan.start, paddr, bad, 1, prot);
    rig.unchanged(`map of a page of ${hex(bad)}`, map, errno);
    rig.same('bytes mapped', table.mapped, 0);
    const unmap = (): number => table.unmapPages(iova, bad, 1, null);
    rig.unchanged(`unmap of a page of ${hex(bad)}`, unmap, 0);
  }
}
