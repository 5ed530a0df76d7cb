import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { IommuError } from '@iommukit/bits';
import type { Judgement, MutationJob } from './mutation-job.ts';

/** The workspace that this module is a source of; of an installed package, a folder without the tools. */
const ROOT = resolve(fileURLToPath(new URL('../..', import.meta.url)), '../..');
const LOADER = 'tools/mutation-loader.mjs';
const JUDGE = 'tools/mutation-judge.ts';
/** A defect may have a program go round for ever. */
const PATIENCE_MS = 120_000;

/** Throws {@link CloneNeeded} where the tools of a clone are not: in an installed package. */
export function mustBeClone(root: string = ROOT): void {
  for (const tool of [LOADER, JUDGE])
    if (!existsSync(join(root, tool))) throw new CloneNeeded({ path: join(root, tool) });
}

/** Runs a job in a process of its own. What goes wrong with that is a problem of the judgement. */
export function runJob(job: MutationJob): Promise<Judgement> {
  const imports = [`--import=${pathToFileURL(join(ROOT, LOADER)).href}`, '--import=tsx'];
  const args = [
    '--conditions=@iommukit/source',
    ...imports,
    join(ROOT, JUDGE),
    JSON.stringify(job),
  ];
  return new Promise((settle) => {
    let [out, err] = ['', ''];
    const child = spawn(process.execPath, args, { cwd: ROOT, timeout: PATIENCE_MS });
    child.stdout.on('data', (text: Buffer) => {
      out += text.toString();
    });
    child.stderr.on('data', (text: Buffer) => {
      err += text.toString();
    });
    child.on('error', (error) => settle(broken(String(error))));
    child.on('close', (code, signal) => {
      if (code === 0) settle(JSON.parse(out) as Judgement);
      else settle(broken(`exit ${code ?? signal}: ${reasonOf(err)}`));
    });
  });
}

function broken(problem: string): Judgement {
  return { cases: 0, noticed: [], problems: [problem] };
}

/** The line of what Node prints that says what was thrown. */
function reasonOf(text: string): string {
  return text.split('\n').find((line) => /^\w*Error\b/.test(line)) ?? text.slice(0, 300);
}

/**
 * Mutations change sources, which an installed package does not run from; code `CLONE_NEEDED`.
 * @example try { await runMutations([]); } catch (e) { (e as CloneNeeded).operands.path; }
 */
export class CloneNeeded extends IommuError<{ path: string }> {
  override readonly name = 'CloneNeeded';
  constructor(operands: { path: string }) {
    super(
      'CLONE_NEEDED',
      operands,
      'mutations run from a clone of the repository only: they replace texts of its sources',
      'Clone the repository and run `npm run iommukit -- scenarios mutate` there',
    );
  }
}
