import { openCapture } from '@iommukit/captures';
import { expect, test } from 'vitest';
import { replayCapture, shippedCapture } from '../src/index.ts';

const source = shippedCapture('linux-6.12-lazy') ?? '';

const exact = (compared: number) => ({
  compared,
  equal: compared,
  explained: 0,
  unexplained: 0,
  reasons: {},
});

test('stopped at the busy dump, the machine answers from its caches for the pages that wait for a flush', () => {
  const { checks, counters, ok } = replayCapture(openCapture(source), { until: 'busy' });
  // truth.jsonl: 84 lines match the tables, 131 are not-in-tables.
  expect(checks.pending).toEqual(exact(131));
  expect(checks.translations).toEqual(exact(78_141));
  expect(counters).toMatchObject({ staleUses: 0, translationsAfterMark: 0 });
  expect(ok).toBe(true);
}, 120_000);

test('stopped at the idle mark, it has freed, issued and mapped what the kernel had', () => {
  const { checks, counters, ok } = replayCapture(openCapture(source), { until: 'idle' });
  // QEMU's log up to the dump's byte offset (run.json): 52,644 translations.
  expect(checks.translations).toEqual(exact(52_644));
  expect(checks.cmdq).toEqual(exact(725));
  expect(checks.leaves).toEqual(exact(1064));
  expect(counters).toMatchObject({ staleUses: 0, translationsAfterMark: 0 });
  expect(ok).toBe(true);
}, 120_000);
