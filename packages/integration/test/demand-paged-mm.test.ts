import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { CpuMmu } from '../src/mm/cpu-mmu.lanes.ts';
import { DemandPagedMm } from '../src/mm/demand-paged-mm.ts';
import { PageFrames } from '../src/mm/page-frames.ts';

const PAGE = 4096;
const BASE = 0x7f00_0000_0000;
const RW = { read: true, write: true, exec: false };
const RO = { read: true, write: false, exec: false };
const WRITE = { write: true, instruction: false, user: true };
const READ = { ...WRITE, write: false };
const value = (lo: number) => ({ lo, hi: 0 });

function made(frameCount = 16, tableCount = 64) {
  const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x100_0000 }]);
  const tableFrames = new FrameAllocator({ base: 0x4000_0000, size: tableCount * PAGE });
  const pool = new FrameAllocator({ base: 0x4080_0000, size: frameCount * PAGE });
  const frames = new PageFrames(memory, pool);
  const mm = new DemandPagedMm({ memory, tableFrames, frames });
  const heard: string[] = [];
  const notifier = {
    invalidate: (start: number, end: number) => {
      heard.push(`${(start - BASE) / PAGE}-${(end - BASE) / PAGE}`);
    },
    release: () => void heard.push(`release with ${mm.resident}`),
  };
  mm.addNotifier(notifier);
  return { memory, tableFrames, frames, mm, heard };
}

const page = (index: number): number => BASE + index * PAGE;

describe('demand paging', () => {
  test('a read of a page that was never written shares the page of zeros, and a write replaces that', () => {
    const { mm, frames, heard } = made();
    mm.map({ start: page(0), end: page(4), allowed: RW });
    expect([mm.load(page(0)), mm.load(page(1)), frames.used]).toEqual([value(0), value(0), 0]);
    expect(mm.counts.zeroPages).toBe(2);
    expect([mm.store(page(1) + 8, value(5)), mm.load(page(1) + 8), mm.load(page(0) + 8)]).toEqual([
      true,
      value(5),
      value(0),
    ]);
    expect([frames.used, mm.counts.copied, heard]).toEqual([1, 1, ['1-2']]);
  });

  test('a page that is there needs no notice, nor does a second fault for it', () => {
    const { mm, heard } = made();
    mm.map({ start: page(0), end: page(4), allowed: RW });
    expect([mm.handleFault(page(2), WRITE), mm.handleFault(page(2), WRITE)]).toEqual([
      'done',
      'done',
    ]);
    expect([mm.handleFault(page(2), READ), heard]).toEqual(['done', []]);
  });

  test('outside areas, against their permission, after the exit: no access', () => {
    const { mm } = made();
    mm.map({ start: page(0), end: page(1), allowed: RO });
    expect([mm.load(page(1)), mm.store(page(0), value(1)), mm.areaAt(page(1))]).toEqual([
      null,
      false,
      null,
    ]);
    mm.exit();
    expect([mm.load(page(0)), mm.handleFault(page(0), READ), mm.users]).toEqual([null, 'error', 0]);
  });

  test('an area with content has it on first use', () => {
    const { mm } = made();
    mm.map({
      start: page(0),
      end: page(2),
      allowed: RO,
      content: (at) => value((at - BASE) / PAGE + 9),
    });
    expect([mm.load(page(0)), mm.load(page(1)), mm.load(page(1) + 8)]).toEqual([
      value(9),
      value(10),
      value(0),
    ]);
  });
});

describe('copy on write', () => {
  test('after a fork both see the same until one writes', () => {
    const { mm, frames, heard } = made();
    mm.map({ start: page(0), end: page(4), allowed: RW });
    for (const index of [0, 1, 2]) mm.store(page(index), value(index + 1));
    const child = mm.fork();
    expect([frames.used, heard]).toEqual([3, ['0-3']]);
    expect(child.load(page(1))).toEqual(value(2));
    child.store(page(1), value(20));
    expect([mm.load(page(1)), child.load(page(1)), frames.used]).toEqual([value(2), value(20), 4]);
    mm.store(page(1), value(30));
    // Nobody else has it any more: no copy.
    expect([mm.counts.copied, mm.counts.reused, child.counts.copied]).toEqual([0, 1, 1]);
    expect(child.load(page(1))).toEqual(value(20));
    child.exit();
    expect(mm.load(page(0))).toEqual(value(1));
    mm.exit();
    expect(frames.used).toBe(0);
  });

  test('pages that were put aside are in both', () => {
    const { mm } = made();
    mm.map({ start: page(0), end: page(1), allowed: RW });
    mm.store(page(0), value(7));
    mm.reclaim(1);
    const child = mm.fork();
    child.store(page(0), value(8));
    expect([mm.load(page(0)), child.load(page(0))]).toEqual([value(7), value(8)]);
  });
});

describe('memory pressure', () => {
  test('takes the oldest pages, tells of runs of them, and brings them back as they were', () => {
    const { mm, frames, heard } = made(8);
    mm.map({ start: page(0), end: page(64), allowed: RW });
    for (const index of [0, 1, 2, 5]) mm.store(page(index) + 16, value(index + 1));
    expect([mm.reclaim(4), heard, frames.used]).toEqual([4, ['0-3', '5-6'], 0]);
    expect([0, 1, 2, 5].map((index) => mm.load(page(index) + 16)?.lo)).toEqual([1, 2, 3, 6]);
    expect([mm.counts.evicted, mm.counts.restored]).toEqual([4, 4]);
  });

  test('what is written last before the notice is kept', () => {
    const { memory, mm } = made();
    mm.map({ start: page(0), end: page(1), allowed: RW });
    mm.store(page(0), value(1));
    const table = mm.tables;
    let frame = 0;
    // A device that still has the page when the process has cleared it.
    mm.addNotifier({ invalidate: () => memory.store64(frame, 99, 0), release() {} });
    frame = 0x4080_0000 + PAGE;
    mm.reclaim(1);
    expect([mm.load(page(0)), table.pageSize]).toEqual([value(99), PAGE]);
  });

  test('makes room for faults; without anything to take they fail', () => {
    const { mm, frames } = made(4);
    mm.map({ start: page(0), end: page(64), allowed: RW });
    for (let index = 0; index < 16; index++) expect(mm.store(page(index), value(index))).toBe(true);
    expect(mm.counts.evicted).toBeGreaterThan(9);
    for (let index = 0; index < 16; index++) expect(mm.load(page(index))?.lo).toBe(index);
    // All frames that are left belong to somebody else.
    while (frames.alloc() >= 0) {}
    mm.reclaim(64);
    while (frames.alloc() >= 0) {}
    expect(mm.handleFault(page(40), WRITE)).toBe('error');
  });

  test('without memory for a table nothing is counted as present', () => {
    const { mm, frames } = made(16, 1);
    mm.map({ start: page(0), end: page(1), allowed: RW });
    expect([mm.handleFault(page(0), WRITE), mm.resident, frames.used]).toEqual(['error', 0, 0]);
    expect(() => new DemandPagedMm(noTables())).toThrow(RangeError);
  });
});

function noTables() {
  const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x100_0000 }]);
  const frames = new PageFrames(memory, new FrameAllocator({ base: 0x4080_0000, size: PAGE }));
  return { memory, tableFrames: { alloc: () => -1, free() {} }, frames };
}

describe('areas', () => {
  test('unmapping a part leaves both sides, tells of what was there, and forgets what it held', () => {
    const { mm, heard, frames } = made();
    mm.map({ start: page(0), end: page(6), allowed: RW });
    for (const index of [0, 2, 3, 5]) mm.store(page(index), value(index + 1));
    mm.unmap(page(2), page(4));
    expect([heard, frames.used]).toEqual([['2-4'], 2]);
    expect([0, 2, 3, 5].map((index) => mm.load(page(index))?.lo)).toEqual([
      1,
      undefined,
      undefined,
      6,
    ]);
    mm.map({ start: page(2), end: page(4), allowed: RW });
    expect(mm.load(page(2))).toEqual(value(0));
  });

  test('protecting a part takes the write permission away at once, and gives it at the next write', () => {
    const { mm, heard } = made();
    mm.map({ start: page(0), end: page(4), allowed: RW });
    for (const index of [0, 1, 2]) mm.store(page(index), value(index + 1));
    mm.protect(page(1), page(2), RO);
    expect([heard, mm.store(page(1), value(9)), mm.load(page(1))]).toEqual([
      ['1-2'],
      false,
      value(2),
    ]);
    expect(mm.store(page(2), value(9))).toBe(true);
    mm.protect(page(1), page(2), RW);
    expect([mm.store(page(1), value(8)), mm.load(page(1))]).toEqual([true, value(8)]);
  });
});

test('the exit: notifiers hear of it while the tables stand, once; then all is given back', () => {
  const { mm, heard, frames, tableFrames } = made();
  mm.map({ start: page(0), end: page(4), allowed: RW });
  mm.store(page(0), value(1));
  mm.exit();
  mm.exit();
  expect([heard, frames.used, tableFrames.used]).toEqual([['release with 1'], 0, 0]);
  expect(mm.addNotifier({ invalidate() {}, release() {} })).toBe(-22);
});

test('the tables are those of an Arm CPU: 48 bits, 4 KiB, read back from memory', () => {
  const { memory, tableFrames } = made();
  const mmu = CpuMmu.create(memory, tableFrames);
  if (mmu === null) throw new Error('no tables');
  const { vaBits, pageSize, ips, haft, bbml2, asidBits } = mmu.tables;
  expect([vaBits, pageSize, ips, haft, bbml2, asidBits]).toEqual([48, 4096, 5, false, false, 16]);
  mmu.set(page(3), 0x4080_1000, { read: true, write: false, exec: true });
  expect(mmu.walk(page(3))).toEqual({ frame: 0x4080_1000, write: false, exec: true });
  mmu.clear(page(3));
  expect([mmu.walk(page(3)), mmu.set(page(3), 0x4080_2000, RW)]).toEqual([null, 0]);
  expect(mmu.walk(page(3))).toEqual({ frame: 0x4080_2000, write: true, exec: false });
});
