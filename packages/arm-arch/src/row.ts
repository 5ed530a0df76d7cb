import type { FieldRow } from '@iommukit/bits';

type Row<K extends FieldRow['kind']> = FieldRow & { readonly kind: K };

function row<const K extends FieldRow['kind']>(
  kind: K,
  place: readonly [dw: number, hi: number, lo: number],
  is: string,
  linux: string | undefined,
): Row<K> {
  const [dw, hi, lo] = place;
  return linux === undefined ? { dw, hi, lo, kind, is } : { dw, hi, lo, kind, is, linux };
}

/** One bit. */
export function bool(dw: number, bit: number, is: string, linux?: string): Row<'bool'> {
  return row('bool', [dw, bit, bit], is, linux);
}

/** A number. */
export function uint(dw: number, hi: number, lo: number, is: string, linux?: string): Row<'uint'> {
  return row('uint', [dw, hi, lo], is, linux);
}

/** An address that stands in place. */
export function addr(dw: number, hi: number, lo: number, is: string, linux?: string): Row<'addr'> {
  return row('addr', [dw, hi, lo], is, linux);
}

/** A whole doubleword. */
export function u64(dw: number, is: string, linux?: string): Row<'u64'> {
  return row('u64', [dw, 63, 0], is, linux);
}

/** Reserved, written as zero. Named after its bits in the whole structure. */
export function res0(dw: number, hi: number, lo: number): Row<'res0'> {
  return row('res0', [dw, hi, lo], 'reserved', undefined);
}

/** Implementation defined, or ignored by the SMMU and free for software. */
export function impdef(dw: number, hi: number, lo: number, is: string): Row<'impdef'> {
  return row('impdef', [dw, hi, lo], is, undefined);
}

/** A number with names. */
export function choice(
  dw: number,
  hi: number,
  lo: number,
  is: string,
  names: { readonly of: Readonly<Record<number, string>>; readonly linux?: string },
): Row<'enum'> {
  return { ...row('enum', [dw, hi, lo], is, names.linux), of: names.of };
}
