import { hex } from '@iommukit/bits';
import { IotlbGather } from '../iotlb-gather.ts';
import { ContractError } from './contract-error.ts';
import type { ContractPlan, Rule } from './contract-plan.ts';
import { ContractRig, type Page } from './contract-rig.ts';
import type { ContractSubject } from './contract-subject.ts';

const WATCHED = { watched: true } as const;

/** What is seen while a call runs, when frames run out, and in the counters. */
export function orderRules(subject: ContractSubject, plan: ContractPlan): Rule[] {
  const rules: Rule[] = [];
  for (const size of plan.sizes.slice(0, 8)) {
    const name = hex(size);
    rules.push(
      {
        name: `pages of ${name}: tables are built, cleaned, linked, unlinked, flushed, freed in this order`,
        options: WATCHED,
        run: (rig) => lifetime(rig, plan, size),
      },
      {
        name: `pages of ${name}: every allocation that fails is survived`,
        run: () => outOfFrames(subject, plan, size),
      },
    );
  }
  rules.push(
    {
      name: 'large pages replace emptied tables in order',
      options: WATCHED,
      run: (rig) => replacement(rig, plan),
    },
    { name: 'creation survives every allocation that fails', run: () => creation(subject) },
    { name: 'counters count what happened', options: WATCHED, run: (rig) => counting(rig, plan) },
    { name: 'a queued gather is given no pages', run: (rig) => queued(rig, plan) },
  );
  return rules;
}

/** Pages on both sides of the highest boundary that there is: the run that needs most tables. */
function longest(plan: ContractPlan, size: number): Page[] {
  const span = plan.boundaries(size).at(-1);
  const lead = span === undefined ? 0 : Math.min(2, span / size);
  return plan.pages(plan.start + (span ?? 0) - lead * size, size, lead + 2);
}

function lifetime(rig: ContractRig, plan: ContractPlan, size: number): void {
  const pages = longest(plan, size);
  const [first] = pages;
  if (first === undefined) return;
  const depth = plan.spans.filter((span) => span > size).length;
  rig.put(first, pages.length);
  if (depth > 0 && size < plan.end - plan.start)
    rig.holdsThat('tables were linked', rig.watch.links > 0);
  rig.holds(pages);
  rig.same('bytes unmapped', rig.unmap(first.iova, size, pages.length), size * pages.length);
  rig.holds([]);
  // Once more through the tables that stayed, or through new ones in the frames of those that did not.
  rig.put(first, pages.length);
  for (const page of pages) rig.translates(page);
  rig.holds(pages);
}

function replacement(rig: ContractRig, plan: ContractPlan): void {
  for (const { small, large, oneLevel } of plan.pairs().slice(0, 12)) {
    if (oneLevel) continue;
    const big = plan.page(plan.inside(large), large);
    rig.put(plan.page(big.iova, small));
    rig.put(plan.page(big.iova + large - small, small));
    rig.same('bytes unmapped', rig.unmap(big.iova, small), small);
    rig.same('bytes unmapped', rig.unmap(big.iova + large - small, small), small);
    rig.put(big);
    rig.holds([big]);
    rig.same('bytes unmapped', rig.unmap(big.iova, large), large);
    rig.holds([]);
  }
}

function outOfFrames(subject: ContractSubject, plan: ContractPlan, size: number): void {
  const pages = longest(plan, size);
  const [first] = pages;
  if (first === undefined) return;
  const counted = new ContractRig(subject, WATCHED);
  const before = counted.allocs;
  counted.put(first, pages.length);
  const allocs = counted.allocs - before;
  counted.finish();
  for (let k = 1; k <= allocs; k++) {
    const rig = new ContractRig(subject, WATCHED);
    rig.failAt = k;
    const { errno, done } = rig.map(first, pages.length);
    rig.same(`map without the frame of table ${k}`, errno, -12);
    rig.holds(pages.slice(0, done / size));
    for (const page of pages.slice(0, done / size)) rig.translates(page);
    const rest = pages[done / size] as Page;
    rig.put(rest, pages.length - done / size);
    rig.holds(pages);
    rig.same('bytes unmapped', rig.unmap(first.iova, size, pages.length), size * pages.length);
    rig.holds([]);
    rig.finish();
  }
}

function creation(subject: ContractSubject): void {
  const counted = new ContractRig(subject, { watched: false });
  const { allocs } = counted;
  counted.finish();
  for (let k = 1; k <= allocs; k++) {
    let result = 0;
    let left = 0;
    let calls = 0;
    const frames = counted.frames;
    const table = subject.create({
      memory: counted.cpu,
      frames: {
        alloc(bytes) {
          if (++calls === k) return -1;
          left++;
          return frames.alloc(bytes);
        },
        free(pa, bytes) {
          left--;
          frames.free(pa, bytes);
        },
      },
      flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
      invalidated() {},
      warn() {},
    });
    result = typeof table === 'number' ? table : 0;
    if (result !== -12 || left !== 0)
      throw new ContractError({
        subject: subject.name,
        rule: `creation without the frame of table ${k}`,
        expected: '-12 and no frame in use',
        got: `${result} and ${left} frames`,
      });
  }
}

function counting(rig: ContractRig, plan: ContractPlan): void {
  const { counters } = rig.table;
  const { stores, cleanCalls, cleanLines } = counters;
  const seen = { ...rig.calls };
  const flushed = { ...counters };
  let calls = 0;
  const formatCalls = counters.formatCalls;
  for (const size of plan.sizes.slice(0, 4)) {
    const pages = longest(plan, size);
    for (const page of pages) {
      rig.same('map', rig.mapOnce(page, 1), 0);
      rig.same('unmap', rig.unmap(page.iova, size), size);
      rig.same('map', rig.mapOnce(page, 1), 0);
      calls += 3;
    }
    for (const page of pages) {
      rig.same('unmap', rig.unmap(page.iova, size), size);
      calls++;
    }
  }
  rig.same('format calls', counters.formatCalls - formatCalls, calls);
  rig.holdsThat('levels are counted', counters.levels >= calls);
  rig.same('stores counted are stores seen', counters.stores - stores, rig.watch.stores);
  rig.same(
    'clean calls counted are those seen',
    counters.cleanCalls - cleanCalls,
    rig.watch.cleanCalls,
  );
  rig.same('lines counted are those seen', counters.cleanLines - cleanLines, rig.watch.cleanLines);
  if (rig.subject.coherentWalk)
    rig.same('coherent tables are never cleaned', rig.watch.cleanCalls, 0);
  rig.same(
    'tlbAddPage counted',
    counters.tlbAddPages - flushed.tlbAddPages,
    rig.calls.pages - seen.pages,
  );
  rig.same(
    'tlbFlushWalk counted',
    counters.tlbFlushWalks - flushed.tlbFlushWalks,
    rig.calls.walks - seen.walks,
  );
  rig.same(
    'tlbFlushAll counted',
    counters.tlbFlushAlls - flushed.tlbFlushAlls,
    rig.calls.alls - seen.alls,
  );
  const walks = counters.walks;
  rig.table.iovaToPhys(plan.start);
  rig.same('a query is a walk', counters.walks - walks, 1);
}

function queued(rig: ContractRig, plan: ContractPlan): void {
  const [size = 0] = plan.sizes;
  const page = plan.page(plan.inside(size), size);
  rig.put(page);
  const gather = new IotlbGather();
  gather.queued = true;
  rig.same('bytes unmapped', rig.table.unmapPages(page.iova, size, 1, gather), size);
  rig.same('pages given to a queued gather', rig.calls.pages, 0);
  rig.sync(gather);
  rig.holds([]);
}
