import { type Bug, GEM5, IPA, QEMU } from './smmu-architecture-bug.ts';
import {
  ABORT,
  fault,
  NO_S2_READ,
  NO_S2_WRITE,
  ok,
  PLACE,
  S2_RW,
} from './smmu-architecture-script.lanes.ts';

// What other implementations got wrong in bypass and stage 2: each with the outcome of the architecture.

const s2at = { address: BigInt(IPA), stage: 2 as const, ipa: IPA };
const DATA = BigInt(PLACE.data);

const BEYOND = 1n << 44n;

/** Bugs of bypass, and of walks of stage 2 alone. */
export const STAGE2_BUGS: readonly Bug[] = [
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
