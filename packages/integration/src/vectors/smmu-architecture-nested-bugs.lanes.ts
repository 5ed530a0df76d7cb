import { at, type Bug, GEM5, IPA, PAGE, QEMU } from './smmu-architecture-bug.ts';
import {
  fault,
  NO_S2_READ,
  NO_S2_WRITE,
  ok,
  PLACE,
  S1_RW,
  S2_RW,
  type Script,
} from './smmu-architecture-script.lanes.ts';

// What other implementations got wrong where stage 2 carries stage 1: each with the outcome of the architecture.

const DATA = BigInt(PLACE.data);

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

/** Bugs of nested walks. */
export const NESTED_BUGS: readonly Bug[] = [
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
