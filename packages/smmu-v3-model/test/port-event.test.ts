import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import type { PageHint } from '../src/index.ts';
import { PortMachine } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const ADDRESS = { lo: 0x89ab_cdef, hi: 0xff12_3456 };

describe('F_UUT (IHI 0070 7.3.2)', () => {
  test.each([
    { name: 'read', more: { rw: 'read' }, dw1: '0x800000000' },
    { name: 'write', more: { rw: 'write' }, dw1: '0x0' },
    { name: 'privileged read', more: { rw: 'read', privileged: true }, dw1: '0xa00000000' },
    { name: 'fetch', more: { rw: 'read', instruction: true }, dw1: '0xc00000000' },
    { name: 'a write is data', more: { rw: 'write', instruction: true }, dw1: '0x0' },
  ] as const)('$name: aborted and recorded as it came', ({ more, dw1 }) => {
    const m = new PortMachine();
    const access = { streamId: SID, substreamId: 0xabcde, address: ADDRESS, ...more };
    expect(m.smmu.unsupportedTransaction(access)).toMatchObject({
      outcome: 'fault',
      response: 'abort',
      record: 'written',
    });
    expect(m.record(0)).toEqual(['0x30abcde801', dw1, '0xff12345689abcdef', '0x0']);
  });

  test('marked Translated: aborted without an event (3.9.1.3)', () => {
    const m = new PortMachine();
    const access = { streamId: SID, address: ADDRESS, rw: 'read' } as const;
    expect(m.smmu.unsupportedTransaction(access, 'translated').outcome).toBe('abort');
    expect(m.records).toBe(0);
  });
});

describe('E_PAGE_REQUEST (IHI 0070 7.3.19, 3.12.4.1)', () => {
  const hint: PageHint = {
    event: 'E_PAGE_REQUEST',
    streamId: SID,
    substreamId: 1,
    address: ADDRESS,
    span: 0x81,
    unprivileged: 'rx',
    privileged: 'w',
  };

  test('uX 33, uR 35, pW 38, Span 51:44, page address', () => {
    const m = new PortMachine();
    expect(m.smmu.hintPages(hint)).toBe(true);
    expect(m.record(0)).toEqual(['0x3000001824', '0x8104a00000000', '0xff12345689abc000', '0x0']);
  });

  test('a full queue forgets it, which is no overflow', () => {
    const m = new PortMachine({ eventLg2: 0 });
    m.smmu.hintPages(hint);
    expect(m.smmu.hintPages(hint)).toBe(false);
    expect(m.reg(R.EVENTQ_PROD)).toBe(1);
  });
});
