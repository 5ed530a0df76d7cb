import { parentPort, workerData } from 'node:worker_threads';
import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator, SharedMemory } from '@iommukit/platform';
import {
  arm64LpaeS1,
  IO_PGTABLE_PROFILES,
  IOMMU_READ,
  IOMMU_WRITE,
  type PageTableConfig,
} from '../src/index.ts';

/** What a worker is given. */
export interface WorkerTask {
  readonly base: number;
  readonly buffer: SharedArrayBuffer;
  readonly state: SharedArrayBuffer;
  readonly gate: SharedArrayBuffer;
  /** Address of the top table that both map into. */
  readonly top: number;
  /** 0 or 1. */
  readonly who: number;
  readonly rounds: number;
}

/** What it answers. */
export interface WorkerAnswer {
  /** Calls of `mapPages` and `unmapPages`. */
  readonly operations: number;
  readonly lookups: number;
  /** Calls with another result than expected, and pages that do not translate as mapped. */
  readonly wrong: number;
  /** Tables that lost the race for their entry and went back. */
  readonly lostRaces: number;
}

/** GiB regions in use, 2 MiB regions in each, pages that each worker maps in each of those. */
export const GIGAS = 2;
export const MEGAS = 4;
export const PAGES = 32;
export const PADDRS: readonly number[] = [0x10_0000_0000, 0x20_0000_0000];
const SPINS = 20_000;
const RW = IOMMU_READ + IOMMU_WRITE;

/** The configuration that every handle on the table has. */
export function sharedConfig(memory: SharedMemory, frames: FrameAllocator): PageTableConfig {
  return {
    pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
    ias: 48,
    oas: 48,
    coherentWalk: true,
    // Who unmaps a page that another has just unmapped is told so: that is part of the test.
    quirks: { noWarn: true },
    memory,
    frames,
    flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
    profile: IO_PGTABLE_PROFILES['7.3'],
  };
}

function work(task: WorkerTask): WorkerAnswer {
  const { base, buffer, state, who, top, rounds } = task;
  const memory = new SharedMemory({ base, buffer });
  const frames = new FrameAllocator({ base, size: buffer.byteLength, state });
  const table = arm64LpaeS1.attach(sharedConfig(memory, frames), top);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  const gate = new Int32Array(task.gate);
  let turn = 0;
  /** Both come here before either goes on. */
  const meet = (): void => {
    turn++;
    if (Atomics.add(gate, 0, 1) === 2 * turn - 1) {
      Atomics.store(gate, 1, turn);
      Atomics.notify(gate, 1);
      return;
    }
    // Who wakes from a wait is late for the race: look often before sleeping.
    for (let spin = 0; spin < SPINS && Atomics.load(gate, 1) < turn; spin++);
    while (Atomics.load(gate, 1) < turn) Atomics.wait(gate, 1, turn - 1, 1000);
  };
  let operations = 0;
  let lookups = 0;
  let wrong = 0;
  let dropped = 0;
  const regions: number[] = [];
  for (let giga = 0; giga < GIGAS; giga++)
    for (let mega = 0; mega < MEGAS; mega++) regions.push(giga * SZ_1G + mega * SZ_2M);
  for (let round = 0; round < rounds; round++) {
    const overlap = round % 3 === 2;
    const mine = PADDRS[who] as number;
    // All tables below the top are gone: both run into the same empty entries, one from the other end every other time.
    const order = round % 2 === 1 && who === 1 ? [...regions].reverse() : regions;
    meet();
    for (const region of order)
      for (let page = 0; page < PAGES; page++) {
        const slot = overlap ? page : 2 * page + who;
        const iova = region + slot * SZ_4K;
        const errno = table.mapPages(iova, mine + iova, SZ_4K, 1, RW);
        operations++;
        // Where both map the same page the later one may be refused; which of the two it is, is open.
        if (errno !== 0 && !(overlap && errno === -17)) wrong++;
      }
    meet();
    for (const region of regions)
      for (let slot = 0; slot < (overlap ? PAGES : 2 * PAGES); slot++) {
        const iova = region + slot * SZ_4K;
        const phys = table.iovaToPhys(iova) - iova;
        lookups++;
        if (overlap ? !PADDRS.includes(phys) : phys !== PADDRS[slot % 2]) wrong++;
      }
    meet();
    for (const region of order)
      for (let page = 0; page < PAGES; page++) {
        const slot = overlap ? page : 2 * page + who;
        if (overlap && page % 2 !== who) continue;
        operations++;
        if (table.unmapPages(region + slot * SZ_4K, SZ_4K, 1, null) !== SZ_4K) wrong++;
      }
    meet();
    if (who === 0) {
      const before = table.counters.tablesFreed;
      for (let giga = 0; giga < GIGAS; giga++) {
        operations++;
        if (table.unmapPages(giga * SZ_1G, SZ_1G, 1, null) !== SZ_1G) wrong++;
      }
      dropped += table.counters.tablesFreed - before;
    }
    meet();
  }
  return { operations, lookups, wrong, lostRaces: table.counters.tablesFreed - dropped };
}

if (parentPort !== null) parentPort.postMessage(work(workerData as WorkerTask));
