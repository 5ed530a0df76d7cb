import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError, writeVectors } from '../src/index.ts';

const text = writeVectors({ what: 'smmu', seed: 1, operations: 1 });

interface Case {
  readonly case: string;
  readonly name: string;
  readonly section: string;
  readonly confidence: string;
  readonly origin: string;
  readonly catches?: string;
  readonly structure?: string;
  readonly dwords?: number;
  readonly width?: number;
  readonly dw?: number;
  readonly hi?: number;
  readonly lo?: number;
  readonly bits?: readonly (readonly [string, string])[];
}

const file = JSON.parse(text) as { readonly origin: string; readonly cases: readonly Case[] };
const { cases } = file;
const of = (kind: string): readonly Case[] => cases.filter((one) => one.case === kind);

describe('iommukit vectors write smmu', () => {
  test('what is written runs, and is not counted as a recording', () => {
    const report = runVectorFile(text, 'smmu');
    expect(report).toMatchObject({
      kind: 'smmu-architecture',
      origin: 'iommukit',
      ok: true,
      operations: cases.length,
      mismatches: 0,
    });
    expect(report.compared).toBeGreaterThan(10_000);
  });

  test('seed and number of operations change nothing', () => {
    expect(writeVectors({ what: 'smmu', seed: 7, operations: 400 })).toBe(text);
  });

  test('one case a line', () => {
    const lines = text.split('\n');
    expect(lines).toHaveLength(cases.length + 3);
    for (const [i, one] of cases.entries())
      expect(JSON.parse((lines[i + 1] ?? '').replace(/,$/, ''))).toEqual(one);
  });

  test('the file that @iommukit/vectors ships is what is written now', () => {
    const url = new URL(
      '../data/smmu-architecture/smmu-architecture.json',
      import.meta.resolve('@iommukit/vectors'),
    );
    const withoutVersion = (one: string): string =>
      one.replace(/"origin":"iommukit [^"]+"/, '"origin":"iommukit"');
    // Compared without a diff: it would be as long as the file.
    expect(withoutVersion(readFileSync(url, 'utf8')) === withoutVersion(text)).toBe(true);
  });

  test('each case has a name of its own and its grounds', () => {
    expect(new Set(cases.map(({ case: kind, name }) => `${kind} ${name}`)).size).toBe(cases.length);
    for (const { section, confidence, origin } of cases) {
      expect(section).toMatch(/\d/);
      expect(['high', 'medium', 'inferred', 'unsure']).toContain(confidence);
      expect(['architecture reading', 'captured', 'measured on QEMU']).toContain(origin);
    }
    for (const origin of ['architecture reading', 'captured', 'measured on QEMU'])
      expect(cases.some((one) => one.origin === origin)).toBe(true);
  });
});

describe('layouts', () => {
  test('every bit of every structure stands in one field', () => {
    const bits = new Map<string, number>();
    for (const { structure = '', hi = 0, lo = 0 } of of('layout'))
      bits.set(structure, (bits.get(structure) ?? 0) + hi - lo + 1);
    for (const { structure = '', dwords = 0, width } of of('layout'))
      expect([structure, bits.get(structure)]).toEqual([structure, width ?? dwords * 64]);
    expect(['STE', 'CD', 'L1STD', 'L1CD'].map((name) => bits.get(name))).toEqual([
      512, 512, 64, 64,
    ]);
  });

  test('no bit of a field that the sources do not settle is a vector', () => {
    const unsure = of('layout').filter(({ confidence }) => confidence === 'unsure');
    expect(unsure.map(({ name }) => name)).toContain('F_CFG_CONFLICT.Reason');
    for (const { bits } of unsure) expect(bits).toEqual([]);
  });

  // Positions from the tables of smmuv3-architecture, sections 2, 3, 5 and 6.
  test.each([
    ['STE.S1ContextPtr', 0, 55, 6],
    ['STE.S2VMID', 2, 15, 0],
    ['STE.EATS', 1, 29, 28],
    ['CD.ASID', 0, 63, 48],
    ['CD.AA64', 0, 41, 41],
    ['F_TRANSLATION.CLASS', 1, 41, 40],
    ['F_TRANSLATION.SSV', 0, 11, 11],
    ['F_CD_FETCH.FetchAddr', 3, 55, 3],
    ['CMD_TLBI_NH_VA.SSec', 0, 10, 10],
    ['CMD_PRI_RESP.Resp', 1, 13, 12],
    ['CR0.ATSCHK', 0, 4, 4],
  ])('%s: dw %i, bits %i:%i', (name, dw, hi, lo) => {
    expect(cases.find((one) => one.name === name)).toMatchObject({ dw, hi, lo });
  });
});

/** Published bugs (smmuv3-architecture section 10), each as a case says that it catches it. */
const BUGS: readonly string[] = [
  ...[
    'q1 q2 q3 q4 q5 q6 q7 q9 q14 n1 n2 n3 n4 n5 n7 n8 n9 n10 n11 n12 n13 n14 n15 n16 n17 n19 n20 n22 n24 n25 n26',
  ].flatMap((codes) => codes.split(' ').map((code) => `(${code})`)),
  '(item 10)',
  '(item 11)',
  'InD always 0',
  'F_STREAM_DISABLED never produced',
  'C_BAD_SUBSTREAMID never produced',
  'bound of 2^Span',
  'Span > SPLIT+1 and >= 12 accepted',
  'aligned one bit short',
  'RECINVSID not consulted',
  'CS=3 raises an interrupt',
  'response code read from dw1 12:11',
  'not n >= 1',
  'CFGI_CD without S1P',
  'guards not enforced',
  'the process ends',
  'panics for V=0',
  'panics for Config=000',
  'panics on a bad SID',
  'panics for a bad CD',
  'TTB1 absent',
  'TBI absent',
  'AF unmodelled',
  'XN unmodelled',
  'read permission unmodelled',
  'every fault aborts and records',
  'write permission demanded of table and CD fetches',
  'CLASS=TT',
  'S2_IPA with Leaf=1',
  'unknown opcodes are skipped',
  'no OVFLG',
  'CONS moves before the command runs',
  'lacks StreamWorld',
  'no global entries in the TLB key',
  'SSV at bit 10',
  'PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TLB_CONFLICT is 0x14',
  'SSec at bit 8',
  'shifted by 4',
  'an abort on the fetch becomes',
  'EPD0=1',
  'T0SZ minimum unchecked',
  'CD.R ignored',
  'bits 36-47 permuted',
  'STE dw1 wrong from bit 13',
  'S2VMID in dw1',
  'CMDQ_CONS never writable',
  'CS=3 accepted',
  'drops the oldest record',
  'unknown opcodes ignored',
  'SSec ignored',
];

test.each(BUGS)('a case catches: %s', (bug) => {
  const catching = cases.filter(({ name, catches = '' }) => `${name}: ${catches}`.includes(bug));
  expect(catching.length).toBeGreaterThan(0);
  for (const { catches } of catching) expect(catches).toBeDefined();
});

describe('a difference is noticed', () => {
  const lineOf = (name: string): number => cases.findIndex((one) => one.name === name);

  /** Cases that are kept before and after the one that is changed: each stands alone. */
  const AROUND = 3;

  function changed(name: string, from: string | RegExp, to: string): string {
    const lines = text.split('\n');
    const at = lineOf(name) + 1;
    const line = lines[at] ?? '';
    lines[at] = line.replace(from, to);
    expect(lines[at]).not.toBe(line);
    const first = Math.max(1, at - AROUND);
    const last = Math.min(cases.length, at + AROUND);
    const kept = lines
      .slice(first, last + 1)
      .join('\n')
      .replace(/,$/, '');
    return [lines[0], kept, ...lines.slice(cases.length + 1)].join('\n');
  }

  /** Where the changed case stands in what is kept. */
  const placeOf = (name: string): number => Math.min(lineOf(name), AROUND);

  test.each([
    ['a bit of a field', 'STE.EATS', '["0x10000000","0x1"]', '["0x8000000","0x1"]'],
    ['the place of a field', 'CD.ASID', '"hi":63', '"hi":62'],
    ['a decoded field', 'CR1 of Linux 6.12', '"QUEUE_SH":"0x3"', '"QUEUE_SH":"0x2"'],
    ['legality of a command', 'SYNC by CS', '["0x3046","0x0",1]', '["0x3046","0x0",0]'],
    [
      'a register',
      'command queue wraps',
      '"value":"0x4","mask":"0xfffff"',
      '"value":"0x5","mask":"0xfffff"',
    ],
    ['a record', 'CD fetch', '"0x60000000"]', '"0x60000008"]'],
    ['an address', 'CR0ACK has no reserved bits', '"value":"0xc","mask"', '"value":"0x2c","mask"'],
    ['a needed command', 'stale use: STE invalid to valid', '"needed":"ste"', '"needed":"cd"'],
  ])('%s', (_, name, from, to) => {
    const report = runVectorFile(changed(name, from, to), 'x');
    expect(report.ok).toBe(false);
    expect(report.first?.operation).toBe(placeOf(name));
  });

  test('what a record leaves to the implementation is none', () => {
    // Reason, dw1 bits 15:0.
    const report = runVectorFile(
      changed('CD fetch', '"0x3000000009","0x0"', '"0x3000000009","0x7"'),
      'x',
    );
    expect(report.ok).toBe(true);
  });

  test.each([
    ['an unknown case', 'CD.ASID', '"case":"layout"', '"case":"other"', 'one of layout, decode'],
    ['no grounds', 'CD.ASID', '"section":"5.4",', '', 'a string'],
    ['an unknown step', 'CD fetch', '"op":"access"', '"op":"poke"', 'one of store, load'],
    [
      'an unknown structure',
      'CR1 of Linux 6.12',
      '"structure":"CR1"',
      '"structure":"CR9"',
      'a structure',
    ],
    ['an unknown device', 'CD fetch', '"features":"nested"', '"features":"none"', 'one of stage-1'],
    ['an unknown set-up', 'CD fetch', '"setup":"linear"', '"setup":"none"', 'one of linear'],
  ])('bad input names the line: %s', (_, name, from, to, expected) => {
    const bad = (): unknown => runVectorFile(changed(name, from, to), 'x.json');
    expect(bad).toThrow(VectorError);
    expect(bad).toThrow(`x.json:${String(placeOf(name) + 2)}: `);
    expect(bad).toThrow(expected);
  });
});
