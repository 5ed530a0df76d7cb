// Builds and packs every package, installs the tarballs with npm in an empty folder, and uses them there:
// plain node imports, the command, a strict type check of the .d.ts files, and a browser bundle of the pure layers.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { LAYERS, packageDirs } from './layers.mjs';
import { startRegistry } from './registry.mjs';
import { packThirdParty } from './third-party.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'pack-'));
function sh(cmd, args, cwd = work) {
  try {
    return execFileSync(cmd, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 2] });
  } catch (error) {
    throw new Error(`${cmd} ${args.join(' ')}: exit ${error.status}\n${error.stdout}`);
  }
}
/** What the tarballs need from third parties comes from a registry here: no network, and nothing but what is declared. */
async function install(tarballs) {
  const registry = await startRegistry();
  try {
    const packed = join(work, 'third-party');
    mkdirSync(packed);
    for (const one of packThirdParty(packed)) registry.add(one);
    const flags = ['--no-audit', '--no-fund', '--loglevel=error', `--registry=${registry.url}/`];
    const env = { ...process.env, NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1' };
    const npm = spawn('npm', ['install', ...flags, ...tarballs], {
      cwd: work,
      stdio: ['ignore', 2, 2],
      env,
    });
    const [status] = await once(npm, 'close');
    if (status !== 0) throw new Error(`npm install of the tarballs: exit ${status}`);
  } finally {
    registry.close();
  }
}
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
const problems = [];
// Captures are the bulk of what is published: only the one that `npm start` replays goes along.
const MAX_TARBALL_BYTES = 3_000_000;

try {
  sh('turbo', ['run', 'build', '--output-logs=errors-only'], root);
  const names = [];
  for (const dir of packageDirs()) {
    const cwd = join(root, 'packages', dir);
    const { name, version } = json(join(cwd, 'package.json'));
    names.push(name);
    sh('pnpm', ['pack', '--pack-destination', work], cwd);
    const tarball = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
    const bytes = readFileSync(join(work, tarball));
    if (bytes.length >= MAX_TARBALL_BYTES)
      problems.push(`${name}: ${bytes.length} bytes packed, must be below ${MAX_TARBALL_BYTES}`);
    const { messages, pkg } = await publint({
      strict: true,
      pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) },
    });
    for (const m of messages) problems.push(`${name}: ${formatMessage(m, pkg)}`);
  }

  writeFileSync(join(work, 'package.json'), '{ "private": true, "type": "module" }\n');
  const tarballs = readdirSync(work)
    .filter((f) => f.endsWith('.tgz'))
    .map((f) => `./${f}`);
  await install(tarballs);
  for (const name of names) {
    const pkg = json(join(work, 'node_modules', name, 'package.json'));
    if (JSON.stringify(pkg).includes('workspace:'))
      problems.push(`${name}: a workspace: range was published`);
    if (JSON.stringify(pkg.exports).includes('@iommukit/source'))
      problems.push(`${name}: the source condition was published`);
    sh(process.execPath, [
      '--input-type=module',
      '-e',
      `const m = await import('${name}'); if (Object.keys(m).length === 0) throw new Error('empty')`,
    ]);
  }
  const command = join(work, 'node_modules/.bin/iommukit');
  if (!sh(command, ['--help']).includes('replay')) problems.push('iommukit --help: no replay');
  const replay = JSON.parse(sh(command, ['replay', 'linux-6.12-strict-up', '--json']));
  if (replay.ok !== true) problems.push(`iommukit replay: ok is ${replay.ok}`);
  console.log(`packed: ${names.length} packages; replay ${JSON.stringify(replay.summary)}`);

  writeFileSync(
    join(work, 'use.ts'),
    names
      .map((n, i) => `import * as m${i} from '${n}';\nexport const k${i}: object = m${i};\n`)
      .join(''),
  );
  const strict = {
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    target: 'es2022',
    lib: ['es2023'],
    types: [],
    module: 'nodenext',
  };
  writeFileSync(
    join(work, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: strict, include: ['use.ts'] }),
  );
  sh('tsc', ['-p', work], root);

  const pure = names.filter((n) => LAYERS[n].pure);
  const bundle = await build({
    stdin: {
      contents: pure.map((n, i) => `export * as m${i} from '${n}';`).join('\n'),
      resolveDir: work,
    },
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'kit',
    write: false,
    metafile: true,
    logLevel: 'error',
  });
  // A context without process, Buffer, require or timers: only what the language itself has.
  const kit = runInContext(`${bundle.outputFiles[0].text}; kit`, createContext({}));
  console.log(
    `browser bundle: ${Object.keys(kit).length} packages, ${bundle.outputFiles[0].contents.length} bytes`,
  );
} catch (error) {
  problems.push(error.message);
} finally {
  rmSync(work, { recursive: true, force: true });
}
for (const p of problems) console.error(p);
process.exit(problems.length > 0 ? 1 : 0);
