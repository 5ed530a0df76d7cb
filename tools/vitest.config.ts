import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defaultServerConditions } from 'vite';
import { configDefaults, defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));
const dirs = [
  'tools',
  ...readdirSync(`${root}packages`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => `packages/${entry.name}`),
];
const conditions = ['@iommukit/source', ...defaultServerConditions];
// Given by tools/soak.mjs.
const soak = process.argv.some((argument) => argument.endsWith('.soak.test.ts'));
const inDir = (dir: string): string => `${dir}/test/**/*.test.ts`;

export default defineConfig({
  root,
  ssr: { resolve: { conditions } },
  resolve: { conditions },
  test: {
    pool: 'forks',
    // No test leaves anything in a module: so each process loads and compiles the sources once, not once a file.
    isolate: false,
    setupFiles: `${root}tools/flat-equality.ts`,
    execArgv: [
      // A young generation that holds what a test of many machines makes: fewer collections.
      '--max-semi-space-size=64',
      // The other processors run tests: helpers of a collection and code for a function of one file only take time from them.
      '--single-threaded-gc',
      '--interrupt-budget=600000',
    ],
    // A machine that runs other things too is no reason to fail.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: process.env['CI'] ? 2 : '75%',
    exclude: [...configDefaults.exclude, ...(soak ? [] : ['**/*.soak.test.ts'])],
    // Each project transforms every source for itself, so there are projects only for who asks for one by name.
    ...(process.argv.some((argument) => argument.startsWith('--project'))
      ? {
          projects: dirs.map((dir) => ({
            extends: true,
            test: { name: dir.replace('packages/', ''), include: [inDir(dir)] },
          })),
        }
      : { include: dirs.map(inDir) }),
  },
});
