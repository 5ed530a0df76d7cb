// The README of every package: its parts, and its example, run as a user of the package would; type-checked with `npm run soak`.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageDirs } from '../layers.mjs';
import { readReadme } from '../readme-example.mjs';
import { root } from '../tree.mjs';

const packages = packageDirs().map((dir) => {
  const path = `${root}/packages/${dir}`;
  const { name } = JSON.parse(readFileSync(`${path}/package.json`, 'utf8')) as { name: string };
  return { dir, path, name };
});
// A README that is not there lacks every part.
const readmeOf = (path: string) =>
  existsSync(`${path}/README.md`) ? readFileSync(`${path}/README.md`, 'utf8') : '';

describe('a README', () => {
  const good = [
    '# @iommukit/bits',
    '| owns | does not own |',
    '|---|---|',
    '| a | b |',
    '```sh',
    'npm install @iommukit/bits',
    '```',
    '```ts',
    "import { a } from '@iommukit/bits';",
    "if (a !== 1) throw new Error('a');",
    '```',
  ].join('\n');
  const complaints = (name: string, text: string) => readReadme(name, text).complaints;

  it('needs its parts', () => {
    expect(complaints('@iommukit/bits', good)).toEqual([]);
    expect(complaints('@iommukit/bit', good)).toHaveLength(2);
    expect(complaints('@iommukit/bits', 'nothing')).toEqual([
      'no title',
      'no table "owns | does not own"',
      'no line "npm install @iommukit/bits"',
      '0 ```ts examples, must be one',
    ]);
    expect(complaints('@iommukit/bits', `${good}\n\`\`\`ts\n1;\n\`\`\``)).toEqual([
      '2 ```ts examples, must be one',
    ]);
    expect(complaints('@iommukit/bits', good.replace('throw new Error', 'console.log'))).toEqual([
      'the example asserts nothing',
    ]);
  });

  it('of the command may show a shell', () => {
    const text = '# iommukit\n| Owns | Does not own |\n```sh\nnpm install -g iommukit\n```\n';
    expect(complaints('iommukit', text)).toEqual([]);
  });
});

/** Runs examples one after the other, and says which failed and why: one process, as every start of tsx costs. */
const RUN_ALL = `
const failed = {};
for (const file of process.argv.slice(1))
  await import(file).catch((error) => { failed[file] = String(error?.stack ?? error); });
process.stdout.write('\\n' + JSON.stringify(failed));
`;
const work = mkdtempSync(join(tmpdir(), 'readme-'));
const exampleFile = (dir: string): string => join(work, `${dir}.ts`);
let failed: Readonly<Record<string, string>> = {};
let complaints = '';

beforeAll(() => {
  // The user's project, with all packages installed.
  writeFileSync(join(work, 'package.json'), '{ "type": "module" }');
  mkdirSync(join(work, 'node_modules', '@iommukit'), { recursive: true });
  const files: string[] = [];
  for (const { name, dir, path } of packages) {
    symlinkSync(path, join(work, 'node_modules', name));
    const { example } = readReadme(name, readmeOf(path));
    if (example === undefined) continue;
    writeFileSync(exampleFile(dir), example);
    files.push(exampleFile(dir));
  }
  const flags = ['--conditions=@iommukit/source', '--import=tsx', '--input-type=module'];
  const run = spawnSync(process.execPath, [...flags, '--eval', RUN_ALL, ...files], {
    // tsx is found from here.
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  complaints = run.status === 0 ? run.stderr : `exit ${run.status}: ${run.stderr}`;
  failed = JSON.parse(run.stdout.split('\n').at(-1) || '{}') as Record<string, string>;
}, 120_000);
afterAll(() => rmSync(work, { recursive: true, force: true }));

it('shows examples that run without a word on stderr', () => {
  expect(complaints).toBe('');
});

describe.each(packages.map((p) => [p.dir, p] as const))(
  'packages/%s/README.md',
  (_, { name, dir, path }) => {
    it('is complete', () => {
      expect(readReadme(name, readmeOf(path)).complaints).toEqual([]);
    });

    it('has an example that runs', () => {
      if (!existsSync(exampleFile(dir))) expect(name, 'no single ```ts example').toBe('iommukit');
      expect(failed[exampleFile(dir)]).toBeUndefined();
    });
  },
);

if (process.env['IOMMUKIT_SOAK'] !== undefined)
  it('shows examples that pass the type checker', { timeout: 120_000 }, () => {
    const compilerOptions = {
      noEmit: true,
      composite: false,
      incremental: false,
      declaration: false,
      declarationMap: false,
      isolatedDeclarations: false,
      types: ['node'],
      typeRoots: [`${root}/node_modules/@types`],
      paths: Object.fromEntries(packages.map(({ name, path }) => [name, [`${path}/src/index.ts`]])),
    };
    const config = {
      extends: `${root}/packages/tsconfig.base.json`,
      compilerOptions,
      include: ['*.ts'],
    };
    writeFileSync(join(work, 'tsconfig.json'), JSON.stringify(config));
    const run = spawnSync(
      process.execPath,
      [`${root}/node_modules/typescript/bin/tsc`, '-p', work],
      {
        encoding: 'utf8',
        cwd: root,
      },
    );
    expect(run.stdout).toBe('');
    expect(run.status).toBe(0);
  });
