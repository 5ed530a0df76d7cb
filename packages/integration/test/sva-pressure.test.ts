import { OPCODE } from '@iommukit/arm-arch';
import { expect, test } from 'vitest';
import { runPressure } from './sva-pressure.ts';

// `npm run soak` uses every page.
const SIZE =
  process.env['IOMMUKIT_SOAK'] === undefined
    ? { stride: 509, frames: 16, least: 515 }
    : { stride: 1, frames: 2048, least: 262_144 };

test.each([
  ['stall', 'immediate'],
  ['stall', 'step'],
  ['pri', 'immediate'],
  ['pri', 'step'],
] as const)(
  'a device that faults all over a sparse process of 1 GiB, by %s, commands taken by %s, while pages go behind it: every access right, or refused as it should be',
  (by, consume) => {
    const { least, ...size } = SIZE;
    const { accesses, wrong, evicted, rig, engine } = runPressure({
      by,
      consume,
      ...size,
      seed: 1,
    });
    expect(wrong).toEqual([]);
    expect(accesses).toBeGreaterThan(least);
    expect(evicted).toBeGreaterThan(least / 5);
    const { counts, pending, partial, queued } = rig.faults;
    expect([pending, partial, queued, counts.late, counts.aborted]).toEqual([0, 0, 0, 0, 0]);
    // Each event or request is a group, each group has one answer in the command queue: nothing lost, nothing doubled.
    const { model, driver } = rig.machine;
    const taken = by === 'stall' ? driver.evtq.drained : driver.priq?.drained;
    const answers = model.commandCount(by === 'stall' ? OPCODE.RESUME : OPCODE.PRI_RESP);
    expect([taken, answers, counts.responses]).toEqual([
      counts.groups,
      counts.groups,
      counts.groups,
    ]);
    // A page that goes before a late CMD_RESUME is taken stalls its access once more, and that ends once.
    if (by === 'stall') expect(engine.resumed).toBe(engine.stalls);
    else expect([engine.requests, engine.answers]).toEqual([counts.groups, counts.groups]);
    expect([model.stalled, rig.staleUses]).toEqual([[], []]);
    expect([rig.pageFrames.used, rig.tableFrames.used]).toEqual([0, 0]);
  },
);
