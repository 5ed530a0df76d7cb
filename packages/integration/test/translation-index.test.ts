import { parseQemuOps } from '@iommukit/captures';
import { expect, test } from 'vitest';
import { TranslationIndex, type TranslationWindow } from '../src/replay/translation-index.ts';

const log = [
  'By 0x38 0x1000 1',
  'W 0x98 0x2 4',
  'T 0x8 0x1234 0x40000234 3',
  'I 0 1 0x1000 1 0x2 3 1 1',
  'W 0x98 0x4 4',
  'T 0x8 0x1010 0x50000010 3',
  'T 0x8 0x2010 0x60000010 3',
  'Ab 0x30 0x5000 0',
];
const digest = parseQemuOps(`${log.join('\n')}\n`, 'ops');
const everything: TranslationWindow = {
  limit: Infinity,
  lastLine: Infinity,
  lastProd: Infinity,
  walks: 'before-leaves',
};
const index = (window: Partial<TranslationWindow> = {}) =>
  new TranslationIndex(digest, new Map([[8, 1]]), { ...everything, ...window });

test('a translation after j invalidations belongs to the (j+1)-th mapping of its page', () => {
  const it = index();
  const seen: string[] = [];
  const run = (op: { line: number }) => seen.push(String(op.line));
  it.mapped(1, 0x1000, 0x1000);
  it.closing(1, 0x1000, 0x1000, run);
  expect(seen).toEqual(['3']);
  it.mapped(1, 0x1000, 0x2000);
  it.closeAll(run);
  // Page 0x2000 was invalidated without a mapping before: its translation belongs to a second one.
  expect(seen).toEqual(['3', '6']);
  expect(it.left).toBe(3);
});

test('an unmapped table is invalidated as a walk, then as leaves: one mapping ended', () => {
  const lines = [
    'T 0x8 0x1234 0x40000234 3',
    'I 0 1 0x0 1 0x200 0 0 1',
    'I 0 1 0x0 1 0x200 2 1 1',
    'T 0x8 0x1010 0x50000010 3',
  ];
  const table = parseQemuOps(`${lines.join('\n')}\n`, 'ops');
  for (const [walks, ordinal] of [
    ['before-leaves', 2],
    ['alone', 3],
  ] as const) {
    const it = new TranslationIndex(table, new Map([[8, 1]]), { ...everything, walks });
    for (let mapping = 1; mapping <= ordinal; mapping++) {
      expect(it.left).toBe(mapping === 1 ? 2 : 1);
      it.mapped(1, 0x1000, 0x1000);
      it.closing(1, 0x1000, 0x1000, () => {});
    }
    expect(it.left).toBe(0);
  }
});

test('accesses that were not translated wait for the commands before them', () => {
  const it = index();
  const seen: string[] = [];
  it.untranslated(0, (op) => seen.push(op.op));
  expect(seen).toEqual(['By']);
  it.untranslated(3, (op) => seen.push(op.op));
  expect(seen).toEqual(['By']);
  it.untranslated(4, (op) => seen.push(op.op));
  expect(seen).toEqual(['By', 'Ab']);
});

test('the window ends at a count, a line or a command', () => {
  expect(index().total).toBe(3);
  expect(index({ limit: 2 }).total).toBe(2);
  expect(index({ lastLine: 3 }).total).toBe(1);
  expect(index({ lastProd: 2 }).total).toBe(1);
});
