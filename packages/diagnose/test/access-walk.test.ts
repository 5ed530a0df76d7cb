import { u64Of } from '@iommukit/bits';
import { readVerdicts } from '@iommukit/captures';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { type AccessWalk, type DumpImage, openDump, walkAccess } from '../src/index.ts';
import { removeDumps, STE_DW1, WrittenDump } from './written-dump.lanes.ts';

// A busy machine may take several seconds for a capture.
vi.setConfig({ testTimeout: 60_000 });

afterAll(removeDumps);

const CD = 0x4030_0000;
const TABLE = 0x4031_0000;
const NEXT = 0x4032_0000;
const S2 = 0x4050_0000;
const LEAF = 0x4100_0f47n;

function walk(
  image: DumpImage,
  sid: number,
  iova: number,
  rw: 'read' | 'write' = 'read',
): AccessWalk {
  return walkAccess(image, { streamId: sid, address: u64Of(iova), rw });
}

function names(found: AccessWalk): string[] {
  return found.steps.map(({ what, stage, level }) =>
    level === undefined ? what : `s${stage} l${level}`,
  );
}

describe('the captured tables', () => {
  const image = openDump('linux-6.12-strict-up', 'busy');
  const { rows } = readVerdicts(image.file.replace('snap.json', 'qemu-verdicts.jsonl'));

  test('for every access that QEMU made, the steps are exactly what the model fetched', () => {
    expect(rows).toHaveLength(925);
    for (const row of rows) {
      const found = walkAccess(image, { streamId: row.sid, address: row.iovaWord, rw: 'write' });
      expect(found.unaccounted).toEqual([]);
      const last = found.steps.at(-1);
      if (row.qemuWrite === 'ok') {
        expect(found.result).toEqual({ outcome: 'ok', paddr: u64Of(row.pa as number) });
        expect(last?.entry?.words).toEqual([row.pte]);
        expect(names(found)).toEqual(['L1STD', 'STE', 'CD', 's1 l0', 's1 l1', 's1 l2', 's1 l3']);
      } else {
        expect(found.result).toMatchObject({ outcome: 'fault', event: { event: row.qemuWrite } });
        expect(found.section).toBe('IHI 0070 7.3.13');
        expect(last?.says).toBe('invalid: no translation');
      }
    }
  });
});

describe('written tables', () => {
  const dump = (): WrittenDump =>
    new WrittenDump().stage1(8, CD, TABLE).map(TABLE, 0x1000, LEAF, { level: 0, next: NEXT });

  test('stage 1: each fetch with its address, words and section', () => {
    const found = walk(dump().open(), 8, 0x1234);
    expect(found.result).toEqual({ outcome: 'ok', paddr: u64Of(0x4100_0234) });
    expect(found.steps.map(({ address, section }) => [address.lo, section])).toEqual([
      [0x4020_0200, 'IHI 0070 5.2'],
      [CD, 'IHI 0070 5.4'],
      [TABLE, 'DDI 0487 D8.3'],
      [NEXT, 'DDI 0487 D8.3'],
      [NEXT + 0x1000, 'DDI 0487 D8.3'],
      [NEXT + 0x2008, 'DDI 0487 D8.3'],
    ]);
    expect(found.steps[0]?.entry?.fields.find(({ name }) => name === 'Config')).toEqual({
      name: 'Config',
      value: u64Of(5),
      meaning: 'stage 1',
    });
  });

  test('a table that the dump lacks: nothing is known, and it is no fault', () => {
    const image = dump()
      .word(TABLE + 8, 0x7000_0003n)
      .open();
    const found = walk(image, 8, 2 ** 39 + 0x1000);
    expect(found.result).toEqual({ outcome: 'not-in-dump', address: u64Of(0x7000_0000) });
    expect(found.steps.at(-1)).toMatchObject({ says: 'not in the dump', level: 1 });
  });

  test('a CD that the dump lacks', () => {
    const found = walk(new WrittenDump().ste(8, 0x7000_000bn, STE_DW1).open(), 8, 0x1000);
    expect(found.result).toEqual({ outcome: 'not-in-dump', address: u64Of(0x7000_0000) });
    expect(found.steps.at(-1)).toMatchObject({ what: 'CD', says: 'not in the dump' });
  });

  const rows = [
    { name: 'bypass', ste: [0x9n, 0n], outcome: 'bypass', section: 'IHI 0070 5.2' },
    {
      name: 'abort',
      ste: [0x1n, 0n],
      outcome: 'abort',
      section: 'IHI 0070 5.2',
      because: { section: 'IHI 0070 5.2', says: 'Config=0xx aborts without an event' },
    },
    {
      name: 'V=0',
      ste: [0n, 0n],
      outcome: 'fault',
      section: 'IHI 0070 7.3.5',
      because: { section: 'IHI 0070 5.2', says: 'STE.V=0' },
    },
  ];
  test.each(rows)('an STE with $name ends the walk', ({ ste, outcome, section, because }) => {
    const found = walk(new WrittenDump().ste(8, ...ste).open(), 8, 0x1000);
    expect(found.result.outcome).toBe(outcome);
    expect(found.section).toBe(section);
    expect(found.because).toEqual(because);
    expect(names(found)).toEqual(['STE']);
  });

  test('a stream beyond the table has no entry', () => {
    const found = walk(new WrittenDump().open(), 512, 0x1000);
    expect(found.steps).toEqual([]);
    expect(found.section).toBe('IHI 0070 7.3.3');
  });

  test('with SMMUEN=0 nothing is fetched', () => {
    const off = dump();
    off.registers['0x20'] = 0;
    off.registers['0x24'] = 0;
    const found = walk(off.open(), 8, 0x1234);
    expect(found.steps).toEqual([]);
    expect(found.result).toEqual({ outcome: 'bypass', paddr: u64Of(0x1234) });
  });

  test('the dump stays as it is, whatever the model writes', () => {
    const image = dump().open();
    const first = walk(image, 8, 0x9000);
    expect(first.result.outcome).toBe('fault');
    expect(walk(image, 8, 0x9000)).toEqual(first);
  });

  // DDI 0487 D8.2: 16 KiB tables index 11 bits from level 0, 64 KiB ones 13 bits from level 1.
  const granules = [
    { name: '16 KiB', tg0: 2n, levels: ['s1 l0', 's1 l1', 's1 l2', 's1 l3'], page: 0x4000 },
    { name: '64 KiB', tg0: 1n, levels: ['s1 l1', 's1 l2', 's1 l3'], page: 0x1_0000 },
  ];
  test.each(granules)('a $name granule', ({ tg0, levels, page }) => {
    const written = new WrittenDump().stage1(8, CD, TABLE);
    written.word(CD, written.at(CD) | (tg0 << 6n));
    for (const [i] of levels.entries()) {
      const last = i === levels.length - 1;
      const table = TABLE + i * 0x1_0000;
      written.word(last ? table + 8 : table, last ? LEAF : BigInt(table + 0x1_0000) | 3n);
    }
    const found = walk(written.open(), 8, page + 0x10);
    expect(names(found)).toEqual(['STE', 'CD', ...levels]);
    expect(found.result).toEqual({ outcome: 'ok', paddr: u64Of(0x4100_0010) });
    expect(found.unaccounted).toEqual([]);
  });
});

describe('stage 2', () => {
  // VTCR of a 40-bit IPA space from level 1: T0SZ 24, SL0 1, 4 KiB, 44 bits, AA64; S2R.
  const VTCR = (24n | (1n << 6n) | (4n << 16n) | (1n << 19n) | (1n << 26n)) << 32n;
  const nested = (config: bigint, pointer = 0n): WrittenDump => {
    const dump = new WrittenDump().ste(
      8,
      pointer | (config << 1n) | 1n,
      STE_DW1,
      VTCR | 5n,
      BigInt(S2),
    );
    let next = S2 + 0x10_0000;
    const identity = (page: number): void => {
      dump.map(S2, page, BigInt(page) | 0x7ffn, { level: 1, next });
      next += 0x4000;
    };
    for (const page of [CD, TABLE, NEXT, NEXT + 0x1000, NEXT + 0x2000, 0x4100_0000]) identity(page);
    return dump;
  };

  test('alone: three levels', () => {
    const found = walk(nested(6n).open(), 8, 0x4100_0010);
    expect(names(found)).toEqual(['STE', 's2 l1', 's2 l2', 's2 l3']);
    expect(found.result).toEqual({ outcome: 'ok', paddr: u64Of(0x4100_0010) });
    expect(found.unaccounted).toEqual([]);
  });

  test('nested: every fetch of stage 1 goes through stage 2', () => {
    const dump = nested(7n, BigInt(CD))
      .words(CD, 0x0006_e204_c000_3510n, BigInt(TABLE), 0n, 0xffff_ffff_f404_ff44n)
      .map(TABLE, 0x1000, LEAF, { level: 0, next: NEXT });
    const found = walk(dump.open(), 8, 0x1010);
    const s2 = ['s2 l1', 's2 l2', 's2 l3'];
    const levels = [0, 1, 2, 3].flatMap((level) => [...s2, `s1 l${level}`]);
    expect(names(found)).toEqual(['STE', ...s2, 'CD', ...levels, ...s2]);
    expect(found.steps.at(-1)?.for).toBe('the access');
    expect(found.result).toEqual({ outcome: 'ok', paddr: u64Of(0x4100_0010) });
    expect(found.unaccounted).toEqual([]);
  });
});
