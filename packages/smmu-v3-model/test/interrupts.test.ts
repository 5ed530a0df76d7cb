import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { AT } from './nested-machine.lanes.ts';
import { ALL_ON, CMDQEN, EVENTQEN, PortMachine, PRIQ, PRIQEN } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const MSI = AT.data + 0x100;
/** Nothing is here. */
const NOWHERE = 0x8000_0000;
const QUIET = ALL_ON & ~(EVENTQEN | PRIQEN | CMDQEN);

const REQUEST = {
  streamId: SID,
  page: 0x1000,
  group: 1,
  read: true,
  write: false,
  last: true,
} as const;

/** A machine whose interrupt `source` is an MSI to `address` with data 0x55. */
function withMsi(source: 'GERROR' | 'EVENTQ' | 'PRIQ', address: number): PortMachine {
  const m = new PortMachine();
  m.set(R.IRQ_CTRL, 0);
  m.smmu.registers.write64(R[`${source}_IRQ_CFG0`], address, 0);
  m.set(R[`${source}_IRQ_CFG1`], 0x55);
  m.set(R.IRQ_CTRL, 7);
  return m;
}

/** Causes the interrupt once. */
const CAUSE = {
  GERROR: (m: PortMachine) => m.command(0xffn),
  EVENTQ: (m: PortMachine) => m.access(0x1000),
  PRIQ: (m: PortMachine) => m.smmu.pageRequest(REQUEST),
} as const;
const ABORTED = { GERROR: 0x80, EVENTQ: 0x20, PRIQ: 0x40 } as const;
const LINE = { GERROR: 'gerror', EVENTQ: 'eventq', PRIQ: 'priq' } as const;

describe.each(['GERROR', 'EVENTQ', 'PRIQ'] as const)(
  '%s (IHI 0070 3.18, 6.3.16-6.3.36)',
  (source) => {
    test('MSI: DATA at ADDR, and no wire', () => {
      const m = withMsi(source, MSI);
      CAUSE[source](m);
      expect([m.memory.load32(MSI), m.lines]).toEqual([0x55, []]);
    });

    test('ADDR=0: the wire', () => {
      const m = withMsi(source, 0);
      CAUSE[source](m);
      expect(m.lines).toEqual([LINE[source]]);
    });

    test('the wire without IDR0.MSI', () => {
      const m = new PortMachine({ features: { msi: false } });
      CAUSE[source](m);
      expect(m.lines).toEqual([LINE[source]]);
    });

    test('an MSI that aborts is a global error (7.5)', () => {
      const m = withMsi(source, NOWHERE);
      CAUSE[source](m);
      const cause = source === 'GERROR' ? 1 : 0;
      expect(m.reg(R.GERROR)).toBe(ABORTED[source] | cause);
      // GERROR's own MSI failure cannot be told by itself; the others are told by GERROR.
      expect(m.lines).toEqual(source === 'GERROR' ? [] : ['gerror']);
    });

    test('not enabled: nothing', () => {
      const m = new PortMachine();
      m.set(R.IRQ_CTRL, 0);
      CAUSE[source](m);
      expect(m.lines).toEqual([]);
    });
  },
);

describe('GERROR and GERRORN (IHI 0070 6.3.19, 6.3.20, 7.5)', () => {
  test('an active error is not toggled again; acknowledged, the next toggles back', () => {
    const m = new PortMachine();
    m.command(0xffn);
    expect([m.reg(R.GERROR), m.lines]).toEqual([1, ['gerror']]);
    m.set(R.GERRORN, 1);
    // The queue runs into the same command again.
    expect([m.reg(R.GERROR), m.lines]).toEqual([0, ['gerror', 'gerror']]);
  });

  test('CMDQEN does not acknowledge CMDQ_ERR (7.1)', () => {
    const m = new PortMachine();
    m.command(0xffn);
    m.set(R.CR0, ALL_ON & ~CMDQEN);
    m.set(R.CR0, ALL_ON);
    expect([m.reg(R.GERROR), m.reg(R.GERRORN), m.reg(R.CMDQ_CONS)]).toEqual([1, 0, 0x0100_0000]);
  });

  test.each([
    { policy: 'activates', record: 'dropped', later: 0 },
    { policy: 'ignored', record: 'written', later: 4 },
  ] as const)('GERRORN toggled for an inactive error: $policy', ({ policy, record, later }) => {
    const m = new PortMachine({ policy: { inactiveErrorToggle: policy } });
    m.set(R.GERRORN, 4);
    expect(m.access(0x1000)).toMatchObject({ record });
    expect([m.reg(R.GERRORN), m.reg(R.GERROR)]).toEqual([4, 0]);
    // A real abort toggles GERROR where the error was not active.
    m.set(R.CR0, QUIET);
    m.smmu.registers.write64(R.EVENTQ_BASE, NOWHERE + 5, 0);
    m.set(R.CR0, ALL_ON);
    m.access(0x1000);
    expect(m.reg(R.GERROR)).toBe(later);
  });
});

describe('SYNC (IHI 0070 4.7.3)', () => {
  test.each([
    { cs: 0n, address: 0n, lines: [], data: 0 },
    { cs: 1n, address: 0n, lines: ['cmd-sync'], data: 0 },
    { cs: 1n, address: BigInt(MSI), lines: [], data: 9 },
    { cs: 2n, address: 0n, lines: ['sev'], data: 0 },
    { cs: 2n, address: BigInt(MSI), lines: ['sev'], data: 0 },
  ])('CS=$cs, MSIAddress $address', ({ cs, address, lines, data }) => {
    const m = new PortMachine();
    m.command(0x46n | (cs << 12n) | (9n << 32n), address);
    expect([m.lines, m.memory.load32(MSI), m.reg(R.GERROR)]).toEqual([lines, data, 0]);
  });

  test('an MSI that aborts: MSI_CMDQ_ABT_ERR, and the SYNC is consumed', () => {
    const m = new PortMachine();
    m.command(0x1046n, BigInt(NOWHERE));
    expect([m.reg(R.GERROR), m.reg(R.CMDQ_CONS)]).toEqual([0x10, 2]);
  });

  test('without IDR0.SEV no event is sent', () => {
    const m = new PortMachine({ features: { sev: false } });
    m.command(0x2046n);
    expect(m.lines).toEqual([]);
  });
});

describe('queue bases (IHI 0070 6.3.26)', () => {
  test('the base is aligned to the size of the queue, 32 bytes at the least', () => {
    const m = new PortMachine();
    m.set(R.CR0, QUIET);
    // Four page requests of 16 bytes: bits 5:0 of the address do not count.
    m.smmu.registers.write64(R.PRIQ_BASE, PRIQ + 0x20 + 2, 0);
    m.smmu.registers.write64(R.EVENTQ_BASE, AT.evtq + 0x1e0 + 4, 0);
    m.set(R.CR0, ALL_ON);
    m.smmu.pageRequest(REQUEST);
    m.access(0x1000);
    expect(m.pageRequest(0)).toEqual(['0x5000000000000030', '0x1001']);
    expect(m.record(0)[0]).toBe('0x3000000004');
  });

  test('LOG2SIZE=0 is one entry, with its wrap bit at 0', () => {
    const m = new PortMachine();
    m.set(R.CR0, QUIET);
    m.smmu.registers.write64(R.EVENTQ_BASE, AT.evtq, 0);
    m.set(R.CR0, ALL_ON);
    expect(m.access(0x1000)).toMatchObject({ record: 'written' });
    expect(m.access(0x1000)).toMatchObject({ record: 'dropped' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0001);
    m.set(R.EVENTQ_CONS, 0x8000_0001);
    expect(m.access(0x1000)).toMatchObject({ record: 'written' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0000);
  });

  test('LOG2SIZE above IDR1 counts as its limit', () => {
    const m = new PortMachine({ features: { eventqMaxLg2: 1 } });
    m.access(0x1000);
    m.access(0x1000);
    expect(m.access(0x1000)).toMatchObject({ record: 'dropped' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0002);
  });

  test('inconsistent indices count as a full queue (3.5.1)', () => {
    const m = new PortMachine({ eventLg2: 2 });
    m.set(R.EVENTQ_CONS, 3);
    expect(m.access(0x1000)).toMatchObject({ record: 'dropped' });
  });
});

describe('merging (IHI 0070 7.3.1)', () => {
  const faults = (mev: number, merge: 'never' | 'newest'): PortMachine => {
    const m = new PortMachine({ policy: { mergeEvents: merge } });
    m.ste(5, { MEV: mev }).cd();
    for (const iova of [0x5000, 0x5008, 0x5010, 0x6000]) m.access(iova);
    return m;
  };

  test.each([
    { mev: 0, merge: 'never', records: 4 },
    { mev: 1, merge: 'never', records: 4 },
    { mev: 0, merge: 'newest', records: 4 },
    // Bits 11:0 of the address do not count.
    { mev: 1, merge: 'newest', records: 2 },
  ] as const)('MEV=$mev, $merge: $records records', ({ mev, merge, records }) => {
    expect(faults(mev, merge).records).toBe(records);
  });

  test('what has no STE is merged whatever MEV says; a record that was consumed is not merged with', () => {
    const m = new PortMachine({ policy: { mergeEvents: 'newest' } });
    m.access(0x1000);
    m.access(0x1000);
    expect(m.records).toBe(1);
    m.set(R.EVENTQ_CONS, 1);
    m.access(0x1000);
    expect(m.records).toBe(2);
  });

  test('stalls are never merged', () => {
    const m = new PortMachine({ policy: { mergeEvents: 'newest' } });
    m.ste(5, { MEV: 1 }).cd({ S: 1 });
    m.access(0x5000);
    m.access(0x5000);
    expect(m.records).toBe(2);
  });
});
