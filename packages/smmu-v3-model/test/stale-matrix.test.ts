import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { AT, NO_AF, S1_RW } from './nested-machine.lanes.ts';
import { ALL_ON } from './port-machine.lanes.ts';
import { give, named, OTHER, StaleRig } from './stale-rig.lanes.ts';
import { STALE_ROWS } from './stale-rows.lanes.ts';
import { fresh, LEAF_TO_OTHER, type Needed, type Row, warmed } from './stale-scenes.lanes.ts';

/** A rig after the change and every needed command but one. */
function withoutOne(row: Row, left: Needed): { m: StaleRig; use: () => string } {
  const { m, scene } = warmed(row);
  scene.change();
  for (const one of row.needed) if (one !== left) m.give(one[1]);
  return { m, use: scene.use };
}

describe.each(STALE_ROWS)('software changes $name (IHI 0070 3.21, 4.3, 4.4)', (row) => {
  test('with every command the change is in force and nothing is reported', () => {
    const { m, scene } = warmed(row);
    scene.change();
    for (const [, words] of row.needed) m.give(words);
    expect(scene.use()).toBe(fresh(row));
    expect(m.smmu.staleUses).toEqual([]);
  });

  test.each(row.needed)('without %s: missing, and named', (...left) => {
    const needed = row.needed.find(([, words]) => words === left[1]) as Needed;
    const { m, use } = withoutOne(row, needed);
    expect(use()).not.toBe(fresh(row));
    const found = m.missing().filter(({ kind }) => kind === left[2]);
    expect(found.flatMap(({ removedBy }) => removedBy)).toContainEqual(
      expect.stringContaining(left[3]),
    );
  });

  test.each(row.needed)('without %s: whatever the report names puts it right', (...left) => {
    const needed = row.needed.find(([, words]) => words === left[1]) as Needed;
    // A choice beyond the longest list that came up repeats the one before.
    let most = 1;
    for (let choice = 0; choice < Math.min(most, 8); choice++) {
      const { m, use } = withoutOne(row, needed);
      use();
      for (let round = 0; round < 60 && m.missing().length > 0; round++) {
        const [first] = m.missing();
        if (first === undefined) break;
        const { removedBy } = first;
        most = Math.max(most, removedBy.length);
        m.give(named(removedBy[Math.min(choice, removedBy.length - 1)] as string));
        use();
      }
      expect(m.missing()).toEqual([]);
      expect(use()).toBe(fresh(row));
    }
  });

  test.each(row.needed)('%s in the queue: pending; consumed without CMD_SYNC: race', (...left) => {
    const needed = row.needed.find(([, words]) => words === left[1]) as Needed;
    for (const [expected, put] of [
      ['pending', (m: StaleRig) => m.queueWithSync(left[1])],
      ['race', (m: StaleRig) => m.giveAlone(left[1])],
    ] as const) {
      const { m, use } = withoutOne(row, needed);
      put(m);
      use();
      const classes = m.smmu.staleUses.filter(({ kind }) => kind === left[2]);
      expect(classes.map((found) => found.class)).toContain(expected);
      if (row.ordered === undefined) expect(m.missing()).toEqual([]);
    }
  });
});

describe('changes that need no command (3.21.3, 16.2)', () => {
  test.each<[string, bigint]>([
    ['invalid', 0n],
    ['without the access flag', (BigInt(AT.data) | S1_RW) & NO_AF],
  ])('a leaf that was %s', (_, before) => {
    const m = new StaleRig();
    const { s1 } = m.stage1();
    m.word(s1, before);
    expect(m.see()).toMatch(/^F_/);
    m.word(s1, BigInt(AT.data) | S1_RW);
    expect(m.see()).toMatch(/^ok/);
    expect(m.smmu.staleUses).toEqual([]);
  });
});

/** Rows of the two tables that no test can express, and why. */
const unexpressed: readonly (readonly [row: string, why: string])[] = [
  [
    'STE beyond one 8-byte write: through V=0',
    'structures are cached whole, never in parts of different age',
  ],
  [
    'EATS 01/11 <-> 10 only through 00',
    'an order of steps; what each leaves behind is the row "EATS with ATS"',
  ],
  [
    'TLBI of the old world after STRW or E2H',
    'the model tells worlds apart, so that the old entries are unused until the world is back',
  ],
  ['ATSCHK: CFGI of ATS STEs', 'the model reads CR0ACK at each use and caches no copy'],
  [
    'VMW: TLBI of all EL1 entries',
    'it decides what an invalidation reaches, and the model caches no copy',
  ],
  ['PARTID_MAP', 'MPAM is refused at construction'],
  ['break-before-make', 'conflicting entries never meet: the older one is hit until it is removed'],
];

describe('what the model never caches', () => {
  test('each row that is not expressed has its reason', () => {
    expect(unexpressed).toHaveLength(7);
  });

  test('ATSCHK is in force at once', () => {
    const m = new StaleRig();
    m.stage1();
    m.ste(5, { EATS: 1 });
    const access = m.endpoint();
    expect(access()).toMatch(/^translated 0x/);
    m.set(R.CR0, ALL_ON - 0x10);
    m.smmu.run();
    expect(access()).toMatch(/^translated 0x/);
    m.ste(5, { EATS: 0 });
    m.give(give.cfgiSte(1), give.atcInv(0x1000));
    expect(access()).toBe('refused');
    expect(m.smmu.staleUses).toEqual([]);
  });

  test('entries of EL1 say nothing to a stream that moved to EL2', () => {
    const m = new StaleRig();
    const { s1 } = m.stage1();
    m.see();
    m.ste(5, { STRW: 2 });
    m.give(give.cfgiSte(1));
    m.word(s1, LEAF_TO_OTHER);
    expect(m.see()).toContain(OTHER.data.toString(16));
    expect(m.smmu.staleUses).toEqual([]);
  });
});
