// Runs the hot calls of a format in a process of its own with --expose-gc and prints what the heap grew by.
import { SZ_2M, SZ_4K, SZ_16K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import { appleDart } from '../src/dart/apple-dart.ts';
import { amdv1 } from '../src/generic/amdv1.lanes.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import {
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  type PageTable,
  type PageTableConfig,
  type PageTableFormat,
} from '../src/index.ts';
import { arm64LpaeS1 } from '../src/lpae/arm-64-lpae-s1.lanes.ts';
import { arm64LpaeS2 } from '../src/lpae/arm-64-lpae-s2.lanes.ts';
import { maliLpae } from '../src/lpae/mali-lpae.lanes.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const WARM = 100_000;
const CALLS = 150_000;
const ROUNDS = 3;
// Addresses that the engine keeps unboxed (below 2^31): a boxed number at a call that is not inlined would hide an object.
const BASE = 0x1000_0000;
const POOL = 0x40_0000;

function parts(): Pick<PageTableConfig, 'memory' | 'frames'> {
  return {
    memory: new PhysicalMemory([{ base: BASE, size: POOL }]),
    frames: new FrameAllocator({ base: BASE, size: POOL }),
  };
}

function arm(
  format: PageTableFormat<PageTableConfig, PageTable>,
  change: Partial<PageTableConfig> = {},
): PageTable | number {
  return createPageTable(format, {
    pgsizeBitmap: SZ_4K + SZ_2M,
    ias: 39,
    oas: 40,
    coherentWalk: true,
    profile: IO_PGTABLE_PROFILES['7.3'],
    flush: {
      tlbFlushAll() {},
      tlbFlushWalk() {},
      tlbAddPage(gather, iova, granule, count) {
        gather.addRange(iova, granule * count);
      },
    },
    ...parts(),
    ...change,
  });
}

const AMD = ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'] as const;
const sizes = { hwMaxVaszLg2: 48, hwMaxOaszLg2: 47, topLevel: 3, driver: { iotlbSync() {} } };
const tables: [string, number, PageTable | number][] = [
  ['arm-64-lpae-s1', SZ_4K, arm(arm64LpaeS1)],
  ['arm-64-lpae-s2', SZ_4K, arm(arm64LpaeS2)],
  ['mali-lpae', SZ_4K, arm(maliLpae)],
  ['arm-v7s', SZ_4K, arm(armV7s, { ias: 32, oas: 32 })],
  ['apple-dart', SZ_16K, arm(appleDart, { pgsizeBitmap: SZ_16K, ias: 36, oas: 36 })],
  ['x86_64', SZ_4K, createPageTable(x8664, { ...sizes, ...parts(), features: [] })],
  ['amdv1', SZ_4K, createPageTable(amdv1, { ...sizes, ...parts(), features: AMD })],
];

/** Single pages and runs, queries of both kinds that return numbers. */
function work(table: PageTable, size: number, calls: number): number {
  const gather = new IotlbGather();
  let sum = 0;
  for (let i = 0; i < calls; i++) {
    const iova = (i % 97) * 16 * size;
    const count = i % 3 === 0 ? 1 : 8;
    if (table.mapPages(iova, 0x2000_0000 + size, size, count, RW) === 0) sum += 1;
    if (table.iovaToPhys(iova + 5) === 0x2000_0005 + size) sum += 1;
    if (table.unmapPages(iova, size, count, gather) === size * count) sum += 1;
  }
  return sum;
}

const { gc } = globalThis;
if (gc === undefined) throw new Error('run with --expose-gc');
const used = (): number => {
  gc();
  return process.memoryUsage().heapUsed;
};
const answer: Record<string, { bytesPerCall: number; kept: number; calls: number }> = {};
// All classes are seen before the first is measured, or the engine throws its code away in between.
for (const [, size, table] of tables) if (typeof table !== 'number') work(table, size, WARM);
for (const [name, size, table] of tables) {
  if (typeof table === 'number') throw new Error(`${name} refused: ${table}`);
  work(table, size, WARM);
  let bytesPerCall = Infinity;
  let kept = Infinity;
  let rounds = 0;
  // A call that allocates does so in every round; the engine's compiler only in some: the first good round decides.
  for (let round = 0; round < ROUNDS; round++) {
    const before = used();
    const right = work(table, size, CALLS);
    // Before any collection: what was allocated, garbage included. Three calls of the format in each step.
    const dirty = process.memoryUsage().heapUsed;
    bytesPerCall = Math.min(bytesPerCall, (dirty - before) / (CALLS * 3));
    if (right !== CALLS * 3) throw new Error(`${name}: ${right} of ${CALLS * 3} calls as expected`);
    kept = Math.min(kept, used() - before);
    rounds = round + 1;
    if (bytesPerCall < 4 && kept < 200_000) break;
  }
  answer[name] = { bytesPerCall, kept, calls: CALLS * 3 * rounds };
}
process.stdout.write(JSON.stringify(answer));
