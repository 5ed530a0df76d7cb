import { expect, test } from 'vitest';
import { CheckTally } from '../src/replay/check-tally.ts';
import { FreesCheck } from '../src/replay/frees-check.ts';

type Free = readonly [who: 'ours' | 'theirs', domain: string, pfn: number, pages: number];

const rows: readonly {
  readonly rule: string;
  readonly frees: readonly Free[];
  readonly equal: number;
  readonly unexplained: number;
}[] = [
  {
    rule: 'the kernel frees later what a flush has freed',
    frees: [
      ['ours', 'a', 1, 1],
      ['ours', 'a', 2, 4],
      ['theirs', 'a', 2, 4],
      ['theirs', 'a', 1, 1],
    ],
    equal: 2,
    unexplained: 0,
  },
  {
    rule: 'the domain counts',
    frees: [
      ['ours', 'a', 1, 1],
      ['theirs', 'b', 1, 1],
    ],
    equal: 0,
    unexplained: 2,
  },
  {
    rule: 'the size counts',
    frees: [
      ['ours', 'a', 1, 1],
      ['theirs', 'a', 1, 2],
    ],
    equal: 0,
    unexplained: 2,
  },
  {
    rule: 'how often counts',
    frees: [
      ['ours', 'a', 1, 1],
      ['ours', 'a', 1, 1],
      ['theirs', 'a', 1, 1],
    ],
    equal: 1,
    unexplained: 1,
  },
  {
    rule: 'no free comes before its flush',
    frees: [
      ['theirs', 'a', 1, 1],
      ['ours', 'a', 1, 1],
    ],
    equal: 0,
    unexplained: 2,
  },
];

test.each(rows)('$rule', ({ frees, equal, unexplained }) => {
  const check = new FreesCheck();
  for (const [who, ...range] of frees) check[who](...range);
  const tally = new CheckTally();
  check.report(tally);
  expect(tally.result).toMatchObject({ equal, unexplained, explained: 0 });
});
