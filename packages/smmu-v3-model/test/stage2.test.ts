import { STE } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { CACHE_NOTHING, type Features } from '../src/index.ts';
import { AT, NestedMachine, S2_RO, S2_RW, type SteFields } from './nested-machine.lanes.ts';
import { verdict } from './rig.lanes.ts';

const DATA = BigInt(AT.data);

function alone(ste: SteFields = {}, features: Partial<Features> = {}): NestedMachine {
  const m = new NestedMachine({ features, policy: CACHE_NOTHING }).ste(6, ste);
  m.s2(0x1000, DATA | S2_RW);
  return m;
}

describe('STEs with stage 2 that are ILLEGAL (IHI 0070 5.2, 5.2.2, 5.5)', () => {
  test.each<[string, SteFields, Partial<Features>, string]>([
    ['as is', {}, {}, 'ok'],
    ['S2AA64=0 without VMSAv8-32', { S2AA64: 0 }, {}, 'C_BAD_STE'],
    ['S2ENDI=1 with TTENDIAN=2', { S2ENDI: 1 }, {}, 'C_BAD_STE'],
    ['S2S=1 with STALL_MODEL=1', { S2S: 1 }, { stallModel: 1 }, 'C_BAD_STE'],
    ['S2S=0 with STALL_MODEL=2', {}, { stallModel: 2 }, 'C_BAD_STE'],
    ['S2S=1 with STALL_MODEL=2', { S2S: 1 }, { stallModel: 2 }, 'ok'],
    ['S2HA without HTTU', { S2HA: 1 }, { httu: 0 }, 'C_BAD_STE'],
    ['S2HA with HTTU=1', { S2HA: 1 }, { httu: 1 }, 'ok'],
    ['S2HD with HTTU=1', { S2HA: 1, S2HD: 1 }, { httu: 1 }, 'C_BAD_STE'],
    ['S2HD alone with HTTU=2', { S2HD: 1 }, { httu: 2 }, 'ok'],
    ['S2HAFT without S2HA', { S2HAFT: 1 }, {}, 'C_BAD_STE'],
    ['S2HAFT without HTTU=3 is RES0', { S2HAFT: 1 }, { httu: 2 }, 'ok'],
    ['S2TG=3', { S2TG: 3 }, {}, 'C_BAD_STE'],
    ['S2TG of a granule that is absent', { S2TG: 1 }, { gran64k: false }, 'C_BAD_STE'],
    ['S2TTB beyond S2PS', { S2PS: 0, S2TTB: 2 ** 32 }, {}, 'C_BAD_STE'],
    ['S2TTB beyond OAS', { S2PS: 5, S2TTB: 2 ** 44 }, { oas: 44 }, 'C_BAD_STE'],
    ['S2TTB beyond 48 bits with 4 KiB and S2DS=0', { S2PS: 6, S2TTB: 2 ** 48 }, {}, 'C_BAD_STE'],
    ['S2TTB bits 55:52 are not for 52-bit addresses', { S2TTB: AT.stage2 + 2 ** 52 }, {}, 'ok'],
    ['S2VMID above 8 bits', { S2VMID: 0x100 }, { vmid16: false }, 'C_BAD_STE'],
    ['S2VMID of 16 bits', { S2VMID: 0x100 }, {}, 'ok'],
    ['S1ContextPtr, S1CDMax, S1STALLD are IGNORED', { S1CDMax: 31, S1STALLD: 1 }, {}, 'ok'],
    ['STRW is IGNORED with stage 2', { STRW: 1 }, {}, 'ok'],
    ['EATS=01 with S2S=1', { EATS: 1, S2S: 1 }, { ats: true, stallModel: 0 }, 'C_BAD_STE'],
    ['EATS=10 without nesting', { EATS: 2 }, { ats: true }, 'C_BAD_STE'],
    ['EATS=11 acts as 00 without DPT', { EATS: 3, S2S: 1 }, { ats: true, stallModel: 0 }, 'ok'],
  ])('%s', (_, ste, features, expected) => {
    expect(verdict(alone(ste, features).access(0x1000))).toBe(expected);
  });

  /** [granule, S2T0SZ, S2SL0, other fields, features, legal] from the tables of DDI 0487 D8.2.2 as section 4.3 of the notes has them. */
  test.each<[number, number, number, SteFields, Partial<Features>, boolean]>([
    // 4 KiB: level 1 resolves 31 to 43 bits, level 0 40 to 52, level 2 22 to 34.
    [0, 33, 1, {}, {}, true],
    [0, 34, 1, {}, {}, false],
    [0, 21, 1, {}, {}, true],
    [0, 20, 1, {}, {}, false],
    [0, 24, 2, {}, {}, true],
    [0, 25, 2, {}, {}, false],
    [0, 16, 2, {}, {}, true],
    [0, 15, 2, {}, {}, false],
    [0, 30, 0, {}, {}, true],
    [0, 29, 0, {}, {}, false],
    [0, 39, 0, {}, {}, true],
    [0, 40, 0, {}, {}, true],
    [0, 40, 0, {}, { stt: false }, false],
    [0, 48, 3, {}, {}, true],
    [0, 48, 3, {}, { stt: false }, false],
    [0, 39, 3, {}, {}, true],
    [0, 38, 3, {}, {}, false],
    // The size of the IPA space is at most OAS.
    [0, 20, 2, {}, { oas: 44, ds: false }, true],
    [0, 19, 2, {}, { oas: 44, ds: false }, false],
    // DS: level -1 by S2SL0_2.
    [0, 12, 0, { S2DS: 1, S2SL0_2: 1 }, {}, true],
    [0, 15, 0, { S2DS: 1, S2SL0_2: 1 }, {}, true],
    [0, 16, 0, { S2DS: 1, S2SL0_2: 1 }, {}, false],
    [0, 12, 2, { S2DS: 1 }, {}, true],
    [0, 12, 2, {}, {}, false],
    [0, 16, 2, { S2SL0_2: 1 }, {}, true],
    [0, 16, 2, { S2DS: 1, S2SL0_2: 1 }, {}, false],
    // 16 KiB: level 1 resolves 37 to 51 bits, level 2 26 to 40, level 3 15 to 29; level 0 with DS.
    [2, 16, 2, {}, {}, true],
    [2, 27, 2, {}, {}, true],
    [2, 28, 2, {}, {}, false],
    [2, 24, 1, {}, {}, true],
    [2, 23, 1, {}, {}, false],
    [2, 35, 0, {}, {}, true],
    [2, 34, 0, {}, {}, false],
    [2, 16, 3, {}, {}, false],
    [2, 12, 3, { S2DS: 1 }, {}, true],
    [2, 16, 3, { S2DS: 1 }, {}, true],
    [2, 17, 3, { S2DS: 1 }, {}, false],
    // 64 KiB: level 1 resolves 43 to 52 bits, level 2 30 to 46, level 3 17 to 33.
    [1, 12, 2, {}, {}, true],
    [1, 16, 2, {}, {}, true],
    [1, 21, 2, {}, {}, true],
    [1, 22, 2, {}, {}, false],
    [1, 18, 1, {}, {}, true],
    [1, 17, 1, {}, {}, false],
    [1, 34, 1, {}, {}, true],
    [1, 35, 1, {}, {}, false],
    [1, 31, 0, {}, {}, true],
    [1, 30, 0, {}, {}, false],
    [1, 47, 0, {}, {}, true],
    [1, 48, 0, {}, {}, false],
    [1, 20, 3, {}, {}, false],
  ])('S2TG=%d S2T0SZ=%d S2SL0=%d %o %o: %s', (...[S2TG, S2T0SZ, S2SL0, more, features, legal]) => {
    const ste = { S2TG, S2T0SZ, S2SL0, S2PS: 6, S2TTB: AT.data, ...more };
    const m = alone(ste, features);
    expect(verdict(m.access(0x1000))).toBe(legal ? 'F_TRANSLATION' : 'C_BAD_STE');
  });

  test('an STE of 64 bytes: the fields stand where the captures and vectors have them', () => {
    // STE of the vectors' base s2-c6-h4, dw2 and dw3.
    const words = new Uint32Array(16);
    words[5] = 0x000c_3594;
    expect([STE.get.S2T0SZ(words), STE.get.S2SL0(words), STE.get.S2AA64(words)]).toEqual([
      20, 2, 1,
    ]);
  });
});

describe('translation by stage 2 alone (IHI 0070 3.4, 7.3.12-7.3.16)', () => {
  test('a page, and the record of each fault', () => {
    const m = alone();
    expect(m.access(0x1234, 'write')).toMatchObject({ outcome: 'ok', paddr: AT.data + 0x234 });
    m.s2(0x2000, DATA | S2_RO);
    m.s2(0x3000, (DATA | S2_RW) & ~0x400n);
    m.s2(0x4000, (1n << 50n) | S2_RW);
    m.s2(0x5000, 0n);
    m.s2(0x6000, DATA | 0x7bfn);
    m.s2(0x20_0000, 0x5000_0003n, 2);
    expect(
      [
        m.access(0x2004, 'write'),
        m.access(0x3004),
        m.access(0x5004),
        m.access(0x6004),
        m.access(2 ** 40),
        m.access(0x20_0004),
        m.access(2 ** 52),
      ].map(verdict),
    ).toEqual([
      'F_PERMISSION',
      'F_ACCESS',
      'F_TRANSLATION',
      'F_PERMISSION',
      'F_TRANSLATION',
      'F_WALK_EABT',
      'F_ADDR_SIZE',
    ]);
    // dw1: RnW 35, S2 39, CLASS 41:40 = IN; dw3: IPA 55:12, or the address of the fetch.
    expect([0, 1, 2, 3, 4, 5, 6].map((i) => m.record(i))).toEqual([
      ['0x3000000013', '0x28000000000', '0x2004', '0x2000'],
      ['0x3000000012', '0x28800000000', '0x3004', '0x3000'],
      ['0x3000000010', '0x28800000000', '0x5004', '0x5000'],
      ['0x3000000013', '0x28800000000', '0x6004', '0x6000'],
      ['0x3000000010', '0x28800000000', '0x10000000000', '0x10000000000'],
      ['0x300000000b', '0x28800000000', '0x200004', '0x50000000'],
      // Stage 1 is passed by: its address size, S2=0, CLASS=IN.
      ['0x3000000011', '0x20800000000', '0x10000000000000', '0x0'],
    ]);
  });

  test('bits 51:48 of a 4 KiB descriptor are no address without DS', () => {
    const m = alone();
    m.s2(0x4000, (1n << 50n) | DATA | S2_RW);
    expect(m.access(0x4000)).toMatchObject({ outcome: 'ok', paddr: AT.data });
  });

  test('an output beyond S2PS is F_ADDR_SIZE, before the access flag', () => {
    const m = alone({ S2PS: 1 });
    m.s2(0x4000, (1n << 36n) | 0x3ffn);
    expect(verdict(m.access(0x4000))).toBe('F_ADDR_SIZE');
  });

  test('S2AFFD takes AF as 1', () => {
    const m = alone({ S2AFFD: 1 });
    m.s2(0x4000, DATA | (S2_RW & ~0x400n));
    expect(verdict(m.access(0x4000))).toBe('ok');
  });

  test('S2R=0 suppresses the record of what it governs, not of F_WALK_EABT', () => {
    const m = alone({ S2R: 0 });
    m.s2(0x20_0000, 0x5000_0003n, 2);
    expect(m.access(0x9000)).toMatchObject({ record: 'suppressed', response: 'abort' });
    expect(m.access(0x20_0000)).toMatchObject({ record: 'written', response: 'abort' });
    expect(m.records).toBe(1);
  });

  test('concatenated tables are one table, aligned to the whole', () => {
    const m = alone({ S2TTB: AT.stage2 + 0x1000 });
    m.word(AT.stage2 + 0x1000, 0x4090_0003n);
    m.word(0x4090_0000, 0x4090_1003n);
    m.word(0x4090_1000, DATA | S2_RW);
    expect(m.access(2 ** 39)).toMatchObject({ outcome: 'ok', paddr: AT.data });
  });

  test.each([
    // XN[1:0], instruction read: unprivileged, privileged (DDI 0487 D8.4).
    [0n, 'ok', 'ok'],
    [1n, 'ok', 'F_PERMISSION'],
    [2n, 'F_PERMISSION', 'F_PERMISSION'],
    [3n, 'F_PERMISSION', 'ok'],
  ])('XNX, XN=%d: unprivileged %s, privileged %s', (xn, el0, el1) => {
    const m = alone();
    m.s2(0x4000, DATA | S2_RW | (xn << 53n));
    const fetched = [false, true].map((privileged) =>
      verdict(m.access(0x4000, 'read', { instruction: true, privileged })),
    );
    expect(fetched).toEqual([el0, el1]);
    expect(verdict(m.access(0x4000))).toBe('ok');
  });

  test('without XNX bit 54 alone decides', () => {
    const m = alone({}, { xnx: false, minor: 0 });
    m.s2(0x4000, DATA | S2_RW | (1n << 53n));
    expect(verdict(m.access(0x4000, 'read', { instruction: true, privileged: true }))).toBe('ok');
  });

  test('an atomic needs both permissions, and says which was missing (13.1.1)', () => {
    const m = alone();
    m.s2(0x4000, DATA | S2_RO);
    m.s2(0x5000, DATA | 0x7bfn);
    expect(m.access(0x4000, 'atomic')).toMatchObject({
      event: { event: 'F_PERMISSION', rw: 'write' },
    });
    expect(m.access(0x5000, 'atomic')).toMatchObject({
      event: { event: 'F_PERMISSION', rw: 'read' },
    });
    expect(verdict(m.access(0x1000, 'atomic'))).toBe('ok');
  });

  test('a SubstreamID is refused where stage 1 is not used', () => {
    expect(verdict(alone().access(0x1000, 'read', { substreamId: 1 }))).toBe('C_BAD_SUBSTREAMID');
  });
});

describe('52-bit addresses (DDI 0487 D8.3)', () => {
  test('a block that reaches beyond S2PS: the address counts, cached or not', () => {
    const m = new NestedMachine();
    m.ste(6, { S2TG: 1, S2T0SZ: 16, S2SL0: 2, S2PS: 2, S2TTB: AT.stage2 });
    // 4 TiB at level 1, output from 0; S2PS says 40 bits.
    m.word(AT.stage2, 0x7fdn);
    const tries = [0x1000, 2 ** 40, 0x5000, 2 ** 40 + 0x5000, 2 ** 40 - 0x1000];
    expect(tries.map((at) => verdict(m.access(at)))).toEqual([
      'ok',
      'F_ADDR_SIZE',
      'ok',
      'F_ADDR_SIZE',
      'ok',
    ]);
    expect(m.smmu.counters).toMatchObject({ ipaHits: 2, ipaMisses: 3 });
  });

  test('64 KiB granule: bits 15:12 are address bits 51:48', () => {
    const m = alone({ S2TG: 1, S2T0SZ: 16, S2SL0: 0 + 1, S2PS: 6, S2TTB: AT.stage2 });
    expect(verdict(m.access(0))).toBe('C_BAD_STE');
    m.ste(6, { S2TG: 1, S2T0SZ: 35, S2SL0: 0, S2PS: 6, S2TTB: AT.stage2 });
    m.word(AT.stage2, 0x4100_0000n | (0xan << 12n) | S2_RW);
    expect(m.access(0x1_0000 - 0x1000)).toMatchObject({
      outcome: 'ok',
      paddr: 0xa * 2 ** 48 + 0x4100_f000,
    });
  });

  test('4 KiB granule with S2DS: bits 49:48 in place, 51:50 in bits 9:8', () => {
    const m = alone({ S2DS: 1, S2PS: 6 });
    m.s2(0x4000, DATA | (3n << 48n) | (2n << 8n) | 0x4ffn);
    expect(m.access(0x4000)).toMatchObject({ outcome: 'ok', paddr: 0xb * 2 ** 48 + AT.data });
    m.ste(6, { S2DS: 1, S2PS: 5 });
    expect(verdict(m.access(0x4000))).toBe('F_ADDR_SIZE');
  });

  test('a walk from level -1', () => {
    const m = alone({ S2DS: 1, S2SL0: 0, S2SL0_2: 1, S2T0SZ: 12, S2PS: 6 });
    m.word(AT.stage2 + 8 * 8, 0x4090_0003n);
    m.word(0x4090_0000, 0x4090_1003n);
    // Blocks of level 1, and with DS of level 0, are leaves.
    m.word(0x4090_1000, 0x4fdn | 0x4000_0000n);
    m.word(0x4090_0008, 0x4fdn);
    expect(m.access(8 * 2 ** 48 + 0x1000)).toMatchObject({ outcome: 'ok', paddr: 0x4000_1000 });
    expect(m.access(8 * 2 ** 48 + 2 ** 39 + 0x5000)).toMatchObject({
      outcome: 'ok',
      paddr: 0x5000,
    });
  });
});
