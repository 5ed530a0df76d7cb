import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { layouts, loadProofs, ProofBook, provableRows } from './proof.ts';

const GROUPS = ['behaviour', 'commands', 'descriptors', 'entries', 'events', 'registers'] as const;

interface Unproved {
  readonly unproved: Readonly<Record<string, string>>;
  readonly width: readonly string[];
}

const pinned = JSON.parse(
  readFileSync(new URL('./fixtures/unproved.json', import.meta.url), 'utf8'),
) as Unproved;

/** The bits of a row in the form in which its getter gives them. */
function fullMask(key: string): bigint {
  const [name, field] = key.split('.') as [string, string];
  const row = layouts.get(name)?.rows[field];
  if (row === undefined) throw new Error(key);
  const bits = (1n << BigInt(row.hi - row.lo + 1)) - 1n;
  return row.kind === 'addr' ? bits << BigInt(row.lo) : bits;
}

describe('rows against bytes of Linux and QEMU', () => {
  const book = new ProofBook();

  for (const group of GROUPS) {
    const records = loadProofs(group);
    it(`${group}: ${records.length} records decode to the stated values`, () => {
      expect(records.flatMap((record) => book.check(record))).toEqual([]);
      expect(records.length).toBeGreaterThan(0);
    });
  }

  it('a shifted value is refused', () => {
    const record = {
      layout: 'STE',
      words: ['0xb', '0x0'],
      fields: { Config: 4 },
      from: 'made for this test',
    };
    expect(new ProofBook().check(record)).toEqual(['STE.Config: 5 is not 4 (made for this test)']);
  });

  it('lists every row that nothing proves, with its section and source', () => {
    const unproved = Object.fromEntries(
      provableRows()
        .filter(({ key }) => !book.seen.has(key))
        .map(({ key, source }) => [key, source]),
    );
    expect(unproved).toEqual(pinned.unproved);
  });

  it('lists every proved row of which the data never set the highest or lowest bit', () => {
    const partly = provableRows()
      .map(({ key }) => key)
      .filter((key) => {
        const seen = book.seen.get(key);
        if (seen === undefined || /\.(Opcode|EventNumber)$/.test(key)) return false;
        const full = fullMask(key);
        const low = full & -full;
        const high = (full + low) >> 1n;
        return (seen & low) === 0n || (seen & high) === 0n;
      });
    expect(partly).toEqual(pinned.width);
  });
});
