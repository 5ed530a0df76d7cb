import { NonCoherentView, PhysicalMemory, SharedMemory } from '../src/index.ts';

const BASE = 0x4000_0000;
const SIZE = 0x4000;
const WORDS = SIZE / 8;
const plain = new Uint32Array(SIZE / 4);
const memory = new PhysicalMemory([{ base: BASE, size: SIZE }]);
const shared = new SharedMemory({ base: BASE, buffer: new SharedArrayBuffer(SIZE) });
const cached = new NonCoherentView(new PhysicalMemory([{ base: BASE, size: SIZE }]));

function byArray(): number {
  let sum = 0;
  for (let i = 0; i < plain.length; i += 2) {
    plain[i] = i;
    plain[i + 1] = 1;
  }
  for (let i = 0; i < plain.length; i += 2) sum += (plain[i] as number) + (plain[i + 1] as number);
  return sum;
}

// One function a view: a shared one would make every call site polymorphic.
function byMemory(): number {
  let sum = 0;
  for (let at = 0; at < SIZE; at += 8) memory.store64(BASE + at, at / 4, 1);
  for (let at = 0; at < SIZE; at += 8) sum += memory.load64(BASE + at) + memory.hi;
  return sum;
}

function byLanes(): number {
  let sum = 0;
  for (let page = 0; page < SIZE; page += 4096) {
    const lanes = memory.lanes(BASE + page) as Uint32Array;
    for (let i = 0; i < lanes.length; i += 2) {
      lanes[i] = page / 4 + i;
      lanes[i + 1] = 1;
    }
    for (let i = 0; i < lanes.length; i += 2)
      sum += (lanes[i] as number) + (lanes[i + 1] as number);
  }
  return sum;
}

function byShared(): number {
  let sum = 0;
  for (let at = 0; at < SIZE; at += 8) shared.store64(BASE + at, at / 4, 1);
  for (let at = 0; at < SIZE; at += 8) sum += shared.load64(BASE + at) + shared.hi;
  return sum;
}

function byCached(): number {
  let sum = 0;
  for (let at = 0; at < SIZE; at += 8) cached.store64(BASE + at, at / 4, 1);
  for (let at = 0; at < SIZE; at += 8) sum += cached.load64(BASE + at) + cached.hi;
  return sum;
}

const all = [byArray, byMemory, byLanes, byShared, byCached];
if (new Set(all.map((run) => run())).size !== 1) throw new Error('the cases differ');

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'store + load, typed array', reference: true, ops: WORDS, run: byArray },
  { name: 'store64 + load64, PhysicalMemory', ops: WORDS, run: byMemory },
  { name: 'store + load, lanes of a page', ops: WORDS, run: byLanes },
  { name: 'store64 + load64, SharedMemory', ops: WORDS, run: byShared },
  { name: 'store64 + load64, NonCoherentView', ops: WORDS, run: byCached },
];
