import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import {
  type Capture,
  InputError,
  openCapture,
  parseFtrace,
  readText,
  type TraceEvent,
} from '@iommukit/captures';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ModeReport,
  type ModeResult,
  parseModes,
  type ReplayMode,
  replayModes,
  shippedCapture,
  UnknownKernel,
  UnknownMode,
} from '../src/index.ts';
import { planCalls } from '../src/replay/call-plan.ts';

const ALL: readonly ReplayMode[] = ['strict', 'lazy', 'lazy-percpu', 'two-step', 'handle'];
const PAGE = 4096;

const folder = mkdtempSync(join(tmpdir(), 'modes-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The result of a mode that was run. */
function of(report: ModeReport, mode: ReplayMode): ModeResult {
  const result = report.modes[mode];
  if (result === undefined) throw new Error(`${mode} was not run`);
  return result;
}

/** A capture whose trace ends after so many lines, and the text of these. */
function beginning(dir: string, lines: number): { capture: Capture; text: string } {
  const capture = openCapture(dir);
  const path = capture.path('trace');
  const text = `${readText(path).split('\n').slice(0, lines).join('\n')}\n`;
  const trace = parseFtrace(text, path);
  return { capture: { ...capture, trace: () => trace }, text };
}

/** The shortest beginning with requests of every kind, its devices at work. */
const { capture: strictUp, text: strictUpText } = beginning(
  shippedCapture('linux-6.12-strict-up') ?? '',
  7000,
);

function sum(events: readonly TraceEvent[], of: (event: TraceEvent) => number): number {
  return events.reduce((total, event) => total + of(event), 0);
}

const count = (events: readonly TraceEvent[], name: TraceEvent['event']) =>
  sum(events, (event) => (event.event === name ? 1 : 0));

const NOTHING_LEFT = {
  iovaRanges: 0,
  mappedBytes: 0,
  handles: 0,
  frames: 0,
  cachedTranslations: 0,
};

const part = fileURLToPath(new URL('captures/linux-7.2-part', import.meta.url));
const captures = [
  { name: 'the beginning of linux-7.2-strict', open: () => beginning(part, 20_000).capture },
  {
    name: 'the beginning of linux-6.12-strict-up',
    open: () => strictUp,
  },
];

describe.each(captures)('$name', ({ open }) => {
  let report: ModeReport;
  let capture: Capture;
  let events: readonly TraceEvent[];
  beforeAll(() => {
    capture = open();
    events = capture.trace().events;
    report = replayModes(capture, { modes: ALL });
  });

  test('every mode maps every piece of the trace where the kernel mapped it, and nothing leaks', () => {
    expect(report.broken).toEqual([]);
    expect(report.ok).toBe(true);
    const maps = count(events, 'map');
    expect(report.summary).toEqual({ modes: 5, compared: 5 * maps, equal: 5 * maps, broken: 0 });
    for (const mode of ALL) {
      const { translations, leaks, unmaps, failed, warnings, staleUses } = of(report, mode);
      expect(translations).toMatchObject({ compared: maps, equal: maps });
      expect({ unmaps, failed, warnings, staleUses }).toEqual({
        ...{ failed: 0, warnings: 0, staleUses: 0 },
        unmaps: count(events, 'unmap'),
      });
      expect(leaks).toMatchObject(NOTHING_LEFT);
      expect(leaks.stillMapped).toBeGreaterThan(0);
    }
  });

  test('strict issues the commands of the recorded kernel, which was strict', () => {
    const strict = of(report, 'strict');
    expect(strict.commands).toBe(
      sum(events, (event) => (event.event === 'cmdlist' ? event.n + Number(event.sync) : 0)),
    );
    expect(strict.syncs).toBe(
      sum(events, (event) => (event.event === 'cmdlist' ? Number(event.sync) : 0)),
    );
    const named = Object.values(strict.commandsByType).reduce((total, n) => total + n, 0);
    expect(named).toBe(strict.commands);
    expect(strict.commandsByType['SYNC']).toBe(strict.syncs);
    // Requests of which the last one may stand cut off at the end.
    const asked = count(events, 'alloc_fast_ret');
    expect(asked - strict.requests).toBeLessThanOrEqual(1);
    expect(strict.requests - strict.iovasAsRecorded).toBeLessThanOrEqual(strict.requests * 0.05);
  });

  test('strict exposes nothing; lazy exposes every page that was unmapped, as long as its timer at most', () => {
    for (const mode of ['strict', 'two-step', 'handle'] as const) {
      const { exposure, translations, flushes } = of(report, mode);
      expect({ ...exposure, reachable: translations.reachable, flushes }).toEqual({
        ...{ pages: 0, peakPages: 0, pageMilliseconds: 0, longestMilliseconds: 0 },
        ...{ reachable: 0, flushes: 0 },
      });
    }
    const unmapped = sum(events, (event) => (event.event === 'unmap' ? event.size / PAGE : 0));
    for (const [mode, timeoutMs] of [
      ['lazy', 1000],
      ['lazy-percpu', 10],
    ] as const) {
      const { exposure, translations } = of(report, mode);
      expect(exposure.pages).toBe(unmapped);
      expect(exposure.longestMilliseconds).toBeLessThanOrEqual(timeoutMs);
      expect(exposure.pageMilliseconds).toBeGreaterThan(0);
      expect(exposure.pageMilliseconds).toBeLessThanOrEqual(unmapped * timeoutMs);
      expect(exposure.peakPages).toBeLessThanOrEqual(unmapped);
      expect(translations.reachable).toBeGreaterThan(0);
    }
    expect(of(report, 'lazy').exposure.pageMilliseconds).toBeGreaterThan(
      of(report, 'lazy-percpu').exposure.pageMilliseconds,
    );
  });

  test('a flush of a queue is one ASID and one SYNC in place of one range and one SYNC for each unmap', () => {
    const strict = of(report, 'strict');
    for (const mode of ['lazy', 'lazy-percpu'] as const) {
      const { commands, syncs, commandsByType: types, flushes, unmaps } = of(report, mode);
      const { TLBI_NH_VA: walkFlushes = 0, TLBI_NH_ASID: tags = 0, SYNC: _, ...others } = types;
      const {
        TLBI_NH_VA: ranges = 0,
        TLBI_NH_ASID: oldTags = 0,
        SYNC: __,
        ...same
      } = strict.commandsByType;
      expect(flushes).toBeGreaterThan(0);
      expect(flushes).toBeLessThan(unmaps);
      expect(others).toEqual(same);
      expect(tags - oldTags).toBe(flushes);
      // The parts of these traces free no table.
      expect(walkFlushes).toBe(0);
      expect(strict.syncs - syncs).toBe(unmaps - flushes);
      expect(strict.commands - commands).toBe(ranges + unmaps - 2 * flushes);
    }
    expect(of(report, 'lazy').flushes).toBeLessThan(of(report, 'lazy-percpu').flushes);
  });

  test('handles save the walk of every single unmap, and change nothing else', () => {
    const [strict, handle] = [of(report, 'strict'), of(report, 'handle')];
    const singles = count(events, 'dma_unmap_page') + count(events, 'dma_unmap_phys');
    expect(strict.walks).toEqual({ walks: singles, levels: 4 * singles, saved: 0 });
    expect(handle.walks).toEqual({ walks: 0, levels: 0, saved: singles });
    const { walks: _, handles: __, ...others } = strict;
    expect(handle).toMatchObject(others);
    for (const mode of ['lazy', 'lazy-percpu', 'two-step'] as const)
      expect(of(report, mode).walks).toEqual(strict.walks);
  });

  test('two-step links every request of several pieces: one IOVA range, the tables and commands of a list', () => {
    const [strict, linked] = [of(report, 'strict'), of(report, 'two-step')];
    const several = planCalls(capture.trace()).operations.filter(
      (operation) =>
        operation.op === 'call' &&
        (operation.call.kind === 'two-step' ||
          (operation.call.kind !== 'page' && operation.call.pieces.length > 1)),
    );
    expect(linked.linked).toBe(several.length);
    expect(linked.linked).toBeGreaterThan(0);
    const { linked: _, ...others } = strict;
    expect(linked).toMatchObject(others);
    // One range for each request, but for a doorbell that the domain has already.
    const doorbells = planCalls(capture.trace()).operations.filter(
      (operation) => operation.op === 'call' && operation.call.kind === 'msi',
    );
    expect(linked.iova.allocations).toBeGreaterThanOrEqual(linked.requests - doorbells.length);
    expect(linked.iova.allocations).toBeLessThanOrEqual(linked.requests);
  });
});

/** A trace of `TASK CPU MICROSECOND event text`, with a header for two CPUs. */
function traceFile(name: string, lines: readonly string[]): string {
  const text = lines.map((line) => {
    const [pid, cpu, us, ...rest] = line.split(' ');
    const at = `${Math.floor(Number(us) / 1e6)}.${String(Number(us) % 1e6).padStart(6, '0')}`;
    return ` task-${pid} [00${cpu}] ..... ${at}: ${rest.join(' ')}`;
  });
  const path = join(folder, name);
  writeFileSync(path, gzipSync(`# tracer: nop\n${text.join('\n')}\n`));
  return path;
}

const hex = (n: number) => n.toString(16);
const range = (iova: number, size: number) => `iova=0x${hex(iova)} - 0x${hex(iova + size)}`;

/** A page is mapped for a device by task 1 on CPU 0. */
const mapped = (us: number, device: string, iova: number, size = PAGE) => [
  `1 0 ${us} map: IOMMU: ${range(iova, size)} paddr=0x${hex(0x8_0000_0000 + iova)} size=${size}`,
  `1 0 ${us} dma_map_page: ${device} dir=FROM_DEVICE dma_addr=${hex(iova)} size=${size} phys_addr=${hex(0x8_0000_0000 + iova)} attrs=`,
];
const unmapped = (us: number, device: string, iova: number) => [
  `2 1 ${us} unmap: IOMMU: ${range(iova, PAGE)} size=${PAGE} unmapped_size=${PAGE}`,
  `2 1 ${us} dma_unmap_page: ${device} dir=FROM_DEVICE dma_addr=${hex(iova)} size=${PAGE} attrs=`,
];

const NIC = '0000:01:00.0';
const TOP = 0xffff_f000;

describe('a trace file without probes', () => {
  test('exposure in page-milliseconds of the clock of the trace: from the unmap to the timer of the queue', () => {
    const file = traceFile('two-pages.gz', [
      ...mapped(1_000_000, NIC, TOP),
      ...mapped(1_000_100, NIC, TOP - PAGE),
      ...unmapped(1_001_000, NIC, TOP),
      ...unmapped(1_003_000, NIC, TOP - PAGE),
    ]);
    const report = replayModes(file, { modes: ALL });
    expect(report.broken).toEqual([]);
    expect(report).toMatchObject({ ok: true, kernel: '6.12', source: file });
    // 10 ms after the first unmap: 10 + 8. One second after it: 1000 + 998.
    const rows = { strict: 0, lazy: 1998, 'lazy-percpu': 18, 'two-step': 0, handle: 0 } as const;
    for (const mode of ALL) {
      const { exposure, iovasAsRecorded, requests } = of(report, mode);
      expect(exposure.pageMilliseconds).toBe(rows[mode]);
      // A PCI device of its own group has 32-bit IOVAs from the top down.
      expect([requests, iovasAsRecorded]).toEqual([2, 2]);
    }
    expect(of(report, 'lazy-percpu')).toMatchObject({
      flushes: 1,
      exposure: { pages: 2, peakPages: 2, longestMilliseconds: 10 },
    });
    expect(report.notApplicable.join()).toContain('commands');
  });

  test('a ring of 256 entries holds 255: the unmap after them flushes (evaluation S1-9); the single queue waits for its timer', () => {
    const lines = Array.from({ length: 300 }, (_, i) => [
      ...mapped(1_000_000 + 2 * i, NIC, TOP),
      ...unmapped(1_000_001 + 2 * i, NIC, TOP),
    ]).flat();
    const report = replayModes(traceFile('burst.gz', lines), { modes: ALL });
    expect(report.ok).toBe(true);
    // Request 256, which finds the ring full, and the timer at the end.
    expect(of(report, 'lazy-percpu')).toMatchObject({ flushes: 2, exposure: { peakPages: 255 } });
    expect(of(report, 'lazy')).toMatchObject({ flushes: 1, exposure: { peakPages: 300 } });
    expect(of(report, 'strict').commandsByType['TLBI_NH_VA']).toBe(300);
    expect(of(report, 'lazy').commandsByType['TLBI_NH_VA']).toBeUndefined();
  });

  test('devices have a group each from their first use on, and IOVA spaces of their own', () => {
    const others = [NIC, '0000:02:00.0', 'fe300000.ethernet'];
    const file = traceFile(
      'devices.gz',
      others.flatMap((device, i) => mapped(1_000_000 + i, device, TOP)),
    );
    const { modes, ok } = replayModes(file, { modes: ['strict'], kernel: '7.3' });
    expect(ok).toBe(true);
    // Only PCI devices try 32-bit addresses first.
    expect(modes.strict).toMatchObject({ requests: 3, iovasAsRecorded: 2, failed: 0 });
    // A tree for each: its three levels below the top.
    expect(modes.strict?.tables.allocated).toBe(9);
  });

  test('a list: one IOVA range, one range of commands and no walk in every mode; two-step links its pieces (evaluation S1-1, S1-2)', () => {
    const base = 0xffff_0000;
    const at = (i: number) => 0x8_0000_0000 + 2 * i * PAGE;
    const numbers = Array.from({ length: 16 }, (_, i) => i);
    const [dmaAddrs, sizes, physAddrs] = [
      numbers.map((i) => `0x${hex(base + i * PAGE)}`),
      numbers.map(() => '0x1000'),
      numbers.map((i) => `0x${hex(at(i))}`),
    ].map((list) => `{${list.join(',')}}`);
    const file = traceFile('list.gz', [
      ...numbers.map(
        (i) =>
          `1 0 1000000 map: IOMMU: ${range(base + i * PAGE, PAGE)} paddr=0x${hex(at(i))} size=4096`,
      ),
      `1 0 1000001 dma_map_sg: ${NIC} dir=TO_DEVICE nents=16/16 ents=16/16 dma_addrs=${dmaAddrs} sizes=${sizes} phys_addrs=${physAddrs} attrs=`,
      `2 1 1002000 dma_unmap_sg: ${NIC} dir=TO_DEVICE phys_addrs=${physAddrs} attrs=`,
      `2 1 1002000 unmap: IOMMU: ${range(base, 16 * PAGE)} size=65536 unmapped_size=65536`,
    ]);
    const report = replayModes(file, { modes: ALL, kernel: '7.3' });
    expect(report.broken).toEqual([]);
    expect(report.unread).toEqual([]);
    for (const mode of ALL) {
      const { iova, walks, tables, linked, handles, commandsByType, unmaps } = of(report, mode);
      const lazy = mode.startsWith('lazy');
      expect({ iovas: iova.allocations, unmaps, walks: walks.walks, linked, handles }).toEqual({
        ...{ iovas: 1, unmaps: 1, walks: 0 },
        linked: mode === 'two-step' ? 1 : 0,
        handles: mode === 'handle' ? 1 : 0,
      });
      // 16 maps and one unmap.
      expect(tables).toMatchObject({ allocated: 3, formatCalls: 17, levels: 68 });
      expect(commandsByType['TLBI_NH_VA'] ?? 0).toBe(lazy ? 0 : 1);
    }
  });

  const linked = [
    ...mapped(1_000_000, NIC, TOP),
    `1 0 1000010 map: IOMMU: ${range(0xfff0_0000, PAGE)} paddr=0x8f0000000 size=${PAGE}`,
    `1 0 1000011 map: IOMMU: ${range(0xfff0_1000, PAGE)} paddr=0x8f0004000 size=${PAGE}`,
    `2 1 1000020 unmap: IOMMU: ${range(0xfff0_0000, 2 * PAGE)} size=8192 unmapped_size=8192`,
  ];

  test('no event names the device of a two-step range: it is counted, and made for the device that the caller names', () => {
    const file = traceFile('linked.gz', linked);
    const without = replayModes(file, { modes: ['strict'], kernel: '7.3' });
    expect(without.counters.unjoinedLines).toBe(2);
    expect(without.unread.map(({ line }) => line)).toEqual([4, 6]);
    expect(without.modes.strict).toMatchObject({ requests: 1, unmaps: 0 });
    const named = replayModes(file, {
      ...{ modes: ['strict'], kernel: '7.3', twoStepDevice: '0000:03:00.0' },
    });
    expect(named.counters.unjoinedLines).toBe(0);
    expect(named.modes.strict).toMatchObject({
      ...{ requests: 2, unmaps: 1, linked: 1 },
      translations: { compared: 3, equal: 3 },
      leaks: { ...NOTHING_LEFT, stillMapped: 1 },
    });
  });

  test('a capture without its probes gives the calls, IOVAs and counts that it gives with them', () => {
    const kept = /^#|: (dma_\w+|map|unmap|add_device_to_group|attach_device_to_domain): /;
    const lines = strictUpText.split('\n').filter((line) => kept.test(line));
    const file = join(folder, 'plain.txt');
    writeFileSync(file, lines.join('\n'));
    const modes = ['strict', 'lazy-percpu'] as const;
    const [whole, plain] = [replayModes(strictUp, { modes }), replayModes(file, { modes })];
    expect(plain.ok).toBe(true);
    expect(plain.counters).toMatchObject({ unreadLines: 0, unjoinedLines: 0 });
    for (const mode of modes) {
      // The windows of the host bridge, which a trace does not have, are more nodes in the tree.
      const { iova, ...same } = of(whole, mode);
      expect(of(plain, mode)).toMatchObject(same);
      expect(of(plain, mode).iova.allocations).toBe(iova.allocations);
    }
  });

  test('a request that finds no room is a failure of every mode', () => {
    const file = traceFile('huge.gz', mapped(1_000_000, NIC, 0, 2 ** 48));
    const report = replayModes(file, { modes: ['strict', 'handle'] });
    expect(report.ok).toBe(false);
    expect(report.broken.filter((text) => text.includes('1 requests failed'))).toHaveLength(2);
    expect(report.summary).toMatchObject({ compared: 2, equal: 0 });
  });

  test('what cannot be run is refused before anything runs', () => {
    const bare = traceFile('bare.gz', mapped(1_000_000, NIC, TOP).slice(1));
    const expected = 'iommu:map events beside those of dma:*';
    expect(() => replayModes(bare, { modes: ALL })).toThrow(
      new InputError({ file: bare, expected }),
    );
    const good = traceFile('good.gz', mapped(1_000_000, NIC, TOP));
    expect(() => replayModes(good, { modes: ALL, kernel: '5.4' })).toThrow(UnknownKernel);
    expect(() => replayModes(good, { modes: ALL, until: 'idle' })).toThrow(/PHASE:dump-idle/);
  });
});

test('modes are listed by name, each once', () => {
  expect(parseModes('strict, lazy,strict')).toEqual(['strict', 'lazy']);
  expect(parseModes(ALL.join(','))).toEqual(ALL);
  for (const text of ['eager', 'strict,', '', 'toString'])
    expect(() => parseModes(text)).toThrow(UnknownMode);
});
