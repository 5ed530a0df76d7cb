import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM, verdict } from './rig.lanes.ts';

const CD_POINTER = BigInt(PLACE.cd);

function withSte(dw0: bigint, dw1 = 0xd6n, idr = IDR): string {
  const machine = new Machine({ idr }).enable();
  machine.device();
  machine.ste(0x30, dw0, dw1);
  return verdict(machine.access(0x1000));
}

describe('STE (IHI 0070 5.2)', () => {
  test.each([
    { name: 'V=0', dw0: CD_POINTER | 0xan, expected: 'C_BAD_STE' },
    { name: 'Config=000', dw0: CD_POINTER | 1n, expected: 'ste-abort' },
    { name: 'Config=011 aborts too', dw0: CD_POINTER | 7n, expected: 'ste-abort' },
    { name: 'Config=100', dw0: 9n, expected: 'bypass' },
    { name: 'Config=101', dw0: CD_POINTER | 0xbn, expected: 'ok' },
    { name: 'S1ContextPtr beyond OAS', dw0: 0x0000_1000_0000_000bn, expected: 'C_BAD_STE' },
    {
      name: 'S1CDMax is ignored without substreams',
      dw0: CD_POINTER | 0xbn | (1n << 59n),
      expected: 'ok',
    },
    { name: 'S1Fmt is ignored with one CD', dw0: CD_POINTER | 0x1bn, expected: 'ok' },
  ])('$name: $expected', ({ dw0, expected }) => {
    expect(withSte(dw0)).toBe(expected);
  });

  test.each([
    { name: 'S1STALLD=1 with STALL_MODEL=01', dw1: 0xd6n | (1n << 27n), expected: 'C_BAD_STE' },
    { name: 'STRW is RES0 without Hyp', dw1: 0xd6n | (1n << 30n), expected: 'ok' },
    { name: 'EATS is RES0 without ATS', dw1: 0xd6n | (2n << 28n), expected: 'ok' },
  ])('$name: $expected', ({ dw1, expected }) => {
    expect(withSte(CD_POINTER | 0xbn, dw1)).toBe(expected);
  });

  test('stage 1 absent: Config=101 is ILLEGAL', () => {
    expect(withSte(CD_POINTER | 0xbn, 0xd6n, { ...IDR, IDR0: IDR.IDR0 & ~2 })).toBe('C_BAD_STE');
  });

  test('STRW=x1 is ILLEGAL with Hyp', () => {
    expect(
      withSte(CD_POINTER | 0xbn, 0xd6n | (1n << 30n), { ...IDR, IDR0: IDR.IDR0 | 0x200 }),
    ).toBe('C_BAD_STE');
  });

  test.each([6n, 7n])('Config=%d without stage 2 is ILLEGAL', (config) => {
    const without = { ...IDR, IDR0: IDR.IDR0 & ~1 };
    expect(withSte(CD_POINTER | 1n | (config << 1n), 0xd6n, without)).toBe('C_BAD_STE');
  });

  test('bypass checks the address size, whatever the CD says (3.4)', () => {
    const machine = new Machine().enable().ste(0x30, 9n);
    expect(machine.access(2 ** 44 - 4096)).toMatchObject({
      outcome: 'bypass',
      paddr: 2 ** 44 - 4096,
    });
    expect(machine.access(2 ** 44)).toMatchObject({
      outcome: 'fault',
      record: 'written',
      response: 'abort',
    });
    expect(machine.record(0)).toEqual(['0x3000000011', '0x20800000000', '0x100000000000', '0x0']);
  });
});

describe('stream table lookup (IHI 0070 3.3.1, 5.1, 6.3.25)', () => {
  test('a StreamID beyond LOG2SIZE: recorded with RECINVSID only', () => {
    const machine = new Machine().enable();
    const outside = { streamId: 512, address: { lo: 0, hi: 0 }, rw: 'read' } as const;
    expect(verdict(machine.smmu.translate(outside))).toBe('C_BAD_STREAMID');
    expect(machine.record(0)).toEqual(['0x20000000002', '0x0', '0x0', '0x0']);
    machine.smmu.registers.write32(R.CR0, 0xc);
    machine.smmu.registers.write32(R.CR2, 0);
    machine.smmu.registers.write32(R.CR0, 0xd);
    expect(verdict(machine.smmu.translate(outside))).toBe('bad-stream-id-unrecorded');
  });

  test('F_STE_FETCH carries the address of the STE', () => {
    const machine = new Machine();
    machine.enable(0xc);
    machine.smmu.registers.write64(R.STRTAB_BASE, RAM.base + RAM.size, 0);
    machine.smmu.registers.write32(R.CR0, 0xd);
    expect(machine.access(0x1000)).toMatchObject({
      event: { event: 'F_STE_FETCH', fetchAddress: 0x5000_0c00 },
    });
    expect(machine.record(0)).toEqual(['0x3000000003', '0x0', '0x0', '0x50000c00']);
  });

  function twoLevel(l1: bigint, streamId = 0x30): string {
    const machine = new Machine();
    machine.enable(0xc);
    machine.device();
    machine.word(PLACE.strtab, l1);
    for (const at of [0x4022_0c00, 0x4022_0040]) {
      machine.word(at, CD_POINTER | 0xbn);
      machine.word(at + 8, 0xd6n);
    }
    machine.smmu.registers.write32(R.STRTAB_BASE_CFG, 0x10209);
    machine.smmu.registers.write32(R.CR0, 0xd);
    return verdict(
      machine.smmu.translate({ streamId, address: { lo: 0x1000, hi: 0 }, rw: 'read' }),
    );
  }

  test.each([
    { name: 'span covers the stream', l1: 0x4022_0007n, expected: 'ok' },
    { name: 'full span', l1: 0x4022_0009n, expected: 'ok' },
    { name: 'span 0', l1: 0x4022_0000n, expected: 'C_BAD_STREAMID' },
    { name: 'past the span', l1: 0x4022_0006n, expected: 'C_BAD_STREAMID' },
    { name: 'span larger than SPLIT allows', l1: 0x4022_000an, expected: 'C_BAD_STREAMID' },
    { name: 'reserved span', l1: 0x4022_000cn, expected: 'C_BAD_STREAMID' },
    { name: 'pointer is aligned to the array', l1: 0x4022_0fc9n, expected: 'ok' },
    { name: 'array outside memory', l1: 0x1_0000_0009n, expected: 'F_STE_FETCH' },
  ])('two levels, $name: $expected', ({ l1, expected }) => {
    expect(twoLevel(l1)).toBe(expected);
  });
});

describe('SMMUEN=0 (IHI 0070 6.3.9.6, 6.3.14)', () => {
  test('passes, refuses what is beyond OAS, and obeys GBPA.ABORT, without a record', () => {
    const machine = new Machine().enable(0xc);
    expect(machine.access(0x1004)).toMatchObject({ outcome: 'bypass', paddr: 0x1004 });
    expect(verdict(machine.access(2 ** 44))).toBe('address-above-oas');
    machine.smmu.registers.write32(R.GBPA, 0x8010_0000);
    expect(verdict(machine.access(0x1004))).toBe('gbpa-abort');
    expect(machine.reg(R.EVENTQ_PROD)).toBe(0);
  });
});
