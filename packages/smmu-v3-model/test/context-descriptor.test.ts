import { CD } from '@iommukit/arm-arch';
import { fromBigInt } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import type { IdrWords } from '../src/index.ts';
import { CD_DW0, IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM, verdict } from './rig.lanes.ts';

/** 8 bits of SubstreamID and two-level CD tables. */
const SUBSTREAMS: IdrWords = { ...IDR, IDR0: IDR.IDR0 | 0x8_0000, IDR1: IDR.IDR1 | (8 << 6) };
const CD_POINTER = BigInt(PLACE.cd);

function withCd(patch: Partial<Parameters<typeof CD.encode>[0]>, idr = IDR): string {
  const machine = new Machine({ idr }).enable();
  machine.device();
  const words = new Uint32Array(16);
  for (let i = 0; i < 16; i += 2) {
    words[i] = machine.memory.load64(PLACE.cd + i * 4);
    words[i + 1] = machine.memory.hi;
  }
  for (const [field, value] of Object.entries(patch)) CD.set[field as 'V'](words, value as number);
  for (let i = 0; i < 16; i += 2)
    machine.memory.store64(PLACE.cd + i * 4, words[i] as number, words[i + 1] as number);
  return verdict(machine.access(0x1000));
}

test('the CD of the captures reads as ASID 6, 48 bits, output 44 bits', () => {
  const { lo, hi } = fromBigInt(CD_DW0);
  const words = [lo, hi, ...new Array(14).fill(0)];
  expect([CD.get.ASID(words), CD.get.T0SZ(words), CD.get.IPS(words), CD.get.EPD1(words)]).toEqual([
    6, 16, 4, 1,
  ]);
});

describe('ILLEGAL CDs (IHI 0070 5.4)', () => {
  test.each([
    { name: 'as captured', patch: {}, expected: 'ok' },
    { name: 'V=0', patch: { V: 0 }, expected: 'C_BAD_CD' },
    { name: 'AA64=0 without LPAE', patch: { AA64: 0 }, expected: 'C_BAD_CD' },
    { name: 'A=0 with TERM_MODEL', patch: { A: 0 }, expected: 'C_BAD_CD' },
    { name: 'S=1 with STALL_MODEL=01', patch: { S: 1 }, expected: 'C_BAD_CD' },
    { name: 'big-endian tables', patch: { ENDI: 1 }, expected: 'C_BAD_CD' },
    { name: 'HA without HTTU', patch: { HA: 1 }, expected: 'C_BAD_CD' },
    { name: 'HD without HTTU', patch: { HD: 1 }, expected: 'C_BAD_CD' },
    { name: 'reserved TG0', patch: { TG0: 3 }, expected: 'C_BAD_CD' },
    { name: 'T0SZ below 16', patch: { T0SZ: 15 }, expected: 'C_BAD_CD' },
    { name: 'T0SZ above 39', patch: { T0SZ: 40 }, expected: 'C_BAD_CD' },
    { name: 'TTB0 beyond IPS', patch: { TTB0: 2 ** 44 }, expected: 'C_BAD_CD' },
    {
      name: 'EPD0: no walk, nothing of the half checked',
      patch: { EPD0: 1, T0SZ: 0, TG0: 3 },
      expected: 'F_TRANSLATION',
    },
    {
      name: 'the other half is checked too',
      patch: { EPD1: 0, T1SZ: 16, TG1: 0 },
      expected: 'C_BAD_CD',
    },
    { name: 'IPS above OAS acts as OAS', patch: { IPS: 6 }, expected: 'ok' },
  ])('$name: $expected', ({ patch, expected }) => {
    expect(withCd(patch)).toBe(expected);
  });

  test('a 16-bit ASID needs ASID16', () => {
    expect(withCd({ ASID: 0x100 })).toBe('ok');
    expect(withCd({ ASID: 0x100 }, { ...IDR, IDR0: IDR.IDR0 & ~0x1000 })).toBe('C_BAD_CD');
  });

  test('CD.S stalls a fault and lets a success pass', () => {
    const idr = { ...IDR, IDR0: IDR.IDR0 & ~0x0100_0000, IDR5: 0x1_0074 };
    expect(withCd({ S: 1 }, idr)).toBe('ok');
    expect(withCd({ S: 1, EPD0: 1 }, idr)).toBe('stall');
  });

  test('F_CD_FETCH carries the address of the CD in dw3', () => {
    const machine = new Machine().enable().ste(0x30, BigInt(RAM.base + RAM.size) | 0xbn);
    expect(verdict(machine.access(0x1000))).toBe('F_CD_FETCH');
    expect(machine.record(0)).toEqual(['0x3000000009', '0x0', '0x0', '0x50000000']);
  });
});

describe('SubstreamIDs (IHI 0070 3.9, 5.2 S1DSS, 7.3.7, 7.3.9)', () => {
  function machineWith(dw0: bigint, s1dss: bigint): Machine {
    const machine = new Machine({ idr: SUBSTREAMS }).enable();
    machine.device();
    machine.ste(0x30, dw0, (0xd6n & ~3n) | s1dss);
    return machine;
  }
  const eight = CD_POINTER | 0xbn | (3n << 59n);

  test.each([
    { name: 'S1DSS=00 without SSID', s1dss: 0n, ssid: undefined, expected: 'F_STREAM_DISABLED' },
    { name: 'S1DSS=11 acts as 00', s1dss: 3n, ssid: undefined, expected: 'F_STREAM_DISABLED' },
    { name: 'S1DSS=01 without SSID', s1dss: 1n, ssid: undefined, expected: 'bypass' },
    { name: 'S1DSS=10 without SSID', s1dss: 2n, ssid: undefined, expected: 'ok' },
    { name: 'S1DSS=10 with SSID 0', s1dss: 2n, ssid: 0, expected: 'F_STREAM_DISABLED' },
    { name: 'S1DSS=00 with SSID 0', s1dss: 0n, ssid: 0, expected: 'ok' },
    { name: 'a CD that is not valid', s1dss: 2n, ssid: 7, expected: 'C_BAD_CD' },
    { name: 'SSID beyond S1CDMax', s1dss: 2n, ssid: 8, expected: 'C_BAD_SUBSTREAMID' },
  ])('$name: $expected', ({ s1dss, ssid, expected }) => {
    expect(verdict(machineWith(eight, s1dss).access(0x1000, 'read', { substreamId: ssid }))).toBe(
      expected,
    );
  });

  test('a substream without a CD table, or on a bypassed stream', () => {
    const one = machineWith(CD_POINTER | 0xbn, 2n);
    expect(verdict(one.access(0x1000, 'read', { substreamId: 1 }))).toBe('C_BAD_SUBSTREAMID');
    expect(one.record(0)).toEqual(['0x3000001008', '0x0', '0x0', '0x0']);
    expect(verdict(machineWith(9n, 0n).access(0x1000, 'read', { substreamId: 1 }))).toBe(
      'C_BAD_SUBSTREAMID',
    );
  });

  test('records of a substream carry SSV and SSID', () => {
    const machine = machineWith(eight, 2n);
    machine.cd(CD_DW0, BigInt(PLACE.table), 5);
    expect(verdict(machine.access(0x9000, 'write', { substreamId: 5 }))).toBe('F_TRANSLATION');
    expect(machine.record(0)).toEqual(['0x3000005810', '0x20000000000', '0x9000', '0x0']);
  });

  test.each([
    { name: '4 KiB leaves', format: 1n, ssid: 0x45, l1: 1, at: 5 },
    { name: '64 KiB leaves', format: 2n, ssid: 0x45, l1: 0, at: 0x45 },
  ])('two-level CD table, $name', ({ format, ssid, l1, at }) => {
    const l1Table = 0x4030_0000;
    const machine = machineWith(BigInt(l1Table) | 0xbn | (format << 4n) | (8n << 59n), 2n);
    const access = (): string => verdict(machine.access(0x1000, 'read', { substreamId: ssid }));
    machine.word(l1Table + l1 * 8, 0x4031_0001n);
    machine.word(0x4031_0000 + at * 64, CD_DW0);
    machine.word(0x4031_0000 + at * 64 + 8, BigInt(PLACE.table));
    expect(access()).toBe('ok');
  });

  test('an invalid L1CD is C_BAD_SUBSTREAMID', () => {
    const machine = machineWith(0x4030_0000n | 0xbn | (1n << 4n) | (8n << 59n), 2n);
    expect(verdict(machine.access(0x1000, 'read', { substreamId: 3 }))).toBe('C_BAD_SUBSTREAMID');
  });

  test('two levels need CD2L; S1CDMax may not exceed SSIDSIZE', () => {
    const machine = new Machine({ idr: { ...SUBSTREAMS, IDR0: IDR.IDR0 } }).enable();
    machine.ste(0x30, CD_POINTER | 0x1bn | (8n << 59n));
    expect(verdict(machine.access(0x1000, 'read', { substreamId: 3 }))).toBe('C_BAD_STE');
    expect(verdict(machineWith(CD_POINTER | 0xbn | (9n << 59n), 2n).access(0x1000))).toBe(
      'C_BAD_STE',
    );
  });

  test.each([
    { streamId: -1 },
    { streamId: 2 ** 32 },
    { substreamId: 2 ** 20 },
    { substreamId: 0.5 },
  ])('no transaction has %o', (fields) => {
    expect(() => new Machine().access(0, 'read', fields)).toThrow(
      expect.objectContaining({ code: 'DMA_ACCESS' }),
    );
  });
});
