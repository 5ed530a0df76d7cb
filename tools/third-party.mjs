// The third-party packages that ours need at run time, packed again from where the workspace installed them:
// with these in a registry on 127.0.0.1 our packages can be installed without a network.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageDirs } from './layers.mjs';
import { root } from './tree.mjs';

const manifestOf = (dir) => JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));

/** Folders of all of them, each once, also those that they need themselves. */
export function thirdPartyDirs() {
  const own = packageDirs().map((dir) => join(root, 'packages', dir));
  const names = new Set(own.map((dir) => manifestOf(dir).name));
  const found = new Map();
  const add = (name, folder, optional) => {
    let dir;
    try {
      dir = realpathSync(join(folder, name));
    } catch {
      if (optional) return;
      throw new Error(`${name} is not installed in ${folder}`);
    }
    if (found.has(dir)) return;
    found.set(dir, name);
    // pnpm puts what a package needs beside it.
    const beside = name.startsWith('@') ? dirname(dirname(dir)) : dirname(dir);
    addAll(manifestOf(dir), beside);
  };
  const addAll = ({ dependencies = {}, optionalDependencies = {} }, folder) => {
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies }))
      if (!names.has(name)) add(name, folder, name in optionalDependencies);
  };
  for (const dir of own) addAll(manifestOf(dir), join(dir, 'node_modules'));
  return [...found.keys()];
}

/**
 * Packs them into `folder`; the manifest and the tarball's content of each. By `tar`, since `npm pack` (11.19) gives up on a package of a
 * thousand files. Copied first: pnpm links files of the same content, and an installer leaves links out.
 */
export function packThirdParty(folder) {
  return thirdPartyDirs().map((dir, i) => {
    const copy = join(folder, `third-party-${i}`);
    cpSync(dir, join(copy, 'package'), { recursive: true });
    execFileSync('tar', ['-czf', 'package.tgz', 'package'], { cwd: copy });
    const tarball = readFileSync(join(copy, 'package.tgz'));
    rmSync(copy, { recursive: true });
    return { manifest: manifestOf(dir), tarball };
  });
}
