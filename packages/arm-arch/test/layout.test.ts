import type { FieldRow, U64 } from '@iommukit/bits';
import { describe, expect, it } from 'vitest';
import { layouts } from './proof.ts';

describe.each([...layouts.values()].map((one) => [one.name, one] as const))('%s', (name, one) => {
  const width = one.info.width === 32 ? 32 : one.info.dwords * 64;
  const rows = Object.entries(one.rows) as [string, FieldRow][];

  it('gives every bit to exactly one row, named by bit when reserved', () => {
    let bits = 0;
    for (const [field, row] of rows) {
      bits += row.hi - row.lo + 1;
      const first = row.dw * 64 + row.lo;
      const last = row.dw * 64 + row.hi;
      if (row.kind === 'res0')
        expect(field).toBe(first === last ? `RES0_${first}` : `RES0_${last}_${first}`);
    }
    expect(bits).toBe(width);
  });

  it('reads each single bit in one field only, and encode restores it', () => {
    for (let bit = 0; bit < width; bit++) {
      const words = new Uint32Array(one.lanes);
      words[bit >> 5] = (1 << (bit & 31)) >>> 0;
      const { values, stray } = one.decode(words);
      const set = (Object.entries(values) as [string, number | U64][]).filter(([, value]) =>
        typeof value === 'number' ? value !== 0 : value.lo !== 0 || value.hi !== 0,
      );
      expect(set.length + stray.length).toBe(1);
      if (stray.length === 0)
        expect(one.encode(Object.fromEntries(set) as Record<string, number>)).toEqual(words);
    }
  });

  it('cites a section', () => {
    expect(one.info.spec).toMatch(/^(IHI 0070|DDI 0487) [A-Z]?\d/);
    if (one.info.offset !== undefined) expect(one.info.access).toBeDefined();
    expect(one.name).toBe(name);
  });
});
