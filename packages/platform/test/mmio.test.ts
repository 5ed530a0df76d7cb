import { describe, expect, test } from 'vitest';
import { MmioBus, MmioError, type MmioFrame } from '../src/index.ts';

class RecordingFrame implements MmioFrame {
  hi = 0;
  readonly log: unknown[] = [];

  read32(offset: number): number {
    this.log.push(['read32', offset]);
    return offset + 1;
  }

  write32(offset: number, value: number): void {
    this.log.push(['write32', offset, value]);
  }

  read64(offset: number): number {
    this.log.push(['read64', offset]);
    this.hi = 7;
    return offset + 2;
  }

  write64(offset: number, lo: number, hi: number): void {
    this.log.push(['write64', offset, lo, hi]);
  }
}

describe('MmioBus', () => {
  const BASE = 0x0905_0000;

  test('decodes every address of a window and none beside it', () => {
    const bus = new MmioBus();
    const [a, b] = [new RecordingFrame(), new RecordingFrame()];
    bus.attach(BASE, 0x1000, a);
    bus.attach(BASE + 0x1000, 0x1000, b);
    expect(bus.frameAt(BASE)).toBe(a);
    expect(bus.frameAt(BASE + 0x1000)).toBe(b);
    expect(bus.frameAt(BASE + 0xffc).read32(0)).toBe(0xffd);
    for (const pa of [BASE - 4, BASE + 0x2000, 0])
      expect(() => bus.frameAt(pa)).toThrow(
        expect.objectContaining({ name: 'MmioError', code: 'MMIO_DECODE', operands: { pa } }),
      );
  });

  test('a frame seen from inside shifts every access', () => {
    const bus = new MmioBus();
    const frame = new RecordingFrame();
    bus.attach(BASE, 0x2_0000, frame);
    const page1 = bus.frameAt(BASE + 0x1_0000);
    expect([page1.read32(4), page1.read64(8), page1.hi]).toEqual([0x1_0005, 0x1_000a, 7]);
    page1.write32(0xa8, 5);
    page1.write64(0xb0, 1, 2);
    expect(frame.log).toEqual([
      ['read32', 0x1_0004],
      ['read64', 0x1_0008],
      ['write32', 0x1_00a8, 5],
      ['write64', 0x1_00b0, 1, 2],
    ]);
  });

  test.each([
    { name: 'the same window', base: BASE, size: 0x1000 },
    { name: 'its last byte', base: BASE + 0xfff, size: 0x1000 },
    { name: 'its first byte', base: BASE - 0xfff, size: 0x1000 },
    { name: 'all of it', base: BASE - 0x1000, size: 0x3000 },
    { name: 'its inside', base: BASE + 0x10, size: 0x10 },
  ])('refuses a window over $name', ({ base, size }) => {
    const bus = new MmioBus();
    const frame = new RecordingFrame();
    bus.attach(BASE, 0x1000, frame);
    expect(() => bus.attach(base, size, new RecordingFrame())).toThrow(MmioError);
    expect(bus.frameAt(BASE)).toBe(frame);
  });
});
