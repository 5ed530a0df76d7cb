import {
  fromBigInt,
  SZ_1G,
  SZ_2M,
  SZ_4K,
  SZ_16K,
  SZ_32M,
  SZ_64K,
  SZ_512M,
  toBigInt,
} from '@iommukit/bits';
import { observeView } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ContractRig } from '../src/contract/contract-rig.ts';
import type { ContractSubject } from '../src/contract/index.ts';
import { forEachEntry, IotlbGather } from '../src/index.ts';
import { PROTS, SUBJECTS } from './subjects.ts';
import { TableTwin, type TwinShape } from './table-twin.ts';
import {
  amd,
  dart1,
  dart2,
  mali,
  riscv,
  secondStage,
  short,
  stageOne,
  stageTwo,
  type WordsOf,
  x86,
} from './twin-words.lanes.ts';

// Random maps and unmaps of every format against the slow twin: results and bytes of every call, every leaf entry word by word,
// translations, the number of tables, and the frames at the end. Kernel 7.3's rules.

interface Row {
  /** Start of the subject's name. */
  readonly subject: string;
  readonly family: TwinShape['family'];
  readonly sizes: readonly number[];
  /** Spans of the levels, from the leaves up. */
  readonly spans: readonly number[];
  readonly words: WordsOf;
}

const LEVELS_4K = [SZ_4K, SZ_2M, SZ_1G, 2 ** 39];
const LEVELS_16K = [SZ_16K, SZ_32M, 2 ** 36, 2 ** 47];
const LEVELS_64K = [SZ_64K, SZ_512M, 2 ** 42];
const AMD_SIZES = Array.from({ length: 27 }, (_, i) => 2 ** (12 + i));
const generic = { family: 'generic', spans: LEVELS_4K } as const;
const lpae = { family: 'lpae' } as const;

const ROWS: Row[] = [
  {
    subject: 'S1 4K 48',
    ...lpae,
    sizes: LEVELS_4K.slice(0, 3),
    spans: LEVELS_4K,
    words: stageOne(0x1000n),
  },
  {
    subject: 'S1 4K 39',
    ...lpae,
    sizes: LEVELS_4K.slice(0, 3),
    spans: LEVELS_4K.slice(0, 3),
    words: stageOne(0x1000n),
  },
  {
    subject: 'S1 16K 48',
    ...lpae,
    sizes: LEVELS_16K.slice(0, 2),
    spans: LEVELS_16K,
    words: stageOne(0x4000n),
  },
  {
    subject: 'S1 64K 52',
    ...lpae,
    sizes: LEVELS_64K,
    spans: LEVELS_64K,
    words: stageOne(0x1_0000n),
  },
  {
    subject: 'S1 4K hd, ns',
    ...lpae,
    sizes: LEVELS_4K.slice(0, 3),
    spans: LEVELS_4K,
    words: stageOne(0x1000n, { hd: true, ns: true }),
  },
  {
    subject: 'S2 4K 48',
    ...lpae,
    sizes: LEVELS_4K.slice(0, 3),
    spans: LEVELS_4K,
    words: stageTwo(0x1000n),
  },
  {
    subject: 'S2 16K 48',
    ...lpae,
    sizes: LEVELS_16K.slice(0, 2),
    // Two tables of level 1 stand side by side in place of level 0.
    spans: LEVELS_16K.slice(0, 3),
    words: stageTwo(0x4000n, { s2fwb: true }),
  },
  {
    subject: 'S2 64K 52',
    ...lpae,
    sizes: LEVELS_64K,
    spans: LEVELS_64K,
    words: stageTwo(0x1_0000n),
  },
  { subject: 'Mali 48', ...lpae, sizes: LEVELS_4K.slice(0, 3), spans: LEVELS_4K, words: mali },
  {
    subject: 'v7s',
    family: 'short',
    sizes: [SZ_4K, SZ_64K, 0x10_0000, 0x100_0000],
    spans: [SZ_4K, 0x10_0000],
    words: short(),
  },
  {
    subject: 'v7s MediaTek',
    family: 'short',
    sizes: [SZ_4K, SZ_64K, 0x10_0000, 0x100_0000],
    spans: [SZ_4K, 0x10_0000],
    words: short({ noPerms: true }),
  },
  { subject: 'DART 4K, four', family: 'dart', sizes: [SZ_4K], spans: [SZ_4K, SZ_2M], words: dart1 },
  { subject: 'DART 16K', family: 'dart', sizes: [SZ_16K], spans: [SZ_16K, SZ_32M], words: dart1 },
  {
    subject: 'DART2 16K',
    family: 'dart',
    sizes: [SZ_16K],
    spans: [SZ_16K, SZ_32M, 2 ** 36],
    words: dart2,
  },
  { subject: 'x86-64 57', ...generic, sizes: LEVELS_4K.slice(0, 3), words: x86 },
  { subject: 'VT-d second stage 57', ...generic, sizes: LEVELS_4K.slice(0, 3), words: secondStage },
  { subject: 'RISC-V Sv48, 64K', ...generic, sizes: [SZ_4K, SZ_64K, SZ_2M, SZ_1G], words: riscv },
  { subject: 'AMD v1 64', ...generic, sizes: AMD_SIZES, words: amd },
];

const op = fc.record({
  map: fc.boolean(),
  size: fc.nat({ max: 99 }),
  slot: fc.nat({ max: 4000 }),
  count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 700 })),
  shift: fc.nat({ max: 3 }),
  prot: fc.constantFrom(...PROTS),
});

function subjectOf(name: string): ContractSubject {
  const subject = SUBJECTS.find((s) => s.name.startsWith(name));
  if (subject === undefined) throw new Error(`no subject ${name}`);
  return subject;
}

/** The subject with its memory hidden behind single accesses, so that no run of words is stored at once. */
function byWords(subject: ContractSubject): ContractSubject {
  return {
    ...subject,
    create: (parts) =>
      subject.create({ ...parts, memory: observeView(parts.memory, { onStore() {} }) }),
  };
}

function run(row: Row, subject: ContractSubject): number {
  const shape: TwinShape = {
    ...row,
    sizes: row.sizes.map(BigInt),
    spans: row.spans.map(BigInt),
  };
  const { endPaddr } = subject;
  const [smallest = SZ_4K] = row.sizes;
  // A window of four tables of the smallest pages, which ends beyond the first boundary of the level above.
  const table = row.spans[1] ?? smallest;
  const top = row.spans[2] ?? table * 4;
  const base = top - 2 * table;
  let errors = 0;
  const property = fc.property(fc.array(op, { minLength: 6, maxLength: 18 }), (ops) => {
    const rig = new ContractRig(subject, { watched: false });
    const twin = new TableTwin(shape);
    const tables = rig.table.counters.tablesAllocated;
    for (const { map, size: pick, slot, count, shift, prot } of ops) {
      const size = row.sizes[pick % Math.min(row.sizes.length, 3 + (pick % 5))] ?? smallest;
      const slots = Math.max(1, (4 * table) / size);
      const iova = size > table ? (slot % 3) * size : base + (slot % slots) * size;
      const start = iova - (iova % size);
      const n = Math.min(count, size > table ? 2 : Math.ceil(slots));
      if (map) {
        // Runs that cross 4 GiB, that end below the highest output address, that are and are not congruent with their IOVAs.
        const room = endPaddr - n * size;
        const wish =
          [start, SZ_1G * 4 - 2 * size, endPaddr - n * size, size * (slot + 1)][shift] ?? 0;
        const paddr = Math.min(Math.max(0, wish - (wish % size)), room - (room % size));
        const errno = rig.table.mapPages(start, paddr, size, n, prot);
        const want = twin.map(
          { iova: BigInt(start), paddr: BigInt(paddr), size: BigInt(size) },
          BigInt(n),
          prot,
        );
        expect([errno, BigInt(rig.table.mapped)]).toEqual([want.errno, want.done]);
        if (errno !== 0) errors++;
      } else {
        const gather = new IotlbGather();
        const done = rig.table.unmapPages(start, size, n, gather);
        rig.sync(gather);
        expect(BigInt(done)).toBe(twin.unmap(BigInt(start), BigInt(size), BigInt(n)));
      }
    }
    const got: [bigint, bigint][] = [];
    forEachEntry(rig.device, rig.table.shape, ({ kind, iova, lo, hi }) => {
      expect(kind).not.toBe('invalid');
      if (kind === 'leaf') got.push([BigInt(iova), (BigInt(hi) << 32n) | BigInt(lo)]);
    });
    expect(got).toEqual(twin.entries());
    for (const slot of [-1, 0, 1, table / smallest - 1, table / smallest, (2 * table) / smallest]) {
      const iova = BigInt(base + slot * smallest) + 5n;
      expect(toBigInt(rig.table.iovaToPhys64(fromBigInt(iova)))).toBe(twin.phys(iova));
    }
    const { tablesAllocated, tablesFreed } = rig.table.counters;
    if (row.family !== 'generic')
      expect(tablesAllocated - tablesFreed - tables).toBe(twin.tables.size);
    for (const [iova, { size }] of [...twin.leaves])
      expect(rig.unmap(Number(iova), Number(size))).toBe(Number(size));
    rig.holds([]);
    // Frees the table, and looks for frames that did not come back.
    rig.finish();
  });
  fc.assert(property, { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 4 : 25, seed: 7 });
  return errors;
}

for (const row of ROWS)
  test(`${row.subject}: random maps and unmaps agree with the twin`, () => {
    const subject = subjectOf(row.subject);
    expect(run(row, subject)).toBeGreaterThan(0);
  });

for (const row of ROWS.filter(({ subject }) =>
  ['S1 4K 48', 'v7s', 'DART 16K', 'AMD v1 64'].includes(subject),
))
  test(`${row.subject}: the same word by word`, () => {
    expect(run(row, byWords(subjectOf(row.subject)))).toBeGreaterThan(0);
  });
