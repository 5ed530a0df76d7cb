import { u64Of } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import { CD_DW0, IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM, verdict } from './rig.lanes.ts';

const DATA = BigInt(PLACE.data);

describe('leaf and table rules (IHI 0070 3.4.1, DDI 0487 D8.3-D8.5)', () => {
  test.each([
    { name: 'page', leaf: 0xf47n, read: 'ok', write: 'ok' },
    { name: 'read-only page', leaf: 0xfc7n, read: 'ok', write: 'F_PERMISSION' },
    { name: 'privileged page', leaf: 0xf07n, read: 'F_PERMISSION', write: 'F_PERMISSION' },
    { name: 'AF=0', leaf: 0xb47n, read: 'F_ACCESS', write: 'F_ACCESS' },
    { name: 'invalid', leaf: 0xf46n, read: 'F_TRANSLATION', write: 'F_TRANSLATION' },
    { name: 'block type at level 3', leaf: 0xf45n, read: 'F_TRANSLATION', write: 'F_TRANSLATION' },
    {
      name: 'output beyond IPS',
      leaf: 0x1000_0000_0f47n,
      read: 'F_ADDR_SIZE',
      write: 'F_ADDR_SIZE',
    },
    {
      name: 'address size before access flag',
      leaf: 0x1000_0000_0b47n,
      read: 'F_ADDR_SIZE',
      write: 'F_ADDR_SIZE',
    },
    { name: 'access flag before permission', leaf: 0xb07n, read: 'F_ACCESS', write: 'F_ACCESS' },
  ])('$name: read $read, write $write', ({ leaf, read, write }) => {
    const machine = new Machine().enable();
    machine.device();
    machine.map(0x5000, leaf | (leaf < 0x1000n ? DATA : 0n));
    expect([verdict(machine.access(0x5000)), verdict(machine.access(0x5000, 'write'))]).toEqual([
      read,
      write,
    ]);
  });

  // AP, UXN, PXN against privilege and instruction; DDI 0487 D8.4.
  test.each([
    { name: 'EL0 executes a read-only page', leaf: 0xfc7n, x: [true, true] },
    { name: 'a page writable at EL0 is PXN', leaf: 0xf47n, x: [true, false] },
    { name: 'UXN', leaf: 0x0040_0000_0000_0fc7n, x: [false, true] },
    { name: 'PXN', leaf: 0x0020_0000_0000_0fc7n, x: [true, false] },
    { name: 'execute-only for EL0', leaf: 0xf87n, x: [true, true] },
  ])('instruction reads: $name', ({ leaf, x }) => {
    const machine = new Machine().enable();
    machine.device();
    machine.map(0x5000, DATA | leaf);
    const fetched = [false, true].map(
      (privileged) =>
        machine.access(0x5000, 'read', { instruction: true, privileged }).outcome === 'ok',
    );
    expect(fetched).toEqual(x);
  });

  test.each([
    {
      name: 'WXN',
      bit: 36n,
      access: { instruction: true },
      leaf: 0xf47n,
      expected: 'F_PERMISSION',
    },
    {
      name: 'WXN leaves read-only pages',
      bit: 36n,
      access: { instruction: true },
      leaf: 0xfc7n,
      expected: 'ok',
    },
    { name: 'PAN', bit: 40n, access: { privileged: true }, leaf: 0xf47n, expected: 'F_PERMISSION' },
    {
      name: 'PAN leaves privileged pages',
      bit: 40n,
      access: { privileged: true },
      leaf: 0xf07n,
      expected: 'ok',
    },
    { name: 'AFFD', bit: 35n, access: {}, leaf: 0xb47n, expected: 'ok' },
  ])('CD.$name: $expected', ({ bit, access, leaf, expected }) => {
    const machine = new Machine().enable();
    machine.device();
    machine.cd(CD_DW0 | (1n << bit));
    machine.map(0x5000, DATA | leaf);
    expect(verdict(machine.access(0x5000, 'read', access))).toBe(expected);
  });

  test('privileged access to a privileged page; the record carries PnU and InD', () => {
    const machine = new Machine().enable();
    machine.device();
    // UXN as well: without it EL0 may execute what it may not read.
    machine.map(0x5000, DATA | 0x0040_0000_0000_0f07n);
    expect(verdict(machine.access(0x5000, 'write', { privileged: true }))).toBe('ok');
    machine.access(0x5000, 'read', { instruction: true });
    machine.access(0x7000, 'write', { instruction: true, privileged: true });
    expect([machine.record(0)[1], machine.record(1)[1]]).toEqual([
      '0x20c00000000',
      '0x20200000000',
    ]);
  });

  test.each([
    { name: 'APTable[1]: no writes', bit: 62n, expected: ['ok', 'F_PERMISSION', 'ok'] },
    {
      name: 'APTable[0]: no data for EL0',
      bit: 61n,
      expected: ['F_PERMISSION', 'F_PERMISSION', 'ok'],
    },
    { name: 'UXNTable', bit: 60n, expected: ['ok', 'ok', 'F_PERMISSION'] },
    { name: 'PXNTable is not for EL0', bit: 59n, expected: ['ok', 'ok', 'ok'] },
  ])('$name', ({ bit, expected }) => {
    const machine = new Machine().enable();
    machine.device();
    const lo = machine.memory.load64(PLACE.table);
    machine.word(PLACE.table, BigInt(lo) | (1n << bit));
    const attempt = (): string[] => [
      verdict(machine.access(0x1000)),
      verdict(machine.access(0x1000, 'write')),
      verdict(machine.access(0x1000, 'read', { instruction: true })),
    ];
    expect(attempt()).toEqual(expected);
    // Limits stay in a cached translation.
    expect(attempt()).toEqual(expected);
    // HAD0 switches them off.
    machine.word(PLACE.cd + 8, BigInt(PLACE.table) | 2n);
    machine.issue([0x04n, 31n], [0x30n, 0n], machine.sync());
    expect(attempt()).toEqual(['ok', 'ok', 'ok']);
  });

  test('a next-level table beyond IPS is F_ADDR_SIZE, one outside memory F_WALK_EABT with its address', () => {
    const machine = new Machine().enable();
    machine.device();
    machine.word(PLACE.table + 8, 0x1000_0000_0003n);
    machine.word(PLACE.table + 16, BigInt(RAM.base + RAM.size) | 3n);
    expect(verdict(machine.access(2 ** 39))).toBe('F_ADDR_SIZE');
    expect(verdict(machine.access(2 ** 40 + 0x4000_0000))).toBe('F_WALK_EABT');
    expect(machine.record(1)).toEqual([
      '0x300000000b',
      '0x10800000000',
      '0x10040000000',
      '0x50000008',
    ]);
  });

  test.each([
    { level: 0, expected: 'F_TRANSLATION', size: 2 ** 39 },
    { level: 1, expected: 'ok', size: 2 ** 30 },
    { level: 2, expected: 'ok', size: 2 ** 21 },
  ])('4 KiB granule, block at level $level: $expected', ({ level, expected, size }) => {
    const machine = new Machine().enable();
    machine.device();
    const iova = 3 * 2 ** 39 + 5 * 2 ** 30 + 7 * 2 ** 21;
    machine.map(iova, 0n);
    let table: number = PLACE.table;
    for (let i = 0; i < level; i++) {
      const index = [3, 5][i] as number;
      const lo = machine.memory.load64(table + index * 8);
      table = lo - (lo % 4096);
    }
    const index = [3, 5, 7][level] as number;
    machine.word(table + index * 8, 0x80_0000_0f45n);
    const result = machine.access(iova + 0x1234);
    expect(verdict(result)).toBe(expected);
    if (result.outcome === 'ok')
      expect(result.paddr).toBe(0x80_0000_0000 + ((iova + 0x1234) % size));
  });
});

describe('input range (IHI 0070 3.4.1)', () => {
  // T1SZ 16, TG1 4K, EPD1 0; both halves use the same tables.
  const BOTH = (CD_DW0 & ~(1n << 30n)) | (16n << 16n) | (2n << 22n);
  const upper = { lo: 0x1004, hi: 0xffff_0000 };

  test.each([
    { name: 'lower half', address: u64Of(0x1004), cd: BOTH, expected: 'ok' },
    { name: 'upper half', address: upper, cd: BOTH, expected: 'ok' },
    { name: 'upper half with EPD1', address: upper, cd: CD_DW0, expected: 'F_TRANSLATION' },
    { name: 'hole', address: { lo: 0x1004, hi: 0x0001_0000 }, cd: BOTH, expected: 'F_TRANSLATION' },
    {
      name: 'top byte set',
      address: { lo: 0x1004, hi: 0x5a00_0000 },
      cd: BOTH,
      expected: 'F_TRANSLATION',
    },
    {
      name: 'top byte with TBI0',
      address: { lo: 0x1004, hi: 0x5a00_0000 },
      cd: BOTH | (1n << 38n),
      expected: 'ok',
    },
    {
      name: 'TBI0 is not for the upper half',
      address: { lo: 0x1004, hi: 0x5aff_0000 },
      cd: BOTH | (1n << 38n),
      expected: 'F_TRANSLATION',
    },
    {
      name: 'top byte with TBI1',
      address: { lo: 0x1004, hi: 0x5aff_0000 },
      cd: BOTH | (1n << 39n),
      expected: 'ok',
    },
  ])('$name: $expected', ({ address, cd, expected }) => {
    const machine = new Machine().enable();
    machine.device();
    machine.cd(cd);
    machine.word(PLACE.cd + 16, BigInt(PLACE.table));
    const result = machine.smmu.translate({ streamId: 0x30, address, rw: 'read' });
    expect(verdict(result)).toBe(expected);
    if (result.outcome === 'ok') expect(result.paddr).toBe(PLACE.data + 4);
    if (result.outcome === 'fault') expect(result.event).toMatchObject({ address });
  });

  test('E0PD makes unprivileged access to its half fault', () => {
    const machine = new Machine({ idr: { ...IDR, IDR3: 0x3414 } }).enable();
    machine.device();
    machine.word(PLACE.cd + 8, BigInt(PLACE.table) | 4n);
    expect(verdict(machine.access(0x1000))).toBe('F_TRANSLATION');
    expect(verdict(machine.access(0x1000, 'read', { privileged: true }))).toBe('ok');
  });

  test.each([
    {
      name: '16 KiB, 48 bits: two entries at level 0',
      tg: 2n,
      txsz: 16n,
      shifts: [47, 36, 25, 14],
    },
    { name: '16 KiB, 38 bits: starts at level 2', tg: 2n, txsz: 26n, shifts: [36, 25, 14] },
    { name: '64 KiB, 48 bits', tg: 1n, txsz: 16n, shifts: [42, 29, 16] },
    { name: '64 KiB, 25 bits: starts at level 3', tg: 1n, txsz: 39n, shifts: [16] },
    { name: '4 KiB, 39 bits: starts at level 1', tg: 0n, txsz: 25n, shifts: [30, 21, 12] },
  ])('$name', ({ tg, txsz, shifts }) => {
    const machine = new Machine().enable();
    machine.ste(0x30, BigInt(PLACE.cd) | 0xbn);
    machine.cd((CD_DW0 & ~0xffn) | (tg << 6n) | txsz);
    const bits = 64 - Number(txsz);
    const iova = 2 ** bits - 2 ** (shifts.at(-1) as number) + 0x5a8;
    let table: number = PLACE.table;
    shifts.forEach((shift, i) => {
      const above = i === 0 ? bits : (shifts[i - 1] as number);
      const index = Math.floor((iova % 2 ** above) / 2 ** shift);
      const last = i === shifts.length - 1;
      const next = PLACE.table + (i + 1) * 0x1_0000;
      machine.word(table + index * 8, last ? DATA | LEAF : BigInt(next) | 3n);
      table = next;
    });
    expect(machine.access(iova)).toMatchObject({
      outcome: 'ok',
      paddr: PLACE.data + 0x5a8,
      tlbHit: false,
    });
    expect(machine.access(iova + 8)).toMatchObject({
      outcome: 'ok',
      paddr: PLACE.data + 0x5b0,
      tlbHit: true,
    });
    expect(verdict(machine.access(2 ** bits))).toBe('F_TRANSLATION');
  });
  const LEAF = 0xf47n;
});

describe('worlds of EL2 (IHI 0070 3.17, 5.2 STRW)', () => {
  const HYP = { ...IDR, IDR0: IDR.IDR0 | 0x200 };

  test('NS-EL2 knows one privilege and no ASID; TLBI_EL2 removes its entries, TLBI_NSNH does not', () => {
    const machine = new Machine({ idr: HYP }).enable();
    machine.device();
    machine.ste(0x30, BigInt(PLACE.cd) | 0xbn, 0xd6n | (2n << 30n));
    const leaf = machine.map(0x5000, DATA | 0xf07n);
    expect(verdict(machine.access(0x5000))).toBe('ok');
    machine.word(leaf, 0n);
    machine.issue([0x30n, 0n], machine.sync());
    expect(verdict(machine.access(0x5000))).toBe('ok');
    machine.issue([0x22n, 0x5001n], machine.sync());
    expect(verdict(machine.access(0x5000))).toBe('F_TRANSLATION');
  });
});
