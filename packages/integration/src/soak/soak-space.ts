import type { LpaePageTable } from '@iommukit/io-pgtable';
import type { IommuDomain } from '@iommukit/iommu-core';
import type { MemoryView } from '@iommukit/platform';
import { MachineError } from '../machine.ts';
import { pagesOf } from '../scenarios/table-image.ts';

const PAGE = 4096;

/** What the tables of a domain must hold: by what its driver was asked for and said, page by page. */
export class SoakSpace {
  readonly domain: IommuDomain;
  readonly table: LpaePageTable<unknown>;
  /** Physical address by page number. */
  readonly pages: Map<number, number> = new Map<number, number>();

  constructor(domain: IommuDomain) {
    const { ops } = domain;
    if (!('table' in ops)) throw new MachineError('NOT_BOOTED', { what: 'no page table' });
    this.domain = domain;
    this.table = ops.table as LpaePageTable<unknown>;
    const mapPages = ops.mapPages.bind(ops);
    const unmapPages = ops.unmapPages.bind(ops);
    ops.mapPages = (iova, paddr, pgsize, pgcount, prot) => {
      const result = mapPages(iova, paddr, pgsize, pgcount, prot);
      for (let at = 0; at < ops.mapped; at += PAGE) this.pages.set((iova + at) / PAGE, paddr + at);
      return result;
    };
    ops.unmapPages = (iova, pgsize, pgcount, gather) => {
      const bytes = unmapPages(iova, pgsize, pgcount, gather);
      for (let at = 0; at < bytes; at += PAGE) this.pages.delete((iova + at) / PAGE);
      return bytes;
    };
  }

  /** Where a byte is, or -1. */
  at(iova: number): number {
    const offset = iova % PAGE;
    const page = this.pages.get((iova - offset) / PAGE);
    return page === undefined ? -1 : page + offset;
  }

  /** How many pages the tables in memory hold otherwise. */
  differences(memory: MemoryView): number {
    const held = pagesOf(memory, this.table);
    let differ = held.size === this.pages.size ? 0 : 1;
    for (const [page, paddr] of this.pages) if (held.get(page * PAGE) !== paddr) differ++;
    return differ;
  }
}
