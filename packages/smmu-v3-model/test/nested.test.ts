import { describe, expect, test } from 'vitest';
import { CACHE_NOTHING } from '../src/index.ts';
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

/** The machine, and where the leaves lie that the tests spoil. */
class Spoilt extends NestedMachine {
  readonly s1Leaf: number;
  readonly s2Leaf: number;
  readonly cdLeaf: number;
  readonly tableLeaf: number;
  constructor(ste: SteFields, cd: CdFields) {
    super({ policy: CACHE_NOTHING });
    const places = this.nested(ste, cd);
    this.s1Leaf = places.s1;
    this.s2Leaf = places.s2;
    this.cdLeaf = places.cd;
    this.tableLeaf = places.table;
  }
}

function nested(ste: SteFields = {}, cd: CdFields = {}): Spoilt {
  return new Spoilt(ste, cd);
}

describe('both stages (IHI 0070 3.4, 7.3)', () => {
  test('VA to IPA to PA', () => {
    expect(nested().access(0x1234, 'write')).toMatchObject({
      outcome: 'ok',
      paddr: AT.data + 0x234,
    });
  });

  test.each<[string, (m: Spoilt) => void, string[]]>([
    [
      'CD not mapped: S2=1, CLASS=CD, IPA of the CD',
      (m) => m.word(m.cdLeaf, 0n),
      ['0x3000000010', '0x8800000000', '0x1234', '0x40260000'],
    ],
    [
      'CD mapped without read permission',
      (m) => m.word(m.cdLeaf, BigInt(AT.cd) | 0x7bfn),
      ['0x3000000013', '0x8800000000', '0x1234', '0x40260000'],
    ],
    [
      'CD beyond memory: F_CD_FETCH with the physical address',
      (m) => m.word(m.cdLeaf, 0x5000_0000n | S2_RW),
      ['0x3000000009', '0x0', '0x0', '0x50000000'],
    ],
    [
      'root of stage 1 not mapped: CLASS=TT, IPA of the descriptor',
      (m) => m.word(m.tableLeaf, 0n),
      ['0x3000000010', '0x18800000000', '0x1234', '0x40400000'],
    ],
    [
      'root of stage 1 without access flag',
      (m) => m.word(m.tableLeaf, BigInt(AT.stage1) | 0x3ffn),
      ['0x3000000012', '0x18800000000', '0x1234', '0x40400000'],
    ],
    [
      'root of stage 1 not readable: TTRnW=1',
      (m) => m.word(m.tableLeaf, BigInt(AT.stage1) | 0x7bfn),
      ['0x3000000013', '0x118800000000', '0x1234', '0x40400000'],
    ],
    [
      'root of stage 1 beyond memory: F_WALK_EABT of stage 1 with the physical address',
      (m) => m.word(m.tableLeaf, 0x5000_0000n | S2_RW),
      ['0x300000000b', '0x10800000000', '0x1234', '0x50000000'],
    ],
    [
      'stage-2 table beyond memory: F_WALK_EABT of stage 2',
      (m) => void m.s2(0x9000_0000, 0x5000_0003n, 2),
      ['0x300000000b', '0x28800000000', '0x1234', '0x50000000'],
    ],
    [
      'stage-1 leaf invalid: S2=0, no IPA',
      (m) => m.word(m.s1Leaf, 0n),
      ['0x3000000010', '0x20800000000', '0x1234', '0x0'],
    ],
    [
      'output not mapped by stage 2: CLASS=IN',
      (m) => m.word(m.s2Leaf, 0n),
      ['0x3000000010', '0x28800000000', '0x1234', '0x90000000'],
    ],
    [
      'stage 1 refuses before stage 2 is asked',
      (m) => {
        m.word(m.s2Leaf, 0n);
        m.word(m.s1Leaf, 0x9000_0000n | (S1_RW & ~0x40n));
      },
      ['0x3000000013', '0x20800000000', '0x1234', '0x0'],
    ],
  ])('%s', (_, spoil, record) => {
    const m = nested();
    spoil(m);
    m.access(0x1234);
    expect(m.record(0)).toEqual(record);
    expect(m.records).toBe(1);
  });

  test('a write that meets a fault on a table is recorded as the write that it is (7.3)', () => {
    const m = nested();
    m.word(m.tableLeaf, 0n);
    m.access(0x1234, 'write');
    expect(m.record(0)[1]).toBe('0x18000000000');
  });

  test('stage 2 decides on the record of faults at structures: S2R, not CD.R', () => {
    const m = nested({ S2R: 0 });
    m.word(m.tableLeaf, 0n);
    expect(m.access(0x1000)).toMatchObject({ record: 'suppressed' });
    m.ste(7, { S2R: 1 }).cd({ R: 0 });
    expect(m.access(0x1000)).toMatchObject({ record: 'written' });
    expect(m.access(0x7000)).toMatchObject({ record: 'written' });
  });

  test.each([
    [0, 0x6bfn, 'ok'],
    // MemAttr 0000 and 0011: Device.
    [1, 0x7c3n, 'F_PERMISSION'],
    [1, 0x7cfn, 'F_PERMISSION'],
    [0, 0x7c3n, 'ok'],
    [1, 0x7ffn, 'ok'],
  ])('S2PTW=%d and tables mapped as %s: %s', (S2PTW, leaf, expected) => {
    const m = nested({ S2PTW });
    m.word(m.tableLeaf, BigInt(AT.stage1) | (leaf | 0x40n));
    expect(verdict(m.access(0x1000))).toBe(expected);
  });

  test('each level of stage 1 goes through stage 2 by its own page', () => {
    const m = nested();
    // The leaf table of stage 1, moved by stage 2 to a copy that maps another page.
    const leafTable = m.s1Leaf - (m.s1Leaf % 4096);
    m.s2(leafTable, 0x4200_0000n | S2_RW);
    m.word(0x4200_0008, 0x9000_0000n | S1_RW);
    m.word(m.s1Leaf, 0n);
    expect(m.access(0x1000)).toMatchObject({ outcome: 'ok', paddr: AT.data });
  });

  test('an IPA beyond the range of stage 2 is F_TRANSLATION of stage 2; beyond IPS of stage 1 F_ADDR_SIZE', () => {
    const m = nested();
    m.word(m.s1Leaf, (1n << 41n) | S1_RW);
    m.access(0x1000);
    expect(m.record(0)).toEqual(['0x3000000010', '0x28800000000', '0x1000', '0x20000000000']);
    m.cd({ IPS: 2 });
    m.access(0x1000);
    expect(m.record(1)).toEqual(['0x3000000011', '0x20800000000', '0x1000', '0x0']);
  });

  test('S1DSS=01 passes stage 1 by and keeps stage 2; no CD is fetched', () => {
    const m = nested({ S1CDMax: 1, S1DSS: 1 });
    m.word(m.cdLeaf, 0n);
    expect(m.access(0x9000_0010)).toMatchObject({ outcome: 'ok', paddr: AT.data + 0x10 });
    m.access(2 ** 52);
    expect(m.record(0)).toEqual(['0x3000000011', '0x20800000000', '0x10000000000000', '0x0']);
  });

  test('an L1CD and its CD are read through stage 2', () => {
    const m = nested({ S1CDMax: 8, S1Fmt: 1, S1DSS: 2 });
    // L1CD 1 at 0x4026_0008: leaf table at IPA 0xa000_0000, which stage 2 does not map yet.
    m.word(AT.cd + 8, 0xa000_0001n);
    m.access(0x1000, 'read', { substreamId: 65 });
    expect(m.record(0)).toEqual(['0x3000041810', '0x8800000000', '0x1000', '0xa0000000']);
    m.s2(0xa000_0000, 0x4300_0000n | S2_RW);
    m.cd({}, 0x4300_0040);
    expect(verdict(m.access(0x1000, 'read', { substreamId: 65 }))).toBe('ok');
    m.word(AT.cd, 0n);
    m.access(0x1000, 'read', { substreamId: 1 });
    expect(m.record(1)).toEqual(['0x3000001008', '0x0', '0x0', '0x0']);
  });

  test('a read-only page of stage 2 under a writable one of stage 1', () => {
    const m = nested();
    m.word(m.s2Leaf, DATA | S2_RO);
    expect(verdict(m.access(0x1000))).toBe('ok');
    m.access(0x1000, 'write');
    expect(m.record(0)).toEqual(['0x3000000013', '0x28000000000', '0x1000', '0x90000000']);
  });

  test('S1ContextPtr beyond IAS is ILLEGAL here', () => {
    const m = new NestedMachine({ features: { oas: 44, ds: false } });
    m.nested({ S1ContextPtr: 2 ** 44 });
    expect(verdict(m.access(0x1000))).toBe('C_BAD_STE');
  });
});
