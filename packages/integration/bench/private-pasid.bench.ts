import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { IommuDevice } from '@iommukit/iommu-core';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  IoMm,
  svaAllocPasid,
  svaDeviceInit,
  svaMap,
  svaUnmap,
} from '@iommukit/sva-pasid';
import { kernelProfile, Machine, MEMORY_OF_CAPTURES } from '../src/index.ts';

// Pages mapped and unmapped one by one through core, page table and consumed commands: in a domain of its own that is attached as a PASID,
// by core's calls, by the handle, and by the PASID as a number, which has to be looked up each time.
const [PAGES, SIZE, BASE, PA] = [512, 4096, 0x1_0000_0000, 0x8_8000_0000];
const PROT: number = IOMMU_READ + IOMMU_WRITE;
const machine = new Machine({
  idr: { IDR0: 0x0d44101b, IDR1: 0x02730290, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 },
  profile: kernelProfile('7.3'),
  cpus: 1,
  memory: MEMORY_OF_CAPTURES,
});
machine.boot();
const { core } = machine;
const device = new IommuDevice({ name: 'gpu', ids: [8], groupKey: 'gpu', maxPasids: 1024 });
core.probeDevice(device, machine.driver);
const group = device.group;
const parent = group?.domain;
if (group === null || parent === null || parent === undefined) throw new Error('no domain');
svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE });
const [handle, plain] = [0, 1].map(() => {
  const ioMm = svaAllocPasid(parent, device);
  if (typeof ioMm === 'number') throw new Error(`svaAllocPasid: ${ioMm}`);
  return ioMm;
}) as [IoMm, IoMm];
const { pasid } = handle;
const { domain } = plain;

function lookUp(id: number): IoMm {
  const found = group === null ? -1 : core.attachHandle(group, id);
  if (!(found instanceof IoMm)) throw new Error(`PASID ${id}`);
  return found;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'map + unmap on a plain domain (page)',
    reference: true,
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += core.map(domain, BASE + i * SIZE, PA + i * SIZE, SIZE, PROT);
        sum += core.unmap(domain, BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
  {
    name: 'svaMap + svaUnmap by handle (page)',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += svaMap(handle, BASE + i * SIZE, PA + i * SIZE, SIZE, PROT);
        sum += svaUnmap(handle, BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
  {
    name: 'the same, PASID looked up in each call (page)',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        sum += svaMap(lookUp(pasid), BASE + i * SIZE, PA + i * SIZE, SIZE, PROT);
        sum += svaUnmap(lookUp(pasid), BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
];
