import { describe, expect, test } from 'vitest';
import { type FieldRows, type Layout, LayoutError, layout } from '../src/index.ts';

const rows = {
  V: { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'valid' },
  MODE: { dw: 0, hi: 3, lo: 1, kind: 'enum', is: 'mode', of: { 0: 'abort', 4: 'bypass' } },
  RES0_5_4: { dw: 0, hi: 5, lo: 4, kind: 'res0', is: 'reserved' },
  PTR: { dw: 0, hi: 51, lo: 6, kind: 'addr', is: 'table, bytes' },
  RES0_58_52: { dw: 0, hi: 58, lo: 52, kind: 'res0', is: 'reserved' },
  MAX: { dw: 0, hi: 63, lo: 59, kind: 'uint', is: 'log2 of entries' },
  LOW: { dw: 1, hi: 31, lo: 0, kind: 'uint', is: 'a whole low lane' },
  HIGH: { dw: 1, hi: 63, lo: 32, kind: 'uint', is: 'a whole high lane' },
  TAG: { dw: 2, hi: 11, lo: 0, kind: 'uint', is: 'tag' },
  LADDR: { dw: 2, hi: 19, lo: 12, kind: 'addr', is: 'address in the low lane' },
  SPAN: { dw: 2, hi: 35, lo: 20, kind: 'uint', is: 'straddles the lanes' },
  HADDR: { dw: 2, hi: 62, lo: 36, kind: 'addr', is: 'address in the high lane' },
  TOP: { dw: 2, hi: 63, lo: 63, kind: 'impdef', is: 'implementation defined' },
  WORD: { dw: 3, hi: 63, lo: 0, kind: 'u64', is: 'a doubleword' },
} as const satisfies FieldRows;
const ENTRY: Layout<typeof rows> = layout('ENTRY', { dwords: 4, spec: 'test' }, rows);

function thrown(action: () => unknown): LayoutError {
  try {
    action();
  } catch (error) {
    if (error instanceof LayoutError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('definition', () => {
  const info = { dwords: 1, spec: 'test' };
  const row = { dw: 0, hi: 63, lo: 0, kind: 'uint', is: 'all' } as const;

  test.each([
    { name: 'a doubleword too far', rows: { A: { ...row, dw: 1 } } },
    { name: 'a negative doubleword', rows: { A: { ...row, dw: -1 } } },
    { name: 'bit 64', rows: { A: { ...row, hi: 64 } } },
    { name: 'bit -1', rows: { A: { ...row, lo: -1 } } },
    { name: 'low above high', rows: { A: { ...row, hi: 3, lo: 4 } } },
    { name: 'a u64 of half a doubleword', rows: { A: { ...row, hi: 31, kind: 'u64' as const } } },
  ])('$name is out of bounds', (sample) => {
    const error = thrown(() => layout('L', info, sample.rows as FieldRows));
    expect(error.code).toBe('LAYOUT_BOUNDS');
    expect(error.operands).toEqual({ layout: 'L', field: 'A' });
  });

  test('two rows that share one bit overlap', () => {
    const error = thrown(() =>
      layout('L', info, { A: { ...row, hi: 32 }, B: { ...row, lo: 32 } } as const),
    );
    expect(error.code).toBe('LAYOUT_OVERLAP');
    expect(error.operands).toEqual({ layout: 'L', field: 'B', other: 'A' });
    expect(error.message).toContain('L.B overlaps A');
  });

  test.each([0, 31, 32, 63])('bit %d without a row is a gap', (bit) => {
    const parts: Record<string, FieldRows[string]> = {};
    if (bit > 0) parts['A'] = { ...row, hi: bit - 1 };
    if (bit < 63) parts['B'] = { ...row, lo: bit + 1 };
    const error = thrown(() => layout('L', info, parts));
    expect(error.code).toBe('LAYOUT_GAP');
    expect(error.operands.field).toBe(`dw0[${bit}]`);
  });

  test('a gap in the second doubleword is found', () => {
    const error = thrown(() => layout('L', { dwords: 2, spec: 'test' }, { A: row } as const));
    expect(error.operands.field).toBe('dw1[0]');
  });

  test('a 32-bit register needs rows for its low lane only', () => {
    const R = layout('R', { dwords: 1, spec: 'test', width: 32, offset: 0x20 }, {
      EN: { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'enable' },
      RES0_31_1: { dw: 0, hi: 31, lo: 1, kind: 'res0', is: 'reserved' },
    } as const);
    expect(R.info.offset).toBe(0x20);
    expect(R.get.EN([1])).toBe(1);
    const gap = thrown(() =>
      layout('R', { dwords: 1, spec: 'test', width: 32 }, { A: { ...row, hi: 30 } } as const),
    );
    expect(gap.operands.field).toBe('dw0[31]');
    const high = thrown(() =>
      layout('R', { dwords: 1, spec: 'test', width: 32 }, { A: { ...row, hi: 32 } } as const),
    );
    expect(high.code).toBe('LAYOUT_BOUNDS');
  });

  test('a setter touches only lanes that its field lies in', () => {
    const one = [0];
    layout('R', { dwords: 1, spec: 'test', width: 32 }, {
      BASE: { dw: 0, hi: 31, lo: 12, kind: 'addr', is: 'base' },
      RES0_11_0: { dw: 0, hi: 11, lo: 0, kind: 'res0', is: 'reserved' },
    } as const).set.BASE(one, 0xffff_f000);
    expect(one).toEqual([0xffff_f000]);
  });

  test('name, rows, size and information are kept', () => {
    expect(ENTRY).toMatchObject({ name: 'ENTRY', lanes: 8, info: { dwords: 4, spec: 'test' } });
    expect(ENTRY.rows).toBe(rows);
  });
});

describe('getters and setters', () => {
  test.each([
    { field: 'V', value: 1, words: [1, 0, 0, 0, 0, 0, 0, 0] },
    { field: 'MODE', value: 5, words: [10, 0, 0, 0, 0, 0, 0, 0] },
    { field: 'PTR', value: 0x000f_ffff_ffff_ffc0, words: [0xffffffc0, 0xfffff, 0, 0, 0, 0, 0, 0] },
    { field: 'PTR', value: 0x1_0000_0040, words: [0x40, 1, 0, 0, 0, 0, 0, 0] },
    { field: 'MAX', value: 0x1f, words: [0, 0xf8000000, 0, 0, 0, 0, 0, 0] },
    { field: 'LOW', value: 0xffff_ffff, words: [0, 0, 0xffffffff, 0, 0, 0, 0, 0] },
    { field: 'HIGH', value: 0x8000_0001, words: [0, 0, 0, 0x80000001, 0, 0, 0, 0] },
    { field: 'LADDR', value: 0xff000, words: [0, 0, 0, 0, 0xff000, 0, 0, 0] },
    { field: 'SPAN', value: 0xabcd, words: [0, 0, 0, 0, 0xbcd00000, 0xa, 0, 0] },
    { field: 'HADDR', value: 0x7fff_fff0_0000_0000, words: [0, 0, 0, 0, 0, 0x7ffffff0, 0, 0] },
    { field: 'TOP', value: 1, words: [0, 0, 0, 0, 0, 0x80000000, 0, 0] },
  ] as const)('$field holds $value', ({ field, value, words }) => {
    const entry = new Uint32Array(8);
    ENTRY.set[field](entry, value);
    expect([...entry]).toEqual(words);
    expect(ENTRY.get[field](entry)).toBe(value);
    expect(ENTRY.get[field](new Int32Array(entry))).toBe(value);

    const full = new Uint32Array(8).fill(0xffffffff);
    ENTRY.set[field](full, 0);
    const inverse = words.map((word, i) => {
      const mask = ENTRY.mask(field)[i] as number;
      expect(word & ~mask).toBe(0);
      return ~mask >>> 0;
    });
    expect([...full]).toEqual(inverse);
  });

  test('an entry may start anywhere in its words', () => {
    const words = new Uint32Array(16);
    ENTRY.set.SPAN(words, 0xabcd, 8);
    ENTRY.set.V(words, 1, 8);
    expect([...words]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xbcd00000, 0xa, 0, 0]);
    expect(ENTRY.get.SPAN(words, 8)).toBe(0xabcd);
    expect(ENTRY.decode(words, 8).values.V).toBe(1);
    expect(ENTRY.decode(words).values.V).toBe(0);
  });

  test('bits that do not fit are dropped and touch no neighbour', () => {
    const entry = new Uint32Array(8);
    ENTRY.set.MODE(entry, 0xf);
    ENTRY.set.SPAN(entry, 0xf_ffff);
    ENTRY.set.PTR(entry, 2 ** 52 + 0x7f);
    ENTRY.set.MAX(entry, 0x3f);
    expect([...entry]).toEqual([0x4e, 0xf8000000, 0, 0, 0xfff00000, 0xf, 0, 0]);
  });

  test('reserved rows stay out of the type and the types follow the kinds', () => {
    const values = ENTRY.decode(new Uint32Array(8)).values;
    const word: { lo: number; hi: number } = values.WORD;
    const valid: number = values.V;
    expect([word, valid]).toEqual([{ lo: 0, hi: 0 }, 0]);
    // @ts-expect-error a reserved row is no field
    expect(values.RES0_5_4).toBeUndefined();
  });
});

describe('encode', () => {
  test('sets the named fields and leaves the rest zero', () => {
    const entry = ENTRY.encode({ V: 1, MODE: 4, PTR: 0x1_0000_0040, WORD: { lo: 7, hi: 8 } });
    expect([...entry]).toEqual([0x49, 1, 0, 0, 0, 0, 7, 8]);
    expect([...ENTRY.encode({})]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test.each([
    { name: 'one bit too many', values: { MODE: 8 } },
    { name: 'two for a bool', values: { V: 2 } },
    { name: 'a negative number', values: { LOW: -1 } },
    { name: 'a fraction', values: { LOW: 0.5 } },
    { name: 'no number', values: { LOW: Number.NaN } },
    { name: '2^32 in a lane', values: { HIGH: 2 ** 32 } },
    { name: 'an address with low bits', values: { PTR: 0x20 } },
    { name: 'an address above its field', values: { PTR: 2 ** 52 } },
    { name: 'two lanes for a number', values: { MAX: { lo: 1, hi: 0 } as unknown as number } },
  ])('refuses $name', ({ values }) => {
    const error = thrown(() => ENTRY.encode(values));
    expect(error.code).toBe('LAYOUT_VALUE');
    expect(error.operands).toMatchObject({ layout: 'ENTRY', field: Object.keys(values)[0] });
  });

  test('an unknown field is an error of its own', () => {
    const error = thrown(() => ENTRY.encode({ NONE: 1 } as unknown as { V: number }));
    expect(error.code).toBe('LAYOUT_FIELD');
    expect(error.name).toBe('LayoutError');
    expect(thrown(() => ENTRY.mask('NONE' as 'V')).code).toBe('LAYOUT_FIELD');
  });
});

describe('reading for people', () => {
  const entry = ENTRY.encode({ V: 1, MODE: 4, MAX: 9, WORD: { lo: 0x1000, hi: 1 } });

  test('decode gives every field and no stray bits', () => {
    const { values, stray } = ENTRY.decode(entry);
    expect(stray).toEqual([]);
    expect(values).toEqual({
      V: 1,
      MODE: 4,
      PTR: 0,
      MAX: 9,
      LOW: 0,
      HIGH: 0,
      TAG: 0,
      LADDR: 0,
      SPAN: 0,
      HADDR: 0,
      TOP: 0,
      WORD: { lo: 0x1000, hi: 1 },
    });
  });

  test('decode reports non-zero reserved fields, shifted down', () => {
    const words = Uint32Array.from(entry);
    words[0] = (words[0] as number) | (2 << 4);
    words[1] = (words[1] as number) | (0x41 << 20);
    expect(ENTRY.decode(words).stray).toEqual([
      { field: 'RES0_5_4', value: 2 },
      { field: 'RES0_58_52', value: 0x41 },
    ]);
  });

  test('mask is the bits of the named fields', () => {
    expect([...ENTRY.mask('V', 'PTR', 'WORD')]).toEqual([
      0xffffffc1, 0xfffff, 0, 0, 0, 0, 0xffffffff, 0xffffffff,
    ]);
    expect([...ENTRY.mask()]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('print names values and enumerators, and reserved fields only when set', () => {
    const lines = ENTRY.print(entry).split('\n');
    expect(lines).toContain('V          0x1');
    expect(lines).toContain('MODE       0x4 (bypass)');
    expect(lines).toContain('WORD       0x100001000');
    expect(lines.some((line) => line.startsWith('RES0'))).toBe(false);
    const words = Uint32Array.from(entry);
    words[0] = 0x10;
    expect(ENTRY.print(words)).toContain('RES0_5_4   0x1 (reserved, should be 0)');
    expect(ENTRY.print([...entry, ...words], 8)).toContain('MODE       0x0 (abort)');
  });

  test('diff names the fields that differ', () => {
    const other = Uint32Array.from(entry);
    expect(ENTRY.diff(entry, other)).toEqual([]);
    ENTRY.set.SPAN(other, 0x8000);
    other[6] = 0x1001;
    other[0] = (other[0] as number) | 0x20;
    expect(ENTRY.diff(entry, other)).toEqual(['RES0_5_4', 'SPAN', 'WORD']);
    expect(ENTRY.diff([...entry], new Int32Array(entry))).toEqual([]);
  });

  test('diff sees the lowest bit of a field that no double holds', () => {
    const W = layout('W', { dwords: 1, spec: 'test' }, {
      ALL: { dw: 0, hi: 63, lo: 0, kind: 'impdef', is: 'implementation defined' },
    } as const);
    expect(W.diff([0, 0x80000000], [1, 0x80000000])).toEqual(['ALL']);
  });

  test('diagram has one line a doubleword, high bits first', () => {
    expect(ENTRY.diagram().split('\n')).toEqual([
      'dw0 | 63:59 MAX | 58:52 - | 51:6 PTR | 5:4 - | 3:1 MODE | 0 V |',
      'dw1 | 63:32 HIGH | 31:0 LOW |',
      'dw2 | 63 TOP | 62:36 HADDR | 35:20 SPAN | 19:12 LADDR | 11:0 TAG |',
      'dw3 | 63:0 WORD |',
    ]);
  });
});
