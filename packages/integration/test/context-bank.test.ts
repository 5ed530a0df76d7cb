// A GPU behind an IOMMU without PASIDs: its command stream writes the context bank (TTBR0 and ASID) before each job. The handles and the calls
// on them are those of PASIDs; the tables are real, read back by a walker of a few lines.
import {
  arm64LpaeS1,
  createPageTable,
  type FlushOps,
  IO_PGTABLE_PROFILES,
  type IotlbGather,
  type LpaePageTable,
  type StageOneRegisters,
} from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { FrameAllocator, PhysicalMemory, TraceChannel } from '@iommukit/platform';
import {
  type ContextBank,
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  PageTableSwitch,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceShutdown,
  svaFreePasid,
  svaMap,
  svaMapSg,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from '@iommukit/sva-pasid';
import { expect, test } from 'vitest';
import { PROT } from '../src/scenarios/setup.ts';

const PAGE = 4096;
const IOVA = 0x12_3456_7000;
const RAM = { base: 0x4000_0000, size: 0x1000_0000 };
const TABLES = { base: 0x8000_0000, size: 0x400_0000 };
const memory = new PhysicalMemory([RAM, TABLES]);
const frames = new FrameAllocator(TABLES);

/** What the bank walks: the top table, and the tag of what it caches. */
interface Bank {
  readonly ttbr: number;
  readonly asid: number;
}

/** Four levels of 4 KiB tables. */
function walk(ttbr: number, iova: number): number {
  let table = ttbr;
  for (let level = 0; level < 4; level++) {
    const index = Math.floor(iova / 2 ** (39 - 9 * level)) % 512;
    const lo = memory.load64(table + index * 8);
    const low = lo >>> 0;
    if ((low & 1) === 0) return -1;
    table = (memory.hi & 0xffff) * 2 ** 32 + (low - (low % PAGE));
    if (level < 3 && (low & 2) === 0) {
      const size = 2 ** (39 - 9 * level);
      return table + (iova % size) - (iova % PAGE);
    }
  }
  return table;
}

/** The bank with its TLB, which keeps everything until it is told. */
class Gpu implements ContextBank {
  readonly most = 3;
  readonly tlb = new Map<string, number>();
  own: Bank = { ttbr: 0, asid: 0 };
  bank: Bank = { ttbr: 0, asid: 0 };
  walks = 0;

  load(domain: IommuDomain | null): number {
    this.bank = domain === null ? this.own : (domain.ops as BankDomain).bank;
    return 0;
  }

  /** One job writes a word; -1 when it faults. */
  write(iova: number, value: number): number {
    const { ttbr, asid } = this.bank;
    const page = iova - (iova % PAGE);
    const key = `${asid} ${page}`;
    let frame = this.tlb.get(key) ?? -1;
    if (frame < 0) {
      this.walks++;
      frame = walk(ttbr, page);
      if (frame < 0) return -1;
      this.tlb.set(key, frame);
    }
    memory.store64(frame + (iova % PAGE), value, 0);
    return frame;
  }

  drop(asid: number, start = 0, end = 2 ** 48): void {
    for (const key of this.tlb.keys()) {
      const [tag, page] = key.split(' ').map(Number) as [number, number];
      if (tag === asid && page >= start && page < end) this.tlb.delete(key);
    }
  }
}

const gpu = new Gpu();

class BankDomain implements DomainOps {
  mapped = 0;
  domain: IommuDomain | null = null;
  readonly asid: number;
  readonly table: LpaePageTable<StageOneRegisters>;

  constructor(asid: number) {
    this.asid = asid;
    const flush: FlushOps = {
      tlbFlushAll: () => gpu.drop(asid),
      tlbFlushWalk: (iova, size) => gpu.drop(asid, iova, iova + size),
      tlbAddPage: (gather, iova, granule, n) => {
        if (this.domain !== null) core.gatherAddPages(this.domain, gather, iova, granule, n);
      },
    };
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: 0x4020_1000,
      ias: 48,
      oas: 40,
      coherentWalk: true,
      memory,
      frames,
      flush,
      profile: IO_PGTABLE_PROFILES['7.3'],
    });
    if (typeof table === 'number') throw new Error(`createPageTable: ${table}`);
    this.table = table;
  }

  get bank(): Bank {
    return { ttbr: this.table.registers.ttbr, asid: this.asid };
  }

  attachDev(): number {
    gpu.own = this.bank;
    gpu.bank = this.bank;
    return 0;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const errno = this.table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = this.table.mapped;
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.table.iovaToPhys(iova);
  }

  flushIotlbAll(): void {
    gpu.drop(this.asid);
  }

  iotlbSync({ start, end }: IotlbGather): void {
    gpu.drop(this.asid, start, end);
  }

  free(): void {
    this.table.free();
    asids.add(this.asid);
  }
}

/** The highest free one first, so that one just freed is the next one given. */
const asids = new Set([1, 2, 3, 4]);

const driver: IommuOps = {
  capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
  probeDevice: () => 0,
  releaseDevice: () => {},
  getResvRegions: () => [],
  domainAlloc(type: DomainType) {
    const asid = Math.max(...asids);
    asids.delete(asid);
    const ops = new BankDomain(asid);
    const aperture = { apertureStart: 0, apertureEnd: 2 ** 48 };
    const domain = new IommuDomain({ ...aperture, type, ops, pgsizeBitmap: 0x4020_1000 });
    ops.domain = domain;
    return domain;
  },
};

const core = new IommuCore({
  trace: new TraceChannel(),
  profile: CORE_PROFILES['7.3'],
  defaultDomainType: 'dma',
});

test('jobs of three address spaces at one IOVA, switched by the register', () => {
  const device = new IommuDevice({ name: 'gpu', ids: [0], groupKey: 'gpu' });
  expect(core.probeDevice(device, driver)).toBe(0);
  const domain = device.group?.domain as IommuDomain;
  const banks = new PageTableSwitch(gpu);
  const features = IOMMU_SVA_FEAT_PRIVATE;
  expect(svaDeviceInit({ core, device, features, contexts: banks })).toBe(0);
  const alloc = (): IoMm => {
    const ioMm = svaAllocPasid(domain, device);
    if (typeof ioMm === 'number') throw new Error(`svaAllocPasid: ${ioMm}`);
    return ioMm;
  };
  const [a, b] = [alloc(), alloc()];
  const [own, ofA, ofB] = [RAM.base, RAM.base + 0x10_0000, RAM.base + 0x20_0000];
  core.map(domain, IOVA, own, PAGE, PROT);
  svaMap(a, IOVA, ofA, PAGE, PROT);
  svaMapSg(b, IOVA, [{ paddr: ofB, length: PAGE }], PROT);

  // 300 jobs in turn: every word where its own tables say, and three walks in all.
  for (let i = 0; i < 300; i++) {
    banks.switchTo([a, b, null][i % 3] as IoMm | null);
    expect(gpu.write(IOVA + 8 * i, i)).toBe([ofA, ofB, own][i % 3]);
  }
  for (let i = 0; i < 300; i++)
    expect(memory.load64(([ofA, ofB, own][i % 3] as number) + 8 * i)).toBe(i);
  expect(gpu.walks).toBe(3);

  // Unmap syncs, also of a table that the bank does not walk now; unmap_fast does not.
  svaUnmap(a, IOVA, PAGE);
  banks.switchTo(a);
  expect(gpu.write(IOVA, 1)).toBe(-1);
  banks.switchTo(b);
  svaUnmapFast(b, IOVA, PAGE);
  expect(gpu.write(IOVA, 2)).toBe(ofB);
  svaTlbSync(b);
  expect(gpu.write(IOVA, 3)).toBe(-1);

  // The current one goes: the GPU is back in its own, and whoever gets the ASID finds nothing of the old.
  svaMap(b, IOVA, ofB, PAGE, PROT);
  expect(gpu.write(IOVA, 4)).toBe(ofB);
  const { asid } = b.domain.ops as BankDomain;
  expect(svaFreePasid(domain, b)).toBe(0);
  expect(gpu.write(IOVA, 5)).toBe(own);
  const next = alloc();
  expect((next.domain.ops as BankDomain).asid).toBe(asid);
  banks.switchTo(next);
  expect(gpu.write(IOVA, 6)).toBe(-1);

  svaDeviceShutdown(device);
  expect(gpu.write(IOVA, 7)).toBe(own);
  core.releaseDevice(device);
  expect([frames.used, asids.size]).toEqual([0, 4]);
});
