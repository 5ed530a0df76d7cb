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

const SMMUEN = 1;
const PRIQEN = 2;
const EVENTQEN = 4;
const CMDQEN = 8;
const ENABLES = [
  { name: 'nothing enabled', cr0: 0 },
  { name: 'SMMUEN', cr0: SMMUEN },
  { name: 'PRIQEN', cr0: PRIQEN },
  { name: 'EVENTQEN', cr0: EVENTQEN },
  { name: 'CMDQEN', cr0: CMDQEN },
] as const;

function device(
  features: Partial<Features> = {},
  policy: ModelOptions['policy'] = {},
  more: Partial<ModelOptions> = {},
): SmmuV3Model['registers'] {
  const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x100_0000 }]);
  const idr = encodeFeatures({ ...FEATURE_PRESETS.full, ...features });
  return new SmmuV3Model({ memory, idr, policy, ...more }).registers;
}

// Masks: the fields of IHI 0070 6.3, by hand. `guard`: CR0 fields that must be 0 and acknowledged (the table of 6.3).
const REGISTERS = [
  { name: 'CR1.TABLE', offset: R.CR1, mask: 0xfc0, guard: SMMUEN },
  { name: 'CR1.QUEUE', offset: R.CR1, mask: 0x3f, guard: PRIQEN | EVENTQEN | CMDQEN },
  { name: 'CR2', offset: R.CR2, mask: 0xb, guard: SMMUEN },
  { name: 'STRTAB_BASE', offset: R.STRTAB_BASE, mask: 0xffff_ffc0, guard: SMMUEN },
  { name: 'STRTAB_BASE high', offset: R.STRTAB_BASE + 4, mask: 0x40ff_ffff, guard: SMMUEN },
  { name: 'STRTAB_BASE_CFG', offset: R.STRTAB_BASE_CFG, mask: 0x307ff, guard: SMMUEN },
  { name: 'CMDQ_BASE', offset: R.CMDQ_BASE, mask: 0xffff_ffff, guard: CMDQEN },
  { name: 'CMDQ_BASE high', offset: R.CMDQ_BASE + 4, mask: 0x40ff_ffff, guard: CMDQEN },
  { name: 'CMDQ_CONS', offset: R.CMDQ_CONS, mask: 0x7f0f_ffff, guard: CMDQEN },
  { name: 'CMDQ_PROD', offset: R.CMDQ_PROD, mask: 0xf_ffff, guard: 0 },
  { name: 'EVENTQ_BASE', offset: R.EVENTQ_BASE, mask: 0xffff_ffff, guard: EVENTQEN },
  { name: 'EVENTQ_BASE high', offset: R.EVENTQ_BASE + 4, mask: 0x40ff_ffff, guard: EVENTQEN },
  { name: 'EVENTQ_PROD', offset: R.EVENTQ_PROD, mask: 0x800f_ffff, guard: EVENTQEN },
  { name: 'EVENTQ_CONS', offset: R.EVENTQ_CONS, mask: 0x800f_ffff, guard: 0 },
  { name: 'PRIQ_BASE', offset: R.PRIQ_BASE, mask: 0xffff_ffff, guard: PRIQEN },
  { name: 'PRIQ_BASE high', offset: R.PRIQ_BASE + 4, mask: 0x40ff_ffff, guard: PRIQEN },
  { name: 'PRIQ_PROD', offset: R.PRIQ_PROD, mask: 0x800f_ffff, guard: PRIQEN },
  { name: 'PRIQ_CONS', offset: R.PRIQ_CONS, mask: 0x800f_ffff, guard: 0 },
  { name: 'IRQ_CTRL', offset: R.IRQ_CTRL, mask: 7, guard: 0 },
  { name: 'GERRORN', offset: R.GERRORN, mask: 0x7ff, guard: 0 },
  { name: 'AGBPA', offset: R.AGBPA, mask: 0xffff_ffff, guard: 0 },
] as const;

const CASES = REGISTERS.flatMap((register) => ENABLES.map((state) => ({ register, state })));
/** CMDQ_PROD alone may make the queue run: nothing is in it here, so that only CMDQEN must stay off. */
const runs = (name: string, cr0: number): boolean => name === 'CMDQ_PROD' && cr0 === CMDQEN;

describe('registers x enables (IHI 0070 6.3, guards)', () => {
  test.each(CASES.filter(({ register, state }) => !runs(register.name, state.cr0)))(
    '$register.name with $state.name',
    ({ register, state }) => {
      const registers = device();
      registers.write32(R.CR0, state.cr0);
      const before = registers.read32(register.offset);
      registers.write32(register.offset, register.mask);
      const open = (register.guard & state.cr0) === 0;
      expect(registers.read32(register.offset)).toBe(open ? register.mask : before);
    },
  );

  test.each(CASES.filter(({ register, state }) => (register.guard & state.cr0) !== 0))(
    '$register.name stays guarded while $state.name waits for its acknowledgement',
    ({ register, state }) => {
      const registers = device({}, { acknowledge: 'run' });
      registers.write32(R.CR0, state.cr0);
      registers.write32(register.offset, register.mask);
      expect(registers.read32(register.offset)).toBe(0);
    },
  );

  test.each(REGISTERS)('$name: RES0 bits read as zero, or as written by policy', (register) => {
    const { offset, mask, name } = register;
    const zero = device();
    zero.write32(offset, 0xffff_ffff);
    const whole = name.startsWith('CR1') ? 0xfff : mask;
    expect(zero.read32(offset)).toBe(whole);
    const stored = device({}, { reservedBits: 'stored' });
    stored.write32(offset, 0xffff_ffff);
    expect(stored.read32(offset)).toBe(0xffff_ffff);
  });

  test('a guarded write taken at once is a choice before SMMUv3.2 only (6.3)', () => {
    const old = device({ minor: 1 }, { guardedWrites: 'taken' });
    old.write32(R.CR0, SMMUEN);
    old.write64(R.STRTAB_BASE, 0x1000, 0);
    expect(old.read32(R.STRTAB_BASE)).toBe(0x1000);
    const now = device({}, { guardedWrites: 'taken' });
    now.write32(R.CR0, SMMUEN);
    now.write64(R.STRTAB_BASE, 0x1000, 0);
    expect(now.read32(R.STRTAB_BASE)).toBe(0);
  });

  test('CMDQ_CONS is read-only while enabled in any version (6.3.28)', () => {
    const registers = device({ minor: 1 }, { guardedWrites: 'taken' });
    registers.write32(R.CR0, CMDQEN);
    registers.write32(R.CMDQ_CONS, 3);
    expect(registers.read32(R.CMDQ_CONS)).toBe(0);
  });
});

describe('read-only registers (IHI 0070 6.3)', () => {
  test.each([
    { name: 'IDR0', offset: R.IDR0 },
    { name: 'IDR1', offset: R.IDR1 },
    { name: 'IDR2', offset: R.IDR2 },
    { name: 'IDR3', offset: R.IDR3 },
    { name: 'IDR4', offset: R.IDR4 },
    { name: 'IDR5', offset: R.IDR5 },
    { name: 'IIDR', offset: R.IIDR },
    { name: 'AIDR', offset: R.AIDR },
    { name: 'CR0ACK', offset: R.CR0ACK },
    { name: 'IRQ_CTRLACK', offset: R.IRQ_CTRLACK },
    { name: 'STATUSR', offset: R.STATUSR },
    { name: 'GERROR', offset: R.GERROR },
    { name: 'GATOS_CTRL, without ATOS', offset: 0x100 },
    { name: 'S2PII, without S2PI', offset: 0x30 },
    { name: 'reserved 0x3c', offset: 0x3c },
    { name: 'page 0 above the registers', offset: 0x400 },
  ])('$name', ({ offset }) => {
    const registers = device();
    const before = registers.read32(offset);
    registers.write32(offset, ~before >>> 0);
    expect(registers.read32(offset)).toBe(before);
  });
});

describe('what is absent reads as zero and ignores writes (IHI 0070 6.3)', () => {
  test.each([
    R.PRIQ_BASE,
    R.PRIQ_BASE + 4,
    R.PRIQ_PROD,
    R.PRIQ_CONS,
    R.PRIQ_IRQ_CFG0,
    R.PRIQ_IRQ_CFG1,
    R.PRIQ_IRQ_CFG2,
  ])('without PRI: offset %i', (offset) => {
    const registers = device({ pri: false, pps: false });
    registers.write32(offset, 0xffff_ffff);
    expect(registers.read32(offset)).toBe(0);
  });

  test('without PRI, ATS, VMW: their CR0 fields are never acknowledged (6.3.9, 6.3.10)', () => {
    const registers = device({ pri: false, ats: false, ns1ats: false, vmw: false });
    registers.write32(R.CR0, 0x1ff);
    expect(registers.read32(R.CR0ACK)).toBe(0xd);
    const all = device();
    all.write32(R.CR0, 0x1ff);
    expect(all.read32(R.CR0ACK)).toBe(0x1df);
  });

  test('without Hyp no E2H, without ATSRECERR no REC_CFG_ATS (6.3.12)', () => {
    const registers = device({ hyp: false, atsRecErr: false, minor: 1 });
    registers.write32(R.CR2, 0xf);
    expect(registers.read32(R.CR2)).toBe(2);
  });

  test.each([
    { name: 'GERROR_IRQ_CFG0', offset: R.GERROR_IRQ_CFG0, with: 0xffff_fffc, without: 0, irq: 1 },
    { name: 'GERROR_IRQ_CFG1', offset: R.GERROR_IRQ_CFG1, with: 0xffff_ffff, without: 0, irq: 1 },
    { name: 'GERROR_IRQ_CFG2', offset: R.GERROR_IRQ_CFG2, with: 0x3f, without: 0, irq: 1 },
    { name: 'EVENTQ_IRQ_CFG0', offset: R.EVENTQ_IRQ_CFG0, with: 0xffff_fffc, without: 0, irq: 4 },
    {
      name: 'EVENTQ_IRQ_CFG0 high',
      offset: R.EVENTQ_IRQ_CFG0 + 4,
      with: 0xff_ffff,
      without: 0,
      irq: 4,
    },
    { name: 'EVENTQ_IRQ_CFG1', offset: R.EVENTQ_IRQ_CFG1, with: 0xffff_ffff, without: 0, irq: 4 },
    { name: 'EVENTQ_IRQ_CFG2', offset: R.EVENTQ_IRQ_CFG2, with: 0x3f, without: 0, irq: 4 },
    { name: 'PRIQ_IRQ_CFG0', offset: R.PRIQ_IRQ_CFG0, with: 0xffff_fffc, without: 0, irq: 2 },
    { name: 'PRIQ_IRQ_CFG1', offset: R.PRIQ_IRQ_CFG1, with: 0xffff_ffff, without: 0, irq: 2 },
    {
      name: 'PRIQ_IRQ_CFG2',
      offset: R.PRIQ_IRQ_CFG2,
      with: 0x8000_003f,
      without: 0x8000_0000,
      irq: 2,
    },
  ])('$name: MSI or not, and locked by its own IRQEN alone (6.3.18)', (row) => {
    const { offset, irq } = row;
    const msi = device();
    msi.write32(R.IRQ_CTRL, 7 & ~irq);
    msi.write32(offset, 0xffff_ffff);
    expect(msi.read32(offset)).toBe(row.with);
    const locked = device();
    locked.write32(R.IRQ_CTRL, irq);
    locked.write32(offset, 0xffff_ffff);
    expect(locked.read32(offset)).toBe(0);
    const wired = device({ msi: false });
    wired.write32(offset, 0xffff_ffff);
    expect(wired.read32(offset)).toBe(row.without);
  });

  test('TABLES_PRESET and QUEUES_PRESET make the bases read-only (6.3.2)', () => {
    const registers = device({ tablesPreset: true, queuesPreset: true });
    for (const offset of [
      R.STRTAB_BASE,
      R.STRTAB_BASE_CFG,
      R.CMDQ_BASE,
      R.EVENTQ_BASE,
      R.PRIQ_BASE,
    ]) {
      registers.write32(offset, 0xffff_ffff);
      expect(registers.read32(offset)).toBe(0);
    }
  });
});

describe('handshakes (IHI 0070 6.3.9, 6.3.14, 6.3.16)', () => {
  test('GBPA: Update reads 1 until it is done, and a second update meanwhile is ignored', () => {
    const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x1000 }]);
    const smmu = new SmmuV3Model({ memory, idr: 'full', policy: { acknowledge: 'run' } });
    const { registers } = smmu;
    registers.write32(R.GBPA, 0x8010_0001);
    expect(registers.read32(R.GBPA)).toBe(0x8010_0001);
    registers.write32(R.GBPA, 0x8000_0002);
    expect(registers.read32(R.GBPA)).toBe(0x8010_0001);
    smmu.run();
    expect(registers.read32(R.GBPA)).toBe(0x0010_0001);
  });

  test('GBPA starts with the value of the features', () => {
    expect(device({ gbpa: 0x1000 }).read32(R.GBPA)).toBe(0x1000);
  });

  test('CR0.VMW in transition keeps its target, or goes back (6.3.9)', () => {
    const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x1000 }]);
    const smmu = new SmmuV3Model({ memory, idr: 'full', policy: { acknowledge: 'run' } });
    const { registers } = smmu;
    registers.write32(R.CR0, 1 << 6);
    registers.write32(R.CR0, 2 << 6);
    smmu.run();
    expect(registers.read32(R.CR0ACK)).toBe(1 << 6);
    registers.write32(R.CR0, 3 << 6);
    registers.write32(R.CR0, 1 << 6);
    smmu.run();
    expect(registers.read32(R.CR0ACK)).toBe(1 << 6);
  });
});

describe('the two pages (IHI 0070 6.1, 6.2)', () => {
  test('page-0 queue indices: alias or RAZ/WI', () => {
    const alias = device();
    alias.write32(0xac, 5);
    expect(alias.read32(R.EVENTQ_CONS)).toBe(5);
    const absent = device({}, { pageZeroIndexes: 'raz-wi' });
    absent.write32(0xac, 5);
    absent.write32(R.PRIQ_CONS, 6);
    expect([absent.read32(R.EVENTQ_CONS), absent.read32(0xcc), absent.read32(R.PRIQ_CONS)]).toEqual(
      [0, 0, 6],
    );
  });

  test('the rest of page 1: RAZ/WI or alias of page 0', () => {
    expect(device().read32(0x10000)).toBe(0);
    const alias = device({}, { pageOneRest: 'alias' });
    expect(alias.read32(0x10000)).toBe(alias.read32(0));
    alias.write32(0x10050, 4);
    expect(alias.read32(R.IRQ_CTRL)).toBe(4);
    expect(alias.read32(0x1f000)).toBe(0);
  });

  test.each([R.STRTAB_BASE, R.CMDQ_BASE, R.EVENTQ_BASE, R.PRIQ_BASE, R.GERROR_IRQ_CFG0])(
    '64-bit register %i: one 64-bit access or two of 32 bits (6.2)',
    (offset) => {
      const whole = device();
      whole.write64(offset, 0x1234_5000, 0x0011_2233);
      const parts = device();
      parts.write32(offset + 4, 0x0011_2233);
      parts.write32(offset, 0x1234_5000);
      for (const registers of [whole, parts]) {
        expect(registers.read64(offset)).toBe(0x1234_5000);
        expect(registers.hi).toBe(0x0011_2233);
        expect(registers.read32(offset + 4)).toBe(0x0011_2233);
      }
    },
  );
});
