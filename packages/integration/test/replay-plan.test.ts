import { parseFtrace } from '@iommukit/captures';
import { expect, test } from 'vitest';
import { planCalls } from '../src/replay/call-plan.ts';
import { planEvents } from '../src/replay/event-plan.ts';

const PROBE = '(f+0x0/0x10)';

/** Lines of a trace: `PID CPU event text`, one microsecond apart. */
function trace(lines: readonly string[]) {
  const text = lines.map((line, i) => {
    const [pid, cpu, ...rest] = line.split(' ');
    return ` task-${pid} [00${cpu}] ..... 1.${String(i).padStart(6, '0')}: ${rest.join(' ')}`;
  });
  return parseFtrace(`${text.join('\n')}\n`, 'trace');
}

const join = (pid: number, group: number, device: string) =>
  `${pid} 0 add_device_to_group: IOMMU: groupID=${group} device=${device}`;
const attach = (pid: number, device: string) =>
  `${pid} 0 attach_device_to_domain: IOMMU: device=${device}`;
const init = `1 0 init: ${PROBE} iovad=0xa0 granule=4096 start_pfn=0x1`;
const ask = (size: number) =>
  `1 0 alloc_fast: ${PROBE} iovad=0xa0 size=${size} limit_pfn=0xfffff flush=0`;
const map = (iova: string, end: string, paddr: string, size: number) =>
  `1 0 map: IOMMU: iova=0x${iova} - 0x${end} paddr=0x${paddr} size=${size}`;

const A = '0000:00:01.0';
const B = '0000:00:02.0';
const C = '0000:00:03.0';

const batches = (plan: ReturnType<typeof planEvents>) =>
  plan.operations.flatMap((operation) =>
    operation.op === 'attach' ? [operation.members.map(({ device }) => device)] : [],
  );

test('devices that join their groups before the first attach of their context are probed together', () => {
  const together = trace([join(1, 0, A), join(1, 1, B), attach(1, A), attach(1, B), join(1, 2, C)]);
  const oneByOne = trace([join(1, 0, A), attach(1, A), join(1, 1, B), attach(1, B)]);
  const twoContexts = trace([join(1, 0, A), join(2, 1, B), attach(1, A), attach(2, B)]);
  for (const plan of [planEvents, planCalls]) {
    expect(batches(plan(together))).toEqual([[A, B], [C]]);
    expect(batches(plan(oneByOne))).toEqual([[A], [B]]);
    expect(batches(plan(twoContexts))).toEqual([[A], [B]]);
  }
});

const TWO_STEP = [
  map('fff00000', 'fff01000', '40005000', 4096),
  map('fff01000', 'fff03000', '40009000', 8192),
];
const undo = '9 1 unmap: IOMMU: iova=0xfff00000 - 0xfff03000 size=12288 unmapped_size=12288';
const free = `9 1 free_fast: ${PROBE} iovad=0xa0 pfn=0xfff00 size=3`;

test('maps that no dma event closes are a range of the two-step API, of the group of its probe', () => {
  const events = trace([join(1, 0, A), attach(1, A), init, ask(3), ...TWO_STEP, undo, free]);
  expect(events.unread).toEqual([]);
  const { operations, unjoined } = planCalls(events);
  expect(unjoined).toEqual([]);
  const [, call, uncall] = operations;
  const expected = {
    kind: 'two-step',
    device: A,
    dir: 'BIDIRECTIONAL',
    kernelIova: 0xfff0_0000,
    asked: 12_288,
    size: 12_288,
    pieces: [
      { paddr: 0x4000_5000, size: 4096 },
      { paddr: 0x4000_9000, size: 8192 },
    ],
  };
  expect(call).toMatchObject({ op: 'call', call: expected });
  expect(uncall).toMatchObject({ op: 'uncall', call: expected });
  expect(operations).toHaveLength(3);
});

test('adjacent ranges are told apart by their requests', () => {
  const events = trace([
    ...[join(1, 0, A), attach(1, A), init],
    ...[ask(1), map('fff00000', 'fff01000', '40005000', 4096)],
    ...[ask(1), map('fff01000', 'fff02000', '40009000', 4096)],
  ]);
  const starts = planCalls(events).operations.flatMap((operation) =>
    operation.op === 'call' ? [operation.call.kernelIova] : [],
  );
  expect(starts).toEqual([0xfff0_0000, 0xfff0_1000]);
});

test('without probes nobody knows their device: they are named and not made', () => {
  const events = trace([join(1, 0, A), attach(1, A), ...TWO_STEP, undo]);
  const { operations, unjoined } = planCalls(events);
  expect(operations.map(({ op }) => op)).toEqual(['attach']);
  expect(unjoined.map(({ line }) => line)).toEqual([3, 5]);
  expect(unjoined[0]?.expected).toContain('alloc_fast');
});

const unmap = (iova: string, end: string) =>
  `9 1 unmap: IOMMU: iova=0x${iova} - 0x${end} size=4096 unmapped_size=4096`;
const answered = (pfn: string) => `1 0 alloc_fast_ret: (g+0x0/0x1 <- f) pfn=0x${pfn}`;
const unmapPage = (device: string) =>
  `9 1 dma_unmap_page: ${device} dir=FROM_DEVICE dma_addr=fff00000 size=4096 attrs=`;
const mapped = [ask(1), answered('fff00'), map('fff00000', 'fff01000', '40005000', 4096)];
const otherInit = `1 0 init: ${PROBE} iovad=0xfff0a0 granule=4096 start_pfn=0x1`;
/** Two groups with a range each at the same address: their IOVA domains lie at 0xa0 and 0xfff0a0. */
const twoSpaces = [
  ...[join(1, 0, A), attach(1, A), init, ...mapped],
  ...[join(1, 1, B), attach(1, B), otherInit],
  ...mapped.map((line) => line.replace('iovad=0xa0', 'iovad=0xfff0a0')),
];
const timeout = `7 0 fq_timeout: ${PROBE} timer=0x1`;
const flush = (pid: number, cookie: string) => `${pid} 0 fq_flush: ${PROBE} cookie=0x${cookie}`;
const command = (pid: number) => `${pid} 0 cmdlist: ${PROBE} n=1 sync=1 c0d0=0x11 c0d1=0x0`;
const freed = `7 0 free_fast: ${PROBE} iovad=0xfff0a0 pfn=0xfff00 size=1`;

function lazy(lines: readonly string[]) {
  const events = trace([...twoSpaces, ...lines]);
  expect(events.unread).toEqual([]);
  const { operations, unjoined } = planEvents(events, 'lazy');
  return { late: operations.slice(10), unjoined: unjoined.map(({ expected }) => expected) };
}

test('lazy: the dma event around an unmap tells its domain, also after the free', () => {
  const drain = [timeout, flush(7, 'fff098'), command(7), freed];
  for (const lines of [
    [unmap('fff00000', 'fff01000'), unmapPage(B), ...drain],
    [unmap('fff00000', 'fff01000'), ...drain, unmapPage(B)],
    [`9 1 dma_unmap_sg: ${B} dir=FROM_DEVICE phys_addrs={0x40005000} attrs=`].concat(
      unmap('fff00000', 'fff01000'),
      drain,
    ),
  ]) {
    const { late, unjoined } = lazy(lines);
    expect(unjoined).toEqual([]);
    expect(late).toMatchObject([
      { op: 'unmap', alloc: { iovad: '0xfff0a0' }, fillsRing: false },
      { op: 'flush', iovad: '0xfff0a0', by: null },
      { op: 'free', alloc: { iovad: '0xfff0a0' }, pages: 1 },
    ]);
  }
});

test('lazy: an unmap that no dma event names belongs to the only range there, or to nobody', () => {
  const last = [unmap('fff00000', 'fff01000')];
  expect(lazy(last).unjoined).toEqual(['a dma_unmap event around this unmap in the same context']);
  const { late, unjoined } = lazy([freed, ...last]);
  expect(unjoined).toEqual([]);
  expect(late.at(-1)).toMatchObject({ op: 'unmap', alloc: { iovad: '0xa0' } });
});

test('lazy: a flush happens at its command; what interrupts it is unmapped before', () => {
  const { late } = lazy([
    ...[timeout, flush(7, 'fff0a0'), unmap('fff00000', 'fff01000'), unmapPage(B), command(7)],
  ]);
  expect(late.map(({ op }) => op)).toEqual(['unmap', 'flush']);
});

test('lazy: a flush without its timer is made by the unmap of its context, which finds its ring full', () => {
  const { late } = lazy([
    ...[unmap('fff00000', 'fff01000'), flush(9, 'a0'), command(9), unmapPage(A)],
  ]);
  expect(late).toMatchObject([
    { op: 'unmap', fillsRing: true },
    { op: 'flush', iovad: '0xa0', by: { op: 'unmap', alloc: { iovad: '0xa0' } } },
  ]);
});

test('lazy: a flush of an unknown domain, or without any cause, is named', () => {
  expect(lazy([timeout, flush(7, '5000000'), command(7)]).unjoined).toEqual([
    "an init of this queue's IOVA domain before",
  ]);
  expect(lazy([flush(7, 'a0'), command(7)]).unjoined).toEqual([
    'a fq_timeout or an unmap before in the same context',
  ]);
});
