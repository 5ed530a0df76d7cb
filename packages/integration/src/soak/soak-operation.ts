/* What can happen in one step. Every operation can be done in every state, so that any part of a run is a run too. */
import type { Prng } from '@iommukit/platform';

/** Possible CPUs of the machine. */
export const SOAK_CPUS: number = 4;
/** Places for mappings of each device, private address spaces, processes. */
export const SOAK_SLOTS: number = 12;
/** Most pages of one mapping. */
export const SOAK_PAGES: number = 8;

/**
 * The kinds of operations. `map`: maps into an empty slot, or undoes what is there; `dma`, `sync`, `stray`: of the slot's device, by the
 * mapping that is there, or was; `time`: the clock goes on; `space`, `space-map`, `space-dma`: private PASIDs; `process`, `process-dma`,
 * `process-cpu`, `faults`, `reclaim`, `discard`: shared ones.
 * @example SOAK_OPERATIONS.includes('dma') // true
 */
export const SOAK_OPERATIONS = [
  'map',
  'dma',
  'sync',
  'stray',
  'time',
  'space',
  'space-map',
  'space-dma',
  'process',
  'process-dma',
  'process-cpu',
  'faults',
  'reclaim',
  'discard',
] as const;

/** Calls that a mapping is made with. */
export const SOAK_WAYS = ['single', 'sg', 'handle', 'sg-handle', 'two-step', 'coherent'] as const;

/** Directions of streaming mappings. */
export const SOAK_DIRECTIONS = ['TO_DEVICE', 'FROM_DEVICE', 'BIDIRECTIONAL'] as const;

/**
 * One step of a run; an operation takes of the fields what it needs.
 * @example const step: SoakOperation = { op: 'map', cpu: 0, device: 3, slot: 1, way: 'sg', dir: 'TO_DEVICE', pages: 2, at: 0, seed: 7 };
 */
export interface SoakOperation {
  readonly op: (typeof SOAK_OPERATIONS)[number];
  /** The CPU that runs it. */
  readonly cpu: number;
  /** Index of the device. */
  readonly device: number;
  readonly slot: number;
  readonly way: (typeof SOAK_WAYS)[number];
  readonly dir: (typeof SOAK_DIRECTIONS)[number];
  /** From 1 on. */
  readonly pages: number;
  /** Where in a page or a mapping, in 4-byte words; also microseconds, and how many. */
  readonly at: number;
  /** What is written. */
  readonly seed: number;
}

/** Values that a field can have: from 0, below the limit. */
export const SOAK_LIMITS: Readonly<
  Record<'cpu' | 'device' | 'slot' | 'pages' | 'at' | 'seed', number>
> = {
  cpu: SOAK_CPUS,
  device: 5,
  slot: SOAK_SLOTS,
  pages: SOAK_PAGES + 1,
  at: 4096,
  seed: 2 ** 32,
};

/** How often each kind comes, of 64. */
const SHARES: Readonly<Record<SoakOperation['op'], number>> = {
  map: 18,
  dma: 16,
  sync: 5,
  stray: 5,
  time: 1,
  space: 1,
  'space-map': 4,
  'space-dma': 4,
  process: 1,
  'process-dma': 3,
  'process-cpu': 2,
  faults: 2,
  reclaim: 1,
  discard: 1,
};

const DRAW: readonly SoakOperation['op'][] = SOAK_OPERATIONS.flatMap((op) =>
  Array.from({ length: SHARES[op] }, () => op),
);

/** The next operation of a run; it depends on the generator alone. */
export function drawOperation(random: Prng): SoakOperation {
  return {
    op: DRAW[random.below(DRAW.length)] ?? 'dma',
    cpu: random.below(SOAK_LIMITS.cpu),
    device: random.below(SOAK_LIMITS.device),
    slot: random.below(SOAK_LIMITS.slot),
    way: SOAK_WAYS[random.below(SOAK_WAYS.length)] ?? 'single',
    dir: SOAK_DIRECTIONS[random.below(SOAK_DIRECTIONS.length)] ?? 'BIDIRECTIONAL',
    pages: random.below(8) === 0 ? 1 + random.below(SOAK_PAGES) : 1 + random.below(2),
    at: random.below(SOAK_LIMITS.at),
    seed: random.u32(),
  };
}
