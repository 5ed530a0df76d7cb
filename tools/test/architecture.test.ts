// ARCHITECTURE.md and README.md name files and functions: each of them is there.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LAYERS, packageDirs } from '../layers.mjs';
import { parseModule } from '../parsed-module.mjs';
import { root } from '../tree.mjs';
import { goalsOf, hasSymbol, hopsOf, pathsIn, tableRows } from '../walk-table.mjs';

const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const isThere = (path: string) => existsSync(`${root}/${path}`);
const architecture = read('ARCHITECTURE.md');

/** What of a text is not there: its paths, and the symbols of its hops and goals. */
const missing = (markdown: string) => [
  ...pathsIn(markdown)
    .filter(({ path }) => !isThere(path))
    .map(({ line, path }) => `${line}: no ${path}`),
  ...[...hopsOf(markdown), ...goalsOf(markdown)].flatMap(({ line, paths, symbol }) => {
    const gone = paths.filter((path) => !isThere(path));
    if (gone.length > 0) return [`${line}: no ${gone}`];
    if (symbol === undefined) return [];
    const found = paths.some(
      (path) => path.endsWith('.ts') && hasSymbol(parseModule(path, read(path)), symbol),
    );
    return found ? [] : [`${line}: no ${symbol} in ${paths}`];
  }),
];

describe.each(['ARCHITECTURE.md', 'README.md'])('%s', (file) => {
  it('names only files and functions that are there', () => {
    expect(missing(read(file))).toEqual([]);
  });

  it('has a row for every package', () => {
    const rows = tableRows(read(file)).filter((row) => 'package' in row && 'owns' in row);
    const named = rows.map((row) =>
      /`([^`]+)`/.exec(row['package'] ?? '')?.[1]?.replace('@iommukit/', ''),
    );
    const names = Object.keys(LAYERS).map((name) => name.replace('@iommukit/', ''));
    expect([...new Set(named.map((name) => (name === 'cli' ? 'iommukit' : name)))]).toEqual(names);
    expect(names).toHaveLength(packageDirs().length);
  });
});

it('the table of packages says what the import check allows', () => {
  const names = Object.keys(LAYERS);
  const said = tableRows(architecture).flatMap((row) => {
    const may = row['may import'];
    const name = /`([^`]+)`/.exec(row['package'] ?? '')?.[1];
    if (may === undefined || name === undefined) return [];
    const listed = [...may.matchAll(/`([^`]+)`/g)].map((match) => `@iommukit/${match[1]}`);
    const full = name === 'cli' ? 'iommukit' : `@iommukit/${name}`;
    // Vectors are for tests; the table leaves them out.
    const above = names.slice(1, names.indexOf(full));
    return [[full, may === 'all above' ? above : listed] as const];
  });
  const allowed = Object.entries(LAYERS).map(([name, { may }]) => [name, may]);
  expect(said).toEqual(allowed);
});

it('the three walks stand as data', () => {
  const walks = architecture.split(/^### /m).filter((part) => hopsOf(part).length > 0);
  expect(walks).toHaveLength(3);
  for (const walk of walks)
    expect(
      tableRows(walk).map((row) => row['hop']),
      walk.split('\n')[0],
    ).toEqual(tableRows(walk).map((_, i) => `${i + 1}`));
});

describe('a name that is not there', () => {
  const table = (name: string, file: string, symbol: string) =>
    `| hop | package | file | symbol | carries |\n|---|---|---|---|---|\n| 1 | \`${name}\` | \`${file}\` | \`${symbol}\` | a |`;
  const align = 'src/align.ts';
  it.each([
    ['in backticks', 'see `packages/bits/src/none.ts`', ['1: no packages/bits/src/none.ts']],
    ['in a link', '[a](packages/none/README.md)', ['1: no packages/none/README.md']],
    ['as a package', table('none', align, 'alignUp'), ['3: no packages/none/src/align.ts']],
    ['as a file', table('bits', 'src/none.ts', 'f'), ['3: no packages/bits/src/none.ts']],
    [
      'as a function',
      table('bits', align, 'alignDow'),
      ['3: no alignDow in packages/bits/src/align.ts'],
    ],
    [
      'as a method',
      table('platform', 'src/platform.ts', 'SimPlatform.poll'),
      ['3: no SimPlatform.poll in packages/platform/src/platform.ts'],
    ],
    [
      'as a private method',
      table('platform', 'src/platform.ts', 'SimPlatform.#poll'),
      ['3: no SimPlatform.#poll in packages/platform/src/platform.ts'],
    ],
    [
      'of a goal',
      '| goal | file | symbol |\n|---|---|---|\n| a | `packages/bits/src/u64.ts`, `align.ts` | `alignUp`, `alignIn` |',
      ['3: no alignIn in packages/bits/src/u64.ts,packages/bits/src/align.ts'],
    ],
    [
      'as a neighbour',
      '| goal | file | symbol |\n|---|---|---|\n| a | `packages/bits/src/u64.ts`, `none.ts` | |',
      ['3: no packages/bits/src/none.ts'],
    ],
    // A call or a mention is no declaration.
    [
      'that is only used',
      table('bits', 'src/u64.ts', 'BigInt'),
      ['3: no BigInt in packages/bits/src/u64.ts'],
    ],
  ])('is seen %s', (_, markdown, expected) => {
    expect(missing(markdown)).toEqual(expected);
  });

  it.each([
    table('bits', align, 'alignUp'),
    table('platform', 'src/platform.ts', 'SimPlatform.pollUntil'),
    table('platform', 'src/platform.ts', 'SimPlatform.#devices'),
    table('io-pgtable', 'src/flush-ops.ts', 'FlushOps.tlbAddPage'),
    table('arm-arch', 'src/commands.ts', 'OPCODE.SYNC'),
    '[a](https://example.org/none) `npm test` `packages/*/src`',
  ])('is none in %j', (markdown) => {
    expect(missing(markdown)).toEqual([]);
  });
});
