import { PASID_MAX, PasidAllocator } from '../src/index.ts';

const OPS = 4096;
const taken = new Set<number>();
const lowest = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
const cyclic = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'cyclic' });
const crowded = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
for (let i = 0; i < 4096; i++) crowded.alloc();

function pairs(pasids: PasidAllocator): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++) {
    const pasid = pasids.alloc();
    sum += pasid;
    pasids.free(pasid);
  }
  return sum;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'a Set, one id in use',
    reference: true,
    ops: OPS,
    run() {
      let sum = 0;
      for (let i = 0; i < OPS; i++) {
        let id = 1;
        while (taken.has(id)) id++;
        taken.add(id);
        sum += id;
        taken.delete(id);
      }
      return sum;
    },
  },
  { name: 'lowest', ops: OPS, run: () => pairs(lowest) },
  { name: 'cyclic', ops: OPS, run: () => pairs(cyclic) },
  { name: 'lowest, 4,096 ids in use below', ops: OPS, run: () => pairs(crowded) },
];
