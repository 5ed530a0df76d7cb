import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Action, TwinWorld } from './twin-world.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

const action: fc.Arbitrary<Action> = fc.record({
  op: fc.constantFrom<Action['op']>(
    'map',
    'map',
    'map-handle',
    'map-sg',
    'map-sg-handle',
    'two-step',
    'coherent',
    'read',
    'read',
    'write',
    'write',
    'to-cpu',
    'cpu-write',
    'to-device',
    'part',
    'unmap',
    'unmap',
    'unmap',
    'time',
  ),
  dev: fc.nat(2),
  cpu: fc.nat(1),
  dir: fc.constantFrom('TO_DEVICE', 'FROM_DEVICE', 'BIDIRECTIONAL'),
  offset: fc.nat(4095),
  size: fc.oneof(fc.integer({ min: 1, max: 9_000 }), fc.integer({ min: 1, max: 200 })),
  count: fc.integer({ min: 1, max: 5 }),
  pick: fc.nat(1_000),
});
const lazySwitch: Action = {
  ...{ op: 'lazy', dev: 0, cpu: 0, dir: 'TO_DEVICE', offset: 0, size: 1, count: 1, pick: 0 },
};
/** One of each, so that every run has them all. */
const each: readonly Action[] = (
  [
    'map',
    'map-handle',
    'map-sg',
    'map-sg-handle',
    'two-step',
    'coherent',
    'read',
    'write',
    'to-cpu',
    'cpu-write',
    'to-device',
    'part',
    'time',
    'unmap',
  ] as const
).map((op, i) => ({
  ...{ op, dev: 0, cpu: i % 2, dir: 'BIDIRECTIONAL', offset: 0x231, count: 3, pick: 0 },
  // The first is so small that it may share a cache line.
  size: i === 0 ? 40 : 0x1234,
}));
const NOTHING = {
  live: 0,
  frames: 0,
  slots: 0,
  handles: 0,
  warnings: [],
  printed: [],
  reports: [],
};

describe('random interleavings of all calls: device and CPU see the bytes of a plain twin, and nothing stays', () => {
  const rows = [false, true].flatMap((lazy) => [
    ...[true, false].flatMap((coherent) =>
      ['none', 'untrusted'].map((bounce) => ({ lazy, coherent, bounce })),
    ),
    { lazy, coherent: false, bounce: 'shared cache lines' },
  ]);
  it.each(rows)('lazy $lazy, coherent $coherent, bounce $bounce', ({ lazy, coherent, bounce }) => {
    const done = new Map<string, number>();
    const copied = new Set<boolean>();
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 90, size: 'max' }), (actions) => {
        const world = new TwinWorld({
          coherent,
          untrusted: bounce === 'untrusted',
          // Short rings fill up.
          flushQueue: { size: 4 },
          ...(bounce === 'shared cache lines'
            ? { api: { kmalloc: { minAlign: 128, cacheAlign: 64 } } }
            : {}),
        });
        // Untrusted devices start strict, whatever the default is.
        if (lazy) for (const dev of [0, 2]) world.run({ ...lazySwitch, dev });
        const types = lazy ? 'dma-fq' : 'dma';
        expect(world.devices.map(({ domain }) => domain.type)).toEqual([types, types, types]);
        for (const one of actions) world.run(one);
        copied.add((world.machine.swiotlb?.report().maps ?? 0) > 0);
        expect(world.end()).toEqual(NOTHING);
        for (const [op, count] of world.done) done.set(op, (done.get(op) ?? 0) + count);
      }),
      { numRuns: SOAK ? 60 : 6, examples: [[[...each]]] },
    );
    expect(copied.has(true)).toBe(bounce !== 'none');
    done.delete('lazy');
    expect([...done.keys()].sort()).toEqual(each.map(({ op }) => op).sort());
  });

  it('a domain that becomes lazy in the middle', () => {
    fc.assert(
      fc.property(
        fc.array(action, { minLength: 10, maxLength: 40, size: 'max' }),
        fc.array(action, { minLength: 10, maxLength: 40, size: 'max' }),
        (before, after) => {
          const world = new TwinWorld({ flushQueue: { size: 4 } });
          for (const one of [...before, lazySwitch, ...after]) world.run(one);
          expect(world.devices.map(({ domain }) => domain.type)).toEqual([
            'dma-fq',
            'dma-fq',
            'dma',
          ]);
          expect(world.end()).toEqual(NOTHING);
        },
      ),
      { numRuns: SOAK ? 50 : 5 },
    );
  });
});
