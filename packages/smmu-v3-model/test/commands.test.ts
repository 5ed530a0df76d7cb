import { CMD_CFGI_STE_RANGE, CMD_SYNC, OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM } from './rig.lanes.ts';

const ERR = (cons: number): number => (cons >>> 24) & 0x7f;

describe('command queue (IHI 0070 4, 7.1)', () => {
  test('commands are consumed inside the write of PROD, and wrap', () => {
    const machine = new Machine().enable();
    for (let i = 0; i < 20; i++) machine.issue(machine.sync());
    expect(machine.reg(R.CMDQ_CONS)).toBe(20);
    for (let i = 0; i < 15; i++) machine.issue(machine.sync());
    expect(machine.reg(R.CMDQ_CONS)).toBe(3);
    expect(machine.smmu.commandCount(OPCODE.SYNC)).toBe(35);
    expect(machine.smmu.counters).toMatchObject({ commands: 35, syncs: 35 });
  });

  test('step: one command each run; run: all of them', () => {
    const stepping = new Machine({ policy: { consume: 'step' } }).enable();
    stepping.issue(stepping.sync(), stepping.sync());
    expect(stepping.reg(R.CMDQ_CONS)).toBe(0);
    expect(stepping.smmu.run()).toBe(true);
    expect(stepping.reg(R.CMDQ_CONS)).toBe(1);
    expect(stepping.smmu.stepCommand()).toBe(true);
    expect(stepping.smmu.run()).toBe(false);
    const running = new Machine({ policy: { consume: 'run' } }).enable();
    running.issue(running.sync(), running.sync());
    expect(running.reg(R.CMDQ_CONS)).toBe(0);
    running.smmu.run();
    expect(running.reg(R.CMDQ_CONS)).toBe(2);
  });

  // dw0, dw1, capture's ID registers: S1P, S2P, RIL; no Hyp, ATS, PRI, stalls.
  test.each([
    { name: 'opcode 0', dw0: 0x0n, dw1: 0n },
    { name: 'unknown opcode', dw0: 0xffn, dw1: 0n },
    { name: 'SSec on the Non-secure queue', dw0: 0x446n, dw1: 0n },
    { name: 'CFGI_VMS_PIDM without MPAM', dw0: 0x07n, dw1: 0n },
    { name: 'TLBI_EL3_ALL', dw0: 0x18n, dw1: 0n },
    { name: 'TLBI_EL2_ALL without Hyp', dw0: 0x20n, dw1: 0n },
    { name: 'ATC_INV without ATS', dw0: 0x40n, dw1: 0n },
    { name: 'PRI_RESP without PRI', dw0: 0x41n, dw1: 0n },
    { name: 'RESUME with STALL_MODEL terminate', dw0: 0x44n, dw1: 0n },
    { name: 'STALL_TERM with STALL_MODEL terminate', dw0: 0x45n, dw1: 0n },
    { name: 'SYNC with CS=3', dw0: 0x3046n, dw1: 0n },
    { name: 'range with NUM=SCALE=TTL=0', dw0: 0x12n, dw1: 0x1400n },
  ])('CERROR_ILL: $name', ({ dw0, dw1 }) => {
    const machine = new Machine().enable();
    machine.issue(machine.sync(), [dw0, dw1], machine.sync());
    const cons = machine.reg(R.CMDQ_CONS);
    expect([cons & 0xfffff, ERR(cons), machine.reg(R.GERROR)]).toEqual([1, 1, 1]);
    expect(machine.lines).toEqual(['gerror']);
  });

  test.each([
    { name: 'PREFETCH_CONFIG', dw0: 0x01n, dw1: 0n },
    { name: 'CFGI_STE out of range', dw0: 0xffff_ffff_0000_0003n, dw1: 1n },
    { name: 'CFGI_ALL', dw0: 0x04n, dw1: 31n },
    { name: 'CFGI_CD_ALL', dw0: 0x06n, dw1: 0n },
    { name: 'TLBI_NH_ALL', dw0: 0x10n, dw1: 0n },
    { name: 'TLBI_S12_VMALL', dw0: 0x28n, dw1: 0n },
    { name: 'TLBI_S2_IPA', dw0: 0x2an, dw1: 0x1000n },
    { name: 'TLBI_NSNH_ALL', dw0: 0x30n, dw1: 0n },
    { name: 'SYNC with SEV', dw0: 0x2046n, dw1: 0n },
    { name: 'largest range', dw0: 0x1f1_f012n, dw1: 0x1700n },
  ])('consumed: $name', ({ dw0, dw1 }) => {
    const machine = new Machine().enable();
    machine.issue([dw0, dw1]);
    expect([machine.reg(R.CMDQ_CONS), machine.reg(R.GERROR)]).toEqual([1, 0]);
  });

  test('CERROR_ABT when the queue is not in memory', () => {
    const machine = new Machine();
    machine.smmu.registers.write64(R.CMDQ_BASE, RAM.base + RAM.size + 4, 0);
    machine.smmu.registers.write32(R.CR0, 8);
    machine.smmu.registers.write32(R.CMDQ_PROD, 1);
    expect([ERR(machine.reg(R.CMDQ_CONS)), machine.reg(R.GERROR)]).toEqual([2, 1]);
  });

  test('acknowledging CMDQ_ERR restarts consumption without a write of PROD (7.1)', () => {
    const machine = new Machine().enable();
    machine.issue([0xffn, 0n], machine.sync());
    expect(machine.reg(R.CMDQ_CONS) & 0xfffff).toBe(0);
    machine.word(PLACE.cmdq, BigInt(OPCODE.SYNC));
    machine.smmu.registers.write32(R.GERRORN, 1);
    expect([machine.reg(R.CMDQ_CONS) & 0xfffff, machine.reg(R.GERROR)]).toEqual([2, 1]);
    machine.issue([0xffn, 0n]);
    expect(machine.reg(R.GERROR)).toBe(0);
    expect(machine.lines).toEqual(['gerror', 'gerror']);
  });

  test('an inconsistent PROD stops the queue (3.5.1)', () => {
    const machine = new Machine().enable();
    machine.smmu.registers.write32(R.CMDQ_PROD, 17);
    expect(machine.reg(R.CMDQ_CONS)).toBe(0);
  });

  test('SYNC tells its completion: wire, or MSI where there is one', () => {
    const wired = new Machine().enable();
    wired.issue(
      CMD_SYNC.encode({ Opcode: OPCODE.SYNC, CS: 1, MSIAddress: PLACE.data, MSIData: 5 }),
    );
    expect(wired.lines).toEqual(['cmd-sync']);
    expect(wired.memory.load32(PLACE.data)).toBe(0);
    const msis: number[][] = [];
    const msi = new Machine({
      idr: { ...IDR, IDR0: IDR.IDR0 | 0x2000 },
      onMsi: (address, data) => {
        msis.push([address, data]);
        return address === 0x0808_0040;
      },
    }).enable();
    msi.issue(
      CMD_SYNC.encode({ Opcode: OPCODE.SYNC, CS: 1, MSIAddress: PLACE.data, MSIData: 5 }),
      CMD_SYNC.encode({ Opcode: OPCODE.SYNC, CS: 1, MSIAddress: 0x0808_0040, MSIData: 6 }),
    );
    expect([msi.memory.load32(PLACE.data), msis, msi.lines, msi.reg(R.GERROR)]).toEqual([
      5,
      [[0x0808_0040, 6]],
      [],
      0,
    ]);
    msi.issue(CMD_SYNC.encode({ Opcode: OPCODE.SYNC, CS: 1, MSIAddress: 0x0909_0000, MSIData: 7 }));
    expect(msi.reg(R.GERROR)).toBe(0x10);
  });

  test('a handler that writes PROD again is served by the loop that is running', () => {
    let again = true;
    const machine: Machine = new Machine({
      onInterrupt: () => {
        if (again) {
          again = false;
          machine.issue(machine.sync());
        }
      },
    }).enable();
    machine.issue(CMD_SYNC.encode({ Opcode: OPCODE.SYNC, CS: 1 }));
    expect(machine.reg(R.CMDQ_CONS)).toBe(2);
  });

  test('CFGI_STE_RANGE reaches the aligned power of two around its StreamID', () => {
    const machine = new Machine().enable();
    machine.device();
    machine.access(0x1000);
    const range = (StreamID: number, Range: number): Uint32Array =>
      CMD_CFGI_STE_RANGE.encode({ Opcode: OPCODE.CFGI_STE_RANGE, StreamID, Range });
    const misses = (): number => machine.smmu.counters.configMisses;
    const before = misses();
    machine.issue(range(0x20, 3), machine.sync());
    machine.access(0x1000);
    expect(misses()).toBe(before);
    machine.issue(range(0x3f, 3), machine.sync());
    machine.access(0x1000);
    expect(misses()).toBe(before + 2);
  });
});
