import {
  CMD_CFGI_CD,
  CMD_CFGI_STE,
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  CMD_TLBI_NH_VAA,
  OPCODE,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import type { CachePolicy } from '../src/index.ts';
import { CD_DW0, Machine, PLACE } from './machine.lanes.ts';
import { verdict } from './rig.lanes.ts';

const DATA = BigInt(PLACE.data);

function machine(policy: Partial<CachePolicy> = {}): Machine & { leaf: number } {
  const made = new Machine({ policy }).enable();
  const { rw } = made.device();
  return Object.assign(made, { leaf: rw });
}

/** As Linux unmaps one page: a range of one, leaf, TTL 3. */
function tlbiVa(iova: number, more: object = {}): Uint32Array {
  return CMD_TLBI_NH_VA.encode({
    Opcode: OPCODE.TLBI_NH_VA,
    ASID: 6,
    Address: iova,
    Leaf: 1,
    TG: 1,
    TTL: 3,
    ...more,
  });
}

describe('unmap (IHI 0070 3.21, 16.2)', () => {
  test('between the clear and the sync the page still hits and is reported; after it the access faults', () => {
    const m = machine();
    expect(m.access(0x1000).outcome).toBe('ok');
    m.word(m.leaf, 0n);
    expect(m.access(0x1008, 'write')).toMatchObject({
      outcome: 'ok',
      paddr: PLACE.data + 8,
      tlbHit: true,
    });
    expect(m.smmu.staleUses).toEqual([
      {
        kind: 'tlb',
        class: 'missing',
        streamId: 0x30,
        substreamId: undefined,
        asid: 6,
        vmid: 0,
        iova: 0x1000,
        paddr: m.leaf,
        used: { lo: PLACE.data + 0xf47, hi: 0 },
        now: { lo: 0, hi: 0 },
        removedBy: [
          'CMD_TLBI_NH_VA asid=6 vmid=0 iova=0x1000 leaf=1 ttl=0|3',
          'CMD_TLBI_NH_VAA vmid=0 iova=0x1000 leaf=1 ttl=0|3',
          'CMD_TLBI_NH_ASID asid=6 vmid=0',
          'CMD_TLBI_NH_ALL vmid=0',
          'CMD_TLBI_S12_VMALL vmid=0',
          'CMD_TLBI_NSNH_ALL',
        ],
        uses: 1,
      },
    ]);
    m.issue(tlbiVa(0x1000), m.sync());
    // The command came after the use: the use fell into the window that a driver allows.
    expect(m.smmu.staleUses[0]?.class).toBe('race');
    expect(m.access(0x1008, 'write')).toEqual({
      outcome: 'fault',
      streamId: 0x30,
      response: 'abort',
      record: 'written',
      event: {
        event: 'F_TRANSLATION',
        streamId: 0x30,
        substreamId: undefined,
        address: { lo: 0x1008, hi: 0 },
        rw: 'write',
        privileged: false,
        instruction: false,
        stage: 1,
        class: 'IN',
      },
    });
    expect(m.record(0)).toEqual(['0x3000000010', '0x20000000000', '0x1008', '0x0']);
  });

  test('a command in the queue makes the use pending', () => {
    const m = machine({ consume: 'step' });
    m.access(0x1000);
    m.word(m.leaf, 0n);
    m.issue(tlbiVa(0x1000), m.sync());
    m.access(0x1000);
    expect(m.smmu.staleUses[0]?.class).toBe('pending');
    m.smmu.run();
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
  });

  test('with invalidation at sync, the command alone proves nothing', () => {
    const m = machine({ invalidate: 'at-sync' });
    m.access(0x1000);
    m.word(m.leaf, 0n);
    m.issue(tlbiVa(0x1000));
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses[0]?.class).toBe('race');
    m.issue(m.sync());
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
  });

  test('a missing command stays missing, is counted, and the list is bounded', () => {
    const m = machine({ staleLimit: 1 });
    m.map(0x3000, DATA | 0xf47n);
    m.access(0x1000);
    m.access(0x3000);
    m.word(m.leaf, 0n);
    m.map(0x3000, 0n);
    for (let i = 0; i < 3; i++) m.access(0x1000);
    m.access(0x3000);
    m.issue(tlbiVa(0x3000), m.sync());
    expect(m.smmu.staleUses).toMatchObject([{ iova: 0x1000, class: 'missing', uses: 3 }]);
    expect(m.smmu.staleUseCount).toBe(4);
  });

  test('detectStale off reports nothing and changes no result', () => {
    const m = machine({ detectStale: false });
    m.access(0x1000);
    m.word(m.leaf, 0n);
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toEqual([]);
  });

  test('without a TLB nothing can be stale', () => {
    const m = machine({ tlb: 'none', walk: 'none' });
    m.access(0x1000);
    m.word(m.leaf, 0n);
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
    expect(m.smmu.staleUseCount).toBe(0);
  });

  test('fields for software are no change', () => {
    const m = machine();
    m.access(0x1000);
    m.word(m.leaf, DATA | 0xf47n | (7n << 55n));
    m.access(0x1000);
    expect(m.smmu.staleUseCount).toBe(0);
  });
});

describe('which command removes what (IHI 0070 4.4, 16.2)', () => {
  test.each([
    { name: 'the address', command: tlbiVa(0x1000), gone: true },
    { name: 'no range, any granule', command: tlbiVa(0x1000, { TG: 0, TTL: 0 }), gone: true },
    { name: 'another ASID', command: tlbiVa(0x1000, { ASID: 7 }), gone: false },
    { name: 'another VMID', command: tlbiVa(0x1000, { VMID: 1 }), gone: false },
    { name: 'the next page', command: tlbiVa(0x2000), gone: false },
    { name: 'a range that ends before', command: tlbiVa(0, { NUM: 0 }), gone: false },
    { name: 'a range that covers', command: tlbiVa(0, { NUM: 1 }), gone: true },
    { name: 'a range by scale', command: tlbiVa(0, { SCALE: 1 }), gone: true },
    { name: 'an immense range', command: tlbiVa(0, { NUM: 31, SCALE: 31 }), gone: true },
    { name: 'the level of a block', command: tlbiVa(0, { TTL: 2 }), gone: false },
    { name: 'another granule', command: tlbiVa(0, { TG: 3 }), gone: false },
    {
      name: 'the ASID',
      command: CMD_TLBI_NH_ASID.encode({ Opcode: OPCODE.TLBI_NH_ASID, ASID: 6 }),
      gone: true,
    },
    {
      name: 'any ASID',
      command: CMD_TLBI_NH_VAA.encode({ Opcode: OPCODE.TLBI_NH_VAA, Address: 0x1000 }),
      gone: true,
    },
    { name: 'all of the VMID', command: [0x10n, 0n] as const, gone: true },
    { name: 'all of another VMID', command: [0x1_0000_0010n, 0n] as const, gone: false },
    { name: 'stage 2', command: [0x2an, 0x1000n] as const, gone: false },
    { name: 'configuration', command: [0x04n, 31n] as const, gone: false },
  ])('TLBI of $name: gone $gone', ({ command, gone }) => {
    const m = machine();
    m.access(0x1000);
    m.word(m.leaf, 0n);
    m.issue(command, m.sync());
    expect(verdict(m.access(0x1000))).toBe(gone ? 'F_TRANSLATION' : 'ok');
  });

  test('a global entry serves every ASID, stays at TLBI by ASID, and goes by address with any ASID', () => {
    const m = machine();
    m.word(m.leaf, DATA | 0x747n);
    m.cd(CD_DW0 + (1n << 48n), BigInt(PLACE.table), 1);
    m.ste(0x31, BigInt(PLACE.cd + 64) | 0xbn);
    const other = (): string =>
      verdict(m.smmu.translate({ streamId: 0x31, address: { lo: 0x1000, hi: 0 }, rw: 'read' }));
    m.access(0x1000);
    m.word(m.leaf, 0n);
    expect(other()).toBe('ok');
    expect(m.smmu.staleUses[0]).toMatchObject({ streamId: 0x31, asid: undefined });
    m.issue(CMD_TLBI_NH_ASID.encode({ Opcode: OPCODE.TLBI_NH_ASID, ASID: 6 }), m.sync());
    expect(other()).toBe('ok');
    m.issue(tlbiVa(0x1000, { ASID: 9 }), m.sync());
    expect(other()).toBe('F_TRANSLATION');
  });

  test('streams with equal tags share entries', () => {
    const m = machine();
    m.ste(0x31, BigInt(PLACE.cd) | 0xbn);
    m.access(0x1000);
    const { tlbHits } = m.smmu.counters;
    m.smmu.translate({ streamId: 0x31, address: { lo: 0x1000, hi: 0 }, rw: 'read' });
    expect(m.smmu.counters.tlbHits).toBe(tlbHits + 1);
    expect(m.smmu.tlbSize).toBe(1);
  });

  test('a table descriptor stays at Leaf=1 and is reported as a stale walk; Leaf=0 removes it', () => {
    const m = machine();
    m.access(0x1000);
    const levels: number[] = [PLACE.table];
    for (let i = 0; i < 2; i++) {
      const lo = m.memory.load64(levels[i] as number);
      levels.push(lo - (lo % 4096));
    }
    m.word(levels[2] as number, 0n);
    m.issue(tlbiVa(0x1000), m.sync());
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses[0]).toMatchObject({
      kind: 'walk',
      class: 'missing',
      paddr: levels[2],
      iova: 0,
      removedBy: expect.arrayContaining(['CMD_TLBI_NH_VA asid=6 vmid=0 iova=0x0 leaf=0']),
    });
    m.issue(tlbiVa(0x1000, { Leaf: 0 }), m.sync());
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
  });

  test('what faults is not cached: a page that becomes valid needs no command', () => {
    const m = machine();
    expect(verdict(m.access(0x5000))).toBe('F_TRANSLATION');
    m.map(0x5000, DATA | 0xb47n);
    expect(verdict(m.access(0x5000))).toBe('F_ACCESS');
    m.map(0x5000, DATA | 0xf47n);
    expect(verdict(m.access(0x5000))).toBe('ok');
    expect(m.smmu.staleUseCount).toBe(0);
  });

  test('nothing is cached while SMMUEN=0, and disabling drops nothing', () => {
    const m = machine();
    m.access(0x1000);
    m.smmu.registers.write32(R.CR0, 0xc);
    m.access(0x1000);
    m.smmu.registers.write32(R.CR0, 0xd);
    expect(m.access(0x1000)).toMatchObject({ tlbHit: true });
  });
});

describe('configuration (IHI 0070 4.3, 5.2.1, 5.4.1)', () => {
  const cfgiSte = (StreamID: number, Leaf = 1): Uint32Array =>
    CMD_CFGI_STE.encode({ Opcode: OPCODE.CFGI_STE, StreamID, Leaf });
  const cfgiCd = (StreamID: number): Uint32Array =>
    CMD_CFGI_CD.encode({ Opcode: OPCODE.CFGI_CD, StreamID, Leaf: 1 });

  test('a changed STE is used until CFGI_STE', () => {
    const m = machine();
    m.access(0x1000);
    m.ste(0x30, 1n);
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses[0]).toMatchObject({
      kind: 'ste',
      class: 'missing',
      paddr: PLACE.strtab + 0x30 * 64,
      used: { lo: PLACE.cd + 0xb, hi: 0 },
      now: { lo: 1, hi: 0 },
      removedBy: ['CMD_CFGI_STE sid=0x30', 'CMD_CFGI_STE_RANGE covering sid=0x30', 'CMD_CFGI_ALL'],
    });
    m.issue(cfgiSte(0x31), cfgiCd(0x30), [0x30n, 0n], m.sync());
    expect(verdict(m.access(0x1000))).toBe('ok');
    m.issue(cfgiSte(0x30), m.sync());
    expect(verdict(m.access(0x1000))).toBe('ste-abort');
    expect(m.smmu.staleUses[0]?.class).toBe('race');
  });

  test.each([
    { name: 'keep', config: 'keep', expected: 'C_BAD_STE' },
    { name: 'keep-valid', config: 'keep-valid', expected: 'ok' },
    { name: 'none', config: 'none', expected: 'ok' },
  ] as const)('an invalid STE may be cached: $name', ({ config, expected }) => {
    const m = machine({ config });
    m.ste(0x30, 0n);
    expect(verdict(m.access(0x1000))).toBe('C_BAD_STE');
    m.ste(0x30, BigInt(PLACE.cd) | 0xbn);
    expect(verdict(m.access(0x1000))).toBe(expected);
    m.issue(cfgiSte(0x30), m.sync());
    expect(verdict(m.access(0x1000))).toBe('ok');
  });

  test('a changed CD is used until CFGI_CD, of every stream that reached it', () => {
    const m = machine();
    m.ste(0x31, BigInt(PLACE.cd) | 0xbn);
    const other = (): string =>
      verdict(m.smmu.translate({ streamId: 0x31, address: { lo: 0x1000, hi: 0 }, rw: 'read' }));
    m.access(0x1000);
    other();
    m.cd(0n);
    m.issue(cfgiCd(0x30), m.sync());
    expect([verdict(m.access(0x1000)), other()]).toEqual(['C_BAD_CD', 'ok']);
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'cd', streamId: 0x31, class: 'missing' }]);
    expect(m.smmu.staleUses[0]?.removedBy[0]).toBe('CMD_CFGI_CD sid=0x31 ssid=0x0');
  });

  test('a new TTB under the same ASID leaves translations of the old tables', () => {
    const m = machine();
    m.access(0x1000);
    m.cd(CD_DW0, BigInt(PLACE.table) + 0x10_0000n);
    m.issue(cfgiCd(0x30), m.sync());
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toMatchObject([
      { kind: 'tlb', paddr: PLACE.cd + 8, used: { lo: PLACE.table, hi: 0 } },
    ]);
    m.issue(CMD_TLBI_NH_ASID.encode({ Opcode: OPCODE.TLBI_NH_ASID, ASID: 6 }), m.sync());
    expect(verdict(m.access(0x1000))).toBe('F_TRANSLATION');
  });

  test('EPD0 under the same ASID stops walks but not hits, which are reported (5.4)', () => {
    const m = machine();
    m.access(0x1000);
    m.cd(CD_DW0 | (1n << 14n));
    m.issue(cfgiCd(0x30), m.sync());
    expect([verdict(m.access(0x1000)), verdict(m.access(0x2000))]).toEqual(['ok', 'F_TRANSLATION']);
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'tlb', class: 'missing', paddr: PLACE.cd }]);
  });

  test('a global entry made under other tables is no stale use', () => {
    const m = machine();
    m.word(m.leaf, DATA | 0x747n);
    m.access(0x1000);
    m.cd(CD_DW0 + (1n << 48n), BigInt(PLACE.table) + 0x10_0000n, 1);
    m.ste(0x31, BigInt(PLACE.cd + 64) | 0xbn);
    m.smmu.translate({ streamId: 0x31, address: { lo: 0x1000, hi: 0 }, rw: 'read' });
    expect([m.smmu.counters.tlbHits, m.smmu.staleUseCount]).toEqual([1, 0]);
  });

  test('an L1STD that was empty is used until CFGI_STE with Leaf=0', () => {
    const m = new Machine();
    m.enable(0xc);
    m.device();
    m.smmu.registers.write32(R.STRTAB_BASE_CFG, 0x10209);
    m.smmu.registers.write32(R.CR0, 0xd);
    m.word(PLACE.strtab, 0n);
    expect(verdict(m.access(0x1000))).toBe('C_BAD_STREAMID');
    m.word(0x4022_0c00, BigInt(PLACE.cd) | 0xbn);
    m.word(0x4022_0c08, 0xd6n);
    m.word(PLACE.strtab, 0x4022_0009n);
    m.issue(cfgiSte(0x30, 1), m.sync());
    expect(verdict(m.access(0x1000))).toBe('C_BAD_STREAMID');
    expect(m.smmu.staleUses).toMatchObject([
      {
        kind: 'l1std',
        class: 'missing',
        removedBy: expect.arrayContaining(['CMD_CFGI_STE sid=0x30 leaf=0']),
      },
    ]);
    m.issue(cfgiSte(0x31, 0), m.sync());
    expect(verdict(m.access(0x1000))).toBe('ok');
  });

  test('a stream table that moved leaves cached STEs usable, and reported', () => {
    const m = machine();
    m.access(0x1000);
    m.smmu.registers.write32(R.CR0, 0xc);
    m.smmu.registers.write64(R.STRTAB_BASE, PLACE.strtab + 0x10_0000, 0);
    m.smmu.registers.write32(R.CR0, 0xd);
    expect(verdict(m.access(0x1000))).toBe('ok');
    expect(m.smmu.staleUses).toMatchObject([{ kind: 'ste' }]);
    m.issue([0x04n, 31n], m.sync());
    expect(verdict(m.access(0x1000))).toBe('C_BAD_STE');
  });
});

describe('translateFast', () => {
  test('agrees with translate, records nothing, and returns -1 for a refusal', () => {
    const m = machine();
    expect(m.smmu.translateFast(0x30, 0x1000, 1)).toBe(PLACE.data);
    expect(m.smmu.translateFast(0x30, 0x2000, 0)).toBe(PLACE.data + 0x1000);
    expect(m.smmu.translateFast(0x30, 0x2000, 1)).toBe(-1);
    expect(m.smmu.translateFast(0x30, 0x9000, 0)).toBe(-1);
    expect(m.smmu.translateFast(0x31, 0x1000, 0)).toBe(-1);
    expect(m.reg(R.EVENTQ_PROD)).toBe(0);
    expect(m.smmu.counters).toMatchObject({ accesses: 5, faults: 0, tlbHits: 1, tlbMisses: 3 });
  });
});
