import { CR0, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import { renderExplanation } from '../src/index.ts';
import { accessTo, device, line, lines, refusal } from './explained.ts';
import { CD_DW0, IDR, Machine, PLACE } from './machine.lanes.ts';
import { AT, NestedMachine, NO_AF, S1_RW } from './nested-machine.lanes.ts';

const STALLS = { IDR0: 0x0c44_101b, IDR5: 0x8_0074 } as const;

describe('stage 1', () => {
  test('a page of 4 KiB: STE, CD, four levels, each with address, words and section', () => {
    const found = device().smmu.explain(accessTo(0x1234));
    expect(lines(found)).toEqual([
      'ok SMMUEN',
      'STE 40200c00',
      'ok STE',
      'ok SubstreamID',
      'CD 40260000',
      'ok CD',
      'ok input range',
      'descriptor s1 l0 40400000',
      'descriptor s1 l1 40401000',
      'descriptor s1 l2 40402000',
      'descriptor s1 l3 40403008',
      'ok permission',
      'ok',
    ]);
    const [, ste, , , cd, , , , , , leaf] = found.steps;
    expect(ste).toMatchObject({
      section: 'IHI 0070 5.2',
      layout: 'STE',
      words: [u64Of(0x4026_000b), u64Of(0xd6), ...Array(6).fill(u64Of(0))],
    });
    expect(cd).toMatchObject({ section: 'IHI 0070 5.4', layout: 'CD' });
    expect(leaf).toMatchObject({
      section: 'DDI 0487 D8.3',
      layout: 'S1_LEAF',
      says: 'page of 0x1000 at 0x41000000',
      words: [u64Of(0x4100_0f47)],
    });
    const fields = leaf?.kind === 'fetch' ? leaf.fields : [];
    expect(fields).toContainEqual({ name: 'AP', value: u64Of(1), meaning: 'read-write' });
    expect(found.result).toMatchObject({ outcome: 'ok', paddr: 0x4100_0234 });
  });

  test('a block of 2 MiB ends at level 2', () => {
    const machine = device();
    machine.word(0x4040_2008, 0x4120_0f45n);
    const found = machine.smmu.explain(accessTo(0x20_1234));
    expect(lines(found).slice(7)).toEqual([
      'descriptor s1 l0 40400000',
      'descriptor s1 l1 40401000',
      'descriptor s1 l2 40402008',
      'ok permission',
      'ok',
    ]);
    expect(found.steps.at(-3)).toMatchObject({
      layout: 'S1_BLOCK',
      says: 'block of 0x200000 at 0x41200000',
    });
    expect(found.result).toMatchObject({ outcome: 'ok', paddr: 0x4120_1234 });
  });

  const levels = [
    { level: 0, iova: 2 ** 39, at: 0x4040_0008 },
    { level: 1, iova: 2 ** 30, at: 0x4040_1008 },
    { level: 2, iova: 2 ** 21, at: 0x4040_2008 },
    { level: 3, iova: 0x3000, at: 0x4040_3018 },
  ];
  test.each(levels)('F_TRANSLATION at level $level', ({ level, iova, at }) => {
    const found = device().smmu.explain(accessTo(iova));
    expect(found.steps.at(-3)).toMatchObject({ kind: 'fetch', level, address: u64Of(at) });
    expect(refusal(found)).toEqual({
      what: 'valid descriptor',
      section: 'DDI 0487 D8.3',
      says: `the stage 1 level ${level} descriptor is invalid: bit 0 is 0`,
    });
    expect(found.steps.at(-1)).toMatchObject({ kind: 'result', section: 'IHI 0070 7.3.13' });
  });

  test('a reserved descriptor: bit 1 is 0 at level 3', () => {
    const machine = device();
    machine.word(0x4040_3008, 0x4100_0f45n);
    expect(refusal(machine.smmu.explain(accessTo(0x1000))).says).toBe(
      'the stage 1 level 3 descriptor is invalid: no such descriptor exists at this level',
    );
  });

  test('an address outside of the input range fetches no descriptor', () => {
    const found = device().smmu.explain(accessTo(2 ** 48));
    expect(lines(found).slice(-3)).toEqual(['ok CD', 'NO input range', 'fault']);
    expect(refusal(found).section).toBe('IHI 0070 3.4.1');
    expect(refusal(found).says).toContain('48 bits of TTB0 (T0SZ=16)');
  });

  test('EPD1=1 stops the walk of the upper half', () => {
    const address = { lo: 0, hi: 0xffff_ffff };
    expect(refusal(device().smmu.explain(accessTo(0, { address })))).toMatchObject({
      what: 'EPD',
      section: 'IHI 0070 5.4',
    });
  });

  test('a table that nothing backs: an external abort', () => {
    const machine = device();
    machine.word(0x4040_2008, 0x9000_0003n);
    const found = machine.smmu.explain(accessTo(2 ** 21));
    const unanswered = found.steps.at(-3);
    expect(unanswered).toMatchObject({ kind: 'fetch', level: 3, address: u64Of(0x9000_0000) });
    expect(unanswered).not.toHaveProperty('words');
    expect(found.steps.at(-1)).toMatchObject({ section: 'IHI 0070 7.3.12' });
  });

  test('AF=0 without HA and AFFD', () => {
    const machine = device();
    machine.map(0x1000, BigInt(PLACE.data) | (0xf47n & ~0x400n));
    expect(refusal(machine.smmu.explain(accessTo(0x1000)))).toMatchObject({
      what: 'access flag',
      section: 'IHI 0070 3.13',
    });
  });
});

describe('nested', () => {
  test('every fetch of stage 1 with every fetch of stage 2 that it needs', () => {
    const machine = new NestedMachine({ policy: { tlb: 'none', walk: 'none', config: 'none' } });
    machine.nested();
    const found = machine.smmu.explain(accessTo(0x1010));
    const s2 = ['descriptor s2 l1', 'descriptor s2 l2', 'descriptor s2 l3'];
    const fetches = found.steps.flatMap((step) =>
      step.kind === 'fetch' ? [line(step).replace(/ [0-9a-f]+$/, '')] : [],
    );
    expect(fetches).toEqual([
      'STE',
      ...s2,
      'CD',
      ...[1, 2, 3].flatMap((level) => [...s2, `descriptor s1 l${level}`]),
      ...s2,
    ]);
    const purposes = found.steps.flatMap((step) =>
      step.kind === 'fetch' && step.stage === 2 && step.level === 3 ? [step.for] : [],
    );
    expect(purposes).toEqual([
      'the CD',
      'the stage 1 level 1 descriptor',
      'the stage 1 level 2 descriptor',
      'the stage 1 level 3 descriptor',
      'the access',
    ]);
    expect(found.result).toMatchObject({ outcome: 'ok', paddr: AT.data + 0x10 });
  });

  test('what one walk leaves in the walk cache is hit by the next, as in translate', () => {
    const machine = new NestedMachine();
    machine.nested();
    const found = machine.smmu.explain(accessTo(0x1010));
    expect(lines(found).filter((one) => one.startsWith('walk hit'))).toEqual([
      // The level-1 entry of the CD's gigabyte, then the level-2 table of the stage-1 tables.
      'walk hit descriptor s2 l1 40800008',
      'walk hit descriptor s2 l2 4080c010',
      'walk hit descriptor s2 l2 4080c010',
    ]);
    expect(machine.smmu.tlbSize).toBe(0);
  });

  test('a stage 2 fault on the way to the CD', () => {
    const machine = new NestedMachine();
    machine.nested();
    machine.s2(AT.cd, 0n);
    const found = machine.smmu.explain(accessTo(0x1000));
    expect(found.steps.at(-3)).toMatchObject({ stage: 2, level: 3, for: 'the CD' });
    expect(refusal(found).says).toBe('the stage 2 level 3 descriptor is invalid: bit 0 is 0');
    const last = found.steps.at(-1);
    const fields = last?.kind === 'result' ? (last.fields ?? []) : [];
    const says = Object.fromEntries(fields.map((field) => [field.name, field.says]));
    expect(says).toMatchObject({
      S2: 'stage 2 faulted',
      CLASS: 'on the way to a CD',
      RnW: 'a read',
      PnU: 'unprivileged',
      InD: 'data',
    });
    expect(last).toMatchObject({
      section: 'IHI 0070 7.3.13',
      // Event 0x10 of stream 0x30; RnW 35, S2 39, CLASS 00; input; IPA of the CD.
      words: [
        { lo: 0x10, hi: 0x30 },
        { lo: 0, hi: 0x88 },
        { lo: 0x1000, hi: 0 },
        { lo: AT.cd, hi: 0 },
      ],
    });
  });

  test('an IPA outside of stage 2', () => {
    const machine = new NestedMachine();
    machine.ste(6);
    expect(refusal(machine.smmu.explain(accessTo(2 ** 41)))).toEqual({
      what: 'input range',
      section: 'IHI 0070 3.4',
      says: 'IPA 0x20000000000 is outside the 40 bits of stage 2 (S2T0SZ=24)',
    });
  });
});

describe('caches', () => {
  test('a hit in the TLB shows what it came from', () => {
    const machine = device();
    machine.access(0x1000);
    expect(lines(machine.smmu.explain(accessTo(0x1008)))).toEqual([
      'ok SMMUEN',
      'configuration hit STE 40200c00',
      'ok STE',
      'ok SubstreamID',
      'configuration hit CD 40260000',
      'ok CD',
      'ok input range',
      'tlb hit descriptor s1 l3 40403008',
      'ok permission',
      'ok',
    ]);
  });

  test('a stale hit shows what memory says now, and is not reported', () => {
    const machine = device();
    machine.access(0x1000);
    machine.word(0x4040_3008, 0n);
    const found = machine.smmu.explain(accessTo(0x1000));
    expect(found.steps.find((step) => step.kind === 'hit' && step.cache === 'tlb')).toMatchObject({
      words: [u64Of(0x4100_0f47)],
      now: [u64Of(0)],
    });
    expect(found.result.outcome).toBe('ok');
    expect(machine.smmu.staleUseCount).toBe(0);
    machine.access(0x1000);
    expect(machine.smmu.staleUseCount).toBe(1);
  });

  test('a nested hit shows the leaves of both stages', () => {
    const machine = new NestedMachine();
    const { s1, s2 } = machine.nested();
    machine.access(0x1000);
    const hits = lines(machine.smmu.explain(accessTo(0x1000))).filter((one) => /^tlb/.test(one));
    expect(hits).toEqual([
      `tlb hit descriptor s1 l3 ${s1.toString(16)}`,
      `tlb hit descriptor s2 l3 ${s2.toString(16)}`,
    ]);
  });

  test('a hit on a writable-clean leaf walks again for a write', () => {
    const machine = new NestedMachine();
    machine.ste(5).cd({ HA: 1, HD: 1 });
    // AP[2]=1 and DBM, bit 51.
    const at = machine.s1(0x1000, BigInt(AT.data) | S1_RW | 0x80n | (1n << 51n));
    machine.access(0x1000);
    const found = machine.smmu.explain(accessTo(0x1000, { rw: 'write' }));
    expect(lines(found).slice(-6)).toEqual([
      `tlb hit descriptor s1 l3 ${at.toString(16)}`,
      'walk hit descriptor s1 l2 40404000',
      `descriptor s1 l3 ${at.toString(16)}`,
      `update s1 l3 ${at.toString(16)}`,
      'ok permission',
      'ok',
    ]);
    // Nothing has walked again yet: the next write does.
    expect(machine.read(at) & 0x80n).toBe(0x80n);
    machine.access(0x1000, 'write');
    expect(machine.read(at) & 0x80n).toBe(0n);
  });
});

describe('nothing happens', () => {
  test('hardware updates are shown, not made', () => {
    const machine = new NestedMachine();
    machine.ste(5).cd({ HA: 1 });
    const at = machine.s1(0x1000, (BigInt(AT.data) | S1_RW) & NO_AF);
    const before = machine.read(at);
    const found = machine.smmu.explain(accessTo(0x1000));
    const update = found.steps.find(({ kind }) => kind === 'update');
    expect(update).toMatchObject({
      section: 'IHI 0070 3.13',
      says: 'hardware sets the access flag',
      before: { lo: Number(before) },
      after: { lo: Number(before | 0x400n) },
    });
    expect(machine.read(at)).toBe(before);
    expect(found.result.outcome).toBe('ok');
  });

  test('a fault is neither recorded nor counted, and no interrupt comes', () => {
    const machine = device();
    const counters = { ...machine.smmu.counters };
    const found = machine.smmu.explain(accessTo(0x9000));
    expect(found.result).toMatchObject({ outcome: 'fault', record: 'written' });
    expect(machine.reg(R.EVENTQ_PROD)).toBe(0);
    expect(machine.record(0)).toEqual(['0x0', '0x0', '0x0', '0x0']);
    expect(machine.lines).toEqual([]);
    expect(machine.smmu.counters).toEqual(counters);
    expect(machine.access(0x9000)).toEqual(found.result);
  });

  test('a full event queue: what translate would drop', () => {
    const machine = device();
    for (let i = 0; i < 8; i++) machine.access(0x1_0000 + i * 0x1000);
    const found = machine.smmu.explain(accessTo(0x9000));
    expect(found.result).toMatchObject({ outcome: 'fault', record: 'dropped' });
    expect(machine.access(0x9000)).toEqual(found.result);
  });

  test('a stall gets the tag that is free, and nothing stalls', () => {
    const machine = new Machine({ idr: { ...IDR, ...STALLS } }).enable();
    machine.device();
    // CD.S is bit 44; IDR0.STALL_MODEL 00, IDR5.STALL_MAX 8.
    machine.word(PLACE.cd, CD_DW0 | (1n << 44n));
    machine.access(0x9000);
    const found = machine.smmu.explain(accessTo(0xa000));
    expect(found.result).toMatchObject({ outcome: 'stall', stag: 1 });
    expect(machine.smmu.stalled).toHaveLength(1);
    expect(machine.access(0xa000)).toEqual(found.result);
  });

  test('ids that no transaction carries throw, and leave everything', () => {
    const machine = device();
    machine.access(0x1000);
    expect(() => machine.smmu.explain(accessTo(0, { streamId: -1 }))).toThrow('StreamID');
    expect(machine.access(0x1000)).toMatchObject({ outcome: 'ok', tlbHit: true });
  });
});

describe('as text', () => {
  test('every step has its section, and the verdict stands last', () => {
    const machine = device();
    const text = renderExplanation(machine.smmu.explain(accessTo(0x2004, { rw: 'write' })));
    const rows = text.split('\n');
    expect(rows[0]).toBe('stream 0x30 write 0x2004');
    expect(rows[2]).toBe(
      '2. fetch STE at 0x40200c00: Config: stage 1, CDs at 0x40260000 [IHI 0070 5.2]',
    );
    expect(rows.filter((row) => /^\d+\./.test(row)).every((row) => row.endsWith(']'))).toBe(true);
    expect(text).toContain('12. check permission: NO, unprivileged write refused: AP[2]=1');
    expect(text).toContain('13. result: F_PERMISSION, the transaction is aborted, record written');
    expect(text).toContain('RnW=0x0: a write');
    expect(CR0.get.SMMUEN([machine.reg(R.CR0), 0])).toBe(1);
  });
});
