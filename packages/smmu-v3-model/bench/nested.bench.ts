import { CD, REGISTER_OFFSET as R, STE } from '@iommukit/arm-arch';
import { PhysicalMemory } from '@iommukit/platform';
import { CACHE_NOTHING, type CachePolicy, SmmuV3Model } from '../src/index.ts';

const RAM = { base: 0x4000_0000, size: 0x1000_0000 };
const STRTAB = 0x4020_0000;
const CD_AT = 0x4026_0000;
const S1 = 0x4040_0000;
const S2 = 0x4080_0000;
const PAGES = 512;
const FIRST = 0xf000_0000;
const IPA = 0x8000_0000;
const OPS = 4096;
const memory = new PhysicalMemory([RAM]);

function words(at: number, lanes: Uint32Array): void {
  for (let i = 0; i < lanes.length; i += 2)
    memory.store64(at + i * 4, lanes[i] as number, lanes[i + 1] as number);
}

/** One page into four-level tables that grow from `root`, 16 KiB apart from each other's leaves. */
const next = new Map<number, number>();
function map(root: number, input: number, leaf: number): void {
  let table = root;
  for (let level = 0; level < 3; level++) {
    const slot = table + (Math.floor(input / 2 ** (39 - 9 * level)) % 512) * 8;
    const lo = memory.load64(slot);
    if (lo === 0) {
      const made = (next.get(root) ?? root) + 4096;
      next.set(root, made);
      memory.store64(slot, made + 3, 0);
      table = made;
    } else table = lo - (lo % 4096);
  }
  memory.store64(table + (Math.floor(input / 4096) % 512) * 8, leaf, 0);
}

for (let i = 0; i < PAGES; i++) {
  map(S1, FIRST + i * 4096, IPA + i * 4096 + 0xf47);
  map(S2, IPA + i * 4096, RAM.base + 0x400_0000 + i * 4096 + 0x7ff);
}
map(S2, CD_AT, CD_AT + 0x7ff);
for (let page = S1; page <= (next.get(S1) ?? S1); page += 4096) map(S2, page, page + 0x7ff);
words(
  STRTAB + 8 * 64,
  STE.encode({
    V: 1,
    Config: 7,
    S1ContextPtr: CD_AT,
    S2VMID: 1,
    S2T0SZ: 20,
    S2SL0: 2,
    S2PS: 4,
    S2AA64: 1,
    S2R: 1,
    S2TTB: S2,
  }),
);
words(
  CD_AT,
  CD.encode({ V: 1, AA64: 1, A: 1, R: 1, ASID: 6, IPS: 4, T0SZ: 16, EPD1: 1, TTB0: S1 }),
);

function machine(policy: Partial<CachePolicy>): SmmuV3Model {
  const smmu = new SmmuV3Model({ memory, idr: 'qemu-11-nested', policy });
  smmu.registers.write64(R.STRTAB_BASE, STRTAB, 0);
  smmu.registers.write32(R.STRTAB_BASE_CFG, 9);
  smmu.registers.write32(R.CR0, 1);
  return smmu;
}

function sweep(smmu: SmmuV3Model): number {
  let sum = 0;
  for (let i = 0; i < OPS; i++)
    sum += smmu.translateFast(8, FIRST + ((i * 97) % PAGES) * 4096, i & 1) / 4096;
  return sum;
}

/** A walk of four levels with the checks that cannot be left out: backed, valid, table or page, access flag, permission. */
function walk(
  root: number,
  input: number,
  through: (ipa: number) => number,
  allow: number,
): number {
  let table = root;
  for (let level = 0; level < 3; level++) {
    const at = through(table + ((input / (SIZE[level] as number)) & 511) * 8);
    if (!memory.isBacked(at)) return -1;
    const lo = memory.load64(at);
    if ((lo & 3) !== 3) return -1;
    table = (memory.hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
    if (table >= 2 ** 44) return -1;
  }
  const at = through(table + ((input / 4096) & 511) * 8);
  if (!memory.isBacked(at)) return -1;
  const lo = memory.load64(at);
  if ((lo & 3) !== 3 || (lo & 0x400) === 0 || (lo & allow) === 0) return -1;
  const out = (memory.hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
  return out < 2 ** 44 ? out + (input & 4095) : -1;
}
const SIZE = [2 ** 39, 2 ** 30, 2 ** 21] as const;
const same = (address: number): number => address;
const stage2 = (ipa: number): number => walk(S2, ipa, same, 0x40);

const hit = machine({ detectStale: false });
const watched = machine({});
const apart = machine({ nested: 'separate', detectStale: false });
const miss = machine({ ...CACHE_NOTHING, config: 'keep', detectStale: false });
const table = new Map<number, number>();
for (let i = 0; i < PAGES; i++)
  table.set((FIRST + i * 4096) / 4096, RAM.base + 0x400_0000 + i * 4096);

/** Both stages: a hit, and a miss of 4 x 5 + 4 descriptors, each against a loop that does as much by hand. */
export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'Map of page to frame',
    reference: true,
    ops: OPS,
    run: () => {
      let sum = 0;
      for (let i = 0; i < OPS; i++)
        sum += (table.get((FIRST + ((i * 97) % PAGES) * 4096) / 4096) ?? 0) / 4096;
      return sum;
    },
  },
  { name: 'nested TLB hit, combined entry', ops: OPS, run: () => sweep(hit) },
  { name: 'nested TLB hit, stale detection on', ops: OPS, run: () => sweep(watched) },
  { name: 'nested TLB hit, stages apart', ops: OPS, run: () => sweep(apart) },
  {
    name: 'hand-written walk of both stages, 24 descriptors',
    ops: OPS,
    run: () => {
      let sum = 0;
      for (let i = 0; i < OPS; i++)
        sum += stage2(walk(S1, FIRST + ((i * 97) % PAGES) * 4096, stage2, 0x40)) / 4096;
      return sum;
    },
  },
  { name: 'nested TLB miss, walk of both stages', ops: OPS, run: () => sweep(miss) },
];
