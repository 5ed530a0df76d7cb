import { describe, expect, test } from 'vitest';
import { CACHE_EVERYTHING, CACHE_NOTHING, type CachePolicy } from '../src/index.ts';
import { AT, command, NestedMachine, S1_RW, S2_RW, VMID } from './nested-machine.lanes.ts';
import { SID, verdict } from './rig.lanes.ts';

type Places = ReturnType<NestedMachine['nested']>;
type Command = readonly [string, () => readonly [bigint, bigint]];

const IPA = 0x9000_0000;
const ELSEWHERE = BigInt(AT.data) + 0x10_0000n;

/** A row of the table "what software changes, and what must follow" (IHI 0070 4.3, 4.4, 16.2). */
interface Row {
  readonly name: string;
  readonly config: 6 | 7;
  readonly change: (m: NestedMachine, at: Places) => void;
  /** Each with the kind of entry that is used stale when it is left out, and what the report names. */
  readonly commands: readonly (readonly [Command, kind: string, names: string])[];
}

const nhAll: Command = ['NH_ALL', command.nhAll];
const nhVa: Command = ['NH_VA', () => command.nhVa(0x1000)];
const nhVaTables: Command = ['NH_VA Leaf=0', () => command.nhVa(0x1000, 0)];
const nhAsid: Command = ['NH_ASID', command.nhAsid];
const s2Ipa: Command = ['S2_IPA', () => command.s2Ipa(IPA)];
const s2IpaTables: Command = ['S2_IPA Leaf=0', () => command.s2Ipa(IPA, 0)];
const s12: Command = ['S12_VMALL', command.s12];
const cfgiSte: Command = ['CFGI_STE', command.cfgiSte];
const cfgiCd: Command = ['CFGI_CD', command.cfgiCd];

const rows: readonly Row[] = [
  {
    name: 'stage-2 leaf of a stream without stage 1',
    config: 6,
    change: (m, at) => m.word(at.s2, ELSEWHERE | S2_RW),
    commands: [[s2Ipa, 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3 ipa=0x90000000 leaf=1']],
  },
  {
    name: 'stage-2 leaf under a nested stream',
    config: 7,
    change: (m, at) => m.word(at.s2, ELSEWHERE | S2_RW),
    commands: [
      [s2Ipa, 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3 ipa=0x90000000'],
      [nhAll, 'tlb', 'CMD_TLBI_NH_ALL vmid=3'],
    ],
  },
  {
    name: 'stage-1 leaf of a nested stream',
    config: 7,
    change: (m, at) => m.word(at.s1, 0x9000_1000n | S1_RW),
    commands: [[nhVa, 'tlb', 'CMD_TLBI_NH_VA asid=6 vmid=3 iova=0x1000 leaf=1']],
  },
  {
    name: 'stage-1 table of a nested stream',
    config: 7,
    change: (m) => m.word(AT.stage1, 0x4040_8003n),
    commands: [[nhVaTables, 'tlb', 'CMD_TLBI_NH_VA asid=6 vmid=3']],
  },
  {
    name: 'stage-2 table',
    config: 6,
    change: (m) => m.word(AT.stage2 + 2 * 8, 0x4090_0003n),
    commands: [[s2IpaTables, 's2-tlb', 'CMD_TLBI_S2_IPA vmid=3']],
  },
  {
    name: 'S2TTB of a stream without stage 1: configuration first, then translations',
    config: 6,
    change: (m) => void m.ste(6, { S2TTB: AT.stage2 + 0x10_0000 }),
    commands: [
      [cfgiSte, 'ste', 'CMD_CFGI_STE sid=0x30'],
      [s12, 's2-tlb', 'CMD_TLBI_S12_VMALL vmid=3'],
    ],
  },
  {
    name: 'CD of a nested stream, new tables under the same ASID',
    config: 7,
    change: (m) => void m.cd({ TTB0: AT.stage1 + 0x8000 }),
    commands: [
      [cfgiCd, 'cd', 'CMD_CFGI_CD sid=0x30 ssid=0x0'],
      [nhAsid, 'tlb', 'CMD_TLBI_NH_ASID asid=6 vmid=3'],
    ],
  },
];

function prepared(row: Row, policy: CachePolicy): { m: NestedMachine; at: Places; use(): string } {
  const m = new NestedMachine({ policy });
  const at = m.nested();
  m.ste(row.config);
  m.s2(0x9000_1000, (ELSEWHERE + 0x1000n) | S2_RW);
  // Tables that lead elsewhere, for rows that move to them.
  m.word(0x4090_0000, 0x4090_1003n);
  m.word(0x4090_1000, ELSEWHERE | S2_RW);
  m.word(AT.stage2 + 0x10_0000 + 2 * 8, 0x4090_0003n);
  const use = (): string => {
    const result = m.access(row.config === 6 ? IPA : 0x1000);
    return result.outcome === 'ok' ? `0x${result.paddr.toString(16)}` : verdict(result);
  };
  return { m, at, use };
}

describe.each(rows)('$name', (row) => {
  const fresh = (): string => {
    const { m, at, use } = prepared(row, CACHE_NOTHING);
    use();
    row.change(m, at);
    return use();
  };

  test('with every command the change is in force and nothing is reported', () => {
    const { m, at, use } = prepared(row, CACHE_EVERYTHING);
    const before = use();
    row.change(m, at);
    for (const [[, make]] of row.commands) m.command(...make());
    expect(use()).toBe(fresh());
    expect(fresh()).not.toBe(before);
    expect(m.smmu.staleUses).toEqual([]);
  });

  test.each(row.commands)(
    'without %s the use of a stale entry is reported',
    (left, kind, names) => {
      const { m, at, use } = prepared(row, CACHE_EVERYTHING);
      const before = use();
      row.change(m, at);
      for (const [given] of row.commands) if (given !== left) m.command(...given[1]());
      expect(use()).toBe(before);
      const reported = m.smmu.staleUses.filter((found) => found.class === 'missing');
      expect(reported.map((found) => found.kind)).toContain(kind);
      const found = reported.find((one) => one.kind === kind);
      expect(found?.removedBy.some((text) => text.startsWith(names))).toBe(true);
    },
  );
});

describe('what removes what (IHI 0070 16.2)', () => {
  function warm(policy: Partial<CachePolicy> = {}): { m: NestedMachine; at: Places } {
    const m = new NestedMachine({ policy });
    const at = m.nested();
    expect(verdict(m.access(0x1000))).toBe('ok');
    m.word(at.s2, ELSEWHERE | S2_RW);
    return { m, at };
  }

  test.each<[string, Partial<CachePolicy>, readonly Command[], boolean]>([
    ['combined', { nested: 'combined' }, [s2Ipa], false],
    ['combined', { nested: 'combined' }, [nhAll], true],
    ['combined', { nested: 'combined' }, [nhVa], true],
    ['combined', { nested: 'combined' }, [s12], true],
    ['separate', { nested: 'separate' }, [s2Ipa], true],
    ['separate', { nested: 'separate' }, [nhAll], false],
    ['both', {}, [s2Ipa], false],
    ['both', {}, [nhAll], false],
    ['both', {}, [s2Ipa, nhVa], true],
    ['both', {}, [['NSNH_ALL', command.nsnh]], true],
    ['both', {}, [['S12_VMALL of another VMID', () => command.s12(VMID + 1)]], false],
    ['both', {}, [['NH_ALL of another VMID', () => command.nhAll(VMID + 1)], s2Ipa], false],
    ['both', {}, [s2Ipa, ['NH_ASID of another', () => command.nhAsid(7)]], false],
  ])('entries kept %s: %o then %o: gone %s', (_, policy, commands, gone) => {
    const { m } = warm(policy);
    for (const [, make] of commands) m.command(...make());
    const result = m.access(0x1000);
    expect(result).toMatchObject({ paddr: gone ? Number(ELSEWHERE) : AT.data });
    expect(m.smmu.staleUses.length > 0).toBe(!gone);
  });

  test('a combined entry falls with any address of its stage-1 block', () => {
    const m = new NestedMachine();
    m.nested();
    // A 2 MiB block of stage 1 over 4 KiB pages of stage 2.
    m.s1(0x20_0000, 0x9000_0000n | (S1_RW & ~2n), 2);
    expect(verdict(m.access(0x20_0000))).toBe('ok');
    m.s1(0x20_0000, 0n, 2);
    m.command(...command.nhVa(0x20_5000));
    expect(verdict(m.access(0x20_0000))).toBe('F_TRANSLATION');
  });

  test('a smaller leaf of stage 2 bounds the combined entry', () => {
    const m = new NestedMachine();
    m.nested();
    m.s1(0x20_0000, 0x9000_0000n | (S1_RW & ~2n), 2);
    m.s2(0x9000_1000, ELSEWHERE | S2_RW);
    expect(m.access(0x20_0000)).toMatchObject({ paddr: AT.data });
    expect(m.access(0x20_1008)).toMatchObject({ paddr: Number(ELSEWHERE) + 8, tlbHit: false });
    expect(m.access(0x20_1010)).toMatchObject({ paddr: Number(ELSEWHERE) + 16, tlbHit: true });
  });

  test('a stage-2 mapping under a stage-1 table: its entry by IPA, and what was made through it, are told apart', () => {
    const m = new NestedMachine();
    const at = m.nested();
    m.access(0x1000);
    m.word(at.table, 0n);
    m.command(...command.s2Ipa(AT.stage1));
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'tlb', class: 'missing', paddr: at.table }]);
    m.command(...command.nhAll());
    m.command(...command.s2Ipa(AT.stage1));
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
  });

  test('a cached CD outlives every TLBI, and the page that stage 2 took away from it is reported', () => {
    const m = new NestedMachine();
    const at = m.nested();
    m.access(0x1000);
    m.word(at.cd, 0n);
    m.command(...command.nsnh());
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'cd', class: 'missing', paddr: at.cd }]);
    m.command(...command.cfgiCd());
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
    expect(m.smmu.staleUses[0]?.class).toBe('race');
  });

  test('what faults at stage 2 is not kept', () => {
    const m = new NestedMachine({ policy: CACHE_EVERYTHING });
    const at = m.nested();
    for (const leaf of [0n, BigInt(AT.data) | (S2_RW & ~0x400n)]) {
      m.word(at.s2, leaf);
      expect(verdict(m.access(0x1000))).not.toBe('ok');
    }
    m.word(at.s2, BigInt(AT.data) | S2_RW);
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toEqual([]);
  });

  test('streams of equal VMID and ASID share entries, also those of stage 1 alone; a disagreement is reported', () => {
    const m = new NestedMachine();
    m.nested();
    m.access(0x1000);
    m.ste(5, {}, SID + 1);
    m.cd({}, AT.cd);
    const other = m.smmu.translate({
      streamId: SID + 1,
      address: { lo: 0x1000, hi: 0 },
      rw: 'read',
    });
    expect(other).toMatchObject({ outcome: 'ok', tlbHit: true, paddr: AT.data });
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'tlb', streamId: SID + 1 }]);
  });

  test('translateFast hits combined entries', () => {
    const m = new NestedMachine();
    m.nested();
    expect(m.smmu.translateFast(SID, 0x1000, 0)).toBe(AT.data);
    const { walks } = m.smmu.counters;
    expect(m.smmu.translateFast(SID, 0x1000, 1)).toBe(AT.data);
    expect(m.smmu.counters.walks).toBe(walks);
  });
});

describe('the same accesses under every policy give the same results while memory stays', () => {
  test.each(['combined', 'separate', 'both'] as const)('nested: %s', (nested) => {
    const run = (policy: Partial<CachePolicy>): string[] => {
      const m = new NestedMachine({ policy });
      const at = m.nested();
      m.s1(0x2000, 0x9000_1000n | (S1_RW & ~0x40n));
      m.s1(0x3000, 0x9000_2000n | S1_RW);
      m.s2(0x9000_2000, ELSEWHERE | 0x77fn);
      m.word(at.s1, 0x9000_0000n | S1_RW);
      const out: string[] = [];
      for (let round = 0; round < 3; round++)
        for (const iova of [0x1000, 0x2000, 0x3000, 0x4000])
          for (const rw of ['read', 'write'] as const) {
            const result = m.access(iova, rw);
            out.push(JSON.stringify({ ...result, tlbHit: undefined }));
          }
      return out;
    };
    expect(run({ nested })).toEqual(run(CACHE_NOTHING));
  });
});
