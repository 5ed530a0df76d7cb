// Each style rule, shown what it must see and what it must leave alone.
import { describe, expect, it } from 'vitest';
import { codeLines, MAX_CODE_LINES, machineComplaints, moduleComplaints } from '../code-style.mjs';
import {
  contractComplaints,
  exportComplaints,
  modelComplaints,
  rangeComplaints,
  reexports,
  workedValues,
} from '../doc-style.mjs';
import { codesOf, errorClasses, listedCodes, uncodedErrors } from '../error-codes.mjs';
import { parseModule } from '../parsed-module.mjs';
import { enumFaults, pinsExports, rowGaps } from '../table-style.mjs';

const path = 'packages/x/src/a.ts';
const complaints = (text: string) => moduleComplaints(path, text);
const parsed = (text: string) => parseModule('a.ts', text);

describe('a module', () => {
  it('is counted by its code alone', () => {
    const text = '/* a\n b */\n\nconst a = 1; // c\n  // d\nconst e = `\n// f\n`;\n';
    expect(codeLines('a.ts', text)).toBe(4);
    const long = (n: number) => `// about\n${'f();\n'.repeat(n)}`;
    expect(complaints(long(MAX_CODE_LINES))).toEqual([]);
    expect(complaints(long(MAX_CODE_LINES + 1))).toEqual([
      `${path}:1: 501 lines of code, at most 500`,
    ]);
  });

  it.each([
    ["\nexport * from './b.ts';", '2: export *'],
    ["export * as b from './b.ts';", '1: export *'],
    ['export default 1;', '1: default export'],
    ['const a = 1;\nexport { a as default };', '2: default export'],
    ["export { default } from './b.ts';", '1: default export'],
    ['enum A { B }', '1: enum'],
    ['declare const enum A { B }', '1: enum'],
    ['namespace A { export const b = 1; }', '1: namespace'],
    [`// ${'TO'}DO: more`, `1: unfinished: ${'TO'}DO`],
    [`const a = '${'X'}XX';`, `1: unfinished: ${'X'}XX`],
    ['\n// -----', '2: divider comment'],
    ['// ==== queues ====', '1: divider comment'],
    ['/*\n * ---\n */', '1: divider comment'],
    ['const f = (on: boolean) => on;', '1: boolean parameter'],
    ['function f(on?: boolean) {}', '1: boolean parameter'],
    ['function f(on: true | undefined) {}', '1: boolean parameter'],
    ['class A {\n  f(on = false) {}\n}', '2: boolean parameter'],
    ['interface A { f(on: boolean): void }', '1: boolean parameter'],
    ['type F = (on: boolean) => void;', '1: boolean parameter'],
    ['f(1, true);', '1: the argument `true` says nothing'],
    ['new A(false);', '1: the argument `false` says nothing'],
    ['const f = (a, b, c, d, e, g) => a;', '1: 6 parameters, at most 5'],
    ['interface A { f(a: 1, b: 1, c: 1, d: 1, e: 1, g: 1): void }', '1: 6 parameters, at most 5'],
  ])('may not hold %j', (text, expected) => {
    expect(complaints(text)).toEqual([`${path}:${expected}`]);
  });

  it.each([
    '/**\n * | a | b |\n * |---|---|\n */',
    '// a range - of sorts -- as `1 - 2`',
    'f({ on: true });',
    'set.add(true); map.set(1, true); list.includes(false);',
    'view.getUint32(0, true);',
    'function f({ on }: { on: boolean }) {}',
    'function f(value: string | boolean) {}',
    'class A { set on(value: boolean) {} }',
    'const is = (a: string): boolean => a === "";',
  ])('may hold %j', (text) => {
    expect(complaints(text)).toEqual([]);
  });

  it('has functions of at most 60 lines, unless a comment right above says why', () => {
    const body = (n: number) => `{\n${'f();\n'.repeat(n - 2)}}`;
    const long = [`${path}:1: function of 61 lines, at most 60`];
    expect(complaints(`function a() ${body(60)}`)).toEqual([]);
    expect(complaints(`function a() ${body(61)}`)).toEqual(long);
    expect(complaints(`export const a = () => ${body(61)};`)).toEqual(long);
    expect(complaints(`function a() {\n// b\n\n${'f();\n'.repeat(58)}}`)).toEqual([]);
    const why = '// Long because a call costs 3 ns a level here.\n';
    expect(complaints(`${why}export function a() ${body(61)}`)).toEqual([]);
    expect(complaints(`${why}/** Walks. */\nexport const a = () => ${body(61)};`)).toEqual([]);
    expect(complaints(`class A {\n${why}  a() ${body(61)}\n}`)).toEqual([]);
    expect(complaints(`${why}\n\nfunction a() ${body(61)}`)).toEqual([
      `${path}:4: function of 61 lines, at most 60`,
    ]);
    expect(complaints(`class A {\n${why}  b = 1;\n  a() ${body(61)}\n}`)).toHaveLength(1);
  });

  it.each([
    ['camelCase.ts', 'name is not kebab-case'],
    ['Upper.ts', 'name is not kebab-case'],
    ['a.test.ts', 'name is not kebab-case'],
    ['utils.ts', '"utils" says nothing'],
    ['common/page.ts', '"common" says nothing'],
    ['helper.lanes.ts', '"helper" says nothing'],
  ])('may not be named %s', (name, expected) => {
    expect(moduleComplaints(`packages/x/src/${name}`, '')).toEqual([
      `packages/x/src/${name}:1: ${expected}`,
    ]);
  });

  it.each(['page-table.ts', 'u64.ts', 'walk.lanes.ts', 'deep/cd-2.ts', 'cli-table.d.ts'])(
    'may be named %s',
    (name) => {
      expect(moduleComplaints(`packages/x/src/${name}`, "declare module 'x' {}")).toEqual([]);
    },
  );
});

describe('documentation', () => {
  it.each([
    ['export const a = 1;', ['a.ts:1: a has no TSDoc']],
    ['// a\nexport const a = 1;', ['a.ts:2: a has no TSDoc']],
    ['/** A. */\nexport const a = 1;', ['a.ts:2: a has no @example']],
    ['/** A. */\n\n\nexport const a = 1;', ['a.ts:4: a has no TSDoc']],
    ['/** A. @example a // 1 */\nexport const a = 1;', []],
    ['/** A. @example a // 1 */\nexport const { a, b } = c;', []],
    ['/** A. @example a() */\nfunction a() {}\nexport { a };', []],
    ['export const b = 1;', ['a.ts:1: declares no a']],
  ])('of the export in %j', (text, expected) => {
    expect(exportComplaints(parsed(text), 'a')).toEqual(expected);
  });

  it('follows names from an index to where they are declared', () => {
    const index = "export { a, type B as C } from './b.ts';\nexport { d } from 'elsewhere';";
    expect(reexports(parsed(index))).toEqual([
      { name: 'a', local: 'a', from: './b.ts' },
      { name: 'C', local: 'B', from: './b.ts' },
    ]);
  });

  it('of a contract says something of each member', () => {
    const text =
      '/** A. */\nexport interface A {\n  /** B. */\n  b(): void;\n  c: number;\n  d(): void;\n}';
    const members = contractComplaints(parsed(text.replace('c: number;\n', '')), 'A');
    expect(members).toEqual(['a.ts:5: A.d has no TSDoc']);
    expect(contractComplaints(parsed('export type A = () => void;'), 'A')).toEqual([
      'a.ts:1: A has no TSDoc',
    ]);
    expect(contractComplaints(parsed(''), 'A')).toEqual(['a.ts:1: declares no A']);
  });

  it('of lanes names the valid range', () => {
    const f = 'export function f(n: number): number {\n  return n;\n}';
    const none = ['a.ts:2: f names no valid range'];
    expect(rangeComplaints(parsed(`/** Low lane. */\n${f}`))).toEqual(none);
    expect(rangeComplaints(parsed(`/** Low lane. @example f(2 ** 31) // any */\n${f}`))).toEqual(
      none,
    );
    expect(rangeComplaints(parsed(`/** Valid for 0 <= n < 2^53. */\n${f}`))).toEqual([]);
  });

  it('gives worked values', () => {
    const text = '/**\n * Up.\n * @example up(3) // 4\n */\nexport function up(n: number) {}';
    expect(workedValues(parsed(text))).toEqual([{ code: 'up(3)', value: '4' }]);
    expect(workedValues(parsed('/** Up. */\nexport function up(n: number) {}'))).toEqual([]);
  });

  it('of a model file begins with what it leaves out', () => {
    expect(modelComplaints(parsed('const a = 1;\n// Not modelled: ECMDQ.'))).toHaveLength(1);
    expect(modelComplaints(parsed('/*\n * Queue.\n * Not modelled:\n */\nf();'))).toHaveLength(1);
    expect(modelComplaints(parsed('/*\n * Queue.\n * Not modelled: ECMDQ.\n */\nf();'))).toEqual(
      [],
    );
  });
});

describe('errors', () => {
  const text = [
    "class AError extends IommuError { constructor(o) { super('A_CODE', o, 'w', 'f'); } }",
    "class BError extends AError { constructor(code: 'B_ONE' | 'B_TWO') { super(code, {}, '', ''); } }",
    "class CError extends IommuError { constructor(code: CCode) { super(code, {}, '', ''); } }",
    "type CCode = 'C_ONE';",
    "class DError extends IommuError { constructor() { super('no code', {}, '', ''); } }",
    "class E extends Error { constructor() { super('NOT_OURS'); } }",
    "throw new IommuError(a ? 'E_ONE' : 'E_TWO', {}, '', '');",
    "const row = { code: 'F_ROW' };",
  ].join('\n');
  const module = parsed(text);
  const errors = errorClasses([module]);

  it('are known by their class, and their codes by where they are given', () => {
    expect([...errors]).toEqual(['IommuError', 'AError', 'BError', 'CError', 'DError']);
    const codes = ['A_CODE', 'B_ONE', 'B_TWO', 'C_ONE', 'E_ONE', 'E_TWO'];
    expect([...codesOf(module, errors).keys()].sort()).toEqual(codes);
    const rows = parsed(`${text}\nfor (const { code } of rows) throw new BError(code);`);
    expect([...codesOf(rows, errors).keys()].sort()).toEqual([...codes, 'F_ROW']);
  });

  it('carry a code', () => {
    expect(uncodedErrors(module, errors)).toEqual(['a.ts:5: DError has no code']);
  });

  it('stand in the first column of a table', () => {
    const readme =
      '# A\n`NO_1`\n## Errors\n| code | when |\n|---|---|\n| `A_1`, `A_2` | `NO_2` |\n## B\n| `NO_3` |';
    expect(listedCodes(readme)).toEqual(['A_1', 'A_2']);
    expect(listedCodes('# A')).toEqual([]);
  });
});

describe('tables', () => {
  it('pin the exports of a package', () => {
    const pin = "expect(Object.keys(await import('../src/index.ts'))).toEqual([]);";
    expect(pinsExports(parsed(pin))).toBe(true);
    expect(pinsExports(parsed(pin.replace('index', 'other')))).toBe(false);
  });

  const rows = (hi: number, lo = 0) => ({ A: { dw: 0, hi, lo, of: { 0: 'OFF', 1: 'ON' } } });
  it('of bits have no gap', () => {
    expect(rowGaps({ name: 'T', info: { dwords: 1 }, rows: rows(63) })).toEqual([]);
    expect(rowGaps({ name: 'T', info: { dwords: 1, width: 32 }, rows: rows(31) })).toEqual([]);
    expect(rowGaps({ name: 'T', info: { dwords: 2 }, rows: rows(62) })).toEqual([
      'T doubleword 0: 63 of 64 bits',
      'T doubleword 1: 0 of 64 bits',
    ]);
  });

  it('of enumerators have each name once, and no value that does not fit', () => {
    expect(enumFaults({ name: 'T', rows: rows(0) })).toEqual([]);
    const two = { A: { dw: 0, hi: 0, lo: 0, of: { 0: 'OFF', 2: 'ON' } } };
    expect(enumFaults({ name: 'T', rows: two })).toEqual(['T.A']);
    const same = { A: { dw: 0, hi: 0, lo: 0, of: { 0: 'OFF', 1: 'OFF' } } };
    expect(enumFaults({ name: 'T', rows: same })).toEqual(['T.A']);
  });
});

it('what belongs to one machine is seen', () => {
  const slash = '/';
  const bad = [
    `${slash}home/ann/x`,
    `see ${slash}root/.npmrc`,
    `"${slash}Users/ann"`,
    `https:${slash}/registry.example.org/a`,
    `https:${slash}/npm.mirror.example/`,
    `registry.${'npmjs'}.org`,
    `${slash}srv/checkout/tools`,
  ];
  expect(bad.map((line) => machineComplaints('a', line, '/srv/checkout').length)).toEqual(
    bad.map(() => 1),
  );
  const good = ['packages/work/a', 'drivers/home/b', 'http://127.0.0.1:9', './root/x', '/tmp/a'];
  expect(good.flatMap((line) => machineComplaints('a', line, '/srv/checkout'))).toEqual([]);
});
