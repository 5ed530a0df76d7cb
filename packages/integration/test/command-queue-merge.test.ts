import { describe, expect, test } from 'vitest';
import { CheckTally } from '../src/replay/check-tally.ts';
import type { CommandList } from '../src/replay/command-lists.ts';
import { compareQueues, type QueueImage } from '../src/replay/command-queue-merge.ts';

const SYNC = [0x0fc02046, 0, 0, 0];
const list = (cpu: number): CommandList => ({
  n: 1,
  sync: 1,
  first: [0, 0, 0, 0],
  cpu,
  context: cpu,
});
const image = (...commands: number[]): QueueImage => {
  const words = commands.flatMap((id) => [0x12, id, 0, 0, ...SYNC]);
  return { words: Uint32Array.from(words), entries: words.length / 4 };
};
const compare = (ours: QueueImage, theirs: QueueImage, cpus: readonly number[]): CheckTally => {
  const tally = new CheckTally();
  compareQueues(ours, theirs, { cpus: new Set(cpus).size, issued: cpus.map(list) }, tally);
  return tally;
};

const rows = [
  {
    name: 'equal queues',
    input: [image(1, 2), image(1, 2), [0, 1]] as const,
    expected: { compared: 4, equal: 4, explained: 0, unexplained: 0, reasons: {} },
  },
  {
    name: 'lists of two CPUs swapped: explained',
    input: [image(1, 2), image(2, 1), [0, 1]] as const,
    expected: { compared: 4, equal: 2, explained: 2, unexplained: 0, reasons: { 'cpu-order': 2 } },
  },
  {
    name: 'lists of one CPU swapped: not explained',
    input: [image(1, 2, 3), image(2, 1, 3), [0, 0, 1]] as const,
    expected: { compared: 6, equal: 4, explained: 0, unexplained: 2, reasons: {} },
  },
  {
    name: 'another command: not explained',
    input: [image(1, 2), image(1, 3), [0, 1]] as const,
    expected: { compared: 4, equal: 3, explained: 0, unexplained: 1, reasons: {} },
  },
  {
    name: 'a command that only we have: not explained',
    input: [image(1, 2), image(1), [0, 1]] as const,
    expected: { compared: 4, equal: 2, explained: 0, unexplained: 2, reasons: {} },
  },
  {
    name: 'further than two insertions can race: not explained',
    input: [
      image(1, ...Array.from({ length: 20 }, (_, i) => 10 + i)),
      image(...Array.from({ length: 20 }, (_, i) => 10 + i), 1),
      [0, ...Array.from({ length: 20 }, () => 1)],
    ] as const,
    expected: { compared: 42, equal: 21, explained: 0, unexplained: 21, reasons: {} },
  },
];

describe('the queue of several CPUs', () => {
  test.each(rows)('$name', ({ input: [ours, theirs, cpus], expected }) => {
    expect(compare(ours, theirs, cpus).result).toEqual(expected);
  });
});
