import { readFileSync } from 'node:fs';
import type { FieldRow, FieldRows, Layout } from '@iommukit/bits';
import * as arch from '../src/index.ts';

/** Raw words and values that somebody else stated for them. */
export interface ProofRecord {
  readonly layout: string;
  readonly words: readonly string[];
  readonly fields: Readonly<Record<string, number | string>>;
  readonly from: string;
}

/** Every exported layout by name. */
export const layouts: ReadonlyMap<string, Layout<FieldRows>> = new Map(
  Object.values(arch)
    .filter((value) => typeof value === 'object' && value !== null && 'rows' in value)
    .map((value) => value as unknown as Layout<FieldRows>)
    .map((one) => [one.name, one]),
);

export function loadProofs(group: string): readonly ProofRecord[] {
  return JSON.parse(
    readFileSync(new URL(`./fixtures/proof-${group}.json`, import.meta.url), 'utf8'),
  ) as ProofRecord[];
}

/** The lanes of doublewords given as text, low lane first. */
export function toLanes(words: readonly string[], lanes: number): Uint32Array {
  const out = new Uint32Array(lanes);
  words.forEach((word, dw) => {
    const value = BigInt(word);
    out[dw * 2] = Number(value & 0xffffffffn);
    out[dw * 2 + 1] = Number(value >> 32n);
  });
  return out;
}

/** What the layout reads, by its own getter or lanes for a whole doubleword; an address as it stands. */
function read(one: Layout<FieldRows>, field: string, words: Uint32Array): bigint {
  const row = one.rows[field] as FieldRow;
  if (row.kind === 'u64')
    return BigInt(words[row.dw * 2] as number) | (BigInt(words[row.dw * 2 + 1] as number) << 32n);
  return BigInt((one.get as Record<string, (w: Uint32Array) => number>)[field]?.(words) ?? -1);
}

/** The rows that data proved, with the union of the bits that were seen set. */
export class ProofBook {
  readonly seen: Map<string, bigint> = new Map();

  /** The fields of a record that disagree, as text; those that agree and are not zero are booked. */
  check(record: ProofRecord): string[] {
    const one = layouts.get(record.layout);
    if (one === undefined) return [`${record.layout}: no such layout`];
    const words = toLanes(record.words, one.lanes);
    const wrong: string[] = [];
    for (const [field, stated] of Object.entries(record.fields)) {
      if (one.rows[field] === undefined) {
        wrong.push(`${record.layout}.${field}: no such row (${record.from})`);
        continue;
      }
      const value = read(one, field, words);
      if (value !== BigInt(stated))
        wrong.push(`${record.layout}.${field}: ${value} is not ${stated} (${record.from})`);
      else if (value !== 0n) {
        const key = `${record.layout}.${field}`;
        this.seen.set(key, (this.seen.get(key) ?? 0n) | value);
      }
    }
    return wrong;
  }
}

/** Rows whose position is not given by the text of the specification. */
const OTHER_SOURCE: readonly (readonly [pattern: RegExp, source: string])[] = [
  [/^CMD_PREFETCH_ADDR\.(Size|Stride)$/, 'reading of the specification, uncertain'],
  [
    /^F_BAD_ATS_TREQ\.InputAddr$/,
    'specification; requested access and span left out, no position known',
  ],
  [/^F_CFG_CONFLICT\.Reason$/, 'specification; width uncertain'],
  [/^F_TLB_CONFLICT\./, 'inferred from F_TRANSLATION'],
  [/\.NSIPA$/, 'gem5'],
  [/^F_(CD_FETCH|WALK_EABT)\./, 'Linux and QEMU'],
];

/** Rows that data can prove: everything but reserved, ignored and implementation defined bits. */
export function provableRows(): readonly { readonly key: string; readonly source: string }[] {
  const rows: { key: string; source: string }[] = [];
  for (const one of layouts.values())
    for (const [field, row] of Object.entries(one.rows)) {
      if (row.kind === 'res0' || row.kind === 'impdef') continue;
      const key = `${one.name}.${field}`;
      const source =
        OTHER_SOURCE.find(([pattern]) => pattern.test(key))?.[1] ??
        (row.linux === undefined ? 'specification' : `specification; Linux ${row.linux}`);
      rows.push({ key, source: `${row.spec ?? one.info.spec}: ${source}` });
    }
  return rows.sort((a, b) => (a.key < b.key ? -1 : 1));
}
