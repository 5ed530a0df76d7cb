import { describe, expect, it } from 'vitest';
import { parseGuestOps, parseQemuOps, readText } from '../src/index.ts';
import { fixture } from './fixture.ts';

describe('guest digest', () => {
  const rows = [
    {
      line: '1.866696 000 27 map 0x00000000fffff000 0x0000000008090000 4096',
      event: {
        event: 'map',
        tsUs: 1866696,
        cpu: 0,
        pid: 27,
        context: 27,
        iova: 0xfffff000,
        paddr: 0x8090000,
        size: 4096,
      },
    },
    {
      line: '8.062876 001 28 unmap 0x00000000ffffc000 8192 4096',
      event: { event: 'unmap', cpu: 1, iova: 0xffffc000, size: 8192, unmappedSize: 4096 },
    },
    {
      line: '7.874900 000 1 mark PHASE:load-modules',
      event: { event: 'tracing_mark_write', text: 'PHASE:load-modules' },
    },
    {
      line: '1.842535 000 27 add_device_to_group groupID=0 device=0000:00:04.0',
      event: { event: 'add_device_to_group', groupId: 0, device: '0000:00:04.0' },
    },
    {
      line: '1.294074 001 1 cmdlist n=1 sync=1 c0d0=0x4 c0d1=0x1f',
      event: { event: 'cmdlist', c0: { lo: 4, hi: 0 }, c1: { lo: 0x1f, hi: 0 } },
    },
    {
      line: '23.713957 000 65 evtq_thread (arm_smmu_evtq_thread+0x0/0x200)',
      event: { event: 'evtq_thread', pid: 65 },
    },
  ];
  it.each(rows)('$line', ({ line, event }) => {
    const digest = parseGuestOps(line, 'g');
    expect(digest.unread).toEqual([]);
    expect(digest.events[0]).toMatchObject(event);
  });

  it('reads the sample of each event', () => {
    const digest = parseGuestOps(readText(fixture('capture/guest-ops.txt')), 'g');
    expect(digest.unread).toEqual([]);
    expect(digest.events.length).toBe(21);
    expect(digest.other.size).toBe(0);
  });

  it.each([
    { line: 'hello', expected: 'a decimal number' },
    { line: '1.866696 000 27', expected: 'a blank' },
    {
      line: '1.866696 000 27 map 0x00000000fffff000 4096',
      expected: '"0x"',
    },
    { line: '1.866696 000 27 free iovad=0x1', expected: '"pfn="' },
  ])('counts "$line" as unread', ({ line, expected }) => {
    const digest = parseGuestOps(`${line}\r\n1.866696 000 27 swiotlb x\n`, 'g');
    expect(digest.unread).toEqual([{ file: 'g', line: 1, expected }]);
    expect([...digest.other]).toEqual([['swiotlb', 1]]);
    expect(digest.lines).toBe(2);
  });
});

describe('QEMU digest', () => {
  const rows = [
    {
      line: 'T 0x8 0xffffd4c0 0x464254c0 3',
      op: {
        op: 'T',
        line: 1,
        sid: 8,
        iova: 0xffffd4c0,
        iovaLo: 0xffffd4c0,
        iovaHi: 0,
        pa: 0x464254c0,
        perm: 3,
      },
    },
    {
      line: 'T 0x30 0x123456789abc 0x1 1',
      op: {
        op: 'T',
        line: 1,
        sid: 0x30,
        iova: 0x123456789abc,
        iovaLo: 0x56789abc,
        iovaHi: 0x1234,
        pa: 1,
        perm: 1,
      },
    },
    { line: 'C CFGI_STE_RANGE', op: { op: 'C', line: 1, opcode: 'CFGI_STE_RANGE' } },
    {
      line: 'I 0 6 0xffffc000 1 0x20 3 1 1',
      op: {
        op: 'I',
        line: 1,
        vmid: 0,
        asid: 6,
        addr: 0xffffc000,
        tg: 1,
        numPages: 32,
        ttl: 3,
        leaf: true,
        stage: 1,
      },
    },
    {
      line: 'W 0x80 0x400000004633b000 8',
      op: { op: 'W', line: 1, offset: 0x80, lo: 0x4633b000, hi: 0x40000000, size: 8 },
    },
    { line: 'E F_TRANSLATION 0x30', op: { op: 'E', line: 1, type: 'F_TRANSLATION', sid: 0x30 } },
    {
      line: 'Di 0x10 0xffffd002 1',
      op: {
        op: 'Di',
        line: 1,
        sid: 0x10,
        iova: 0xffffd002,
        iovaLo: 0xffffd002,
        iovaHi: 0,
        isWrite: true,
      },
    },
    {
      line: 'Ab 0x10 0xffffffffffffd002 0',
      op: {
        op: 'Ab',
        line: 1,
        sid: 0x10,
        // Above 2^53 a number rounds; the lanes do not.
        iova: Number(0xffffffffffffd002n),
        iovaLo: 0xffffd002,
        iovaHi: 0xffffffff,
        isWrite: false,
      },
    },
  ];
  it.each(rows)('$line', ({ line, op }) => {
    expect(parseQemuOps(line, 'q')).toEqual({ ops: [op], unread: [], lines: 1 });
  });

  it('reads the samples of both kernels', () => {
    const old = parseQemuOps(readText(fixture('capture/qemu-ops.txt')), 'q');
    const now = parseQemuOps(readText(fixture('qemu-ops-7.2-strict.txt')), 'q');
    expect([old.ops.length, old.unread]).toEqual([18, []]);
    expect([now.ops.length, now.unread]).toEqual([8, []]);
  });

  it.each([
    { line: 'X 0x8', expected: 'T, C, I, W, E, By, Di or Ab' },
    { line: 'T 0x8 0xffffd000 0x4642', expected: 'a blank' },
    { line: 'W 0x80 0x1 5', expected: 'a size of 4 or 8' },
    { line: 'T 0x8 0xffffd000 0x46425000 3 4', expected: 'the end of the line' },
    { line: '\u0000\u001f', expected: 'T, C, I, W, E, By, Di or Ab' },
  ])('counts $line as unread and goes on', ({ line, expected }) => {
    const digest = parseQemuOps(`C SYNC\r\n${line}\nC SYNC`, 'q');
    expect(digest.ops.map((op) => op.line)).toEqual([1, 3]);
    expect(digest.unread).toEqual([{ file: 'q', line: 2, expected }]);
  });
});
