import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_64K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import {
  amdv1,
  appleDart,
  arm64LpaeS1,
  arm64LpaeS2,
  armV7s,
  createPageTable,
  type GenericConfig,
  IO_PGTABLE_PROFILES,
  IotlbGather,
  maliLpae,
  type PageTable,
  type PageTableConfig,
  riscv64,
  vtdss,
  x8664,
} from '../src/index.ts';
import { BASE, benchTable, type Case, gatherOnly, PROT } from './bench-table.ts';
import { handWrittenRounds } from './hand-descent.ts';

// One page at a time, map and unmap in turn, in every family: nanoseconds for each level visited and word written.
const BYTES = 0x20_0000;
const PAGES = 1024;
const IOVA = 0x4000_0000;

const arm = (change: Partial<PageTableConfig>): PageTableConfig => ({
  pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
  ias: 48,
  oas: 48,
  coherentWalk: true,
  memory: new PhysicalMemory([{ base: BASE, size: BYTES }]),
  frames: new FrameAllocator({ base: BASE, size: BYTES }),
  flush: gatherOnly(),
  profile: IO_PGTABLE_PROFILES['7.3'],
  ...change,
});
/** Short descriptors point to tables below 4 GiB. */
const LOW = 0x8000_0000;
const low = {
  memory: new PhysicalMemory([{ base: LOW, size: BYTES }]),
  frames: new FrameAllocator({ base: LOW, size: BYTES }),
};
const generic = (change: Partial<GenericConfig>): GenericConfig => ({
  features: ['FLUSH_RANGE'],
  hwMaxVaszLg2: 48,
  hwMaxOaszLg2: 52,
  topLevel: 3,
  memory: new PhysicalMemory([{ base: BASE, size: BYTES }]),
  frames: new FrameAllocator({ base: BASE, size: BYTES }),
  driver: { iotlbSync() {}, changeTop() {} },
  ...change,
});

function made<T extends PageTable>(table: T | number): T {
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return table;
}

function rounds(name: string, table: PageTable, levels: number, page: number = SZ_4K): Case {
  const gather = new IotlbGather();
  return {
    name,
    ops: PAGES * 2 * (levels + 1),
    run() {
      let done = 0;
      for (let k = 0; k < PAGES; k++)
        done += table.mapPages(IOVA + k * page, 0x1000_0000 + k * page, page, 1, PROT);
      gather.init();
      for (let k = 0; k < PAGES; k++) done += table.unmapPages(IOVA + k * page, page, 1, gather);
      return done;
    },
  };
}

export const cases: Case[] = [
  {
    name: 'hand-written descent and store, 4 levels',
    reference: true,
    ops: PAGES * 2 * 5,
    run: handWrittenRounds(
      benchTable(BYTES),
      BYTES,
      Float64Array.from({ length: PAGES }, (_, k) => IOVA + k * SZ_4K),
    ),
  },
  rounds('arm-64-lpae-s1', made(createPageTable(arm64LpaeS1, arm({}))), 4),
  rounds(
    'arm-64-lpae-s1, 64 KiB',
    made(createPageTable(arm64LpaeS1, arm({ pgsizeBitmap: SZ_64K }))),
    3,
    SZ_64K,
  ),
  rounds('arm-64-lpae-s2', made(createPageTable(arm64LpaeS2, arm({}))), 4),
  rounds('mali-lpae', made(createPageTable(maliLpae, arm({ oas: 40 }))), 4),
  rounds(
    'arm-v7s',
    made(
      createPageTable(armV7s, arm({ ias: 32, oas: 32, pgsizeBitmap: SZ_4K + 0x10_0000, ...low })),
    ),
    2,
  ),
  rounds(
    'apple-dart',
    made(createPageTable(appleDart, arm({ ias: 36, oas: 36, pgsizeBitmap: SZ_16K }))),
    3,
    SZ_16K,
  ),
  rounds(
    'x86_64',
    made(createPageTable(x8664, generic({ features: ['SIGN_EXTEND', 'FLUSH_RANGE'] }))),
    4,
  ),
  rounds('vtdss', made(createPageTable(vtdss, generic({}))), 4),
  rounds(
    'amdv1',
    made(
      createPageTable(
        amdv1,
        generic({
          features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE', 'FLUSH_RANGE'],
        }),
      ),
    ),
    4,
  ),
  rounds(
    'riscv_64',
    made(
      createPageTable(
        riscv64,
        generic({ features: ['SIGN_EXTEND', 'FLUSH_RANGE', 'DETAILED_GATHER'], hwMaxOaszLg2: 56 }),
      ),
    ),
    4,
  ),
];
