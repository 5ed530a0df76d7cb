// What tables of names and of bits must hold.
import { visit } from './parsed-module.mjs';

/** True for a test module that compares `Object.keys(await import('../src/index.ts'))` with a list. */
export function pinsExports(module) {
  let pinned = false;
  visit(module.program, (node) => {
    if (node.type !== 'CallExpression') return;
    const { callee } = node;
    if (callee.object?.name !== 'Object' || callee.property?.name !== 'keys') return;
    const [given] = node.arguments;
    pinned ||=
      given?.type === 'AwaitExpression' &&
      given.argument.type === 'ImportExpression' &&
      given.argument.source.value === '../src/index.ts';
  });
  return pinned;
}

/**
 * A bit-field table, as far as these rules look at it.
 * @typedef {{ readonly dw: number, readonly hi: number, readonly lo: number, readonly of?: Readonly<Record<number, string>> }} Row
 * @typedef {{ readonly name: string, readonly info: { readonly dwords: number, readonly width?: number }, readonly rows: Readonly<Record<string, Row>> }} Table
 */

/**
 * Words of a layout whose rows do not add up to all bits: 64, or the width of a register.
 * @param {Table} table
 */
export function rowGaps({ name, info, rows }) {
  const bits = new Array(info.dwords).fill(0);
  for (const { dw, hi, lo } of Object.values(rows)) bits[dw] += hi - lo + 1;
  const width = info.width ?? 64;
  return bits.flatMap((sum, dw) =>
    sum === width ? [] : [`${name} doubleword ${dw}: ${sum} of ${width} bits`],
  );
}

/**
 * Fields of a layout whose enumerators have one name twice, or do not fit.
 * @param {Pick<Table, 'name' | 'rows'>} table
 */
export function enumFaults({ name, rows }) {
  return Object.entries(rows).flatMap(([field, { of: names, hi, lo }]) => {
    if (names === undefined) return [];
    const fits = Object.keys(names).every((value) => Number(value) < 2 ** (hi - lo + 1));
    const own = new Set(Object.values(names)).size === Object.keys(names).length;
    return fits && own ? [] : [`${name}.${field}`];
  });
}
