// Two producers and the consumer of a small command queue under every schedule. The threads run the shipped code and are stopped before
// each access to shared memory. With IOMMUKIT_SOAK and IOMMUKIT_SCHEDULES set the larger cases are explored too, and the numbers printed:
//   IOMMUKIT_SOAK=1 IOMMUKIT_SCHEDULES=1 node tools/pn.mjs exec vitest run --config tools/vitest.config.ts --project smmu-v3-driver queue-schedules
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queueWordsBytes } from '../src/index.ts';
import { exploreAll } from './explore.lanes.ts';
import { REGISTER_BYTES } from './shared-queue.lanes.ts';
import { OUTCOME, STAGE_BYTES, Stage } from './step-gate.lanes.ts';
import { MOST_LISTS, SCRIPT, SCRIPT_WORDS, SIGNALS, type StepTask } from './step-worker.ts';

const BOOT = new URL('../../../tools/worker-boot.mjs', import.meta.url);
const ENTRY = new URL('./step-worker.ts', import.meta.url).href;
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const ASKED = process.env['IOMMUKIT_SCHEDULES'] !== undefined;
const PROD = 0;
const CONS = 1;
const LOCK = 2;
const OWNER = 3;
const VALID = 4;

const shared: Omit<StepTask, 'who'> = {
  stage: new SharedArrayBuffer(STAGE_BYTES),
  script: new SharedArrayBuffer(SCRIPT_WORDS * 4),
  ram: new SharedArrayBuffer(0x1000),
  registers: new SharedArrayBuffer(REGISTER_BYTES),
  words: new SharedArrayBuffer(queueWordsBytes(3)),
  seen: new SharedArrayBuffer(8),
  wrong: new SharedArrayBuffer(12),
};
const stage = new Stage(shared.stage, 3);
const workers: Worker[] = [];

beforeAll(() => {
  for (let who = 0; who < 3; who++)
    workers.push(
      new Worker(BOOT, {
        workerData: { entry: ENTRY, who, ...shared },
        execArgv: ['--conditions=@iommukit/source'],
      }),
    );
});
afterAll(() => Promise.all(workers.map((worker) => worker.terminate())));

/** Commands of a list, with a SYNC or without. */
type List = readonly [count: number, sync: 0 | 1];

interface Case {
  readonly name: string;
  readonly lg2: number;
  readonly signal: (typeof SIGNALS)[number];
  /** Most entries between two moves of CONS. */
  readonly burst: number;
  readonly lists: readonly [readonly List[], readonly List[]];
  /** Not in `npm test`: in `npm run soak`, or only when IOMMUKIT_SCHEDULES is set too. */
  readonly when?: 'soak' | 'asked';
}

const CASES: readonly Case[] = [
  { name: 'a command each', lg2: 2, signal: 'sev', burst: 4, lists: [[[1, 0]], [[1, 0]]] },
  {
    name: 'a command each, CONS moves for each',
    lg2: 2,
    signal: 'sev',
    burst: 1,
    lists: [[[1, 0]], [[1, 0]]],
    when: 'soak',
  },
  { name: 'a command and a SYNC', lg2: 2, signal: 'sev', burst: 4, lists: [[[1, 0]], [[0, 1]]] },
  {
    name: 'a SYNC each',
    lg2: 2,
    signal: 'sev',
    burst: 4,
    lists: [[[0, 1]], [[0, 1]]],
    when: 'asked',
  },
  {
    name: 'a SYNC each by MSI',
    lg2: 2,
    signal: 'msi',
    burst: 4,
    lists: [[[0, 1]], [[0, 1]]],
    when: 'soak',
  },
  {
    name: 'three lists',
    lg2: 2,
    signal: 'sev',
    burst: 4,
    lists: [
      [
        [1, 0],
        [1, 0],
      ],
      [[1, 0]],
    ],
    when: 'asked',
  },
  {
    name: 'room for two of three',
    lg2: 1,
    signal: 'sev',
    burst: 2,
    lists: [
      [
        [1, 0],
        [1, 0],
      ],
      [[1, 0]],
    ],
    when: 'asked',
  },
  { name: 'room for one of two', lg2: 1, signal: 'sev', burst: 2, lists: [[[2, 0]], [[1, 0]]] },
  {
    name: 'room for a list beside a SYNC',
    lg2: 1,
    signal: 'sev',
    burst: 2,
    lists: [[[2, 0]], [[0, 1]]],
    when: 'soak',
  },
  {
    name: 'room for one SYNC',
    lg2: 0,
    signal: 'sev',
    burst: 2,
    lists: [[[0, 1]], [[0, 1]]],
    when: 'asked',
  },
  {
    name: 'room for one SYNC by MSI',
    lg2: 0,
    signal: 'msi',
    burst: 2,
    lists: [[[0, 1]], [[0, 1]]],
    when: 'asked',
  },
  {
    name: 'room for one command and SYNC',
    lg2: 1,
    signal: 'sev',
    burst: 2,
    lists: [[[1, 1]], [[0, 1]]],
    when: 'asked',
  },
];

function words(buffer: SharedArrayBuffer): Int32Array {
  return new Int32Array(buffer);
}

function prepare({ lg2, signal, burst, lists }: Case): void {
  const script = words(shared.script);
  script.fill(0);
  script[SCRIPT.lg2] = lg2;
  script[SCRIPT.signal] = SIGNALS.indexOf(signal);
  script[SCRIPT.burst] = burst;
  lists.forEach((of, who) => {
    of.forEach(([count, sync], i) => {
      script.set([count, sync], SCRIPT.lists + (who * MOST_LISTS + i) * 2);
      script[SCRIPT.entries] = (script[SCRIPT.entries] as number) + count + sync;
    });
  });
  for (const buffer of [shared.ram, shared.registers, shared.words, shared.seen, shared.wrong])
    words(buffer).fill(0);
}

/** What a run left behind that it should not have. */
function wrongIn(one: Case, outcome: number): string[] {
  if (outcome !== OUTCOME.finished) return ['not finished'];
  const entries = one.lists.flat().reduce((sum, [count, sync]) => sum + count + sync, 0);
  const after = words(shared.words);
  // Every entry of this round was marked once.
  const size = 2 ** one.lg2;
  const inRound = 2 ** (entries % size) - 1;
  const valid = Math.floor(entries / size) % 2 === 0 ? inRound : 2 ** size - 1 - inRound;
  const rows: readonly [string, boolean][] = [
    ['commands or SYNCs', words(shared.wrong).some((count) => count !== 0)],
    ['PROD', after[PROD] !== entries],
    ['OWNER', after[OWNER] !== entries],
    ['LOCK', after[LOCK] !== 0],
    ['CONS', (after[CONS] ?? 0) > entries],
    ['VALID', after[VALID] !== valid],
  ];
  return rows.flatMap(([name, wrong]) => (wrong ? [name] : []));
}

describe('two producers and the consumer, every schedule', () => {
  for (const one of CASES) {
    if (one.when === 'asked' ? !ASKED : one.when === 'soak' && !SOAK) continue;
    test(one.name, { timeout: 3_600_000 }, () => {
      const started = process.hrtime.bigint();
      const explored = exploreAll(stage, {
        most: SOAK ? 2_000_000 : 20_000,
        prepare: () => prepare(one),
        check(outcome) {
          expect(wrongIn(one, outcome)).toEqual([]);
        },
      });
      if (SOAK)
        process.stdout.write(
          `${one.name}: ${explored.schedules} schedules of up to ${explored.longest} steps, ${Number((process.hrtime.bigint() - started) / 1_000_000n)} ms\n`,
        );
      expect(explored.complete).toBe(true);
    });
  }

  // Last: its threads may be left where they are.
  test('a reservation that is no single access is found out', () => {
    const [one] = CASES;
    if (one === undefined) throw new Error('no case');
    const found: string[] = [];
    exploreAll(stage, {
      most: 20_000,
      prepare() {
        prepare(one);
        words(shared.script)[SCRIPT.torn] = 1;
      },
      check: (outcome) => {
        if (found.length === 0) found.push(...wrongIn(one, outcome));
      },
    });
    expect(found).not.toEqual([]);
  });
});
