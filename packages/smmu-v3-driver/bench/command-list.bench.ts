import { CommandBatch } from '../src/command-batch.ts';
import { CommandQueue } from '../src/command-queue.ts';
import { SharedQueueWords } from '../src/index.ts';
import { queueWordsBytes } from '../src/queue-words.lanes.ts';
import { SYNC_WORDS } from '../src/sync-command.ts';
import { coherent, driver, memory, queueParts } from './driver-rig.ts';

const ROUNDS = 256;
const batch = new CommandBatch();
batch.tlbiNhAsid(1);
const full = new CommandBatch();
for (let i = 0; i < 63; i++) full.tlbiNhAsid(i + 1);
const RING = coherent.alloc(0x10_0000);
let slot = 0;
const words = new SharedQueueWords(new SharedArrayBuffer(queueWordsBytes(16)));
const between = new CommandQueue({ ...queueParts, base: RING, lg2: 16, words });

function store(source: Uint32Array, at: number): void {
  const pa = RING + slot * 16;
  memory.store64(pa, source[at] as number, source[at + 1] as number);
  memory.store64(pa + 8, source[at + 2] as number, source[at + 3] as number);
  slot = (slot + 1) % 0x1_0000;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain ring store: one command and SYNC',
    reference: true,
    ops: ROUNDS,
    run() {
      for (let i = 0; i < ROUNDS; i++) {
        store(batch.words, 0);
        store(SYNC_WORDS, 0);
      }
      return slot;
    },
  },
  {
    name: 'issue a list of one command with SYNC',
    ops: ROUNDS,
    run() {
      let errnos = 0;
      for (let i = 0; i < ROUNDS; i++) errnos += driver.cmdq.issueSync(batch);
      return errnos;
    },
  },
  {
    name: 'the same on words that workers share',
    ops: ROUNDS,
    run() {
      let errnos = 0;
      for (let i = 0; i < ROUNDS; i++) errnos += between.issueSync(batch);
      return errnos;
    },
  },
  {
    name: 'plain ring store: 63 commands and SYNC, each command',
    ops: 8 * 64,
    run() {
      for (let i = 0; i < 8; i++) {
        for (let at = 0; at < 63 * 4; at += 4) store(full.words, at);
        store(SYNC_WORDS, 0);
      }
      return slot;
    },
  },
  {
    name: 'issue a list of 63 commands with SYNC, each command',
    ops: 8 * 64,
    run() {
      let errnos = 0;
      for (let i = 0; i < 8; i++) errnos += driver.cmdq.issueSync(full);
      return errnos;
    },
  },
];
