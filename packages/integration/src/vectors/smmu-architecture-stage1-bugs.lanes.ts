import { at, type Bug, GEM5, OPENVMM, PAGE, QEMU } from './smmu-architecture-bug.ts';
import {
  ABORT,
  BLOCK,
  fault,
  NO_AF,
  ok,
  PLACE,
  RAZ_WI,
  S1_RW,
  type Script,
  SID,
} from './smmu-architecture-script.lanes.ts';

// What other implementations got wrong in stage 1: each with the outcome of the architecture.

const DATA = BigInt(PLACE.data);
const PRIVILEGED = ~0x40n;
const READ_ONLY = 0x80n;

/** Stage-1 leaf with other attributes. */
function leafed(s: Script, leaf: bigint): Script {
  const { leaf: slot } = s.stage1();
  return s.store(slot, leaf).enable();
}

const UPPER = 0xffff_ff80_0000_1000n;

/** Bugs of walks of stage 1 alone. */
export const STAGE1_BUGS: readonly Bug[] = [
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
