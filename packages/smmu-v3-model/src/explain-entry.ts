/*
 * Entries in memory for people: which layout a descriptor has, what it says, its fields by name (DDI 0487 D8.3; IHI 0070 5).
 * Not modelled: structures that only an unmodelled feature has (VMS, VMSAv8-32 and VMSAv9-128 descriptors).
 */
import {
  CD,
  L1CD,
  L1STD,
  S1_BLOCK,
  S1_LEAF,
  S1DSS,
  S2_BLOCK,
  S2_LEAF,
  S2_TABLE,
  STE,
  STE_CONFIG,
  VMSAV8_64_TABLE,
} from '@iommukit/arm-arch';
import { type FieldRows, hex, type Layout, type StrayBits, type U64 } from '@iommukit/bits';
import type { ExplainedEntry, ExplainedField } from './explanation.ts';
import { levelBytes, type Regime } from './regime.ts';
import { isLeaf, outputOf } from './walk.lanes.ts';

/** Any layout, for code that decodes for people. */
export type AnyLayout = Pick<Layout<FieldRows>, 'name' | 'info' | 'rows' | 'lanes'> & {
  decode(
    words: ArrayLike<number>,
    at?: number,
  ): { readonly values: object; readonly stray: readonly StrayBits[] };
};

/** What a descriptor is to the walker that read it. */
export interface DescriptorView {
  readonly layout: AnyLayout;
  readonly says: string;
}

/** A number as lanes: exact below 2^53 and for page-aligned values. */
export function lanesOf(n: number): U64 {
  const lo = n % 2 ** 32;
  return { lo, hi: (n - lo) / 2 ** 32 };
}

/** The fields of an entry, reserved ones left out. */
export function fieldsOf(layout: AnyLayout, words: ArrayLike<number>): ExplainedField[] {
  const { values } = layout.decode(words);
  return (Object.entries(values) as [string, number | U64][]).map(([name, value]) => {
    const lanes = typeof value === 'number' ? lanesOf(value) : value;
    const meaning = typeof value === 'number' ? layout.rows[name]?.of?.[value] : undefined;
    return meaning === undefined ? { name, value: lanes } : { name, value: lanes, meaning };
  });
}

/** An entry as it was read from `pa`, or is cached. */
export function entryOf(layout: AnyLayout, words: ArrayLike<number>, pa: number): ExplainedEntry {
  return {
    address: lanesOf(pa),
    words: doublewords(words),
    layout: layout.name,
    section: layout.info.spec,
    fields: fieldsOf(layout, words),
    stray: layout.decode(words).stray,
  };
}

/** Lanes as doublewords. */
export function doublewords(words: ArrayLike<number>): U64[] {
  const out: U64[] = [];
  for (let i = 0; i < words.length; i += 2)
    out.push({ lo: words[i] as number, hi: words[i + 1] as number });
  return out;
}

/** What the walker of this regime takes a word for, at this level. */
export function describeDescriptor(
  regime: Regime,
  level: number,
  word: readonly [number, number],
): DescriptorView {
  const { granule, wide, stage } = regime;
  const [lo, hi] = word;
  const leaf = stage === 1 ? S1_LEAF : S2_LEAF;
  if (level < 3 && lo % 4 === 3) {
    const next = outputOf(lo, hi, granule.bytes, wide);
    return { layout: stage === 1 ? VMSAV8_64_TABLE : S2_TABLE, says: `table at ${hex(next)}` };
  }
  if (!isLeaf(lo, level, regime)) {
    const says =
      lo % 2 === 0 ? 'invalid: no translation' : 'reserved at this level: no translation';
    return { layout: leaf, says };
  }
  const size = levelBytes(granule, level);
  const output = hex(outputOf(lo, hi, size, wide));
  if (level === 3) return { layout: leaf, says: `page of ${hex(size)} at ${output}` };
  const layout = stage === 1 ? S1_BLOCK : S2_BLOCK;
  return { layout, says: `block of ${hex(size)} at ${output}` };
}

/** What a configuration structure says, in a few words. */
export const STRUCTURES: Readonly<
  Record<
    'L1STD' | 'STE' | 'L1CD' | 'CD',
    { readonly layout: AnyLayout; says(words: ArrayLike<number>): string }
  >
> = {
  L1STD: {
    layout: L1STD,
    says: (words) => {
      const span = L1STD.get.Span(words);
      return span === 0
        ? 'Span 0: no STE'
        : `${2 ** (span - 1)} STEs at ${hex(L1STD.get.L2Ptr(words))}`;
    },
  },
  STE: { layout: STE, says: steSays },
  L1CD: {
    layout: L1CD,
    says: (words) =>
      L1CD.get.V(words) === 1 ? `CDs at ${hex(L1CD.get.L2Ptr(words))}` : 'V=0: no CDs',
  },
  CD: { layout: CD, says: cdSays },
};

function steSays(words: ArrayLike<number>): string {
  const { get } = STE;
  if (get.V(words) === 0) return 'V=0: invalid';
  const config = get.Config(words);
  if (config < STE_CONFIG.BYPASS) return 'Config: abort';
  if (config === STE_CONFIG.BYPASS) return 'Config: bypass';
  if (config === STE_CONFIG.S2) return `Config: stage 2, VMID ${get.S2VMID(words)}`;
  const dss = get.S1CDMax(words) > 0 && get.S1DSS(words) === S1DSS.BYPASS ? ', S1DSS: bypass' : '';
  const nested = config === STE_CONFIG.NESTED ? ` and 2, VMID ${get.S2VMID(words)}` : '';
  return `Config: stage 1${nested}, CDs at ${hex(get.S1ContextPtr(words))}${dss}`;
}

function cdSays(words: ArrayLike<number>): string {
  const { get } = CD;
  if (get.V(words) === 0) return 'V=0: invalid';
  return `ASID ${get.ASID(words)}, TTB0 ${hex(get.TTB0(words))}, T0SZ ${get.T0SZ(words)}`;
}
