import { describe, expect, it } from 'vitest';
import {
  DMA_MAPPING_ERROR,
  type DmaApi,
  type DmaDevice,
  type DmaDirection,
  DmaIovaState,
  type LinkedPiece,
  sgElement,
} from '../src/index.ts';
import { LAYOUT, pattern, RealMachine } from './real-machine.lanes.ts';

const PIECE = 0x2000;
const BASE = LAYOUT.ram + 0x10_0000;

/** A mapping of one or more pieces, by one family of calls. */
interface Mapped {
  /** Where the device finds each piece. */
  readonly at: readonly number[];
  toCpu(): void;
  toDevice(): void;
  unmap(): void;
}

interface Family {
  readonly name: string;
  readonly pieces: readonly number[];
  map(machine: RealMachine, dev: DmaDevice, dir: DmaDirection, pieces: readonly Piece[]): Mapped;
}

interface Piece {
  readonly paddr: number;
  readonly size: number;
}

function one(pieces: readonly Piece[]): Piece {
  return pieces[0] ?? expect.fail('no piece');
}

/** How a two-step mapping ends. */
type Undo = (
  dma: DmaApi,
  dev: DmaDevice,
  state: DmaIovaState,
  was: { readonly linked: readonly LinkedPiece[]; readonly dir: DmaDirection },
) => void;

function twoSteps(name: string, undo: Undo): Family {
  return {
    name,
    pieces: [PIECE, 0x1000, 0x600],
    map({ dma }, dev, dir, pieces) {
      const state = new DmaIovaState();
      const total = pieces.reduce((sum, { size }) => sum + size, 0);
      expect(dma.iovaTryAlloc(dev, state, one(pieces).paddr, total)).toBe(true);
      let offset = 0;
      const linked: LinkedPiece[] = [];
      const at = pieces.map(({ paddr, size }) => {
        linked.push({ offset, paddr, size });
        expect(dma.iovaLink(dev, state, { paddr, offset, size, dir })).toBe(0);
        const address = state.addr + offset;
        offset += size;
        return address;
      });
      expect(dma.iovaSync(dev, state, 0, total)).toBe(0);
      // A sync stays inside what is physically contiguous: the ends may be in slots.
      const each = (sync: (address: number, size: number) => void) =>
        pieces.forEach(({ size }, i) => {
          const start = at[i] as number;
          for (let address = start; address < start + size; ) {
            const length = Math.min(start + size - address, 4096 - (address % 4096));
            sync(address, length);
            address += length;
          }
        });
      return {
        at,
        toCpu: () => each((address, size) => dma.syncForCpu(dev, address, size, dir)),
        toDevice: () => each((address, size) => dma.syncForDevice(dev, address, size, dir)),
        unmap: () => undo(dma, dev, state, { linked, dir }),
      };
    },
  };
}

const FAMILIES: readonly Family[] = [
  {
    name: 'mapPhys, syncFor*, unmapPhys',
    pieces: [PIECE],
    map({ dma }, dev, dir, pieces) {
      const { paddr, size } = one(pieces);
      const address = dma.mapPhys(dev, paddr, size, dir);
      return {
        at: [address],
        toCpu: () => dma.syncForCpu(dev, address, size, dir),
        toDevice: () => dma.syncForDevice(dev, address, size, dir),
        unmap: () => dma.unmapPhys(dev, address, size, dir),
      };
    },
  },
  {
    name: 'mapPage with the page at unmap and syncs',
    pieces: [PIECE],
    map({ dma }, dev, dir, pieces) {
      const { paddr, size } = one(pieces);
      const address = dma.mapPage(dev, paddr, size, dir);
      return {
        at: [address],
        toCpu: () => dma.syncForCpu(dev, address, size, dir, paddr),
        toDevice: () => dma.syncForDevice(dev, address, size, dir, paddr),
        unmap: () => dma.unmapPage(dev, address, size, dir, { page: paddr }),
      };
    },
  },
  {
    name: 'handles',
    pieces: [PIECE],
    map({ dma }, dev, dir, pieces) {
      const { paddr, size } = one(pieces);
      const handle = dma.mapPhysHandle(dev, paddr, size, dir) ?? expect.fail('no handle');
      return {
        at: [handle.dmaAddr],
        toCpu: () => dma.syncHandleForCpu(dev, handle),
        toDevice: () => dma.syncHandleForDevice(dev, handle),
        unmap: () => dma.unmapHandle(dev, handle),
      };
    },
  },
  {
    name: 'parts of a handle',
    pieces: [PIECE],
    map({ dma }, dev, dir, pieces) {
      const { paddr, size } = one(pieces);
      const handle = dma.mapPhysHandle(dev, paddr, size, dir) ?? expect.fail('no handle');
      const cut = 0x740;
      return {
        at: [handle.dmaAddr],
        toCpu: () => {
          dma.syncHandleForCpu(dev, handle, cut);
          dma.syncHandleForCpu(dev, handle, 0, cut);
        },
        toDevice: () => {
          dma.syncHandleForDevice(dev, handle, 0, cut);
          dma.syncHandleForDevice(dev, handle, cut);
        },
        unmap: () => dma.unmapHandle(dev, handle),
      };
    },
  },
  {
    name: 'scatter lists',
    pieces: [PIECE, 0x400, 0x1000],
    map({ dma }, dev, dir, pieces) {
      const sg = pieces.map(({ paddr, size }) => sgElement(paddr, size));
      expect(dma.mapSg(dev, sg, dir)).toBeGreaterThan(0);
      let next = sg[0]?.dmaAddress ?? DMA_MAPPING_ERROR;
      const bounced = sg[0]?.dmaBounced === true;
      const at = pieces.map(({ size }, i) => {
        if (bounced) return sg[i]?.dmaAddress ?? DMA_MAPPING_ERROR;
        const address = next;
        next += Math.ceil(size / 4096) * 4096;
        return address;
      });
      return {
        at,
        toCpu: () => dma.syncSgForCpu(dev, sg, dir),
        toDevice: () => dma.syncSgForDevice(dev, sg, dir),
        unmap: () => dma.unmapSg(dev, sg, dir),
      };
    },
  },
  {
    name: 'list handles',
    pieces: [0x1000, PIECE],
    map({ dma }, dev, dir, pieces) {
      const sg = pieces.map(({ paddr, size }) => sgElement(paddr, size));
      const list = dma.mapSgHandle(dev, sg, dir);
      if (typeof list === 'number') return expect.fail(`mapSgHandle: ${list}`);
      const first = sg[0]?.dmaAddress ?? DMA_MAPPING_ERROR;
      const bounced = sg[0]?.dmaBounced === true;
      return {
        at: [first, bounced ? (sg[1]?.dmaAddress ?? DMA_MAPPING_ERROR) : first + 0x1000],
        toCpu: () => dma.syncSgHandleForCpu(dev, list),
        toDevice: () => dma.syncSgHandleForDevice(dev, list),
        unmap: () => dma.unmapSgHandle(dev, list),
      };
    },
  },
  twoSteps('two steps', (dma, dev, state, { dir }) =>
    dma.iovaDestroy(dev, state, { mapped: state.size, dir }),
  ),
  twoSteps('two steps, each piece unlinked by its page', (dma, dev, state, { linked, dir }) => {
    for (const { offset, size, paddr } of linked.toReversed())
      dma.iovaUnlink(dev, state, { offset, size, dir, pieces: [{ offset, size, paddr }] });
    dma.iovaFree(dev, state);
  }),
];

interface Plan {
  readonly family: Family;
  readonly dir: DmaDirection;
  readonly untrusted: boolean;
  /** What the cache does by itself while the device has the buffer. */
  readonly habit: 'fetches lines' | 'writes lines back';
  /** Which of the cache operations is left out; -1: none. */
  readonly omit: number;
}

/** One life of a mapping: every look at it that shows a wrong byte, and the number of cache operations. */
function run({ family, dir, untrusted, habit, omit }: Plan): {
  wrong: string[];
  calls: number;
  idle: ReadonlySet<number>;
} {
  const machine = new RealMachine({ coherent: false, untrusted });
  machine.omit = omit;
  const dev = machine.device({ minAlignMask: untrusted ? 0xfff : 0 });
  // Bounced ends for the untrusted device, whole lines for the others.
  const lead = untrusted ? 0x240 : 0;
  const pieces = family.pieces.map((size, i) => ({
    paddr: BASE + i * 0x1_0000 + (i === 0 ? lead : 0),
    size: i === 0 && family.pieces.length > 1 ? size - lead : size,
  }));
  const wrong: string[] = [];
  const look = (what: string, seed: number, read: (i: number, piece: Piece) => Uint8Array) =>
    pieces.forEach((piece, i) => {
      const want = pattern(seed + i, piece.size);
      if (Buffer.compare(read(i, piece), want) !== 0) wrong.push(`${what}, piece ${i}`);
    });
  const byCpu = (_: number, { paddr, size }: Piece) => machine.cpuRead(paddr, size);
  const fill = (seed: number) =>
    pieces.forEach(({ paddr, size }, i) => {
      machine.cpuWrite(paddr, pattern(seed + i, size));
    });
  const reads = dir !== 'FROM_DEVICE';
  const writes = dir !== 'TO_DEVICE';
  fill(10);
  const mapped = family.map(machine, dev, dir, pieces);
  const byDevice = (i: number, { size }: Piece) =>
    machine.deviceRead(dev, mapped.at[i] as number, size);
  const regions = pieces.flatMap(({ paddr, size }, i) => {
    const places = [{ paddr, size }];
    for (let done = 0; done < size; ) {
      const address = (mapped.at[i] as number) + done;
      const length = Math.min(size - done, 4096 - (address % 4096));
      places.push({ paddr: machine.core.iovaToPhys(dev.domain, address), size: length });
      done += length;
    }
    return places;
  });
  const turn = (expected: number, seed: number) => {
    if (reads) look('device', expected, byDevice);
    if (habit === 'fetches lines')
      for (const { paddr, size } of regions) machine.prefetch(paddr, size);
    if (writes)
      pieces.forEach(({ size }, i) => {
        machine.deviceWrite(dev, mapped.at[i] as number, pattern(seed + i, size));
      });
    if (habit === 'writes lines back')
      for (const { paddr, size } of regions) machine.evict(paddr, size);
  };
  turn(10, 20);
  mapped.toCpu();
  look('CPU after the sync', writes ? 20 : 10, byCpu);
  // Also where the device alone writes: what the CPU leaves in its caches must not come back over it.
  fill(30);
  mapped.toDevice();
  turn(30, 40);
  mapped.unmap();
  look('CPU after the unmap', writes ? 40 : 30, byCpu);
  expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  return { wrong, calls: machine.cacheCalls, idle: machine.idleCacheCalls };
}

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const HABITS = ['fetches lines', 'writes lines back'] as const;

describe('devices that do not snoop: each byte is right after the prescribed syncs, and no cache operation can be left out', () => {
  // Each family and direction here, trusted and not by turns; with `npm run soak` both.
  const rows = FAMILIES.flatMap((family, i) =>
    (['TO_DEVICE', 'FROM_DEVICE', 'BIDIRECTIONAL'] as const).flatMap((dir, j) =>
      [false, true]
        .filter((untrusted) => SOAK || untrusted === ((i + j) % 2 === 0))
        .map((untrusted) => ({ family, dir, untrusted, name: family.name })),
    ),
  );
  it.each(rows)('$name, $dir, untrusted $untrusted', (row) => {
    const whole = HABITS.map((habit) => run({ ...row, habit, omit: -1 }));
    expect(whole.flatMap(({ wrong }) => wrong)).toEqual([]);
    const calls = whole[0]?.calls ?? 0;
    // Each piece is handed over four times; a device that only reads leaves nothing to drop.
    const handOvers = row.dir === 'TO_DEVICE' ? 2 : 4;
    expect(calls).toBeGreaterThanOrEqual(handOvers * row.family.pieces.length);
    let idle = 0;
    for (let omit = 0; omit < calls; omit++) {
      if (whole.every((one) => one.idle.has(omit))) {
        idle++;
        continue;
      }
      const noticed = HABITS.some((habit) => run({ ...row, habit, omit }).wrong.length > 0);
      expect(noticed, `operation ${omit} of ${calls} left out`).toBe(true);
    }
    // A slot that only the device writes is not copied into by a sync for it: nothing of it is in the cache.
    expect(idle > 0).toBe(row.untrusted && row.dir === 'FROM_DEVICE');
  });
});

describe('two allocations in one cache line, one of them written by the device', () => {
  const rows = [
    { name: 'bounced by the kmalloc rule', api: { kmalloc: { minAlign: 128, cacheAlign: 64 } } },
    { name: 'without the rule', api: {} },
  ];
  it.each(rows)('$name', ({ api }) => {
    const machine = new RealMachine({ coherent: false, api });
    const { dma } = machine;
    const dev = machine.device();
    const size = 96;
    const [mine, neighbour] = [BASE, BASE + size];
    machine.cpuWrite(mine, pattern(1, size));
    const address = dma.mapPhys(dev, mine, size, 'FROM_DEVICE');
    // The CPU goes on with what is its own, and so has the shared line.
    machine.cpuWrite(neighbour, pattern(3, size));
    machine.deviceWrite(dev, address, pattern(2, size));
    dma.unmapPhys(dev, address, size, 'FROM_DEVICE');
    const equal = (at: number, seed: number): boolean =>
      machine.cpuRead(at, size).every((byte, i) => byte === pattern(seed, size)[i]);
    expect([equal(mine, 2), equal(neighbour, 3)]).toEqual(['kmalloc' in api, true]);
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });
});
