import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { codeLines, MAX_CODE_LINES, machineComplaints, moduleComplaints } from '../code-style.mjs';
import { packageDirs } from '../layers.mjs';
import { root, trackedFiles } from '../tree.mjs';

const files = trackedFiles();
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const ofSrc = files.filter((path) => /^packages\/[^/]+\/src\//.test(path));

describe('the rules', () => {
  it('count code only', () => {
    const text = '/* a\n b */\n\nconst a = 1; // c\n  // d\nconst e = `\n// f\n`;\n';
    expect(codeLines('a.ts', text)).toBe(4);
    const long = (n: number) => `// about\n${'f();\n'.repeat(n)}`;
    expect(moduleComplaints('packages/x/src/a.ts', long(MAX_CODE_LINES))).toEqual([]);
    expect(moduleComplaints('packages/x/src/a.ts', long(MAX_CODE_LINES + 1))).toEqual([
      'packages/x/src/a.ts:1: 501 lines of code, at most 500',
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
  ])('see %j', (text, expected) => {
    expect(moduleComplaints('packages/x/src/a.ts', text)).toEqual([
      `packages/x/src/a.ts:${expected}`,
    ]);
  });

  it.each([
    ['camelCase.ts', 'name is not kebab-case'],
    ['Upper.ts', 'name is not kebab-case'],
    ['a.test.ts', 'name is not kebab-case'],
    ['utils.ts', '"utils" says nothing'],
    ['common/page.ts', '"common" says nothing'],
    ['helper.lanes.ts', '"helper" says nothing'],
  ])('reject the name %s', (name, expected) => {
    expect(moduleComplaints(`packages/x/src/${name}`, '')).toEqual([
      `packages/x/src/${name}:1: ${expected}`,
    ]);
  });

  it.each(['page-table.ts', 'u64.ts', 'walk.lanes.ts', 'deep/cd-2.ts', 'cli-table.d.ts'])(
    'accept %s',
    (name) => {
      expect(moduleComplaints(`packages/x/src/${name}`, "declare module 'x' {}")).toEqual([]);
    },
  );

  it('know what belongs to one machine', () => {
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
});

describe('the tree', () => {
  it('has every package in its shape', () => {
    const parts = ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'tsconfig.json'];
    const missing = packageDirs().flatMap((dir) => {
      const own = files.filter((path) => path.startsWith(`packages/${dir}/`));
      const has = (part: string) =>
        own.some(
          (path) =>
            path === `packages/${dir}/${part}` || path.startsWith(`packages/${dir}/${part}/`),
        );
      return [...parts, 'src/index.ts', 'test', 'bench']
        .filter((part) => !has(part))
        .map((part) => `packages/${dir}/${part}`);
    });
    expect(missing).toEqual([]);
  });

  it('keeps src/ to TypeScript modules of one noun each', () => {
    expect(ofSrc.length).toBeGreaterThan(0);
    expect(ofSrc.flatMap((path) => moduleComplaints(path, read(path)))).toEqual([]);
  });

  it('holds no registry host and no path of a machine', () => {
    const texts = files.filter((path) => !/(?:^|\/)(?:data|fixtures)\/|\.gz$/.test(path));
    expect(texts).toContain('pnpm-lock.yaml');
    expect(texts.flatMap((path) => machineComplaints(path, read(path), root))).toEqual([]);
  });
});
