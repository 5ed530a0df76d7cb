import { IOVA_PROFILES, IovaDomain, type IovaSearch } from '@iommukit/iova-allocator';
import { SimClock } from '@iommukit/platform';

/**
 * One fragmented space: how many ranges are in use, and below which address (2^addressBits bytes).
 * @example const size: PathologySize = { live: 100_000, addressBits: 32 };
 */
export interface PathologySize {
  readonly live: number;
  readonly addressBits: number;
}

/**
 * What one search paid for the allocations of a row.
 * @example const ratio = row.linear.nodesPerAllocation / row.augmented.nodesPerAllocation;
 */
export interface PathologyCost {
  /** Mean over the row's allocations. */
  readonly nodesPerAllocation: number;
  readonly mostNodes: number;
  /** Bytes of typed arrays for each range in the tree. */
  readonly bytesPerRange: number;
}

/**
 * One size of space, one kind of request. `room` tells whether the space has a place for it: `below` all ranges in use, or `none`, so that every request fails.
 * @example const wrong = report.rows.filter((row) => !row.sameAnswers);
 */
export interface PathologyRow extends PathologySize {
  readonly room: 'below' | 'none';
  /** Pages of each request, aligned to their number. */
  readonly pages: number;
  readonly allocations: number;
  readonly linear: PathologyCost;
  readonly augmented: PathologyCost;
  /** Both searches gave the same address, or failed, every time, and end in the same state. */
  readonly sameAnswers: boolean;
}

/**
 * The worst case of the IOVA allocator, measured.
 * @example if (!report.ok) throw new Error('the two searches differ');
 */
export interface PathologyReport {
  readonly ok: boolean;
  readonly summary: {
    readonly rows: number;
    readonly allocations: number;
    readonly differences: number;
  };
  readonly rows: readonly PathologyRow[];
}

/**
 * The sizes that `iommukit iova pathology` shows.
 * @example iovaPathology(PATHOLOGY_SIZES.slice(0, 1)).rows.length // 2
 */
export const PATHOLOGY_SIZES: readonly PathologySize[] = [
  { live: 1000, addressBits: 32 },
  { live: 10_000, addressBits: 32 },
  { live: 100_000, addressBits: 32 },
  { live: 1_000_000, addressBits: 36 },
];

const GRANULE = 4096;
const PAGES = 8;
const ROUNDS = 16;
// Returned pages lie this many ranges apart, so that their holes never grow together to a place for a request.
const APART = 4;

interface Played {
  readonly answers: readonly (number | null)[];
  readonly nodes: readonly number[];
  readonly bytesPerRange: number;
  readonly state: string;
}

/** Single pages in use with single free pages between them, from the top down: what short-lived mappings leave behind. */
function fill(search: IovaSearch, size: PathologySize): { iovad: IovaDomain; limit: number } {
  const limit = 2 ** size.addressBits / GRANULE - 1;
  const iovad = new IovaDomain({
    granule: GRANULE,
    startPfn: 1,
    clock: new SimClock(),
    cpus: 1,
    profile: IOVA_PROFILES['7.3'],
    search,
  });
  for (let k = 0; k < 2 * size.live; k++) iovad.allocIova(1, limit, 'aligned');
  for (let k = 0; k < size.live; k++) iovad.freeIova(limit - 2 * k);
  return { iovad, limit };
}

/** Every round returns one page near the top, which draws the remembered range up there, and asks for more pages than any hole up there has. */
function play(iovad: IovaDomain, limit: number, firstRound: number): Played {
  const answers: (number | null)[] = [];
  const nodes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    iovad.freeIova(limit - 1 - 2 * APART * (firstRound + round));
    const before = iovad.counters.nodesVisited;
    const range = iovad.allocIova(PAGES, limit, 'aligned');
    nodes.push(iovad.counters.nodesVisited - before);
    answers.push(range?.pfnLo ?? null);
  }
  const { cachedPfn, cached32Pfn, max32AllocSize } = iovad.state();
  return {
    answers,
    nodes,
    bytesPerRange: iovad.treeBytes / iovad.rangeCount,
    state: JSON.stringify([cachedPfn, cached32Pfn, max32AllocSize, iovad.rangeCount]),
  };
}

function cost({ nodes, bytesPerRange }: Played): PathologyCost {
  return {
    nodesPerAllocation: nodes.reduce((sum, n) => sum + n, 0) / nodes.length,
    mostNodes: Math.max(...nodes),
    bytesPerRange,
  };
}

/** Both rows of one size, played by one search. */
function playSize(search: IovaSearch, size: PathologySize): readonly [Played, Played] {
  const { iovad, limit } = fill(search, size);
  const below = play(iovad, limit, 0);
  iovad.reserveIova(1, limit - 2 * size.live);
  return [below, play(iovad, limit, ROUNDS)];
}

/**
 * Fills a space so that the kernel's walk meets every range in use, and counts the nodes that both searches visit for each allocation. The caches are left out:
 * a request that they answer searches nothing.
 * Source: `__alloc_and_insert_iova_range`.
 * @example iovaPathology([{ live: 1000, addressBits: 32 }]).rows[0]?.augmented.mostNodes
 */
export function iovaPathology(
  sizes: readonly PathologySize[] = PATHOLOGY_SIZES,
  onProgress: (done: number, total: number) => void = () => {},
): PathologyReport {
  const rows: PathologyRow[] = [];
  sizes.forEach((size, k) => {
    onProgress(2 * k, 2 * sizes.length);
    const linear = playSize('linear', size);
    onProgress(2 * k + 1, 2 * sizes.length);
    const augmented = playSize('augmented', size);
    (['below', 'none'] as const).forEach((room, which) => {
      const left = linear[which] as Played;
      const right = augmented[which] as Played;
      rows.push({
        ...size,
        room,
        pages: PAGES,
        allocations: ROUNDS,
        linear: cost(left),
        augmented: cost(right),
        sameAnswers:
          left.state === right.state && left.answers.every((pfn, n) => pfn === right.answers[n]),
      });
    });
  });
  onProgress(2 * sizes.length, 2 * sizes.length);
  const differences = rows.filter(({ sameAnswers }) => !sameAnswers).length;
  return {
    ok: rows.length > 0 && differences === 0,
    summary: { rows: rows.length, allocations: rows.length * ROUNDS, differences },
    rows,
  };
}
