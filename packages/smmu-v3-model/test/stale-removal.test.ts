import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import { CACHE_NOTHING } from '../src/index.ts';
import { AT, S1_RW, S2_RW } from './nested-machine.lanes.ts';
import { give, OTHER, type StaleRig, type Words } from './stale-rig.lanes.ts';
import {
  cached,
  fresh,
  IPA,
  LEAF_TO_OTHER,
  l1cdAppears,
  l1stdAppears,
  nested,
  OTHER_SID,
  type Row,
  stage1,
  substreams,
  TABLE_CHANGED,
  warmed,
} from './stale-scenes.lanes.ts';

/** Every command that removes something, with the addresses of an item. */
function commandsFor(iova: number, ipa: number): Readonly<Record<string, Words>> {
  return {
    'CFGI_STE 0': give.cfgiSte(0),
    'CFGI_STE 1': give.cfgiSte(1),
    'CFGI_STE 0 neighbour': give.cfgiSte(0, OTHER_SID),
    'CFGI_STE 1 neighbour': give.cfgiSte(1, OTHER_SID),
    CFGI_STE_RANGE: give.cfgiRange(3),
    'CFGI_STE_RANGE of others': give.cfgiRange(3, 64),
    CFGI_ALL: give.cfgiAll(),
    'CFGI_CD 0': give.cfgiCd(0, 1),
    'CFGI_CD 1': give.cfgiCd(1, 1),
    'CFGI_CD 0 of another': give.cfgiCd(0, 2),
    'CFGI_CD 1 of another': give.cfgiCd(1, 2),
    CFGI_CD_ALL: give.cfgiCdAll(),
    NH_ALL: give.nhAll(),
    'NH_ALL of another VMID': give.nhAll(9),
    NH_ASID: give.nhAsid(),
    'NH_ASID of another': give.nhAsid(9),
    'NH_VA 0': give.nhVa(iova, 0),
    'NH_VA 1': give.nhVa(iova, 1),
    'NH_VA 0 of another ASID': give.nhVa(iova, 0, 9),
    'NH_VA 0 elsewhere': give.nhVa(iova + 0x4000_0000, 0),
    'NH_VAA 0': give.nhVaa(iova, 0),
    'NH_VAA 1': give.nhVaa(iova, 1),
    EL2_ALL: give.el2All(),
    EL2_ASID: give.el2Asid(),
    'EL2_VA 0': give.el2Va(iova, 0),
    'EL2_VA 1': give.el2Va(iova, 1),
    'EL2_VA 1 of another ASID': give.el2Va(iova, 1, 9),
    'EL2_VAA 0': give.el2Vaa(iova, 0),
    'EL2_VAA 1': give.el2Vaa(iova, 1),
    S12_VMALL: give.s12(),
    'S12_VMALL of another': give.s12(9),
    'S2_IPA 0': give.s2Ipa(ipa, 0),
    'S2_IPA 1': give.s2Ipa(ipa, 1),
    'S2_IPA 0 elsewhere': give.s2Ipa(ipa + 0x4000_0000, 0),
    NSNH_ALL: give.nsnh(),
    'ATC_INV of the page': give.atcInv(0x1000),
    'ATC_INV of all': give.atcInv(0, 52),
    'ATC_INV of another page': give.atcInv(0x8000),
    'ATC_INV of a PASID': give.atcInv(0x1000, 0, 1),
  };
}

interface Item {
  readonly name: string;
  readonly kind: string;
  readonly policy?: ConstructorParameters<typeof StaleRig>[0];
  readonly make: Row['make'];
  readonly iova?: number;
  readonly ipa?: number;
  readonly removedBy: readonly string[];
}

const BY_STE = ['CFGI_STE 0', 'CFGI_STE 1', 'CFGI_STE_RANGE', 'CFGI_ALL'];
const BY_S1 = ['NH_ALL', 'S12_VMALL', 'NSNH_ALL'];
const BY_S2 = ['S2_IPA 0', 'S2_IPA 1', 'S12_VMALL', 'NSNH_ALL'];
const BY_VA = ['NH_VA 0', 'NH_VA 1', 'NH_VAA 0', 'NH_VAA 1'];
const BY_EL2 = ['EL2_ALL', 'EL2_VA 0', 'EL2_VA 1', 'EL2_VAA 0', 'EL2_VAA 1'];

/** A leaf of a world of EL2. */
function hypervisor(e2h: 0 | 1, global: 0 | 1): Row['make'] {
  return (m) => {
    m.disabled(() => m.set(R.CR2, 0xa + e2h));
    const { s1 } = m.stage1();
    m.ste(5, { STRW: 2 });
    const leaf = global === 1 ? S1_RW & ~0x800n : S1_RW;
    m.word(s1, BigInt(AT.data) | leaf);
    return { change: () => m.word(s1, BigInt(OTHER.data) | leaf), use: () => m.see() };
  };
}

const items: readonly Item[] = [
  {
    name: 'L1STD',
    kind: 'l1std',
    make: l1stdAppears,
    removedBy: ['CFGI_STE 0', 'CFGI_STE 0 neighbour', 'CFGI_STE_RANGE', 'CFGI_ALL'],
  },
  {
    name: 'STE',
    kind: 'ste',
    make: stage1((m) => void m.ste(5, { Config: 4 })),
    removedBy: BY_STE,
  },
  {
    name: 'L1CD',
    kind: 'l1cd',
    make: l1cdAppears,
    // An L1CD names 64 SubstreamIDs, and any of them reaches it.
    removedBy: [...BY_STE, 'CFGI_CD 0', 'CFGI_CD 0 of another', 'CFGI_CD_ALL'],
  },
  {
    name: 'CD',
    kind: 'cd',
    make: (m) => {
      substreams(m);
      return {
        change: () => void m.cd({ V: 0 }, AT.cd + 64),
        use: () => m.see(0x1000, { substreamId: 1 }),
      };
    },
    removedBy: [...BY_STE, 'CFGI_CD 0', 'CFGI_CD 1', 'CFGI_CD_ALL'],
  },
  {
    name: 'stage-1 leaf',
    kind: 'tlb',
    make: stage1((m, { s1 }) => m.word(s1, LEAF_TO_OTHER)),
    removedBy: [...BY_S1, 'NH_ASID', ...BY_VA],
  },
  {
    name: 'global stage-1 leaf',
    kind: 'tlb',
    make: (m) => {
      const { s1 } = m.stage1();
      m.word(s1, BigInt(AT.data) | (S1_RW & ~0x800n));
      return { change: () => m.word(s1, LEAF_TO_OTHER & ~0x800n), use: () => m.see() };
    },
    removedBy: [...BY_S1, ...BY_VA, 'NH_VA 0 of another ASID'],
  },
  {
    name: 'stage-1 table',
    kind: 'walk',
    make: (m) => {
      m.stage1();
      return {
        warm: () => void m.see(),
        change: () => m.word(AT.stage1, TABLE_CHANGED),
        use: () => m.see(0x3000),
      };
    },
    iova: 0x3000,
    removedBy: [...BY_S1, 'NH_ASID', 'NH_VA 0', 'NH_VAA 0'],
  },
  {
    name: 'stage-2 leaf',
    kind: 's2-tlb',
    make: nested((m, at) => m.word(at.s2, 0n), 6),
    removedBy: BY_S2,
  },
  {
    name: 'stage-2 table',
    kind: 's2-walk',
    make: (m) => {
      m.nested();
      m.ste(6).otherStage2();
      m.s2(IPA + 0x1000, BigInt(AT.data + 0x1000) | S2_RW);
      return {
        warm: () => void m.see(IPA),
        change: () => m.word(AT.stage2 + 16, BigInt(OTHER.stage2 + 0x4000) | 3n),
        use: () => m.see(IPA + 0x1000),
      };
    },
    removedBy: ['S2_IPA 0', 'S12_VMALL', 'NSNH_ALL'],
  },
  {
    name: 'separate IPA entry of a nested stream',
    kind: 's2-tlb',
    policy: { nested: 'separate' },
    make: nested((m, at) => m.word(at.s2, BigInt(OTHER.data) | S2_RW)),
    removedBy: BY_S2,
  },
  {
    name: 'combined entry of a nested stream',
    kind: 'tlb',
    policy: { nested: 'combined' },
    make: nested((m, at) => m.word(at.s2, BigInt(OTHER.data) | S2_RW)),
    removedBy: [...BY_S1, 'NH_ASID', ...BY_VA],
  },
  {
    name: 'stage-2 result for a CD',
    kind: 's2-tlb',
    policy: { config: 'none', nested: 'separate' },
    make: nested((m, at) => m.word(at.cd, 0n)),
    ipa: AT.cd,
    removedBy: BY_S2,
  },
  {
    name: 'stage-2 result for a stage-1 table',
    kind: 's2-tlb',
    policy: { walk: 'none', nested: 'separate' },
    make: (m) => {
      const at = m.nested();
      m.s1(0x3000, BigInt(IPA) | S1_RW);
      return {
        warm: () => void m.see(),
        change: () => m.word(at.table, 0n),
        use: () => m.see(0x3000),
      };
    },
    ipa: AT.stage1,
    removedBy: BY_S2,
  },
  {
    name: 'NS-EL2 leaf',
    kind: 'tlb',
    make: hypervisor(0, 0),
    removedBy: [...BY_EL2, 'EL2_VA 1 of another ASID'],
  },
  {
    name: 'NS-EL2-E2H leaf',
    kind: 'tlb',
    make: hypervisor(1, 0),
    removedBy: [...BY_EL2, 'EL2_ASID'],
  },
  {
    name: 'global NS-EL2-E2H leaf',
    kind: 'tlb',
    make: hypervisor(1, 1),
    removedBy: [...BY_EL2, 'EL2_VA 1 of another ASID'],
  },
  {
    name: 'endpoint ATC entry',
    kind: 'atc',
    policy: CACHE_NOTHING,
    make: cached((m, { s1 }) => m.word(s1, LEAF_TO_OTHER)),
    removedBy: ['ATC_INV of the page', 'ATC_INV of all'],
  },
];

describe.each(items)('what removes a $name, and what does not (16.2, 4.3, 4.4)', (item) => {
  const { kind, policy = {}, make, iova = 0x1000, ipa = IPA, removedBy } = item;
  const row: Row = { name: item.name, make, needed: [] };

  test.each(Object.entries(commandsFor(iova, ipa)))('%s', (name, words) => {
    const { m, scene } = warmed(row, policy);
    scene.change();
    m.give(words);
    const seen = scene.use();
    expect(m.missing().some((found) => found.kind === kind)).toBe(!removedBy.includes(name));
    expect(seen === fresh(row)).toBe(removedBy.includes(name));
  });

  test('every name in the list is a command of the list', () => {
    expect(Object.keys(commandsFor(iova, ipa))).toEqual(expect.arrayContaining([...removedBy]));
  });
});
