import type { SoakMachine, SoakRule } from '../src/index.ts';

/** Machines with one thing wrong, by wrapping what core calls or what the DMA layer calls. */
export const SOAK_DEFECTS: readonly {
  readonly name: string;
  readonly rules: readonly SoakRule[];
  readonly prepare: (on: SoakMachine) => void;
}[] = [
  {
    name: 'a strict domain does not invalidate',
    rules: ['reuse'],
    prepare: (on) => {
      on.device(0).dev.domain.ops.iotlbSync = () => {};
    },
  },
  {
    name: 'a flush queue frees without a flush',
    rules: ['reuse'],
    prepare: (on) => {
      on.device(3).dev.domain.ops.flushIotlbAll = () => {};
    },
  },
  {
    name: 'an unmap forgets its last page',
    rules: ['tables', 'reuse', 'result'],
    prepare: (on) => {
      const { ops } = on.device(0).dev.domain;
      const unmap = ops.unmapPages.bind(ops);
      ops.unmapPages = (iova, pgsize, pgcount, gather) =>
        unmap(iova, pgsize, Math.max(1, pgcount - 1), gather) + (pgcount > 1 ? pgsize : 0);
    },
  },
  {
    // Checking mode compares what a driver gives with the tables.
    name: 'a mapping is one page off',
    rules: ['threw'],
    prepare: (on) => {
      const { ops } = on.device(1).dev.domain;
      const map = ops.mapPages.bind(ops);
      ops.mapPages = (iova, paddr, pgsize, pgcount, prot) =>
        map(iova, paddr + 4096, pgsize, pgcount, prot);
    },
  },
  {
    name: 'caches are not invalidated for the CPU',
    rules: ['bytes'],
    prepare: (on) => {
      on.cpu.invalidate = () => {};
      on.cpu.clean = () => {};
    },
  },
  {
    name: 'bounce slots do not come back',
    rules: ['leak', 'debug', 'bytes'],
    prepare: (on) => {
      on.swiotlb.unmap = () => {};
    },
  },
  {
    name: 'IOVAs are given out twice',
    rules: ['reuse', 'leak'],
    prepare: (on) => {
      const iovad = on.device(0).dev.space?.iovad;
      if (iovad === undefined) throw new Error('no IOVA space');
      const alloc = iovad.allocIovaFast.bind(iovad);
      let last = 0;
      let calls = 0;
      iovad.allocIovaFast = (cpu, size, limit, flush) => {
        calls++;
        if (calls % 5 === 0 && last !== 0) return last;
        last = alloc(cpu, size, limit, flush);
        return last;
      };
    },
  },
];
