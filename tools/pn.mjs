// Runs the pnpm that package.json pins; puts it into tools/.pnpm/ on first use.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const dir = join(root, 'tools', '.pnpm', packageManager);
// pnpm is a native program in a platform package, of which npm installs only the one that fits.
const platforms = join(dir, 'node_modules', '@pnpm');
const done = join(dir, 'done');

if (!existsSync(done)) {
  // By cwd, not --prefix: with --prefix npm looks for the machine's own npmrc (CA file, proxy) there.
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{ "private": true }\n');
  const flags = ['--ignore-scripts', '--no-save', '--no-package-lock', '--loglevel=error'];
  const install = (mode, stdio) =>
    spawnSync('npm', ['install', mode, ...flags, packageManager], { cwd: dir, stdio });
  // npm's cache first: without a network the other mode waits through minutes of retries.
  const cached = install('--offline', 'ignore');
  const npm = cached.status === 0 ? cached : install('--no-update-notifier', ['ignore', 2, 2]);
  if (npm.status !== 0) process.exit(npm.status ?? 1);
  writeFileSync(done, '');
}

const bin = join(platforms, readdirSync(platforms)[0]);
const env = {
  ...process.env,
  // turbo starts `pnpm` by name.
  PATH: `${bin}${delimiter}${process.env.PATH}`,
  DO_NOT_TRACK: '1',
  TURBO_TELEMETRY_DISABLED: '1',
};
const pnpm = (args, stdio) => spawnSync(join(bin, 'pnpm'), args, { stdio, env }).status ?? 1;
const args = process.argv.slice(2);
if (args[0] === 'exec') {
  // `exec` installs first when node_modules is stale, and says so on stdout, which belongs to the program:
  // so an empty program goes ahead of it, and what pnpm has to say goes to stderr.
  const status = pnpm(['exec', process.execPath, '--eval', ''], ['ignore', 2, 2]);
  if (status !== 0) process.exit(status);
  args.unshift('--config.verify-deps-before-run=false');
}
process.exit(pnpm(args, 'inherit'));
