import { hex } from '@iommukit/bits';
import type { ContractPlan, Rule, SizePair } from './contract-plan.ts';
import type { ContractRig } from './contract-rig.ts';
import type { ContractSubject } from './contract-subject.ts';

/** What must not happen to a table, and the errno and warnings that say so. */
export function conflictRules(subject: ContractSubject, plan: ContractPlan): Rule[] {
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
  rules.push(...refusals(subject, plan));
  return rules;
}

/** A call that must change nothing; a large unmap does nothing in the same way. */
function unchanged(rig: ContractRig, rule: string, call: () => number, expected: number): void {
  const before = rig.snapshot();
  rig.same(rule, call(), expected);
  rig.same(`${rule}: the table is unchanged`, rig.snapshot() === before, true);
}

function warned(rig: ContractRig, rule: string, before: number, expected: boolean): void {
  rig.same(`${rule}: a warning`, rig.table.warnings > before, expected);
}

function twice(rig: ContractRig, plan: ContractPlan, size: number): void {
  const { traits } = rig.subject;
  const page = plan.page(plan.inside(size), size);
  rig.put(page);
  const before = rig.table.warnings;
  unchanged(rig, 'second map', () => rig.mapOnce(page, 1), traits.occupied);
  rig.same('bytes mapped', rig.table.mapped, 0);
  warned(rig, 'second map', before, traits.warns.conflict);
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
  const { traits } = rig.subject;
  let before = rig.table.warnings;
  const untouched = plan.inside(size);
  unchanged(rig, 'unmap of a hole', () => rig.unmap(untouched, size), 0);
  warned(rig, 'unmap of a hole', before, traits.warns.hole);
  const pages = plan.pages(plan.start, size, 4);
  const [first, second, third] = pages;
  if (first === undefined || second === undefined || third === undefined) return;
  rig.put(first);
  rig.put(third);
  before = rig.table.warnings;
  rig.same('bytes unmapped up to the hole', rig.unmap(first.iova, size, 3), size);
  warned(rig, 'unmap over a hole', before, traits.warns.hole);
  rig.holds([third]);
  unchanged(rig, 'unmap from a hole', () => rig.unmap(second.iova, size, 2), 0);
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
    unchanged(
      rig,
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
    unchanged(rig, 'unmap of part of a page', () => rig.unmap(page.iova, small), 0);
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
  unchanged(rig, 'unmap inside a page', () => rig.unmap(page.iova + large - small, small), 0);
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

function refusals(subject: ContractSubject, plan: ContractPlan): Rule[] {
  const { traits, spaces } = subject;
  const [size = 0] = plan.sizes;
  const mapped = (rig: ContractRig): void => rig.put(plan.page(plan.inside(size), size), 2);
  const refused = (
    rig: ContractRig,
    page: { iova: number; paddr: number; size: number },
    errno: number,
  ): void => {
    unchanged(
      rig,
      `map of ${hex(page.size)} at ${hex(page.iova)}`,
      () => rig.mapOnce(page, 1),
      errno,
    );
    rig.same('bytes mapped', rig.table.mapped, 0);
  };
  const rules: Rule[] = [
    {
      name: 'a map without a direction is refused',
      run: (rig) => {
        mapped(rig);
        const page = plan.page(plan.start, size);
        unchanged(
          rig,
          'map without a direction',
          () => rig.mapOnce(page, 1, 0),
          traits.noDirection,
        );
        rig.same('bytes mapped', rig.table.mapped, 0);
      },
    },
    {
      name: 'no pages: nothing happens',
      run: (rig) => {
        mapped(rig);
        const page = plan.page(plan.inside(size), size);
        const free = plan.page(plan.inside(size) - size, size);
        unchanged(
          rig,
          'map of no pages',
          () => rig.table.mapPages(free.iova, free.paddr, size, 0, rig.prot),
          traits.zeroCount,
        );
        rig.same('bytes mapped', rig.table.mapped, 0);
        unchanged(
          rig,
          'unmap of no pages',
          () => rig.table.unmapPages(page.iova, size, 0, null),
          0,
        );
        rig.translates(page);
      },
    },
  ];
  const { iovaOutOfRange, paddrOutOfRange, badSize } = traits;
  const edges = [...spaces.map(({ start }) => start - size), ...spaces.map(({ end }) => end)];
  // Beyond a space of the upper half comes no further address.
  const outside = (subject.outside ?? edges).filter(
    (iova) => iova >= 0 && iova < 2 ** 64 && !spaces.some((s) => iova >= s.start && iova < s.end),
  );
  if (iovaOutOfRange !== null)
    for (const iova of outside)
      rules.push({
        name: `IOVA ${hex(iova)} is out of range`,
        run: (rig) => {
          mapped(rig);
          refused(rig, plan.page(iova, size), iovaOutOfRange);
          unchanged(rig, 'unmap out of range', () => rig.unmap(iova, size), 0);
        },
      });
  if (paddrOutOfRange !== null)
    rules.push({
      name: 'an output address out of range is refused',
      run: (rig) => {
        mapped(rig);
        refused(rig, { iova: plan.start, paddr: plan.endPaddr, size }, paddrOutOfRange);
      },
    });
  if (badSize !== null)
    rules.push({
      name: 'a page size that is not configured is refused',
      run: (rig) => {
        mapped(rig);
        const sizes = plan.sizes;
        for (const bad of [size / 2, size * 2, 0].filter((s) => !sizes.includes(s))) {
          const page = { iova: plan.start, paddr: plan.endPaddr / 2, size: bad };
          const call = (): number =>
            rig.table.mapPages(page.iova, page.paddr, page.size, 1, rig.prot);
          unchanged(rig, `map of a page of ${hex(bad)}`, call, badSize);
          rig.same('bytes mapped', rig.table.mapped, 0);
          unchanged(
            rig,
            `unmap of a page of ${hex(bad)}`,
            () => rig.table.unmapPages(plan.inside(size), bad, 1, null),
            0,
          );
        }
      },
    });
  return rules;
}
