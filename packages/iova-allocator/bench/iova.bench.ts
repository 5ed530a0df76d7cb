import { SimClock } from '@iommukit/platform';
import { IOVA_PROFILES, IovaDomain, type IovaSearch } from '../src/index.ts';

const OPS = 4096;
const LIMIT32 = 0xfffff;

function domain(
  search: IovaSearch = 'linear',
  frees: 'trusted' | 'checked' = 'trusted',
): IovaDomain {
  return new IovaDomain({
    granule: 4096,
    startPfn: 1,
    clock: new SimClock(),
    cpus: 2,
    profile: IOVA_PROFILES['7.3'],
    search,
    checked: frees === 'checked',
  });
}

const stack = [LIMIT32];
const cached = domain();
cached.freeIovaFast(0, cached.allocIovaFast(0, 1, LIMIT32, 'flush'), 1);
const checkedFrees = domain('linear', 'checked');
checkedFrees.freeIovaFast(0, checkedFrees.allocIovaFast(0, 1, LIMIT32, 'flush'), 1);
const searched = domain();
const summed = domain('augmented');
for (let k = 0; k < 10_000; k++) {
  searched.allocIova(1, LIMIT32, 'aligned');
  summed.allocIova(1, LIMIT32, 'aligned');
}

function pairs(iovad: IovaDomain, size: number): number {
  let sum = 0;
  for (let k = 0; k < OPS; k++) {
    const pfn = iovad.allocIovaFast(0, size, LIMIT32, 'flush');
    sum += pfn;
    iovad.freeIovaFast(0, pfn, size);
  }
  return sum;
}

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
    run: () => pairs(cached, 1),
  },
  {
    name: 'the same, frees checked',
    ops: OPS,
    run: () => pairs(checkedFrees, 1),
  },
  {
    name: '64 pages, tree of 10,000 ranges, linear',
    ops: OPS,
    run: () => pairs(searched, 64),
  },
  {
    name: '64 pages, tree of 10,000 ranges, augmented',
    ops: OPS,
    run: () => pairs(summed, 64),
  },
];
