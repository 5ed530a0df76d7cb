import { FrameAllocator } from '../src/index.ts';

const FRAMES = 1024;
const BASE = 0x4000_0000;
const frames = new FrameAllocator({ base: BASE, size: FRAMES * 4096 });
const taken: number[] = new Array(FRAMES).fill(0);
const stack: number[] = Array.from({ length: FRAMES }, (_, i) => BASE + (FRAMES - 1 - i) * 4096);

function byStack(): number {
  let sum = 0;
  for (let i = 0; i < FRAMES; i++) taken[i] = stack.pop() as number;
  for (let i = FRAMES - 1; i >= 0; i--) {
    const pa = taken[i] as number;
    sum += pa;
    stack.push(pa);
  }
  return sum;
}

function byAllocator(): number {
  let sum = 0;
  for (let i = 0; i < FRAMES; i++) taken[i] = frames.alloc(4096);
  for (let i = FRAMES - 1; i >= 0; i--) {
    const pa = taken[i] as number;
    sum += pa;
    frames.free(pa, 4096);
  }
  return sum;
}

if (byStack() !== byAllocator()) throw new Error('the cases differ');

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'alloc + free, private free list', reference: true, ops: FRAMES, run: byStack },
  { name: 'alloc + free, shared bitmap', ops: FRAMES, run: byAllocator },
];
