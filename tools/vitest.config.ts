import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));
const packages = readdirSync(`${root}packages`, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);
const conditions = ['@iommukit/source', ...defaultServerConditions];

export default defineConfig({
  root,
  ssr: { resolve: { conditions } },
  resolve: { conditions },
  test: {
    pool: 'forks',
    // A machine that runs other things too is no reason to fail.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: process.env['CI'] ? 2 : '75%',
    projects: ['tools', ...packages.map((name) => `packages/${name}`)].map((dir) => ({
      extends: true,
      test: { name: dir.replace('packages/', ''), include: [`${dir}/test/**/*.test.ts`] },
    })),
  },
});
