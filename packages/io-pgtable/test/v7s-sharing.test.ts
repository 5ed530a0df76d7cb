import { SZ_4K, SZ_64K } from '@iommukit/bits';
import { ERRNO, type MemoryView, NonCoherentView, type PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import { type Call, leavesOf } from './flush-log.ts';
import { BASE, RW, SZ_1M, SZ_16M, shortRig } from './short-rig.ts';

describe('non-coherent walks', () => {
  /** Records every clean, as an offset from the memory's base. */
  function recording(memory: PhysicalMemory, calls: Call[]): MemoryView {
    return new Proxy(memory, {
      get(target, key) {
        if (key === 'clean')
          return (pa: number, bytes: number) => calls.push(['clean', pa - BASE, bytes]);
        const value = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  test('order of cleans: table, link, then each page with the link again', () => {
    const { table, calls, frames } = shortRig({ coherentWalk: false }, recording);
    expect(calls).toEqual([['clean', 0, 0x4000]]);
    calls.length = 0;
    table.mapPages(0x10_0000, 0, SZ_4K, 2, RW);
    const second = 0x4000;
    expect(frames.isAllocated(BASE + second)).toBe(true);
    expect(calls).toEqual([
      ['clean', second, 1024],
      ['clean', 4, 4],
      ['clean', second, 4],
      ['clean', 4, 4],
      ['clean', second + 4, 4],
    ]);
    calls.length = 0;
    table.unmapPages(0x10_0000, SZ_4K, 2, null);
    expect(calls).toEqual([
      ['clean', second, 4],
      ['page', 0x10_0000, SZ_4K, 1],
      ['clean', second + 4, 4],
      ['page', 0x10_1000, SZ_4K, 1],
    ]);
  });

  test('large pages are cleaned at once, a table in the way before its walks are flushed', () => {
    const { table, calls } = shortRig({ coherentWalk: false }, recording);
    table.mapPages(0x10_0000, 0, SZ_64K, 1, RW);
    calls.length = 0;
    table.mapPages(0x10_0000, 0, SZ_1M, 1, RW);
    expect(calls).toEqual([
      ['clean', 4, 4],
      ['walk', 0x10_0000, SZ_1M, SZ_4K],
      ['clean', 4, 4],
    ]);
    calls.length = 0;
    table.mapPages(SZ_16M, 0, SZ_16M, 1, RW);
    table.unmapPages(SZ_16M, SZ_16M, 1, null);
    expect(calls).toEqual([
      ['clean', 64, 64],
      ['clean', 64, 64],
      ['page', SZ_16M, SZ_1M, 16],
    ]);
  });

  test('what the device sees is what the CPU wrote', () => {
    const { memory, table } = shortRig({ coherentWalk: false }, (m) => new NonCoherentView(m));
    table.mapPages(0xf_0000, 0x8000_0000, SZ_64K, 3, RW);
    table.mapPages(0x40_0000, 0x9000_0000, SZ_1M, 2, RW);
    table.unmapPages(0x10_0000, SZ_64K, 1, null);
    expect(leavesOf(memory, table)).toEqual([
      [0xf_0000, 0x8000_0000, SZ_64K],
      [0x11_0000, 0x8002_0000, SZ_64K],
      [0x40_0000, 0x9000_0000, SZ_1M],
      [0x50_0000, 0x9010_0000, SZ_1M],
    ]);
  });
});

describe('two CPUs', () => {
  /** Does something once, just before the first compare-and-swap. */
  function interrupted(memory: PhysicalMemory, meanwhile: () => void): MemoryView {
    let done = false;
    return new Proxy(memory, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        if (key !== 'cas64') return value.bind(target);
        return (...words: Parameters<MemoryView['cas64']>) => {
          if (!done) {
            done = true;
            meanwhile();
          }
          return target.cas64(...words);
        };
      },
    });
  }

  for (const slot of [6, 7])
    test(`entry ${slot}: the other half of the doubleword changes before the link`, () => {
      const { memory, config, table, frames } = shortRig();
      const other = armV7s.attach(config, table.base);
      const view = interrupted(memory, () => {
        if (typeof other !== 'number') other.mapPages((13 - slot) * SZ_1M, 0x5000, SZ_4K, 1, RW);
      });
      const late = armV7s.attach({ ...config, memory: view }, table.base);
      if (typeof late === 'number') throw new Error('refused');
      expect(late.mapPages(slot * SZ_1M, 0x7000, SZ_4K, 1, RW)).toBe(0);
      expect(table.iovaToPhys(slot * SZ_1M)).toBe(0x7000);
      expect(table.iovaToPhys((13 - slot) * SZ_1M)).toBe(0x5000);
      table.free();
      expect(frames.used).toBe(0);
    });

  test('another CPU links a table first: it is used, and ours goes back', () => {
    const { memory, config, table, frames } = shortRig();
    const used = frames.used;
    const other = armV7s.attach(config, table.base);
    const view = interrupted(memory, () => {
      if (typeof other !== 'number') other.mapPages(0x1000, 0x5000, SZ_4K, 1, RW);
    });
    const late = armV7s.attach({ ...config, memory: view }, table.base);
    if (typeof late === 'number') throw new Error('refused');
    expect(late.mapPages(0x2000, 0x7000, SZ_4K, 1, RW)).toBe(0);
    expect(frames.used).toBe(used + 1);
    expect(leavesOf(memory, table)).toEqual([
      [0x1000, 0x5000, SZ_4K],
      [0x2000, 0x7000, SZ_4K],
    ]);
  });

  test('another CPU maps a section first', () => {
    const { memory, config, table, frames } = shortRig();
    const used = frames.used;
    const other = armV7s.attach(config, table.base);
    const view = interrupted(memory, () => {
      if (typeof other !== 'number') other.mapPages(0, 0, SZ_1M, 1, RW);
    });
    const late = armV7s.attach({ ...config, memory: view }, table.base);
    if (typeof late === 'number') throw new Error('refused');
    expect(late.mapPages(0x2000, 0x7000, SZ_4K, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(late.warnings).toBe(1);
    expect(frames.used).toBe(used);
  });
});

describe('against a model of what is mapped', () => {
  type Leaf = { start: number; size: number; paddr: number };
  type Slot = 'empty' | 'table' | Leaf;

  /** Sections by index, and below a table its pages by index: what section 4.7 of the facts says, one page at a time. */
  class Model {
    readonly slots: Slot[] = Array.from({ length: 64 }, () => 'empty');
    readonly pages = new Map<number, Leaf>();

    mapOne(iova: number, paddr: number, size: number): boolean {
      const leaf = { start: iova, size, paddr };
      const slot = iova / SZ_1M;
      if (size >= SZ_1M) {
        const count = size / SZ_1M;
        for (let i = slot; i < slot + count; i++) {
          if (typeof this.slots[i] === 'object') return false;
          this.drop(i);
        }
        this.slots.fill(leaf, slot, slot + count);
        return true;
      }
      const above = Math.floor(slot);
      if (typeof this.slots[above] === 'object') return false;
      this.slots[above] = 'table';
      const first = iova / SZ_4K;
      for (let i = 0; i < size / SZ_4K; i++) if (this.pages.has(first + i)) return false;
      for (let i = 0; i < size / SZ_4K; i++) this.pages.set(first + i, leaf);
      return true;
    }

    unmapOne(iova: number, size: number): boolean {
      const slot = iova / SZ_1M;
      if (size >= SZ_1M) {
        const count = size / SZ_1M;
        const held = this.slots.slice(slot, slot + count);
        if (held.includes('empty')) return false;
        const [only] = held;
        if (count === 1 && typeof only === 'object' && only.size !== SZ_1M) return false;
        for (let i = slot; i < slot + count; i++) this.drop(i);
        return true;
      }
      if (this.slots[Math.floor(slot)] !== 'table') return false;
      const first = iova / SZ_4K;
      const held = Array.from({ length: size / SZ_4K }, (_, i) => this.pages.get(first + i));
      if (held.includes(undefined)) return false;
      if (held.length === 1 && held[0]?.size !== SZ_4K) return false;
      for (let i = 0; i < held.length; i++) this.pages.delete(first + i);
      return true;
    }

    drop(slot: number): void {
      if (this.slots[slot] === 'table')
        for (let i = 0; i < 256; i++) this.pages.delete(slot * 256 + i);
      this.slots[slot] = 'empty';
    }

    get leaves(): [number, number, number][] {
      const all = new Set<Leaf>(this.pages.values());
      for (const slot of this.slots) if (typeof slot === 'object') all.add(slot);
      return [...all]
        .sort((a, b) => a.start - b.start)
        .map(({ start, paddr, size }) => [start, paddr, size]);
    }
  }

  const op = fc.record({
    map: fc.boolean(),
    size: fc.constantFrom(SZ_4K, SZ_64K, SZ_1M, SZ_16M),
    at: fc.nat(0x3fff),
    to: fc.nat(0xffff),
    count: fc.integer({ min: 1, max: 5 }),
  });
  for (const coherentWalk of [true, false])
    test(coherentWalk ? 'coherent' : 'not coherent', () => {
      fc.assert(
        fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
          const { memory, frames, table } = shortRig({ coherentWalk, ias: 26 }, (m) =>
            coherentWalk ? m : new NonCoherentView(m),
          );
          const model = new Model();
          for (const { map, size, at, to, count } of ops) {
            const iova = (at * SZ_4K) % 2 ** 26;
            const start = iova - (iova % size);
            const pages = Math.min(count, (2 ** 26 - start) / size);
            const paddr = (to * SZ_64K) % 2 ** 31;
            let done = 0;
            let ok = true;
            for (; ok && done < pages; done += ok ? 1 : 0)
              ok = map
                ? model.mapOne(start + done * size, paddr - (paddr % size) + done * size, size)
                : model.unmapOne(start + done * size, size);
            if (map) {
              const errno = table.mapPages(start, paddr - (paddr % size), size, pages, RW);
              expect([errno, table.mapped]).toEqual([ok ? 0 : -ERRNO.EEXIST, done * size]);
            } else {
              expect(table.unmapPages(start, size, pages, null)).toBe(done * size);
            }
          }
          for (const [page, leaf] of model.pages)
            expect(table.iovaToPhys(page * SZ_4K)).toBe(leaf.paddr + page * SZ_4K - leaf.start);
          expect(leavesOf(memory, table)).toEqual(model.leaves);
          const tables = model.slots.filter((slot) => slot === 'table').length;
          const { tablesAllocated, tablesFreed } = table.counters;
          expect(tablesAllocated - tablesFreed).toBe(tables);
          table.free();
          expect(frames.used).toBe(0);
        }),
        { numRuns: 60 },
      );
    });
});

test('counters: levels from the top to the leaf, for walks and calls', () => {
  const { table } = shortRig();
  table.mapPages(0, 0, SZ_4K, 1, RW);
  table.mapPages(SZ_16M, 0, SZ_16M, 1, RW);
  table.iovaToPhys(0);
  table.iovaToPhys(SZ_16M);
  const { formatCalls, levels, walks, walkLevels, stores } = table.counters;
  expect({ formatCalls, levels, walks, walkLevels, stores }).toEqual({
    formatCalls: 2,
    levels: 3,
    walks: 2,
    walkLevels: 3,
    stores: 1 + 1 + 16,
  });
});
