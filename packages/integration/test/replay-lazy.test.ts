import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { openCapture } from '@iommukit/captures';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  FlushProbesNeeded,
  type ReplayReport,
  replayCapture,
  shippedCapture,
} from '../src/index.ts';

const source = shippedCapture('linux-6.12-lazy') ?? '';

const exact = (compared: number) => ({
  compared,
  equal: compared,
  explained: 0,
  unexplained: 0,
  reasons: {},
});

test('linux-6.12-lazy: everything agrees, with the probes of the flush queue as its clock', () => {
  const report = replayCapture(openCapture(source));
  expect(report.examples).toEqual({});
  // Counted in the files: alloc_fast_ret, free_fast and cmdlist events, commands in the idle dump, T lines up to the busy dump.
  expect(report.checks).toEqual({
    iova: exact(11_407),
    frees: exact(10_857),
    commands: exact(576),
    cmdq: exact(725),
    leaves: exact(1064),
    config: exact(97),
    translations: exact(78_141),
    truth: exact(4 + 84),
    verdicts: exact(726 + 247 + 819 + 291 + 1),
  });
  expect(report.notApplicable).toEqual(['events']);
  // 514 timeouts and 6 full rings, of which only the timeouts were told.
  expect(report.counters).toMatchObject({
    unreadLines: 0,
    unjoinedLines: 0,
    unmaps: 10_892,
    abortStes: 759,
    flushes: 520,
    staleUses: 0,
  });
  expect(report.counters['pendingUses']).toBeGreaterThan(0);
  expect(report.ok).toBe(true);
}, 120_000);

test('whole DMA calls in lazy mode are refused: only the probes tell when a range is free again', () => {
  expect(() => replayCapture(openCapture(source), { feed: 'calls' })).toThrow(
    new FlushProbesNeeded({ capture: 'linux-6.12-lazy', feed: 'calls' }),
  );
});

describe('the beginning of linux-6.12-lazy', () => {
  let work = '';
  let trace: readonly string[] = [];

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'lazy-'));
    cpSync(source, work, {
      recursive: true,
      filter: (path) => !/DUMP-BUSY|snap|truth|verdicts|leaves|qemu-ops/.test(path),
    });
    const text = gunzipSync(readFileSync(join(source, 'guest/trace.txt.gz'))).toString();
    trace = text.split('\n').slice(0, 2400);
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  function replayed(lines: readonly string[]): ReplayReport {
    writeFileSync(join(work, 'guest/trace.txt.gz'), gzipSync(`${lines.join('\n')}\n`));
    return replayCapture(openCapture(work));
  }

  const without = (pattern: RegExp, which: number): string[] => {
    const at = trace.flatMap((line, i) => (pattern.test(line) ? [i] : [])).at(which);
    return trace.filter((_, i) => i !== at);
  };

  test('it replays as the whole does', () => {
    const { checks, counters, ok } = replayed(trace);
    const count = (pattern: RegExp) => trace.filter((line) => pattern.test(line)).length;
    expect(checks).toEqual({
      iova: exact(count(/ alloc_fast_ret: /)),
      frees: exact(count(/ free_fast: /)),
      commands: exact(count(/ cmdlist: /)),
    });
    expect(counters).toMatchObject({ unjoinedLines: 0, flushes: count(/ fq_flush: /) });
    expect(ok).toBe(true);
  });

  test('a free that the kernel did not make is noticed', () => {
    const { checks } = replayed(without(/ free_fast: /, -20));
    expect(checks.frees?.unexplained).toBe(1);
  });

  test('a free before the flush that ends its mapping is noticed', () => {
    const flush = trace.findLastIndex((line) => / fq_timeout: /.test(line));
    const free = trace.findIndex((line, i) => i > flush && / free_fast: /.test(line));
    const early = trace.filter((_, i) => i !== free);
    early.splice(flush, 0, trace[free] ?? '');
    const { checks } = replayed(early);
    expect(checks.frees?.unexplained).toBeGreaterThan(0);
  });

  test('a flush without its timer is a full ring: ours is not full, and its command is missing', () => {
    const { checks, counters } = replayed(without(/ fq_timeout: /, 0));
    expect(counters['unjoinedLines']).toBe(1);
    expect(checks.commands?.unexplained).toBeGreaterThan(0);
    expect(checks.frees?.unexplained).toBeGreaterThan(0);
  });

  test('a trace without the probes of the flush queue is refused', () => {
    for (const probe of [/ fq_flush: /, / fq_timeout: /, / fq_\w+: /])
      expect(() => replayed(trace.filter((line) => !probe.test(line)))).toThrow(FlushProbesNeeded);
    expect(() => replayed(trace.filter((line) => !/: \((f|\w*iova|fq)/.test(line)))).toThrow(
      /^NEEDS_FLUSH_PROBES: [^\n]*$/,
    );
  });
});
