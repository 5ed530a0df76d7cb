import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { describe, expect, test } from 'vitest';
import type { DmaAccess } from '../src/index.ts';
import { accessTo, device, lines, refusal, SID } from './explained.ts';
import { CD_DW0, Machine, PLACE } from './machine.lanes.ts';
import { AT, NestedMachine, S2_RO, S2_RW } from './nested-machine.lanes.ts';

describe('permissions name the bit', () => {
  const leaf = (attributes: bigint): Machine => {
    const machine = device();
    machine.map(0x1000, BigInt(PLACE.data) | attributes);
    return machine;
  };
  // DDI 0487 D8.4: AP[2:1] in bits 7:6, PXN 53, UXN 54.
  const rows: { name: string; leaf: bigint; access: Partial<DmaAccess>; says: string }[] = [
    {
      name: 'a write to a read-only page',
      leaf: 0xfc7n,
      access: { rw: 'write' },
      says: 'unprivileged write refused: AP[2]=1 of the stage 1 level 3 leaf refuses writes',
    },
    {
      name: 'an unprivileged read of a privileged page',
      leaf: 0xf07n,
      access: {},
      says: 'unprivileged read refused: AP[1]=0 of the stage 1 level 3 leaf refuses unprivileged accesses',
    },
    {
      name: 'unprivileged execution',
      leaf: 0xf47n | (1n << 54n),
      access: { instruction: true },
      says: 'unprivileged execution refused: UXN=1 of the stage 1 level 3 leaf refuses unprivileged execution',
    },
    {
      name: 'privileged execution',
      leaf: 0xfc7n | (1n << 53n),
      access: { instruction: true, privileged: true },
      says: 'privileged execution refused: PXN=1 of the stage 1 level 3 leaf refuses privileged execution',
    },
    {
      name: 'privileged execution of what EL0 may write',
      leaf: 0xf47n,
      access: { instruction: true, privileged: true },
      says: 'privileged execution refused: AP=01: what may be written unprivileged is not executed privileged',
    },
  ];
  // This STE leaves privilege and instruction as they come (IDR1.ATTR_PERMS_OVR=0).
  test.each(rows)('$name', ({ leaf: attributes, access, says }) => {
    const found = leaf(attributes).smmu.explain(accessTo(0x1000, access));
    expect(refusal(found)).toEqual({ what: 'permission', section: 'DDI 0487 D8.4', says });
    expect(found.result).toMatchObject({ event: { event: 'F_PERMISSION', stage: 1 } });
  });

  test('a limit that a table sets: APTable[1], bit 62', () => {
    const machine = device();
    machine.word(0x4040_1000, 0x4040_2003n | (1n << 62n));
    const found = machine.smmu.explain(accessTo(0x1000, { rw: 'write' }));
    expect(refusal(found).says).toBe(
      'unprivileged write refused: APTable[1]=1 of the stage 1 level 1 table refuses writes',
    );
  });

  test('CD.WXN and CD.PAN, bits 36 and 40', () => {
    const wxn = device();
    wxn.word(PLACE.cd, CD_DW0 | (1n << 36n));
    const execute = wxn.smmu.explain(accessTo(0x1000, { instruction: true }));
    expect(refusal(execute)).toMatchObject({ section: 'IHI 0070 5.4' });
    expect(refusal(execute).says).toContain('CD.WXN=1');
    const pan = device();
    pan.word(PLACE.cd, CD_DW0 | (1n << 40n));
    const read = pan.smmu.explain(accessTo(0x1000, { privileged: true }));
    expect(refusal(read)).toMatchObject({ section: 'IHI 0070 5.4' });
    expect(refusal(read).says).toContain('CD.PAN=1');
  });

  test('stage 2: S2AP[1]', () => {
    const machine = new NestedMachine();
    machine.ste(6).s2(0x1000, BigInt(AT.data) | S2_RO);
    const found = machine.smmu.explain(accessTo(0x1000, { rw: 'write' }));
    expect(refusal(found).says).toBe(
      'unprivileged write refused: S2AP[1]=0 of the stage 2 level 3 leaf refuses writes',
    );
  });

  test('stage 2: S2PTW=1 and a CD in Device memory', () => {
    const machine = new NestedMachine();
    machine.nested({ S2PTW: 1 });
    // MemAttr 0001: Device-nGnRE.
    machine.s2(AT.cd, BigInt(AT.cd) | 0x7c7n);
    const found = machine.smmu.explain(accessTo(0x1000));
    expect(refusal(found)).toEqual({
      what: 'permission',
      section: 'IHI 0070 5.2',
      says: 'STE.S2PTW=1 refuses Device memory for a CD',
    });
  });
});

describe('configuration', () => {
  // Bits from IHI 0070 5.2: dw2 has S2T0SZ 37:32, S2TG 47:46, S2AA64 51, S2ENDI 52, S2S 57; dw1 S1STALLD 27, EATS 29:28.
  const illegal: { name: string; config: 5 | 6 | 7; ste: object; says: RegExp; section: string }[] =
    [
      { name: 'V=0', config: 5, ste: { V: 0 }, says: /STE.V=0/, section: 'IHI 0070 5.2' },
      {
        name: 'S2TG',
        config: 6,
        ste: { S2TG: 3 },
        says: /S2TG is reserved/,
        section: 'IHI 0070 5.2',
      },
      {
        name: 'S2T0SZ',
        config: 6,
        ste: { S2T0SZ: 15 },
        says: /S2T0SZ is out/,
        section: 'IHI 0070 5.2',
      },
      {
        name: 'S2SL0',
        config: 6,
        ste: { S2T0SZ: 16, S2SL0: 0 },
        says: /S2SL0 is no start level/,
        section: 'IHI 0070 5.2, DDI 0487 D8.2.2',
      },
      { name: 'S2AA64', config: 6, ste: { S2AA64: 0 }, says: /S2AA64=0/, section: 'IHI 0070 5.2' },
      { name: 'S2ENDI', config: 6, ste: { S2ENDI: 1 }, says: /S2ENDI=1/, section: 'IHI 0070 5.2' },
      {
        name: 'S2TTB',
        config: 7,
        ste: { S2PS: 0, S2TTB: 2 ** 40 },
        says: /S2TTB lies beyond/,
        section: 'IHI 0070 3.4.3',
      },
      { name: 'EATS', config: 5, ste: { EATS: 2 }, says: /EATS=10/, section: 'IHI 0070 5.2' },
    ];
  test.each(illegal)('C_BAD_STE names the rule: $name', ({ config, ste, says, section }) => {
    const machine = new NestedMachine();
    machine.ste(config, ste);
    const found = machine.smmu.explain(accessTo(0x1000));
    expect(lines(found).map((one) => one.split(' ')[0])).toEqual(['ok', 'STE', 'NO', 'fault']);
    expect(refusal(found).what).toBe('STE');
    expect(refusal(found).section).toBe(section);
    expect(refusal(found).says).toMatch(says);
    expect(found.result).toMatchObject({ event: { event: 'C_BAD_STE' } });
  });

  const badCds: { name: string; cd: object; says: RegExp; section: string }[] = [
    { name: 'V=0', cd: { V: 0 }, says: /CD.V=0/, section: 'IHI 0070 5.4' },
    { name: 'AA64=0', cd: { AA64: 0 }, says: /CD.AA64=0/, section: 'IHI 0070 5.4' },
    { name: 'TG0', cd: { TG0: 3 }, says: /CD.TG0 is reserved/, section: 'IHI 0070 5.4' },
    { name: 'T0SZ', cd: { T0SZ: 11 }, says: /CD.T0SZ is out of range/, section: 'IHI 0070 5.4' },
    // The upper half counts although the address lies in the lower one.
    { name: 'TG1', cd: { EPD1: 0, TG1: 0 }, says: /CD.TG1 is reserved/, section: 'IHI 0070 5.4' },
    {
      name: 'TTB0',
      cd: { IPS: 0, TTB0: 2 ** 40 },
      says: /CD.TTB0 lies/,
      section: 'IHI 0070 3.4.3',
    },
    { name: 'ENDI', cd: { ENDI: 1 }, says: /CD.ENDI=1/, section: 'IHI 0070 5.4' },
  ];
  test.each(badCds)('C_BAD_CD names the rule: $name', ({ cd, says, section }) => {
    const machine = new NestedMachine();
    machine.ste(5).cd(cd);
    const found = machine.smmu.explain(accessTo(0x1000));
    expect(lines(found).slice(-3)).toEqual([`CD ${AT.cd.toString(16)}`, 'NO CD', 'fault']);
    expect(refusal(found).section).toBe(section);
    expect(refusal(found).says).toMatch(says);
    expect(found.result).toMatchObject({ event: { event: 'C_BAD_CD' } });
  });

  test('bypass and abort by STE.Config', () => {
    const machine = new Machine().enable().ste(SID, 0x9n, 0n);
    const bypass = machine.smmu.explain(accessTo(0x1234));
    expect(lines(bypass)).toEqual(['ok SMMUEN', 'STE 40200c00', 'ok STE', 'bypass']);
    expect(bypass.steps.at(-1)).toMatchObject({ section: 'IHI 0070 5.2' });
    const abort = machine.ste(SID, 0x1n, 0n).smmu.explain(accessTo(0x1234));
    expect(lines(abort).slice(2)).toEqual(['ok STE', 'NO STE.Config', 'abort']);
  });

  test('with SMMUEN=0 GBPA decides: bypass, or abort', () => {
    const { smmu } = new Machine();
    expect(lines(smmu.explain(accessTo(0x1234)))).toEqual(['ok SMMUEN', 'bypass']);
    // GBPA.ABORT is bit 20, written with Update, bit 31.
    smmu.registers.write32(R.GBPA, 0x8010_0000);
    const abort = smmu.explain(accessTo(0x1234));
    expect(lines(abort)).toEqual(['ok SMMUEN', 'NO GBPA', 'abort']);
    expect(refusal(abort).section).toBe('IHI 0070 6.3.14');
  });

  test('streams that the table does not hold', () => {
    const machine = new Machine().enable();
    const found = machine.smmu.explain(accessTo(0, { streamId: 512 }));
    expect(lines(found)).toEqual(['ok SMMUEN', 'NO StreamID', 'fault']);
    expect(refusal(found)).toMatchObject({
      section: 'IHI 0070 3.3.1',
      says: 'StreamID 0x200 needs more than 9 bits (STRTAB_BASE_CFG.LOG2SIZE)',
    });
  });

  test('a SubstreamID where there are none', () => {
    const found = device().smmu.explain(accessTo(0x1000, { substreamId: 3 }));
    expect(refusal(found).what).toBe('SubstreamID');
    expect(found.steps.at(-1)).toMatchObject({ section: 'IHI 0070 7.3.9' });
  });

  test('S1DSS: past stage 1, or refused', () => {
    const machine = new NestedMachine();
    machine.ste(7, { S1CDMax: 4, S1DSS: 1 }).s2(0x1000, BigInt(AT.data) | S2_RW);
    const passed = machine.smmu.explain(accessTo(0x1000));
    expect(lines(passed).slice(1, 5)).toEqual([
      'STE 40200c00',
      'ok STE',
      'ok S1DSS',
      'descriptor s2 l1 40800000',
    ]);
    machine.ste(7, { S1CDMax: 4, S1DSS: 0 });
    expect(refusal(machine.smmu.explain(accessTo(0x1000))).what).toBe('S1DSS');
  });
});
