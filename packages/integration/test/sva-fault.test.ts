import type { IommuDevice } from '@iommukit/iommu-core';
import { type SharedIoMm, svaBindDevice, svaUnbindDevice } from '@iommukit/sva-pasid';
import { describe, expect, test } from 'vitest';
import type { DemandPagedMm } from '../src/mm/demand-paged-mm.ts';
import { PAGE, SvaRig, type SvaRigOptions } from './sva-rig.ts';

const RW = { read: true, write: true, exec: false };
const RO = { read: true, write: false, exec: false };
const BASE = 0x7f00_0000_0000;
const value = (lo: number) => ({ lo, hi: 0 });
const page = (index: number): number => BASE + index * PAGE;

function bind(rig: SvaRig, device: IommuDevice, mm: DemandPagedMm): SharedIoMm {
  const handle = svaBindDevice(rig.binder, device, mm);
  if (typeof handle === 'number') throw new Error(`bind: ${handle}`);
  return handle;
}

function bound(options: SvaRigOptions) {
  const rig = new SvaRig(options);
  const device = rig.device(8);
  const mm = rig.process();
  const handle = bind(rig, device, mm);
  mm.map({ start: page(0), end: page(16), allowed: RW });
  mm.map({
    start: page(16),
    end: page(32),
    allowed: RO,
    content: (at) => value((at - BASE) / PAGE),
  });
  return { rig, device, mm, handle, engine: rig.engine(device), pasid: handle.pasid };
}

/** Nothing was lost, doubled, or used too long. */
function clean(rig: SvaRig): void {
  const { counts, pending, partial, queued } = rig.faults;
  expect([pending, partial, queued, counts.late]).toEqual([0, 0, 0, 0]);
  expect(counts.responses).toBe(counts.groups + counts.aborted);
  expect([rig.machine.model.stalled, rig.staleUses]).toEqual([[], []]);
}

describe.each(['stall', 'pri'] as const)('a fault by %s', (by) => {
  test('waits for a step, is repaired, and the access goes on', () => {
    const { rig, mm, engine, pasid } = bound({ by });
    const job = engine.write({ pasid, address: page(0) + 8 }, 7);
    expect([job.state, rig.faults.queued]).toEqual(['waiting', 1]);
    engine.settle();
    expect([job.state, mm.load(page(0) + 8)]).toEqual(['written', value(7)]);
    // One page is there now: no fault.
    expect([engine.read({ pasid, address: page(0) + 8 }).state, rig.faults.queued]).toEqual([
      value(7),
      0,
    ]);
    clean(rig);
  });

  test.each([
    ['a write of a read-only area', 20, 'write'],
    ['a read outside all areas', 40, 'read'],
  ])('%s is refused, and nothing is brought in', (_name, index, rw) => {
    const { rig, mm, engine, pasid } = bound({ by });
    const at = { pasid, address: page(index) };
    const job = rw === 'write' ? engine.write(at, 1) : engine.read(at);
    engine.settle();
    expect([job.state, mm.resident]).toEqual(['refused', 0]);
    clean(rig);
  });

  test('of the page of zeros: a read shares it, a write gets its own', () => {
    const { rig, mm, engine, pasid } = bound({ by });
    const jobs = [
      engine.read({ pasid, address: page(1) }),
      engine.read({ pasid, address: page(2) }),
    ];
    engine.settle();
    expect([jobs.map(({ state }) => state), rig.pageFrames.used]).toEqual([
      [value(0), value(0)],
      0,
    ]);
    const write = engine.write({ pasid, address: page(1) }, 3);
    engine.settle();
    expect([write.state, mm.load(page(1)), mm.load(page(2))]).toEqual([
      'written',
      value(3),
      value(0),
    ]);
    clean(rig);
  });

  test('after a fork: what the device writes is its own process only', () => {
    const { rig, mm, engine, pasid } = bound({ by });
    mm.store(page(3), value(1));
    expect(engine.write({ pasid, address: page(3) }, 2).state).not.toBe('refused');
    engine.settle();
    const child = mm.fork();
    const write = engine.write({ pasid, address: page(3) }, 4);
    expect(write.state).toBe('waiting');
    engine.settle();
    expect([write.state, mm.load(page(3)), child.load(page(3))]).toEqual([
      'written',
      value(4),
      value(2),
    ]);
    clean(rig);
  });

  test('of a read-only area with content: it is read as it is', () => {
    const { rig, engine, pasid } = bound({ by });
    const job = engine.read({ pasid, address: page(21) });
    engine.settle();
    expect(job.state).toEqual(value(21));
    clean(rig);
  });

  test('a page that went for want of memory comes back with what the device wrote', () => {
    const { rig, mm, engine, pasid } = bound({ by });
    engine.write({ pasid, address: page(5) }, 50);
    engine.settle();
    expect(mm.reclaim(8)).toBe(1);
    const job = engine.read({ pasid, address: page(5) });
    expect(job.state).toBe('waiting');
    engine.settle();
    expect(job.state).toEqual(value(50));
    clean(rig);
  });

  test('a run of pages that goes at once is not reached by any of them, whoever has the frames', () => {
    const { rig, mm, engine, pasid } = bound({ by, frames: 5 });
    for (const index of [0, 1, 2, 3]) engine.write({ pasid, address: page(index) }, index + 1);
    engine.settle();
    expect([mm.reclaim(4), rig.pageFrames.used]).toEqual([4, 0]);
    const other = rig.process();
    other.map({ start: page(0), end: page(4), allowed: RW });
    for (const index of [0, 1, 2, 3]) other.store(page(index), value(0x66));
    const jobs = [3, 2, 1, 0].map((index) => engine.write({ pasid, address: page(index) }, 9));
    expect(jobs.map(({ state }) => state)).toEqual(Array(4).fill('waiting'));
    // No frame is left for any of them.
    engine.settle();
    expect(jobs.map(({ state }) => state)).toEqual(Array(4).fill('refused'));
    for (const index of [0, 1, 2, 3]) expect(other.load(page(index))).toEqual(value(0x66));
    clean(rig);
  });

  test('two devices share the tables: what goes, goes for both', () => {
    const { rig, mm, engine, pasid } = bound({ by });
    const device = rig.device(9);
    const second = rig.engine(device);
    const handle = bind(rig, device, mm);
    expect(handle.pasid).toBe(pasid);
    for (const each of [engine, second]) each.write({ pasid, address: page(1) }, 8);
    engine.settle();
    second.settle();
    expect(second.read({ pasid, address: page(1) }).state).toEqual(value(8));
    mm.unmap(page(1), page(2));
    for (const each of [engine, second]) {
      const job = each.read({ pasid, address: page(1) });
      engine.settle();
      second.settle();
      expect(job.state).toBe('refused');
    }
    clean(rig);
  });

  test('two processes on one device keep apart', () => {
    const { rig, device, mm, engine, pasid } = bound({ by });
    const other = rig.process();
    other.map({ start: page(0), end: page(16), allowed: RW });
    const handle = bind(rig, device, other);
    expect(handle.pasid).toBe(pasid + 1);
    engine.write({ pasid, address: page(0) }, 1);
    engine.write({ pasid: handle.pasid, address: page(0) }, 2);
    engine.settle();
    expect([mm.load(page(0)), other.load(page(0))]).toEqual([value(1), value(2)]);
    svaUnbindDevice(handle);
    expect(engine.read({ pasid: pasid + 1, address: page(0) }).state).toBe('refused');
    expect(engine.read({ pasid, address: page(0) }).state).toEqual(value(1));
    clean(rig);
  });

  test('that nobody answers in time is given up, beyond Linux', () => {
    const { rig, mm, engine, pasid } = bound({ by, pageFaults: { afterUs: 1000 } });
    const job = engine.write({ pasid, address: page(0) }, 7);
    rig.machine.platform.clock.advance(1000);
    engine.step();
    expect([job.state, rig.faults.counts.timeouts]).toEqual(['refused', 1]);
    // The work is still done; its answer is not sent.
    rig.faults.step();
    expect([mm.resident, rig.faults.counts.responses, rig.faults.counts.late]).toEqual([1, 1, 1]);
  });

  test('of a PASID that is bound to nothing, or beyond those of the device, is nobody’s', () => {
    const { rig, engine } = bound({ by });
    const events = rig.machine.driver.evtq;
    for (const pasid of [77, 2 ** 17])
      expect(engine.read({ pasid, address: page(0) }).state).toBe('refused');
    expect([rig.faults.counts.requests, events.drained]).toEqual([0, by === 'stall' ? 2 : 0]);
  });
});

test('page requests of devices that stall are denied as Linux denies them', () => {
  const { rig, engine, pasid } = bound({ by: 'pri', pageFaults: { pageRequests: 'deny' } });
  const job = engine.read({ pasid, address: page(0) });
  engine.settle();
  expect([job.state, rig.faults.counts.requests]).toEqual(['refused', 0]);
  expect(rig.log.map(({ text }) => text)).toContain('unexpected PRI request received:');
});

test('more stalls than the SMMU holds: what is beyond is refused at once', () => {
  const { rig, engine, pasid } = bound({ by: 'stall', features: { stallMax: 2 } });
  const jobs = [0, 1, 2].map((index) => engine.write({ pasid, address: page(index) }, index));
  expect(jobs.map(({ state }) => state)).toEqual(['waiting', 'waiting', 'refused']);
  engine.settle();
  expect(jobs.map(({ state }) => state)).toEqual(['written', 'written', 'refused']);
  clean(rig);
});

test('6.12 handles them as well', () => {
  const { rig, mm, engine, pasid, handle } = bound({ by: 'stall', kernel: '6.12' });
  engine.write({ pasid, address: page(0) }, 7);
  engine.settle();
  mm.reclaim(4);
  const job = engine.read({ pasid, address: page(0) });
  engine.settle();
  expect(job.state).toEqual(value(7));
  svaUnbindDevice(handle);
  clean(rig);
});
