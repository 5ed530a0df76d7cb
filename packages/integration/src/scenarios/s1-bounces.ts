/* S1-10: a range whose ends go through bounce slots. */
import { SZ_4K } from '@iommukit/bits';
import { type DmaDirection, DmaIovaState } from '@iommukit/dma-api';
import { ERRNO } from '@iommukit/platform';
import { patternBytes } from '../memory-bytes.lanes.ts';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';

const PADDR = 0x4010_0200;
const SIZE = 0x2c00;
/** Bytes of the buffer in its first page, and in its last. */
const [HEAD, TAIL] = [0xe00, 0xe00];
const MIDDLE = PADDR + HEAD;
const rig: DmaRigOptions = { untrusted: true, dev: { minAlignMask: 4095 } };

const sent = patternBytes(1, SIZE);

/** The buffer with a neighbour's bytes all around it in its pages. */
function fill(dma: DmaRig): void {
  dma.cpuWrite(PADDR - (PADDR % SZ_4K), patternBytes(9, 3 * SZ_4K));
  dma.cpuWrite(PADDR, sent);
}

function link(dma: DmaRig, state: DmaIovaState, dir: DmaDirection): number {
  const { api, dev } = dma;
  api.iovaTryAlloc(dev, state, PADDR, SIZE);
  const errno = api.iovaLink(dev, state, { paddr: PADDR, offset: 0, size: SIZE, dir });
  if (errno === 0) api.iovaSync(dev, state, 0, SIZE);
  return errno;
}

function same(a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** What the device finds before and behind the buffer, in its pages. */
function neighbourBytes(dma: DmaRig, state: DmaIovaState): number {
  const before = dma.deviceRead(state.addr - (state.addr % SZ_4K), PADDR % SZ_4K);
  const behind = dma.deviceRead(state.addr + SIZE, SZ_4K - TAIL);
  return [...(before ?? [1]), ...(behind ?? [1])].filter((byte) => byte !== 0).length;
}

const linked = {
  ...{ errno: 0, granules: 3, bounced: 2, copiedIn: HEAD + TAIL, copiedOut: 0 },
  ...{ fmt: 3, lvl: 12, leaves: 3, walk: 0, warn: 0, cmd: 0, flag: true, size: SIZE },
};

function* links(): Iterable<ScenarioCase> {
  for (const dir of ['TO_DEVICE', 'FROM_DEVICE'] as const)
    yield dmaCase({
      way: `link, ${dir}`,
      rig,
      run(dma): Observed {
        fill(dma);
        const state = new DmaIovaState();
        const { counts, result: errno } = dma.measure(() => link(dma, state, dir));
        dma.later(() => dma.api.iovaDestroy(dma.dev, state, { mapped: SIZE, dir }));
        dma.expectAt(state.addr + HEAD, MIDDLE);
        const pfn = Math.floor(state.addr / SZ_4K);
        // Caches hold ranges of powers of two only.
        const range = dma.api.iovaDomainOf(dma.dev.domain).findIova(pfn);
        return {
          ...{ ...counts, errno, leaves: counts.st - counts.alloc },
          granules: dma.live.get(pfn) ?? 0,
          reserved: range === null ? 0 : range.pfnHi - range.pfnLo + 1,
          offset: state.addr % SZ_4K,
          ...{ flag: state.usesBounce, size: state.size },
          reads: same(dma.deviceRead(state.addr, SIZE), sent),
          neighbours: neighbourBytes(dma, state),
        };
      },
      expected: { ...linked, reserved: 4, offset: 0x200, reads: true, neighbours: 0 },
    });
}

const undone = {
  ...{ walk: 3, wl: 12, fmt: 1, lvl: 4, st: 3, VA: 1, SYNC: 1, cmd: 2, warn: 0 },
  ...{ fields: '1x NUM=2 SCALE=0 TG=1 TTL=3 LEAF=1', iovasFreed: 1, live: 0, slots: 0 },
};

function undo(dma: DmaRig, state: DmaIovaState, dir: DmaDirection): Observed {
  const counts = dma.count(() => dma.api.iovaDestroy(dma.dev, state, { mapped: SIZE, dir }));
  dma.expectAt(state.addr, -1);
  return { ...counts, live: dma.liveIovas, slots: dma.slots };
}

function* undos(): Iterable<ScenarioCase> {
  yield dmaCase({
    way: 'undo, TO_DEVICE',
    rig,
    run(dma) {
      fill(dma);
      const state = new DmaIovaState();
      link(dma, state, 'TO_DEVICE');
      return undo(dma, state, 'TO_DEVICE');
    },
    expected: { ...undone, copiedIn: 0, copiedOut: 0 },
  });
  yield dmaCase({
    way: 'undo, FROM_DEVICE, of which the device wrote a part',
    rig,
    run(dma) {
      fill(dma);
      const state = new DmaIovaState();
      link(dma, state, 'FROM_DEVICE');
      const received = patternBytes(2, 0x1100);
      dma.deviceWrite(state.addr, received);
      const counts = undo(dma, state, 'FROM_DEVICE');
      const whole = sent.slice();
      whole.set(received);
      const around = patternBytes(9, PADDR % SZ_4K);
      return {
        ...counts,
        buffer: same(dma.cpuRead(PADDR, SIZE), whole),
        neighbour: same(dma.cpuRead(PADDR - around.length, around.length), around),
      };
    },
    expected: { ...undone, copiedIn: 0, copiedOut: HEAD + TAIL, buffer: true, neighbour: true },
  });
}

export const s110: Scenario = {
  id: 'S1-10',
  title: 'bounced ends',
  *cases(): Iterable<ScenarioCase> {
    yield* links();
    yield* undos();
    yield dmaCase({
      way: 'no slot for the tail',
      // One granule, for the head.
      rig: { ...rig, bounceBytes: SZ_4K },
      run(dma) {
        fill(dma);
        const state = new DmaIovaState();
        const { counts, result: errno } = dma.measure(() => link(dma, state, 'TO_DEVICE'));
        dma.later(() => dma.api.iovaFree(dma.dev, state));
        dma.rig.look(state.addr - 0x200, 3 * SZ_4K);
        const pages = dma.rig.mirror.size;
        return { errno, bounced: counts.bounced, pages, slots: dma.slots };
      },
      expected: { errno: -ERRNO.ENOMEM, bounced: 1, pages: 0, slots: 0 },
    });
  },
};
