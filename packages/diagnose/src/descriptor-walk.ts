import type { U64 } from '@iommukit/bits';
import type { DumpImage } from './dump-image.ts';
import {
  type DescriptorKind,
  entryBytes,
  entryCount,
  kindOf,
  outputOf,
  type TableShape,
} from './table-shape.ts';

/** A physical address, or why there is none. */
export type Found =
  | { readonly at: number }
  | { readonly at: undefined; readonly why: 'absent' | 'invalid' | 'range' };

/** One descriptor met on a walk; `at` is its physical address, undefined where stage 2 or the dump has none. */
export interface MetDescriptor {
  readonly shape: TableShape;
  readonly level: number;
  /** Address of the descriptor as the table's owner sees it: an IPA in a nested stage 1. */
  readonly address: number;
  readonly at: number | undefined;
  readonly word: U64 | undefined;
  readonly kind: DescriptorKind | 'absent';
  /** What it points to; 0 when it points to nothing. */
  readonly output: number;
  /** Bytes that it covers. */
  readonly size: number;
}

/** Where the walk of an input address can take its tables from: physical memory, or through stage 2. */
export interface TableSource {
  readonly image: DumpImage;
  readonly through: TableShape | undefined;
}

/** Takes an IPA through stage 2, for tables and CDs of nested streams. */
export function throughStage2(image: DumpImage, shape: TableShape, ipa: number): Found {
  if (ipa >= shape.bytes) return { at: undefined, why: 'range' };
  const met = [...walkOf({ image, through: undefined }, shape, ipa)].at(-1);
  if (met === undefined || met.kind === 'absent') return { at: undefined, why: 'absent' };
  if (met.kind !== 'page' && met.kind !== 'block') return { at: undefined, why: 'invalid' };
  return { at: met.output + (ipa % met.size) };
}

/** The descriptors on the way of one input address, which must be in range; the last one ends the walk. */
export function* walkOf(
  source: TableSource,
  shape: TableShape,
  input: number,
): Generator<MetDescriptor> {
  const offset = input - shape.base;
  let table = shape.root;
  for (let level = shape.startLevel; level <= 3; level++) {
    const size = entryBytes(shape, level);
    const index = Math.floor(offset / size) % entryCount(shape, level);
    const met = readDescriptor(source, shape, { level, address: table + index * 8 });
    yield met;
    if (met.kind !== 'table') return;
    table = met.output;
  }
}

/** Reads and classifies one descriptor. */
export function readDescriptor(
  source: TableSource,
  shape: TableShape,
  place: { readonly level: number; readonly address: number },
): MetDescriptor {
  const { image, through } = source;
  const { level, address } = place;
  const size = entryBytes(shape, level);
  const found: Found =
    through === undefined ? { at: address } : throughStage2(image, through, address);
  const { at } = found;
  const met = { shape, level, address, at, size };
  if (at === undefined || !image.memory.isBacked(at))
    return { ...met, word: undefined, kind: 'absent', output: 0 };
  const lo = image.memory.load64(at);
  const word = { lo, hi: image.memory.hi };
  const kind = kindOf(shape, level, lo);
  const target = kind === 'table' ? shape.granule.bytes : size;
  const output = kind === 'invalid' || kind === 'reserved' ? 0 : outputOf(shape, word, target);
  return { ...met, word, kind, output };
}
