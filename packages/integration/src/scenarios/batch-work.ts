import { SZ_1G, SZ_4K } from '@iommukit/bits';
import type { MapperOptions, Way } from './mapper.ts';
import type { Observed } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { MIB, scat, slots, X } from './setup.ts';

// The work of the rows of batches: done in some way, and counted with what the batch held.

/** Pages of a list. */
export const LIST = 64;
const BUFFER = LIST * SZ_4K;

/** 24 for each record and 8 for each table: independent of the number of pages. */
export function remembered(rig: ScenarioRig): { bytes: number; records: number; detached: number } {
  const batch = rig.domain.batch;
  const [bytes, records, detached] = [batch?.bytes ?? 0, batch?.records ?? 0, batch?.detached ?? 0];
  if (rig.domain.ops.iotlbSyncMap === undefined && bytes !== 24 * records + 8 * detached)
    rig.fault(`${bytes} bytes for ${records} records and ${detached} tables`);
  return { bytes, records, detached };
}

/** 32 of 64 slots are mapped; they are unmapped, and the other 32 mapped, in one batch. */
export function lists(rig: ScenarioRig, way: Way, options: MapperOptions = {}): Observed {
  const before = rig.by('K');
  for (const iova of slots(0, 32)) before.map(iova, scat(LIST));
  const by = rig.by(way, options);
  const live = rig.liveTotal;
  let held = { bytes: 0, records: 0, detached: 0 };
  const counts = rig.count(() => {
    for (const iova of slots(0, 32)) by.unmap(iova, BUFFER);
    for (const iova of slots(32, 32)) by.map(iova, scat(LIST));
    held = remembered(rig);
    by.flush();
  });
  return { ...counts, ...held, live: rig.liveTotal - live };
}

const RANGE = 16 * MIB;
/** 64 adjacent buffers of 256 KiB, unmapped one by one or as one range. */
export function adjacent(rig: ScenarioRig, way: Way, pieces: number): Observed {
  rig.by('K').map(X, scat(4096));
  const by = rig.by(way);
  let held = { bytes: 0, records: 0, detached: 0 };
  let freed = 0;
  const counts = rig.count(() => {
    for (let at = X; at < X + RANGE; at += RANGE / pieces) by.unmap(at, RANGE / pieces);
    freed = rig.watch.frees;
    held = remembered(rig);
    by.flush();
    freed = rig.watch.frees - freed;
  });
  return { ...counts, ...held, freedByFlush: freed };
}

/** 1 GiB of single pages. */
export function gibibyte(rig: ScenarioRig, way: Way, pieces: number): Observed {
  // Mapped at once in whatever way: only the unmap is looked at.
  const first = rig.by('R');
  first.map(X, scat(262_144));
  first.flush();
  const by = rig.by(way);
  let held = { bytes: 0, records: 0, detached: 0 };
  let freed = 0;
  const unmapAll = (): void => {
    for (let at = X; at < X + SZ_1G; at += SZ_1G / pieces) by.unmap(at, SZ_1G / pieces);
    held = remembered(rig);
    freed = rig.watch.frees;
    by.flush();
    freed = rig.watch.frees - freed;
  };
  const looked = { iova: X, bytes: SZ_1G, step: SZ_1G / 16 };
  const counts = rig.count(() => rig.readAtFrees(looked, unmapAll));
  return { ...counts, ...held, freedByFlush: freed };
}
