/* SX-6: the five threads in one machine, and a second SMMU over its memory. */
import { SZ_4K } from '@iommukit/bits';
import { DmaIovaState } from '@iommukit/dma-api';
import { type IoMm, svaFreePasid, svaMapSg, svaUnmap } from '@iommukit/sva-pasid';
import { pasidCase } from './pasid-case.ts';
import { type PasidRig, STREAM, tableOf } from './pasid-rig.ts';
import { PlainSmmu } from './plain-smmu.ts';
import { mapIn, type UnmapWay } from './s3-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, scat, slots, X } from './setup.ts';

const REQUESTS = 100;
const VECTORS = scat(32);
const LIST = 64;
const SPACE_PAGES = 16;
const OTHER = PA + 0x1000_0000;

/** The device, read by the model and by the plain SMMU over the same memory. */
class TwoSmmus {
  accesses = 0;
  /** Accesses for which they disagree, or that are not what the case expects. */
  differ = 0;
  wrong = 0;
  readonly #rig: PasidRig;
  readonly #plain: PlainSmmu;

  constructor(rig: PasidRig) {
    this.#rig = rig;
    const { memory, driver } = rig.machine;
    this.#plain = new PlainSmmu(memory, (streamId) => driver.strtab.entry(streamId));
  }

  expect(pasid: number | null, iova: number, expected: number | string): void {
    for (const rw of ['read', 'write'] as const) {
      const first = this.#rig.access(pasid, iova, rw);
      const second = this.#plain.access({ streamId: STREAM, pasid, iova, rw });
      this.accesses++;
      if (first !== second) this.differ++;
      if (first !== expected) this.wrong++;
    }
  }
}

const REFUSED = 'F_TRANSLATION';

/** What all parts share. */
interface Parts {
  readonly rig: PasidRig;
  readonly device: TwoSmmus;
  readonly dev: ReturnType<PasidRig['machine']['dma']['setupDevice']>;
}

/** S1: requests in two steps. */
function requests({ rig, device, dev }: Parts): void {
  const { dma } = rig.machine;
  const size = VECTORS.length * SZ_4K;
  for (let i = 0; i < REQUESTS; i++) {
    const state = new DmaIovaState();
    dma.iovaTryAlloc(dev, state, PA, size);
    for (const [n, { paddr }] of VECTORS.entries())
      dma.iovaLink(dev, state, { paddr, offset: n * SZ_4K, size: SZ_4K, dir: 'BIDIRECTIONAL' });
    dma.iovaSync(dev, state, 0, size);
    const { addr } = state;
    for (const [n, { paddr }] of VECTORS.entries()) device.expect(null, addr + n * SZ_4K, paddr);
    dma.iovaDestroy(dev, state, { mapped: size, dir: 'BIDIRECTIONAL' });
    device.expect(null, addr, REFUSED);
  }
}

/** S0: 32 buffers leave, 32 others come, one flush. */
function batch({ rig, device }: Parts): void {
  const { core } = rig.machine;
  const list = scat(LIST);
  for (const iova of slots(0, 32)) {
    core.mapSg(rig.domain, iova, list, PROT);
    device.expect(null, iova, PA);
  }
  const work = core.beginBatch(rig.domain);
  if (typeof work === 'number') {
    rig.fault(`beginBatch: ${work}`);
    return;
  }
  for (const iova of slots(0, 32)) work.unmapRange(iova, LIST * SZ_4K);
  for (const iova of slots(32, 32)) work.mapSg(iova, list, PROT);
  work.flush();
  for (const iova of slots(0, 32)) device.expect(null, iova, REFUSED);
  for (const iova of slots(32, 32)) device.expect(null, iova, PA);
}

/** S2: two address spaces with the same IOVAs. */
function spaces({ rig, device }: Parts): void {
  const made: readonly (readonly [IoMm, number])[] = [
    [rig.alloc(), PA],
    [rig.alloc(), OTHER],
  ];
  const page = (i: number): number => X + i * SZ_4K;
  for (const [ioMm, base] of made) svaMapSg(ioMm, X, scat(SPACE_PAGES, SZ_4K, base), PROT);
  for (let i = 0; i < SPACE_PAGES; i++)
    for (const [{ pasid }, base] of made) device.expect(pasid, page(i), base + 2 * i * SZ_4K);
  for (const [ioMm] of made) {
    svaUnmap(ioMm, X, SPACE_PAGES * SZ_4K);
    device.expect(ioMm.pasid, X, REFUSED);
  }
  for (const [ioMm] of made) {
    const { pasid } = ioMm;
    svaFreePasid(rig.domain, ioMm);
    device.expect(pasid, X, 'C_BAD_CD');
  }
}

/** S3 and S4: single buffers, unmapped by handle or by address. */
function buffers({ rig, device, dev }: Parts, way: UnmapWay): void {
  for (let i = 0; i < REQUESTS; i++) {
    const paddr = PA + 2 * i * SZ_4K;
    const one = mapIn(way, rig.machine.dma, dev, { paddr, size: SZ_4K, dir: 'BIDIRECTIONAL' });
    if (one === null) {
      rig.fault(`buffer ${i} is not mapped`);
      continue;
    }
    device.expect(null, one.address, paddr);
    one.unmap();
    device.expect(null, one.address, REFUSED);
  }
}

function together(rig: PasidRig, way: UnmapWay): Observed {
  const { machine } = rig;
  const dev = machine.dma.setupDevice(rig.device, {
    dmaBits: 64,
    coherentDmaBits: 64,
    coherent: true,
  });
  const device = new TwoSmmus(rig);
  const parts: Parts = { rig, device, dev };
  const total = { VA: 0, ASID: 0, CD: 0, SYNC: 0, cmd: 0 };
  const live = new Map<number, number>();
  machine.dmaTrace.listen((event) => {
    if (event.name === 'alloc_fast_ret') live.set(event.pfn, 1);
    else if (event.name === 'free_fast') live.delete(event.pfn);
  });
  const works = [requests, batch, spaces, (all: Parts) => buffers(all, way)];
  for (const work of works) {
    const counts = rig.count(() => work(parts));
    for (const name of ['VA', 'ASID', 'CD', 'SYNC', 'cmd'] as const) total[name] += counts[name];
  }
  const { walks } = machine.dma.counters;
  const { walkLevels } = tableOf(rig.domain).counters;
  for (const iova of slots(32, 32)) machine.core.unmap(rig.domain, iova, LIST * SZ_4K);
  return {
    ...{ ...total, walks, wl: walkLevels },
    ...{ ids: rig.sva.pasids.used, iovas: live.size },
    ...{ accesses: device.accesses, differ: device.differ, wrong: device.wrong },
  };
}

export const sx6: Scenario = {
  id: 'SX-6',
  title: 'the five threads in one machine',
  *cases(): Iterable<ScenarioCase> {
    const commands = { VA: 234, ASID: 2, CD: 8, SYNC: 213, cmd: 457 };
    // Requests: 33 pages each; 128 of the batch; 36 of the address spaces; 2 of each buffer. Each is read and written.
    const accesses = 2 * (100 * 33 + 3 * 32 + 2 * 18 + 100 * 2);
    for (const [way, walks] of [
      ['H', 0],
      ['K', 100],
    ] as const)
      yield pasidCase({
        way: `buffers ${way}`,
        run: (rig) => together(rig, way),
        expected: {
          ...{ ...commands, walks, wl: 4 * walks },
          ...{ ids: 0, iovas: 0, accesses, differ: 0, wrong: 0 },
        },
      });
  },
};
