import { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { PhysicalMemory, SimPlatform } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyBytes, zeroBytes } from '../src/byte-copy.lanes.ts';
import {
  DMA_MAPPING_ERROR,
  DmaDevice,
  type DmaDirection,
  Swiotlb,
  type SwiotlbGrowth,
  type SwiotlbOptions,
} from '../src/index.ts';

const RAM = 0x4000_0000;
const POOL = 0x4100_0000;
const MIB = 0x10_0000;

function byteAt(memory: PhysicalMemory, at: number): number {
  return (memory.load32(at - (at % 4)) >>> ((at % 4) * 8)) & 0xff;
}

function put(memory: PhysicalMemory, at: number, bytes: readonly number[]): void {
  bytes.forEach((byte, i) => {
    const word = at + i - ((at + i) % 4);
    const shift = ((at + i) % 4) * 8;
    memory.store32(word, (memory.load32(word) & ~(0xff << shift)) | (byte << shift));
  });
}

function get(memory: PhysicalMemory, at: number, count: number): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) bytes.push(byteAt(memory, at + i));
  return bytes;
}

function pattern(seed: number, count: number): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) bytes.push((seed * 31 + i * 7 + (i >> 8)) & 0xff);
  return bytes;
}

function rig(options: Partial<SwiotlbOptions> = {}) {
  const memory = new PhysicalMemory([{ base: RAM, size: 64 * MIB }]);
  const platform = new SimPlatform();
  const printed: string[] = [];
  const swiotlb = new Swiotlb({
    memory,
    platform,
    base: POOL,
    size: MIB,
    cpus: 4,
    print: (text) => printed.push(text),
    ...options,
  });
  return { memory, platform, printed, swiotlb };
}

function device(minAlignMask = 0, segBoundary = 2 ** 64, dmaBits = 64): DmaDevice {
  const domain = new IommuDomain({
    type: 'identity',
    ops: {} as IommuDomain['ops'],
    pgsizeBitmap: 0,
    apertureStart: 0,
    apertureEnd: 2 ** 48,
  });
  return new DmaDevice(new IommuDevice({ name: 'd', ids: [1], groupKey: 'd' }), domain, null, {
    dmaBits,
    coherentDmaBits: 64,
    coherent: true,
    minAlignMask,
    segBoundary,
  });
}

function request(paddr: number, size: number, dev = device(), allocAlignMask = 0) {
  return { device: dev, paddr, size, allocAlignMask, dir: 'TO_DEVICE' as DmaDirection };
}

describe('bytes', () => {
  it('a copy moves every byte, at any alignment, and leaves the others', () => {
    fc.assert(
      fc.property(fc.nat(7), fc.nat(7), fc.nat(70), (to, from, count) => {
        const memory = new PhysicalMemory([{ base: RAM, size: 0x4000 }]);
        put(memory, RAM + 0xfe0, pattern(1, 128));
        put(memory, RAM + 0x2fe0, pattern(2, 128));
        const source = RAM + 0xff0 + from;
        const target = RAM + 0x2ff0 + to;
        const before = get(memory, RAM + 0x2fe0, 128);
        const moved = get(memory, source, count);
        copyBytes(memory, target, source, count);
        before.splice(0x10 + to, count, ...moved);
        expect(get(memory, RAM + 0x2fe0, 128)).toEqual(before);
        zeroBytes(memory, target, count);
        before.splice(0x10 + to, count, ...moved.map(() => 0));
        expect(get(memory, RAM + 0x2fe0, 128)).toEqual(before);
      }),
    );
  });

  it('the last bytes of memory are copied without a look behind them', () => {
    const memory = new PhysicalMemory([{ base: RAM, size: 0x2000 }]);
    put(memory, RAM + 0x1ffd, [1, 2, 3]);
    copyBytes(memory, RAM + 0x101, RAM + 0x1ffd, 3);
    expect(get(memory, RAM + 0x100, 5)).toEqual([0, 1, 2, 3, 0]);
  });
});

describe('slots', () => {
  it('a slot has 2 KiB; buffers follow each other in an area; freed ones are found again after the others', () => {
    const { swiotlb } = rig({ cpus: 1 });
    const a = swiotlb.map(request(RAM + 0x123, 100));
    const b = swiotlb.map(request(RAM + 0x123, 2048));
    const c = swiotlb.map(request(RAM + 0x123, 2049));
    expect([a, b, c]).toEqual([POOL, POOL + 0x800, POOL + 0x1000]);
    expect(swiotlb.report()).toMatchObject({ usedSlots: 4, highWater: 4, slots: 512, maps: 3 });
    swiotlb.unmap(b, 2048, 'TO_DEVICE');
    expect(swiotlb.map(request(RAM, 2048))).toBe(POOL + 0x2000);
    expect(swiotlb.report()).toMatchObject({ usedSlots: 4, highWater: 4 });
  });

  it.each([
    { cpu: 0, first: POOL },
    { cpu: 1, first: POOL + MIB / 4 },
    { cpu: 3, first: POOL + (3 * MIB) / 4 },
    { cpu: 5, first: POOL + MIB / 4 },
  ])('CPU $cpu searches its own area first', ({ cpu, first }) => {
    const { swiotlb, platform } = rig();
    platform.cpu = cpu;
    expect(swiotlb.map(request(RAM, 1))).toBe(first);
  });

  it('a full area hands over to the next, and around', () => {
    const { swiotlb, platform } = rig();
    platform.cpu = 3;
    // An area is one segment here: 128 slots.
    expect(swiotlb.map(request(RAM, 0x4_0000))).toBe(POOL + 0xc_0000);
    expect(swiotlb.map(request(RAM, 0x4_0000))).toBe(POOL);
    expect(swiotlb.map(request(RAM, 1))).toBe(POOL + 0x4_0000);
  });

  it.each([
    { size: 0x1000, cpus: 4, areas: 1 },
    { size: 0x4_0000, cpus: 4, areas: 1 },
    { size: 0x8_0000, cpus: 3, areas: 2 },
    { size: MIB, cpus: 3, areas: 4 },
  ])('$size bytes for $cpus CPUs are $areas areas', ({ size, cpus, areas }) => {
    const { swiotlb, platform } = rig({ size, cpus });
    const firsts = new Set<number>();
    for (let cpu = 0; cpu < 8; cpu++) {
      platform.cpu = cpu;
      const slot = swiotlb.map(request(RAM, 1));
      firsts.add(Math.floor((slot - POOL) / (size / areas)));
      swiotlb.unmap(slot, 1, 'TO_DEVICE');
    }
    expect(firsts.size).toBe(areas);
  });

  it('a buffer never crosses a segment of 128 slots, so 256 KiB is the longest', () => {
    const { swiotlb } = rig({ cpus: 1 });
    swiotlb.map(request(RAM, 100 * 2048));
    expect(swiotlb.map(request(RAM, 60 * 2048))).toBe(POOL + 128 * 2048);
    expect(swiotlb.maxMappingSize).toBe(256 * 1024);
    expect(swiotlb.map(request(RAM, 256 * 1024 + 1))).toBe(DMA_MAPPING_ERROR);
  });

  it.each([
    { name: 'none: nothing is kept', mask: 0, align: 0, paddr: RAM + 0x234, low: 0 },
    { name: 'none, granule: the start', mask: 0, align: 0xfff, paddr: RAM + 0x234, low: 0 },
    { name: '4095: 12 bits', mask: 0xfff, align: 0xfff, paddr: RAM + 0xa34, low: 0xa34 },
    { name: '4095 alone', mask: 0xfff, align: 0, paddr: RAM + 0xa34, low: 0xa34 },
    { name: '511: 9 bits', mask: 0x1ff, align: 0xfff, paddr: RAM + 0xa34, low: 0x034 },
    { name: '64 KiB granule', mask: 0xfff, align: 0xffff, paddr: RAM + 0x5a34, low: 0x0a34 },
  ])('minimum alignment mask $name', ({ mask, align, paddr, low }) => {
    const { swiotlb, memory } = rig({ cpus: 1 });
    put(memory, paddr, pattern(3, 600));
    swiotlb.map(request(RAM, 1));
    const slot = swiotlb.map(request(paddr, 600, device(mask), align));
    expect(slot % (Math.max(mask, align) + 1)).toBe(low);
    expect(get(memory, slot, 600)).toEqual(pattern(3, 600));
    expect(swiotlb.owns(slot)).toBe(true);
    swiotlb.unmap(slot, 600, 'TO_DEVICE');
    expect([swiotlb.owns(slot), swiotlb.report().usedSlots]).toEqual([false, 1]);
  });

  it('without any mask, a page or more begins at a page; less at any slot', () => {
    const { swiotlb } = rig({ cpus: 1 });
    swiotlb.map(request(RAM, 1));
    expect(swiotlb.map(request(RAM, 4095))).toBe(POOL + 0x800);
    expect(swiotlb.map(request(RAM, 4096)) % 4096).toBe(0);
  });

  it('a slot that alignment skipped stays one free slot, not the start of a longer run', () => {
    const { swiotlb } = rig({ cpus: 1, size: 0x4_0000 });
    swiotlb.map(request(RAM, 1));
    expect(swiotlb.map(request(RAM, 4096))).toBe(POOL + 0x1000);
    const rest = swiotlb.map(request(RAM, 124 * 2048));
    swiotlb.unmap(rest, 124 * 2048, 'TO_DEVICE');
    expect(swiotlb.map(request(RAM, 4095))).toBe(POOL + 0x2000);
    swiotlb.map(request(RAM, 122 * 2048));
    expect(swiotlb.map(request(RAM, 2048))).toBe(POOL + 0x800);
  });

  it('no buffer crosses the segment boundary of its device', () => {
    const { swiotlb } = rig({ cpus: 1 });
    const dev = device(0, 0x4000);
    const slots = Array.from({ length: 40 }, () => swiotlb.map(request(RAM, 3 * 2048, dev)));
    for (const slot of slots)
      expect(Math.floor(slot / 0x4000)).toBe(Math.floor((slot + 3 * 2048 - 1) / 0x4000));
    expect(swiotlb.map(request(RAM, 0x4001, dev))).toBe(DMA_MAPPING_ERROR);
  });

  it('a full buffer says so in the words of the kernel, unless it was asked not to', () => {
    const { swiotlb, printed } = rig({ cpus: 1, size: 0x4_0000 });
    const big = swiotlb.map(request(RAM, 127 * 2048));
    expect(swiotlb.map(request(RAM, 4097, device(), 0xfff))).toBe(DMA_MAPPING_ERROR);
    swiotlb.map({ ...request(RAM, 524_288), attrs: { noWarn: true } });
    swiotlb.map(request(RAM, 524_288));
    expect(printed).toEqual([
      'swiotlb buffer is full (sz: 8192 bytes), total 128 (slots), used 127 (slots)',
      'swiotlb buffer is full (sz: 524288 bytes), total 128 (slots), used 127 (slots)',
    ]);
    expect(swiotlb.report()).toMatchObject({ refused: 3, highWater: 127 });
    swiotlb.unmap(big, 127 * 2048, 'TO_DEVICE');
    expect(swiotlb.map(request(RAM, 128 * 2048))).toBe(POOL);
  });

  it('an alignment beyond the page is warned about once', () => {
    const { swiotlb, printed } = rig({ cpus: 1 });
    for (let i = 0; i < 2; i++) swiotlb.map(request(RAM, 1, device(), 0xffff));
    expect(printed).toEqual([
      'Alloc alignment may prevent fulfilling requests with max mapping_size',
    ]);
  });

  it('no bytes: refused before anything is taken', () => {
    const { swiotlb } = rig();
    expect(() => swiotlb.map(request(RAM + 1, 0))).toThrow('0 bytes');
    expect(swiotlb.report()).toMatchObject({ usedSlots: 0, maps: 0, refused: 0 });
  });

  it('no pool: inactive, and a map says why', () => {
    const { swiotlb, printed } = rig({ size: 0 });
    expect([swiotlb.active, swiotlb.map(request(RAM, 1))]).toEqual([false, DMA_MAPPING_ERROR]);
    expect(printed).toHaveLength(1);
  });

  it.each([0x1800, 0x800, 1])('a pool of %i bytes is refused', (size) => {
    expect(() => rig({ size })).toThrow('power of two');
  });
});

describe('copies', () => {
  it.each<{ dir: DmaDirection; out: boolean; sync: [boolean, boolean] }>([
    { dir: 'TO_DEVICE', out: false, sync: [true, false] },
    { dir: 'FROM_DEVICE', out: true, sync: [false, true] },
    { dir: 'BIDIRECTIONAL', out: true, sync: [true, true] },
  ])('$dir: in at map always, out at unmap: $out, syncs for device and CPU: $sync', (row) => {
    const { swiotlb, memory } = rig({ cpus: 1 });
    const at = RAM + 0x123;
    const size = 5000;
    put(memory, at, pattern(1, size));
    const slot = swiotlb.map({ ...request(at, size, device(0xfff)), dir: row.dir });
    expect(get(memory, slot, size)).toEqual(pattern(1, size));
    put(memory, at, pattern(2, size));
    swiotlb.syncForDevice(slot, size, row.dir);
    expect(get(memory, slot, size)).toEqual(pattern(row.sync[0] ? 2 : 1, size));
    put(memory, slot, pattern(3, size));
    swiotlb.syncForCpu(slot, size, row.dir);
    expect(get(memory, at, size)).toEqual(pattern(row.sync[1] ? 3 : 2, size));
    put(memory, slot, pattern(4, size));
    swiotlb.unmap(slot, size, row.dir);
    const last = row.out ? 4 : row.sync[1] ? 3 : 2;
    expect(get(memory, at, size)).toEqual(pattern(last, size));
    const copies = [1 + Number(row.sync[0]), Number(row.sync[1]) + Number(row.out)];
    expect(swiotlb.report()).toMatchObject({
      copiedIn: copies[0] === undefined ? 0 : copies[0] * size,
      copiedOut: (copies[1] ?? 0) * size,
    });
  });

  it('skipCpuSync: nothing comes back at unmap', () => {
    const { swiotlb, memory } = rig();
    const slot = swiotlb.map({ ...request(RAM, 64), dir: 'FROM_DEVICE' });
    put(memory, slot, pattern(3, 64));
    swiotlb.unmap(slot, 64, 'FROM_DEVICE', { skipCpuSync: true });
    expect(get(memory, RAM, 64)).toEqual(pattern(0, 64).map(() => 0));
  });

  it('any part of a buffer can be synced, also the first bytes of a later slot', () => {
    fc.assert(
      fc.property(
        fc.nat(4095),
        fc.integer({ min: 1, max: 6000 }),
        fc.nat(5999),
        fc.nat(5999),
        fc.constantFrom(0, 0x1ff, 0xfff),
        (offset, size, from, length, mask) => {
          const { swiotlb, memory } = rig({ cpus: 1 });
          const at = RAM + offset;
          const start = Math.min(from, size - 1);
          const count = Math.min(length + 1, size - start);
          const slot = swiotlb.map({
            ...request(at, size, device(mask), mask === 0 ? 0xfff : 0),
            dir: 'BIDIRECTIONAL',
          });
          put(memory, slot, pattern(9, size));
          const want = get(memory, at, size);
          want.splice(start, count, ...pattern(9, size).slice(start, start + count));
          swiotlb.syncForCpu(slot + start, count, 'BIDIRECTIONAL');
          expect(get(memory, at, size)).toEqual(want);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('a sync longer than the buffer is cut, with one message', () => {
    const { swiotlb, printed, memory } = rig();
    const slot = swiotlb.map(request(RAM, 100));
    put(memory, RAM + 100, [1, 2, 3]);
    swiotlb.syncForDevice(slot + 50, 60, 'TO_DEVICE');
    swiotlb.syncForDevice(slot + 50, 60, 'TO_DEVICE');
    expect(printed).toEqual(['Buffer overflow detected. Allocation size: 50. Mapping size: 60.']);
    expect(get(memory, slot + 100, 3)).toEqual([0, 0, 0]);
  });

  it('addresses that are no taken slot: syncs and unmaps do nothing', () => {
    const { swiotlb, memory } = rig();
    const slot = swiotlb.map({ ...request(RAM, 64), dir: 'BIDIRECTIONAL' });
    swiotlb.unmap(slot, 64, 'BIDIRECTIONAL');
    put(memory, RAM, pattern(5, 64));
    for (const address of [slot, RAM, RAM + 63 * MIB]) {
      swiotlb.syncForCpu(address, 64, 'BIDIRECTIONAL');
      swiotlb.syncForDevice(address, 64, 'BIDIRECTIONAL');
      swiotlb.unmap(address, 64, 'BIDIRECTIONAL');
      expect(swiotlb.owns(address)).toBe(false);
    }
    expect(get(memory, RAM, 64)).toEqual(pattern(5, 64));
    expect(swiotlb.report()).toMatchObject({ usedSlots: 0, highWater: 1 });
  });
});

describe('growth', () => {
  function growth(limit: number) {
    let next = POOL + 4 * MIB;
    const live = new Map<number, number>();
    const asked: [number, number, string][] = [];
    const source: SwiotlbGrowth = {
      alloc(bytes, end, wait) {
        asked.push([bytes, end, wait]);
        if (bytes > limit) return null;
        const at = next;
        next += Math.ceil(bytes / MIB) * MIB;
        live.set(at, bytes);
        return at;
      },
      free(paddr, bytes) {
        expect(live.get(paddr)).toBe(bytes);
        live.delete(paddr);
      },
    };
    return { source, live, asked };
  }

  it('a full buffer: a transient pool at once, a lasting one from the work, and the transient one goes with its buffer', () => {
    const { source, live, asked } = growth(MIB);
    const { swiotlb, platform, printed } = rig({ cpus: 1, growth: source, size: MIB });
    const all = Array.from({ length: 4 }, () => swiotlb.map(request(RAM, 0x4_0000)));
    const dev = device(0, 2 ** 64, 33);
    const extra = swiotlb.map(request(RAM, 5000, dev));
    expect(extra).toBe(POOL + 4 * MIB);
    expect(swiotlb.report()).toMatchObject({ transientPools: 1, pools: 2, usedSlots: 515 });
    platform.clock.advance(0);
    expect(swiotlb.report()).toMatchObject({ slots: 1024, pools: 3 });
    expect(swiotlb.map(request(RAM, 1))).toBe(POOL + 5 * MIB);
    swiotlb.unmap(extra, 5000, 'TO_DEVICE');
    expect(swiotlb.report()).toMatchObject({ transientPools: 0, pools: 2, usedSlots: 513 });
    expect([...live.values()]).toEqual([MIB]);
    expect(asked).toEqual([
      [8192, 2 ** 33, 'now'],
      [MIB, 2 ** 32, 'may-wait'],
    ]);
    for (const slot of all) swiotlb.unmap(slot, 0x4_0000, 'TO_DEVICE');
    expect([swiotlb.report().usedSlots, printed]).toEqual([1, []]);
  });

  it('little memory: the new pool is halved down to 512 slots, then given up', () => {
    const { source, asked } = growth(0);
    const { swiotlb, platform, printed } = rig({ cpus: 1, growth: source, size: 8 * MIB });
    for (let i = 0; i < 32; i++) swiotlb.map(request(RAM, 0x4_0000));
    expect(swiotlb.map(request(RAM, 1))).toBe(DMA_MAPPING_ERROR);
    expect(swiotlb.map(request(RAM, 1))).toBe(DMA_MAPPING_ERROR);
    platform.clock.advance(1);
    // One work item for both.
    expect(asked.filter(([, , wait]) => wait === 'may-wait').map(([bytes]) => bytes)).toEqual([
      4 * MIB,
      2 * MIB,
      MIB,
    ]);
    expect(printed.at(-1)).toBe('Failed to allocate new pool');
  });
});

describe('against a plain twin', () => {
  it('live buffers never overlap, keep their bytes, and leave nothing behind', () => {
    const step = fc.record({
      kind: fc.constantFrom('map', 'map', 'unmap', 'device', 'sync'),
      cpu: fc.nat(3),
      paddr: fc.nat(0x1_ffff),
      size: fc.integer({ min: 1, max: 9000 }),
      mask: fc.constantFrom(0, 0x1ff, 0xfff),
      align: fc.constantFrom(0, 0xfff),
      pick: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const { swiotlb, platform, memory } = rig({ size: 0x8_0000 });
        const live: { slot: number; at: number; size: number; bytes: number[] }[] = [];
        let arena = RAM;
        for (const [i, s] of steps.entries()) {
          platform.cpu = s.cpu;
          const one = live[s.pick % Math.max(1, live.length)];
          if (s.kind === 'map') {
            const at = arena + (s.paddr % 4096);
            arena += 0x4000;
            const bytes = pattern(i, s.size);
            put(memory, at, bytes);
            const dev = device(s.mask);
            const slot = swiotlb.map({
              ...request(at, s.size, dev, s.align),
              dir: 'BIDIRECTIONAL',
            });
            if (slot === DMA_MAPPING_ERROR) continue;
            for (const other of live)
              expect(slot + s.size <= other.slot || other.slot + other.size <= slot).toBe(true);
            live.push({ slot, at, size: s.size, bytes });
          } else if (one === undefined) continue;
          else if (s.kind === 'device') {
            one.bytes = pattern(i + 100, one.size);
            put(memory, one.slot, one.bytes);
          } else if (s.kind === 'sync') {
            swiotlb.syncForCpu(one.slot, one.size, 'BIDIRECTIONAL');
            expect(get(memory, one.at, one.size)).toEqual(one.bytes);
          } else {
            swiotlb.unmap(one.slot, one.size, 'BIDIRECTIONAL');
            expect(get(memory, one.at, one.size)).toEqual(one.bytes);
            live.splice(live.indexOf(one), 1);
          }
          for (const { slot, size, bytes } of live) expect(get(memory, slot, size)).toEqual(bytes);
        }
        for (const { slot, size } of live) swiotlb.unmap(slot, size, 'BIDIRECTIONAL');
        expect(swiotlb.report().usedSlots).toBe(0);
        // Everything is one free run in each segment again.
        for (let i = 0; i < 2; i++) {
          platform.cpu = i;
          expect(swiotlb.map(request(RAM, 0x4_0000))).not.toBe(DMA_MAPPING_ERROR);
        }
      }),
      { numRuns: 25 },
    );
  });
});
