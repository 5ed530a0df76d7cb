import {
  type CdFields,
  CFGI_ALL,
  cfgiCd,
  type DmaTrace,
  EDU1,
  EDU2,
  NSNH_ALL,
  PLACES,
  type QtestRig,
  QtestTables,
  S1_GLOBAL,
  S1_PRIVILEGED,
  S1_RW,
  S2_FIELDS,
  S2_NONE,
  S2_RO,
  S2_WO,
  type SteFields,
  SYNC,
  TESTDEV,
  tlbiAsid,
} from './qtest-rig.ts';
import { recordBytes } from './qtest-run.ts';

// The probes of data/qtest/quirks-*.json: each beside what its recorder read in the architecture.

const DATA = PLACES.data;
const ALL = [EDU1, EDU2, TESTDEV];

/** What a probe did: `ok`, the name of the event, or `abort` without one. */
export type ProbeOutcome = string;

const EVENT_NAMES: Readonly<Record<string, string>> = {
  '02': 'C_BAD_STREAMID',
  '04': 'C_BAD_STE',
  '0a': 'C_BAD_CD',
  '10': 'F_TRANSLATION',
  '11': 'F_ADDR_SIZE',
  '12': 'F_ACCESS',
  '13': 'F_PERMISSION',
};

function outcomeOf({ addresses, event }: DmaTrace, pa: number | undefined): ProbeOutcome {
  if (event !== undefined) {
    const code = recordBytes(event).slice(0, 2);
    return EVENT_NAMES[code] ?? code;
  }
  if (addresses.includes(-1)) return 'abort';
  return pa === undefined || addresses[0] === pa ? 'ok' : 'elsewhere';
}

/** Runs the probes after the steps of a nested run; outcomes by the names that the file gives them. */
export class QtestProbes {
  readonly outcomes: Map<string, ProbeOutcome> = new Map();
  readonly #rig: QtestRig;
  readonly #tables: QtestTables;

  constructor(rig: QtestRig) {
    this.#rig = rig;
    rig.write('CR0', 0);
    rig.up('two-level');
    this.#tables = new QtestTables(rig, PLACES.probe, { start: 0, rootPages: 1 });
  }

  run(): void {
    this.#permissions();
    this.#globals();
    this.#upperHalf();
    this.#fields();
    this.#stage2();
    this.#linearAgain();
  }

  #configure(cd: CdFields = {}, ste: SteFields = {}): void {
    const rig = this.#rig;
    rig.cd({ T0SZ: 16, TTB0: this.#tables.root, ASID: 9, ...cd });
    for (const sid of ALL) rig.ste(sid, ste, PLACES.level2);
    rig.submit(CFGI_ALL, NSNH_ALL, SYNC);
  }

  #write(name: string, iova: number, pa: number = DATA): void {
    this.outcomes.set(name, outcomeOf(this.#rig.at(TESTDEV, 'write', iova, 4), pa));
  }

  #read(name: string, iova: number): void {
    this.outcomes.set(name, outcomeOf(this.#rig.at(EDU1, 'read', iova, 8), undefined));
  }

  #permissions(): void {
    const tables = this.#tables;
    const rig = this.#rig;
    tables.map(0x10_0000, DATA, { bits: S1_PRIVILEGED });
    tables.map(0x20_0000, DATA, { bits: S1_RW });
    tables.map(0x8000_0000, DATA, { bits: S1_RW });
    tables.map(0x30_0000, DATA, { bits: S1_GLOBAL });
    // Contiguous hint.
    tables.map(0x40_0000, DATA, { bits: S1_RW, hi: 0x10_0000 });
    tables.map(0x1_0000_0000, 0x4000_0000, { bits: S1_RW, level: 1 });
    // A block where level 0 has none.
    rig.store(tables.root + 5 * 8, 0x4000_0000 + S1_RW + 1);
    const level1 = rig.memory.load64(tables.root) - 3;
    const entry = rig.memory.load64(level1 + 2 * 8);
    // APTable: read only.
    rig.store(level1 + 2 * 8, entry, 0x4000_0000);
    this.#configure();
    this.#write('AP[1]=0 (EL1-only page), unprivileged device write', 0x10_0000);
    this.#write('APTable=RO on the table, write, TLB miss', 0x8000_0000);
    this.#read('APTable=RO on the table, read first', 0x8000_0000);
    this.#write('APTable=RO on the table, write after that read (TLB hit)', 0x8000_0000);
    this.#write('1 GiB block (4K granule, level 1)', 0x1_0080_0000);
    this.#write('block encoding at level 0', 5 * 2 ** 39);
    this.#write('contiguous bit set', 0x40_0000);
    this.#write('nG=0 page cached under ASID 9', 0x30_0000);
  }

  #globals(): void {
    const rig = this.#rig;
    rig.store(this.#tables.map(0x30_0000, DATA, { bits: S1_GLOBAL }), 0);
    rig.cd({ T0SZ: 16, TTB0: this.#tables.root, ASID: 10 });
    rig.submit(cfgiCd(TESTDEV), cfgiCd(EDU1), SYNC);
    this.#write('global (nG=0) entry seen from ASID 10, PTE gone, no TLBI', 0x30_0000);
    this.#configure();
    rig.at(TESTDEV, 'write', 0x20_0000, 4);
    rig.submit(tlbiAsid(9), SYNC);
    this.#write('TLBI_NH_ASID keeps working', 0x20_0000);
  }

  #upperHalf(): void {
    this.#configure({ EPD1: 0, TTB1: this.#tables.root });
    const upper = { lo: 0x20_0000, hi: 0xffff_0000, bytes: 4 } as const;
    const trace = this.#rig.dma({ streamId: TESTDEV, rw: 'write', ...upper });
    this.outcomes.set('TTB1 region 0xffff000000200000', outcomeOf(trace, DATA));
    this.#write('address in the hole between TTB0 and TTB1', 2 ** 48 + 0x20_0000);
  }

  #fields(): void {
    const rows: readonly [name: string, cd: CdFields][] = [
      ['CD.IPS=0 (32-bit), PA 0x40800000', { IPS: 0 }],
      ['CD.HD=1', { HD: 1 }],
      ['CD.AA64=0', { AA64: 0 }],
      ['CD.TG0=3 (reserved)', { TG0: 3 }],
      ['CD.IPS=5 (48 > OAS 44)', { IPS: 5 }],
    ];
    for (const [name, cd] of rows) {
      this.#configure(cd);
      this.#write(name, 0x20_0000);
    }
    for (const Config of [1, 2, 3]) {
      this.#configure({}, { Config });
      this.#write(`STE.Config=${String(Config)} (0b0xx)`, 0x20_0000);
    }
  }

  #stage2(): void {
    const tables = new QtestTables(this.#rig, PLACES.stage2, { start: 1, rootPages: 2 });
    tables.map(0x20_0000, DATA, { bits: S2_RO });
    tables.map(0x20_1000, DATA, { bits: S2_WO });
    tables.map(0x20_2000, DATA, { bits: S2_NONE });
    const only = (fields: SteFields): void =>
      this.#configure({}, { ...S2_FIELDS, Config: 6, S1ContextPtr: 0, S2VMID: 3, ...fields });
    only({});
    this.#write('S2-only, S2AP=RO, write, TLB miss', 0x20_0000);
    this.#rig.at(EDU1, 'read', 0x20_0000, 8);
    this.#write('S2-only, S2AP=RO, write, TLB hit', 0x20_0000);
    this.#write('S2-only, S2AP=WO, write', 0x20_1000);
    this.#read('S2-only, S2AP=WO, read after that write (TLB hit)', 0x20_1000);
    this.#write('S2-only, S2AP=none, write', 0x20_2000);
    only({ S2R: 0 });
    this.#write('S2-only, S2R=0, unmapped', 0x20_9000);
    const illegal: readonly [name: string, fields: SteFields][] = [
      ['STE.S2S=1 (stall not supported)', { S2S: 1 }],
      ['STE.S2T0SZ=40', { S2T0SZ: 40 }],
      ['STE.S2SL0=3', { S2SL0: 3 }],
    ];
    for (const [name, fields] of illegal) {
      only(fields);
      this.#write(name, 0x20_1000);
    }
  }

  #linearAgain(): void {
    const rig = this.#rig;
    this.#configure();
    rig.write('CR0', 0);
    rig.write('STRTAB_BASE_CFG', 6);
    rig.write('STRTAB_BASE', PLACES.level2);
    rig.write('CR0', 0xd);
    rig.submit(CFGI_ALL, NSNH_ALL, SYNC);
    this.#write('STRTAB_BASE_CFG.FMT back to linear after 2-level', 0x20_0000);
  }
}
