import { describe, expect, test } from 'vitest';
import { CACHE_NOTHING, type DmaAccess, type ModelOptions } from '../src/index.ts';
import {
  AT,
  type CdFields,
  NestedMachine,
  S1_RW,
  S2_RO,
  S2_RW,
  type SteFields,
} from './nested-machine.lanes.ts';
import { verdict } from './rig.lanes.ts';

const DATA = BigInt(AT.data);
const AF = 0x400n;
const DBM = 1n << 51n;
const AP_RO = 0x80n;
const S2_WRITE = 0x80n;

type Policy = ModelOptions['policy'];

function stage1(
  cd: CdFields,
  leaf: bigint,
  policy: Policy = CACHE_NOTHING,
): {
  m: NestedMachine;
  at: number;
} {
  const m = new NestedMachine({ policy: policy ?? {} }).ste(5).cd(cd);
  return { m, at: m.s1(0x1000, leaf) };
}

describe('access flag and dirty state of stage 1 (IHI 0070 3.13; DDI 0487 D8.5)', () => {
  test.each<[string, CdFields, bigint, DmaAccess['rw'], string, bigint]>([
    ['HA=0: F_ACCESS', {}, DATA | (S1_RW & ~AF), 'read', 'F_ACCESS', DATA | (S1_RW & ~AF)],
    ['HA=1 sets AF', { HA: 1 }, DATA | (S1_RW & ~AF), 'read', 'ok', DATA | S1_RW],
    ['HA=1 ignores AFFD', { HA: 1, AFFD: 1 }, DATA | (S1_RW & ~AF), 'read', 'ok', DATA | S1_RW],
    [
      'AFFD=1 leaves AF alone',
      { AFFD: 1 },
      DATA | (S1_RW & ~AF),
      'read',
      'ok',
      DATA | (S1_RW & ~AF),
    ],
    [
      'HD=1 clears AP[2] on a write',
      { HA: 1, HD: 1 },
      DATA | S1_RW | AP_RO | DBM,
      'write',
      'ok',
      DATA | S1_RW | DBM,
    ],
    [
      'HD=1 leaves it on a read',
      { HA: 1, HD: 1 },
      DATA | S1_RW | AP_RO | DBM,
      'read',
      'ok',
      DATA | S1_RW | AP_RO | DBM,
    ],
    [
      'both at once',
      { HA: 1, HD: 1 },
      DATA | ((S1_RW | AP_RO | DBM) & ~AF),
      'write',
      'ok',
      DATA | S1_RW | DBM,
    ],
    [
      'an atomic dirties',
      { HA: 1, HD: 1 },
      DATA | S1_RW | AP_RO | DBM,
      'atomic',
      'ok',
      DATA | S1_RW | DBM,
    ],
    [
      'DBM=0: F_PERMISSION',
      { HA: 1, HD: 1 },
      DATA | S1_RW | AP_RO,
      'write',
      'F_PERMISSION',
      DATA | S1_RW | AP_RO,
    ],
    [
      'HD without HA: F_PERMISSION',
      { HD: 1 },
      DATA | S1_RW | AP_RO | DBM,
      'write',
      'F_PERMISSION',
      DATA | S1_RW | AP_RO | DBM,
    ],
    [
      'not the only obstacle: privileged page',
      { HA: 1, HD: 1 },
      DATA | ((S1_RW | AP_RO | DBM) & ~0x40n),
      'write',
      'F_PERMISSION',
      DATA | ((S1_RW | AP_RO | DBM) & ~0x40n),
    ],
  ])('%s', (...[, cd, leaf, rw, expected, after]) => {
    const { m, at } = stage1(cd, leaf);
    expect(verdict(m.access(0x1000, rw))).toBe(expected);
    expect(m.read(at)).toBe(after);
  });

  test('a limit of APTable is no clean state', () => {
    const { m, at } = stage1({ HA: 1, HD: 1 }, DATA | S1_RW | AP_RO | DBM);
    m.word(AT.stage1, m.read(AT.stage1) | (1n << 62n));
    expect(verdict(m.access(0x1000, 'write'))).toBe('F_PERMISSION');
    expect(m.read(at)).toBe(DATA | S1_RW | AP_RO | DBM);
  });

  test('a writable-clean page is writable to WXN', () => {
    const { m } = stage1({ HA: 1, HD: 1, WXN: 1 }, DATA | S1_RW | AP_RO | DBM);
    expect(verdict(m.access(0x1000, 'read', { instruction: true }))).toBe('F_PERMISSION');
  });

  test('HAFT sets the access flag of tables; without it they are left', () => {
    const { m } = stage1({ HA: 1 }, DATA | S1_RW);
    const root = m.read(AT.stage1);
    m.access(0x1000);
    expect(m.read(AT.stage1)).toBe(root);
    m.cd({ HA: 1, HAFT: 1 });
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.read(AT.stage1)).toBe(root | AF);
  });

  test('a cached clean entry walks again for a write, once, and is no stale use', () => {
    const { m, at } = stage1({ HA: 1, HD: 1 }, DATA | S1_RW | AP_RO | DBM, {});
    m.access(0x1000);
    expect(m.access(0x1000)).toMatchObject({ tlbHit: true });
    expect(m.access(0x1000, 'write')).toMatchObject({ outcome: 'ok', tlbHit: false });
    expect(m.access(0x1000, 'write')).toMatchObject({ outcome: 'ok', tlbHit: true });
    expect(m.read(at)).toBe(DATA | S1_RW | DBM);
    expect(m.smmu.staleUseCount).toBe(0);
  });

  test('software that changes the descriptor between read and update is seen', () => {
    const { m, at } = stage1({ HA: 1 }, DATA | (S1_RW & ~AF));
    const { memory } = m;
    const swap = memory.cas64.bind(memory);
    let tries = 0;
    memory.cas64 = (...args): boolean => {
      if (tries++ === 0) m.word(at, (DATA + 0x1000n) | (S1_RW & ~AF));
      return swap(...args);
    };
    expect(m.access(0x1000)).toMatchObject({ outcome: 'ok', paddr: AT.data + 0x1000 });
    expect([tries, m.read(at)]).toEqual([2, (DATA + 0x1000n) | S1_RW]);
  });
});

describe('stage 2, and stage 1 above it', () => {
  test('an atomic on a clean page without read permission lacks the read alone', () => {
    const m = new NestedMachine({ policy: CACHE_NOTHING }).ste(6, { S2HA: 1, S2HD: 1 });
    m.s2(0x1000, DATA | (S2_RW & ~0xc0n) | DBM);
    expect(m.access(0x1000, 'atomic')).toMatchObject({ event: { rw: 'read' } });
  });

  test.each<[string, SteFields, bigint, DmaAccess['rw'], string, bigint]>([
    ['S2HA sets AF', { S2HA: 1 }, DATA | (S2_RW & ~AF), 'read', 'ok', DATA | S2_RW],
    [
      'S2HD sets S2AP[1]',
      { S2HA: 1, S2HD: 1 },
      DATA | (S2_RW & ~S2_WRITE) | DBM,
      'write',
      'ok',
      DATA | S2_RW | DBM,
    ],
    ['DBM=0', { S2HA: 1, S2HD: 1 }, DATA | S2_RO, 'write', 'F_PERMISSION', DATA | S2_RO],
  ])('%s', (...[, ste, leaf, rw, expected, after]) => {
    const m = new NestedMachine({ policy: CACHE_NOTHING }).ste(6, ste);
    const at = m.s2(0x1000, leaf);
    expect(verdict(m.access(0x1000, rw))).toBe(expected);
    expect(m.read(at)).toBe(after);
  });

  function nested(ste: SteFields, policy: Policy = CACHE_NOTHING) {
    const m = new NestedMachine({ policy: policy ?? {} });
    const places = m.nested(ste, { HA: 1, HD: 1 });
    m.word(places.s1, 0x9000_0000n | ((S1_RW | AP_RO | DBM) & ~AF));
    // The page that holds the stage-1 leaf.
    const page = places.s1 - (places.s1 % 4096);
    return { m, ...places, page, under: m.s2(page, BigInt(page) | S2_RW) };
  }

  test('the update of a stage-1 descriptor is a write at stage 2, and may dirty the leaf there', () => {
    const { m, s1, page, under } = nested({ S2HA: 1, S2HD: 1 });
    m.word(under, BigInt(page) | ((S2_RW | DBM) & ~S2_WRITE & ~AF));
    expect(verdict(m.access(0x1000, 'write'))).toBe('ok');
    expect(m.read(s1)).toBe(0x9000_0000n | S1_RW | DBM);
    expect(m.read(under)).toBe(BigInt(page) | S2_RW | DBM);
  });

  test('without write permission there: F_PERMISSION, S2=1, CLASS=TT, TTRnW=0, and nothing is updated', () => {
    const { m, s1, page, under } = nested({});
    m.word(under, BigInt(page) | S2_RO);
    const before = m.read(s1);
    m.access(0x1000);
    expect(m.record(0)).toEqual([
      '0x3000000013',
      '0x18800000000',
      '0x1000',
      `0x${page.toString(16)}`,
    ]);
    expect(m.read(s1)).toBe(before);
  });

  test('the leaf that maps a CD gets its access flag, and is never dirtied', () => {
    const { m, cd } = nested({ S2HA: 1, S2HD: 1 });
    m.word(cd, BigInt(AT.cd) | ((S2_RW | DBM) & ~S2_WRITE & ~AF));
    expect(verdict(m.access(0x1000, 'write'))).toBe('ok');
    expect(m.read(cd)).toBe(BigInt(AT.cd) | ((S2_RW | DBM) & ~S2_WRITE));
  });

  test.each(['combined', 'separate', 'both'] as const)(
    'clean at either stage, cached as %s: one write dirties both',
    (kept) => {
      const { m, s1, s2 } = nested({ S2HA: 1, S2HD: 1 }, { nested: kept });
      m.word(s2, DATA | ((S2_RW | DBM) & ~S2_WRITE));
      expect(verdict(m.access(0x1000))).toBe('ok');
      expect(m.read(s1)).toBe(0x9000_0000n | S1_RW | AP_RO | DBM);
      expect([verdict(m.access(0x1000, 'write')), verdict(m.access(0x1000, 'write'))]).toEqual([
        'ok',
        'ok',
      ]);
      expect([m.read(s1), m.read(s2)]).toEqual([0x9000_0000n | S1_RW | DBM, DATA | S2_RW | DBM]);
      expect(m.smmu.staleUseCount).toBe(0);
    },
  );
});
