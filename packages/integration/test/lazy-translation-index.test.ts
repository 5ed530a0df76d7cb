import { parseQemuOps } from '@iommukit/captures';
import { expect, test } from 'vitest';
import { LazyTranslationIndex } from '../src/replay/lazy-translation-index.ts';

const everything = {
  limit: Infinity,
  lastLine: Infinity,
  lastProd: Infinity,
  walks: 'alone',
} as const;

const log = [
  'T 0x8 0x1000 0x40000000 3',
  'T 0x8 0x1010 0x40000010 3',
  'C TLBI_NH_ASID',
  'T 0x8 0x1020 0x40000020 3',
  'T 0x8 0x1030 0x40000030 3',
  'C TLBI_NH_ASID',
  'T 0x10 0x1000 0x60000000 3',
  'C TLBI_NH_ASID',
  'T 0x8 0x1000 0x50000000 3',
];

/** Stream 8 has ASID 1, stream 16 ASID 2; the flushes of the log are of ASIDs 1, 2, 1. */
function index(): {
  it: LazyTranslationIndex;
  seen: number[];
  run: (op: { line: number }) => void;
} {
  const digest = parseQemuOps(`${log.join('\n')}\n`, 'ops');
  const asids = new Map([
    [8, 1],
    [16, 2],
  ]);
  const seen: number[] = [];
  return {
    it: new LazyTranslationIndex(digest, asids, everything, [1, 2, 1]),
    seen,
    run: (op) => seen.push(op.line),
  };
}

test('a translation after n flushes belongs to the first mapping unmapped after n flushes or more', () => {
  const { it, seen, run } = index();
  it.mapped(1, 0x1000, 0x1000);
  it.flushed(1);
  it.closing(1, 0x1000, 0x1000, run);
  // After the last flush before the unmap only the first runs at once; here one ran before it.
  expect(seen).toEqual([1, 2]);
  expect(it.waiting).toEqual([1]);
  it.flushing(2, run);
  expect(seen).toEqual([1, 2]);
  it.flushing(1, run);
  it.flushed(1);
  expect(seen).toEqual([1, 2, 4, 5]);
  expect(it.waiting).toEqual([]);
  it.mapped(1, 0x1000, 0x1000);
  it.mapped(2, 0x1000, 0x1000);
  it.closeAll(run);
  expect(seen).toEqual([1, 2, 4, 5, 9, 7]);
  expect(it.left).toBe(0);
});

test('an unmap before a flush takes nothing that came after it', () => {
  const { it, seen, run } = index();
  it.mapped(1, 0x1000, 0x1000);
  it.closing(1, 0x1000, 0x1000, run);
  expect(seen).toEqual([1]);
  it.flushing(1, run);
  it.flushed(1);
  it.flushed(1);
  expect(seen).toEqual([1, 2]);
  // Nothing was mapped between the two flushes: lines 4 and 5 are the next mapping's, and would differ there.
  it.mapped(1, 0x1000, 0x1000);
  it.closing(1, 0x1000, 0x1000, run);
  expect(seen).toEqual([1, 2, 4, 5]);
  it.flushing(1, run);
  expect(seen).toEqual([1, 2, 4, 5, 9]);
});

test('an unmap of a table may invalidate at once: nothing of it waits', () => {
  const { it, seen, run } = index();
  it.mapped(1, 0, 0x20_0000);
  it.flushed(1);
  it.closing(1, 0, 0x20_0000, run);
  expect(seen).toEqual([1, 2, 4, 5]);
  expect(it.waiting).toEqual([]);
});

test('translations of pages that were never mapped are left', () => {
  const { it, run } = index();
  it.closeAll(run);
  expect(it.left).toBe(6);
});
