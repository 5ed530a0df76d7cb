// Set up before each test file: long arrays of numbers are compared in one loop, and only those that differ element by element, for the message.
import { expect } from 'vitest';

type Flat = ArrayLike<unknown>;

function isFlat(value: unknown): value is Flat {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** `true` for arrays of one kind with the same numbers; else the question stays open. */
export function sameNumbers(a: unknown, b: unknown): true | undefined {
  if (!isFlat(a) || !isFlat(b) || a.length !== b.length || a.length === 0) return undefined;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return undefined;
  for (let i = 0; i < a.length; i++)
    if (typeof a[i] !== 'number' || !Object.is(a[i], b[i])) return undefined;
  return true;
}

const INSTALLED = Symbol.for('iommukit.flat-equality');
const shared: typeof globalThis & { [INSTALLED]?: true } = globalThis;
// A worker keeps `expect` from file to file.
if (shared[INSTALLED] === undefined) {
  shared[INSTALLED] = true;
  expect.addEqualityTesters([sameNumbers]);
}
