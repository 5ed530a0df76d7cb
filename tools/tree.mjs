// What belongs to the workspace: its tracked files.
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The workspace's root, without a slash at the end. */
export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '');

/**
 * Tracked and not yet tracked files, from the root; ignored ones left out.
 * @returns {string[]}
 */
export function trackedFiles() {
  try {
    const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
    const list = execFileSync('git', args, {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return [...new Set(list.split('\0'))].filter((path) => path !== '' && isFile(path)).sort();
  } catch {
    // No git here, or no repository: what an unpacked archive holds.
    return walk('').sort();
  }
}

const isFile = (path) => statSync(`${root}/${path}`, { throwIfNoEntry: false })?.isFile() ?? false;

/** @returns {string[]} */
function walk(dir) {
  return readdirSync(`${root}/${dir}`, { withFileTypes: true }).flatMap((entry) => {
    const path = dir === '' ? entry.name : `${dir}/${entry.name}`;
    if (entry.isDirectory())
      return /^(?:node_modules|dist|\.git|\.turbo|\.pnpm)$/.test(entry.name) ? [] : walk(path);
    return entry.name.endsWith('.tgz') ? [] : [path];
  });
}
