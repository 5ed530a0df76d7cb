// A driver written from the text of `IommuOps` and `DomainOps` alone, for hardware unlike the others here: no page tables, but one array of
// pages for each domain (as the GART of old had one for all), a window that does not begin at 0, and pages of 16 KiB.
import type { IotlbGather, PhysRun, RangeGather } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import { describe, expect, it } from 'vitest';
import { type DriverSubject, driverContract } from '../src/contract/index.ts';
import {
  CORE_PROFILES,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
  type ReservedRegion,
} from '../src/index.ts';

const PAGE = 0x4000;
const WINDOW = 0x1000_0000;
const PAGES = 1024;
const WINDOW_END = WINDOW + PAGES * PAGE;
const MOST_PASIDS = 4;

const ENOMEM = -12;
const EEXIST = -17;
const ENODEV = -19;
const EINVAL = -22;
const ERANGE = -34;
const EOPNOTSUPP = -95;

const indexOf = (iova: number): number => Math.floor((iova - WINDOW) / PAGE);
const inWindow = (iova: number, size: number): boolean =>
  iova >= WINDOW && iova + size <= WINDOW_END;

/** The hardware: which array serves whom, and translations that it has seen, until it is told to drop them. */
class ArrayUnit {
  commands = 0;
  arrays = 0;
  failIn = 0;
  /** By stream and PASID. */
  readonly serving = new Map<string, ArrayDomain | 'identity'>();
  readonly #cache = new Map<ArrayDomain, Map<number, number>>();

  /** Memory for an array, or null. */
  allocate(): Float64Array | null {
    if (this.failIn > 0 && --this.failIn === 0) return null;
    this.arrays++;
    return new Float64Array(PAGES);
  }

  /** Serves a requester from an array, or nobody's; what it cached is kept by array, so nothing of another is used. */
  serve(requester: string, domain: ArrayDomain | 'identity' | null): void {
    this.commands++;
    if (domain === null) this.serving.delete(requester);
    else this.serving.set(requester, domain);
  }

  drop(domain: ArrayDomain, start: number, end: number): void {
    this.commands++;
    const cache = this.#cache.get(domain);
    for (const page of cache?.keys() ?? []) if (page >= start && page < end) cache?.delete(page);
  }

  access(requester: string, iova: number): number {
    const domain = this.serving.get(requester);
    if (domain === undefined) return -1;
    if (domain === 'identity') return iova;
    const offset = iova % PAGE;
    const page = iova - offset;
    const cache = this.#cache.get(domain) ?? new Map<number, number>();
    this.#cache.set(domain, cache);
    const paddr = cache.get(page) ?? domain.iovaToPhys(page);
    if (paddr === 0) return -1;
    cache.set(page, paddr);
    return paddr + offset;
  }
}

const requesterOf = (device: IommuDevice, pasid: number): string => `${device.name}/${pasid}`;

/** What the driver keeps of a device. */
class Claim {
  readonly unit: ArrayUnit;

  constructor(unit: ArrayUnit) {
    this.unit = unit;
  }
}

class ArrayDomain implements DomainOps {
  mapped = 0;
  failedAt = -1;
  domain: IommuDomain | null = null;
  #pages: Float64Array | null = null;
  readonly #unit: ArrayUnit;
  readonly #core: IommuCore;

  constructor(unit: ArrayUnit, core: IommuCore) {
    this.#unit = unit;
    this.#core = core;
  }

  attachDev(device: IommuDevice): number {
    if (!(device.priv instanceof Claim) || device.priv.unit !== this.#unit) return EINVAL;
    this.#unit.serve(requesterOf(device, 0), this);
    return 0;
  }

  setDevPasid(device: IommuDevice, pasid: number): number {
    if (!(device.priv instanceof Claim) || device.priv.unit !== this.#unit) return EINVAL;
    this.#unit.serve(requesterOf(device, pasid), this);
    return 0;
  }

  #at(iova: number): number {
    return this.#pages?.[indexOf(iova)] ?? 0;
  }

  #reserve(): Float64Array | null {
    this.#pages ??= this.#unit.allocate();
    return this.#pages;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    this.mapped = 0;
    if (prot % 4 === 0) return EINVAL;
    if (!inWindow(iova, pgsize * pgcount)) return ERANGE;
    const pages = this.#reserve();
    if (pages === null) return ENOMEM;
    for (let i = 0; i < pgcount; i++) {
      if (this.#at(iova + i * PAGE) !== 0) return EEXIST;
      pages[indexOf(iova) + i] = paddr + i * PAGE;
      this.mapped += PAGE;
    }
    return 0;
  }

  unmapPages(iova: number, _pgsize: number, pgcount: number, gather: IotlbGather): number {
    if (!inWindow(iova, PAGE)) return 0;
    let done = 0;
    for (; done < pgcount && this.#at(iova + done * PAGE) !== 0; done++)
      this.#pages?.fill(0, indexOf(iova) + done, indexOf(iova) + done + 1);
    if (done > 0 && !gather.queued && this.domain !== null)
      this.#core.gatherAddPages(this.domain, gather, iova, PAGE, done);
    return done * PAGE;
  }

  iovaToPhys(iova: number): number {
    const page = this.#at(iova);
    return page === 0 ? 0 : page + (iova % PAGE);
  }

  flushIotlbAll(): void {
    this.#unit.drop(this, WINDOW, WINDOW_END);
  }

  iotlbSync(gather: IotlbGather): void {
    // This driver tells core of every page that it clears.
    if (gather.pgsize !== 0) this.#unit.drop(this, gather.start, gather.end);
  }

  mapRange(iova: number, runs: readonly PhysRun[], prot: number): number {
    this.failedAt = -1;
    const size = runs.reduce((sum, { length }) => sum + length, 0);
    if (prot % 4 === 0) return EINVAL;
    if (!inWindow(iova, size)) return ERANGE;
    for (let at = iova; at < iova + size; at += PAGE)
      if (this.#at(at) !== 0) {
        this.failedAt = at;
        return EEXIST;
      }
    const pages = this.#reserve();
    if (pages === null) return ENOMEM;
    let index = indexOf(iova);
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; done += PAGE) pages[index++] = paddr + done;
    return 0;
  }

  unmapRange(iova: number, size: number, pending: RangeGather): number {
    if (!inWindow(iova, PAGE)) return 0;
    let done = 0;
    for (; done < size && this.#at(iova + done) !== 0; done += PAGE)
      this.#pages?.fill(0, indexOf(iova + done), indexOf(iova + done) + 1);
    if (done > 0) pending.add(iova, iova + done, PAGE);
    return done;
  }

  flushRanges(pending: RangeGather): number {
    pending.forEach((start, end) => {
      this.#unit.drop(this, start, end);
    });
    return 0;
  }

  releaseTable(): void {
    throw new Error('there are no tables to detach');
  }

  free(): void {
    this.flushIotlbAll();
    if (this.#pages !== null) this.#unit.arrays--;
    this.#pages = null;
  }
}

/** Identity, and blocked, which takes PASIDs back. */
function fixedDomain(unit: ArrayUnit, type: 'identity' | 'blocked'): IommuDomain {
  const to = type === 'identity' ? type : null;
  const move = (device: IommuDevice, pasid: number): number => {
    unit.serve(requesterOf(device, pasid), to);
    return 0;
  };
  const ops: DomainOps = {
    attachDev: (device) => move(device, 0),
    ...(type === 'blocked' ? { setDevPasid: move } : {}),
    mapped: 0,
    mapPages: () => ENODEV,
    unmapPages: () => 0,
    iovaToPhys: (iova) => (type === 'identity' ? iova : 0),
    flushIotlbAll() {},
    iotlbSync() {},
    free() {},
  };
  return new IommuDomain({ type, ops, pgsizeBitmap: 0, apertureStart: 0, apertureEnd: 2 ** 64 });
}

class ArrayDriver implements IommuOps {
  readonly maxPasids = MOST_PASIDS;
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: false };
  readonly blockedDomain: IommuDomain;
  readonly #unit: ArrayUnit;
  readonly #core: IommuCore;

  constructor(unit: ArrayUnit, core: IommuCore) {
    this.#unit = unit;
    this.#core = core;
    this.blockedDomain = fixedDomain(unit, 'blocked');
  }

  probeDevice(device: IommuDevice): number {
    if (device.info.ids.length === 0) return ENODEV;
    device.priv = new Claim(this.#unit);
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    for (let pasid = 0; pasid < MOST_PASIDS; pasid++)
      this.#unit.serve(requesterOf(device, pasid), null);
    device.priv = null;
  }

  domainAlloc(type: DomainType): IommuDomain | number {
    if (type === 'identity' || type === 'blocked') return fixedDomain(this.#unit, type);
    if (type === 'sva') return EOPNOTSUPP;
    const ops = new ArrayDomain(this.#unit, this.#core);
    const domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap: PAGE,
      apertureStart: WINDOW,
      apertureEnd: WINDOW_END,
    });
    ops.domain = domain;
    return domain;
  }

  getResvRegions(): readonly ReservedRegion[] {
    return [
      { type: 'reserved', start: 0, end: WINDOW, prot: 0 },
      { type: 'reserved', start: WINDOW_END, end: 2 ** 32, prot: 0 },
    ];
  }
}

const subject = (Unit: typeof ArrayUnit): DriverSubject => ({
  name: 'a unit with an array of pages',
  create(core) {
    const unit = new Unit();
    return {
      driver: new ArrayDriver(unit, core),
      devices: ['a', 'b'].map((name, i) => ({
        name,
        ids: [i + 1],
        groupKey: name,
        maxPasids: MOST_PASIDS,
      })),
      access: (device, iova, pasid) => unit.access(requesterOf(device, pasid), iova),
      commands: () => unit.commands,
      frames: () => unit.arrays,
      failAllocation(k) {
        unit.failIn = k;
      },
    };
  },
});

describe('a driver written from the text of the contract keeps it', () => {
  it.each(driverContract(subject(ArrayUnit)))('$name', ({ run }) => run());
});

it('and does so by its invalidations: hardware that ignores them breaks the contract', () => {
  class DeafUnit extends ArrayUnit {
    override drop(): void {
      this.commands++;
    }
  }
  const rules = driverContract(subject(DeafUnit)).filter(({ run }) => {
    try {
      run();
      return false;
    } catch {
      return true;
    }
  });
  expect(rules.map(({ name }) => name)).toContain('what a gather holds is gone after its sync');
});

it('a map beyond the aperture is -ERANGE, and leaves nothing', () => {
  const core = new IommuCore({
    trace: new TraceChannel(),
    profile: CORE_PROFILES['7.3'],
    defaultDomainType: 'dma',
  });
  const device = new IommuDevice({ name: 'a', ids: [1], groupKey: 'a' });
  expect(core.probeDevice(device, new ArrayDriver(new ArrayUnit(), core))).toBe(0);
  const domain = device.group?.domain as IommuDomain;
  const last = WINDOW_END - PAGE;
  expect(core.map(domain, last, 0x8_0000_0000, 2 * PAGE, 3)).toBe(ERANGE);
  expect(core.iovaToPhys(domain, last)).toBe(0);
});
