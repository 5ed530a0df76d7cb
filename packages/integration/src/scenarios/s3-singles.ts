/* S3-1 to S3-4, S3-7, S3-8, S3-12: lookups of 1000 single buffers, by address, with the page, by handle. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { type DmaCase, type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import { type Buffer, type LiveBuffer, mapIn, type UnmapWay } from './s3-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA } from './setup.ts';
import { StepLog, StepTwins } from './step-log.ts';

const N = 1000;
/** A step that invalidated the whole domain. */
const FLUSH = '"ASID":1';
/** Memory that exists: for rows whose bytes are looked at. */
const RAM = 0x4100_0000;

/** Lookups, and the table levels that they visit. */
type Lookups = readonly [walk: number, wl: number];

interface SinglesRow {
  readonly name?: string;
  readonly rig?: DmaRigOptions;
  buffer(i: number): Buffer;
  /** One sync for the CPU and one for the device before the unmap. */
  readonly syncs?: true;
  /** Nothing is unmapped while it counts. */
  readonly unmaps?: false;
  /** The device writes each buffer before its unmap, and the driver finds it there. */
  readonly fills?: true;
  readonly K: Lookups;
  readonly Q: Lookups;
  readonly H: Lookups;
  /** Format levels and lookups' levels together. */
  readonly path?: { readonly K: number; readonly H: number };
  /** The same in all ways. */
  readonly equal: Observed;
}

/** Bytes kept for 1000 live mappings: 16 of address and length, 32 of a handle. */
const MEMORY = { K: 16_000, Q: 16_000, H: 32_000 } as const;

const BYTES = Uint8Array.from({ length: 2 * SZ_4K }, (_, at) => (at * 7 + 1) % 251);

/** What the device writes: another text for each buffer. */
function pattern(i: number, size: number): Uint8Array {
  return BYTES.subarray(i % 251, (i % 251) + size);
}

function mapAll(dma: DmaRig, way: UnmapWay, row: SinglesRow, log: StepLog): LiveBuffer[] {
  const live: LiveBuffer[] = [];
  for (let i = 0; i < N; i++) {
    const one = mapIn(way, dma.api, dma.dev, row.buffer(i));
    log.step(dma);
    if (one === null) dma.rig.fault(`buffer ${i} is not mapped`);
    else live.push(one);
  }
  return live;
}

/** The device reads and caches the page of a mapping; true when it is where a handle says. */
function deviceAgrees({ rig }: DmaRig, { address, mapped }: LiveBuffer): boolean {
  const offset = address % SZ_4K;
  return rig.access(address - offset) + offset === mapped;
}

function syncAndUnmap(dma: DmaRig, row: SinglesRow, live: readonly LiveBuffer[], log: StepLog) {
  const seen = { named: 0, filled: 0 };
  const lazy = row.rig?.domain === 'lazy';
  for (const [i, one] of live.entries()) {
    const { buffer, address } = one;
    const { paddr, size } = buffer;
    if (!lazy && deviceAgrees(dma, one)) seen.named++;
    if (row.fills === true) dma.deviceWrite(address, pattern(i, size));
    if (row.syncs === true) {
      one.toCpu();
      log.step(dma);
      one.toDevice();
      log.step(dma);
    }
    if (row.unmaps === false) continue;
    one.unmap();
    log.step(dma);
    // What the device had cached is gone.
    if (!lazy) dma.rig.look(address - (address % SZ_4K), SZ_4K);
    if (row.fills === true && equal(dma.cpuRead(paddr, size), pattern(i, size))) seen.filled++;
  }
  return seen;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return a.length === b.length;
}

function run(dma: DmaRig, way: UnmapWay, row: SinglesRow, log: StepLog): Observed {
  log.follow(dma);
  const live = mapAll(dma, way, row, log);
  const memory = live.reduce((sum, { kept }) => sum + kept, 0);
  if (row.unmaps === false)
    dma.later(() => {
      for (const one of live) one.unmap();
    });
  let seen = { named: 0, filled: 0 };
  const counts = dma.count(() => {
    seen = syncAndUnmap(dma, row, live, log);
  });
  // Copies in are made by the maps.
  const { copiedIn, copiedOut } = dma.swiotlb.report();
  const flushes = log.lines.slice(N).flatMap((line, i) => (line.includes(FLUSH) ? [i + 1] : []));
  return {
    ...{ ...counts, ...seen, copiedIn, copiedOut, memory },
    ...{ path: counts.lvl + counts.wl, flushes: flushes.join(', ') },
  };
}

function* casesOf(row: SinglesRow): Iterable<ScenarioCase> {
  const twins = new StepTwins();
  const ways: readonly { readonly way: UnmapWay; readonly checking?: true }[] = [
    { way: 'K' },
    { way: 'Q' },
    { way: 'H' },
    ...(row.unmaps === false ? [] : [{ way: 'H', checking: true } as const]),
  ];
  for (const { way, checking } of ways) {
    const log = new StepLog();
    const [walk, wl] = row[way];
    // Lookups of checking mode visit levels too.
    const lookups = { walk, ...(checking === true ? { checks: N } : { wl, checks: 0 }) };
    const agrees = way === 'H' && row.unmaps !== false && row.rig?.domain !== 'lazy';
    const one: DmaCase = {
      way: [way, row.name, checking === true ? 'checking' : undefined].filter(Boolean).join(' '),
      rig: { ...row.rig, ...log.options, ...(checking === true ? { checking } : {}) },
      run: (dma) => {
        const observed = run(dma, way, row, log);
        return { ...observed, same: twins.compare(dma, log) };
      },
      expected: {
        ...lookups,
        saved: row.K[0] - walk,
        memory: MEMORY[way],
        ...row.equal,
        ...(row.path === undefined || checking === true
          ? {}
          : { path: way === 'K' ? row.path.K : row.path.H }),
        ...(agrees ? { named: N } : {}),
        ...(row.fills === true ? { filled: N } : {}),
        same: N * (1 + (row.syncs === true ? 2 : 0) + (row.unmaps === false ? 0 : 1)),
      },
      tables: row.name ?? 'all',
    };
    yield dmaCase(one);
  }
}

function scenario(id: string, title: string, ...rows: readonly SinglesRow[]): Scenario {
  return {
    id,
    title,
    *cases(): Iterable<ScenarioCase> {
      for (const row of rows) yield* casesOf(row);
    },
  };
}

/** Nothing contiguous. */
const page = (i: number): Buffer => ({ paddr: PA + 2 * i * SZ_4K, size: SZ_4K, dir: 'TO_DEVICE' });
const received = (i: number): Buffer => ({
  paddr: RAM + 2 * i * SZ_4K,
  size: SZ_4K,
  dir: 'FROM_DEVICE',
});
const bounced = (i: number): Buffer => ({
  paddr: RAM + i * SZ_4K + 0x200,
  size: 0x400,
  dir: 'FROM_DEVICE',
});

const NONE = [0, 0] as const;
const STRICT = { fmt: 1000, VA: 1000, ASID: 0, SYNC: 1000, iovasFreed: 1000, warn: 0 } as const;
const NO_DATA = { linesOut: 0, linesIn: 0, copiedIn: 0, copiedOut: 0 } as const;

export const s31: Scenario = scenario('S3-1', 'map and unmap, coherent', {
  ...{ buffer: page, K: [1000, 4000], Q: NONE, H: NONE, path: { K: 8000, H: 4000 } },
  equal: { ...STRICT, lvl: 4000, ...NO_DATA },
});
export const s32: Scenario = scenario('S3-2', 'aligned 2 MiB buffers, one block each', {
  buffer: (i) => ({ paddr: PA + 2 * i * SZ_2M, size: SZ_2M, dir: 'TO_DEVICE' }),
  ...{ K: [1000, 3000], Q: NONE, H: NONE, path: { K: 6000, H: 3000 } },
  equal: { ...STRICT, lvl: 3000, ...NO_DATA },
});
export const s33: Scenario = scenario(
  'S3-3',
  'a device that does not snoop: two syncs and an unmap',
  {
    ...{ rig: { device: 'non-coherent' }, buffer: received, syncs: true, fills: true },
    ...{ K: [3000, 12_000], Q: NONE, H: NONE },
    // 64 lines for each of the three: two for the CPU, one for the device.
    equal: { ...STRICT, lvl: 4000, linesOut: 64_000, linesIn: 128_000, copiedIn: 0, copiedOut: 0 },
  },
);
export const s34: Scenario = scenario('S3-4', 'an untrusted device, all bounced', {
  ...{ rig: { untrusted: true }, buffer: bounced, fills: true },
  ...{ K: [1000, 4000], Q: [1000, 4000], H: NONE },
  equal: {
    ...STRICT,
    lvl: 4000,
    linesOut: 0,
    linesIn: 0,
    copiedIn: 1_024_000,
    copiedOut: 1_024_000,
  },
});
export const s37: Scenario = scenario('S3-7', 'syncs alone, coherent', {
  ...{ buffer: received, syncs: true, unmaps: false, K: NONE, Q: NONE, H: NONE },
  equal: { fmt: 0, lvl: 0, st: 0, cmd: 0, warn: 0, ...NO_DATA },
});
export const s38: Scenario = scenario(
  'S3-8',
  'device memory, and memory that must be coherent',
  {
    buffer: (i) => ({ ...page(i), attrs: { mmio: true } }),
    ...{ name: 'mmio', K: NONE, Q: NONE, H: NONE, equal: { ...STRICT, lvl: 4000, ...NO_DATA } },
  },
  {
    buffer: (i) => ({ ...page(i), attrs: { requireCoherent: true } }),
    ...{ name: 'coherent', K: NONE, Q: NONE, H: NONE },
    equal: { ...STRICT, lvl: 4000, ...NO_DATA },
  },
);
export const s312: Scenario = scenario('S3-12', 'a lazy domain', {
  ...{ rig: { domain: 'lazy' }, buffer: page, K: [1000, 4000], Q: NONE, H: NONE },
  path: { K: 8000, H: 4000 },
  equal: {
    ...{ fmt: 1000, lvl: 4000, VA: 0, ASID: 3, SYNC: 3, flushes: '256, 511, 766', warn: 0 },
    // A ring holds 255.
    ...{ iovasFreed: 3 * 255, ...NO_DATA },
  },
});
