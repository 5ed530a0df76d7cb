import {
  fault,
  NO_AF,
  ok,
  PLACE,
  program,
  S1_RW,
  S2_RW,
  SID,
} from './smmu-architecture-script.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

// External aborts of every fetch.

const HOLE = 0x6000_0000;
const INTO_HOLE = BigInt(HOLE) | 3n;
const OPENVMM =
  'OpenVMM (August 2026): an abort on the fetch becomes C_BAD_STE, C_BAD_CD or F_TRANSLATION';

const at = (address: bigint): { address: bigint } => ({ address });

/** STEs and CDs, and their first levels. */
const CONFIGURATION: readonly JsonRow[] = [
  program(
    'STE fetch',
    'linear table outside memory',
    { section: '7.3.4', catches: OPENVMM },
    'nested',
    (s) =>
      s
        .write('STRTAB_BASE', HOLE)
        .enable()
        .access(0x1000, {}, fault('F_STE_FETCH', { fetch: HOLE + SID * 64 })),
  ),
  program(
    'L1STD fetch',
    'two-level table outside memory',
    { section: '7.3.4', catches: OPENVMM },
    { features: 'nested', setup: 'two-level' },
    (s) =>
      s
        .write('STRTAB_BASE', HOLE)
        .enable()
        .access(0x1000, {}, fault('F_STE_FETCH', { fetch: HOLE })),
  ),
  program(
    'STE fetch below an L1STD',
    'L2Ptr outside memory',
    { section: '7.3.4', catches: OPENVMM },
    { features: 'nested', setup: 'two-level' },
    (s) =>
      s
        .store(PLACE.l1std, BigInt(HOLE) | 9n)
        .enable()
        .access(0x1000, {}, fault('F_STE_FETCH', { fetch: HOLE + SID * 64 })),
  ),
  program(
    'CD fetch',
    'the address stands in dw3',
    { section: '7.3.10', catches: `${OPENVMM}; QEMU 11.1.3 (q2): fetch address in dw2` },
    'nested',
    (s) => {
      s.stage1({ S1ContextPtr: HOLE });
      s.enable().access(0x1000, {}, fault('F_CD_FETCH', { fetch: HOLE }));
    },
  ),
  program(
    'L1CD fetch',
    'two-level CD table outside memory',
    { section: '7.3.10', catches: OPENVMM },
    'full',
    (s) => {
      s.stage1({ S1ContextPtr: HOLE, S1CDMax: 8, S1Fmt: 1 });
      s.enable().access(
        0x1000,
        { ssid: 0x41 },
        fault('F_CD_FETCH', { fetch: HOLE + 8, ssid: 0x41 }),
      );
    },
  ),
  program(
    'CD fetch of a nested stream',
    'the record has the PA, not the IPA',
    { section: '7.3.10, 3.4.3' },
    'nested',
    (s) => {
      s.nested({ S1ContextPtr: 0x7000_0000 });
      s.s2(0x7000_0000, BigInt(HOLE) | S2_RW);
      s.enable().access(0x1000, {}, fault('F_CD_FETCH', { fetch: HOLE }));
    },
  ),
];

/** Descriptors of both stages. */
const WALKS: readonly JsonRow[] = [
  program(
    'stage-1 descriptor, first table',
    'S2=0, CLASS=TT',
    { section: '7.3.12', catches: OPENVMM },
    'nested',
    (s) => {
      s.stage1({}, { TTB0: HOLE });
      s.enable().access(
        0x1000,
        {},
        fault('F_WALK_EABT', { ...at(0x1000n), class: 'TT', fetch: HOLE }),
      );
    },
  ),
  program(
    'stage-1 descriptor, last table',
    'the address of the descriptor itself',
    { section: '7.3.12', catches: OPENVMM },
    'nested',
    (s) => {
      s.stage1();
      // Page 0x20_1000 has a table of its own at the last level.
      s.map(PLACE.stage1, 0x20_1000, INTO_HOLE, { level: 2 });
      s.enable().access(
        0x20_1000,
        { rw: 'write' },
        fault('F_WALK_EABT', { ...at(0x20_1000n), rw: 'write', class: 'TT', fetch: HOLE + 8 }),
      );
    },
  ),
  program(
    'stage-2 descriptor',
    'S2=1, CLASS=IN for the input itself',
    { section: '7.3.12' },
    'nested',
    (s) => {
      s.stage2({ S2TTB: HOLE });
      s.enable().access(
        0x9000_0000,
        {},
        fault('F_WALK_EABT', { ...at(0x9000_0000n), stage: 2, fetch: HOLE + 16 }),
      );
    },
  ),
  program(
    'stage-1 descriptor of a nested stream',
    'stage 2 leads out of memory: S2=0, CLASS=TT, the PA',
    { section: '7.3.12' },
    'nested',
    (s) => {
      s.nested({}, { TTB0: 0x7000_0000 });
      s.s2(0x7000_0000, BigInt(HOLE) | S2_RW);
      s.enable().access(
        0x1000,
        {},
        fault('F_WALK_EABT', { ...at(0x1000n), class: 'TT', fetch: HOLE }),
      );
    },
  ),
];

/** What is found absent is not kept. */
const REPAIRED: readonly JsonRow[] = [
  program(
    'a failed fetch is not cached',
    'nor a CD that stage 2 did not map: repaired, it works without a command',
    { section: '5.4.1, 16.2' },
    'nested',
    (s) => {
      s.nested({ S1ContextPtr: 0x7000_0000 });
      s.enable().access(
        0x1000,
        {},
        fault('F_TRANSLATION', { ...at(0x1000n), stage: 2, class: 'CD', ipa: 0x7000_0000 }),
      );
      s.s2(0x7000_0000, BigInt(PLACE.cds) | S2_RW);
      s.access(0x1000, {}, ok(PLACE.data));
    },
  ),
  program(
    'invalid to valid needs no command',
    'nor does the access flag',
    { section: '3.21.3' },
    'nested',
    (s) => {
      const { leaf } = s.stage1();
      s.store(leaf, 0n)
        .enable()
        .access(0x1000, {}, fault('F_TRANSLATION', at(0x1000n)));
      s.store(leaf, (BigInt(PLACE.data) | S1_RW) & NO_AF).access(
        0x1000,
        {},
        fault('F_ACCESS', at(0x1000n)),
      );
      s.store(leaf, BigInt(PLACE.data) | S1_RW).access(0x1000, {}, ok(PLACE.data));
    },
  ),
];

/** Fetches from where there is no memory, each with the record that names the address. */
export function fetchCases(): JsonRow[] {
  return [...CONFIGURATION, ...WALKS, ...REPAIRED];
}
