import {
  ASID,
  BLOCK,
  fault,
  type Outcome,
  ok,
  PLACE,
  program,
  S1_RW,
  S2_RW,
  type Script,
  SID,
  VMID,
  type Words,
} from './smmu-architecture-script.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

// Range TLBI against page sizes; and what each change of memory needs before a device may no longer use the old.

type Granule = 12 | 14 | 16;

interface Size {
  readonly granule: Granule;
  readonly level: number;
  readonly start: number;
  readonly txsz: number;
}

const SIZES: readonly Size[] = [
  { granule: 12, level: 3, start: 1, txsz: 25 },
  { granule: 12, level: 2, start: 1, txsz: 25 },
  { granule: 12, level: 1, start: 1, txsz: 25 },
  { granule: 14, level: 3, start: 1, txsz: 25 },
  { granule: 14, level: 2, start: 1, txsz: 25 },
  { granule: 16, level: 3, start: 2, txsz: 25 },
  { granule: 16, level: 2, start: 2, txsz: 25 },
];
const TG0 = { 12: 0, 14: 2, 16: 1 } as const;
/** TG of commands, which counts otherwise. */
const TG = { 12: 1n, 14: 2n, 16: 3n } as const;
const BASE = 2 ** 36;

interface Range {
  readonly name: string;
  readonly num: number;
  readonly scale: number;
  readonly ttl: number;
  /** Granules before (negative) or after the leaf where the range begins. */
  readonly from: number;
  readonly tg?: bigint;
  readonly asid?: number;
  readonly covers: boolean;
}

function rangesOf({ granule, level }: Size): readonly Range[] {
  const pages = 2 ** ((granule - 3) * (3 - level));
  const block = pages > 1;
  return [
    { name: 'the leaf by its level', num: 0, scale: 0, ttl: level, from: 0, covers: true },
    { name: 'one address, any granule', num: 0, scale: 0, ttl: 0, from: 0, tg: 0n, covers: true },
    { name: 'two granules', num: 1, scale: 0, ttl: 0, from: 0, covers: true },
    { name: 'two granules that end before', num: 1, scale: 0, ttl: 0, from: -2, covers: false },
    { name: 'a range that begins before', num: 31, scale: 0, ttl: 0, from: -31, covers: true },
    { name: 'a range by scale', num: 0, scale: 5, ttl: 0, from: -31, covers: true },
    {
      name: 'a range that ends one granule before',
      num: 30,
      scale: 0,
      ttl: 0,
      from: -31,
      covers: false,
    },
    { name: 'an immense range', num: 31, scale: 20, ttl: 0, from: -64, covers: true },
    { name: 'another ASID', num: 1, scale: 0, ttl: 0, from: 0, asid: 9, covers: false },
    ...(block
      ? [
          {
            name: 'a granule in the middle of the leaf',
            num: 0,
            scale: 0,
            ttl: 3,
            from: pages / 2,
            tg: 0n,
            covers: true,
          },
        ]
      : []),
  ];
}

/** TLBI_NH_VA. With TG=0 the level means nothing. */
function nhVaRange(size: Size, range: Range): Words {
  const { granule } = size;
  const address = BigInt(BASE) + BigInt(range.from) * 2n ** BigInt(granule);
  const tg = range.tg ?? TG[granule];
  const ttl = tg === 0n ? 0n : BigInt(range.ttl);
  return [
    0x12n |
      (BigInt(range.num) << 12n) |
      (BigInt(range.scale) << 20n) |
      (BigInt(VMID) << 32n) |
      (BigInt(range.asid ?? ASID) << 48n),
    address | 1n | (ttl << 8n) | (tg << 10n),
  ];
}

/** Which TLBI_NH_VA must remove which leaf. */
export function rangeCases(): JsonRow[] {
  return SIZES.flatMap((size) => {
    const { granule, level, start, txsz } = size;
    const bytes = 2 ** (granule + (granule - 3) * (3 - level));
    const name =
      bytes >= 2 ** 30
        ? `${String(bytes / 2 ** 30)}G`
        : bytes >= 2 ** 20
          ? `${String(bytes / 2 ** 20)}M`
          : `${String(bytes / 1024)}K`;
    return rangesOf(size).map((range) =>
      program(
        `range TLBI, ${String(2 ** (granule - 10))}K granule, ${name} leaf: ${range.name}`,
        'the leaf is cleared, then the command and a SYNC; a range that does not name it may remove it all the same',
        {
          section: '4.4.1.1',
          ...(range.tg === 0n && level === 3
            ? { catches: 'OpenVMM (August 2026): accessor of the TLBI address shifted by 4' }
            : {}),
        },
        'full',
        (s) => {
          s.ste(5).cd({ T0SZ: txsz, TG0: TG0[granule] });
          const output = BigInt(
            bytes > 2 ** 24 ? 0x1_4000_0000 - (0x1_4000_0000 % bytes) : PLACE.data,
          );
          const leaf = output | (level === 3 ? S1_RW : S1_RW & BLOCK);
          const slot = s.map(PLACE.stage1, BASE, leaf, { granule, level, start });
          const before = ok(Number(output));
          const after = fault('F_TRANSLATION', { address: BigInt(BASE) });
          s.enable()
            .access(BASE, {}, before)
            .store(slot, 0n)
            .command(nhVaRange(size, range))
            .sync();
          s.access(BASE, {}, ...(range.covers ? [after] : [before, after]));
        },
      ),
    );
  });
}

const leafBoth = (word: bigint): Words => [word, 0x1001n];
const CFGI_STE: Words = [0x03n | (BigInt(SID) << 32n), 1n];
const CFGI_STE_TABLE: Words = [0x03n | (BigInt(SID) << 32n), 0n];
const CFGI_CD: Words = [0x05n | (BigInt(SID) << 32n), 1n];
const CFGI_ALL: Words = [0x04n, 31n];
const NSNH_ALL: Words = [0x30n, 0n];
const tags = (asid: number): bigint => (BigInt(VMID) << 32n) | (BigInt(asid) << 48n);
const NH_ALL: Words = [0x10n | tags(0), 0n];
const NH_ASID: Words = [0x11n | tags(ASID), 0n];
const NH_VA: Words = leafBoth(0x12n | tags(ASID));
const NH_VA_TABLES: Words = [0x12n | tags(ASID), 0x1000n];
const NH_VAA: Words = leafBoth(0x13n | tags(0));
const S12: Words = [0x28n | tags(0), 0n];
const S2_IPA: Words = [0x2an | tags(0), 0x9000_0001n];
const S2_IPA_TABLES: Words = [0x2an | tags(0), 0x9000_0000n];

interface Stale {
  readonly name: string;
  readonly section: string;
  readonly features?: string;
  readonly base?: string;
  readonly catches?: string;
  readonly needed: readonly (readonly [Words, string])[];
  /** Builds, and returns what comes after: the change and the two outcomes. */
  readonly make: (s: Script) => {
    change: () => void;
    before: Outcome;
    after: Outcome;
    address?: number;
  };
}

const otherPage = BigInt(PLACE.other) | S1_RW;

const STALE: readonly Stale[] = [
  {
    name: 'L1STD 0 to active',
    section: '4.3.1',
    base: 'two-level',
    needed: [[CFGI_STE_TABLE, 'l1std']],
    make: (s) => {
      s.stage1();
      return {
        change: () => void s.store(PLACE.l1std, BigInt(PLACE.strtab) | 9n),
        before: fault('C_BAD_STREAMID'),
        after: ok(PLACE.data),
      };
    },
  },
  {
    name: 'STE invalid to valid',
    section: '4.3.1, 5.2.1',
    needed: [[CFGI_STE, 'ste']],
    make: (s) => {
      s.stage1();
      s.ste(5, { V: 0 });
      return { change: () => void s.ste(5), before: fault('C_BAD_STE'), after: ok(PLACE.data) };
    },
  },
  {
    name: 'CD, new tables under the same ASID',
    section: '4.3.3, 4.4.2',
    needed: [
      [CFGI_CD, 'cd'],
      [NH_ASID, 'tlb'],
    ],
    make: (s) => {
      s.stage1();
      return {
        change: () => {
          s.map(0x4060_0000, 0x1000, otherPage);
          s.cd({ TTB0: 0x4060_0000 });
        },
        before: ok(PLACE.data),
        after: ok(PLACE.other),
      };
    },
  },
  ...(
    [
      ['NH_VA', NH_VA],
      ['NH_VAA', NH_VAA],
      ['NH_ASID', NH_ASID],
      ['NH_ALL', NH_ALL],
      ['S12_VMALL', S12],
      ['NSNH_ALL', NSNH_ALL],
    ] as const
  ).map(
    ([name, words]): Stale => ({
      name: `stage-1 leaf, ${name}`,
      section: '4.4.2, 16.2',
      needed: [[words, 'tlb']],
      make: (s) => {
        const { leaf } = s.stage1();
        return {
          change: () => void s.store(leaf, otherPage),
          before: ok(PLACE.data),
          after: ok(PLACE.other),
        };
      },
    }),
  ),
  {
    name: 'stage-1 table replaced',
    section: '4.4.2, 16.2',
    needed: [[NH_VA_TABLES, 'tlb']],
    make: (s) => {
      s.stage1();
      return {
        change: () => {
          s.map(0x4061_0000, 0x1000, otherPage, { start: 2 });
          s.store(PLACE.stage1, 0x4061_0003n);
        },
        before: ok(PLACE.data),
        after: ok(PLACE.other),
      };
    },
  },
  {
    name: 'global leaf, NH_VA of another ASID',
    section: '4.4.2, 3.17',
    catches:
      'QEMU 11.1.3 (n26): TLBI_NH_VA with another ASID leaves a global entry cached; gem5 (2024): no global entries in the TLB key',
    needed: [[leafBoth(0x12n | tags(ASID + 1)), 'tlb']],
    make: (s) => {
      const { leaf } = s.stage1();
      s.store(leaf, (BigInt(PLACE.data) | S1_RW) & ~0x800n);
      return {
        change: () => void s.store(leaf, otherPage & ~0x800n),
        before: ok(PLACE.data),
        after: ok(PLACE.other),
      };
    },
  },
  {
    name: 'stage-2 leaf',
    section: '4.4.3, 16.2',
    catches: 'gem5 (2024): S2_IPA with Leaf=1 leaves the stage-2 leaf in the walk cache',
    needed: [[S2_IPA, 's2-tlb']],
    make: (s) => {
      const { leaf } = s.stage2();
      return {
        change: () => void s.store(leaf, BigInt(PLACE.other) | S2_RW),
        before: ok(PLACE.data),
        after: ok(PLACE.other),
        address: 0x9000_0000,
      };
    },
  },
  {
    name: 'stage-2 table',
    section: '4.4.3, 16.2',
    needed: [[S2_IPA_TABLES, 's2-tlb']],
    make: (s) => {
      s.stage2();
      return {
        change: () => {
          // IPA 0x9000_0000 is entry 2 of the first level, and entry 128 of the next.
          s.map(0x4061_0000, 0x1000_0000, BigInt(PLACE.other) | S2_RW, { start: 2 });
          s.store(PLACE.stage2 + 16, 0x4061_0003n);
        },
        before: ok(PLACE.data),
        after: ok(PLACE.other),
        address: 0x9000_0000,
      };
    },
  },
  {
    name: 'stage-2 leaf of a nested stream',
    section: '4.4.3, 16.2',
    needed: [
      [S2_IPA, 's2-tlb'],
      [NH_ALL, 'tlb'],
    ],
    make: (s) => {
      const { s2 } = s.nested();
      return {
        change: () => void s.store(s2, BigInt(PLACE.other) | S2_RW),
        before: ok(PLACE.data),
        after: ok(PLACE.other),
      };
    },
  },
  {
    name: 'S2TTB',
    section: '4.3.1, 5.2.1',
    needed: [
      [CFGI_STE, 'ste'],
      [S12, 's2-tlb'],
    ],
    make: (s) => {
      s.stage2();
      return {
        change: () => {
          s.map(0x4060_0000, 0x9000_0000, BigInt(PLACE.other) | S2_RW);
          s.ste(6, { S2TTB: 0x4060_0000 });
        },
        before: ok(PLACE.data),
        after: ok(PLACE.other),
        address: 0x9000_0000,
      };
    },
  },
  {
    name: 'STRTAB_BASE',
    section: '6.3.24, 3.11',
    needed: [
      [CFGI_ALL, 'ste'],
      [NSNH_ALL, 'tlb'],
    ],
    make: (s) => {
      s.stage1();
      return {
        change: () => {
          s.map(0x4060_0000, 0x1000, otherPage);
          s.cd({ TTB0: 0x4060_0000 }, PLACE.cds + 0x1000);
          s.ste(5, { S1ContextPtr: PLACE.cds + 0x1000 }, PLACE.strtab + 0x8000 + SID * 64);
          s.enable(0xc)
            .write('STRTAB_BASE', PLACE.strtab + 0x8000)
            .enable();
        },
        before: ok(PLACE.data),
        after: ok(PLACE.other),
      };
    },
  },
];

/** After the last command and its CMD_SYNC only the new outcome is right. */
export function staleCases(): JsonRow[] {
  return STALE.map(({ name, section, features = 'nested', base, catches, needed, make }) =>
    program(
      `stale use: ${name}`,
      'commands marked `needed` are what the change takes; with one left out old and new are both right, and that is a bug of the software',
      { section: `3.21, ${section}`, ...(catches === undefined ? {} : { catches }) },
      { features, setup: base },
      (s) => {
        const { change, before, after, address = 0x1000 } = make(s);
        s.enable().access(address, {}, before);
        change();
        for (const [words, removes] of needed) s.needed(words, removes);
        s.access(address, {}, after);
      },
    ),
  );
}
