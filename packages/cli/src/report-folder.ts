import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { InputError } from '@iommukit/captures';

/** Makes the folder of a report where it is not there, and sees that files can be made in it; before anything is run. */
export function openReportFolder(dir: string): void {
  attempt(dir, () => {
    makeFolder(dir);
    rmdirSync(mkdtempSync(join(dir, '.report-')));
  });
}

/** Writes the files of a report; a reader finds the old one or the new one of each, never a part. */
export function writeReport(dir: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(dir, name);
    const partial = `${path}.${process.pid}.partial`;
    attempt(dir, () => {
      try {
        writeFileSync(partial, text);
        renameSync(partial, path);
      } finally {
        rmSync(partial, { force: true });
      }
    });
  }
}

/** Step by step: the recursive way of Node never ends below a file system that refuses with ENOENT, such as /proc. */
function makeFolder(dir: string): void {
  if (existsSync(dir)) return;
  const parent = dirname(dir);
  if (parent !== dir) makeFolder(parent);
  mkdirSync(dir);
}

function attempt(dir: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new InputError({ file: dir, expected: `a folder to write the report to (${reason})` });
  }
}
