import { InputError } from '@iommukit/captures';

/** Does what opens or writes a file; where that fails, the file is the input that cannot be used. */
export function writing<T>(file: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new InputError({ file, expected: `a file to write to (${reason})` });
  }
}
