import {
  type CdFields,
  CFGI_ALL,
  CMDQ_LG2,
  cfgiCd,
  cfgiSte,
  type DmaTrace,
  EDU1,
  EDU2,
  EVTQ_LG2,
  NSNH_ALL,
  PLACES,
  type QtestRig,
  QtestTables,
  S1_NO_AF,
  S1_RO,
  S1_RW,
  S2_FIELDS,
  S2_RO,
  S2_RW,
  type SteFields,
  SYNC,
  TESTDEV,
  tlbiVa,
} from './qtest-rig.ts';

// The steps of a recorded register-level run, by the names that its file gives them.

/** What the model did at each step: a record, none, or whether a check held. */
export interface QtestSteps {
  /** First event record of a step, as the 32 bytes in hex; `none`. */
  readonly events: Map<string, string>;
  readonly checks: Map<string, boolean>;
}

const PAGE = 4096;
const DATA = PLACES.data;
const IOVA = 0x400_0000;
const ALL = [EDU1, EDU2, TESTDEV];

/** The record in the byte order of memory, as the files give it. */
export function recordBytes(event: readonly string[] | undefined): string {
  if (event === undefined) return 'none';
  return event
    .map((word) => word.slice(2).padStart(16, '0').match(/../g)?.reverse().join('') ?? '')
    .join('');
}

/** Every word of the DMA came out at its place from `pa` on. */
function landed({ addresses }: DmaTrace, pa: number): boolean {
  return addresses.every((address, i) => address === pa + i * 4);
}

/** The part of a run that all stages share, and what it records. */
export class QtestRun implements QtestSteps {
  readonly events: Map<string, string> = new Map();
  readonly checks: Map<string, boolean> = new Map();
  readonly rig: QtestRig;

  constructor(rig: QtestRig) {
    this.rig = rig;
  }

  reset(): void {
    const { rig } = this;
    const bypass = landed(rig.at(EDU1, 'write', DATA + 0x2_0000, 64), DATA + 0x2_0000);
    this.checks.set('SMMUEN=0: DMA bypasses to PA', bypass);
    rig.write('GBPA', 0x8010_0000);
    const { addresses, event } = rig.at(EDU1, 'write', DATA + 0x2_0000, 64);
    this.checks.set(
      'SMMUEN=0 + GBPA.ABORT: write dropped',
      event === undefined && addresses.every((address) => address < 0),
    );
    rig.write('GBPA', 0x8000_0000);
  }

  event(name: string, trace: DmaTrace): void {
    this.events.set(name, recordBytes(trace.event));
  }

  stage1(stage: '1' | 'nested'): void {
    const { rig } = this;
    const tables = new QtestTables(rig, PLACES.stage1, { start: 1, rootPages: 1 });
    const data = (page: number): number => DATA + page * PAGE;
    tables.map(IOVA, data(2), { bits: S1_RW });
    tables.map(IOVA + 0x1000, data(3), { bits: S1_RO });
    tables.map(IOVA + 0x2000, data(4), { bits: S1_NO_AF });
    tables.map(IOVA + 0x3000, 0xfff_ffff_f000, { bits: S1_RW });
    tables.map(0x60_0000, DATA, { bits: S1_RW, level: 2 });
    tables.map(IOVA + 0x4000, 2 ** 44, { bits: S1_RW });
    const hole = tables.map(IOVA + 0x5000, data(6), { bits: S1_RW });
    rig.cd();
    for (const sid of ALL) rig.ste(sid);
    const { cons, gerror } = rig.up('linear');
    this.checks.set('CMDQ consumed CFGI_ALL+TLBI+SYNC', cons === 3 && gerror === 0);
    this.checks.set('CR0ACK mirrors CR0', rig.read('CR0ACK') === 0xd);
    const first = rig.at(EDU1, 'read', IOVA, 2048);
    const second = rig.at(EDU1, 'write', IOVA + 0x5000, 2048);
    this.checks.set(
      'S1 4K: read IOVA 0x4000000 -> page2, write IOVA 0x4005000 -> page6',
      landed(first, data(2)) && landed(second, data(6)),
    );
    const block = rig.at(EDU1, 'read', 0x60_3008, 256);
    this.checks.set('S1 2M block: IOVA 0x603008 -> page3', landed(block, data(3) + 8));
    const quiet = [first, second, block].every(({ event }) => event === undefined);
    this.checks.set('no event so far', quiet);
    this.#faults();
    this.#caching(hole, data(6));
    this.#streamEntries();
    this.#contexts();
    this.#streamTable();
    this.#overflow();
    this.#illegalCommand();
    this.#testDevice();
    this.#twoLevel();
    if (stage === 'nested') this.#nested(tables);
  }

  stage2(): void {
    const { rig } = this;
    const tables = new QtestTables(rig, PLACES.stage2, { start: 1, rootPages: 2 });
    tables.map(IOVA, DATA + 2 * PAGE, { bits: S2_RW });
    tables.map(IOVA + 0x1000, DATA + 3 * PAGE, { bits: S2_RO });
    for (const sid of ALL) rig.ste(sid, { ...S2_FIELDS, Config: 6, S1ContextPtr: 0, S2VMID: 3 });
    const { cons, gerror } = rig.up('linear');
    this.checks.set('CMDQ', cons === 3 && gerror === 0);
    const read = rig.at(EDU1, 'read', IOVA + 0x1000, 16);
    const write = rig.at(EDU1, 'write', IOVA, 16);
    const there = landed(read, DATA + 3 * PAGE) && landed(write, DATA + 2 * PAGE);
    this.checks.set('S2 4K', there);
    this.event(
      'S2 write to RO, TLB hit (QEMU bug: aborted but never recorded)',
      rig.at(EDU1, 'write', IOVA + 0x1000, 4),
    );
    rig.submit(NSNH_ALL, SYNC);
    this.event('S2 write to RO, after TLBI', rig.at(EDU1, 'write', IOVA + 0x1000, 4));
    this.event('S2 unmapped', rig.at(EDU1, 'read', IOVA + 0x9000, 4));
    this.event('S2 input above T0SZ', rig.at(EDU1, 'read', 2 ** 42, 4));
  }

  #faults(): void {
    const { rig } = this;
    const read = (name: string, iova: number, bytes: number = 16): void =>
      this.event(name, rig.at(EDU1, 'read', iova, bytes));
    read('unmapped read (L1 hole)', 0x7_0000_0123);
    this.event('unmapped write (L3 hole)', rig.at(EDU1, 'write', IOVA + 0x7abc, 16));
    this.event('write to RO page', rig.at(EDU1, 'write', IOVA + 0x1010, 16));
    read('read of RO page is fine', IOVA + 0x1010);
    read('AF=0', IOVA + 0x2000);
    read('input addr above T0SZ', 2 ** 40);
    read('leaf PA above IPS', IOVA + 0x4000);
    read('leaf PA in range but no memory behind it', IOVA + 0x3000);
    read('DMA spanning mapped->unmapped page', IOVA + 0x5ff0, 32);
    // The device itself cuts 0x14000000 to 28 bits.
    this.event(
      'edu default mask clamps IOVA to 28 bits (0x14000000 -> 0x4000000)',
      rig.at(EDU2, 'read', IOVA, 16),
    );
  }

  #caching(hole: number, page: number): void {
    const { rig } = this;
    const there = (): DmaTrace => rig.at(EDU1, 'read', IOVA + 0x5000, 16);
    rig.store(hole, 0);
    this.event('PTE cleared, no TLBI: stale TLB entry still hits', there());
    rig.submit(tlbiVa(1, IOVA + 0x5000), SYNC);
    this.event('... after TLBI_NH_VA', there());
    rig.store(hole, page + S1_RW + 3);
    rig.ste(EDU1, { V: 0 });
    this.event('STE.V=0, no CFGI: cached config still used', this.#mapped());
    rig.submit(cfgiSte(EDU1), SYNC);
    this.event('... after CFGI_STE', this.#mapped());
  }

  #mapped(): DmaTrace {
    return this.rig.at(EDU1, 'read', IOVA, 16);
  }

  #restream(fields: SteFields): void {
    this.rig.ste(EDU1, fields);
    this.rig.submit(cfgiSte(EDU1), NSNH_ALL, SYNC);
  }

  #streamEntries(): void {
    this.#restream({ Config: 0 });
    this.event('STE.Config=0 abort: silent', this.#mapped());
    this.#restream({ Config: 4 });
    const bypass = this.rig.at(EDU1, 'write', DATA + 0x2_1000, 16);
    this.checks.set('STE.Config=4 bypass', landed(bypass, DATA + 0x2_1000));
    const rows: readonly [name: string, fields: SteFields][] = [
      ['STE.Config=6 (S2)', { ...S2_FIELDS, Config: 6 }],
      ['S1CDMax=2', { S1CDMax: 2 }],
      ['S1STALLD=1', { S1STALLD: 1 }],
      ['CD pointer to nowhere', { S1ContextPtr: PLACES.nowhere }],
    ];
    for (const [name, fields] of rows) {
      this.#restream(fields);
      this.event(name, this.#mapped());
    }
    this.#restream({});
  }

  #contexts(): void {
    const { rig } = this;
    const rows: readonly [name: string, fields: CdFields, iova?: number][] = [
      ['CD.V=0', { V: 0 }],
      ['CD.A=0 (TERM_MODEL=1)', { A: 0 }],
      ['CD.S=1 (no stall)', { S: 1 }],
      ['CD.HA=1 (HTTU=0)', { HA: 1 }],
      ['CD.T0SZ=15', { T0SZ: 15 }],
      ['CD.T0SZ=40', { T0SZ: 40 }],
      ['CD.EPD0=1', { EPD0: 1 }],
      ['CD.R=0: fault not recorded', { R: 0 }, IOVA + 0x7000],
      ['CD.AFFD=1 and PTE.AF=0', { AFFD: 1 }, IOVA + 0x2000],
      ['TTB0 to nowhere', { TTB0: PLACES.nowhere }],
    ];
    for (const [name, fields, iova = IOVA] of rows) {
      this.#recontext(fields);
      this.event(name, rig.at(EDU1, 'read', iova, 16));
    }
    this.#recontext({ TBI0: 1 });
    const tagged = rig.dma({ streamId: EDU1, rw: 'read', lo: IOVA, hi: 0xab00_0000, bytes: 16 });
    this.event('CD.TBI0=1 with tag byte in IOVA', tagged);
    this.#recontext({});
  }

  #recontext(fields: CdFields): void {
    this.rig.cd(fields);
    this.rig.submit(cfgiCd(EDU1), NSNH_ALL, SYNC);
  }

  /** These writes come while SMMUEN=1, as the script made them. */
  #streamTable(): void {
    const { rig } = this;
    rig.write('STRTAB_BASE_CFG', 3);
    rig.submit(CFGI_ALL, SYNC);
    this.event('SID >= 2^LOG2SIZE', this.#mapped());
    rig.write('STRTAB_BASE_CFG', 6);
    rig.write('STRTAB_BASE', PLACES.nowhere);
    rig.submit(CFGI_ALL, SYNC);
    this.event('stream table to nowhere', this.#mapped());
    rig.write('STRTAB_BASE', PLACES.strtab);
    rig.submit(CFGI_ALL, SYNC);
  }

  /** More faults than the queue has places: the flag tells it that the architecture names. */
  #overflow(): void {
    const { rig } = this;
    for (let i = 0; i < 2 ** EVTQ_LG2 + 2; i++)
      rig.device.model.translate({
        streamId: EDU1,
        rw: 'read',
        address: { lo: IOVA + 0x8000 + i * PAGE, hi: 0 },
      });
    const overflowed = rig.read('EVENTQ_PROD') >= 2 ** 31 && rig.read('GERROR') === 0;
    this.checks.set('event queue overflow', overflowed);
    rig.write('EVENTQ_CONS', rig.read('EVENTQ_PROD'));
  }

  #illegalCommand(): void {
    const { rig } = this;
    const before = rig.read('CMDQ_CONS');
    const { cons, gerror } = rig.submit([0xff, 0, 0, 0]);
    this.checks.set(
      'illegal command: CERROR_ILL + GERROR.CMDQ_ERR',
      Math.floor(cons / 2 ** 24) === 1 && (gerror + rig.read('GERRORN')) % 2 === 1,
    );
    rig.store(PLACES.cmdq + (before % 2 ** CMDQ_LG2) * 16, SYNC[0]);
    rig.store(PLACES.cmdq + (before % 2 ** CMDQ_LG2) * 16 + 8, 0);
    rig.write('GERRORN', gerror);
    const resumed = rig.read('CMDQ_CONS') % 2 ** 20 === rig.read('CMDQ_PROD');
    this.checks.set('CMDQ resumes after GERRORN ack', resumed);
  }

  #testDevice(): void {
    const { rig } = this;
    const hit = rig.at(TESTDEV, 'write', IOVA + 0x10, 64);
    this.checks.set('iommu-testdev hit', landed(hit, DATA + 2 * PAGE + 16));
    this.checks.set('iommu-testdev wrong expected PA', !landed(hit, DATA + 3 * PAGE + 16));
    const unmapped = rig.at(TESTDEV, 'write', IOVA + 0x9000, 4);
    this.checks.set('  result TX_FAIL', unmapped.addresses[0] === -1);
    this.event('iommu-testdev unmapped', unmapped);
  }

  #twoLevel(): void {
    const { rig } = this;
    rig.write('CR0', 0);
    for (let at = 0; at < PAGE; at += 8) rig.store(PLACES.strtab + at, 0);
    rig.store(PLACES.strtab, PLACES.level2 + 7);
    for (const sid of ALL) rig.ste(sid, {}, PLACES.level2);
    rig.up('two-level');
    const read = rig.at(EDU1, 'read', IOVA + 0x1000, 16);
    const write = rig.at(EDU1, 'write', IOVA, 16);
    const there = landed(read, DATA + 3 * PAGE) && landed(write, DATA + 2 * PAGE);
    this.checks.set('two-level stream table', there);
    rig.store(PLACES.strtab, PLACES.level2 + 3);
    rig.submit(CFGI_ALL, SYNC);
    this.event('L2 index past span (span 3 = 4 STEs, SID 8)', this.#mapped());
    rig.store(PLACES.strtab, 0);
    rig.submit(CFGI_ALL, SYNC);
    this.event('L1 descriptor span 0', this.#mapped());
    rig.store(PLACES.strtab, PLACES.level2 + 7);
    rig.submit(CFGI_ALL, NSNH_ALL, SYNC);
  }

  #nested(stage1: QtestTables): void {
    const { rig } = this;
    const tables = new QtestTables(rig, PLACES.stage2, { start: 1, rootPages: 2 });
    for (const page of stage1.pages) tables.map(page, page, { bits: S2_RW });
    const cd = tables.map(PLACES.cd, PLACES.cd, { bits: S2_RW });
    tables.map(DATA + 2 * PAGE, DATA + 10 * PAGE, { bits: S2_RW });
    tables.map(DATA + 3 * PAGE, DATA + 11 * PAGE, { bits: S2_RW });
    for (const sid of ALL) rig.ste(sid, { ...S2_FIELDS, Config: 7, S2VMID: 3 }, PLACES.level2);
    rig.submit(CFGI_ALL, NSNH_ALL, SYNC);
    const read = rig.at(EDU1, 'read', IOVA + 0x1000, 16);
    const write = rig.at(EDU1, 'write', IOVA, 16);
    const there = landed(read, DATA + 11 * PAGE) && landed(write, DATA + 10 * PAGE);
    this.checks.set('nested S1+S2', there);
    const at = (name: string, iova: number): void =>
      this.event(`nested: ${name}`, rig.at(EDU1, 'read', iova, 16));
    at('S2 fault on final IPA', IOVA + 0x5000);
    at('S1 fault', IOVA + 0x9000);
    rig.store(cd, 0);
    rig.submit(CFGI_ALL, NSNH_ALL, SYNC);
    at('S2 fault on CD fetch (CLASS=CD)', IOVA + 0x1000);
  }
}
