// Runs every *.soak.test.ts, or those of the names given: what `npm test` has no time for.
// IOMMUKIT_SOAK is the number of calls of each soak of workers.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const names = process.argv.length > 2 ? process.argv.slice(2) : [''];
const files = names.map((name) => `${name}.soak.test.ts`);
const { status } = spawnSync('vitest', ['run', '--config', 'tools/vitest.config.ts', ...files], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  stdio: 'inherit',
  env: { IOMMUKIT_SOAK: '50000', ...process.env },
});
process.exit(status ?? 1);
