/*
 * Every field of STE, CD, L1STD and L1CD, taken from the layout tables, through all its values (wide fields and reserved rows one
 * bit at a time) in configurations that work; the rule tables below say which values are refused, with which event and by which
 * section. Where no rule speaks, the event must not be one of illegality; rows that a configuration ignores change nothing at all.
 */
import { CD, L1CD, L1STD, STE } from '@iommukit/arm-arch';
import type { FieldRow } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import { FEATURE_PRESETS, type Features } from '../src/index.ts';
import {
  Bench,
  CD_INERT,
  CD_RULES,
  configRecord,
  FULL,
  L2TAB,
  PROFILES,
  type Profile,
  type Rule,
  read,
  SID,
  SMALL,
  STE_INERT,
  STE_RULES,
  stage1,
  steIgnored,
  valuesOf,
  withField,
} from './illegal-encodings.lanes.ts';

// Every fourth profile here; with `npm run soak` all.
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

interface Sweep {
  readonly structure: 'STE' | 'CD';
  readonly rows: Readonly<Record<string, FieldRow>>;
  readonly rules: readonly Rule[];
  readonly inert: readonly string[];
  readonly code: number;
  readonly event: string;
}

const SWEEPS: readonly Sweep[] = [
  {
    structure: 'STE',
    rows: STE.rows,
    rules: STE_RULES,
    inert: STE_INERT,
    code: 4,
    event: 'C_BAD_STE',
  },
  { structure: 'CD', rows: CD.rows, rules: CD_RULES, inert: CD_INERT, code: 10, event: 'C_BAD_CD' },
];

describe.each(SWEEPS)('$structure', ({ structure, rows, rules, inert, code, event }) => {
  const profiles = PROFILES.filter((p) => structure === 'STE' || stage1(p)).filter(
    (_, i) => SOAK || i % 4 === 0,
  );
  test.each(profiles)('$name', (p) => {
    const bench = new Bench(p);
    const key = structure === 'STE' ? 'ste' : 'cd';
    const base = bench.outcome({}).model;
    expect(base).toBe(p.config === 0 ? 'abort' : `${p.config === 4 ? 'bypass' : 'ok'} 0x45000000`);
    const wrong: string[] = [];
    for (const [name, row] of Object.entries(rows)) {
      const words = bench[key];
      for (const value of valuesOf(row, read(words, row))) {
        const { model, twin } = bench.outcome({ [key]: withField(words, row, value) });
        const rule = rules.find((one) => one.field === name);
        const say = (expected: string): void => {
          wrong.push(
            `${name}=0x${value.toString(16)} (${rule?.section ?? row.spec ?? '5'}): ${model}, expected ${expected}; twin ${twin}`,
          );
        };
        const reserved = row.kind === 'res0' || row.kind === 'impdef';
        if ((p.config !== 0 || name === 'V') && rule?.illegal(Number(value), p, value) === true) {
          const expected = `${event} ${configRecord(code, p)}`;
          if (model !== expected) say(expected);
        } else if (
          reserved ||
          inert.includes(name) ||
          (structure === 'STE' && steIgnored(name, p))
        ) {
          if (model !== base) say(base);
        } else if (model.startsWith(event)) say(`no ${event}`);
        if (model !== twin) say(`as the twin`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('every row has a rule, or is named as inert, or changes the translation', () => {
    const known = new Set([...rules.map((rule) => rule.field), ...inert]);
    const others = Object.entries(rows)
      .filter(([name, row]) => row.kind !== 'res0' && row.kind !== 'impdef' && !known.has(name))
      .map(([name]) => name);
    expect(others).toEqual(
      structure === 'STE'
        ? ['Config', 'S1DSS', 'PRIVCFG', 'INSTCFG', 'S2PS', 'S2R', 'S2DS']
        : ['EPD0', 'IPS', 'PAN', 'DS'],
    );
  });
});

describe('STE.Config (5.2)', () => {
  const outcomes = (f: Features): string[] => {
    const bench = new Bench({ name: '', f, config: 6 });
    return Array.from({ length: 8 }, (_, config) => {
      const words = withField(bench.ste, STE.rows.Config, BigInt(config));
      return bench.outcome({ ste: words }).model.split(' ')[0] as string;
    });
  };
  test('0xx aborts silently; a stage that is not implemented is ILLEGAL', () => {
    const silent = ['abort', 'abort', 'abort', 'abort'];
    // The access is outside the 39 bits of stage 1's tables' only mapping.
    expect(outcomes(FULL)).toEqual([...silent, 'bypass', 'F_TRANSLATION', 'ok', 'F_TRANSLATION']);
    const s1: Features = { ...FEATURE_PRESETS['qemu-11-s1'] };
    expect(outcomes(s1)).toEqual([...silent, 'bypass', 'F_TRANSLATION', 'C_BAD_STE', 'C_BAD_STE']);
    const s2: Features = { ...FEATURE_PRESETS['qemu-11-s2'] };
    expect(outcomes(s2)).toEqual([...silent, 'bypass', 'C_BAD_STE', 'ok', 'C_BAD_STE']);
  });
});

describe('STE.EATS with ATS (5.2.2)', () => {
  test.each([
    ['split-stage', false, [[], [2], [2], []]],
    ['no split-stage', true, [[], [2], [2], [2]]],
  ] as const)('%s', (_, ns1ats, illegal) => {
    const f: Features = { ...FULL, ats: true, ns1ats, stallModel: 0, stallMax: 4 };
    ([4, 5, 6, 7] as const).forEach((config, i) => {
      const bench = new Bench({ name: '', f, config });
      const refused = [0, 1, 2, 3].filter((eats) =>
        bench
          .outcome({ ste: withField(bench.ste, STE.rows.EATS, BigInt(eats)) })
          .model.startsWith('C_BAD_STE'),
      );
      expect(refused).toEqual(illegal[i]);
    });
  });

  test('full ATS and S2S=1 with stage 2', () => {
    const f: Features = { ...FULL, ats: true, stallModel: 0, stallMax: 4 };
    for (const [config, eats, refused] of [
      [5, 1, false],
      [6, 1, true],
      [7, 1, true],
      [7, 2, true],
      [7, 0, false],
    ] as const) {
      const bench = new Bench({ name: '', f, config });
      const words = withField(withField(bench.ste, STE.rows.EATS, BigInt(eats)), STE.rows.S2S, 1n);
      expect(bench.outcome({ ste: words }).model.startsWith('C_BAD_STE')).toBe(refused);
    }
  });
});

describe('CD fields that depend on another', () => {
  const p: Profile = { name: '', f: { ...FULL, stallModel: 0, stallMax: 4 }, config: 5 };
  const small: Profile = { name: '', f: SMALL, config: 5 };
  const benches = new Map<string, Bench>();
  const bad = (profile: Profile, changes: Readonly<Record<string, bigint>>): boolean => {
    const key = `${profile.strw} ${profile.e2h} ${profile.f.oas}`;
    const bench = benches.get(key) ?? new Bench(profile);
    benches.set(key, bench);
    let words: bigint[] = bench.cd;
    for (const [name, value] of Object.entries(changes))
      words = withField(
        words,
        (CD.rows as Readonly<Record<string, FieldRow>>)[name] as FieldRow,
        value,
      );
    const { model, twin } = bench.outcome({ cd: words });
    expect(model).toBe(twin);
    return model.startsWith('C_BAD_CD');
  };
  test('EPDx takes the checks of its half away, in NS-EL2 it does not (5.4.1.1)', () => {
    for (const tg of [0n, 1n, 2n, 3n]) {
      expect(bad(p, { EPD1: 1n, TG1: tg })).toBe(false);
      expect(bad(p, { EPD0: 1n, TG0: tg })).toBe(false);
      expect(bad({ ...p, strw: 2 }, { EPD0: 1n, TG0: tg })).toBe(tg === 3n);
      expect(bad({ ...p, strw: 2, e2h: true }, { EPD0: 1n, TG0: tg })).toBe(false);
    }
    for (let size = 0n; size < 64n; size++) expect(bad(p, { EPD1: 1n, T1SZ: size })).toBe(false);
  });
  test('ENDI matters while a half is enabled (5.4)', () => {
    expect(bad(p, { ENDI: 1n, EPD0: 1n })).toBe(true);
    expect(bad(p, { ENDI: 1n, EPD0: 1n, EPD1: 1n })).toBe(false);
    expect(bad({ ...p, strw: 2 }, { ENDI: 1n, EPD0: 1n, EPD1: 1n })).toBe(true);
  });
  test('DS lets TxSZ go to 12 with 4K and 16K pages, TTB to 52 bits (5.4)', () => {
    for (const [tg, name] of [
      [0n, '4K'],
      [2n, '16K'],
    ] as const)
      for (let size = 0n; size < 64n; size++) {
        expect([name, size, bad(p, { DS: 1n, TG0: tg, T0SZ: size })]).toEqual([
          name,
          size,
          size < 12n || size > 48n,
        ]);
        expect([name, size, bad(p, { TG0: tg, T0SZ: size })]).toEqual([
          name,
          size,
          size < 16n || size > 48n,
        ]);
      }
    const high = (1n << 48n) >> 4n;
    expect(bad(p, { TTB0: high, IPS: 6n })).toBe(true);
    expect(bad(p, { TTB0: high, IPS: 6n, DS: 1n })).toBe(false);
    expect(bad(p, { TTB0: high, IPS: 5n, DS: 1n })).toBe(true);
    expect(bad(p, { TTB0: high, IPS: 6n, TG0: 1n })).toBe(false);
  });
  test('IPS beyond OAS acts as OAS, 7 included (5.4)', () => {
    for (let ips = 0n; ips < 8n; ips++) {
      const limit = Math.min([32, 36, 40, 42, 44, 48, 52, 56][Number(ips)] as number, SMALL.oas);
      for (let bit = 32; bit < 52; bit++)
        expect([ips, bit, bad(small, { IPS: ips, TTB0: 1n << BigInt(bit - 4) })]).toEqual([
          ips,
          bit,
          bit >= limit,
        ]);
    }
  });
  test('S1STALLD forbids S; HAFT needs HA (5.4.2)', () => {
    const bench = new Bench(p);
    const ste = withField(bench.ste, STE.rows.S1STALLD, 1n);
    expect(bench.outcome({ ste }).model).toBe('ok 0x45000000');
    expect(bench.outcome({ ste, cd: withField(bench.cd, CD.rows.S, 1n) }).model).toMatch(
      /^C_BAD_CD/,
    );
    expect(bad(p, { HAFT: 1n, HA: 1n })).toBe(false);
    expect(bad(p, { HAFT: 1n, HA: 0n })).toBe(true);
  });
});

describe('L1STD (5.1)', () => {
  const p: Profile = { name: '', f: FULL, config: 4 };
  test.each([6, 8, 10])('Span, SPLIT %i', (split) => {
    const bench = new Bench(p);
    for (let span = 0; span < 32; span++) {
      const { model, twin } = bench.outcome({ l1std: L2TAB | BigInt(span), split });
      const valid = span >= 1 && span <= 11 && span <= split + 1 && SID < 2 ** (span - 1);
      expect([span, model]).toEqual([
        span,
        valid ? 'bypass 0x45000000' : 'C_BAD_STREAMID abort 0x500000002 0x0 0x0 0x0',
      ]);
      expect(model).toBe(twin);
    }
  });
  test('L2Ptr, bit by bit: low bits are aligned away, others move the array; reserved bits are ignored', () => {
    const bench = new Bench(p);
    for (let bit = 5; bit < 64; bit++) {
      const { model, twin } = bench.outcome({ l1std: bench.l1std ^ (1n << BigInt(bit)) });
      expect([bit, model]).toEqual([bit, twin]);
      if (L1STD.rows.L2Ptr.hi < bit || bit < 5 + 4) expect(model).toBe('bypass 0x45000000');
      else expect(model).not.toBe('bypass 0x45000000');
    }
  });
});

describe('L1CD (5.3)', () => {
  test.each([5, 7] as const)('bit by bit, Config %i', (config) => {
    const p: Profile = {
      name: '',
      f: { ...FULL, oas: 48, ds: false, stallModel: 0, stallMax: 4 },
      config,
      cdMax: 2,
      s1fmt: 1,
    };
    const bench = new Bench(p);
    const { rows } = L1CD;
    for (let bit = 0; bit < 64; bit++) {
      const { model, twin } = bench.outcome({ l1cd: bench.l1cd ^ (1n << BigInt(bit)) });
      expect([bit, model]).toEqual([bit, twin]);
      if (bit === rows.V.lo || (bit >= 48 && bit <= rows.L2Ptr.hi))
        expect([bit, model]).toEqual([bit, `C_BAD_SUBSTREAMID ${configRecord(8, p)}`]);
      else if (bit < rows.L2Ptr.lo || bit > rows.L2Ptr.hi) expect(model).toBe('ok 0x45000000');
    }
  });
});
