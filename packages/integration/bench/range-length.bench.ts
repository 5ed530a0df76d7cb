import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { domainRig } from './domain-rig.ts';

// One range of n pages, mapped, unmapped and flushed in a batch: the cost of a page must not grow with n.
const BASE = 0x1_0000_0000;
// Off the 2 MiB boundary: every page gets a descriptor of its own.
const PA = 0x8_8000_1000;
const PROT: number = IOMMU_READ + IOMMU_WRITE;
const { machine, domain } = domainRig();
const begun = machine.core.beginBatch(domain);
if (typeof begun === 'number') throw new Error(`beginBatch: ${begun}`);
const batch = begun;

function round(pages: number): number {
  const mapped = batch.mapRange(BASE, PA, pages * 4096, PROT);
  return mapped + batch.unmapRange(BASE, pages * 4096) + batch.flush();
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: 'a range of 512 pages (page)', reference: true, ops: 512, run: () => round(512) },
  ...[1, 8, 64, 4096, 65_536, 1_000_000].map((pages) => ({
    name: `a range of ${pages} pages (page)`,
    ops: pages,
    run: () => round(pages),
  })),
];
