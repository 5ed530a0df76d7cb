import { createReadStream, readFileSync } from 'node:fs';
import { createGunzip, gunzipSync } from 'node:zlib';
import { InputError } from './input-error.ts';

// V8 holds no string of 2^29 - 24 characters or more; Node's own limit is in node:buffer.
const LONGEST_STRING = 2 ** 29 - 25;

function reason(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error) return String(error.code);
  return error instanceof Error ? error.message : String(error);
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * The bytes of a file; throws {@link InputError} when it cannot be read.
 * @example readBytes('DUMP-IDLE.snap.bin').length
 */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new InputError({ file: path, expected: `a readable file (${reason(error)})` });
  }
}

/**
 * The text of a file, unpacked when it starts with the gzip magic (RFC 1952 section 2.3.1).
 * Throws {@link InputError} when the file is absent, when the gzip data is cut or damaged, or when the text does not
 * fit one string (use {@link openText} then).
 * @example readText('guest/trace.txt.gz').slice(0, 15) // '# tracer: nop\n#'
 */
export function readText(path: string): string {
  let bytes = readBytes(path);
  if (isGzip(bytes)) {
    try {
      bytes = gunzipSync(bytes);
    } catch (error) {
      throw new InputError({ file: path, expected: `complete gzip data (${reason(error)})` });
    }
  }
  if (bytes.length > LONGEST_STRING)
    throw new InputError({
      file: path,
      expected: `at most ${String(LONGEST_STRING)} bytes of text; read it as a stream`,
    });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/**
 * The same as {@link readText} in chunks, for files of any size; the same {@link InputError}s, at the chunk where they show.
 * @example for await (const chunk of openText('trace.txt.gz')) chunk.length;
 */
export async function* openText(path: string): AsyncGenerator<Uint8Array> {
  let unpacking = false;
  try {
    const head = createReadStream(path, { end: 1 });
    for await (const chunk of head as AsyncIterable<Uint8Array>) unpacking = isGzip(chunk);
    const file = createReadStream(path);
    if (!unpacking) {
      yield* file as AsyncIterable<Uint8Array>;
      return;
    }
    const gunzip = createGunzip();
    // pipe() does not forward errors, and a reader that stops early must release the file.
    file.on('error', (error) => gunzip.destroy(error));
    gunzip.on('close', () => file.destroy());
    yield* file.pipe(gunzip) as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError({
      file: path,
      expected: `${unpacking ? 'complete gzip data' : 'a readable file'} (${reason(error)})`,
    });
  }
}
