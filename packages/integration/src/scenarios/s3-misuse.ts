/* S3-9: eight misuses, each refused before any store or command; five that plain calls do not notice. */
import { IommuError, SZ_4K } from '@iommukit/bits';
import type { DmaDevice, DmaHandle, DmaRule } from '@iommukit/dma-api';
import { IommuDevice } from '@iommukit/iommu-core';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';

const A = 0x4100_0000;
const B = 0x4200_0000;
const DIR = 'FROM_DEVICE';
/** A bounced buffer. */
const SMALL = { paddr: A + 0x200, size: 0x400 } as const;

/** A rig in whose domain a second device is, of which the caller says whether it snoops. */
function secondDevice(dma: DmaRig, snoops: 'snoops' | 'does-not'): DmaDevice {
  const { rig, api } = dma;
  const device = new IommuDevice({ name: '0000:00:02.0', ids: [9], groupKey: 'a', isPci: true });
  rig.machine.core.probeDevice(device, rig.machine.driver);
  rig.atEnd.push(() => rig.machine.core.releaseDevice(device));
  const coherent = snoops === 'snoops';
  const second = api.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent });
  if (second.domain !== dma.dev.domain) rig.fault('the devices have different domains');
  return second;
}

function mapHandle(dma: DmaRig, paddr: number): DmaHandle {
  const handle = dma.api.mapPhysHandle(dma.dev, paddr, SZ_4K, DIR);
  if (handle === null) throw new RangeError('the scenario maps one page');
  return handle;
}

/** The address of a mapping, of which it was asked whether it failed. */
function mapPlain({ api, dev }: DmaRig, paddr: number, size: number): number {
  const address = api.mapPhys(dev, paddr, size, DIR);
  if (api.mappingError(dev, address)) throw new RangeError('the scenario maps one page');
  return address;
}

/** Its rightful owner unmaps it at the end. */
function keep(dma: DmaRig, handle: DmaHandle): DmaHandle {
  dma.later(() => dma.api.unmapHandle(dma.dev, handle));
  return handle;
}

interface Misuse {
  readonly name: string;
  readonly code: string;
  readonly checking?: true;
  /** What was done rightly before; the misuse. */
  prepare(dma: DmaRig): () => void;
}

const REFUSED: readonly Misuse[] = [
  {
    name: 'H double unmap',
    code: 'HANDLE_UNMAPPED',
    prepare(dma) {
      const handle = mapHandle(dma, A);
      dma.api.unmapHandle(dma.dev, handle);
      return () => dma.api.unmapHandle(dma.dev, handle);
    },
  },
  {
    name: 'H stale: its slot and IOVA are another mapping now',
    code: 'HANDLE_STALE',
    prepare(dma) {
      const old = mapHandle(dma, A);
      dma.api.unmapHandle(dma.dev, old);
      const { slot, dmaAddr } = keep(dma, mapHandle(dma, B));
      if (slot !== old.slot || dmaAddr !== old.dmaAddr) dma.rig.fault('nothing was used again');
      return () => dma.api.unmapHandle(dma.dev, old);
    },
  },
  {
    name: 'H other device of the domain',
    code: 'HANDLE_FOREIGN',
    prepare(dma) {
      const handle = keep(dma, mapHandle(dma, A));
      const other = secondDevice(dma, 'does-not');
      return () => dma.api.unmapHandle(other, handle);
    },
  },
  {
    name: 'H other size',
    code: 'HANDLE_SIZE',
    prepare(dma) {
      const handle = keep(dma, mapHandle(dma, A));
      return () => dma.api.unmapHandle(dma.dev, { ...handle, size: SZ_4K / 2 });
    },
  },
  {
    name: 'H other direction',
    code: 'HANDLE_DIRECTION',
    prepare(dma) {
      const handle = keep(dma, mapHandle(dma, A));
      return () => dma.api.unmapHandle(dma.dev, { ...handle, dir: 'TO_DEVICE' });
    },
  },
  {
    name: 'plain unmap after a handle took the IOVA',
    code: 'HANDLE_OWNED',
    prepare(dma) {
      const address = mapPlain(dma, A, SZ_4K);
      dma.api.unmapPhys(dma.dev, address, SZ_4K, DIR);
      if (keep(dma, mapHandle(dma, B)).dmaAddr !== address) dma.rig.fault('another IOVA');
      return () => dma.api.unmapPhys(dma.dev, address, SZ_4K, DIR);
    },
  },
  {
    name: 'Q a page that is not mapped there, checking',
    code: 'PAGE_MISMATCH',
    checking: true,
    prepare(dma) {
      const address = mapPlain(dma, A, SZ_4K);
      dma.later(() => dma.api.unmapPhys(dma.dev, address, SZ_4K, DIR, { page: A }));
      return () => dma.api.unmapPhys(dma.dev, address, SZ_4K, DIR, { page: B });
    },
  },
  {
    name: 'H sync after unmap',
    code: 'HANDLE_UNMAPPED',
    prepare(dma) {
      const handle = mapHandle(dma, A);
      dma.api.unmapHandle(dma.dev, handle);
      return () => dma.api.syncHandleForCpu(dma.dev, handle);
    },
  },
];

/** The code of what is thrown, or `none`. */
function codeOf(call: () => void): string {
  try {
    call();
    return 'none';
  } catch (error) {
    if (error instanceof IommuError) return error.code;
    throw error;
  }
}

/** What must be the same after a call that was refused. */
function stateOf({ rig, api, live, slots }: DmaRig): string {
  return JSON.stringify([rig.tree(), api.handles, [...live], slots, rig.machine.frames.used]);
}

function refusedCase({ name, code, checking, prepare }: Misuse): ScenarioCase {
  return dmaCase({
    way: name,
    rig: { device: 'non-coherent', checking: checking === true },
    run(dma) {
      const misuse = prepare(dma);
      const before = stateOf(dma);
      let refused = '';
      const counts = dma.count(() => {
        refused = codeOf(misuse);
      });
      return { ...counts, refused, unchanged: stateOf(dma) === before };
    },
    expected: {
      ...{ refused: code, unchanged: true, fmt: 0, st: 0, cmd: 0, walk: 0, warn: 0 },
      ...{ linesOut: 0, linesIn: 0, copiedIn: 0, copiedOut: 0, iovasFreed: 0 },
    },
  });
}

interface Unnoticed {
  readonly name: string;
  readonly rig?: DmaRigOptions;
  /** What was done rightly before; the misuse. */
  prepare(dma: DmaRig): () => void;
  /** What it did instead of nothing, or left out. */
  readonly harm: Observed;
  /** What a kernel with dma-debug says; `nothing` where it takes the mapping for the right one. */
  readonly debug: DmaRule | 'nothing';
}

const PLAIN: readonly Unnoticed[] = [
  {
    name: 'K double unmap, the IOVA is used again',
    rig: { device: 'non-coherent' },
    prepare(dma) {
      const { api, dev } = dma;
      const address = mapPlain(dma, A, SZ_4K);
      api.unmapPhys(dev, address, SZ_4K, DIR);
      if (mapPlain(dma, B, SZ_4K) !== address) dma.rig.fault('another IOVA');
      return () => api.unmapPhys(dev, address, SZ_4K, DIR);
    },
    // Somebody else's page is gone.
    harm: { fmt: 1, VA: 1, SYNC: 1, iovasFreed: 1, live: 0 },
    debug: 'nothing',
  },
  {
    name: 'K sync of a stale address',
    rig: { device: 'non-coherent' },
    prepare(dma) {
      const { api, dev } = dma;
      const address = mapPlain(dma, A, SZ_4K);
      api.unmapPhys(dev, address, SZ_4K, DIR);
      if (mapPlain(dma, B, SZ_4K) !== address) dma.rig.fault('another IOVA');
      dma.later(() => api.unmapPhys(dev, address, SZ_4K, DIR));
      return () => api.syncForCpu(dev, address, SZ_4K, DIR);
    },
    // The other buffer's lines.
    harm: { fmt: 0, linesIn: 64, firstLine: B, live: 1 },
    debug: 'nothing',
  },
  {
    name: 'K other size within the mapping',
    rig: { untrusted: true },
    prepare(dma) {
      const { api, dev } = dma;
      const address = mapPlain(dma, SMALL.paddr, SMALL.size);
      return () => api.unmapPhys(dev, address, SMALL.size / 2, DIR);
    },
    // Half of what the device wrote never arrives.
    harm: { fmt: 1, copiedOut: 0x200, live: 0 },
    debug: 'free-size',
  },
  {
    name: 'K other direction',
    rig: { untrusted: true },
    prepare(dma) {
      const { api, dev } = dma;
      const address = mapPlain(dma, SMALL.paddr, SMALL.size);
      return () => api.unmapPhys(dev, address, SMALL.size, 'TO_DEVICE');
    },
    // Nothing of it does.
    harm: { fmt: 1, copiedOut: 0, live: 0 },
    debug: 'free-direction',
  },
  {
    name: 'K other device of the domain',
    rig: { device: 'non-coherent' },
    prepare(dma) {
      const { api } = dma;
      const address = mapPlain(dma, A, SZ_4K);
      const other = secondDevice(dma, 'snoops');
      return () => api.unmapPhys(other, address, SZ_4K, DIR);
    },
    // Stale lines stay in the cache.
    harm: { fmt: 1, linesIn: 0, live: 0 },
    debug: 'free-unallocated',
  },
];

function unnoticedCase({ name, rig = {}, prepare, harm, debug }: Unnoticed): ScenarioCase {
  const lines: number[] = [];
  return dmaCase({
    way: name,
    rig: { ...rig, misuse: true, onCache: (_what, paddr) => void lines.push(paddr) },
    run(dma) {
      const misuse = prepare(dma);
      const printed = dma.printed.length;
      const reports = dma.debug.reports.length;
      lines.length = 0;
      let refused = '';
      const counts = dma.count(() => {
        refused = codeOf(misuse);
      });
      const seen = { refused, live: dma.liveIovas, printed: dma.printed.length - printed };
      const debug = dma.debug.reports[reports]?.rule ?? 'nothing';
      return { ...counts, ...seen, firstLine: lines[0] ?? 0, debug };
    },
    expected: { refused: 'none', warn: 0, printed: 0, ...harm, debug },
  });
}

export const s39: Scenario = {
  id: 'S3-9',
  title: 'eight misuses refused, five plain ones unnoticed without dma-debug, two with it',
  *cases(): Iterable<ScenarioCase> {
    for (const misuse of REFUSED) yield refusedCase(misuse);
    for (const misuse of PLAIN) yield unnoticedCase(misuse);
  },
};
