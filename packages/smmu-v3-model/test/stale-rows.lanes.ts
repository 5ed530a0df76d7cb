/*
 * What software changes, and every command that each change needs (IHI 0070 3.21, 4.3, 4.4): leave one out, and the cache is stale.
 */

import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { AT, S1_RW, S2_RW } from './nested-machine.lanes.ts';
import { SID } from './rig.lanes.ts';
import { give, L1STD_ACTIVE, OTHER } from './stale-rig.lanes.ts';
import {
  cached,
  IPA,
  LEAF_TO_OTHER,
  l1cdAppears,
  l1stdAppears,
  type Needed,
  nested,
  OTHER_SID,
  type Row,
  stage1,
  substreams,
  TABLE_CHANGED,
  twoStreams,
} from './stale-scenes.lanes.ts';

const cfgiSte: Needed = ['CFGI_STE', give.cfgiSte(1), 'ste', 'CMD_CFGI_STE sid=0x30'];
const cfgiCd: Needed = ['CFGI_CD', give.cfgiCd(1), 'cd', 'CMD_CFGI_CD sid=0x30 ssid=0x0'];
const nhAsid: Needed = ['NH_ASID', give.nhAsid(), 'tlb', 'CMD_TLBI_NH_ASID asid=6 vmid=3'];
const nhAll: Needed = ['NH_ALL', give.nhAll(), 'tlb', 'CMD_TLBI_NH_ALL vmid=3'];
const nhVaa: Needed = ['NH_VAA', give.nhVaa(0x1000, 1), 'tlb', 'CMD_TLBI_NH_VAA vmid=3'];
const nhVa: Needed = [
  'NH_VA Leaf=1',
  give.nhVa(0x1000, 1),
  'tlb',
  'CMD_TLBI_NH_VA asid=6 vmid=3 iova=0x1000 leaf=1',
];
const nhVaTables: Needed = [
  'NH_VA Leaf=0',
  give.nhVa(0x1000, 0),
  'tlb',
  'CMD_TLBI_NH_VA asid=6 vmid=3',
];
const s2Ipa: Needed = ['S2_IPA', give.s2Ipa(IPA, 1), 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3 ipa=0x9000'];
const s2IpaTables: Needed = ['S2_IPA Leaf=0', give.s2Ipa(IPA, 0), 's2-tlb', 'CMD_TLBI_S2_IPA'];
const s12: Needed = ['S12_VMALL', give.s12(), 's2-tlb', 'CMD_TLBI_S12_VMALL vmid=3'];
const atcInv: Needed = ['ATC_INV', give.atcInv(0x1000), 'atc', 'CMD_ATC_INV sid=0x30 iova=0x1000'];

/** Every change that the model expresses. */
export const STALE_ROWS: readonly Row[] = [
  {
    name: 'L1STD 0 -> active',
    make: l1stdAppears,
    needed: [['CFGI_STE Leaf=0', give.cfgiSte(0), 'l1std', 'CMD_CFGI_STE sid=0x30 leaf=0']],
  },
  {
    name: 'L1STD active -> 0, the span at once',
    make: (m) => {
      const use = twoStreams(m);
      m.twoLevel(L1STD_ACTIVE);
      return { change: () => m.word(OTHER.l1std, 0n), use };
    },
    needed: [['CFGI_STE_RANGE', give.cfgiRange(5), 'l1std', 'CMD_CFGI_STE_RANGE covering']],
  },
  {
    name: 'L1STD active -> 0, each StreamID that was used',
    make: (m) => {
      const use = twoStreams(m);
      m.twoLevel(L1STD_ACTIVE);
      return { change: () => m.word(OTHER.l1std, 0n), use };
    },
    needed: [
      ['CFGI_STE', give.cfgiSte(0), 'l1std', 'CMD_CFGI_STE sid=0x30 leaf=0'],
      ['another', give.cfgiSte(0, OTHER_SID), 'l1std', 'CMD_CFGI_STE sid=0x31 leaf=0'],
    ],
  },
  {
    name: 'STE V=0 -> 1',
    make: (m) => {
      m.stage1();
      m.ste(5, { V: 0 });
      return { change: () => void m.ste(5), use: () => m.see() };
    },
    needed: [cfgiSte],
  },
  { name: 'STE Config', make: stage1((m) => void m.ste(5, { Config: 4 })), needed: [cfgiSte] },
  {
    name: 'STE S1ContextPtr',
    make: stage1((m) => {
      m.cd({ ASID: 9, TTB0: OTHER.stage1 }, OTHER.cds);
      m.ste(5, { S1ContextPtr: OTHER.cds });
    }),
    needed: [cfgiSte],
  },
  {
    name: 'STE S2TTB, stage 2 only, by VMID',
    make: nested((m) => void m.ste(6, { S2TTB: OTHER.stage2 }), 6),
    needed: [cfgiSte, s12],
  },
  {
    name: 'STE S2TTB, stage 2 only, by IPA',
    make: nested((m) => void m.ste(6, { S2TTB: OTHER.stage2 }), 6),
    needed: [cfgiSte, s2IpaTables],
  },
  {
    name: 'STE S2TTB, nested',
    make: nested((m) => void m.ste(7, { S2TTB: OTHER.stage2 })),
    needed: [cfgiSte, ['S12_VMALL', give.s12(), 'tlb', 'CMD_TLBI_S12_VMALL vmid=3']],
  },
  {
    name: 'STE S2PS (TLB-cacheable), stage 2 only',
    make: (m) => {
      const { s2 } = m.nested();
      m.ste(6);
      m.word(s2, 0x1_0000_0000n | S2_RW);
      return { change: () => void m.ste(6, { S2PS: 0 }), use: () => m.see(IPA) };
    },
    needed: [cfgiSte, s12],
  },
  {
    name: 'VMID reuse: another stream gets the VMID with other tables',
    make: (m) => {
      m.nested();
      m.ste(6).otherStage2();
      return {
        warm: () => void m.see(IPA),
        change: () => void m.ste(6, { S2TTB: OTHER.stage2 }, OTHER_SID),
        use: () => m.see(IPA, { streamId: OTHER_SID }),
      };
    },
    needed: [s12],
  },
  {
    name: 'STRW: the world of the stream',
    // Fetched now, the leaf is one of EL2, where AP[1] says nothing and privilege is not checked.
    make: (m) => {
      const { s1 } = m.stage1();
      m.word(s1, BigInt(AT.data) | (S1_RW & ~0x40n));
      return { change: () => void m.ste(5, { STRW: 2 }), use: () => m.see() };
    },
    needed: [cfgiSte],
  },
  {
    name: 'CR2.E2H under an STE of EL2',
    make: (m) => {
      const { s1 } = m.stage1();
      m.word(s1, BigInt(AT.data) | (S1_RW & ~0x40n));
      m.ste(5, { STRW: 2 });
      return { change: () => m.disabled(() => m.set(R.CR2, 0xb)), use: () => m.see() };
    },
    needed: [cfgiSte],
  },
  {
    name: 'CR2.E2H there and back: the old world comes alive again',
    make: (m) => {
      const { s1 } = m.stage1();
      m.ste(5, { STRW: 2 });
      return {
        change: () => {
          m.disabled(() => m.set(R.CR2, 0xb));
          m.give(give.cfgiSte(1));
          m.word(s1, LEAF_TO_OTHER);
          m.give(give.el2Va(0x1000, 1));
          m.disabled(() => m.set(R.CR2, 0xa));
          m.give(give.cfgiSte(1));
        },
        use: () => m.see(),
      };
    },
    needed: [['EL2_ALL', give.el2All(), 'tlb', 'CMD_TLBI_EL2_ALL']],
  },
  {
    name: 'EATS with ATS',
    make: cached((m) => void m.ste(5, { EATS: 0 })),
    needed: [cfgiSte, atcInv],
    ordered: true,
  },
  {
    name: 'PRIVCFG with ATS',
    make: cached(
      (m) => void m.ste(5, { EATS: 1, PRIVCFG: 2 }),
      (m) => {
        m.ste(5, { EATS: 1, PRIVCFG: 3 });
        m.s1(0x1000, BigInt(AT.data) | (S1_RW & ~0x40n));
      },
    ),
    needed: [cfgiSte, atcInv],
    ordered: true,
  },
  {
    name: 'INSTCFG with ATS',
    make: cached(
      (m) => void m.ste(5, { EATS: 1, INSTCFG: 3 }),
      (m) => void m.s1(0x1000, BigInt(AT.data) | S1_RW | (1n << 54n)),
    ),
    needed: [cfgiSte, atcInv],
    ordered: true,
  },
  {
    name: 'S1DSS with ATS',
    make: cached(
      (m) => void m.ste(5, { EATS: 1, S1CDMax: 1, S1DSS: 0 }),
      (m) => void m.ste(5, { EATS: 1, S1CDMax: 1, S1DSS: 2 }),
    ),
    needed: [cfgiSte, atcInv],
    ordered: true,
  },
  {
    name: 'S1CDMax with ATS',
    make: cached(
      (m) => void m.ste(5, { EATS: 1 }),
      (m) => m.ste(5, { EATS: 1, S1CDMax: 1 }).cd({}, AT.cd + 64),
      1,
    ),
    needed: [
      cfgiSte,
      ['ATC_INV', give.atcInv(0x1000, 0, 1), 'atc', 'CMD_ATC_INV sid=0x30 ssid=0x1 iova=0x1000'],
    ],
    ordered: true,
  },
  {
    name: 'CD that two streams reach',
    make: (m) => {
      const use = twoStreams(m);
      return { change: () => void m.cd({ V: 0 }), use };
    },
    needed: [
      cfgiCd,
      ['of the other', give.cfgiCd(1, 0, OTHER_SID), 'cd', 'CMD_CFGI_CD sid=0x31 ssid=0x0'],
    ],
  },
  {
    name: 'L1CD V=0 -> 1',
    make: l1cdAppears,
    needed: [['CFGI_CD Leaf=0', give.cfgiCd(0, 1), 'l1cd', 'CMD_CFGI_CD sid=0x30 ssid=0x1 leaf=0']],
  },
  {
    name: 'L1CD V=1 -> 0, of every SubstreamID that was used',
    make: (m) => {
      substreams(m);
      return {
        change: () => m.word(OTHER.cds, 0n),
        use: () => [1, 2].map((substreamId) => m.see(0x1000, { substreamId })).join(),
      };
    },
    needed: [
      ['ssid 1', give.cfgiCd(0, 1), 'l1cd', 'CMD_CFGI_CD sid=0x30 ssid=0x1 leaf=0'],
      ['ssid 2', give.cfgiCd(0, 2), 'l1cd', 'CMD_CFGI_CD sid=0x30 ssid=0x2 leaf=0'],
    ],
  },
  {
    name: 'CD TTB0, same ASID',
    make: stage1((m) => void m.cd({ TTB0: OTHER.stage1 })),
    needed: [cfgiCd, nhAsid],
  },
  {
    name: 'CD MAIR0, same ASID',
    make: stage1((m) => void m.cd({ MAIR0: 0x00ff_0400 })),
    needed: [cfgiCd, nhAsid],
  },
  ...[nhAll, nhVaa].map(
    (tlbi): Row => ({
      name: `CD TTB0, same ASID, global leaf, by ${tlbi[0]}`,
      make: (m) => {
        const { s1 } = m.stage1();
        m.word(s1, BigInt(AT.data) | (S1_RW & ~0x800n));
        m.otherStage1(S1_RW & ~0x800n);
        m.cd();
        return {
          change: () => {
            m.cd({ TTB0: OTHER.stage1 });
            // Tables are never global: these go with the ASID.
            m.give(give.nhAsid());
          },
          use: () => m.see(),
        };
      },
      needed: [cfgiCd, tlbi],
    }),
  ),
  {
    name: 'ASID reuse: the ASID goes to another CD',
    make: (m) => {
      m.stage1();
      m.ste(5, { S1ContextPtr: OTHER.cds }, OTHER_SID);
      return {
        warm: () => void m.see(),
        change: () => void m.cd({ V: 0 }).cd({ TTB0: OTHER.stage1 }, OTHER.cds),
        use: () => `${m.see()} ${m.see(0x1000, { streamId: OTHER_SID })}`,
      };
    },
    needed: [cfgiCd, nhAsid],
    ordered: true,
  },
  { name: 'leaf unmapped', make: stage1((m, { s1 }) => m.word(s1, 0n)), needed: [nhVa] },
  {
    name: 'leaf to another page',
    make: stage1((m, { s1 }) => m.word(s1, LEAF_TO_OTHER)),
    needed: [nhVa],
  },
  {
    name: 'attribute of a leaf',
    make: stage1((m, { s1 }) => m.word(s1, BigInt(AT.data) | (S1_RW & ~0x1cn))),
    needed: [nhVa],
  },
  {
    name: 'permission of a leaf',
    make: stage1((m, { s1 }) => m.word(s1, BigInt(AT.data) | (S1_RW & ~0x40n))),
    needed: [nhVa],
  },
  {
    name: 'leaf unmapped with ATS',
    make: cached((m, { s1 }) => m.word(s1, 0n)),
    needed: [nhVa, atcInv],
    ordered: true,
  },
  {
    name: 'block unmapped',
    make: (m) => {
      m.stage1();
      const slot = m.s1(0x4000_0000, BigInt(AT.data) | (S1_RW & ~2n), 2);
      return { change: () => m.word(slot, 0n), use: () => m.see(0x4000_5000) };
    },
    needed: [
      ['NH_VA', give.nhVa(0x4000_5000, 1), 'tlb', 'CMD_TLBI_NH_VA asid=6 vmid=3 iova=0x40000000'],
    ],
  },
  ...[nhVaTables, nhAsid, nhAll].map(
    (tlbi): Row => ({
      name: `stage-1 table replaced, by ${tlbi[0]}`,
      make: stage1((m) => m.word(AT.stage1, TABLE_CHANGED)),
      needed: [tlbi],
    }),
  ),
  { name: 'stage-2 leaf', make: nested((m, at) => m.word(at.s2, 0n), 6), needed: [s2Ipa] },
  ...[nhAll, nhVaa].map(
    (tlbi): Row => ({
      name: `stage-2 leaf of a nested stream, with ${tlbi[0]}`,
      make: nested((m, at) => m.word(at.s2, BigInt(OTHER.data) | S2_RW)),
      needed: [s2Ipa, tlbi],
    }),
  ),
  {
    name: 'stage-2 table',
    make: nested((m) => m.word(AT.stage2 + 16, BigInt(OTHER.stage2 + 0x4000) | 3n), 6),
    needed: [s2IpaTables],
  },
  {
    name: 'stage-2 table of a nested stream',
    make: nested((m) => m.word(AT.stage2 + 16, BigInt(OTHER.stage2 + 0x4000) | 3n)),
    needed: [s2IpaTables, nhAll],
  },
  {
    name: 'stage-2 leaf under a stage-1 table',
    make: nested((m, at) => m.word(at.table, 0n)),
    needed: [
      ['S2_IPA', give.s2Ipa(AT.stage1, 1), 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3 ipa=0x40400000'],
      nhAll,
    ],
  },
  {
    name: 'stage-2 leaf under a CD',
    make: nested((m, at) => m.word(at.cd, 0n)),
    needed: [
      ['S2_IPA', give.s2Ipa(AT.cd, 1), 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3 ipa=0x40260000'],
      cfgiCd,
    ],
  },
  ...[
    { world: 'NS-EL1', strw: 0, tlbi: give.nsnh(), text: 'CMD_TLBI_NSNH_ALL' },
    { world: 'NS-EL2', strw: 2, tlbi: give.el2All(), text: 'CMD_TLBI_EL2_ALL' },
  ].map(
    ({ world, strw, tlbi, text }): Row => ({
      name: `STRTAB_BASE, streams of ${world}`,
      make: (m) => {
        m.stage1();
        m.ste(5, { STRW: strw });
        return {
          change: () => {
            m.cd({ TTB0: OTHER.stage1 }, OTHER.cds);
            for (let at = 0; at < 64; at += 8)
              m.word(OTHER.strtab + SID * 64 + at, m.read(AT.strtab + SID * 64 + at));
            m.word(OTHER.strtab + SID * 64, (BigInt(OTHER.cds) | 0xbn) as bigint);
            m.disabled(() => m.smmu.registers.write64(R.STRTAB_BASE, OTHER.strtab, 0));
          },
          use: () => m.see(),
        };
      },
      needed: [
        ['CFGI_ALL', give.cfgiAll(), 'ste', 'CMD_CFGI_ALL'],
        [text, tlbi, 'tlb', text],
      ],
    }),
  ),
];
