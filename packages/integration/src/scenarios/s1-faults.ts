/* S1-8: pages that a device asks for one by one, and loses one by one. */
import { hex, SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { patternBytes } from '../memory-bytes.lanes.ts';
import { HmmMapping } from '../users/hmm-mapping.ts';
import { type DmaCounts, type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';

/** Pages of the object, 1 GiB, and those that are used. */
const [PAGES, USED] = [262_144, 1000];
/** Where the CPU's pages are: none beside another. */
const paddrOf = (page: number): number => 0x4000_0000 + page * 2 * SZ_4K;

type Ranges = 'two-step' | 'single';

/** A device with a page list of its own: what it misses there it asks the driver for. */
class FaultingDevice {
  readonly #dma: DmaRig;
  readonly #map: HmmMapping;
  readonly #addresses = new Map<number, number>();
  faults = 0;

  constructor(dma: DmaRig, map: HmmMapping) {
    this.#dma = dma;
    this.#map = map;
  }

  /** Writes a few bytes to a page; false when it cannot. */
  write(page: number, bytes: Uint8Array): boolean {
    let address = this.#addresses.get(page);
    if (address === undefined) {
      this.faults++;
      address = this.#map.fault(page, paddrOf(page));
      if (address < 0) return false;
      this.#addresses.set(page, address);
    }
    return this.#dma.deviceWrite(address, bytes);
  }

  /** The driver says that a page goes away. */
  forget(page: number): void {
    this.#addresses.delete(page);
  }

  addressOf(page: number): number {
    return this.#addresses.get(page) ?? -1;
  }
}

interface Object1G {
  readonly map: HmmMapping;
  readonly device: FaultingDevice;
  readonly alloc: DmaCounts;
  readonly faults: DmaCounts;
  /** Pages of which the CPU reads what the device wrote. */
  readonly right: number;
}

/** The device writes to pages 0 to 999, in this order. */
function faultAll(dma: DmaRig, ranges: Ranges): Object1G {
  const { api, dev } = dma;
  const options = { dma: api, dev, pages: PAGES };
  const { counts: alloc, result: map } = dma.measure(() =>
    HmmMapping.alloc(ranges === 'single' ? { ...options, ranges } : options),
  );
  if (typeof map === 'number') throw new RangeError(`no mapping: ${map}`);
  const device = new FaultingDevice(dma, map);
  const faults = dma.count(() => {
    for (let page = 0; page < USED; page++) device.write(page, patternBytes(page, 16));
  });
  let right = 0;
  for (let page = 0; page < USED; page++) {
    const found = dma.cpuRead(paddrOf(page), 16);
    if (patternBytes(page, 16).every((byte, i) => byte === found[i])) right++;
  }
  return { map, device, alloc, faults, right };
}

/** The CPU takes the pages back one by one: the device's translation goes first. */
function invalidateAll(dma: DmaRig, { map, device }: Object1G): Observed {
  const addresses = Array.from({ length: USED }, (_, page) => device.addressOf(page));
  const counts = dma.count(() => {
    for (let page = 0; page < USED; page++) {
      device.forget(page);
      map.invalidate(page);
    }
  });
  for (const address of addresses) dma.expectAt(address, -1);
  map.free();
  return { ...counts, live: dma.liveIovas };
}

const WAYS: readonly {
  ranges: Ranges;
  map: Observed;
  undo: Observed;
}[] = [
  {
    ranges: 'two-step',
    map: { iovas: 1, first: '0xc0000000', list: 0 },
    undo: { walk: 0, wl: 0 },
  },
  {
    ranges: 'single',
    map: { iovas: 1000, first: '0xfffff000', list: 2 * 1024 * 1024 },
    undo: { walk: 1000, wl: 4000 },
  },
];
const faulted = { fmt: 1000, lvl: 4000, alloc: 4, hook: 1000, cmd: 0, faults: 1000, right: 1000 };
const undone = { fmt: 1000, lvl: 4000, VA: 1000, SYNC: 1000, cmd: 2000, live: 0 };

const REFUSED: readonly { name: string; rig: DmaRigOptions }[] = [
  { name: 'data caches must be cleaned', rig: { device: 'non-coherent' } },
  { name: 'ends must be bounced', rig: { untrusted: true } },
  { name: 'addresses of 31 bits', rig: { dev: { dmaBits: 31 } } },
];

function* refusals(): Iterable<ScenarioCase> {
  for (const { name, rig } of REFUSED)
    yield dmaCase({
      way: `refused: ${name}`,
      rig,
      run(dma) {
        const { api, dev } = dma;
        const { counts, result } = dma.measure(() =>
          HmmMapping.alloc({ dma: api, dev, pages: PAGES }),
        );
        const { iovas, fmt, st } = counts;
        return { result: typeof result === 'number' ? result : 0, iovas, fmt, st };
      },
      expected: { result: -ERRNO.EOPNOTSUPP, iovas: 0, fmt: 0, st: 0 },
    });
}

export const s18: Scenario = {
  id: 'S1-8',
  title: 'fault-driven mapping of 1 GiB',
  *cases(): Iterable<ScenarioCase> {
    for (const { ranges, map, undo } of WAYS) {
      yield dmaCase({
        way: `${ranges}: 1000 faults`,
        rig: { hook: true },
        run(dma) {
          const object = faultAll(dma, ranges);
          dma.later(() => void invalidateAll(dma, object));
          const { faults, alloc, device, right } = object;
          const iovas = alloc.iovas + faults.iovas;
          const first = hex(device.addressOf(0));
          return {
            ...faults,
            iovas,
            first,
            list: object.map.listBytes,
            faults: device.faults,
            right,
          };
        },
        expected: { ...faulted, ...map },
      });
      yield dmaCase({
        way: `${ranges}: 1000 invalidations`,
        run: (dma) => invalidateAll(dma, faultAll(dma, ranges)),
        expected: { ...undone, ...undo },
      });
      yield dmaCase({
        way: `${ranges}: a second fault`,
        run(dma) {
          const object = faultAll(dma, ranges);
          dma.later(() => void invalidateAll(dma, object));
          const before = object.device.addressOf(500);
          const again = dma.measure(() => object.map.fault(500, paddrOf(500)));
          return { same: again.result === before, fmt: again.counts.fmt, cmd: again.counts.cmd };
        },
        expected: { same: true, fmt: 0, cmd: 0 },
      });
    }
    yield dmaCase({
      way: 'two-step: one unlink of all',
      run(dma) {
        const { map, device } = faultAll(dma, 'two-step');
        const first = device.addressOf(0);
        const counts = dma.count(() => map.invalidateRange(0, USED));
        dma.rig.look(first, USED * SZ_4K);
        map.free();
        return { ...counts, live: dma.liveIovas };
      },
      expected: { fmt: 2, lvl: 7, free: 1, st: 490, VA: 4, SYNC: 3, cmd: 7, walk: 0, live: 0 },
    });
    yield* refusals();
  },
};
