import { hex } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import type { IommuDevice } from '../device.ts';
import type { IommuDomain } from '../domain.ts';
import type { DriverRig, Page } from './driver-rig.ts';
import type { DriverRule } from './driver-rule.ts';

const ENOMEM = -12;
/** More allocations than any map here needs. */
const MOST_ALLOCATIONS = 64;

/** Pages in a row, from where the plan puts them. */
function row(rig: DriverRig, domain: IommuDomain, pages: number): Page {
  const size = domain.minPage;
  return { iova: rig.inside(domain, size), paddr: rig.memory, size: size * pages };
}

/** Has the device use every page, so that it is cached. */
function warm(rig: DriverRig, device: IommuDevice, page: Page, step: number): void {
  for (let at = 0; at < page.size; at += step)
    rig.same(
      `DMA to ${hex(page.iova + at)}`,
      rig.parts.access(device, page.iova + at, 0),
      page.paddr + at,
    );
}

export const mappingRules: readonly DriverRule[] = [
  {
    name: 'a page of every size translates, to its last byte and no further',
    run(rig) {
      const { device, domain } = rig.attached();
      for (const size of rig.sizes(domain)) {
        const page = { iova: rig.inside(domain, size), paddr: rig.memory + size, size };
        rig.map(domain, page);
        rig.translates(domain, device, page);
        rig.isHole(domain, device, page.iova - domain.minPage);
        rig.isHole(domain, device, page.iova + size);
        rig.unmap(domain, page.iova, size);
        rig.isHole(domain, device, page.iova);
        rig.isHole(domain, device, page.iova + size - domain.minPage);
      }
    },
  },
  {
    name: 'a range of mixed page sizes',
    run(rig) {
      const { device, domain } = rig.attached();
      const [least = 0, larger = least] = rig.sizes(domain);
      const iova = rig.inside(domain, larger) - least;
      const page = { iova, paddr: rig.memory + larger - least, size: larger + 2 * least };
      rig.map(domain, page);
      warm(rig, device, page, least);
      rig.isHole(domain, device, iova - least);
      rig.isHole(domain, device, iova + page.size);
      rig.unmap(domain, iova, page.size);
      for (let at = 0; at < page.size; at += least) rig.isHole(domain, device, iova + at);
    },
  },
  {
    name: 'what a gather holds is gone after its sync',
    run(rig) {
      const { device, domain } = rig.attached();
      const page = row(rig, domain, 5);
      rig.map(domain, page);
      warm(rig, device, page, domain.minPage);
      const gather = rig.core.newGather(domain);
      const least = domain.minPage;
      for (const i of [3, 0, 1])
        rig.same(
          'unmapFast',
          rig.core.unmapFast(domain, page.iova + i * least, least, gather),
          least,
        );
      rig.core.iotlbSync(domain, gather);
      for (const i of [0, 1, 3]) rig.isHole(domain, device, page.iova + i * least);
      for (const i of [2, 4])
        rig.same(
          'DMA to what stays',
          rig.parts.access(device, page.iova + i * least, 0),
          page.paddr + i * least,
        );
    },
  },
  {
    name: 'what a queued gather left is gone after flushIotlbAll',
    run(rig) {
      const { device, domain } = rig.attached();
      const page = row(rig, domain, 4);
      rig.map(domain, page);
      warm(rig, device, page, domain.minPage);
      const gather = new IotlbGather();
      gather.queued = true;
      rig.same('unmapFast', rig.core.unmapFast(domain, page.iova, page.size, gather), page.size);
      rig.core.flushIotlbAll(domain);
      for (let at = 0; at < page.size; at += domain.minPage)
        rig.isHole(domain, device, page.iova + at);
    },
  },
  {
    name: 'a mapped page is not overwritten, and what stood before it is told',
    run(rig) {
      const { device, domain } = rig.attached();
      const least = domain.minPage;
      const page = row(rig, domain, 4);
      const taken = { iova: page.iova + 2 * least, paddr: rig.memory + 64 * least, size: least };
      rig.map(domain, taken);
      const errno = rig.core.map(domain, page.iova, page.paddr, page.size, rig.prot);
      rig.refused('map over a mapped page', errno);
      for (const i of [0, 1, 3]) rig.isHole(domain, device, page.iova + i * least);
      rig.translates(domain, device, taken);
    },
  },
  {
    name: 'no protection is refused',
    run(rig) {
      const { device, domain } = rig.attached();
      const page = row(rig, domain, 1);
      const errno = rig.core.map(domain, page.iova, page.paddr, page.size, 0);
      rig.refused('map without READ and WRITE', errno);
      rig.isHole(domain, device, page.iova);
    },
  },
  {
    name: 'a hole ends an unmap',
    run(rig) {
      const { device, domain } = rig.attached();
      const least = domain.minPage;
      const page = row(rig, domain, 2);
      const behind = { iova: page.iova + 3 * least, paddr: rig.memory + 3 * least, size: least };
      rig.map(domain, page);
      rig.map(domain, behind);
      const bytes = rig.core.unmap(domain, page.iova, 4 * least);
      rig.same('bytes unmapped up to the hole', bytes, 2 * least);
      rig.isHole(domain, device, page.iova);
      rig.translates(domain, device, behind);
      rig.same('bytes unmapped in a hole', rig.core.unmap(domain, page.iova, least), 0);
    },
  },
  {
    name: 'a map that finds no memory leaves no translation',
    run(rig) {
      const { parts, core } = rig;
      if (parts.failAllocation === undefined) return;
      const { device, domain } = rig.attached();
      const [least = 0, larger = least] = rig.sizes(domain);
      // Over the boundary of a table, so that several are missing; not congruent, so that no larger page fits.
      const iova = rig.inside(domain, larger) - least;
      const page = { iova, paddr: rig.memory, size: 2 * least };
      for (let k = 1; ; k++) {
        if (k > MOST_ALLOCATIONS) rig.fail('failAllocation ends', `${MOST_ALLOCATIONS}`, `${k}`);
        parts.failAllocation(k);
        const errno = core.map(domain, page.iova, page.paddr, page.size, rig.prot);
        parts.failAllocation(0);
        if (errno === 0) break;
        rig.same(`errno of a map whose allocation ${k} fails`, errno, ENOMEM);
        for (const at of [0, least]) rig.isHole(domain, device, iova + at);
      }
      warm(rig, device, page, least);
    },
  },
];
