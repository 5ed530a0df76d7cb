import { describe, expect, test } from 'vitest';
import { type CommandContext, decodeCommand } from '../src/command-decode.ts';
import { DEFAULT_INTERFACE_POLICY, FEATURE_PRESETS } from '../src/index.ts';

const CONTEXT: CommandContext = {
  features: FEATURE_PRESETS.full,
  policy: DEFAULT_INTERFACE_POLICY,
  e2h: false,
  vmw: 0,
  enabled: true,
};

function decode(dw0: bigint, dw1: bigint, more: Partial<CommandContext> = {}): object {
  const lanes = [dw0, dw1].flatMap((dw) => [Number(dw & 0xffff_ffffn), Number(dw >> 32n)]);
  return decodeCommand(lanes, { ...CONTEXT, ...more });
}

/** NUM 16:12, SCALE 25:20, VMID 47:32, ASID 63:48; Leaf 0, TTL 9:8, TG 11:10, Address 63:12. */
function tlbi(opcode: bigint, f: Record<string, bigint>): [bigint, bigint] {
  const { num = 0n, scale = 0n, vmid = 0n, asid = 0n, leaf = 0n, ttl = 0n, tg = 0n, va = 0n } = f;
  return [
    opcode | (num << 12n) | (scale << 20n) | (vmid << 32n) | (asid << 48n),
    leaf | (ttl << 8n) | (tg << 10n) | va,
  ];
}

const K4 = 0x1000;
const K16 = 0x4000;
const K64 = 0x10000;
const UPPER = 2 ** 52;

describe('range TLBI: (NUM + 1) * 2^SCALE * granule from Address (IHI 0070 4.4.1.1)', () => {
  test.each([
    { name: 'TG=0: one address, any granule', f: {}, bytes: K4, granuleLg2: 0, ttl: 0 },
    {
      name: 'TG=0: NUM, SCALE and TTL are reserved',
      f: { num: 5n, scale: 3n, ttl: 2n },
      bytes: K4,
      granuleLg2: 0,
      ttl: 0,
    },
    { name: '4K NUM=1', f: { tg: 1n, num: 1n }, bytes: 2 * K4, granuleLg2: 12, ttl: 0 },
    {
      name: '4K NUM=31 SCALE=4',
      f: { tg: 1n, num: 31n, scale: 4n },
      bytes: 512 * K4,
      granuleLg2: 12,
      ttl: 0,
    },
    { name: '4K one page by TTL', f: { tg: 1n, ttl: 3n }, bytes: K4, granuleLg2: 12, ttl: 3 },
    { name: '16K SCALE=1', f: { tg: 2n, scale: 1n }, bytes: 2 * K16, granuleLg2: 14, ttl: 0 },
    {
      name: '16K NUM=2 TTL=2',
      f: { tg: 2n, num: 2n, ttl: 2n },
      bytes: 3 * K16,
      granuleLg2: 14,
      ttl: 2,
    },
    { name: '64K NUM=7', f: { tg: 3n, num: 7n }, bytes: 8 * K64, granuleLg2: 16, ttl: 0 },
    {
      name: '4K SCALE=31: 32 << 31 pages, up to the end of the half',
      f: { tg: 1n, num: 31n, scale: 31n },
      bytes: 2 ** 48,
      granuleLg2: 12,
      ttl: 0,
    },
  ])('$name', ({ f, bytes, granuleLg2, ttl }) => {
    for (const opcode of [0x12n, 0x13n, 0x22n, 0x23n, 0x2an]) {
      const va = 0x40_0000n;
      expect(decode(...tlbi(opcode, { ...f, va }))).toMatchObject({
        what: 'tlb',
        start: 0x40_0000,
        end: 0x40_0000 + bytes,
        granuleLg2,
        ttl,
        leaf: false,
      });
      expect(decode(...tlbi(opcode, { ...f, va, leaf: 1n }))).toMatchObject({ leaf: true });
    }
  });

  test('no wrap from one half into the other', () => {
    const f = { tg: 3n, num: 31n, scale: 31n };
    expect(decode(...tlbi(0x12n, { ...f, va: 0x000f_ffff_ffff_0000n }))).toMatchObject({
      end: UPPER,
    });
    expect(decode(...tlbi(0x12n, { ...f, va: 0xffff_ffff_ffff_0000n }))).toMatchObject({
      end: 2 * UPPER,
    });
  });

  // linux-iommu.md 6.8: TG = (log2 - 10) / 2; TTL = 4 - (log2(leaf) - 3) / (log2 - 3).
  test.each([
    { leafLg2: 12, tgLg2: 12, tg: 1n, ttl: 3n },
    { leafLg2: 21, tgLg2: 12, tg: 1n, ttl: 2n },
    { leafLg2: 30, tgLg2: 12, tg: 1n, ttl: 1n },
    { leafLg2: 14, tgLg2: 14, tg: 2n, ttl: 3n },
    { leafLg2: 25, tgLg2: 14, tg: 2n, ttl: 2n },
    { leafLg2: 16, tgLg2: 16, tg: 3n, ttl: 3n },
    { leafLg2: 29, tgLg2: 16, tg: 3n, ttl: 2n },
  ])('a leaf of 2^$leafLg2 as Linux gives it', ({ leafLg2, tgLg2, tg, ttl }) => {
    const scale = BigInt(leafLg2 - tgLg2);
    expect(decode(...tlbi(0x12n, { tg, ttl, scale, leaf: 1n }))).toMatchObject({
      start: 0,
      end: 2 ** leafLg2,
      granuleLg2: tgLg2,
      ttl: Number(ttl),
    });
  });

  test('without RIL all of it is reserved: one page', () => {
    const features = { ...FEATURE_PRESETS.full, ril: false };
    expect(
      decode(...tlbi(0x12n, { tg: 1n, num: 9n, scale: 3n, ttl: 2n }), { features }),
    ).toMatchObject({ start: 0, end: K4, granuleLg2: 0, ttl: 0 });
  });
});

describe('scope of the TLBI commands (IHI 0070 4.4.2-4.4.4)', () => {
  const any = { asid: -1, globals: true };
  test.each([
    { op: 0x10n, e2h: false, worlds: [0], stage1: true, stage2: false, vmid: 3, ...any },
    {
      op: 0x11n,
      e2h: false,
      worlds: [0],
      stage1: true,
      stage2: false,
      vmid: 3,
      asid: 6,
      globals: false,
    },
    {
      op: 0x12n,
      e2h: false,
      worlds: [0],
      stage1: true,
      stage2: false,
      vmid: 3,
      asid: 6,
      globals: true,
    },
    { op: 0x13n, e2h: false, worlds: [0], stage1: true, stage2: false, vmid: 3, ...any },
    { op: 0x20n, e2h: false, worlds: [1, 2], stage1: true, vmid: -1, ...any },
    // By ASID only E2H entries, whatever E2H is now.
    { op: 0x21n, e2h: false, worlds: [2], stage1: true, vmid: -1, asid: 6, globals: false },
    { op: 0x22n, e2h: false, worlds: [1], stage1: true, vmid: -1, ...any },
    { op: 0x22n, e2h: true, worlds: [2], stage1: true, vmid: -1, asid: 6, globals: true },
    { op: 0x23n, e2h: true, worlds: [2], stage1: true, vmid: -1, ...any },
    { op: 0x28n, e2h: false, worlds: [0], stage1: true, stage2: true, vmid: 3, ...any },
    { op: 0x2an, e2h: false, worlds: [0], stage1: false, stage2: true, vmid: 3, ...any },
    { op: 0x30n, e2h: false, worlds: [0], stage1: true, stage2: true, vmid: -1, ...any },
  ])('opcode $op, E2H=$e2h', ({ op, e2h, ...expected }) => {
    expect(decode(...tlbi(op, { vmid: 3n, asid: 6n }), { e2h })).toMatchObject({
      what: 'tlb',
      ...expected,
    });
  });

  test('VMW = n ignores n low bits of the VMID', () => {
    for (const vmw of [0, 1, 2, 3, 4])
      expect(decode(0x28n, 0n, { vmw })).toMatchObject({ vmidStep: 2 ** vmw });
  });

  test('the upper 8 bits of VMID and ASID are RES0 without VMID16 and ASID16', () => {
    const features = { ...FEATURE_PRESETS.full, vmid16: false, asid16: false };
    expect(decode(...tlbi(0x12n, { vmid: 0x1203n, asid: 0x3406n }), { features })).toMatchObject({
      vmid: 3,
      asid: 6,
    });
  });

  test('without stage 2 the VMID does not count', () => {
    const features = { ...FEATURE_PRESETS.full, s2p: false };
    expect(decode(...tlbi(0x10n, { vmid: 3n }), { features })).toMatchObject({ vmid: -1 });
  });
});

describe('scope of the CFGI commands (IHI 0070 4.3)', () => {
  const ALL = { ste: true, l1std: true, l1cd: true, ssid: -1 };
  test.each([
    { name: 'STE', dw0: 0x03n, dw1: 1n, first: 5, last: 5, ...ALL, l1std: false },
    { name: 'STE, Leaf=0', dw0: 0x03n, dw1: 0n, first: 5, last: 5, ...ALL },
    { name: 'range of 2', dw0: 0x04n, dw1: 0n, first: 4, last: 5, ...ALL },
    { name: 'range of 8', dw0: 0x04n, dw1: 2n, first: 0, last: 7, ...ALL },
    { name: 'range of 2^31', dw0: 0x04n, dw1: 30n, first: 0, last: 2 ** 31 - 1, ...ALL },
    { name: 'all', dw0: 0x04n, dw1: 31n, first: 0, last: 2 ** 32 - 1, ...ALL },
    {
      name: 'CD',
      dw0: 0x7005n,
      dw1: 1n,
      first: 5,
      last: 5,
      ste: false,
      l1std: false,
      l1cd: false,
      ssid: 7,
    },
    {
      name: 'CD, Leaf=0',
      dw0: 0x7005n,
      dw1: 0n,
      first: 5,
      last: 5,
      ste: false,
      l1std: false,
      l1cd: true,
      ssid: 7,
    },
    {
      name: 'CD_ALL',
      dw0: 0x06n,
      dw1: 1n,
      first: 5,
      last: 5,
      ste: false,
      l1std: false,
      l1cd: true,
      ssid: -1,
    },
  ])('$name', ({ name: _, dw0, dw1, ...expected }) => {
    expect(decode(dw0 | (5n << 32n), dw1)).toEqual({ what: 'config', ...expected });
  });
});

describe('commands to endpoints and stalls (IHI 0070 4.5, 4.7)', () => {
  test('RESUME: Ac 12, Ab 13, StreamID 63:32, STAG 79:64', () => {
    const resume = (bits: bigint): object => decode(0x44n | bits | (9n << 32n), 0xabcdn);
    const common = { what: 'resume', streamId: 9, stag: 0xabcd };
    expect([resume(0x1000n), resume(0x3000n), resume(0x2000n), resume(0n)]).toEqual([
      { ...common, action: 'retry' },
      { ...common, action: 'retry' },
      { ...common, action: 'abort' },
      { ...common, action: 'raz-wi' },
    ]);
  });

  test('ATC_INV: the span is aligned to its size; Global counts with SSV only', () => {
    const at = { streamId: 9 };
    expect(decode(0x240n | (9n << 32n), 0xffff_ffff_ffff_f003n)).toEqual({
      what: 'atc-inv',
      request: {
        ...at,
        substreamId: undefined,
        global: false,
        start: 2 ** 64 - 0x8000,
        sizeLg2: 15,
      },
    });
    expect(decode(0xa40n | (4n << 12n) | (9n << 32n), 52n)).toEqual({
      what: 'atc-inv',
      request: { ...at, substreamId: 4, global: true, start: 0, sizeLg2: 64 },
    });
  });
});
