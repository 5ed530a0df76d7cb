import { Worker } from 'node:worker_threads';
import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  RangeGather,
} from '@iommukit/io-pgtable';
import { FrameAllocator, SharedMemory } from '@iommukit/platform';
import { MachineError } from '../machine.ts';
import { PROT, scat, X } from './setup.ts';

const BASE = 0x8000_0000;
const POOL = 0x80_0000;
/** Lists in one batch, one in every 2 MiB, so that each needs a table of its own; and their pages. */
const SLOTS = 512;
const PAGES = 16;
/** A reader that has not answered for so many waits of a second is gone. */
const PATIENCE = 100;

/**
 * Another walker, on its own: it shares no code with any other, and runs where no loader of ours does. As soon as one page of a list
 * translates it looks at all of them.
 */
const READER = `
const { workerData: { buffer, gate, base, top, batches, slots, pages, first } } = require('node:worker_threads');
const words = new BigUint64Array(buffer);
const turns = new Int32Array(gate);
function maps(iova) {
  let table = top;
  for (const span of [2 ** 39, 2 ** 30, 2 ** 21]) {
    const entry = Atomics.load(words, (table - base) / 8 + Math.floor(iova / span) % 512);
    if ((entry & 3n) !== 3n) return false;
    table = Number(entry & 0xfffffffff000n);
  }
  return (Atomics.load(words, (table - base) / 8 + Math.floor(iova / 4096) % 512) & 3n) === 3n;
}
for (let batch = 1; batch <= batches; batch++) {
  while (Atomics.load(turns, 0) < batch) Atomics.wait(turns, 0, batch - 1, 1000);
  for (let slot = 0; slot < slots; slot++) {
    const iova = first + slot * 2 ** 21;
    while (!maps(iova + (slot % pages) * 4096));
    let mapped = 0;
    for (let page = 0; page < pages; page++) if (maps(iova + page * 4096)) mapped++;
    Atomics.add(turns, 2, 1);
    if (mapped < pages) Atomics.add(turns, 3, 1);
  }
  Atomics.store(turns, 1, batch);
  Atomics.notify(turns, 1);
}
`;

/** Maps lists as ranges while a second thread walks the same tables: tables that it saw, and how many of them in part only. */
export function readWhileMapping(rounds: number): {
  readonly seen: number;
  readonly partial: number;
} {
  const buffer = new SharedArrayBuffer(POOL);
  const state = new SharedArrayBuffer(FrameAllocator.stateBytes(POOL));
  const gate = new SharedArrayBuffer(16);
  const turns = new Int32Array(gate);
  const memory = new SharedMemory({ base: BASE, buffer });
  const frames = new FrameAllocator({ base: BASE, size: POOL, state });
  const table = createPageTable(arm64LpaeS1, {
    pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
    ias: 48,
    oas: 48,
    coherentWalk: true,
    memory,
    frames,
    flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
    profile: IO_PGTABLE_PROFILES['7.3'],
  });
  if (typeof table === 'number') throw new MachineError('NOT_BOOTED', { what: 'no page table' });
  const batches = Math.ceil(rounds / SLOTS);
  const task = { buffer, gate, base: BASE, top: table.base, batches };
  const worker = new Worker(READER, {
    eval: true,
    execArgv: [],
    workerData: { ...task, slots: SLOTS, pages: PAGES, first: X },
  });
  worker.unref();
  const runs = scat(PAGES);
  const pending = new RangeGather();
  for (let batch = 1; batch <= batches; batch++) {
    Atomics.store(turns, 0, batch);
    Atomics.notify(turns, 0);
    for (let slot = 0; slot < SLOTS; slot++) table.mapRange(X + slot * SZ_2M, runs, PROT);
    // The reader is done with the batch, as a device is after a completed invalidation.
    for (let waits = 0; Atomics.load(turns, 1) < batch; waits++) {
      if (waits === PATIENCE)
        throw new MachineError('NOT_BOOTED', { what: 'the second thread does not answer' });
      Atomics.wait(turns, 1, batch - 1, 1000);
    }
    table.unmapRange(X, SZ_1G, pending);
    pending.releaseDetached(table);
  }
  return { seen: Atomics.load(turns, 2), partial: Atomics.load(turns, 3) };
}
