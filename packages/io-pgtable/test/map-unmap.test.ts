import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import {
  ERRNO,
  type MemoryView,
  NonCoherentView,
  observeView,
  SharedMemory,
} from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  arm64LpaeS1,
  createPageTable,
  forEachLeaf,
  GeometryError,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
} from '../src/index.ts';
import { BASE, leafOf, POOL, rig } from './rig.lanes.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const PA = 0x4_8000_0000;

describe('leaf values', () => {
  // Expected words: the facts' examples (0xf47, read-only adds 0x80, MMIO 0xe4b) and the doorbell of the captures.
  const rows = [
    { name: 'read write cache', prot: RW + IOMMU_CACHE, expected: '0x480000f47' },
    { name: 'read cache', prot: IOMMU_READ + IOMMU_CACHE, expected: '0x480000fc7' },
    { name: 'write only can be read', prot: IOMMU_WRITE + IOMMU_CACHE, expected: '0x480000f47' },
    { name: 'read write mmio', prot: RW + IOMMU_MMIO, expected: '0x480000e4b' },
    {
      name: 'mmio beats cache, inner shareable',
      prot: RW + IOMMU_MMIO + IOMMU_CACHE,
      expected: '0x480000f4b',
    },
    { name: 'not cached', prot: RW, expected: '0x480000e43' },
    { name: 'privileged', prot: RW + IOMMU_CACHE + IOMMU_PRIV, expected: '0x480000f07' },
    { name: 'no execute', prot: RW + IOMMU_CACHE + IOMMU_NOEXEC, expected: '0x60000480000f47' },
    {
      name: 'MSI doorbell',
      prot: IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO,
      expected: '0x60000480000e4b',
    },
  ];
  for (const { name, prot, expected } of rows)
    test(name, () => {
      const { table } = rig();
      expect(table.mapPages(0x1000, PA, SZ_4K, 1, prot)).toBe(0);
      expect(leafOf(table, 0x1000)).toBe(expected);
    });

  test('blocks are type 1, dirty tracking adds DBM to writable leaves only, ns sets bit 5', () => {
    const { table } = rig(() => ({ quirks: { hd: true, ns: true } }));
    table.mapPages(0, SZ_1G, SZ_1G, 1, RW + IOMMU_CACHE);
    table.mapPages(SZ_1G, SZ_2M, SZ_2M, 1, IOMMU_READ + IOMMU_CACHE);
    expect(leafOf(table, 0)).toBe('0x8000040000f65');
    expect(leafOf(table, SZ_1G)).toBe('0x200fe5');
  });
});

describe('ranges', () => {
  test('last page of the address space', () => {
    const { table } = rig();
    const iova = 2 ** 48 - SZ_4K;
    expect(table.mapPages(iova, PA, SZ_4K, 8, RW)).toBe(0);
    expect(table.mapped).toBe(SZ_4K);
    expect(table.iovaToPhys(2 ** 48 - 1)).toBe(PA + 0xfff);
    expect(table.unmapPages(iova, SZ_4K, 8, null)).toBe(SZ_4K);
    expect(table.iovaToPhys(iova)).toBe(0);
  });

  test('upper half through TTBR1', () => {
    const { table, warnings, memory } = rig(() => ({ quirks: { ttbr1: true } }));
    expect(table.registers.tcr.tg).toBe(2);
    const iova = 2 ** 64 - 2 ** 48;
    const last = 2 ** 64 - SZ_4K;
    expect(table.mapPages(iova, PA, SZ_4K, 1, RW)).toBe(0);
    expect(table.mapPages(last, PA + SZ_4K, SZ_4K, 1, RW)).toBe(0);
    expect(table.mapPages(0x1000, PA, SZ_4K, 1, RW)).toBe(-ERRNO.ERANGE);
    expect(table.unmapPages(0x1000, SZ_4K, 1, null)).toBe(0);
    expect(warnings).toHaveLength(2);
    const last64 = table.iovaToPhys64({ lo: 0xffff_ffff, hi: 0xffff_ffff });
    expect(last64.hi * 2 ** 32 + last64.lo).toBe(PA + 0x1fff);
    const leaves: number[] = [];
    forEachLeaf(memory, table.shape, ({ iova: at }) => leaves.push(at));
    expect(leaves).toEqual([iova, last]);
  });

  const refused = [
    { name: 'iova', args: [2 ** 48, PA, SZ_4K, RW], errno: -ERRNO.ERANGE, warns: 1 },
    { name: 'paddr', args: [0, 2 ** 48, SZ_4K, RW], errno: -ERRNO.ERANGE, warns: 1 },
    { name: 'page size', args: [0, PA, 0x4000, RW], errno: -ERRNO.EINVAL, warns: 1 },
    { name: 'page size zero', args: [0, PA, 0, RW], errno: -ERRNO.EINVAL, warns: 1 },
    { name: 'two page sizes', args: [0, PA, SZ_2M + SZ_4K, RW], errno: -ERRNO.EINVAL, warns: 1 },
    {
      name: 'no direction, silently',
      args: [0, PA, SZ_4K, IOMMU_CACHE],
      errno: -ERRNO.EINVAL,
      warns: 0,
    },
  ] as const;
  for (const { name, args, errno, warns } of refused)
    test(`map refuses ${name}`, () => {
      const { table, warnings } = rig();
      const [iova, paddr, pgsize, prot] = args;
      expect(table.mapPages(iova, paddr, pgsize, 1, prot)).toBe(errno);
      expect([table.mapped, table.warnings, warnings.length]).toEqual([0, warns, warns]);
    });

  test('one call fills one table at most', () => {
    const { table } = rig();
    expect(table.mapPages(510 * SZ_4K, PA, SZ_4K, 512, RW)).toBe(0);
    expect(table.mapped).toBe(2 * SZ_4K);
  });

  test('addresses carry into the high lane inside a run', () => {
    const { table } = rig();
    const paddr = 0x5_0000_0000 - 3 * SZ_4K;
    table.mapPages(0, paddr, SZ_4K, 8, RW);
    for (let i = 0; i < 8; i++) expect(table.iovaToPhys(i * SZ_4K)).toBe(paddr + i * SZ_4K);
  });
});

describe('configuration', () => {
  test('register values', () => {
    const { table } = rig();
    expect(table.registers.tcr).toEqual({ tg: 0, tsz: 16, irgn: 1, orgn: 1, sh: 3, ips: 5 });
    expect(table.registers.mair).toEqual({ lo: 0xf404ff44, hi: 0xffffffff });
    expect(table.registers.ttbr).toBe(BASE);
  });

  const rows = [
    { name: 'no page size', change: { pgsizeBitmap: 0 } },
    { name: 'output size between the encodings', change: { oas: 38 } },
    { name: 'outer cache wish with coherent walks', change: { quirks: { outerWbwa: true } } },
  ];
  for (const { name, change } of rows)
    test(`refused: ${name}`, () => {
      const { config, frames } = rig();
      const used = frames.used;
      expect(createPageTable(arm64LpaeS1, { ...config, ...change })).toBe(-ERRNO.EINVAL);
      expect(frames.used).toBe(used);
    });

  test('no frame for the top table', () => {
    const { config, frames } = rig();
    frames.failIn = 1;
    expect(createPageTable(arm64LpaeS1, config)).toBe(-ERRNO.ENOMEM);
  });

  test('an input size without index bits is misuse', () => {
    const { config } = rig();
    expect(() => createPageTable(arm64LpaeS1, { ...config, ias: 12 })).toThrow(GeometryError);
  });
});

describe('failures', () => {
  for (const k of [1, 2, 3])
    test(`no frame at allocation ${k}: nothing mapped, nothing leaks`, () => {
      const { table, frames } = rig();
      frames.failIn = k;
      expect(table.mapPages(0x1000, PA, SZ_4K, 4, RW)).toBe(-ERRNO.ENOMEM);
      expect(table.mapped).toBe(0);
      expect(frames.used).toBe(k);
      expect(table.mapPages(0x1000, PA, SZ_4K, 4, RW)).toBe(0);
      table.free();
      expect(frames.leakReport().frames).toBe(0);
    });

  test('EEXIST in mid-batch writes no leaf', () => {
    const { table, warnings, memory } = rig();
    table.mapPages(5 * SZ_4K, PA, SZ_4K, 1, RW);
    expect(table.mapPages(0, PA, SZ_4K, 16, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(0);
    const leaves: number[] = [];
    forEachLeaf(memory, table.shape, ({ iova }) => leaves.push(iova));
    expect(leaves).toEqual([5 * SZ_4K]);
    expect(warnings).toHaveLength(1);
  });

  test('EEXIST after a table in the batch: the table is gone already', () => {
    const { table, calls, frames } = rig();
    table.mapPages(0x1000, PA, SZ_4K, 1, RW);
    table.mapPages(2 * SZ_2M, SZ_2M, SZ_2M, 1, RW);
    const used = frames.used;
    expect(table.mapPages(0, SZ_1G, SZ_2M, 4, RW)).toBe(-ERRNO.EEXIST);
    expect(calls).toEqual([{ op: 'walk', iova: 0, size: SZ_2M, granule: SZ_4K }]);
    expect(frames.used).toBe(used - 1);
    expect(leafOf(table, 0x1000)).toBe('none');
    expect(leafOf(table, 0)).toBe('none');
  });

  test('noWarn silences conflicts and holes only', () => {
    const { table } = rig(() => ({ quirks: { noWarn: true } }));
    table.mapPages(0, PA, SZ_4K, 1, RW);
    expect(table.mapPages(0, PA, SZ_4K, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(table.unmapPages(SZ_4K, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(0);
    expect(table.unmapPages(2 ** 48, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(1);
  });
});

describe('unmap and gather', () => {
  test('one call for consecutive leaves; none without a gather or with a queued one', () => {
    const { table, calls } = rig();
    table.mapPages(0, PA, SZ_4K, 12, RW);
    const gather = new IotlbGather();
    expect(table.unmapPages(0, SZ_4K, 4, gather)).toBe(4 * SZ_4K);
    expect([gather.start, gather.end]).toEqual([0, 4 * SZ_4K]);
    expect(table.unmapPages(4 * SZ_4K, SZ_4K, 4, null)).toBe(4 * SZ_4K);
    gather.queued = true;
    expect(table.unmapPages(8 * SZ_4K, SZ_4K, 4, gather)).toBe(4 * SZ_4K);
    expect(calls).toEqual([{ op: 'page', iova: 0, granule: SZ_4K, count: 4 }]);
  });

  test('stops at a hole with a warning', () => {
    const { table, warnings } = rig();
    table.mapPages(0, PA, SZ_4K, 3, RW);
    expect(table.unmapPages(0, SZ_4K, 8, null)).toBe(3 * SZ_4K);
    expect(warnings).toHaveLength(1);
  });

  const walk = { op: 'walk', iova: SZ_2M, size: SZ_2M, granule: SZ_4K };
  const rows = [
    {
      version: '6.1',
      expected: [
        { op: 'page', iova: 0, granule: SZ_2M, count: 1 },
        walk,
        { op: 'page', iova: 2 * SZ_2M, granule: SZ_2M, count: 1 },
      ],
    },
    { version: '6.12', expected: [walk, { op: 'page', iova: 0, granule: SZ_2M, count: 3 }] },
    { version: '7.2', expected: [walk, { op: 'page', iova: 0, granule: SZ_2M, count: 3 }] },
    { version: '7.3', expected: [walk, { op: 'page', iova: 0, granule: SZ_2M, count: 3 }] },
  ] as const;
  for (const { version, expected } of rows)
    test(`block, table, block as ${version}`, () => {
      const { table, calls, frames } = rig(() => ({ profile: IO_PGTABLE_PROFILES[version] }));
      table.mapPages(0, SZ_1G, SZ_2M, 1, RW);
      table.mapPages(SZ_2M, PA, SZ_4K, 512, RW);
      table.mapPages(2 * SZ_2M, SZ_1G, SZ_2M, 1, RW);
      const used = frames.used;
      expect(table.unmapPages(0, SZ_2M, 3, new IotlbGather())).toBe(3 * SZ_2M);
      expect(calls).toEqual(expected);
      expect(frames.used).toBe(used - 1);
    });

  test('part of a block: refused since 6.12', () => {
    const { table, warnings } = rig();
    table.mapPages(0, SZ_1G, SZ_2M, 1, RW);
    expect(table.unmapPages(0x3000, SZ_4K, 2, new IotlbGather())).toBe(0);
    expect(warnings).toEqual(['Unmap of a partial large IOPTE is not allowed']);
    expect(table.iovaToPhys(0x3000)).toBe(SZ_1G + 0x3000);
  });

  for (const coherentWalk of [true, false])
    test(`part of a block: split in 6.1, ${coherentWalk ? '' : 'non-'}coherent`, () => {
      const { table, warnings, calls, frames, memory } = rig(({ memory }) => ({
        coherentWalk,
        memory: coherentWalk ? memory : new NonCoherentView(memory),
        profile: IO_PGTABLE_PROFILES['6.1'],
      }));
      table.mapPages(0, SZ_1G, SZ_1G, 1, RW + IOMMU_CACHE + IOMMU_NOEXEC);
      expect(table.unmapPages(0x3000, SZ_4K, 2, new IotlbGather())).toBe(2 * SZ_4K);
      expect(calls).toEqual([{ op: 'page', iova: 0x3000, granule: SZ_4K, count: 2 }]);
      expect(
        [0x2000, 0x3000, 0x4000, 0x5000, SZ_2M, SZ_1G - 1].map((iova) => table.iovaToPhys(iova)),
      ).toEqual([SZ_1G + 0x2000, 0, 0, SZ_1G + 0x5000, SZ_1G + SZ_2M, SZ_1G + SZ_1G - 1]);
      expect(leafOf(table, 0x2000)).toBe('0x60000040002f47');
      expect(leafOf(table, SZ_2M)).toBe('0x60000040200f45');
      expect(warnings).toEqual([]);
      // The device's side of memory agrees: root, level 1, level 2, level 3.
      let at = table.registers.ttbr;
      for (const index of [0, 0, 0, 2]) {
        const lo = memory.load64(at + index * 8);
        at = (memory.hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
      }
      expect(at).toBe(SZ_1G + 0x2000);
      table.free();
      expect(frames.leakReport().frames).toBe(0);
    });

  test('split without a frame unmaps nothing', () => {
    const { table, frames } = rig(() => ({ profile: IO_PGTABLE_PROFILES['6.1'] }));
    table.mapPages(0, SZ_1G, SZ_2M, 1, RW);
    frames.failIn = 1;
    expect(table.unmapPages(0, SZ_4K, 1, null)).toBe(0);
    expect(table.iovaToPhys(0)).toBe(SZ_1G);
  });

  test('free invalidates everything before it gives tables back', () => {
    const { table, calls, frames } = rig();
    for (let i = 0; i < 8; i++) table.mapPages(i * SZ_1G, PA, SZ_4K, 4, RW);
    table.free();
    expect(calls).toEqual([{ op: 'all' }]);
    expect(frames.leakReport()).toEqual({ frames: 0, first: [] });
  });
});

describe('dirty tracking', () => {
  test('reports written leaves once; a hole ends it with an error', () => {
    const { table } = rig(() => ({ quirks: { hd: true } }));
    table.mapPages(0, PA, SZ_4K, 2, RW);
    table.mapPages(SZ_4K * 2, PA, SZ_4K, 1, IOMMU_READ);
    const seen: number[] = [];
    const record = (iova: number, bytes: number): void => void seen.push(iova, bytes);
    expect(table.readAndClearDirty(0, 3 * SZ_4K, { noClear: true }, record)).toBe(0);
    expect(table.readAndClearDirty(0, 3 * SZ_4K, { noClear: false }, record)).toBe(0);
    expect(seen).toEqual([0, SZ_4K, SZ_4K, SZ_4K, 0, SZ_4K, SZ_4K, SZ_4K]);
    expect(table.readAndClearDirty(0, 4 * SZ_4K, { noClear: false }, record)).toBe(-ERRNO.EINVAL);
    expect(seen).toHaveLength(8);
    expect(table.readAndClearDirty(0, 0, { noClear: false }, record)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(1);
  });
});

describe('memory', () => {
  test('a lost race for an empty entry: our table is freed, the winner is used', () => {
    let raced = 0;
    const { table, frames } = rig(({ memory, frames }) => {
      const view: MemoryView = observeView(memory, { onStore() {} });
      return {
        memory: {
          ...view,
          get hi() {
            return memory.hi;
          },
          cas64(pa, oldLo, oldHi, lo, hi) {
            if (raced++ === 0) {
              const winner = frames.alloc(SZ_4K);
              memory.zero(winner, SZ_4K);
              memory.store64(pa, (winner % 2 ** 32) + 3, Math.floor(winner / 2 ** 32));
            }
            return memory.cas64(pa, oldLo, oldHi, lo, hi);
          },
        },
      };
    });
    expect(table.mapPages(0, PA, SZ_4K, 1, RW)).toBe(0);
    expect(table.iovaToPhys(0)).toBe(PA);
    expect(raced).toBe(3);
    expect(frames.used).toBe(4);
    table.free();
    expect(frames.leakReport().frames).toBe(0);
  });

  for (const coherentWalk of [true, false])
    test(`no store makes a half-built table reachable, ${coherentWalk ? '' : 'non-'}coherent`, () => {
      let checks = 0;
      let root = -1;
      const { table } = rig(({ memory, frames }) => {
        // Frames that hold garbage, so that a table linked before it was zeroed is seen.
        for (let pa = BASE; pa < BASE + 64 * SZ_4K; pa += 8)
          memory.store64(pa, 0xffff_ffff, 0xffff_ffff);
        const scan = (pa: number, level: number): void => {
          for (let i = 0; i < 512; i++) {
            const lo = memory.load64(pa + i * 8);
            const hi = memory.hi;
            if ((lo | hi) === 0) continue;
            const address = (hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
            if (level < 3 && (lo & 3) === 3) {
              if (!frames.isAllocated(address))
                throw new Error(`level ${level} points to a free frame`);
              scan(address, level + 1);
            } else if (address < PA || address >= PA + SZ_1G || (lo & 0xfff) === 0xfff)
              throw new Error(`level ${level} entry ${i} is garbage`);
          }
        };
        const observed = observeView(memory, {
          onStore() {
            if (root < 0) return;
            checks++;
            scan(root, 0);
          },
        });
        return { coherentWalk, memory: coherentWalk ? observed : new NonCoherentView(observed) };
      });
      root = table.registers.ttbr;
      table.mapPages(0x1000, PA, SZ_4K, 20, RW);
      table.mapPages(SZ_2M, PA, SZ_4K, 4, RW);
      table.mapPages(0, PA, SZ_2M, 2, RW);
      table.unmapPages(0, SZ_2M, 2, new IotlbGather());
      expect(checks).toBeGreaterThan(20);
    });

  test('non-coherent: cleans of whole tables, of linking entries and of leaves; the device sees the result', () => {
    let cpu: NonCoherentView | undefined;
    const { table, memory } = rig(({ memory }) => {
      cpu = new NonCoherentView(memory);
      return { coherentWalk: false, memory: cpu };
    });
    const view = cpu as NonCoherentView;
    expect(table.registers.tcr).toEqual({ tg: 0, tsz: 16, irgn: 0, orgn: 0, sh: 2, ips: 5 });
    expect(view.cleanCalls).toBe(1);
    table.mapPages(0, PA, SZ_4K, 16, RW);
    // Three tables, three entries that link them, one run of leaves.
    expect(view.cleanCalls).toBe(1 + 3 + 3 + 1);
    expect(view.cleanLines).toBe(64 + 3 * 64 + 3 + 2);
    // Entries marked as clean are not cleaned again.
    table.mapPages(0x1_0000, PA, SZ_4K, 1, RW);
    expect(view.cleanCalls).toBe(9);
    table.unmapPages(0, SZ_4K, 16, null);
    expect(view.cleanCalls).toBe(10);
    // The mark is bit 55 of the CPU's copy of the entry only.
    view.load64(table.registers.ttbr);
    expect(view.hi & 0x80_0000).toBe(0x80_0000);
    memory.load64(table.registers.ttbr);
    expect(memory.hi & 0x80_0000).toBe(0);
  });

  test('shared memory gives the same tables as private memory', () => {
    const ours = rig();
    const shared = new SharedMemory({ base: BASE, buffer: new SharedArrayBuffer(POOL / 16) });
    const theirs = rig(() => ({ memory: shared }));
    for (const { table } of [ours, theirs]) {
      table.mapPages(0x8000, PA, SZ_4K, 300, RW + IOMMU_CACHE);
      table.mapPages(SZ_1G, SZ_1G, SZ_2M, 9, RW);
      table.unmapPages(0x9000, SZ_4K, 100, null);
    }
    for (let pa = BASE; pa < BASE + 5 * SZ_4K; pa += 8)
      expect([shared.load64(pa), shared.hi]).toEqual([ours.memory.load64(pa), ours.memory.hi]);
  });
});
