import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { svaBindDevice } from '@iommukit/sva-pasid';
import { PAGE, SvaRig } from '../test/sva-rig.ts';

const PAGES = 256;
const START = 0x7f00_0000_0000;
const policy = { detectStale: false };

/** Pages of a plain domain that a device uses once: mapped, written by DMA, unmapped with their invalidation. */
function mapUnmap(): () => number {
  const rig = new SvaRig({ policy });
  const { core } = rig.machine;
  const device = rig.device(8);
  const { group } = device;
  const domain = group?.domain;
  if (domain == null) throw new Error('no domain');
  const engine = rig.engine(device);
  const frame = rig.pageFrames.alloc();
  return () => {
    let sum = 0;
    for (let i = 0; i < PAGES; i++) {
      const iova = START + i * PAGE;
      core.map(domain, iova, frame, PAGE, IOMMU_READ + IOMMU_WRITE);
      sum += engine.write({ address: iova }, i).state === 'written' ? 1 : 0;
      core.unmap(domain, iova, PAGE);
    }
    return sum;
  };
}

/** The same pages of a process, none of them there: each faults, is brought in, written, and taken again. */
function faults(by: 'stall' | 'pri'): () => number {
  const rig = new SvaRig({ by, policy });
  const device = rig.device(8);
  const mm = rig.process();
  const handle = svaBindDevice(rig.binder, device, mm);
  if (typeof handle === 'number') throw new Error(`bind: ${handle}`);
  const { pasid } = handle;
  mm.map({
    start: START,
    end: START + PAGES * PAGE,
    allowed: { read: true, write: true, exec: false },
  });
  const engine = rig.engine(device);
  return () => {
    let sum = 0;
    for (let i = 0; i < PAGES; i++) {
      const job = engine.write({ pasid, address: START + i * PAGE }, i);
      engine.settle();
      sum += job.state === 'written' ? 1 : 0;
      mm.reclaim(1);
    }
    return sum;
  };
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'map, DMA, unmap (page)', reference: true, ops: PAGES, run: mapUnmap() },
  { name: 'fault by stall, DMA, page taken (page)', ops: PAGES, run: faults('stall') },
  { name: 'fault by page request, DMA, page taken (page)', ops: PAGES, run: faults('pri') },
];
