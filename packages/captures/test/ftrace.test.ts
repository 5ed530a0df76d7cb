import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  contextName,
  FtraceParser,
  parseFtrace,
  parseFtraceStream,
  readText,
  type TraceEvent,
} from '../src/index.ts';
import { fixture } from './fixture.ts';
import { HEAD, one } from './ftrace-line.ts';

function missed(line: string): string | undefined {
  const { events, unread } = parseFtrace(line, 'f');
  expect(events).toEqual([]);
  return unread[0]?.expected;
}

describe('envelope', () => {
  const PAYLOAD = 'free: (free_iova+0x0/0xc8) iovad=0x10 pfn=0xfff00';
  const rows = [
    {
      name: 'a task with a dash and a blank column',
      line: ` irq/15-arm-smmu-65      [000] d....    23.713957: ${PAYLOAD}`,
      pid: 65,
      context: '65',
    },
    {
      name: 'soft interrupt',
      line: `          <idle>-0       [001] D.s4.    16.995907: ${PAYLOAD}`,
      pid: 0,
      context: 's1',
    },
    {
      name: 'hard over soft interrupt',
      line: `          <idle>-0       [000] d.H..     8.180807: ${PAYLOAD}`,
      pid: 0,
      context: 'h0',
    },
    {
      name: 'four flags, before 5.15',
      line: `              dd-243   [001] d.h1     8.180807: ${PAYLOAD}`,
      pid: 243,
      context: 'h1',
    },
    {
      name: 'no flags',
      line: `              dd-243   [001]     8.180807: ${PAYLOAD}`,
      pid: 243,
      context: '243',
    },
    {
      name: 'record-tgid',
      line: `              dd-243     (    243) [001] .....     8.180807: ${PAYLOAD}`,
      pid: 243,
      context: '243',
    },
    {
      name: 'brackets and digits in the name',
      line: `       a-1 [x]-2-77      [003] .....     8.180807: ${PAYLOAD}`,
      pid: 77,
      context: '77',
    },
    {
      name: 'trace-cmd: padded name, no leading blanks',
      line: `dd-243   [001]     8.180807: free:                 ${PAYLOAD.slice(6)}`,
      pid: 243,
      context: '243',
    },
    {
      name: 'nanoseconds',
      line: `              dd-243   [001] ..... 8.180807123: ${PAYLOAD}`,
      pid: 243,
      context: '243',
    },
    {
      name: 'CRLF',
      line: `              dd-243   [001] ..... 8.180807: ${PAYLOAD}\r\n`,
      pid: 243,
      context: '243',
    },
  ];
  it.each(rows)('$name', ({ line, pid, context }) => {
    const event = one(line);
    expect(event?.pid).toBe(pid);
    expect(contextName(event?.context ?? 0)).toBe(context);
    expect((event?.tsUs ?? 0) % 1e6).toBeGreaterThan(0);
  });

  it('reads a timestamp as whole microseconds', () => {
    expect(one(`dd-1 [000] ..... 43.496449: ${PAYLOAD}`)?.tsUs).toBe(43_496_449);
    expect(one(`dd-1 [000] ..... 8.180807999: ${PAYLOAD}`)?.tsUs).toBe(8_180_807);
  });

  it('keeps what a mark says, brackets and all', () => {
    expect(one(`${HEAD}tracing_mark_write: x-1 [000] ..... 1.000001: map: y`)).toMatchObject({
      pid: 0,
      text: 'x-1 [000] ..... 1.000001: map: y',
    });
  });
});

describe('malformed lines', () => {
  const ENVELOPE = 'TASK-PID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT:';
  const rows = [
    { name: 'no envelope', line: 'hello', expected: ENVELOPE },
    { name: 'binary', line: '\u0000\u0001\ufffd\u001f\u008b[', expected: ENVELOPE },
    { name: 'cut in the task', line: '          <idle>-0', expected: ENVELOPE },
    {
      name: 'a clock without a point',
      line: 'dd-1 [000] ..... 43496449: free: x',
      expected: '"."',
    },
    {
      name: 'too few digits',
      line: 'dd-1 [000] ..... 43.49: free: x',
      expected: 'a timestamp with 6 or 9 digits after the point',
    },
    { name: 'cut before the event', line: HEAD, expected: 'an event name and ":"' },
    { name: 'cut in the event', line: `${HEAD}unm`, expected: 'an event name and ":"' },
    { name: 'another map', line: `${HEAD}map: iova=1`, expected: '"IOMMU: iova=0x"' },
    {
      name: 'cut in the payload',
      line: `${HEAD}free: (free_iova+0x0/0xc8) iovad=0x10 pf`,
      expected: '"pfn="',
    },
    {
      name: 'cut in the probe',
      line: `${HEAD}free: (free_iova+0x0`,
      expected: '")" after the probed address',
    },
    {
      name: 'a size that the cut made shorter',
      line: `${HEAD}map: IOMMU: iova=0x00000000ffffb000 - 0x00000000ffffc000 paddr=0x0000000048800000 size=40`,
      expected: 'a size that equals the IOVA range',
    },
    {
      name: 'not hexadecimal',
      line: `${HEAD}free: (f) iovad=0x10 pfn=0xzz`,
      expected: 'a hexadecimal number',
    },
    {
      name: 'seventeen digits',
      line: `${HEAD}free: (f) iovad=0x10 pfn=0x10000000000000000`,
      expected: 'a hexadecimal number',
    },
    {
      name: 'not a pointer',
      line: `${HEAD}free: (f) iovad=0xfg pfn=0x1`,
      expected: 'a pointer (0x and hexadecimal digits)',
    },
    {
      name: 'more behind the last field',
      line: `${HEAD}free: (f) iovad=0x10 pfn=0x1 size=2`,
      expected: 'the end of the line',
    },
    {
      name: 'unknown direction',
      line: `${HEAD}dma_unmap_page: d dir=UP dma_addr=1 size=1 attrs=`,
      expected: 'BIDIRECTIONAL, TO_DEVICE, FROM_DEVICE or NONE',
    },
    {
      name: 'an open list',
      line: `${HEAD}dma_unmap_sg: d dir=NONE phys_addrs={0x1000,`,
      expected: '"0x"',
    },
    {
      name: 'sizes and addresses differ in number',
      line: `${HEAD}dma_sync_sg_for_cpu: d dir=NONE dma_addrs={0x1} sizes={}`,
      expected: 'as many sizes as dma_addrs',
    },
    {
      name: 'a broken header',
      line: '# entries-in-buffer/entries-written: 12/x   #P:2',
      expected: 'a decimal number',
    },
  ];
  it.each(rows)('$name', ({ line, expected }) => {
    expect(missed(line)).toBe(expected);
  });

  it('names file and line and goes on', () => {
    const good = `${HEAD}free: (f) iovad=0x10 pfn=0x1`;
    const { events, unread, lines } = parseFtrace(`${good}\nhello\n\n${good}\n`, 'trace.txt');
    expect(events.map((e) => e.line)).toEqual([1, 4]);
    expect(unread).toEqual([{ file: 'trace.txt', line: 2, expected: ENVELOPE }]);
    expect(lines).toBe(4);
  });

  it('never throws, and every line is an event, a comment, empty, other, lost or unread', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (texts) => {
        const text = texts.join(`\n${HEAD}`);
        const parsed = parseFtrace(text, 'f');
        const other = [...parsed.other.values()].reduce((a, b) => a + b, 0);
        const known = parsed.events.length + parsed.unread.length + other + parsed.lost.length;
        expect(known).toBeLessThanOrEqual(parsed.lines);
      }),
      { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 25 : 100 },
    );
  });

  it('a line cut anywhere is never an event of another kind', () => {
    const text = readText(fixture('trace-6.12-lazy.txt'));
    for (const line of text.split('\n').filter((l) => l !== '' && !l.startsWith('#'))) {
      const whole = one(line);
      for (let cut = 1; cut < line.length; cut++) {
        const event = parseFtrace(line.slice(0, cut), 'f').events[0];
        if (event !== undefined) expect(event.event).toBe(whole?.event);
      }
    }
  });
});

describe('whole traces', () => {
  it('reads every line of the three kernels’ samples', () => {
    for (const name of ['trace-6.12-lazy.txt', 'trace-7.2-strict.txt', 'capture/guest/trace.txt']) {
      const text = readText(fixture(name));
      const { events, unread, other, lines } = parseFtrace(text, name);
      expect(unread).toEqual([]);
      expect(other.size).toBe(0);
      expect(events.length).toBe(lines - 12);
    }
  });

  it('finds each kind of event of the captures', () => {
    const kinds = new Set(
      ['trace-6.12-lazy.txt', 'trace-7.2-strict.txt', 'capture/guest/trace.txt'].flatMap((n) =>
        parseFtrace(readText(fixture(n)), n).events.map((e) => e.event),
      ),
    );
    expect([...kinds].sort()).toEqual([
      'add_device_to_group',
      'alloc',
      'alloc_fast',
      'alloc_fast_ret',
      'alloc_ret',
      'attach_device_to_domain',
      'cmdlist',
      'dma_alloc',
      'dma_map_page',
      'dma_map_phys',
      'dma_map_sg',
      'dma_unmap_page',
      'dma_unmap_phys',
      'dma_unmap_sg',
      'evtq_thread',
      'fq_flush',
      'fq_timeout',
      'free',
      'free_fast',
      'init',
      'map',
      'reserve',
      'tlb_inv_context',
      'tracing_mark_write',
      'unmap',
    ]);
  });

  it('reads the header, and gaps of both tools', () => {
    const parsed = parseFtrace(
      [
        '# entries-in-buffer/entries-written: 78987/80000   #P:2',
        'CPU:2 [LOST 11745 EVENTS]',
        'CPU:1 [LOST EVENTS]',
        'CPU:7 [204600 EVENTS DROPPED]',
        'CPU:3 [EVENTS DROPPED]',
      ].join('\n'),
      'f',
    );
    expect(parsed.header).toEqual({ entries: 78987, written: 80000, cpus: 2 });
    expect(parsed.lost).toEqual([
      { line: 2, cpu: 2, events: 11745 },
      { line: 3, cpu: 1, events: -1 },
      { line: 4, cpu: 7, events: 204600 },
      { line: 5, cpu: 3, events: -1 },
    ]);
    expect(parsed.unread).toEqual([]);
  });

  it('counts event names it has no reader for, kprobes called map too', () => {
    const parsed = parseFtrace(
      `${HEAD}sched_switch: a\n${HEAD}sched_switch: b\n${HEAD}map: (foo+0x0/0x8) a=1\n`,
      'f',
    );
    expect([...parsed.other]).toEqual([
      ['sched_switch', 2],
      ['map', 1],
    ]);
    expect(parsed.unread).toEqual([]);
  });

  it('an empty text is an empty trace', () => {
    expect(parseFtrace('', 'f')).toMatchObject({ events: [], unread: [], lines: 0 });
  });

  it('gives equal names as one string', () => {
    const line = `${HEAD}free: (f) iovad=0xfff0000007021d00 pfn=0x1`;
    const { events } = parseFtrace(`${line}\n${line}`, 'f');
    expect(events.map((e) => (e.event === 'free' ? e.iovad : ''))).toEqual([
      '0xfff0000007021d00',
      '0xfff0000007021d00',
    ]);
  });

  it('streams to the same events wherever the chunks are cut', async () => {
    const text = readText(fixture('trace-7.2-strict.txt')).replace('PHASE:load', 'PHASE:é€𝄞');
    const bytes = new TextEncoder().encode(text);
    const whole = parseFtrace(text, 'f');
    for (const size of [1, 7, 100, 4096]) {
      const parser = new FtraceParser('f');
      const events: TraceEvent[] = [];
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
      }
      for await (const batch of parseFtraceStream(chunks(), parser)) events.push(...batch);
      expect(events).toEqual(whole.events);
      expect(parser.lines).toBe(whole.lines);
      expect(parser.header).toEqual(whole.header);
    }
  });

  it('streams strings and a last line without its newline', async () => {
    const parser = new FtraceParser('f');
    const events: TraceEvent[] = [];
    async function* chunks(): AsyncGenerator<string> {
      yield HEAD;
      yield 'free: (f) iovad=0x10 pfn=0x1\nbad';
    }
    for await (const batch of parseFtraceStream(chunks(), parser)) events.push(...batch);
    expect(events.length).toBe(1);
    expect(parser.unread[0]?.line).toBe(2);
  });

  it('takes single lines', () => {
    const parser = new FtraceParser('f');
    expect(parser.push('# tracer: nop')).toBeUndefined();
    expect(parser.push(`${HEAD}free: (f) iovad=0x10 pfn=0x1\r`)).toMatchObject({ line: 2, pfn: 1 });
  });
});
