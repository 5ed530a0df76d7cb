import { hex } from '@iommukit/bits';
import type { ContractPlan, Rule, SizePair } from './contract-plan.ts';
import type { ContractRig } from './contract-rig.ts';

/** What a map or unmap does where something else is mapped, or nothing. */
export function conflictRules(plan: ContractPlan): Rule[] {
  const rules: Rule[] = [];
  for (const size of plan.sizes) {
    const name = hex(size);
    rules.push(
      {
        name: `a second map of a page of ${name} is refused`,
        run: (rig) => twice(rig, plan, size),
      },
      { name: `a page of ${name} is in the way of a run`, run: (rig) => inTheWay(rig, plan, size) },
      { name: `holes of ${name} stop an unmap`, run: (rig) => holes(rig, plan, size) },
      { name: `tables emptied of ${name}`, run: (rig) => emptied(rig, plan, size) },
    );
  }
  for (const pair of plan.pairs()) {
    const name = `${hex(pair.small)} and ${hex(pair.large)}`;
    rules.push(
      { name: `${name}: small inside large`, run: (rig) => smallInsideLarge(rig, plan, pair) },
      { name: `${name}: large over small`, run: (rig) => largeOverSmall(rig, plan, pair) },
      { name: `${name}: large over an emptied table`, run: (rig) => overEmptied(rig, plan, pair) },
      { name: `${name}: part of large unmapped`, run: (rig) => partial(rig, plan, pair) },
      { name: `${name}: inner part of large unmapped`, run: (rig) => inner(rig, plan, pair) },
      { name: `${name}: large unmap over small pages`, run: (rig) => coarse(rig, plan, pair) },
    );
  }
  return rules;
}

/** Since there were `before` warnings the format raised one, if its traits say that it does for this. */
function warned(rig: ContractRig, rule: string, before: number, of: 'conflict' | 'hole'): void {
  rig.same(`${rule}: a warning`, rig.table.warnings > before, rig.subject.traits.warns[of]);
}

function twice(rig: ContractRig, plan: ContractPlan, size: number): void {
  const { traits } = rig.subject;
  const page = plan.page(plan.inside(size), size);
  rig.put(page);
  const before = rig.table.warnings;
  rig.unchanged('second map', () => rig.mapOnce(page, 1), traits.occupied);
  rig.same('bytes mapped', rig.table.mapped, 0);
  warned(rig, 'second map', before, 'conflict');
  rig.translates(page);
  rig.same('bytes unmapped', rig.unmap(page.iova, size), size);
}

function inTheWay(rig: ContractRig, plan: ContractPlan, size: number): void {
  const { traits } = rig.subject;
  const pages = plan.pages(plan.start, size, 4);
  const [first] = pages;
  const third = pages[2];
  if (first === undefined || third === undefined) return;
  rig.put(third);
  rig.same('map over a mapped page', rig.mapOnce(first, pages.length), traits.occupied);
  const done = traits.conflict === 'nothing' ? 0 : 2;
  rig.same('bytes mapped before the conflict', rig.table.mapped, done * size);
  rig.holds([...pages.slice(0, done), third]);
  rig.translates(third);
}

function holes(rig: ContractRig, plan: ContractPlan, size: number): void {
  let before = rig.table.warnings;
  const untouched = plan.inside(size);
  rig.unchanged('unmap of a hole', () => rig.unmap(untouched, size), 0);
  warned(rig, 'unmap of a hole', before, 'hole');
  const pages = plan.pages(plan.start, size, 4);
  const [first, second, third] = pages;
  if (first === undefined || second === undefined || third === undefined) return;
  rig.put(first);
  rig.put(third);
  before = rig.table.warnings;
  rig.same('bytes unmapped up to the hole', rig.unmap(first.iova, size, 3), size);
  warned(rig, 'unmap over a hole', before, 'hole');
  rig.holds([third]);
  rig.unchanged('unmap from a hole', () => rig.unmap(second.iova, size, 2), 0);
  rig.same('bytes unmapped', rig.unmap(third.iova, size), size);
  rig.holds([]);
}

function emptied(rig: ContractRig, plan: ContractPlan, size: number): void {
  const { emptyTables } = rig.subject.traits;
  const above = plan.tableSpan(size);
  if (above === undefined || plan.start + 2 * above > plan.end) return;
  const iova = plan.start + above;
  const pages = plan.pages(iova, size, above / size);
  const [first] = pages;
  if (first === undefined || pages.length !== above / size) return;
  rig.put(first);
  const tables = rig.live.size;
  rig.same('bytes unmapped', rig.unmap(iova, size), size);
  const gone = rig.live.size < tables;
  if (tables > rig.tops) rig.same('one unmap of one page frees', gone, emptyTables === 'freed');
  rig.put(first, pages.length);
  const full = rig.live.size;
  rig.same('bytes unmapped', rig.unmap(iova, size, pages.length), size * pages.length);
  const freed = rig.live.size < full;
  if (full > rig.tops)
    rig.same('one unmap of a whole table frees it', freed, emptyTables !== 'kept');
}

function smallInsideLarge(rig: ContractRig, plan: ContractPlan, { small, large }: SizePair): void {
  const page = plan.page(plan.inside(large), large);
  rig.put(page);
  for (const offset of [0, large - small])
    rig.unchanged(
      'map inside a larger page',
      () => rig.mapOnce(plan.page(page.iova + offset, small), 1),
      rig.subject.traits.occupied,
    );
  rig.translates(page);
}

function largeOverSmall(rig: ContractRig, plan: ContractPlan, pair: SizePair): void {
  const { small, large, oneLevel } = pair;
  const { traits } = rig.subject;
  const big = plan.page(plan.inside(large), large);
  const little = plan.page(big.iova + large - small, small);
  rig.put(little);
  if (oneLevel || traits.overTable === 'refuses') {
    rig.same('map over a smaller page', rig.mapOnce(big, 1), traits.occupied);
    rig.same('bytes mapped', rig.table.mapped, 0);
    rig.holds([little]);
    return;
  }
  rig.put(big);
  rig.translates(big);
  rig.holds([big]);
}

function overEmptied(rig: ContractRig, plan: ContractPlan, { small, large }: SizePair): void {
  const big = plan.page(plan.inside(large), large);
  rig.put(plan.page(big.iova, small));
  rig.same('bytes unmapped', rig.unmap(big.iova, small), small);
  rig.put(big);
  rig.translates(big);
  rig.holds([big]);
  rig.same('bytes unmapped', rig.unmap(big.iova, large), large);
}

function partial(rig: ContractRig, plan: ContractPlan, { small, large }: SizePair): void {
  const { traits } = rig.subject;
  const page = plan.page(plan.inside(large), large);
  rig.put(page);
  if (traits.partialUnmap === 'nothing') {
    rig.unchanged('unmap of part of a page', () => rig.unmap(page.iova, small), 0);
    rig.translates(page);
    return;
  }
  const whole = traits.partialUnmap === 'whole';
  rig.same('unmap of part of a page', rig.unmap(page.iova, small), whole ? large : small);
  rig.isHole(page.iova, small);
  const rest = rig.phys(page.iova, large - 1);
  rig.same('rest of the page', rest, whole ? 0 : page.paddr + (large - 1));
  if (whole) rig.holds([]);
}

function inner(rig: ContractRig, plan: ContractPlan, { small, large }: SizePair): void {
  const { traits } = rig.subject;
  if (traits.partialUnmap === 'split') return;
  const page = plan.page(plan.inside(large), large);
  rig.put(page);
  rig.unchanged('unmap inside a page', () => rig.unmap(page.iova + large - small, small), 0);
  rig.translates(page);
}

function coarse(rig: ContractRig, plan: ContractPlan, pair: SizePair): void {
  const { small, large, oneLevel } = pair;
  const { traits } = rig.subject;
  const iova = plan.inside(large);
  const count = Math.min(large / small, 3);
  const pages = plan.pages(iova, small, count);
  const [first] = pages;
  // A page of several entries may ask that all of them hold something.
  if (oneLevel || plan.spanOf(large) !== large || first === undefined || large / small < 4) return;
  rig.put(first, pages.length);
  const whole = traits.coarseUnmap === 'whole';
  rig.same(
    'bytes unmapped by a large unmap over small pages',
    rig.unmap(iova, large),
    whole ? large : small * pages.length,
  );
  rig.holds([]);
}
