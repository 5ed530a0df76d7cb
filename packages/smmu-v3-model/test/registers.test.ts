import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { IDR, Machine, PLACE } from './machine.lanes.ts';

describe('register access (IHI 0070 6.2, 6.3)', () => {
  test('ID registers read as given and ignore writes', () => {
    const { smmu } = new Machine();
    smmu.registers.write32(R.IDR0, 0);
    expect(smmu.registers.read32(R.IDR0)).toBe(IDR.IDR0);
    expect(smmu.registers.read32(R.IDR5)).toBe(0x74);
  });

  test('the ID words may come as a register file', () => {
    const { smmu } = new Machine({
      idr: new Map([
        [0, 0x0d44101b],
        [4, 0x02730010],
        [0x14, 0x74],
      ]),
    });
    expect(smmu.features).toMatchObject({
      s1p: true,
      s2p: true,
      sidSize: 16,
      ssidSize: 0,
      oas: 44,
    });
  });

  test('CR0ACK mirrors the implemented bits of CR0 (6.3.9)', () => {
    for (const [reservedBits, read] of [
      ['zero', 0xd],
      ['stored', 0xffff_ffff],
    ] as const) {
      const { smmu } = new Machine({ policy: { reservedBits } });
      smmu.registers.write32(R.CR0, 0xffff_ffff);
      expect(smmu.registers.read32(R.CR0)).toBe(read);
      expect(smmu.registers.read32(R.CR0ACK)).toBe(0xd);
    }
  });

  test('with acknowledge: run, CR0ACK and IRQ_CTRLACK wait for the model to run', () => {
    const { smmu } = new Machine({ policy: { acknowledge: 'run' } });
    smmu.registers.write32(R.CR0, 8);
    smmu.registers.write32(R.IRQ_CTRL, 4);
    expect([smmu.registers.read32(R.CR0ACK), smmu.registers.read32(R.IRQ_CTRLACK)]).toEqual([0, 0]);
    expect(smmu.run()).toBe(true);
    expect([smmu.registers.read32(R.CR0ACK), smmu.registers.read32(R.IRQ_CTRLACK)]).toEqual([8, 4]);
    expect(smmu.run()).toBe(false);
  });

  test.each([
    { name: 'STRTAB_BASE', offset: R.STRTAB_BASE, value: 0x1000, enable: 1 },
    { name: 'STRTAB_BASE_CFG', offset: R.STRTAB_BASE_CFG, value: 5, enable: 1 },
    { name: 'CR2', offset: R.CR2, value: 2, enable: 1 },
    { name: 'CR1.TABLE', offset: R.CR1, value: 0xfc0, enable: 1 },
    { name: 'CR1.QUEUE', offset: R.CR1, value: 0x3f, enable: 4 },
    { name: 'CMDQ_BASE', offset: R.CMDQ_BASE, value: 0x1001, enable: 8 },
    { name: 'CMDQ_CONS', offset: R.CMDQ_CONS, value: 3, enable: 8 },
    { name: 'EVENTQ_BASE', offset: R.EVENTQ_BASE, value: 0x1001, enable: 4 },
    { name: 'EVENTQ_PROD', offset: R.EVENTQ_PROD, value: 3, enable: 4 },
  ])('$name takes a write only while its enable is 0', ({ offset, value, enable }) => {
    const { registers } = new Machine().smmu;
    registers.write32(R.CR0, enable);
    registers.write32(offset, value);
    expect(registers.read32(offset)).toBe(0);
    registers.write32(R.CR0, 0);
    registers.write32(offset, value);
    expect(registers.read32(offset)).toBe(value);
  });

  test('GBPA changes only with Update set, and reads back with Update clear (6.3.14)', () => {
    const { registers } = new Machine().smmu;
    registers.write32(R.GBPA, 0x0010_0000);
    expect(registers.read32(R.GBPA)).toBe(0);
    registers.write32(R.GBPA, 0x8010_0000);
    expect(registers.read32(R.GBPA)).toBe(0x0010_0000);
  });

  test('the queue indices of page 1 alias those of page 0; the rest of page 1 is RAZ/WI', () => {
    const { registers } = new Machine().smmu;
    registers.write32(R.EVENTQ_CONS, 5);
    expect(registers.read32(0xac)).toBe(5);
    registers.write32(0x10020, 1);
    expect(registers.read32(0x10020)).toBe(0);
    expect(registers.read32(R.CR0)).toBe(0);
  });

  test('64-bit access carries both lanes', () => {
    const { registers } = new Machine().smmu;
    registers.write64(R.STRTAB_BASE, 0x40, 0x4000_0001);
    expect([registers.read64(R.STRTAB_BASE), registers.hi]).toEqual([0x40, 0x4000_0001]);
  });

  test.each([2, -4, 0x20000, 1.5])('an access at %d is refused with REGISTER_ACCESS', (offset) => {
    const { registers } = new Machine().smmu;
    expect(() => registers.read32(offset)).toThrow(
      expect.objectContaining({ code: 'REGISTER_ACCESS' }),
    );
    expect(() => registers.write32(offset, 0)).toThrow(
      expect.objectContaining({ code: 'REGISTER_ACCESS' }),
    );
  });

  test('interrupt configuration does not exist without MSI, and is locked while enabled with it', () => {
    const { registers } = new Machine().smmu;
    registers.write32(R.EVENTQ_IRQ_CFG1, 7);
    expect(registers.read32(R.EVENTQ_IRQ_CFG1)).toBe(0);
    const msi = new Machine({ idr: { ...IDR, IDR0: IDR.IDR0 | 0x2000 } }).smmu.registers;
    msi.write32(R.EVENTQ_IRQ_CFG1, 7);
    msi.write32(R.IRQ_CTRL, 4);
    msi.write32(R.EVENTQ_IRQ_CFG1, 9);
    expect(msi.read32(R.EVENTQ_IRQ_CFG1)).toBe(7);
  });

  test('a restored register file passes the guards and consumes nothing', () => {
    const machine = new Machine();
    machine.smmu.restoreRegisters(
      new Map([
        [R.CR0, 0xd],
        [R.CR0ACK, 0xd],
        [R.IDR0, 0],
        [R.CMDQ_BASE, PLACE.cmdq + 4],
        [R.CMDQ_PROD, 3],
        [R.CMDQ_CONS, 2],
        [R.EVENTQ_PROD, 1],
      ]),
    );
    expect([R.CR0ACK, R.IDR0, R.CMDQ_CONS, R.EVENTQ_PROD].map((at) => machine.reg(at))).toEqual([
      0xd,
      IDR.IDR0,
      2,
      1,
    ]);
  });
});
