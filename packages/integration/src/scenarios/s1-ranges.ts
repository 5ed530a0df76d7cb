/* S1-4 to S1-6: what is linked in a range, what fails, and the driver's hook. */
import { hex, SZ_4K } from '@iommukit/bits';
import { DmaIovaState } from '@iommukit/dma-api';
import { ERRNO } from '@iommukit/platform';
import { type DmaRig, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { MIB, PA, scat } from './setup.ts';

const KIB = 1024;
const PAGES_64 = scat(64);
const dir = 'TO_DEVICE' as const;

/** Pages `first` to `first + 15` of the range, one link each. */
function linkSixteen(dma: DmaRig, state: DmaIovaState, first: number): void {
  for (let page = first; page < first + 16; page++) {
    const paddr = PAGES_64[page]?.paddr ?? 0;
    dma.api.iovaLink(dma.dev, state, { paddr, offset: page * SZ_4K, size: SZ_4K, dir });
  }
  dma.api.iovaSync(dma.dev, state, first * SZ_4K, 16 * SZ_4K);
}

/** The device finds sixteen pages, or none of them. */
function read(dma: DmaRig, state: DmaIovaState, first: number, are: 'linked' | 'gone'): void {
  for (let page = first; page < first + 16; page++)
    dma.expectAt(state.addr + page * SZ_4K, are === 'linked' ? (PAGES_64[page]?.paddr ?? 0) : -1);
}

/** A range of 64 pages of which 0..15 and 32..47 are linked. */
function linkTwoParts(dma: DmaRig): DmaIovaState {
  const state = new DmaIovaState();
  dma.api.iovaTryAlloc(dma.dev, state, 0, 256 * KIB);
  linkSixteen(dma, state, 0);
  linkSixteen(dma, state, 32);
  read(dma, state, 0, 'linked');
  read(dma, state, 32, 'linked');
  return state;
}

function unlinkSixteen(dma: DmaRig, state: DmaIovaState, first: number): void {
  dma.api.iovaUnlink(dma.dev, state, { offset: first * SZ_4K, size: 16 * SZ_4K, dir });
}

/** Undoes what a case left of the two parts. */
function unlinkAll(dma: DmaRig, state: DmaIovaState): void {
  for (const first of [0, 32]) unlinkSixteen(dma, state, first);
  dma.api.iovaFree(dma.dev, state);
}

const unlinked = {
  ...{ fmt: 1, lvl: 4, st: 16, walk: 0, warn: 0, VA: 1, SYNC: 1, cmd: 2, iovasFreed: 0 },
  fields: '1x NUM=0 SCALE=4 TG=1 TTL=3 LEAF=1',
};

export const s14: Scenario = {
  id: 'S1-4',
  title: 'offsets and partial unlink',
  *cases(): Iterable<ScenarioCase> {
    yield dmaCase({
      way: 'link pages 0..15 and 32..47',
      rig: { hook: true },
      run(dma) {
        const { counts, result: state } = dma.measure(() => linkTwoParts(dma));
        dma.later(() => unlinkAll(dma, state));
        read(dma, state, 16, 'gone');
        return { ...counts, iova: hex(state.addr) };
      },
      expected: {
        ...{ iova: '0xfffc0000', iovas: 1, fmt: 32, lvl: 128, alloc: 3, st: 35 },
        ...{ hook: 2, warn: 0, cmd: 0 },
      },
    });
    yield dmaCase({
      way: 'unlink 32..47',
      run(dma) {
        const state = linkTwoParts(dma);
        const counts = dma.count(() => unlinkSixteen(dma, state, 32));
        read(dma, state, 0, 'linked');
        read(dma, state, 32, 'gone');
        dma.later(() => {
          unlinkSixteen(dma, state, 0);
          dma.api.iovaFree(dma.dev, state);
        });
        return { ...counts };
      },
      expected: unlinked,
    });
    yield dmaCase({
      way: 'then 0..15, then free',
      run(dma) {
        const state = linkTwoParts(dma);
        unlinkSixteen(dma, state, 32);
        const counts = dma.count(() => unlinkSixteen(dma, state, 0));
        read(dma, state, 0, 'gone');
        const free = dma.count(() => dma.api.iovaFree(dma.dev, state));
        return { ...counts, freeCmd: free.cmd, freed: free.iovasFreed, live: dma.liveIovas };
      },
      expected: { ...unlinked, freeCmd: 0, freed: 1, live: 0 },
    });
    yield destroyedTooEarly();
  },
};

/** `destroy` is for what [0, mapped) holds alone: the rest stays mapped under a freed IOVA. */
function destroyedTooEarly(): ScenarioCase {
  return dmaCase({
    way: 'destroy of 256 KiB before any unlink',
    run(dma) {
      const state = linkTwoParts(dma);
      const before = dma.rig.mirror.size;
      const { warn } = dma.count(() =>
        dma.api.iovaDestroy(dma.dev, state, { mapped: 256 * KIB, dir }),
      );
      const unmapped = before - dma.rig.mirror.size;
      read(dma, state, 0, 'gone');
      read(dma, state, 32, 'linked');
      // Nobody has the range any more: core takes the pages out.
      const { rig } = dma;
      dma.later(() => void rig.machine.core.unmap(rig.domain, state.addr + 32 * SZ_4K, 16 * SZ_4K));
      return { unmapped, warn, live: dma.liveIovas, leaks: dma.leaks() };
    },
    expected: { unmapped: 16, warn: 3, live: 0, leaks: 16 },
  });
}

/** Bytes of a link that no block can map. */
const PIECE = 256 * KIB;

/** Links of 256 KiB into 4 MiB until one fails: that errno, and how many went well. */
function linkUntilFailure(dma: DmaRig, state: DmaIovaState): { errno: number; linked: number } {
  const { api, dev } = dma;
  api.iovaTryAlloc(dev, state, 0, 4 * MIB);
  let linked = 0;
  for (; linked < 16; linked++) {
    // Contiguous, never congruent to the IOVA above 4 KiB.
    const paddr = PA + SZ_4K + linked * 2 * PIECE;
    const link = { paddr, offset: linked * PIECE, size: PIECE, dir };
    const errno = api.iovaLink(dev, state, link);
    if (errno !== 0) return { errno, linked };
  }
  return { errno: 0, linked };
}

export const s15: Scenario = {
  id: 'S1-5',
  title: 'a link fails',
  *cases(): Iterable<ScenarioCase> {
    const upToFailure = (dma: DmaRig, state: DmaIovaState) => {
      dma.rig.machine.frames.failIn = 4;
      return dma.measure(() => linkUntilFailure(dma, state));
    };
    yield dmaCase({
      way: 'table 4 cannot be allocated',
      run(dma) {
        const state = new DmaIovaState();
        const { counts, result } = upToFailure(dma, state);
        dma.later(() => dma.api.iovaDestroy(dma.dev, state, { mapped: 2 * MIB, dir }));
        const { addr } = state;
        dma.expectAt(addr + 2 * MIB - SZ_4K, PA + SZ_4K + 7 * 2 * PIECE + PIECE - SZ_4K);
        dma.expectAt(addr + 2 * MIB, -1);
        return { ...counts, ...result, iova: hex(addr) };
      },
      expected: {
        ...{ iova: '0xffc00000', errno: -ERRNO.ENOMEM, linked: 8, fmt: 9, lvl: 35, st: 515 },
        ...{ alloc: 3, warn: 0, cmd: 0 },
      },
    });
    yield dmaCase({
      way: 'destroy of the 2 MiB that are linked',
      run(dma) {
        const state = new DmaIovaState();
        upToFailure(dma, state);
        const granules = dma.live.get(state.addr / SZ_4K) ?? 0;
        const counts = dma.count(() =>
          dma.api.iovaDestroy(dma.dev, state, { mapped: 2 * MIB, dir }),
        );
        dma.rig.look(state.addr, 4 * MIB);
        const { tablesAllocated, tablesFreed } = dma.rig.table.counters;
        return { ...counts, granules, live: dma.liveIovas, tables: tablesAllocated - tablesFreed };
      },
      expected: {
        ...{ fmt: 1, lvl: 3, st: 2, free: 1, VA: 2, SYNC: 2, cmd: 4, walk: 0, warn: 0 },
        ...{ granules: 1024, iovasFreed: 1, live: 0, tables: 2 },
      },
    });
  },
};

/** The hook of a driver that has one: what it was called with, and what it says. */
function hookOf(dma: DmaRig, errno: number): string[] {
  const calls: string[] = [];
  dma.rig.domain.ops.iotlbSyncMap = (iova, size) => {
    calls.push(`${hex(iova)} + ${hex(size)}`);
    return errno;
  };
  return calls;
}

function linkRequest(dma: DmaRig, state: DmaIovaState): void {
  dma.api.iovaTryAlloc(dma.dev, state, 0, 128 * KIB);
  for (const [i, { paddr, length: size }] of scat(32).entries())
    dma.api.iovaLink(dma.dev, state, { paddr, offset: i * SZ_4K, size, dir });
}

const whole = { mapped: 128 * KIB, dir };

export const s16: Scenario = {
  id: 'S1-6',
  title: 'sync exactly once',
  *cases(): Iterable<ScenarioCase> {
    for (const errno of [0, -ERRNO.ENOMEM])
      yield dmaCase({
        way: errno === 0 ? 'a driver with the hook' : 'whose hook fails',
        run(dma) {
          const calls = hookOf(dma, errno);
          const state = new DmaIovaState();
          linkRequest(dma, state);
          const early = calls.length;
          const result = dma.api.iovaSync(dma.dev, state, 0, 128 * KIB);
          const undo = dma.count(() => dma.api.iovaDestroy(dma.dev, state, whole));
          dma.rig.look(state.addr, 128 * KIB);
          const { VA, SYNC, fmt } = undo;
          return { early, calls: calls.join(), result, fmt, VA, SYNC, live: dma.liveIovas };
        },
        expected: {
          ...{ early: 0, calls: '0xfffe0000 + 0x20000', result: errno },
          ...{ fmt: 1, VA: 1, SYNC: 1, live: 0 },
        },
      });
    yield dmaCase({
      way: 'SMMUv3, which has none',
      run(dma): Observed {
        const { api, dev } = dma;
        const state = new DmaIovaState();
        const hasHook = dma.rig.domain.ops.iotlbSyncMap !== undefined;
        const allocated = dma.count(() => void api.iovaTryAlloc(dev, state, 0, 128 * KIB));
        api.iovaFree(dev, state);
        const linked = dma.count(() => linkRequest(dma, state));
        dma.later(() => api.iovaDestroy(dev, state, whole));
        // Tables are read from memory: what is linked can be used at once.
        for (const [i, { paddr }] of scat(32).entries())
          dma.expectAt(state.addr + i * SZ_4K, paddr);
        const synced = dma.count(() => void api.iovaSync(dev, state, 0, 128 * KIB));
        return { hasHook, tryAlloc: allocated.cmd, link: linked.cmd, sync: synced.cmd };
      },
      expected: { hasHook: false, tryAlloc: 0, link: 0, sync: 0 },
    });
  },
};
