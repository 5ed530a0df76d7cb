import { hex } from '@iommukit/bits';
import type { ContractPlan, Rule } from './contract-plan.ts';
import type { ContractRig, Page } from './contract-rig.ts';
import type { ContractSubject } from './contract-subject.ts';

/** Maps pages one after another, checks them and the ends of the run, and unmaps them in one go. */
function roundTrip(rig: ContractRig, plan: ContractPlan, pages: readonly Page[]): void {
  const [first] = pages;
  const last = pages.at(-1);
  if (first === undefined || last === undefined) return;
  rig.put(first, pages.length);
  for (const page of pages) rig.translates(page);
  neighbours(rig, plan, first, last);
  rig.holds(pages);
  const bytes = first.size * pages.length;
  rig.same('bytes unmapped', rig.unmap(first.iova, first.size, pages.length), bytes);
  for (const page of pages) rig.isHole(page.iova, page.size);
  rig.holds([]);
}

function neighbours(rig: ContractRig, plan: ContractPlan, first: Page, last: Page): void {
  const { size } = first;
  for (const { start, end } of plan.spaces) {
    if (first.iova - size >= start && first.iova < end) rig.isHole(first.iova - size, size);
    const next = last.iova + size;
    if (next >= start && next + size <= end) rig.isHole(next, size);
  }
}

/** Pages of every size, at every place where tables meet. */
export function mappingRules(subject: ContractSubject, plan: ContractPlan): Rule[] {
  const rules: Rule[] = [];
  for (const size of plan.sizes) {
    const name = hex(size);
    rules.push({
      name: `a page of ${name} maps, translates and unmaps`,
      run: (rig) => roundTrip(rig, plan, plan.pages(plan.inside(size), size, 1)),
    });
    for (const { start, end } of plan.spaces) {
      for (const [which, iova] of [
        ['first', start],
        ['last', end - size],
      ] as const)
        rules.push({
          name: `the ${which} page of ${name} of the space from ${hex(start)}`,
          run: (rig) => roundTrip(rig, plan, [plan.page(iova, size)]),
        });
    }
    for (const span of plan.boundaries(size))
      rules.push({
        name: `pages of ${name} on both sides of a table's end at ${hex(span)}`,
        run: (rig) => roundTrip(rig, plan, plan.pages(plan.start + span - size, size, 2)),
      });
    rules.push({
      name: `more pages of ${name} than a table holds`,
      run: (rig) => overflow(rig, plan, size),
    });
    rules.push({
      name: `the last output address of a page of ${name}, and output address 0`,
      run: (rig) => extremePaddrs(rig, plan, size),
    });
  }
  rules.push({ name: 'pages of every size side by side', run: (rig) => sideBySide(rig, plan) });
  for (const prot of subject.prots)
    rules.push({
      name: `prot ${prot} maps and unmaps`,
      run: (rig) => withProt(rig, plan, prot),
    });
  return rules;
}

function extremePaddrs(rig: ContractRig, plan: ContractPlan, size: number): void {
  const iova = plan.inside(size);
  for (const paddr of [plan.endPaddr - size, 0]) {
    const page = { iova, paddr, size };
    rig.put(page);
    // Output address 0 cannot be told from a hole by its number.
    if (paddr !== 0) rig.translates(page);
    else rig.same('last byte', rig.phys(iova, size - 1), size - 1);
    rig.holds([page]);
    rig.same('bytes unmapped', rig.unmap(iova, size), size);
  }
  rig.holds([]);
}

function withProt(rig: ContractRig, plan: ContractPlan, prot: number): void {
  for (const size of plan.sizes.slice(0, 4)) {
    const page = plan.page(plan.inside(size), size);
    rig.put(page, 1, prot);
    rig.translates(page);
    rig.holds([page]);
    rig.same('bytes unmapped', rig.unmap(page.iova, size), size);
  }
  rig.holds([]);
}

/** A run that starts two pages before the end of one table, fills the next and ends in a third. */
function overflow(rig: ContractRig, plan: ContractPlan, size: number): void {
  const above = plan.tableSpan(size);
  if (above === undefined || plan.start + above >= plan.end) {
    roundTrip(rig, plan, plan.pages(plan.start, size, 64));
    return;
  }
  const perTable = above / size;
  const lead = Math.min(2, perTable);
  const iova = plan.start + above - lead * size;
  const pages = plan.pages(iova, size, perTable + lead + 2);
  const [first] = pages;
  if (first === undefined) return;
  if (rig.subject.traits.stopsAtTable && pages.length > lead) {
    rig.same('map of more than a table', rig.mapOnce(first, pages.length), 0);
    rig.same('bytes mapped up to the end of the table', rig.table.mapped, lead * size);
    const bytes = rig.unmap(iova, size, lead);
    rig.same('bytes unmapped up to the end of the table', bytes, lead * size);
  }
  roundTrip(rig, plan, pages);
}

function sideBySide(rig: ContractRig, plan: ContractPlan): void {
  const pages: Page[] = [];
  let free = plan.start;
  for (const size of plan.sizes.slice(0, 12)) {
    const iova = Math.ceil(free / size) * size;
    if (plan.room(iova, size, 1) === 0 || iova + size > plan.end) break;
    const page = plan.page(iova, size);
    rig.put(page);
    pages.push(page);
    free = iova + size;
  }
  for (const page of pages) rig.translates(page);
  rig.holds(pages);
  const kept = pages.filter((_, i) => i % 2 === 1);
  for (const page of pages) {
    if (kept.includes(page)) continue;
    rig.same('bytes unmapped', rig.unmap(page.iova, page.size), page.size);
    rig.isHole(page.iova, page.size);
  }
  for (const page of kept) rig.translates(page);
  rig.holds(kept);
}
