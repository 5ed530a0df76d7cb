import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { Endpoint, type PageRequest } from '../src/index.ts';
import { AT } from './nested-machine.lanes.ts';
import { ALL_ON, PortMachine, PRIQEN, SMMUEN } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const request = (more: Partial<PageRequest> = {}): PageRequest => ({
  streamId: SID,
  page: 0x1234_5000,
  group: 0x1f0,
  read: true,
  write: true,
  last: true,
  ...more,
});
const STOP = { read: false, write: false, last: true, substreamId: 5 } as const;

describe('entries (IHI 0070 8)', () => {
  test.each([
    { name: 'read and write, last', more: {}, dw0: '0x7000000000000030' },
    { name: 'read', more: { write: false, last: false }, dw0: '0x1000000000000030' },
    { name: 'write', more: { read: false, last: false }, dw0: '0x2000000000000030' },
    {
      name: 'PASID, privileged, execute',
      more: { substreamId: 0xabcde, privileged: true, execute: true, write: false },
      dw0: '0xdc0abcde00000030',
    },
    {
      name: 'without a PASID, X and Priv do not exist',
      more: { privileged: true, execute: true },
      dw0: '0x7000000000000030',
    },
    { name: 'Stop marker', more: STOP, dw0: '0xc000000500000030' },
  ])('$name', ({ more, dw0 }) => {
    const m = new PortMachine();
    expect(m.smmu.pageRequest(request(more))).toEqual({ outcome: 'queued' });
    expect(m.pageRequest(0)).toEqual([dw0, '0x123451f0']);
    expect(m.reg(R.PRIQ_PROD)).toBe(1);
  });

  test('with SSIDSIZE=0 no PASID arrives', () => {
    const m = new PortMachine({ features: { ssidSize: 0 } });
    m.smmu.pageRequest(request({ substreamId: 7, privileged: true }));
    expect(m.pageRequest(0)[0]).toBe('0x7000000000000030');
  });

  test('neither ATSCHK nor EATS matters (8.2)', () => {
    const m = new PortMachine({ cr0: ALL_ON & ~0x10 });
    expect(m.smmu.pageRequest(request())).toEqual({ outcome: 'queued' });
  });
});

describe('interrupts (IHI 0070 3.18, 6.3.36)', () => {
  test('LO=0: empty to non-empty', () => {
    const m = new PortMachine();
    m.smmu.pageRequest(request({ last: false }));
    m.smmu.pageRequest(request());
    expect(m.lines).toEqual(['priq']);
    m.set(R.PRIQ_CONS, 2);
    m.smmu.pageRequest(request({ last: false }));
    expect(m.lines).toEqual(['priq', 'priq']);
  });

  test('LO=1: every Last, written or lost to overflow', () => {
    const m = new PortMachine();
    m.set(R.IRQ_CTRL, 0);
    m.set(R.PRIQ_IRQ_CFG2, 0x8000_0000);
    m.set(R.IRQ_CTRL, 7);
    const count = (of: Partial<PageRequest>): number => {
      m.lines.length = 0;
      m.smmu.pageRequest(request(of));
      return m.lines.length;
    };
    const last = { last: true };
    const early = { last: false };
    expect([count(early), count(last), count(last), count(early)]).toEqual([0, 1, 1, 0]);
    // Four entries: what follows is lost.
    expect([count(early), count(last)]).toEqual([0, 1]);
  });
});

/** What makes the SMMU answer by itself, and the answer to a request (Last=1, Last=0) and to a Stop marker. */
describe('automatic responses (IHI 0070 8.1-8.3)', () => {
  const FAILURE = {
    outcome: 'answered',
    response: { streamId: SID, substreamId: undefined, group: 0x1f0, code: 15 },
  };
  const overflowing = (options: ConstructorParameters<typeof PortMachine>[0] = {}): PortMachine => {
    const m = new PortMachine(options);
    for (let i = 0; i < 4; i++) m.smmu.pageRequest(request());
    return m;
  };

  test.each([
    { name: 'PRIQEN=0', cr0: ALL_ON & ~PRIQEN },
    { name: 'SMMUEN=0', cr0: ALL_ON & ~SMMUEN },
    { name: 'both', cr0: ALL_ON & ~(SMMUEN | PRIQEN) },
  ])('$name: failure for any request, none for a Stop marker', ({ cr0 }) => {
    const m = new PortMachine({ cr0 });
    expect(m.smmu.pageRequest(request())).toEqual(FAILURE);
    expect(m.smmu.pageRequest(request({ last: false, substreamId: 3 }))).toEqual(FAILURE);
    expect(m.smmu.pageRequest(request(STOP))).toEqual({ outcome: 'dropped' });
    expect(m.reg(R.PRIQ_PROD)).toBe(0);
  });

  test('SMMUEN=0 leaves CR0ACK.PRIQEN and its guards as they are (6.3.9)', () => {
    const m = new PortMachine({ cr0: ALL_ON & ~SMMUEN });
    expect(m.reg(R.CR0ACK) & PRIQEN).toBe(PRIQEN);
    m.set(R.PRIQ_PROD, 3);
    expect(m.reg(R.PRIQ_PROD)).toBe(0);
  });

  test('without IDR0.PRI', () => {
    const m = new PortMachine({ features: { pri: false, pps: false } });
    expect(m.smmu.pageRequest(request())).toEqual(FAILURE);
  });

  test('a write abort: PRIQ_ABT_ERR, failure; and failure while it is active', () => {
    const m = new PortMachine({ cr0: ALL_ON & ~PRIQEN });
    m.smmu.registers.write64(R.PRIQ_BASE, 0x8000_0002, 0);
    m.set(R.CR0, ALL_ON);
    expect(m.smmu.pageRequest(request())).toEqual(FAILURE);
    expect([m.reg(R.GERROR), m.reg(R.PRIQ_PROD), m.lines]).toEqual([8, 0, ['gerror']]);
    expect(m.smmu.pageRequest(request({ substreamId: 2 }))).toEqual(FAILURE);
    expect(m.smmu.pageRequest(request(STOP))).toEqual({ outcome: 'dropped' });
    m.set(R.CR0, ALL_ON & ~PRIQEN);
    m.smmu.registers.write64(R.PRIQ_BASE, 0x402a_0002, 0);
    m.set(R.CR0, ALL_ON);
    m.set(R.GERRORN, 8);
    expect(m.smmu.pageRequest(request())).toEqual({ outcome: 'queued' });
  });

  // pasid: of the request; pps: IDR3.PPS; ste: the stream's STE.
  test.each([
    { pasid: undefined, pps: false, ste: 'none', code: 0, echo: undefined },
    { pasid: undefined, pps: true, ste: 'none', code: 0, echo: undefined },
    { pasid: 5, pps: true, ste: 'none', code: 0, echo: 5 },
    { pasid: 5, pps: true, ste: 'ppar0', code: 0, echo: 5 },
    { pasid: 5, pps: false, ste: 'ppar1', code: 0, echo: 5 },
    { pasid: 5, pps: false, ste: 'ppar0', code: 0, echo: undefined },
    { pasid: 5, pps: false, ste: 'none', code: 15, echo: undefined },
    { pasid: 5, pps: false, ste: 'illegal', code: 15, echo: undefined },
    { pasid: 5, pps: false, ste: 'abort', code: 0, echo: undefined },
  ] as const)('overflow: PASID $pasid, PPS=$pps, STE $ste: code $code, PASID $echo', (row) => {
    const { pasid, pps, ste, code, echo } = row;
    const m = overflowing({ features: { pps } });
    if (ste === 'ppar0' || ste === 'ppar1') m.ste(5, { PPAR: ste === 'ppar1' ? 1 : 0 });
    if (ste === 'illegal') m.ste(7, { S2TTB: AT.stage2, S2TG: 3 });
    if (ste === 'abort') m.word(AT.strtab + SID * 64, 1n);
    const more = pasid === undefined ? {} : { substreamId: pasid };
    const response = { streamId: SID, substreamId: echo, group: 0x1f0, code };
    expect(m.smmu.pageRequest(request(more))).toEqual({ outcome: 'answered', response });
    expect(m.smmu.pageRequest(request({ ...more, last: false }))).toEqual({ outcome: 'dropped' });
    expect(m.smmu.pageRequest(request(STOP))).toEqual({ outcome: 'dropped' });
    // L,W,R = 100 without a PASID is an ordinary request.
    const plain = { read: false, write: false, last: true } as const;
    expect(m.smmu.pageRequest(request(plain)).outcome).toBe('answered');
  });

  test.each([
    { name: 'REC_CFG_ATS and RECINVSID', cr2: 0xa, sid: 0x7fff, record: 2 },
    { name: 'REC_CFG_ATS alone: a bad StreamID is not told', cr2: 8, sid: 0x7fff, record: 0 },
    { name: 'REC_CFG_ATS: C_BAD_STE', cr2: 8, sid: SID, record: 4 },
    { name: 'RECINVSID alone', cr2: 2, sid: 0x7fff, record: 0 },
    { name: 'neither: C_BAD_STE', cr2: 2, sid: SID, record: 0 },
  ])('the event of the PPAR check, $name (8.1)', ({ cr2, sid, record }) => {
    const m = overflowing({ features: { pps: false }, cr2 });
    const result = m.smmu.pageRequest(request({ streamId: sid, substreamId: 5 }));
    expect(result).toMatchObject({ outcome: 'answered', response: { code: 15 } });
    expect(m.records).toBe(record === 0 ? 0 : 1);
    if (record !== 0) expect(Number(BigInt(m.record(0)[0] as string) & 0xffn)).toBe(record);
  });
});

describe('overflow (IHI 0070 8.1)', () => {
  test('OVFLG toggles once, and blocks until it is acknowledged, room or not', () => {
    const m = new PortMachine();
    for (let i = 0; i < 4; i++) m.smmu.pageRequest(request());
    expect(m.reg(R.PRIQ_PROD)).toBe(4);
    m.smmu.pageRequest(request({ last: false }));
    expect(m.reg(R.PRIQ_PROD)).toBe(0x8000_0004);
    m.smmu.pageRequest(request());
    expect(m.reg(R.PRIQ_PROD)).toBe(0x8000_0004);
    // Room, without an acknowledgement: still lost, unlike events.
    m.set(R.PRIQ_CONS, 4);
    expect(m.smmu.pageRequest(request()).outcome).toBe('answered');
    m.set(R.PRIQ_CONS, 0x8000_0004);
    expect(m.smmu.pageRequest(request())).toEqual({ outcome: 'queued' });
    expect(m.reg(R.PRIQ_PROD)).toBe(0x8000_0005);
  });

  test('PRIQEN=0 is no overflow', () => {
    const m = new PortMachine();
    for (let i = 0; i < 4; i++) m.smmu.pageRequest(request());
    m.set(R.CR0, ALL_ON & ~PRIQEN);
    m.smmu.pageRequest(request());
    expect(m.reg(R.PRIQ_PROD)).toBe(4);
  });
});

describe('CMD_PRI_RESP (IHI 0070 4.5.2, 8.3)', () => {
  test.each([
    { resp: 0n, code: 15 },
    { resp: 1n, code: 1 },
    { resp: 2n, code: 0 },
  ])('Resp=$resp is code $code on the wire', ({ resp, code }) => {
    const m = new PortMachine();
    const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true, pri: true });
    m.command(0x41n | (BigInt(SID) << 32n), (resp << 12n) | 0x1f0n);
    m.command(0x41n | 0x800n | (7n << 12n) | (BigInt(SID) << 32n), (resp << 12n) | 3n);
    expect(endpoint.pageResponses).toEqual([
      { streamId: SID, substreamId: undefined, group: 0x1f0, code },
      { streamId: SID, substreamId: 7, group: 3, code },
    ]);
  });

  test('to nobody, or with SMMUEN=0: consumed without effect', () => {
    const m = new PortMachine();
    const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true, pri: true });
    m.command(0x41n | (BigInt(SID + 1) << 32n), 2n << 12n);
    m.set(R.CR0, ALL_ON & ~SMMUEN);
    m.command(0x41n | (BigInt(SID) << 32n), 2n << 12n);
    expect([endpoint.pageResponses, m.reg(R.GERROR), m.reg(R.CMDQ_CONS)]).toEqual([[], 0, 4]);
  });
});
