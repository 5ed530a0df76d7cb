import { type Bug, CONFIGURATION_BUGS } from './smmu-architecture-config-bugs.lanes.ts';
import {
  ABORT,
  BLOCK,
  fault,
  ok,
  PLACE,
  program,
  RAZ_WI,
  S1_RW,
  S2_RW,
  type Script,
  SID,
} from './smmu-architecture-script.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

// What other implementations got wrong in translation and its faults: each with the outcome of the architecture.

const PAGE = 0x1000;
const IPA = 0x9000_0000;
const at = { address: BigInt(PAGE) };
const s2at = { address: BigInt(IPA), stage: 2 as const, ipa: IPA };
const DATA = BigInt(PLACE.data);
const PRIVILEGED = ~0x40n;
const READ_ONLY = 0x80n;
const NO_S2_WRITE = ~0x80n;
const NO_S2_READ = ~0x40n;
const NO_AF = ~0x400n;
const OPENVMM = 'OpenVMM (August 2026)';
const GEM5 = 'gem5 (2024)';
const QEMU = 'QEMU 11.1.3';

/** Stage-1 leaf with other attributes. */
function leafed(s: Script, leaf: bigint): Script {
  const { leaf: slot } = s.stage1();
  return s.store(slot, leaf).enable();
}

const UPPER = 0xffff_ff80_0000_1000n;

const STAGE1: readonly Bug[] = [
  {
    name: 'a page for privileged software',
    about: 'AP[1]=0 refuses unprivileged reads and writes',
    section: '7.3.16; DDI 0487 D8.4',
    catches: `${QEMU} (q5): unprivileged access passes; ${GEM5}: read permission unmodelled`,
    write: (s) =>
      leafed(s, (DATA | S1_RW) & PRIVILEGED)
        .access(PAGE, {}, fault('F_PERMISSION', at))
        .access(PAGE, { rw: 'write' }, fault('F_PERMISSION', { ...at, rw: 'write' }))
        .access(PAGE, { privileged: true }, ok(PLACE.data)),
  },
  {
    name: 'APTable[0]',
    about: 'a table that allows no unprivileged access',
    section: 'DDI 0487 D8.4',
    catches: `${QEMU} (q5): not applied`,
    write: (s) => {
      s.stage1();
      s.store(PLACE.stage1, 0x4050_0003n | (1n << 61n));
      s.enable().access(PAGE, {}, fault('F_PERMISSION', at));
    },
  },
  {
    name: 'APTable after a read was cached',
    about: 'a table that allows no writes, for a leaf that does',
    section: 'DDI 0487 D8.4',
    catches: `${QEMU} (q6): APTable not applied on a TLB hit`,
    write: (s) => {
      s.stage1();
      s.store(PLACE.stage1, 0x4050_0003n | (1n << 62n));
      s.enable()
        .access(PAGE, {}, ok(PLACE.data))
        .access(PAGE, { rw: 'write' }, fault('F_PERMISSION', { ...at, rw: 'write' }));
    },
  },
  {
    name: 'APTable does not fault by itself',
    about: 'the invalid leaf below comes first',
    section: '7.2, 7.3.22',
    catches: `${QEMU} (n14): F_PERMISSION at the table`,
    write: (s) => {
      const { leaf } = s.stage1();
      s.store(PLACE.stage1, 0x4050_0003n | (1n << 62n)).store(leaf, 0n);
      s.enable().access(PAGE, { rw: 'write' }, fault('F_TRANSLATION', { ...at, rw: 'write' }));
    },
  },
  {
    name: 'output size before access flag and permission',
    about: 'a leaf beyond IPS that is read-only and not accessed',
    section: '7.2, 7.3.22',
    catches: `${QEMU} (n13): F_ACCESS or F_PERMISSION`,
    write: (s) => {
      const { leaf } = s.stage1({}, { IPS: 0 });
      s.store(leaf, ((1n << 40n) | S1_RW | READ_ONLY) & NO_AF);
      s.enable().access(PAGE, { rw: 'write' }, fault('F_ADDR_SIZE', { ...at, rw: 'write' }));
    },
  },
  {
    name: 'a table beyond IPS',
    about: 'the next table counts as output',
    section: '7.3.14, 3.4.1',
    catches: `${QEMU} (n5): the walk goes on`,
    write: (s) => {
      s.stage1({}, { IPS: 0 });
      s.store(PLACE.stage1, (1n << 40n) | 3n);
      s.enable().access(PAGE, {}, fault('F_ADDR_SIZE', at));
    },
  },
  {
    name: 'a block at level 0',
    about: '4K granule without DS: invalid',
    section: 'DDI 0487 D8.3',
    catches: `${QEMU} (q9): a 512 GiB block`,
    write: (s) => {
      s.stage1({}, { T0SZ: 16 });
      s.store(PLACE.stage1, (S1_RW & BLOCK) | 0n);
      s.enable().access(PAGE, {}, fault('F_TRANSLATION', at));
    },
  },
  ...(
    [
      ['16K', 2, 17, 0],
      ['64K', 1, 16, 0],
    ] as const
  ).map(
    ([name, tg0, t0sz, slot]): Bug => ({
      name: `a block at level 1, ${name}`,
      about: 'no leaf stands there below 52 bits',
      section: 'DDI 0487 D8.3',
      catches: `${QEMU} (q9): accepted`,
      write: (s) => {
        s.stage1({}, { T0SZ: t0sz, TG0: tg0 });
        s.store(PLACE.stage1 + slot, S1_RW & BLOCK);
        s.enable().access(PAGE, {}, fault('F_TRANSLATION', at));
      },
    }),
  ),
  {
    name: 'the upper half',
    about: 'VA[55]=1 uses TTB1, T1SZ, TG1',
    section: '3.4.1, 5.4',
    catches: `${OPENVMM}, ${GEM5}: TTB1 absent`,
    write: (s) => {
      s.stage1({}, { EPD1: 0, T1SZ: 25, TG1: 2, TTB1: 0x4060_0000 });
      s.map(0x4060_0000, PAGE, BigInt(PLACE.other) | S1_RW);
      s.enable().access(UPPER, {}, ok(PLACE.other)).access(PAGE, {}, ok(PLACE.data));
    },
  },
  {
    name: 'top byte ignored',
    about: 'TBI0=1: any VA[63:56]; the record keeps the byte',
    section: '5.4, 7.3',
    catches: `${OPENVMM}, ${GEM5}: TBI absent`,
    write: (s) => {
      s.stage1({}, { TBI0: 1 });
      s.enable()
        .access(0x5a00_0000_0000_1000n, {}, ok(PLACE.data))
        .access(
          0x5a00_0000_0000_2000n,
          {},
          fault('F_TRANSLATION', { address: 0x5a00_0000_0000_2000n }),
        );
    },
  },
  {
    name: 'top byte of the upper half',
    about: 'TBI1 governs it, TBI0 does not',
    section: '5.4',
    catches: `${QEMU} (n12): TBI0 governs both halves`,
    write: (s) => {
      const address = 0x5aff_ff80_0000_1000n;
      s.stage1({}, { EPD1: 0, T1SZ: 25, TG1: 2, TTB1: 0x4060_0000, TBI1: 1 });
      s.map(0x4060_0000, PAGE, BigInt(PLACE.other) | S1_RW);
      s.enable()
        .access(address, {}, ok(PLACE.other))
        .access(
          0x5a00_0000_0000_1000n,
          {},
          fault('F_TRANSLATION', { address: 0x5a00_0000_0000_1000n }),
        );
    },
  },
  {
    name: 'access flag',
    about: 'AF=0 without HA and AFFD',
    section: '7.3.15',
    catches: `${GEM5}: AF unmodelled`,
    write: (s) => void leafed(s, (DATA | S1_RW) & NO_AF).access(PAGE, {}, fault('F_ACCESS', at)),
  },
  {
    name: 'execute never',
    about: 'UXN=1 refuses an unprivileged instruction read and no data read',
    section: '7.3.16; DDI 0487 D8.4',
    features: 'full',
    catches: `${GEM5}: XN unmodelled; QEMU: InD always 0`,
    write: (s) =>
      leafed(s, DATA | S1_RW | (1n << 54n))
        .access(PAGE, { instruction: true }, fault('F_PERMISSION', { ...at, instruction: true }))
        .access(PAGE, {}, ok(PLACE.data)),
  },
  {
    name: 'privilege in the record',
    about: 'PnU as the transaction had it',
    section: '7.3',
    features: 'full',
    catches: 'QEMU: PnU, SSID always 0',
    write: (s) => {
      s.stage1({ S1CDMax: 2, S1DSS: 2 });
      s.cd({}, PLACE.cds + 64);
      s.enable()
        .access(
          0x5000,
          { privileged: true },
          fault('F_TRANSLATION', { address: 0x5000n, privileged: true }),
        )
        .access(0x5000, { ssid: 1 }, fault('F_TRANSLATION', { address: 0x5000n, ssid: 1 }));
    },
  },
  ...(
    [
      ['A=0 R=0: read as zero, silent', 0, 0, RAZ_WI],
      ['A=1 R=0: refused, silent', 1, 0, ABORT],
    ] as const
  ).map(
    ([about, a, r, outcome]): Bug => ({
      name: `CD.A=${String(a)} CD.R=${String(r)}`,
      about,
      section: '3.12, 5.5',
      features: 'full',
      catches: `${OPENVMM}: CD.R ignored; ${GEM5}: every fault aborts and records`,
      write: (s) => {
        s.stage1({}, { A: a, R: r });
        s.enable().access(0x5000, {}, outcome).read('EVENTQ_PROD', 0);
      },
    }),
  ),
  {
    name: 'worlds do not share translations',
    about: 'the same VA and ASID of NS-EL1 and NS-EL2 with tables of their own',
    section: '3.17, 3.3.3',
    features: 'full',
    catches: `${GEM5}: the TLB key lacks StreamWorld`,
    write: (s) => {
      s.stage1();
      s.ste(5, { STRW: 2, S1ContextPtr: PLACE.cds + 0x1000 }, PLACE.strtab + (SID + 1) * 64);
      s.cd({ TTB0: 0x4060_0000 }, PLACE.cds + 0x1000).map(
        0x4060_0000,
        PAGE,
        BigInt(PLACE.other) | S1_RW,
      );
      s.enable()
        .access(PAGE, {}, ok(PLACE.data))
        .access(PAGE, { sid: SID + 1 }, ok(PLACE.other));
    },
  },
];

const BEYOND = 1n << 44n;

const STAGE2: readonly Bug[] = [
  {
    name: 'bypass with SMMUEN=0 checks the size',
    about: 'an address of 2^OAS: refused, no record',
    section: '3.4, 6.3.9.6',
    catches: `${QEMU} (n2): passed`,
    write: (s) => s.write('GBPA', 0x8000_0000).access(BEYOND, {}, ABORT),
  },
  ...(
    [
      ['Config=100', 4, 'n2'],
      ['Config=110', 6, 'n3'],
    ] as const
  ).map(
    ([name, config, code]): Bug => ({
      name: `${name} checks the size of its input`,
      about: 'F_ADDR_SIZE with S2=0, CLASS=IN',
      section: '3.4, 7.3.14',
      catches: `${QEMU} (${code}): passed, or refused without a record`,
      write: (s) => {
        s.ste(config);
        s.enable().access(BEYOND, {}, fault('F_ADDR_SIZE', { address: BEYOND }));
      },
    }),
  ),
  {
    name: 'stage 2 alone: CLASS=IN, IPA without its low bits',
    about: 'the field is 55:12',
    section: '7.3.13',
    catches: `${GEM5}: CLASS=TT; ${QEMU} (n1): IPA bits 11:0 in dw3`,
    write: (s) => {
      s.stage2();
      s.enable().access(
        IPA + 0x56a8,
        {},
        fault('F_TRANSLATION', { address: BigInt(IPA + 0x56a8), stage: 2, ipa: IPA + 0x5000 }),
      );
    },
  },
  {
    name: 'a write after a read of a read-only page',
    about: 'F_PERMISSION on a hit as on a miss',
    section: '7.3.16',
    catches: `${QEMU} (q7): refused without a record`,
    write: (s) => {
      const { leaf } = s.stage2();
      s.store(leaf, (DATA | S2_RW) & NO_S2_WRITE)
        .enable()
        .access(IPA, {}, ok(PLACE.data));
      s.access(IPA, { rw: 'write' }, fault('F_PERMISSION', { ...s2at, rw: 'write' }));
    },
  },
  {
    name: 'a read after a write of a write-only page',
    about: 'F_PERMISSION on a hit as on a miss',
    section: '7.3.16',
    catches: `${QEMU} (q7): passes`,
    write: (s) => {
      const { leaf } = s.stage2();
      s.store(leaf, (DATA | S2_RW) & NO_S2_READ)
        .enable()
        .access(IPA, { rw: 'write' }, ok(PLACE.data));
      s.access(IPA, {}, fault('F_PERMISSION', s2at));
    },
  },
  {
    name: 'the second of two concatenated tables',
    about: '40 bits from level 1: bit 39 chooses the table',
    section: 'DDI 0487 D8.2.2',
    catches: `${QEMU} (n11): only the first table is used`,
    write: (s) => {
      s.stage2({ S2T0SZ: 24 });
      s.s2(0x80_0000_1000, BigInt(PLACE.other) | S2_RW);
      s.enable().access(0x80_0000_1000, {}, ok(PLACE.other));
    },
  },
  {
    name: 'a stage-2 table beyond S2PS',
    about: 'F_ADDR_SIZE',
    section: '7.3.14',
    catches: `${QEMU} (n5): the walk goes on`,
    write: (s) => {
      s.stage2({ S2PS: 0 });
      s.store(PLACE.stage2 + 16, (1n << 40n) | 3n);
      s.enable().access(IPA, {}, fault('F_ADDR_SIZE', s2at));
    },
  },
];

/** A nested stream whose first stage-1 table has an own page of stage 2. */
function tablePage(s: Script, page: number, leaf: bigint): void {
  s.nested();
  // The block of 2 MiB around the page becomes single pages.
  const block = page - (page % 0x20_0000);
  for (let i = 0; i < 512; i++) {
    const ipa = block + i * 4096;
    if (
      ipa === page ||
      ipa === PLACE.stage1 ||
      (ipa >= 0x4050_0000 && ipa % 0x1_0000 === 0 && ipa < 0x4058_0000)
    )
      s.map(0x40f0_0000, i * 4096, ipa === page ? leaf : BigInt(ipa) | S2_RW, { start: 3 });
  }
  s.map(PLACE.stage2, block, 0x40f0_0003n, { level: 2 });
}

const tableFault = { ...at, stage: 2 as const, class: 'TT' as const, ipa: PLACE.stage1 };
const TABLE = BigInt(PLACE.stage1);

const NESTED: readonly Bug[] = [
  {
    name: 'a write whose CD stage 2 does not map',
    about: 'RnW is that of the transaction',
    section: '7.3, 7.3.13',
    catches: `${QEMU} (n7): RnW=1`,
    write: (s) => {
      s.nested({ S1ContextPtr: 0x7000_0000 });
      s.enable().access(
        PAGE,
        { rw: 'write' },
        fault('F_TRANSLATION', { ...at, rw: 'write', stage: 2, class: 'CD', ipa: 0x7000_0000 }),
      );
    },
  },
  {
    name: 'a later stage-1 table that stage 2 does not map',
    about: 'S2=1, CLASS=TT, the IPA of the descriptor’s page',
    section: '7.3.13',
    catches: `${QEMU} (n8): S2=0, and CD.R decides whether it is recorded`,
    write: (s) => {
      s.nested({}, { R: 0 });
      s.store(PLACE.stage1, 0x7000_0003n);
      s.enable().access(
        PAGE,
        {},
        fault('F_TRANSLATION', { ...at, stage: 2, class: 'TT', ipa: 0x7000_0000 }),
      );
    },
  },
  {
    name: 'a stage-1 table of several stage-2 pages',
    about: '16K granule: the second 4K page of the table lies elsewhere',
    section: '3.4.1',
    catches: `${QEMU} (n9): only the base of a table goes through stage 2`,
    write: (s) => {
      s.nested({}, { T0SZ: 39, TG0: 2, TTB0: 0x7000_0000 });
      // 25 bits from level 3: page 0x80_0000 is entry 512, the first of the second 4K page of the table.
      for (const [i, page] of [0x4200_0000, 0x4210_0000, 0x4220_0000, 0x4230_0000].entries())
        s.s2(0x7000_0000 + i * 4096, BigInt(page) | S2_RW);
      s.store(0x4210_0000, BigInt(IPA) | S1_RW);
      s.enable().access(512 * 0x4000, {}, ok(PLACE.data));
    },
  },
  {
    name: 'the unused half is not translated',
    about: 'TTB1 leads where stage 2 maps nothing',
    section: '3.4.1',
    catches: `${QEMU} (n10): both TTBs are translated when the CD is fetched`,
    write: (s) => {
      s.nested({}, { EPD1: 0, T1SZ: 25, TG1: 2, TTB1: 0x7000_0000 });
      s.enable().access(PAGE, {}, ok(PLACE.data));
    },
  },
  {
    name: 'a stage-1 table without read permission of stage 2',
    about: 'F_PERMISSION, CLASS=TT, TTRnW=1',
    section: '7.3.16',
    catches: `${QEMU} (n16): TTRnW missing`,
    write: (s) => {
      tablePage(s, PLACE.stage1, (TABLE | S2_RW) & NO_S2_READ);
      s.enable().access(PAGE, {}, fault('F_PERMISSION', { ...tableFault, tableRead: true }));
    },
  },
  {
    name: 'S2PTW: a stage-1 table in Device memory',
    about: 'F_PERMISSION, CLASS=TT',
    section: '5.2, 7.3.16',
    catches: `${QEMU} (n17): S2PTW ignored`,
    write: (s) => {
      tablePage(s, PLACE.stage1, (TABLE | S2_RW) & ~0x3cn);
      s.ste(7, { S2PTW: 1 });
      s.enable().access(PAGE, {}, fault('F_PERMISSION', { ...tableFault, tableRead: true }));
    },
  },
  {
    name: 'a write through read-only tables',
    about: 'stage 2 lets stage-1 tables be read only, and that is enough',
    section: '3.4.1, 13.4',
    catches: `${GEM5}: write permission demanded of table and CD fetches`,
    write: (s) => {
      tablePage(s, PLACE.stage1, (TABLE | S2_RW) & NO_S2_WRITE);
      s.enable().access(PAGE, { rw: 'write' }, ok(PLACE.data));
    },
  },
  {
    name: 'F_PERMISSION of stage 2 on a hit has its IPA',
    about: 'a write after a read',
    section: '7.3.16',
    catches: `${QEMU} (n20): IPA 0`,
    write: (s) => {
      const { s2 } = s.nested();
      s.store(s2, (DATA | S2_RW) & NO_S2_WRITE)
        .enable()
        .access(PAGE, {}, ok(PLACE.data));
      s.access(
        PAGE,
        { rw: 'write' },
        fault('F_PERMISSION', { ...at, rw: 'write', stage: 2, ipa: IPA }),
      );
    },
  },
];

/** One program for each. */
export function bugCases(): JsonRow[] {
  return [...CONFIGURATION_BUGS, ...STAGE1, ...STAGE2, ...NESTED].map(
    ({ name, about, features = 'nested', base, write, ...grounds }) =>
      program(name, about, grounds, { features, setup: base }, write),
  );
}
