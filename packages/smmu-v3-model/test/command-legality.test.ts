import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  encodeFeatures,
  FEATURE_PRESETS,
  type Features,
  type ModelOptions,
  SmmuV3Model,
} from '../src/index.ts';

const CMDQ = 0x4000_1000;

/** CERROR of one command (dw0, dw1): 0 when it was consumed. */
function cerror(
  dw0: bigint,
  dw1: bigint,
  features: Partial<Features> = {},
  policy: ModelOptions['policy'] = {},
): number {
  const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x4000 }]);
  const idr = encodeFeatures({ ...FEATURE_PRESETS.full, ...features });
  const { registers } = new SmmuV3Model({ memory, idr, policy });
  for (const [i, dw] of [dw0, dw1].entries())
    memory.store64(CMDQ + i * 8, Number(dw & 0xffff_ffffn), Number(dw >> 32n));
  registers.write64(R.CMDQ_BASE, CMDQ + 2, 0);
  registers.write32(R.CR0, 9);
  registers.write32(R.CMDQ_PROD, 1);
  const cons = registers.read32(R.CMDQ_CONS);
  const error = (cons >>> 24) & 0x7f;
  expect([cons & 0xf_ffff, registers.read32(R.GERROR)]).toEqual(error === 0 ? [1, 0] : [0, 1]);
  return error;
}

/** Feature sets, and the opcodes that do not exist in each (IHI 0070 4.1-4.7, 7.1). */
const OPCODES = [
  0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x28, 0x2a,
  0x30, 0x40, 0x41, 0x44, 0x45, 0x46,
];
const EL2 = [0x20, 0x21, 0x22, 0x23];
const S1 = [0x05, 0x06, 0x10, 0x11, 0x12, 0x13];
const S2 = [0x28, 0x2a];
const SETS: readonly { name: string; features: Partial<Features>; absent: readonly number[] }[] = [
  { name: 'everything', features: {}, absent: [] },
  {
    name: 'stage 1 only',
    features: { s2p: false, hyp: false, fwb: false, ptwnnc: false },
    absent: [...EL2, ...S2],
  },
  {
    name: 'stage 2 only',
    features: { s1p: false, hyp: false },
    absent: [...EL2, ...S1],
  },
  { name: 'no Hyp (v3.1)', features: { hyp: false, minor: 1 }, absent: EL2 },
  { name: 'no ATS, no PRI', features: { ats: false, pri: false }, absent: [0x40, 0x41] },
  { name: 'no PRI', features: { pri: false }, absent: [0x41] },
  { name: 'terminate only', features: { stallModel: 1, stallMax: 0 }, absent: [0x44, 0x45] },
  { name: 'stall forced', features: { stallModel: 2 }, absent: [] },
];

describe('CERROR_ILL by opcode and feature (IHI 0070 4, 7.1)', () => {
  test.each(SETS)('$name: all 256 opcodes', ({ features, absent }) => {
    for (let opcode = 0; opcode < 256; opcode++) {
      const legal = OPCODES.includes(opcode) && !absent.includes(opcode);
      expect([opcode, cerror(BigInt(opcode), 0n, features)]).toEqual([opcode, legal ? 0 : 1]);
    }
  });

  test.each(OPCODES)('SSec=1 on the Non-secure queue: opcode %i (4.1.6)', (opcode) => {
    expect(cerror(BigInt(opcode) | 0x400n, 0n)).toBe(1);
  });

  test.each([0n, 1n, 2n, 3n])('SYNC with CS=%i: only 3 is illegal (4.7.3)', (cs) => {
    expect(cerror(0x46n | (cs << 12n), 0n)).toBe(cs === 3n ? 1 : 0);
  });

  test.each([0n, 1n, 2n, 3n])('PRI_RESP with Resp=%i: only 3 is illegal (4.5.2)', (resp) => {
    expect(cerror(0x41n, resp << 12n)).toBe(resp === 3n ? 1 : 0);
  });

  test.each([
    { size: 52n, policy: 'illegal', error: 0 },
    { size: 53n, policy: 'illegal', error: 1 },
    { size: 63n, policy: 'illegal', error: 1 },
    { size: 53n, policy: 'everything', error: 0 },
    { size: 63n, policy: 'nothing', error: 0 },
  ] as const)('ATC_INV Size $size, policy $policy: $error (4.5.1)', ({ size, policy, error }) => {
    expect(cerror(0x40n, size, {}, { oversizedAtcInvalidation: policy })).toBe(error);
  });
});

/** NUM 16:12, SCALE 25:20, TTL 73:72, TG 75:74. */
function range(
  opcode: bigint,
  fields: { num?: bigint; scale?: bigint; ttl?: bigint; tg?: bigint },
): [bigint, bigint] {
  const { num = 0n, scale = 0n, ttl = 0n, tg = 0n } = fields;
  return [opcode | (num << 12n) | (scale << 20n), (ttl << 8n) | (tg << 10n)];
}

describe('the reserved combination TG != 0, NUM = SCALE = TTL = 0 (IHI 0070 4.4.1.1)', () => {
  test.each([0x12n, 0x13n, 0x22n, 0x23n, 0x2an])('opcode %i', (opcode) => {
    for (const tg of [0n, 1n, 2n, 3n]) {
      const error = tg === 0n ? 0 : 1;
      expect(cerror(...range(opcode, { tg }))).toBe(error);
      expect(cerror(...range(opcode, { tg, num: 1n }))).toBe(0);
      expect(cerror(...range(opcode, { tg, scale: 1n }))).toBe(0);
      expect(cerror(...range(opcode, { tg, ttl: 3n }))).toBe(0);
      expect(cerror(...range(opcode, { tg }), { ril: false, minor: 1 })).toBe(0);
    }
  });

  // The QEMU vectors have this command in 13 programs, consumed and not marked as a deviation.
  test('16 KiB with TTL=01 without DS: TTL counts as 0, so that the combination is reserved; by policy it is consumed', () => {
    const [dw0, dw1] = range(0x12n, { tg: 2n, ttl: 1n });
    const narrow = { ds: false, oas: 48, vax: 48 };
    expect(cerror(dw0, dw1)).toBe(0);
    expect(cerror(dw0, dw1, narrow)).toBe(1);
    expect(cerror(dw0, dw1, narrow, { reservedLevelHint: 'consumed' })).toBe(0);
    expect(cerror(...range(0x12n, { tg: 1n, ttl: 1n }), narrow)).toBe(0);
  });

  test('SCALE bit 5 exists with DS only', () => {
    const [dw0, dw1] = range(0x12n, { tg: 1n, scale: 32n });
    expect(cerror(dw0, dw1)).toBe(0);
    expect(cerror(dw0, dw1, { ds: false, oas: 48, vax: 48 })).toBe(1);
  });
});

describe('reserved fields of commands (IHI 0070 4.1.6)', () => {
  test.each([
    { name: 'SYNC bit 11', dw0: 0x846n, dw1: 0n },
    { name: 'CFGI_STE bit 127', dw0: 0x03n, dw1: 1n << 63n },
    { name: 'RESUME STAG above 16 bits', dw0: 0x44n, dw1: 0x1_0000n },
    { name: 'NSNH_ALL VMID', dw0: 0x30n | (1n << 32n), dw1: 0n },
  ])('$name: ignored, or CERROR_ILL by policy', ({ dw0, dw1 }) => {
    expect(cerror(dw0, dw1)).toBe(0);
    expect(cerror(dw0, dw1, {}, { commandReservedFields: 'illegal' })).toBe(1);
  });
});

describe('ILL beats IGNORED (IHI 0070 4.5)', () => {
  test.each([0x40n, 0x41n])(
    'opcode %i with SMMUEN=0: ignored with the feature, ILL without',
    (opcode) => {
      const features = opcode === 0x40n ? { ats: false, pri: false } : { pri: false };
      for (const [set, error] of [
        [{}, 0],
        [features, 1],
      ] as const) {
        const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x4000 }]);
        const idr = encodeFeatures({ ...FEATURE_PRESETS.full, ...set });
        const { registers } = new SmmuV3Model({ memory, idr });
        memory.store64(CMDQ, Number(opcode), 0);
        registers.write64(R.CMDQ_BASE, CMDQ + 2, 0);
        registers.write32(R.CR0, 8);
        registers.write32(R.CMDQ_PROD, 1);
        expect((registers.read32(R.CMDQ_CONS) >>> 24) & 0x7f).toBe(error);
      }
    },
  );
});
