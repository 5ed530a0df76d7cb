import { SimClock } from '@iommukit/platform';
import { IOVA_PROFILES, IovaDomain, type IovaSearch } from '../src/index.ts';

export interface SearchCase {
  readonly name: string;
  readonly reference?: true;
  readonly ops: number;
  run(): number;
}

/** Single pages in use with single free pages between them, from the limit downwards; room for 8 pages only below them all. */
function fragmented(search: IovaSearch, live: number, limit: number): IovaDomain {
  const iovad = new IovaDomain({
    granule: 4096,
    startPfn: 1,
    clock: new SimClock(),
    cpus: 1,
    profile: IOVA_PROFILES['7.3'],
    search,
  });
  for (let k = 0; k < 2 * live; k++) iovad.allocIova(1, limit, 'aligned');
  for (let k = 0; k < live; k++) iovad.freeIova(limit - 2 * k);
  return iovad;
}

/**
 * One operation: the topmost page is returned, which moves the remembered range up there, 8 pages are allocated and freed below all ranges, and the page is in use again.
 * The names carry the nodes that the allocation visits.
 */
export function searchCases(live: number, limit: number): SearchCase[] {
  return (['linear', 'augmented'] as const).map((search) => {
    const iovad = fragmented(search, live, limit);
    const top = limit - 1;
    const once = (): number => {
      iovad.freeIova(top);
      const found = iovad.allocIova(8, limit, 'aligned')?.pfnLo ?? 0;
      iovad.freeIova(found);
      iovad.reserveIova(top, top);
      return found;
    };
    const before = iovad.counters.nodesVisited;
    once();
    const nodes = iovad.counters.nodesVisited - before;
    const bytes = (iovad.treeBytes / iovad.rangeCount).toFixed(1);
    return {
      name: `${search}, ${live} live: ${nodes} nodes, ${bytes} B a range`,
      ops: 1,
      run: once,
      ...(search === 'linear' ? { reference: true as const } : {}),
    };
  });
}
