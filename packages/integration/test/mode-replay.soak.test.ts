import { openCapture, type TraceEvent } from '@iommukit/captures';
import { describe, expect, test } from 'vitest';
import { type ReplayMode, replayModes, shippedCapture, shippedCaptures } from '../src/index.ts';

const ALL: readonly ReplayMode[] = ['strict', 'lazy', 'lazy-percpu', 'two-step', 'handle'];

// IOVA_CAPTURES names a folder that holds all five captures; the one of 7.2 does not come with the package.
const folder = process.env['IOVA_CAPTURES'];
const dirs = [
  ...shippedCaptures().map((name) => shippedCapture(name) ?? name),
  ...(folder === undefined ? [] : [`${folder}/linux-7.2-strict`]),
];

const total = (events: readonly TraceEvent[], of: (event: TraceEvent) => number) =>
  events.reduce((sum, event) => sum + of(event), 0);

describe.each(dirs)('%s', (dir) => {
  test('the whole capture in every mode: equal translations, nothing left, the commands of the recorded kernel in its own mode', () => {
    const capture = openCapture(dir);
    const { events } = capture.trace();
    const { modes, broken, counters, summary } = replayModes(capture, { modes: ALL });
    expect(broken).toEqual([]);
    expect(counters).toMatchObject({ unreadLines: 0, unjoinedLines: 0 });
    const maps = total(events, ({ event }) => Number(event === 'map'));
    expect(summary).toMatchObject({ compared: 5 * maps, equal: 5 * maps });
    const { strict, handle, lazy } = modes;
    const singles = total(events, ({ event }) => Number(/^dma_unmap_p/.test(event)));
    expect(strict?.walks).toMatchObject({ walks: singles, levels: 4 * singles });
    expect(handle?.walks).toEqual({ walks: 0, levels: 0, saved: singles });
    const pages = total(events, (event) => (event.event === 'unmap' ? event.size / 4096 : 0));
    expect(lazy?.exposure.pages).toBe(pages);
    // Flushes of the kernel's own queues have no place in strict mode.
    if (capture.policy === 'lazy') return;
    expect(strict?.syncs).toBe(
      total(events, (event) => (event.event === 'cmdlist' ? Number(event.sync) : 0)),
    );
    expect(strict?.commands).toBe(
      total(events, (event) => (event.event === 'cmdlist' ? event.n + Number(event.sync) : 0)),
    );
  }, 120_000);
});
