import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FieldRow, fromBigInt, layout, toBigInt } from '../src/index.ts';
import { word64 } from './words.ts';

interface Sample {
  readonly rows: Record<string, FieldRow>;
  readonly dwords: number;
}

const kinds = fc.constantFrom<FieldRow['kind']>('uint', 'addr');

/** A layout that covers its bits: each doubleword cut at drawn places, so fields lie low, high and across the lanes. */
const sample: fc.Arbitrary<Sample> = fc
  .array(fc.tuple(fc.uniqueArray(fc.integer({ min: 1, max: 63 }), { maxLength: 9 }), kinds), {
    minLength: 1,
    maxLength: 4,
  })
  .map((dwords) => {
    const rows: Record<string, FieldRow> = {};
    dwords.forEach(([cuts, kind], dw) => {
      const edges = [0, ...cuts.toSorted((a, b) => a - b), 64];
      edges.slice(1).forEach((end, i) => {
        const lo = edges[i] as number;
        rows[`F${dw}_${lo}`] = { dw, hi: end - 1, lo, kind, is: 'drawn' };
      });
    });
    return { rows, dwords: dwords.length };
  });

function bits(row: FieldRow): bigint {
  return (2n ** BigInt(row.hi - row.lo + 1) - 1n) << BigInt(row.lo);
}

function at(words: Uint32Array, row: FieldRow): bigint {
  return toBigInt({ lo: words[row.dw * 2] as number, hi: words[row.dw * 2 + 1] as number });
}

function draw(words: readonly bigint[], lanes: number): Uint32Array {
  return Uint32Array.from({ length: lanes }, (_, i) => {
    const { lo, hi } = fromBigInt(words[i >> 1] as bigint);
    return i % 2 === 0 ? lo : hi;
  });
}

const entry = fc.tuple(sample, fc.array(word64, { minLength: 4, maxLength: 4 }));

test('a getter is shift and mask of the doubleword', () => {
  fc.assert(
    fc.property(entry, ([{ rows, dwords }, drawn]) => {
      const L = layout('L', { dwords, spec: 'test' }, rows);
      const words = draw(drawn, L.lanes);
      for (const [field, row] of Object.entries(rows)) {
        const placed = at(words, row) & bits(row);
        const expected = row.kind === 'addr' ? placed : placed >> BigInt(row.lo);
        expect(L.get[field]?.(words)).toBe(Number(expected));
      }
    }),
  );
});

test('a setter replaces its bits and no other, in whichever words it gets', () => {
  fc.assert(
    fc.property(entry, fc.maxSafeNat(), ([{ rows, dwords }, drawn], wanted) => {
      const L = layout('L', { dwords, spec: 'test' }, rows);
      for (const [field, row] of Object.entries(rows)) {
        const words = draw(drawn, L.lanes);
        const before = [...words];
        const placed = row.kind === 'addr' ? BigInt(wanted) : BigInt(wanted) << BigInt(row.lo);
        const expected = (at(words, row) & ~bits(row)) | (placed & bits(row));
        L.set[field]?.(words, wanted);
        expect(at(words, row)).toBe(expected);
        before.forEach((word, i) => {
          if (i >> 1 !== row.dw) expect(words[i]).toBe(word);
        });
        const signed = new Int32Array(before);
        L.set[field]?.(signed, wanted);
        expect(Uint32Array.from(signed)).toEqual(words);
        const plain = [...before];
        L.set[field]?.(plain, wanted);
        expect(plain).toEqual([...words]);
      }
    }),
  );
});

test('the masks of all fields are all bits, of one field its own', () => {
  fc.assert(
    fc.property(sample, ({ rows, dwords }) => {
      const L = layout('L', { dwords, spec: 'test' }, rows);
      const all = L.mask(...Object.keys(rows));
      expect([...all].every((lane) => lane === 0xffffffff)).toBe(true);
      for (const [field, row] of Object.entries(rows)) {
        const mask = L.mask(field);
        expect(at(mask, row)).toBe(bits(row));
      }
    }),
  );
});

test('diff names exactly the fields of the flipped bits', () => {
  fc.assert(
    fc.property(
      entry,
      fc.uniqueArray(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
      ([{ rows, dwords }, drawn], flips) => {
        const L = layout('L', { dwords, spec: 'test' }, rows);
        const a = draw(drawn, L.lanes);
        const b = Uint32Array.from(a);
        const inside = flips.filter((bit) => bit < dwords * 64);
        for (const bit of inside) b[bit >> 5] = (b[bit >> 5] as number) ^ (1 << (bit & 31));
        const expected = Object.entries(rows)
          .filter(([, { dw, hi, lo }]) =>
            inside.some((bit) => bit >= dw * 64 + lo && bit <= dw * 64 + hi),
          )
          .map(([field]) => field);
        expect(L.diff(a, b)).toEqual(expected);
      },
    ),
  );
});

test('encode and decode are inverse where a double is exact', () => {
  fc.assert(
    fc.property(entry, ([{ rows, dwords }, drawn]) => {
      const L = layout('L', { dwords, spec: 'test' }, rows);
      const narrow = L.mask(
        ...Object.entries(rows)
          .filter(([, row]) => row.hi - row.lo < 53)
          .map(([field]) => field),
      );
      const words = draw(drawn, L.lanes).map((lane, i) => lane & (narrow[i] as number));
      expect(L.encode(L.decode(words).values)).toEqual(words);
    }),
  );
});
