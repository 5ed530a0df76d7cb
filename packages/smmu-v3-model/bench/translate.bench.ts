import { CMD_CFGI_STE_RANGE, OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { PhysicalMemory } from '@iommukit/platform';
import { type CachePolicy, SmmuV3Model } from '../src/index.ts';

const RAM = { base: 0x4000_0000, size: 0x800_0000 };
const STRTAB = 0x4020_0000;
const CD = 0x4026_0000;
const ROOT = 0x4040_0000;
const PAGES = 4096;
const FIRST = 0xf000_0000;
const OPS = 16_384;

/** 16 MiB mapped by 4 KiB pages below 4 GiB, as Linux places its IOVAs; STE, CD and leaves as in the captures. */
function machine(policy: Partial<CachePolicy>): SmmuV3Model {
  const memory = new PhysicalMemory([RAM]);
  memory.store64(STRTAB + 8 * 64, CD + 0xb, 0);
  memory.store64(STRTAB + 8 * 64 + 8, 0xd6, 0);
  memory.store64(CD, 0xc000_3510, 0x0006_e204);
  memory.store64(CD + 8, ROOT, 0);
  memory.store64(ROOT, ROOT + 0x1003, 0);
  memory.store64(ROOT + 0x1000 + 3 * 8, ROOT + 0x2003, 0);
  for (let i = 0; i < PAGES; i++) {
    const table = ROOT + 0x3000 + Math.floor(i / 512) * 0x1000;
    const l2 = ROOT + 0x2000 + ((FIRST / 2 ** 21 + Math.floor(i / 512)) % 512) * 8;
    memory.store64(l2, table + 3, 0);
    memory.store64(table + (i % 512) * 8, RAM.base + 0x400_0000 + i * 4096 + 0xf47, 0);
  }
  const smmu = new SmmuV3Model({
    memory,
    idr: { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 },
    policy,
  });
  smmu.registers.write64(R.STRTAB_BASE, STRTAB, 0);
  smmu.registers.write32(R.STRTAB_BASE_CFG, 9);
  smmu.registers.write64(R.CMDQ_BASE, 0x4028_0008, 0);
  smmu.registers.write32(R.CR0, 9);
  memory.store64(0x4028_0000, OPCODE.CFGI_STE_RANGE, 0);
  memory.store64(0x4028_0008, CMD_CFGI_STE_RANGE.encode({ Range: 31 })[2] ?? 0, 0);
  return smmu;
}

function sweep(smmu: SmmuV3Model): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++)
    sum += smmu.translateFast(8, FIRST + ((i * 97) % PAGES) * 4096, i & 1) / 4096;
  return sum;
}

const watched = machine({});
const unwatched = machine({ detectStale: false });
const walking = machine({ tlb: 'none', walk: 'none' });
const walkCached = machine({ tlb: 'none' });
const bare = machine({ tlb: 'none', walk: 'none', config: 'none' });

const map = new Map<number, number>();
for (let i = 0; i < PAGES; i++)
  map.set((FIRST + i * 4096) / 4096, RAM.base + 0x400_0000 + i * 4096);

/** The cost of a translation: what a Map of pages costs, then the SMMU with less and less cached. */
export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'Map of page to frame',
    reference: true,
    ops: OPS,
    run: () => {
      let sum = 0;
      for (let i = 0; i < OPS; i++)
        sum += (map.get((FIRST + ((i * 97) % PAGES) * 4096) / 4096) ?? 0) / 4096;
      return sum;
    },
  },
  { name: 'TLB hit, stale detection off', ops: OPS, run: () => sweep(unwatched) },
  { name: 'TLB hit, stale detection on', ops: OPS, run: () => sweep(watched) },
  { name: 'TLB miss, tables cached', ops: OPS, run: () => sweep(walkCached) },
  { name: 'TLB miss, walk of four levels', ops: OPS, run: () => sweep(walking) },
  { name: 'nothing cached: STE, CD and walk', ops: OPS, run: () => sweep(bare) },
];
