import { describe, expect, test } from 'vitest';
import { counted, createCounters, ERRNO, errnoName, TraceChannel } from '../src/index.ts';

describe('counters', () => {
  test('start at zero, in the order named', () => {
    const counts = createCounters('maps', 'unmaps');
    expect(Object.entries(counts)).toEqual([
      ['maps', 0],
      ['unmaps', 0],
    ]);
    counts.maps++;
    expect(counts).toEqual({ maps: 1, unmaps: 0 });
  });

  test('counted is the difference of two snapshots', () => {
    const counts = createCounters('maps', 'unmaps');
    counts.maps = 2;
    const before = { ...counts };
    counts.maps += 3;
    expect(counted(before, counts)).toEqual({ maps: 3, unmaps: 0 });
    expect(before).toEqual({ maps: 2, unmaps: 0 });
  });
});

describe('errno', () => {
  // asm-generic/errno-base.h, asm-generic/errno.h and include/linux/errno.h.
  test('the values are those of Linux', () => {
    expect(ERRNO).toEqual({
      EPERM: 1,
      ENOENT: 2,
      EIO: 5,
      ENXIO: 6,
      EAGAIN: 11,
      ENOMEM: 12,
      EFAULT: 14,
      EBUSY: 16,
      EEXIST: 17,
      ENODEV: 19,
      EINVAL: 22,
      ENOSPC: 28,
      ERANGE: 34,
      EOVERFLOW: 75,
      EOPNOTSUPP: 95,
      ETIMEDOUT: 110,
      EREMOTEIO: 121,
      EPROBE_DEFER: 517,
    });
  });

  test('names come back from negative values only', () => {
    for (const [name, value] of Object.entries(ERRNO)) expect(errnoName(-value)).toBe(name);
    expect([errnoName(22), errnoName(0), errnoName(-4095)]).toEqual(['22', '0', '-4095']);
  });
});

describe('TraceChannel', () => {
  test('is off until somebody listens, then tells all in order', () => {
    const channel = new TraceChannel<{ name: 'map'; iova: number }>();
    const log: string[] = [];
    channel.emit({ name: 'map', iova: 1 });
    expect(channel.on).toBe(false);
    channel.listen(({ iova }) => log.push(`a${iova}`));
    expect(channel.on).toBe(true);
    channel.listen(({ iova }) => log.push(`b${iova}`));
    channel.emit({ name: 'map', iova: 2 });
    expect(log).toEqual(['a2', 'b2']);
  });
});
