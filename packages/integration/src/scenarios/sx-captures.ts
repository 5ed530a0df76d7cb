/* SX-8: a kernel's own trace: replayed as it was, and in the ways that it could have gone. */
import { openCapture } from '@iommukit/captures';
import { replayModes } from '../replay/mode-replay.ts';
import { replayCapture } from '../replay/replay.ts';
import { shippedCapture } from '../shipped-capture.ts';
import { CapturedBatches } from './captured-batches.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';

/** The capture that every copy of this package has. */
const CAPTURE = 'linux-6.12-strict-up';
/** Unmaps that share a flush. */
const BATCH = 32;

const open = () => openCapture(shippedCapture(CAPTURE) ?? CAPTURE);

/** The trace as it was: what was compared, and what of it is equal. */
function asRecorded(): Observed {
  const { ok, checks, summary, counters } = replayCapture(open());
  const equal = Object.fromEntries(
    Object.entries(checks).map(([name, check]) => [name, check?.equal ?? 0]),
  );
  const { explained, unexplained } = summary;
  return { ok, ...equal, explained, unexplained, staleUses: counters['staleUses'] ?? -1 };
}

const MODES = ['strict', 'lazy', 'two-step', 'handle'] as const;

/** The same calls in another mode; SYNCs beside those of configuration, lookups, and what stayed within reach. */
function inMode(mode: (typeof MODES)[number]): Observed {
  const { ok, modes } = replayModes(open(), { modes: [mode], kernel: '7.3' });
  const result = modes[mode];
  if (result === undefined) return { ok };
  const { commandsByType: types, translations, leaks, unmaps, flushes, walks } = result;
  const configuration = ['CFGI_CD', 'CFGI_STE', 'CFGI_STE_RANGE', 'TLBI_NSNH_ALL'].reduce(
    (sum, name) => sum + (types[name] ?? 0),
    0,
  );
  const syncs = result.syncs - configuration;
  const { compared, equal, reachable } = translations;
  return {
    ...{ ok, compared, equal, unmaps, syncs, byAsid: types['TLBI_NH_ASID'] ?? 0 },
    // One wait for each unmap, or for each flush.
    asPredicted: syncs === (mode === 'lazy' ? flushes : unmaps),
    ...{ walks: walks.walks, saved: walks.saved, withinReach: reachable > 0 },
    ...{ staleUses: result.staleUses, frames: leaks.frames },
  };
}

/** The same calls as batches of ranges. */
function inBatches(): Observed {
  const work = new CapturedBatches(open(), BATCH);
  const { cmdq } = work.machine.driver;
  const { model } = work.machine;
  let before = cmdq.syncs;
  const { core } = work.machine;
  const probe = core.probeDevice.bind(core);
  // What attaching costs is not the batches'.
  core.probeDevice = (device, ops) => {
    const { syncs } = cmdq;
    const errno = probe(device, ops);
    before += cmdq.syncs - syncs;
    return errno;
  };
  work.run();
  const syncs = cmdq.syncs - before;
  const missing = model.staleUses.filter((one) => one.class === 'missing').length;
  return { ...work.counts, syncs, asPredicted: syncs === work.flushes, missing };
}

export const sx8: Scenario = {
  id: 'SX-8',
  title: 'a real capture, as recorded and in other ways',
  *cases(): Iterable<ScenarioCase> {
    yield {
      way: 'as recorded',
      run: asRecorded,
      expected: {
        ...{ ok: true, iova: 8656, commands: 8205, cmdq: 14_745, leaves: 1002, config: 97 },
        ...{ translations: 60_371, truth: 112, verdicts: 1816, explained: 0, unexplained: 0 },
        staleUses: 0,
      },
      sweep: false,
    };
    const same = { ok: true, compared: 14_732, equal: 14_732, asPredicted: true };
    for (const mode of MODES)
      yield {
        way: mode,
        run: () => inMode(mode),
        expected: {
          ...{ ...same, staleUses: 0, frames: 0, withinReach: mode === 'lazy' },
          ...(mode === 'handle' ? { walks: 0 } : { saved: 0 }),
          ...(mode === 'lazy' ? {} : { byAsid: 0 }),
        },
        sweep: false,
      };
    yield {
      way: 'R',
      run: inBatches,
      expected: {
        ...{ compared: 14_732, equal: 14_732, failed: 0, survivors: 0, missing: 0 },
        asPredicted: true,
      },
      sweep: false,
    };
  },
};
