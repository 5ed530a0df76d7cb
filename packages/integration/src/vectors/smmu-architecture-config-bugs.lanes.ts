import { at, type Bug, GEM5, IPA, OLD_QEMU, OPENVMM, PAGE, QEMU } from './smmu-architecture-bug.ts';
import { ABORT, bypass, fault, ok, PLACE } from './smmu-architecture-script.lanes.ts';

// What other implementations got wrong in tables, STEs, CDs and registers: each with the outcome of the architecture.

/** Bugs of configuration. */
export const CONFIGURATION_BUGS: readonly Bug[] = [
  {
    name: 'SID beyond the span of its L1STD',
    about: 'Span=5 is 16 STEs; SID 0x10 is past them',
    section: '3.3.1, 7.3.3',
    base: 'two-level',
    catches: `${QEMU} (q3): C_BAD_STE`,
    write: (s) =>
      s
        .store(PLACE.l1std, BigInt(PLACE.strtab) | 5n)
        .enable()
        .access(PAGE, { sid: 0x20 }, fault('C_BAD_STREAMID', { sid: 0x20 })),
  },
  {
    name: 'the span is 2^(Span-1)',
    about: 'Span=5 is 16 STEs, not 32: SID 0x10 has an STE in memory and must not use it',
    section: '5.1',
    base: 'two-level',
    catches: 'QEMU, Xen vSMMU patches, a Fuchsia port: bound of 2^Span',
    write: (s) =>
      s
        .ste(4, {}, PLACE.strtab + 0x10 * 64)
        .ste(4, {}, PLACE.strtab + 0xf * 64)
        .store(PLACE.l1std, BigInt(PLACE.strtab) | 5n)
        .enable()
        .access(PAGE, { sid: 0xf }, bypass(PAGE))
        .access(PAGE, { sid: 0x10 }, fault('C_BAD_STREAMID', { sid: 0x10 })),
  },
  ...[10, 12, 31].map(
    (span): Bug => ({
      name: `Span=${String(span)} with SPLIT=8`,
      about: 'above SPLIT+1, or reserved',
      section: '5.1, 6.3.25',
      base: 'two-level',
      catches: `${OLD_QEMU}: Span > SPLIT+1 and >= 12 accepted (also Xen vSMMU patches)`,
      write: (s) =>
        s
          .ste(4)
          .store(PLACE.l1std, BigInt(PLACE.strtab) | BigInt(span))
          .enable()
          .access(PAGE, {}, fault('C_BAD_STREAMID')),
    }),
  ),
  {
    name: 'L1STD.L2Ptr ends at bit 55',
    about: 'bits 63:56 are reserved and no address',
    section: '5.1',
    base: 'two-level',
    catches: `${QEMU} (n25): bits 63:56 taken as address bits`,
    write: (s) =>
      s
        .ste(4)
        .store(PLACE.l1std, (0xa5n << 56n) | BigInt(PLACE.strtab) | 9n)
        .enable()
        .access(PAGE, {}, bypass(PAGE)),
  },
  {
    name: 'a bad StreamID is recorded only with RECINVSID',
    about: 'CR2.RECINVSID=0: refused all the same',
    section: '7.3.3, 6.3.12',
    catches: `${OLD_QEMU}: RECINVSID not consulted; ${GEM5}: panics on a bad SID`,
    write: (s) =>
      s
        .enable()
        .access(PAGE, { sid: 0x200 }, fault('C_BAD_STREAMID', { sid: 0x200 }))
        .enable(0xc)
        .write('CR2', 0)
        .enable()
        .access(PAGE, { sid: 0x200 }, ABORT),
  },
  {
    name: 'FMT goes back to linear',
    about: 'two-level, then linear with the same base, without a reset',
    section: '6.3.25',
    base: 'two-level',
    catches: `${QEMU} (item 10): FMT=1 is sticky`,
    write: (s) =>
      s
        .store(PLACE.l1std, BigInt(PLACE.strtab) | 9n)
        .ste(4)
        .enable()
        .access(PAGE, {}, bypass(PAGE))
        .enable(0xc)
        .write('STRTAB_BASE', PLACE.strtab)
        .write('STRTAB_BASE_CFG', 9)
        .command([0x04n, 31n])
        .sync()
        .enable()
        .access(PAGE, {}, bypass(PAGE)),
  },
  {
    name: 'STRTAB_BASE is aligned to the table, linear',
    about: 'LOG2SIZE=9: address bits 14:6 count as zero',
    section: '6.3.24',
    catches: `${OLD_QEMU}: aligned one bit short`,
    write: (s) =>
      s
        .ste(4)
        .write('STRTAB_BASE', PLACE.strtab + 0x4000)
        .enable()
        .access(PAGE, {}, bypass(PAGE)),
  },
  {
    name: 'STRTAB_BASE is aligned to the table, two-level',
    about: 'LOG2SIZE=16, SPLIT=8: 256 descriptors, address bits 10:6 count as zero',
    section: '6.3.24',
    catches: `${OLD_QEMU}: aligned one bit short`,
    write: (s) =>
      s
        .ste(4)
        .store(PLACE.l1std, BigInt(PLACE.strtab) | 9n)
        .write('STRTAB_BASE_CFG', 0x1_0210)
        .write('STRTAB_BASE', PLACE.l1std + 0x400)
        .enable()
        .access(PAGE, {}, bypass(PAGE)),
  },
  {
    name: 'registers of the table are guarded',
    about: 'SMMUv3.2 ignores writes while SMMUEN=1',
    section: '6.3.24, 6.3.25, 6.3.12, 6.3.11',
    features: 'full',
    catches: `${OLD_QEMU}: guards not enforced`,
    write: (s) =>
      s
        .ste(4)
        .enable()
        .write('STRTAB_BASE', PLACE.strtab + 0x10_0000)
        .write('STRTAB_BASE_CFG', 3)
        .write('CR2', 0)
        .read('STRTAB_BASE', PLACE.strtab)
        .read('STRTAB_BASE_CFG', 9)
        .read('CR2', 2)
        .access(PAGE, {}, bypass(PAGE)),
  },
  {
    name: 'CR0ACK has no reserved bits',
    about: 'bits 31:11 and 5 of CR0 never appear',
    section: '6.3.10',
    catches: `${QEMU} (item 11): CR0ACK = CR0 & 0x5df`,
    write: (s) => s.enable(0xffff_f82c).read('CR0ACK', 0xc, 0xffff_f83f),
  },
  {
    name: 'an STE with V=0',
    about: 'C_BAD_STE',
    section: '7.3.5',
    catches: `${GEM5}: panics for V=0`,
    write: (s) => s.enable().access(PAGE, {}, fault('C_BAD_STE')),
  },
  {
    name: 'STE.Config=000',
    about: 'refused without a record',
    section: '5.2',
    catches: `${GEM5}: panics for Config=000`,
    write: (s) => s.ste(0).enable().access(PAGE, {}, ABORT).read('EVENTQ_PROD', 0),
  },
  {
    name: 'a bad CD',
    about: 'V=0 is C_BAD_CD',
    section: '7.3.11',
    catches: `${GEM5}: panics for a bad CD`,
    write: (s) => {
      s.stage1({}, { V: 0 });
      s.enable().access(PAGE, {}, fault('C_BAD_CD'));
    },
  },
  {
    name: 'S1CDMax without substreams',
    about: 'SSIDSIZE=0: the field is ignored',
    section: '5.2',
    catches: `${QEMU} (q4): C_BAD_STE`,
    write: (s) => {
      s.stage1({ S1CDMax: 3 });
      s.enable().access(PAGE, {}, ok(PLACE.data));
    },
  },
  {
    name: 'S1CDMax and S1STALLD with stage 2 alone',
    about: 'Config=110 ignores every field of stage 1',
    section: '5.2',
    catches: `${QEMU} (q4): C_BAD_STE`,
    write: (s) => {
      s.stage2({ S1CDMax: 3, S1STALLD: 1 });
      s.enable().access(IPA, {}, ok(PLACE.data));
    },
  },
  {
    name: 'S1ContextPtr beyond the output size',
    about: 'ILLEGAL from SMMUv3.1 on',
    section: '5.2',
    catches: `${QEMU} (n4): F_CD_FETCH`,
    write: (s) => {
      s.stage1({ S1ContextPtr: 2 ** 44 });
      s.enable().access(PAGE, {}, fault('C_BAD_STE'));
    },
  },
  {
    name: 'S2HA without hardware updates',
    about: 'HTTU=0',
    section: '5.2',
    catches: `${QEMU} (n15): accepted`,
    write: (s) => {
      s.stage2({ S2HA: 1 });
      s.enable().access(IPA, {}, fault('C_BAD_STE'));
    },
  },
  {
    name: 'an input range below the start level',
    about: 'S2T0SZ=39 with S2SL0=1: a table at level 1 resolves no bit',
    section: '5.2; DDI 0487 D8.2.2',
    catches: `${OLD_QEMU}: only n <= stride+4 checked, not n >= 1`,
    write: (s) => {
      s.stage2({ S2T0SZ: 39 });
      s.enable().access(IPA, {}, fault('C_BAD_STE'));
    },
  },
  {
    name: 'an IPA range above S2PS',
    about: '64 - S2T0SZ = 39 bits, S2PS = 36 bits: legal',
    section: '5.2',
    catches: `${QEMU} (n19): C_BAD_STE`,
    write: (s) => {
      s.stage2({ S2PS: 1 });
      s.enable().access(IPA, {}, ok(PLACE.data));
    },
  },
  {
    name: 'S2AA64=0 without VMSAv8-32',
    about: 'ILLEGAL',
    section: '5.2',
    catches: `${QEMU}: the process ends`,
    write: (s) => {
      s.stage2({ S2AA64: 0 });
      s.enable().access(IPA, {}, fault('C_BAD_STE'));
    },
  },
  ...[6, 7].map(
    (ips): Bug => ({
      name: `CD.IPS=${String(ips)}`,
      about: 'larger than OAS acts as OAS',
      section: '5.4',
      catches: `${QEMU}: the process ends`,
      write: (s) => {
        s.stage1({}, { IPS: ips });
        s.enable().access(PAGE, {}, ok(PLACE.data));
      },
    }),
  ),
  {
    name: 'T0SZ below the minimum',
    about: '15 without 52-bit addresses',
    section: '5.4',
    catches: `${OPENVMM}: T0SZ minimum unchecked`,
    write: (s) => {
      s.stage1({}, { T0SZ: 15 });
      s.enable().access(PAGE, {}, fault('C_BAD_CD'));
    },
  },
  {
    name: 'EPD0=1',
    about: 'F_TRANSLATION, and the fields of that half are not checked',
    section: '5.4',
    catches: `${OPENVMM}: C_BAD_CD`,
    write: (s) => {
      s.stage1({}, { EPD0: 1, T0SZ: 0 });
      s.enable().access(PAGE, {}, fault('F_TRANSLATION', at));
    },
  },
  {
    name: 'SubstreamID out of range',
    about: 'S1CDMax=2, SubstreamID 5',
    section: '5.2, 7.3.9',
    features: 'full',
    catches: `${OPENVMM}: C_BAD_CD; QEMU: C_BAD_SUBSTREAMID never produced`,
    write: (s) => {
      s.stage1({ S1CDMax: 2 });
      s.enable().access(PAGE, { ssid: 5 }, fault('C_BAD_SUBSTREAMID', { ssid: 5 }));
    },
  },
  {
    name: 'no SubstreamID where one is demanded',
    about: 'S1DSS=00',
    section: '5.2, 7.3.7',
    features: 'full',
    catches: 'QEMU: F_STREAM_DISABLED never produced',
    write: (s) => {
      s.stage1({ S1CDMax: 2 });
      s.enable().access(PAGE, {}, fault('F_STREAM_DISABLED'));
    },
  },
];
