import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type GoldenFile, replayGolden } from './golden-replay.ts';

const folder = new URL('./fixtures/', import.meta.url);
const load = (name: string): GoldenFile =>
  JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as GoldenFile;
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));

describe('recorded from the kernel', () => {
  test('all three files are here', () => {
    expect(names).toEqual(['iova_flush_retry.json', 'iova_limits.json', 'iova_reserve.json']);
  });

  test.each(names)('%s', (name) => {
    const file = load(name);
    const result = replayGolden(file);
    expect(result.mismatches).toEqual([]);
    expect(result.ops).toBe(file.ops.length);
    expect(result.values).toBeGreaterThan(result.ops);
  });

  test('a changed record is noticed', () => {
    const file = load('iova_limits.json');
    const ops = file.ops.map((op) => (op.op === 'alloc_fast' ? { ...op, pfn: '0x1' } : op));
    const changed = ops.filter((op) => op.op === 'alloc_fast').length;
    expect(changed).toBe(229);
    expect(replayGolden({ ...file, ops }).mismatches.length).toBe(changed);
  });

  test('an unknown operation is noticed', () => {
    const file = load('iova_limits.json');
    const ops = [{ op: 'resize' }] as unknown as GoldenFile['ops'];
    expect(replayGolden({ ...file, ops }).mismatches).toEqual(['op 0 resize: unknown operation']);
  });
});
