// Clones HEAD as a newcomer would, with an empty HOME and nothing built, and runs the README's commands there.
// The package caches of this machine are lent to it, so that the check works without a network too.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { root, trackedFiles } from './tree.mjs';

const CAPTURE = 'linux-6.12-strict-up';

const work = realpathSync(mkdtempSync(join(tmpdir(), 'fresh-')));
const clone = join(work, 'clone');
const home = join(work, 'home');
const said = (cmd, args) =>
  execFileSync(cmd, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
const git = (args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' });

const inherited = Object.entries(process.env).filter(
  ([key]) => !/^(?:p?npm_|CI$|INIT_CWD$)/i.test(key),
);
const env = {
  ...Object.fromEntries(inherited),
  HOME: home,
  // Without what `npm run` and tools/pn.mjs put in front: a newcomer has Node and npm.
  PATH: (process.env.PATH ?? '')
    .split(delimiter)
    .filter((dir) => !/node_modules|[/\\]\.pnpm[/\\]/.test(dir))
    .join(delimiter),
  npm_config_cache: said('npm', ['config', 'get', 'cache']),
  pnpm_config_store_dir: dirname(said('pnpm', ['store', 'path'])),
  // pnpm's own default; it has no command that tells.
  pnpm_config_cache_dir: join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'pnpm'),
};
const dead = 'http://127.0.0.1:9';
const offline = {
  ...env,
  npm_config_registry: dead,
  pnpm_config_registry: dead,
  HTTP_PROXY: dead,
  HTTPS_PROXY: dead,
  http_proxy: dead,
  https_proxy: dead,
};

function run(what, args, environment) {
  const start = process.hrtime.bigint();
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd: clone,
    env: environment,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const seconds = (Number(process.hrtime.bigint() - start) / 1e9).toFixed(1);
  console.log(`${what}: exit ${status} in ${seconds} s`);
  if (status !== 0) throw new Error(`${what}: exit ${status}\n${tail(stdout)}\n${tail(stderr)}`);
  return stdout;
}

const tail = (text) => text.split('\n').slice(-30).join('\n');

try {
  mkdirSync(home);
  if (git(['rev-parse', '--verify', '--quiet', 'HEAD']).status === 0) {
    const cloned = git(['clone', '--quiet', '--no-hardlinks', root, clone]);
    if (cloned.status !== 0) throw new Error(`git clone: ${cloned.stderr}`);
    const changed = git(['status', '--porcelain']).stdout.trim();
    if (changed !== '')
      console.error('fresh: the working tree has changes; HEAD is what is checked');
  } else {
    console.error('fresh: no commit yet; a copy of the files is what is checked');
    for (const path of trackedFiles()) cpSync(join(root, path), join(clone, path));
  }

  const table = run('npm start, first use', ['start'], env);
  const text = run(
    'npm run -s iommukit, no network',
    ['run', '-s', 'iommukit', '--', 'replay', CAPTURE, '--json'],
    offline,
  );
  let result;
  try {
    result = JSON.parse(text);
  } catch {
    throw new Error(`stdout is not one JSON object:\n${tail(text)}`);
  }
  if (result === null || typeof result !== 'object' || Array.isArray(result))
    throw new Error('stdout is JSON, but no object');
  if (result.ok !== true) throw new Error(`ok is ${result.ok}:\n${tail(text)}`);

  const { checks } = result;
  const names = Array.isArray(checks) ? checks.map((c) => c.name ?? c) : Object.keys(checks ?? {});
  if (names.length === 0) throw new Error('the result names no checks');
  const absent = names.filter((name) => !table.includes(name));
  if (absent.length > 0)
    throw new Error(`npm start printed no line for ${absent.join(', ')}:\n${tail(table)}`);

  const again = run('npm start, again, no network', ['start'], offline);
  if (!names.every((name) => again.includes(name))) throw new Error('npm start differs offline');
  console.log(`fresh clone: ${names.length} checks in the table, all ok`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
