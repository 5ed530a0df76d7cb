import { CD, STE, tg0Code } from '@iommukit/arm-arch';
import { PhysicalMemory } from '@iommukit/platform';
import { expect, test } from 'vitest';
import {
  abortSte,
  bypassSte,
  cdTableSte,
  cdUsedBits,
  guestEntry,
  nestedSte,
  readEntry,
  type SharedTables,
  type StageTwoConfig,
  sharedCd,
  stageOneCd,
  stageTwoSte,
  steUpdateSafe,
  steUsedBits,
  steUsedBitsMerged,
  writeEntry,
} from '../src/index.ts';

// The transitions of the kernel's own test (arm-smmu-v3-test.c), with the number of SYNCs that it expects.
const PA = 0x1000;
const smmu = { stalls: true, attrTypesOverride: true };
const TABLE = { base: 0xf0f0_f0f0_f0c0, format: 2, cdMax: 31 } as const;
const s1 = (s1dss: 0 | 1 | 2, device = { ats: true }): Uint32Array =>
  cdTableSte({ ...TABLE, s1dss }, smmu, device);
const parent: StageTwoConfig = {
  vmid: 0,
  vttbr: 0xd_beef_dead_bee0,
  vtcr: { ps: 1, tg: 2, sh: 3, orgn: 1, irgn: 2, sl: 3, tsz: 4 },
  forcedWriteBack: false,
};
const s2 = (device = { ats: true }): Uint32Array => stageTwoSte(parent, smmu, device);
const guest = guestEntry([
  { lo: s1(1)[0] as number, hi: s1(1)[1] as number },
  { lo: (s1(1)[2] as number) & ~(1 << 27), hi: 0 },
]);
if (typeof guest === 'number') throw new Error('guest');
const nested = nestedSte(guest, parent, smmu, { ats: true });
const otherTable = cdTableSte({ base: 0x4b_4b4b_4b40, format: 2, cdMax: 31, s1dss: 1 }, smmu, {
  ats: true,
});
const stalling = { ats: false, stall: true };

const rows: readonly [string, Uint32Array, Uint32Array, number, boolean][] = [
  ['bypass to abort', bypassSte(smmu), abortSte(), 2, false],
  ['abort to bypass', abortSte(), bypassSte(smmu), 2, false],
  ['CD table to abort', s1(2), abortSte(), 2, false],
  ['abort to CD table', abortSte(), s1(2), 2, false],
  ['CD table to bypass', s1(2), bypassSte(smmu), 3, false],
  ['bypass to CD table', bypassSte(smmu), s1(2), 3, false],
  ['S1DSS from CD 0 to bypass', s1(2), s1(1), 1, false],
  ['S1DSS from bypass to CD 0', s1(1), s1(2), 1, false],
  ['S1DSS bypass to bypass', s1(1), bypassSte(smmu), 2, false],
  ['bypass to S1DSS bypass', bypassSte(smmu), s1(1), 2, false],
  ['stage 2 to abort', s2(), abortSte(), 2, false],
  ['abort to stage 2', abortSte(), s2(), 2, false],
  ['stage 2 to bypass', s2(), bypassSte(smmu), 2, false],
  ['bypass to stage 2', bypassSte(smmu), s2(), 2, false],
  ['stage 1 to stage 2', s1(2), s2(), 3, false],
  ['stage 2 to stage 1', s2(), s1(2), 3, false],
  ['stage 1 to stage 2, stalling', s1(2, stalling), s2(stalling), 3, false],
  ['stage 2 to stage 1, stalling', s2(stalling), s1(2, stalling), 3, false],
  ['nested to stage 2 without ATS', nested, s2({ ats: false }), 3, false],
  ['stage 2 without ATS to nested', s2({ ats: false }), nested, 2, false],
  ['another CD table with another S1DSS', s1(2), otherTable, 3, true],
];

type Case = { syncs: number; broken: boolean; reached: boolean };

function transition(from: Uint32Array, to: Uint32Array, kind: 'STE' | 'CD' | 'STE of 6.12'): Case {
  const memory = new PhysicalMemory([{ base: PA, size: 0x1000 }]);
  for (let i = 0; i < 16; i += 2)
    memory.store64(PA + i * 4, from[i] as number, from[i + 1] as number);
  let broken = false;
  const syncs = writeEntry(
    {
      memory,
      pa: PA,
      usedBits: { STE: steUsedBitsMerged, CD: cdUsedBits, 'STE of 6.12': steUsedBits }[kind],
      ...(kind === 'STE' ? { updateSafe: steUpdateSafe } : {}),
      sync() {
        if (memory.load64(PA) === 0 && memory.hi === 0) broken = true;
      },
    },
    to,
  );
  const now = readEntry(memory, PA);
  return { syncs, broken, reached: now.every((word, i) => word === to[i]) };
}

test.each(rows)('%s', (_name, from, to, syncs, broken) => {
  expect(transition(from, to, 'STE')).toEqual({ syncs, broken, reached: true });
});

test('before 7.x a change of EATS goes through V = 0', () => {
  const { syncs, broken } = transition(s1(2), s2({ ats: false }), 'STE of 6.12');
  expect([syncs, broken]).toEqual([3, true]);
});

const mair = { lo: 0xf404_ff44, hi: 0xffff_ffff };
const config = { tsz: 16, tg: 0, irgn: 1, orgn: 1, sh: 3, ips: 5, ttbr: 0x8000_0000, mair };
const cd = (asid: number): Uint32Array => stageOneCd(config, asid, { stall: false });
const process: SharedTables = {
  pgd: 0x8000_0000,
  vaBits: 48,
  pageSize: 4096,
  ips: 5,
  mair,
  haft: false,
};
const sva = (state: { readonly released: boolean }): Uint32Array =>
  sharedCd(process, 9, { features: {}, ...state });
const alive = sva({ released: false });
const released = sva({ released: true });
const empty = new Uint32Array(16);

test.each([
  ['empty to stage 1', empty, cd(1997), 2, true],
  ['stage 1 to empty', cd(1997), empty, 2, true],
  ['another ASID', cd(778), cd(1997), 1, false],
  ['empty to shared', empty, alive, 2, true],
  ['shared to released', alive, released, 2, false],
  ['released to shared', released, alive, 2, false],
] as const)('CD: %s', (_name, from, to, syncs, broken) => {
  expect(transition(from, to, 'CD')).toEqual({ syncs, broken, reached: true });
});

test('a shared CD: granule, size and regime of the process; HAFT only where the CPU has it', () => {
  const { get } = CD;
  const shared = sharedCd({ ...process, vaBits: 39, pageSize: 0x1_0000, haft: true }, 3, {
    features: { haft: true, accessFlag: true, dirty: true, stall: true },
    released: false,
  });
  expect([get.T0SZ(shared), get.TG0(shared), get.HAFT(shared)]).toEqual([25, tg0Code(0x1_0000), 1]);
  expect([get.HA(shared), get.HD(shared), get.S(shared), get.R(shared)]).toEqual([1, 1, 1, 1]);
  expect(get.TTB0(shared)).toBe(0x8000_0000);
});

test('a released CD records nothing, unless the hardware cannot but stall', () => {
  const { get } = CD;
  const quiet = sharedCd(process, 3, { features: { stall: true }, released: true });
  expect([get.EPD0(quiet), get.S(quiet), get.R(quiet), get.TTB0(quiet)]).toEqual([1, 0, 0, 0]);
  const forced = sharedCd(process, 3, {
    features: { stall: true, stallForce: true },
    released: true,
  });
  expect([get.EPD0(forced), get.S(forced), get.R(forced)]).toEqual([1, 1, 1]);
});

const word = (lo: number, hi = 0): { lo: number; hi: number } => ({ lo, hi });
test.each([
  ['stage 2', word(0xd), word(0), -5],
  ['nested', word(0xf), word(0), -5],
  ['a reserved Config', word(0x3), word(0), -5],
  ['an address above 52 bits', word(0xb, 0x10_0000), word(0), -5],
  ['STRW', word(0xb), word(0x4000_0000), -5],
  ['SHCFG', word(0x4b), word(0, 0x1000), -5],
  ['EATS = 2', word(0xb), word(0x2000_0000), -5],
  ['invalid, whatever else stands there', word(0x10), word(0, 0x1000), 'invalid'],
  ['abort', word(1), word(0), 'abort'],
  ['bypass', word(9), word(0x1000_0000), 'bypass'],
  ['stage 1', word(0x4638_500b), word(0xd6), 's1'],
] as const)("a guest's STE: %s", (_name, first, second, want) => {
  const got = guestEntry([first, second]);
  expect(typeof got === 'number' ? got : got.config).toBe(want);
});

test('EATS of a guest is a wish, and only with stage 1', () => {
  const ask = word(0x1000_00d6);
  const asks = guestEntry([word(0x4638_500b), ask]);
  expect(asks).toMatchObject({ wantsAts: true, words: [word(0x4638_500b), word(0xd6)] });
  expect(guestEntry([word(9), ask])).toMatchObject({ wantsAts: false });
  if (typeof asks === 'number') throw new Error('refused');
  const entry = nestedSte(asks, parent, smmu, {});
  const { get } = STE;
  expect([get.Config(entry), get.EATS(entry), get.MEV(entry), get.S1DSS(entry)]).toEqual([
    7, 0, 1, 2,
  ]);
});
