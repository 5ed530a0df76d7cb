import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import type { ModelOptions } from '../src/index.ts';
import { AT, command, S1_RW, S2_RW } from './nested-machine.lanes.ts';
import { ALL_ON, EVENTQEN, PortMachine } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

type Options = ConstructorParameters<typeof PortMachine>[0];

/** Stage 1 only, CD.S=1; page 0x1000 is mapped, the rest of its table is not. */
function stalling(options: Options = {}): { m: PortMachine; slot: number } {
  const m = new PortMachine(options);
  m.ste(5).cd({ S: 1 });
  m.s1(0x1000, BigInt(AT.data) | S1_RW);
  const slot = m.s1(0x5000, 0n);
  return { m, slot };
}

describe('what stalls (IHI 0070 3.12, 5.5)', () => {
  test.each([
    { a: 0, r: 0, s: 0, outcome: 'fault', response: 'raz-wi', record: 'suppressed' },
    { a: 0, r: 1, s: 0, outcome: 'fault', response: 'raz-wi', record: 'written' },
    { a: 1, r: 0, s: 0, outcome: 'fault', response: 'abort', record: 'suppressed' },
    { a: 1, r: 1, s: 0, outcome: 'fault', response: 'abort', record: 'written' },
    { a: 0, r: 0, s: 1, outcome: 'stall', record: 'written' },
    { a: 0, r: 1, s: 1, outcome: 'stall', record: 'written' },
    { a: 1, r: 0, s: 1, outcome: 'stall', record: 'written' },
    { a: 1, r: 1, s: 1, outcome: 'stall', record: 'written' },
  ])('stage 1, A=$a R=$r S=$s: $outcome', ({ a, r, s, ...expected }) => {
    const m = new PortMachine();
    m.ste(5).cd({ A: a, R: r, S: s });
    expect(m.access(0x5000)).toMatchObject(expected);
  });

  test.each([
    { r: 0, s: 0, outcome: 'fault', response: 'abort', record: 'suppressed' },
    { r: 1, s: 0, outcome: 'fault', response: 'abort', record: 'written' },
    { r: 0, s: 1, outcome: 'stall', record: 'written' },
    { r: 1, s: 1, outcome: 'stall', record: 'written' },
  ])('stage 2, S2R=$r S2S=$s: $outcome', ({ r, s, ...expected }) => {
    const m = new PortMachine();
    m.ste(6, { S2R: r, S2S: s });
    expect(m.access(0x5000)).toMatchObject(expected);
  });

  test('a stage-2 fault on a stage-1 table stalls by S2S, a stage-1 fault terminates by CD.S=0 (3.12.5)', () => {
    const m = new PortMachine();
    const { table } = m.nested({ S2S: 1 });
    expect(m.access(0x5000)).toMatchObject({ outcome: 'fault', event: { stage: 1 } });
    m.word(table, 0n);
    m.command(...command.s12());
    expect(m.access(0x1000)).toMatchObject({
      outcome: 'stall',
      event: { event: 'F_TRANSLATION', stage: 2, class: 'TT' },
    });
  });

  test.each([
    { name: 'F_TRANSLATION', leaf: 0n },
    { name: 'F_ADDR_SIZE', leaf: (1n << 47n) | S1_RW, cd: { IPS: 0 } },
    { name: 'F_ACCESS', leaf: (BigInt(AT.data) | S1_RW) & ~0x400n },
    { name: 'F_PERMISSION', leaf: (BigInt(AT.data) | S1_RW) & ~0x40n },
  ])('$name stalls', ({ name, leaf, cd }) => {
    const m = new PortMachine();
    m.ste(5).cd({ S: 1, ...cd, TTB0: AT.stage1 });
    m.s1(0x5000, leaf);
    expect(m.access(0x5000)).toMatchObject({ outcome: 'stall', event: { event: name } });
  });

  test('errors of configuration, external aborts and an address that bypass refuses never stall (3.12.5)', () => {
    const { m } = stalling();
    m.word(AT.stage1, 0x8000_0003n);
    expect(m.access(0x1000)).toMatchObject({ outcome: 'fault', event: { event: 'F_WALK_EABT' } });
    const bypass = new PortMachine({ features: { oas: 44, ds: false, vax: 48 } });
    bypass.ste(6, { S2S: 1, S2PS: 4, S2T0SZ: 25 });
    expect(bypass.access(2 ** 45)).toMatchObject({
      outcome: 'fault',
      response: 'abort',
      event: { event: 'F_ADDR_SIZE', class: 'IN', stage: 1 },
    });
  });

  test('the record: STALL, STAG, and the rest as of a terminated fault (7.3.13)', () => {
    const { m } = stalling();
    m.access(0x5123, 'write');
    m.access(0x6000);
    // dw1: STALL 31, RnW 35, CLASS 41:40 = IN.
    expect([m.record(0), m.record(1)]).toEqual([
      ['0x3000000010', '0x20080000000', '0x5123', '0x0'],
      ['0x3000000010', '0x20880000001', '0x6000', '0x0'],
    ]);
  });
});

describe('CMD_RESUME and CMD_STALL_TERM (IHI 0070 4.7.1, 4.7.2)', () => {
  test.each([
    { name: 'retry, still unmapped: stalls again', action: 'retry', mapped: false, end: 'none' },
    { name: 'retry, mapped: passes', action: 'retry', mapped: true, end: 'ok' },
    { name: 'abort', action: 'abort', mapped: false, end: 'terminated', response: 'abort' },
    { name: 'abort, mapped', action: 'abort', mapped: true, end: 'terminated', response: 'abort' },
    { name: 'RAZ/WI', action: 'raz-wi', mapped: false, end: 'terminated', response: 'raz-wi' },
  ] as const)('$name', ({ name: _, action, mapped, end, ...more }) => {
    const { m, slot } = stalling();
    m.access(0x5000);
    if (mapped) m.word(slot, BigInt(AT.data) | S1_RW);
    m.resume(0, action);
    if (end === 'none') {
      expect([m.ends, m.records, m.smmu.stalled.length]).toEqual([[], 2, 1]);
      return;
    }
    expect(m.smmu.stalled).toEqual([]);
    expect(m.ends).toMatchObject([
      { transaction: { streamId: SID }, end: { outcome: end, ...more } },
    ]);
    expect(m.records).toBe(1);
  });

  test('with TERM_MODEL=1, Ab is ignored: abort', () => {
    const { m } = stalling({ features: { termModel: true } });
    m.access(0x5000);
    m.resume(0, 'raz-wi');
    expect(m.ends).toMatchObject([{ end: { outcome: 'terminated', response: 'abort' } }]);
  });

  test.each([
    { name: 'wrong STAG', stag: 1, sid: SID },
    { name: 'wrong StreamID', stag: 0, sid: SID + 1 },
    { name: 'both wrong', stag: 7, sid: 0 },
  ])('$name: no effect', ({ stag, sid }) => {
    const { m } = stalling();
    m.access(0x5000);
    for (const action of ['retry', 'abort', 'raz-wi'] as const) m.resume(stag, action, sid);
    expect([m.smmu.stalled.length, m.ends, m.records, m.reg(R.GERROR)]).toEqual([1, [], 1, 0]);
  });

  test('a stall is resumed once; then its STAG is free', () => {
    const { m } = stalling();
    m.access(0x5000);
    m.access(0x6000);
    m.resume(0, 'abort');
    m.resume(0, 'abort');
    expect(m.ends).toHaveLength(1);
    expect(m.access(0x7000)).toMatchObject({ outcome: 'stall', stag: 0 });
    expect(m.smmu.stalled.map(({ stag }) => stag)).toEqual([1, 0]);
  });

  test('retry meets the configuration of now: CD.S=0 terminates it', () => {
    const { m } = stalling();
    m.access(0x5000);
    m.cd({ S: 0 });
    m.command(...command.cfgiCd());
    m.resume(0, 'retry');
    expect(m.ends).toMatchObject([{ end: { outcome: 'fault', response: 'abort' } }]);
    expect(m.records).toBe(2);
  });

  test('STALL_TERM aborts all of one stream and none of another', () => {
    const { m } = stalling();
    m.ste(5, {}, SID + 1);
    m.access(0x5000);
    m.smmu.translate({ streamId: SID + 1, address: { lo: 0x5000, hi: 0 }, rw: 'read' });
    m.access(0x6000);
    m.stallTerm(SID);
    expect(m.ends.map(({ end }) => end)).toMatchObject([
      { outcome: 'terminated', response: 'abort', by: 'CMD_STALL_TERM', streamId: SID },
      { outcome: 'terminated', response: 'abort', by: 'CMD_STALL_TERM', streamId: SID },
    ]);
    expect(m.smmu.stalled).toMatchObject([{ streamId: SID + 1, stag: 1 }]);
  });

  test('SMMUEN 1 -> 0 aborts every stall and frees the STAGs (6.3.9)', () => {
    const { m } = stalling();
    m.access(0x5000);
    m.access(0x6000);
    m.set(R.CR0, ALL_ON & ~1);
    expect(m.ends.map(({ end }) => end)).toMatchObject([
      { outcome: 'terminated', response: 'abort', by: 'SMMUEN' },
      { outcome: 'terminated', response: 'abort', by: 'SMMUEN' },
    ]);
    m.set(R.CR0, ALL_ON);
    expect(m.access(0x5000)).toMatchObject({ stag: 0 });
  });

  test('an invalidation does not touch a recorded stall (3.21)', () => {
    const { m, slot } = stalling();
    m.access(0x5000);
    m.word(slot, BigInt(AT.data) | S1_RW);
    m.command(...command.nsnh());
    expect([m.smmu.stalled.length, m.ends]).toEqual([1, []]);
  });
});

describe('STALL_MAX (IHI 0070 6.3.6)', () => {
  const full = (policy: ModelOptions['policy']): PortMachine => {
    const { m } = stalling({ features: { stallMax: 2 }, policy });
    m.access(0x5000);
    m.access(0x6000);
    return m;
  };

  test('beyond it, abort with STALL=0', () => {
    const m = full({});
    expect(m.access(0x7000)).toMatchObject({
      outcome: 'fault',
      response: 'abort',
      record: 'written',
    });
    expect(m.record(2)).toEqual(['0x3000000010', '0x20800000000', '0x7000', '0x0']);
  });

  test('or held, without a record, until a STAG is free', () => {
    const m = full({ stallsBeyondMaximum: 'hold' });
    expect(m.access(0x7000)).toMatchObject({ outcome: 'stall', stag: -1, record: 'held' });
    expect(m.records).toBe(2);
    m.resume(1, 'abort');
    expect(m.record(2)).toEqual(['0x3000000010', '0x20880000001', '0x7000', '0x0']);
  });
});

describe('repeated stalls (IHI 0070 3.12.2.1)', () => {
  const options = { policy: { duplicateStalls: 'suppressed' } } as const;

  test('same page, stream, privilege, kind: one record; resumed together', () => {
    const { m, slot } = stalling(options);
    m.access(0x5000);
    expect(m.access(0x5ff8)).toMatchObject({ outcome: 'stall', stag: 0, record: 'held' });
    m.access(0x5008);
    expect(m.records).toBe(1);
    m.word(slot, BigInt(AT.data) | S1_RW);
    m.resume(0, 'retry');
    expect(m.ends.map(({ end }) => end.outcome)).toEqual(['ok', 'ok', 'ok']);
  });

  test('terminated: the others are retried and the next is recorded', () => {
    const { m } = stalling(options);
    m.access(0x5000);
    m.access(0x5008);
    m.access(0x5010);
    m.resume(0, 'abort');
    expect(m.ends).toHaveLength(1);
    expect(m.records).toBe(2);
    expect(m.record(1)[2]).toBe('0x5008');
    m.resume(0, 'abort');
    expect([m.ends.length, m.records]).toEqual([2, 3]);
  });

  test.each([
    { name: 'another page', access: [0x6000, 'read', {}] },
    { name: 'a write', access: [0x5000, 'write', {}] },
    { name: 'privileged', access: [0x5000, 'read', { privileged: true }] },
    { name: 'an instruction', access: [0x5000, 'read', { instruction: true }] },
  ] as const)('$name is no repetition', ({ access }) => {
    const { m } = stalling(options);
    m.access(0x5000);
    const [iova, rw, more] = access;
    m.access(iova, rw, more);
    expect(m.records).toBe(2);
  });

  test('by default each is recorded', () => {
    const { m } = stalling();
    m.access(0x5000);
    m.access(0x5000);
    expect(m.records).toBe(2);
  });
});

describe('stalls and an event queue without room (IHI 0070 7.2.1, 7.4)', () => {
  const held = (policy: ModelOptions['policy'] = {}): { m: PortMachine; slot: number } => {
    const made = stalling({ eventLg2: 1, policy });
    made.m.access(0x6000);
    made.m.access(0x7000);
    expect(made.m.access(0x5000)).toMatchObject({ outcome: 'stall', record: 'held' });
    return made;
  };

  test('a full queue: no OVFLG, and the record follows when there is room', () => {
    const { m } = held();
    expect(m.reg(R.EVENTQ_PROD)).toBe(2);
    m.set(R.EVENTQ_CONS, 1);
    expect(m.reg(R.EVENTQ_PROD)).toBe(3);
    expect(m.record(0)[2]).toBe('0x5000');
  });

  test('a terminated fault at the same time is dropped and overflows', () => {
    const { m } = held();
    m.ste(5, {}, SID + 1);
    m.cd({ S: 0 }, AT.cd + 0x1000);
    m.ste(5, { S1ContextPtr: AT.cd + 0x1000 }, SID + 1);
    m.smmu.translate({ streamId: SID + 1, address: { lo: 0x5000, hi: 0 }, rw: 'read' });
    expect(m.reg(R.EVENTQ_PROD)).toBe(0x8000_0002);
  });

  test('touched by an invalidation and SYNC: retried, nothing recorded when it passes', () => {
    const { m, slot } = held();
    m.word(slot, BigInt(AT.data) | S1_RW);
    m.command(...command.nsnh());
    m.set(R.EVENTQ_CONS, 2);
    expect(m.ends).toMatchObject([{ end: { outcome: 'ok' } }]);
    expect(m.reg(R.EVENTQ_PROD)).toBe(2);
  });

  test('touched, still faulting: the new record', () => {
    const { m } = held();
    m.command(...command.nsnh());
    m.set(R.EVENTQ_CONS, 2);
    expect([m.ends, m.reg(R.EVENTQ_PROD)]).toEqual([[], 3]);
  });

  test('retried without a touch by policy', () => {
    const { m, slot } = held({ heldStalls: 'retry' });
    m.word(slot, BigInt(AT.data) | S1_RW);
    m.set(R.EVENTQ_CONS, 2);
    expect(m.ends).toMatchObject([{ end: { outcome: 'ok' } }]);
  });

  test('a held stall cannot be resumed, and STALL_TERM drops its record', () => {
    const { m } = held();
    m.resume(2, 'abort');
    expect(m.ends).toEqual([]);
    m.stallTerm();
    m.set(R.EVENTQ_CONS, 2);
    expect([m.ends.length, m.reg(R.EVENTQ_PROD)]).toEqual([3, 2]);
  });

  test('EVENTQEN=0 holds; enabling records', () => {
    const { m } = stalling({ cr0: ALL_ON & ~EVENTQEN });
    expect(m.access(0x5000)).toMatchObject({ record: 'held' });
    m.set(R.CR0, ALL_ON);
    expect(m.records).toBe(1);
  });

  test('EVENTQ_ABT_ERR holds; acknowledging records', () => {
    const { m } = stalling({ cr0: ALL_ON & ~EVENTQEN });
    m.smmu.registers.write64(R.EVENTQ_BASE, 0x8000_0003, 0);
    m.set(R.CR0, ALL_ON);
    expect(m.access(0x5000)).toMatchObject({ record: 'held' });
    expect(m.reg(R.GERROR)).toBe(4);
    m.set(R.CR0, ALL_ON & ~EVENTQEN);
    m.smmu.registers.write64(R.EVENTQ_BASE, AT.evtq + 3, 0);
    m.set(R.CR0, ALL_ON);
    expect(m.records).toBe(0);
    m.set(R.GERRORN, 4);
    expect(m.records).toBe(1);
  });

  test('an interrupt handler may resume the stall that it is told of', () => {
    const m: PortMachine = new PortMachine(
      {},
      {
        onInterrupt: (line) => {
          if (line === 'eventq') m.resume(0, 'abort');
        },
      },
    );
    m.ste(5).cd({ S: 1 });
    m.s2(0, S2_RW);
    m.access(0x5000);
    expect([m.smmu.stalled, m.ends.length]).toEqual([[], 1]);
  });
});
