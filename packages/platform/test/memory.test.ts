import { describe, expect, test } from 'vitest';
import {
  MemoryRangeError,
  NonCoherentView,
  observeView,
  PhysicalMemory,
  SharedMemory,
} from '../src/index.ts';
import { BASE, describeView, SIZE } from './view-contract.ts';

const memory = () => new PhysicalMemory([{ base: BASE, size: SIZE }]);
const shared = () => new SharedMemory({ base: BASE, buffer: new SharedArrayBuffer(SIZE) });

describeView('PhysicalMemory', memory);
describeView('SharedMemory', shared);
describeView('NonCoherentView', () => new NonCoherentView(memory()));
describeView('an observed view', () => observeView(memory(), { onStore: () => {} }));

describe('PhysicalMemory', () => {
  test('pages appear when stored to, not when loaded', () => {
    const sparse = new PhysicalMemory([
      { base: 0, size: 0x1000 },
      { base: 0x100_0000_0000, size: 2 ** 40 },
    ]);
    const last = 0x200_0000_0000 - 8;
    expect([sparse.load64(last), sparse.hi, sparse.load32(last)]).toEqual([0, 0, 0]);
    expect([...sparse.touchedPages()]).toEqual([]);
    sparse.store64(last, 5, 6);
    sparse.store32(0x100_0000_0000, 1);
    sparse.store32(0, 1);
    expect([sparse.load64(last), sparse.hi]).toEqual([5, 6]);
    expect([...sparse.touchedPages()]).toEqual([0, 0x100_0000_0000, last + 8 - 4096]);
  });

  test('lanes are the page itself', () => {
    const ram = memory();
    const lanes = ram.lanes(BASE + 0x1ff8);
    expect(lanes?.length).toBe(1024);
    ram.store64(BASE + 0x1ff8, 3, 4);
    expect([lanes?.[1022], lanes?.[1023]]).toEqual([3, 4]);
    expect(ram.lanes(BASE - 1)).toBeUndefined();
  });

  test('write copies bytes, little-endian; zero clears over page ends', () => {
    const ram = memory();
    ram.write(BASE + 0xffc, Uint8Array.from([9, 1, 2, 3, 4, 5, 6, 7, 8]).subarray(1));
    expect([ram.load32(BASE + 0xffc), ram.load32(BASE + 0x1000)]).toEqual([0x04030201, 0x08070605]);
    for (let at = 0; at < 0x4000; at += 4) ram.store32(BASE + at, 1);
    ram.zero(BASE + 0xffc, 0x2008);
    const set = Array.from({ length: 0x1000 }, (_, i) => ram.load32(BASE + i * 4));
    expect(set.indexOf(0)).toBe(0xffc / 4);
    expect(set.lastIndexOf(0)).toBe(0x3000 / 4);
    expect(set.filter((word) => word === 0).length).toBe(0x2008 / 4);
  });

  test.each([
    { name: 'nothing', ranges: [] },
    { name: 'an empty range', ranges: [{ base: 0, size: 0 }] },
    { name: 'a negative base', ranges: [{ base: -4096, size: 4096 }] },
    { name: 'a misaligned base', ranges: [{ base: 0x800, size: 0x1000 }] },
    { name: 'a misaligned size', ranges: [{ base: 0, size: 0x1800 }] },
    {
      name: 'ranges that overlap',
      ranges: [
        { base: 0x2000, size: 0x2000 },
        { base: 0x1000, size: 0x2000 },
      ],
    },
  ])('refuses $name', ({ ranges }) => {
    expect(() => new PhysicalMemory(ranges)).toThrow(MemoryRangeError);
  });

  test('ranges may touch, and are told as given', () => {
    const ranges = [
      { base: 0x2000, size: 0x1000 },
      { base: 0x1000, size: 0x1000 },
    ];
    expect(new PhysicalMemory(ranges).ranges).toEqual(ranges);
  });

  test('errors carry code and operands', () => {
    expect(() => memory().load64(0x10)).toThrow(
      expect.objectContaining({ name: 'BusError', code: 'BUS_ERROR', operands: { pa: 0x10 } }),
    );
    expect(() => new PhysicalMemory([])).toThrow(
      expect.objectContaining({ code: 'MEMORY_RANGE', operands: { base: 0, size: 0 } }),
    );
  });
});

describe('NonCoherentView', () => {
  test('others see a store after the clean, and the whole line of it', () => {
    const ram = memory();
    const cpu = new NonCoherentView(ram);
    cpu.store64(BASE, 1, 2);
    cpu.store32(BASE + 60, 3);
    cpu.store32(BASE + 64, 4);
    expect([ram.load64(BASE), ram.load32(BASE + 60), ram.load32(BASE + 64)]).toEqual([0, 0, 0]);
    expect([cpu.load64(BASE), cpu.hi, cpu.load32(BASE + 60)]).toEqual([1, 2, 3]);
    expect(cpu.dirtyLines).toBe(2);
    cpu.clean(BASE + 8, 8);
    expect([ram.load64(BASE), ram.hi, ram.load32(BASE + 60)]).toEqual([1, 2, 3]);
    expect(ram.load32(BASE + 64)).toBe(0);
    expect(cpu.dirtyLines).toBe(1);
  });

  test.each([
    { at: 0, bytes: 64, lines: 1 },
    { at: 56, bytes: 8, lines: 1 },
    { at: 56, bytes: 16, lines: 2 },
    { at: 32, bytes: 64, lines: 2 },
    { at: 0, bytes: 4096, lines: 64 },
    { at: 63, bytes: 1, lines: 1 },
  ])('clean of $bytes bytes at $at covers $lines lines', ({ at, bytes, lines }) => {
    const cpu = new NonCoherentView(memory());
    cpu.clean(BASE + at, bytes);
    cpu.clean(BASE + at, bytes);
    expect([cpu.cleanCalls, cpu.cleanLines]).toEqual([2, 2 * lines]);
  });

  test('invalidate loses what was not cleaned, and shows what others wrote', () => {
    const ram = memory();
    const cpu = new NonCoherentView(ram);
    cpu.store64(BASE, 1, 0);
    ram.store64(BASE, 9, 0);
    expect(cpu.load64(BASE)).toBe(1);
    cpu.invalidate(BASE, 8);
    expect(cpu.load64(BASE)).toBe(9);
    expect([cpu.invalidateCalls, cpu.dirtyLines]).toEqual([1, 0]);
    cpu.clean(BASE, 64);
    expect(ram.load64(BASE)).toBe(9);
  });

  test('a line keeps what was beside the store, and lends no lanes', () => {
    const ram = memory();
    ram.store64(BASE + 16, 5, 6);
    const cpu = new NonCoherentView(ram);
    cpu.store64(BASE + 24, 7, 8);
    expect([cpu.load64(BASE + 16), cpu.hi]).toEqual([5, 6]);
    expect(cpu.lanes(BASE)).toBeUndefined();
  });

  test('a failed cas64 makes nothing dirty', () => {
    const cpu = new NonCoherentView(memory());
    expect(cpu.cas64(BASE, 1, 0, 2, 0)).toBe(false);
    expect(cpu.dirtyLines).toBe(0);
  });
});

describe('observeView', () => {
  test('tells of stores after they took effect, in order, as unsigned lanes', () => {
    const ram = memory();
    const seen: unknown[] = [];
    const view = observeView(ram, {
      onStore: (pa, lo, hi, bytes) => seen.push([pa - BASE, lo, hi, bytes, ram.load32(pa)]),
      onClean: (pa, bytes) => seen.push(['clean', pa - BASE, bytes]),
    });
    view.store64(BASE, -1, 2);
    view.store32(BASE + 8, -2);
    view.cas64(BASE, 0xffff_ffff, 2, 3, 4);
    view.cas64(BASE, 0, 0, 5, 6);
    view.clean(BASE, 64);
    view.load64(BASE);
    expect(seen).toEqual([
      [0, 0xffff_ffff, 2, 8, 0xffff_ffff],
      [8, 0xffff_fffe, 0, 4, 0xffff_fffe],
      [0, 3, 4, 8, 3],
      ['clean', 0, 64],
    ]);
    expect(view.lanes(BASE)).toBeUndefined();
  });

  test('an observer of stores alone is enough', () => {
    const cpu = new NonCoherentView(memory());
    observeView(cpu, { onStore: () => {} }).clean(BASE, 64);
    expect(cpu.cleanCalls).toBe(1);
  });
});
