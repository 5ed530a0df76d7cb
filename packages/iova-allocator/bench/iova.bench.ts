import { SimClock } from '@iommukit/platform';
import { IOVA_PROFILES, IovaDomain } from '../src/index.ts';

const OPS = 4096;
const LIMIT32 = 0xfffff;

function domain(): IovaDomain {
  return new IovaDomain({
    granule: 4096,
    startPfn: 1,
    clock: new SimClock(),
    cpus: 2,
    profile: IOVA_PROFILES['7.3'],
  });
}

const stack = [LIMIT32];
const cached = domain();
cached.freeIovaFast(0, cached.allocIovaFast(0, 1, LIMIT32, 'flush'), 1);
const searched = domain();
for (let k = 0; k < 10_000; k++) searched.allocIova(1, LIMIT32, 'aligned');

export const cases: readonly {
  readonly name: string;
  readonly reference?: true;
  readonly ops: number;
  run(): number;
}[] = [
  {
    name: 'array pop + push',
    reference: true,
    ops: OPS,
    run() {
      let sum = 0;
      for (let k = 0; k < OPS; k++) {
        const pfn = stack.pop() ?? 0;
        sum += pfn;
        stack.push(pfn);
      }
      return sum;
    },
  },
  {
    name: 'allocIovaFast + freeIovaFast, cached',
    ops: OPS,
    run() {
      let sum = 0;
      for (let k = 0; k < OPS; k++) {
        const pfn = cached.allocIovaFast(0, 1, LIMIT32, 'flush');
        sum += pfn;
        cached.freeIovaFast(0, pfn, 1);
      }
      return sum;
    },
  },
  {
    name: '64 pages, tree of 10,000 ranges',
    ops: OPS,
    run() {
      let sum = 0;
      for (let k = 0; k < OPS; k++) {
        const pfn = searched.allocIovaFast(0, 64, LIMIT32, 'flush');
        sum += pfn;
        searched.freeIovaFast(0, pfn, 64);
      }
      return sum;
    },
  },
];
