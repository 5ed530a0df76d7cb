import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { expect, test } from 'vitest';
import {
  CACHE_NOTHING,
  type DmaAccess,
  type DmaResult,
  type MemoryAttributes,
} from '../src/index.ts';
import {
  AT,
  type CdFields,
  NestedMachine,
  S1_RW,
  S2_RW,
  type SteFields,
} from './nested-machine.lanes.ts';

const DATA = BigInt(AT.data);

/** `WB ISH`, `WT/NC OSH`, `Device-nGnRE OSH`: inner first where the two differ. */
function short(result: DmaResult): string {
  if (result.outcome !== 'ok' && result.outcome !== 'bypass') return result.outcome;
  const { type, inner, outer, shareability } = result.attributes;
  const cache = inner.policy === outer.policy ? inner.policy : `${inner.policy}/${outer.policy}`;
  return `${type === 'Normal' ? cache : type} ${shareability}`;
}

function machine(config: 5 | 6 | 7, ste: SteFields = {}, cd: CdFields = {}): NestedMachine {
  const m = new NestedMachine({ policy: CACHE_NOTHING });
  if (config === 7) m.nested(ste, cd);
  else m.ste(config, ste).cd(cd);
  return m;
}

/** MAIR: 0 Device-nGnRnE, 1 Non-cacheable, 2 write-back, 3 Device-GRE, 4 inner WT outer WB. */
const MAIR = { MAIR0: 0x0cff_4400, MAIR1: 0x0000_00fb };

/** What leaves, with AttrIndx of stage 1 and MemAttr of stage 2. */
function throughBoth(ste: SteFields, index: bigint, memAttr: bigint): string {
  const m = machine(7, ste, MAIR);
  m.s1(0x1000, 0x9000_0000n | (S1_RW & ~0x1cn) | (index << 2n));
  m.s2(0x9000_0000, DATA | (S2_RW & ~0x3cn) | (memAttr << 2n));
  return short(m.access(0x1000));
}

test.each([
  [0n, 3n, 'Device-nGnRnE OSH'],
  [1n, 3n, 'NC OSH'],
  [2n, 3n, 'WB ISH'],
  [2n, 2n, 'WB OSH'],
  [2n, 0n, 'WB NSH'],
  [2n, 1n, 'WB NSH'],
  [3n, 0n, 'Device-GRE OSH'],
  [4n, 3n, 'WT/WB ISH'],
])('stage 1: AttrIndx %d, SH %d: %s (13.1.5)', (index, sh, expected) => {
  const m = machine(5, {}, MAIR);
  m.s1(0x1000, DATA | 0xc43n | (index << 2n) | (sh << 8n));
  expect(short(m.access(0x1000))).toBe(expected);
});

test.each([
  [0b0000n, 3n, 'Device-nGnRnE OSH'],
  [0b0001n, 3n, 'Device-nGnRE OSH'],
  [0b0011n, 3n, 'Device-GRE OSH'],
  [0b0101n, 0n, 'NC OSH'],
  [0b1010n, 0n, 'WT NSH'],
  [0b1111n, 3n, 'WB ISH'],
  [0b0111n, 3n, 'WB/NC ISH'],
])('stage 2: MemAttr %d, SH %d over write-back Non-shareable: %s', (memAttr, sh, expected) => {
  const m = machine(6);
  m.s2(0x1000, DATA | 0x4c3n | (memAttr << 2n) | (sh << 8n));
  expect(short(m.access(0x1000))).toBe(expected);
});

test.each([
  // Stage 1 index, stage 2 MemAttr: the stronger wins.
  [2n, 0b1111n, 'WB ISH'],
  [2n, 0b0101n, 'NC OSH'],
  [2n, 0b0001n, 'Device-nGnRE OSH'],
  [0n, 0b1111n, 'Device-nGnRnE OSH'],
  [3n, 0b0001n, 'Device-nGnRE OSH'],
  [4n, 0b1010n, 'WT ISH'],
])('nested: AttrIndx %d with MemAttr %d: %s (13.1.6)', (index, memAttr, expected) => {
  expect(throughBoth({}, index, memAttr)).toBe(expected);
});

test.each([
  [0n, 0b0111n, 'Device-nGnRnE OSH'],
  [2n, 0b0111n, 'WB ISH'],
  [0n, 0b0110n, 'WB ISH'],
  [1n, 0b0110n, 'WB ISH'],
  [2n, 0b0101n, 'NC OSH'],
  [2n, 0b0001n, 'Device-nGnRE OSH'],
])('forced write-back: AttrIndx %d with MemAttr %d: %s', (index, memAttr, expected) => {
  expect(throughBoth({ S2FWB: 1 }, index, memAttr)).toBe(expected);
});

test.each<[SteFields, string]>([
  [{ SHCFG: 1 }, 'WB NSH'],
  [{ SHCFG: 3 }, 'WB ISH'],
  [{ SHCFG: 2 }, 'WB OSH'],
  [{ SHCFG: 1, MTCFG: 1, MemAttr: 0b0001 }, 'Device-nGnRE OSH'],
  [{ SHCFG: 3, MTCFG: 1, MemAttr: 0b1010 }, 'WT ISH'],
  [{ SHCFG: 1, MTCFG: 1, MemAttr: 0b0100 }, 'Device-nGnRnE OSH'],
  [{ SHCFG: 1, MTCFG: 0, MemAttr: 0b0001 }, 'WB NSH'],
])('overrides of a bypassing STE: %o: %s (13.1.4)', (ste, expected) => {
  const m = machine(6, { Config: 4, ...ste });
  expect(short(m.access(0x1000))).toBe(expected);
});

test('ALLOCCFG overrides hints; stage 1 takes no more than both allow', () => {
  const m = machine(5, { ALLOCCFG: 0b1100, SHCFG: 1 }, MAIR);
  m.s1(0x1000, DATA | 0xf4bn);
  const result = m.access(0x1000);
  expect(result).toMatchObject({
    attributes: { inner: { policy: 'WB', readAllocate: true, writeAllocate: false } },
  });
});

test('what the device sends reaches a stream without stage 1', () => {
  const m = machine(6);
  m.s2(0x1000, DATA | S2_RW);
  const nc = { policy: 'NC', readAllocate: false, writeAllocate: false, transient: false } as const;
  const attributes: MemoryAttributes = {
    type: 'Normal',
    inner: nc,
    outer: nc,
    shareability: 'NSH',
  };
  const access: Partial<DmaAccess> = { attributes };
  expect(short(m.access(0x1000, 'read', access))).toBe('NC OSH');
});

test('with SMMUEN=0 GBPA decides (6.3.14)', () => {
  const m = machine(6);
  m.smmu.registers.write32(R.CR0, 0xc);
  // Update, SHCFG=3 (ISH), MTCFG=1, MemAttr=1010 (write-through).
  m.smmu.registers.write32(R.GBPA, 0x8000_301a);
  m.smmu.run();
  expect(short(m.access(0x1000))).toBe('WT ISH');
});

test('without IDR1.ATTR_TYPES_OVR nothing is overridden', () => {
  const m = new NestedMachine({ features: { attrTypesOvr: false } });
  m.ste(6, { Config: 4, SHCFG: 3, MTCFG: 1 });
  expect(short(m.access(0x1000))).toBe('WB NSH');
});
