import { CommandBatch } from '../src/command-batch.ts';
import { SYNC_WORDS } from '../src/sync-command.ts';
import { coherent, driver, memory } from './driver-rig.ts';

const ROUNDS = 256;
const batch = new CommandBatch();
batch.tlbiNhAsid(1);
const RING = coherent.alloc(0x10_0000);
let slot = 0;

function store(source: Uint32Array): void {
  const pa = RING + slot * 16;
  memory.store64(pa, source[0] as number, source[1] as number);
  memory.store64(pa + 8, source[2] as number, source[3] as number);
  slot = (slot + 1) % 0x1_0000;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain ring store: one command and SYNC',
    reference: true,
    ops: ROUNDS,
    run() {
      for (let i = 0; i < ROUNDS; i++) {
        store(batch.words);
        store(SYNC_WORDS);
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
];
