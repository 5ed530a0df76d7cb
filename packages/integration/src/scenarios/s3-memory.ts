/* S3-10: what a handle costs, and one small driver written both ways. */
import { SZ_4K } from '@iommukit/bits';
import type { DmaApi, DmaDevice } from '@iommukit/dma-api';
import type { RingDriver } from '../users/ring-driver.ts';
import { RingByAddress } from '../users/ring-driver-address.ts';
import { RingByHandle } from '../users/ring-driver-handle.ts';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import { mapIn, type UnmapWay } from './s3-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { StepLog, StepTwins } from './step-log.ts';

const RAM = 0x4100_0000;
const LIVE = 1000;
const BUFFERS = 8;
const PACKETS = 32;
const SHORTEST = 60;

function* liveCases(): Iterable<ScenarioCase> {
  const rows: readonly (readonly [UnmapWay, number, number])[] = [
    ['K', 16_000, 1000],
    ['H', 32_000, 0],
  ];
  for (const [way, memory, walk] of rows)
    yield dmaCase({
      way: `${way} 1000 live`,
      run: (dma) => {
        const live = Array.from({ length: LIVE }, (_, i) =>
          mapIn(way, dma.api, dma.dev, {
            ...{ paddr: RAM + 2 * i * SZ_4K, size: SZ_4K, dir: 'TO_DEVICE' },
          }),
        );
        const kept = live.reduce((sum, one) => sum + (one?.kept ?? 0), 0);
        const counts = dma.count(() => {
          for (const one of live) one?.unmap();
        });
        return { ...counts, memory: kept, left: dma.api.handles.bytes };
      },
      expected: { memory, walk, fmt: 1000, VA: 1000, SYNC: 1000, left: 0 },
      tables: 'live',
    });
}

/** The API with each call and its arguments counted. */
function countCalls(api: DmaApi): { readonly api: DmaApi; calls: number; args: number } {
  const count = { api, calls: 0, args: 0 };
  count.api = new Proxy(api, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        count.calls++;
        count.args += args.length;
        return Reflect.apply(member, target, args);
      };
    },
  });
  return count;
}

/** Eight buffers posted, 32 packets looked at in place, all buffers taken. */
function traffic(
  dma: DmaRig,
  log: StepLog,
  make: (api: DmaApi, dev: DmaDevice) => RingDriver,
): Observed {
  log.follow(dma);
  const count = countCalls(dma.api);
  const ring = make(count.api, dma.dev);
  let kept = 0;
  const counts = dma.count(() => {
    for (let slot = 0; slot < BUFFERS; slot++) {
      if (!ring.post(slot, RAM + slot * SZ_4K)) dma.rig.fault(`buffer ${slot} is not mapped`);
      log.step(dma);
    }
    kept = ring.keptBytes;
    for (let packet = 0; packet < PACKETS; packet++) {
      ring.peek(packet % BUFFERS, SHORTEST + packet);
      log.step(dma);
    }
    for (let slot = 0; slot < BUFFERS; slot++) {
      ring.take(slot);
      log.step(dma);
    }
  });
  return { ...counts, memory: kept, left: ring.keptBytes, calls: count.calls, args: count.args };
}

interface RingRow {
  readonly name: string;
  readonly rig: DmaRigOptions;
  /** walk, wl of the ring by address. */
  readonly walks: readonly [number, number];
  readonly equal: Observed;
}

const NO_LINES = { linesOut: 0, linesIn: 0 } as const;
const NO_COPIES = { copiedIn: 0, copiedOut: 0 } as const;
/** 8 unmaps; 8 times 2 syncs for 4 packets each. */
const RINGS: readonly RingRow[] = [
  {
    ...{ name: 'coherent', rig: {}, walks: [8, 32] },
    equal: { ...NO_LINES, ...NO_COPIES },
  },
  {
    ...{ name: 'not coherent', rig: { device: 'non-coherent' }, walks: [72, 288] },
    // 32 lines a map and an unmap; 5 packets of one line and 27 of two, both ways.
    equal: { linesOut: 256 + 59, linesIn: 256 + 59, ...NO_COPIES },
  },
  {
    ...{ name: 'bounced', rig: { untrusted: true }, walks: [72, 288] },
    // Whole buffers at map and unmap; packets of 60 to 91 bytes for the CPU.
    equal: { ...NO_LINES, copiedIn: 16_384, copiedOut: 16_384 + 2416 },
  },
];

function* ringCases({ name, rig, walks, equal }: RingRow): Iterable<ScenarioCase> {
  const twins = new StepTwins();
  const common = { fmt: 16, lvl: 64, VA: 8, SYNC: 8, warn: 0, left: 0, ...equal };
  const drivers = [
    {
      ...{ way: 'K', make: (api: DmaApi, dev: DmaDevice) => new RingByAddress(api, dev) },
      // 4 arguments a map, a sync and an unmap, 2 of `mappingError`, the call that handles spare.
      expected: { walk: walks[0], wl: walks[1], memory: 128, calls: 88, args: 336 },
    },
    {
      ...{ way: 'H', make: (api: DmaApi, dev: DmaDevice) => new RingByHandle(api, dev) },
      expected: { walk: 0, wl: 0, memory: 256, calls: 80, args: 304 },
    },
  ];
  for (const { way, make, expected } of drivers) {
    const log = new StepLog();
    yield dmaCase({
      way: `${way} ring ${name}`,
      rig: { ...rig, ...log.options },
      run: (dma) => {
        const observed = traffic(dma, log, make);
        return { ...observed, same: twins.compare(dma, log) };
      },
      expected: { ...expected, ...common, same: BUFFERS + PACKETS + BUFFERS },
      tables: name,
    });
  }
}

export const s310: Scenario = {
  id: 'S3-10',
  title: 'memory of 1000 mappings; a receive ring written both ways',
  *cases(): Iterable<ScenarioCase> {
    yield* liveCases();
    for (const row of RINGS) yield* ringCases(row);
  },
};
