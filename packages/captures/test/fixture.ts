import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError, type InputOperands } from '../src/index.ts';

export function fixture(name: string): string {
  return fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
}

/** A file of its own in a fresh directory. */
export function tempFile(name: string, content: string | Uint8Array): string {
  const path = join(mkdtempSync(join(tmpdir(), 'iommukit-captures-')), name);
  writeFileSync(path, content);
  return path;
}

export function beside(path: string, name: string, content: string | Uint8Array): void {
  writeFileSync(join(dirname(path), name), content);
}

/** The operands of the InputError that `run` throws. */
export function inputErrorOf(run: () => unknown): InputOperands {
  try {
    run();
  } catch (error) {
    if (error instanceof InputError) return error.operands;
    throw error;
  }
  throw new Error('nothing was thrown');
}
