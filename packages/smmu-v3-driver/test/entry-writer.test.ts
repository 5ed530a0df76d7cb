import { CD, STE } from '@iommukit/arm-arch';
import { observeView, PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cdUsedBits } from '../src/context-descriptor.lanes.ts';
import {
  abortSte,
  bypassSte,
  cdTableSte,
  guestEntry,
  nestedSte,
  stageOneCd,
  stageTwoSte,
  steUpdateSafe,
  steUsedBitsMerged,
  writeEntry,
} from '../src/index.ts';
import { steUsedBits } from '../src/stream-table-entry.lanes.ts';

const PA = 0x1000;
type UsedBits = (entry: Uint32Array, used: Uint32Array) => void;

/** Writes `from`, then updates to `to`; looks at memory as hardware may at every store. */
function update(
  from: Uint32Array,
  to: Uint32Array,
  usedBits: UsedBits,
  updateSafe?: typeof steUpdateSafe,
): { syncs: number; states: Uint32Array[]; reported: number; syncedLast: boolean } {
  const memory = new PhysicalMemory([{ base: PA, size: 0x1000 }]);
  const read = (): Uint32Array => {
    const now = new Uint32Array(16);
    for (let q = 0; q < 8; q++) {
      now[q * 2] = memory.load64(PA + q * 8);
      now[q * 2 + 1] = memory.hi;
    }
    return now;
  };
  for (let q = 0; q < 8; q++)
    memory.store64(PA + q * 8, from[q * 2] as number, from[q * 2 + 1] as number);
  const states: Uint32Array[] = [];
  let syncs = 0;
  let dirty = false;
  const view = observeView(memory, {
    onStore() {
      dirty = true;
      states.push(read());
    },
  });
  const sync = (): void => {
    syncs++;
    dirty = false;
  };
  const safely = updateSafe === undefined ? {} : { updateSafe };
  const reported = writeEntry({ memory: view, pa: PA, usedBits, ...safely, sync }, to);
  expect(read()).toEqual(to);
  return { syncs, states, reported, syncedLast: !dirty };
}

function sameWhereUsed(state: Uint32Array, entry: Uint32Array, usedBits: UsedBits): boolean {
  const used = new Uint32Array(16);
  usedBits(entry, used);
  return state.every((word, i) => ((word ^ (entry[i] ?? 0)) & (used[i] ?? 0)) === 0);
}

const paddr = fc.integer({ min: 0, max: 2 ** 20 }).map((n) => n * 4096);
const ste = fc.oneof(
  fc.constant(new Uint32Array(16)),
  fc.constant(abortSte()),
  fc.boolean().map((attrTypesOverride) => bypassSte({ attrTypesOverride })),
  fc
    .tuple(paddr, fc.boolean(), fc.constantFrom(0 as const, 1 as const, 2 as const))
    .map(([pa, stalls, s1dss]) =>
      cdTableSte({ base: pa, format: 0, cdMax: 0, s1dss }, { stalls, attrTypesOverride: true }, {}),
    ),
);
const cd = fc.oneof(
  fc.constant(new Uint32Array(16)),
  fc
    .record({ asid: fc.integer({ min: 1, max: 65535 }), ttbr: paddr, tsz: fc.constantFrom(16, 25) })
    .map(({ asid, ttbr, tsz }) =>
      stageOneCd(
        {
          tsz,
          tg: 0,
          irgn: 1,
          orgn: 1,
          sh: 3,
          ips: 4,
          ttbr,
          mair: { lo: 0xf404_ff44, hi: 0xffff_ffff },
        },
        asid,
        { stall: false },
      ),
    ),
);

const layouts = [
  ['STE', ste, steUsedBits, (e: Uint32Array) => STE.get.V(e)],
  ['CD', cd, cdUsedBits, (e: Uint32Array) => CD.get.V(e)],
] as const;

test.each(layouts)(
  '%s: hardware sees the old, the new or an invalid entry',
  (_n, entry, used, valid) => {
    fc.assert(
      fc.property(entry, entry, (from, to) => {
        const { states, syncs, reported, syncedLast } = update(from, to, used);
        expect(reported).toBe(syncs);
        expect(syncs).toBeLessThanOrEqual(3);
        expect(syncedLast).toBe(true);
        for (const state of states) {
          const ok =
            valid(state) === 0 ||
            sameWhereUsed(state, from, used) ||
            sameWhereUsed(state, to, used);
          expect(ok).toBe(true);
        }
        if (from.every((word, i) => word === to[i])) expect(states).toEqual([]);
      }),
      { numRuns: 500 },
    );
  },
);

test.each(layouts)(
  '%s: between two valid entries with one deciding doubleword V stays 1',
  (_n, entry, used, valid) => {
    fc.assert(
      fc.property(entry, entry, (from, to) => {
        fc.pre(valid(from) === 1 && valid(to) === 1);
        const { states } = update(from, to, used);
        // The doublewords in which what `to` uses differs from what `from` leaves there.
        const usedNow = new Uint32Array(16);
        used(from, usedNow);
        const usedThen = new Uint32Array(16);
        used(to, usedThen);
        const deciding = new Set<number>();
        to.forEach((word, i) => {
          const kept = ((from[i] ?? 0) & (usedNow[i] ?? 0)) | (word & ~(usedNow[i] ?? 0));
          if (((kept & (usedThen[i] ?? 0)) ^ word) !== 0) deciding.add(i >> 1);
        });
        expect(states.some((state) => valid(state) === 0)).toBe(deciding.size > 1);
      }),
      { numRuns: 500 },
    );
  },
);

// 7.x: every kind of entry, with the bits that may change under the hardware's eyes.
const smmu = { stalls: true, attrTypesOverride: true };
const traits = fc.record({ ats: fc.boolean(), stall: fc.boolean() });
const parent = fc.record({
  vmid: fc.integer({ min: 1, max: 0xffff }),
  vttbr: paddr,
  vtcr: fc.constantFrom(
    { ps: 5, tg: 0, sh: 3, orgn: 1, irgn: 1, sl: 2, tsz: 16 },
    { ps: 2, tg: 1, sh: 3, orgn: 1, irgn: 1, sl: 1, tsz: 24 },
  ),
  forcedWriteBack: fc.boolean(),
});
const guestWords = fc
  .record({ pa: paddr, s1dss: fc.constantFrom(0, 1, 2), stalld: fc.boolean(), ats: fc.boolean() })
  .map(({ pa, s1dss, stalld, ats }) => {
    const entry = cdTableSte(
      { base: pa, format: 0, cdMax: 0, s1dss: s1dss as 0 | 1 | 2 },
      { stalls: stalld },
      { ats },
    );
    const guest = guestEntry([
      { lo: entry[0] as number, hi: entry[1] as number },
      { lo: entry[2] as number, hi: entry[3] as number },
    ]);
    if (typeof guest === 'number') throw new Error('refused');
    return guest;
  });
const anySte = fc.oneof(
  fc.constant(new Uint32Array(16)),
  fc.constant(abortSte()),
  fc.constantFrom(bypassSte({}), bypassSte(smmu)),
  fc
    .tuple(paddr, fc.constantFrom(0 as const, 1 as const, 2 as const), traits)
    .map(([base, s1dss, device]) =>
      cdTableSte({ base, format: 2, cdMax: 16, s1dss }, smmu, device),
    ),
  fc.tuple(parent, traits).map(([stage, device]) => stageTwoSte(stage, smmu, device)),
  fc
    .tuple(guestWords, parent, traits)
    .map(([guest, stage, device]) => nestedSte(guest, stage, smmu, device)),
);

test('STE of 7.x: old, new or invalid at every store, but for the bits that may change', () => {
  fc.assert(
    fc.property(anySte, anySte, (from, to) => {
      const safe = new Uint32Array(16);
      steUpdateSafe(from, to, safe);
      const used = (entry: Uint32Array, into: Uint32Array): void => {
        steUsedBitsMerged(entry, into);
        for (let i = 0; i < 16; i++) into[i] = (into[i] as number) & ~(safe[i] as number);
      };
      const { states, syncs } = update(from, to, steUsedBitsMerged, steUpdateSafe);
      expect(syncs).toBeLessThanOrEqual(3);
      const same = (state: Uint32Array, entry: Uint32Array): boolean =>
        sameWhereUsed(state, entry, used);
      for (const state of states)
        expect(STE.get.V(state) === 0 || same(state, from) || same(state, to)).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

const table = (base: number): Uint32Array =>
  cdTableSte({ base, format: 0, cdMax: 0, s1dss: 2 }, {}, {});
test.each([
  ['nothing changes', abortSte(), abortSte(), 0],
  ['zero to abort', new Uint32Array(16), abortSte(), 1],
  ['abort to bypass without override', abortSte(), bypassSte({}), 1],
  [
    'abort to bypass with override: SHCFG first',
    abortSte(),
    bypassSte({ attrTypesOverride: true }),
    2,
  ],
  ['abort to stage 1: fields first, then Config', abortSte(), table(0x4000), 2],
  ['stage 1 to abort: Config first, then the rest', table(0x4000), abortSte(), 2],
  [
    'bypass with override to stage 1: both words are in use',
    bypassSte({ attrTypesOverride: true }),
    table(0x4000),
    3,
  ],
  ['another CD table', table(0x4000), table(0x5000), 1],
] as const)('syncs: %s', (_name, from, to, want) => {
  expect(update(from, to, steUsedBits).syncs).toBe(want);
});

test('a CD whose ASID and table change goes through V = 0 with three syncs', () => {
  const config = { tsz: 16, tg: 0, irgn: 1, orgn: 1, sh: 3, ips: 4, mair: { lo: 1, hi: 2 } };
  const first = stageOneCd({ ...config, ttbr: 0x4000 }, 1, { stall: false });
  const { states, syncs } = update(
    first,
    stageOneCd({ ...config, ttbr: 0x5000 }, 2, { stall: false }),
    cdUsedBits,
  );
  expect(syncs).toBe(3);
  expect(states.map((state) => CD.get.V(state))).toEqual([0, 0, 1]);
});
