import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { CD_DW0, IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM } from './rig.lanes.ts';

function machine(options: ConstructorParameters<typeof Machine>[0] = {}): Machine {
  const made = new Machine(options).enable();
  made.device();
  return made;
}

describe('records (IHI 0070 7.3)', () => {
  test('F_TRANSLATION of a read and of a write, as the captures hold them', () => {
    const m = machine();
    m.word(PLACE.cd + 8, BigInt(PLACE.table) + 0x10_0000n);
    m.access(0x1000);
    m.access(0x1000, 'write');
    expect([m.record(0), m.record(1)]).toEqual([
      ['0x3000000010', '0x20800000000', '0x1000', '0x0'],
      ['0x3000000010', '0x20000000000', '0x1000', '0x0'],
    ]);
  });

  test('C_BAD_STE and C_BAD_CD name the stream alone', () => {
    const m = machine();
    m.smmu.translate({ streamId: 0x31, address: { lo: 0, hi: 0 }, rw: 'read' });
    m.cd(0n);
    m.access(0x1000);
    expect([m.record(0), m.record(1)]).toEqual([
      ['0x3100000004', '0x0', '0x0', '0x0'],
      ['0x300000000a', '0x0', '0x0', '0x0'],
    ]);
  });
});

describe('the event queue (IHI 0070 3.5.1, 7.2, 7.4)', () => {
  test('the interrupt comes on empty to non-empty only', () => {
    const m = machine();
    m.access(0x9000);
    m.access(0x9000);
    expect(m.lines).toEqual(['eventq']);
    m.smmu.registers.write32(R.EVENTQ_CONS, 2);
    m.access(0x9000);
    expect(m.lines).toEqual(['eventq', 'eventq']);
    m.smmu.registers.write32(R.EVENTQ_CONS, 3);
    m.smmu.registers.write32(R.IRQ_CTRL, 0);
    m.access(0x9000);
    expect(m.lines).toHaveLength(2);
  });

  test('a full queue drops the new record and toggles OVFLG once, until it is acknowledged', () => {
    const m = machine();
    for (let i = 0; i < 8; i++) expect(m.access(0x9000 + i)).toMatchObject({ record: 'written' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(8);
    expect(m.access(0xa000)).toMatchObject({ record: 'dropped' });
    expect(m.access(0xa000)).toMatchObject({ record: 'dropped' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0008);
    expect(m.record(0)[2]).toBe('0x9000');
    // An overflow that nobody acknowledged does not block later records.
    m.smmu.registers.write32(R.EVENTQ_CONS, 1);
    expect(m.access(0xb000)).toMatchObject({ record: 'written' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0009);
    m.smmu.registers.write32(R.EVENTQ_CONS, 0x8000_0001);
    m.access(0xc000);
    expect(m.reg(R.EVENTQ_PROD)).toBe(9);
    expect(m.smmu.counters).toMatchObject({ eventsWritten: 9, eventsDropped: 3, faults: 12 });
  });

  test('EVENTQEN=0 drops without OVFLG', () => {
    const m = machine();
    m.smmu.registers.write32(R.CR0, 9);
    expect(m.access(0x9000)).toMatchObject({ outcome: 'fault', record: 'dropped' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0);
  });

  test('a queue outside memory: EVENTQ_ABT_ERR, PROD stays, and nothing is written until acknowledged', () => {
    const m = new Machine();
    m.smmu.registers.write64(R.EVENTQ_BASE, RAM.base + RAM.size + 3, 0);
    m.enable(8);
    m.smmu.registers.write64(R.EVENTQ_BASE, RAM.base + RAM.size + 3, 0);
    m.smmu.registers.write32(R.CR0, 0xd);
    m.device();
    expect(m.access(0x9000)).toMatchObject({ record: 'dropped' });
    expect([m.reg(R.GERROR), m.reg(R.EVENTQ_PROD), m.lines]).toEqual([4, 0, ['gerror']]);
    m.access(0x9000);
    expect(m.lines).toHaveLength(1);
    m.smmu.registers.write32(R.GERRORN, 4);
    m.access(0x9000);
    expect([m.reg(R.GERROR), m.lines]).toEqual([0, ['gerror', 'gerror']]);
  });

  test('EVENTQ by MSI', () => {
    const m = new Machine({ idr: { ...IDR, IDR0: IDR.IDR0 | 0x2000 } });
    m.smmu.registers.write64(R.EVENTQ_IRQ_CFG0, PLACE.data + 0x40, 0);
    m.smmu.registers.write32(R.EVENTQ_IRQ_CFG1, 0x55);
    m.enable();
    m.device();
    m.access(0x9000);
    expect([m.memory.load32(PLACE.data + 0x40), m.lines]).toEqual([0x55, []]);
  });
});

describe('what CD.A and CD.R do with a fault (IHI 0070 5.5)', () => {
  const RAZ = { ...IDR, IDR0: IDR.IDR0 & ~0x0400_0000 };
  test.each([
    { a: 1n, r: 1n, response: 'abort', record: 'written' },
    { a: 1n, r: 0n, response: 'abort', record: 'suppressed' },
    { a: 0n, r: 1n, response: 'raz-wi', record: 'written' },
    { a: 0n, r: 0n, response: 'raz-wi', record: 'suppressed' },
  ])('A=$a R=$r: $response, $record', ({ a, r, response, record }) => {
    const m = machine({ idr: RAZ });
    m.cd((CD_DW0 & ~(3n << 45n)) | (a << 46n) | (r << 45n));
    expect(m.access(0x9000)).toMatchObject({ outcome: 'fault', response, record });
  });

  test('a table outside memory is recorded and aborted whatever the CD says', () => {
    const m = machine({ idr: RAZ });
    m.cd(CD_DW0 & ~(3n << 45n));
    m.word(PLACE.table, BigInt(RAM.base + RAM.size) | 3n);
    expect(m.access(0x9000)).toMatchObject({
      event: { event: 'F_WALK_EABT' },
      response: 'abort',
      record: 'written',
    });
  });
});
