import { VectorError } from './vector-values.lanes.ts';

/** Throws {@link VectorError}, naming `at`, unless the value is what the shape says. */
export type Shape = (value: unknown, at: string) => void;

/** The members of an object: each one's shape. */
export type Members = Readonly<Record<string, Shape>>;

function shape(expected: string, holds: (value: unknown) => boolean): Shape {
  return (value, at) => {
    if (!holds(value)) throw new VectorError(at, expected, value);
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An unsigned word of 64 bits. */
export const word: Shape = shape(
  'a string "0x" and up to 16 lower-case hexadecimal digits',
  (value) => typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value),
);
export const integer: Shape = shape('an integer', Number.isSafeInteger);
export const flag: Shape = shape('true or false', (value) => typeof value === 'boolean');
export const text: Shape = shape('a string', (value) => typeof value === 'string');
export const object: Shape = shape('an object', isObject);

/** An integer from 0 to `most`. */
export function count(most: number = Number.MAX_SAFE_INTEGER): Shape {
  const expected =
    most === Number.MAX_SAFE_INTEGER
      ? 'a non-negative integer'
      : `an integer from 0 to ${String(most)}`;
  return shape(
    expected,
    (n) => Number.isSafeInteger(n) && (n as number) >= 0 && (n as number) <= most,
  );
}

export function oneOf(...values: readonly string[]): Shape {
  return shape(`one of ${values.join(', ')}`, (value) => values.includes(value as string));
}

export function list(item: Shape): Shape {
  return (value, at) => {
    if (!Array.isArray(value)) throw new VectorError(at, 'an array', value);
    for (const [i, one] of value.entries()) item(one, `${at}[${String(i)}]`);
  };
}

/** An array that starts with items of the first shapes, in order; those from `needed` on may be absent. */
export function tuple(needed: number, ...items: readonly Shape[]): Shape {
  return (value, at) => {
    if (!Array.isArray(value) || value.length < needed || value.length > items.length)
      throw new VectorError(
        at,
        needed === items.length
          ? `an array of ${String(needed)}`
          : `an array of ${String(needed)} to ${String(items.length)}`,
        value,
      );
    for (const [i, one] of value.entries()) items[i]?.(one, `${at}[${String(i)}]`);
  };
}

/** Either shape: the one for strings, numbers and null, or the other. */
export function plainOr(plain: Shape, structured: Shape): Shape {
  return (value, at) =>
    (typeof value === 'object' && value !== null ? structured : plain)(value, at);
}

export function nullOr(other: Shape): Shape {
  return (value, at) => {
    if (value !== null) other(value, at);
  };
}

/** An object with these members; others may be there too, and what runs the file says what it makes of them. */
export function record(needed: Members, optional: Members = {}): Shape {
  return (value, at) => {
    if (!isObject(value)) throw new VectorError(at, 'an object', value);
    for (const [key, member] of Object.entries(needed)) member(value[key], `${at}.${key}`);
    for (const [key, member] of Object.entries(optional))
      if (value[key] !== undefined) member(value[key], `${at}.${key}`);
  };
}

/** An operation: an object whose `op` chooses the shape of the rest. */
export function operation(shapes: Members): Shape {
  const known = oneOf(...Object.keys(shapes));
  return (value, at) => {
    if (!isObject(value)) throw new VectorError(at, 'an object', value);
    const { op } = value as { readonly op?: string };
    known(op, `${at}.op`);
    shapes[op as string]?.(value, at);
  };
}
