// Publishes every package with changesets to a registry on 127.0.0.1 and installs the command from there by name.
// Nothing here can reach a real registry: own HOME and npmrc, a clean environment, a dead proxy for all but 127.0.0.1.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startRegistry } from './registry.mjs';
import { packThirdParty } from './third-party.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'publish-'));
const registry = await startRegistry();
const rc = join(work, '.npmrc');
writeFileSync(rc, `registry=${registry.url}/\n//${registry.url.slice(7)}/:_authToken=loopback\n`);

// `npm run` exports npm_config_* in lower case and pnpm prefers those: drop all of them, set ours in both cases.
const inherited = Object.entries(process.env).filter(([key]) => !/^p?npm_/i.test(key));
const dead = 'http://127.0.0.1:9';
const publish = {
  ...Object.fromEntries(inherited),
  CI: 'true',
  HOME: work,
  npm_config_userconfig: rc,
  NPM_CONFIG_USERCONFIG: rc,
  npm_config_registry: `${registry.url}/`,
  pnpm_config_registry: `${registry.url}/`,
  HTTP_PROXY: dead,
  http_proxy: dead,
  HTTPS_PROXY: dead,
  https_proxy: dead,
  NO_PROXY: '127.0.0.1',
  no_proxy: '127.0.0.1',
};

/** What a command says on stdout. */
async function sh(cmd, args, cwd, env) {
  const child = spawn(cmd, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'])
    child[name].setEncoding('utf8').on('data', (text) => {
      said[name] += text;
    });
  const [code] = await once(child, 'close');
  if (code !== 0)
    throw new Error(`${cmd} ${args.join(' ')}: exit ${code}\n${said.stdout}${said.stderr}`);
  return said.stdout;
}

try {
  await sh('turbo', ['run', 'build', '--output-logs=errors-only'], root, process.env);
  for (const tool of ['npm', 'pnpm']) {
    const target = (await sh(tool, ['config', 'get', 'registry'], root, publish)).trim();
    if (target !== `${registry.url}/`) throw new Error(`${tool} would publish to ${target}`);
  }
  await sh('changeset', ['publish', '--no-git-tag'], root, publish);
  const published = [...registry.packages.values()];
  for (const one of packThirdParty(work)) registry.add(one);
  writeFileSync(join(work, 'package.json'), '{ "private": true }\n');
  const flags = ['--no-audit', '--no-fund', '--loglevel=error'];
  await sh('npm', ['install', ...flags, 'iommukit'], work, publish);
  const command = join(work, 'node_modules/.bin/iommukit');
  const help = await sh(command, ['--help'], work, publish);
  if (!help.includes('replay')) throw new Error(`iommukit --help:\n${help}`);
  const args = ['replay', 'linux-6.12-strict-up', '--json'];
  const { ok } = JSON.parse(await sh(command, args, work, publish));
  if (ok !== true) throw new Error(`iommukit ${args.join(' ')}: ok is ${ok}`);
  const list = published.map((p) => `${p.name}@${p['dist-tags'].latest}`);
  console.log(`published ${list.join(' ')}; installed by name, replay ok`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  registry.close();
  rmSync(work, { recursive: true, force: true });
}
