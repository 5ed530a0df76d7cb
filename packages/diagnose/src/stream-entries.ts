import { L1STD, L1STD_BYTES, STE_BYTES } from '@iommukit/arm-arch';
import type { DumpImage } from './dump-image.ts';
import { holds, loadWords } from './field-view.ts';

/** Where the STE of a stream lies, or why it has none. */
export type StePlace =
  | { readonly at: number }
  | { readonly at: undefined; readonly why: 'beyond-table' | 'span' | 'absent' };

/** Span as hardware takes it: more than 11 is reserved and acts as 0 (IHI 0070 5.1). */
function spanOf(words: Uint32Array): number {
  const span = L1STD.get.Span(words);
  return span > 11 ? 0 : span;
}

/** Array of STEs of a level-1 descriptor: aligned to its size. */
function arrayOf(words: Uint32Array, span: number): number {
  const pointer = L1STD.get.L2Ptr(words);
  return pointer - (pointer % 2 ** (span + 5));
}

/** Finds the STE of a stream (IHI 0070 3.3.1, 5.1). */
export function placeOfSte(image: DumpImage, streamId: number): StePlace {
  const { base, twoLevel, split, sids } = image.programming.streamTable;
  if (streamId >= sids) return { at: undefined, why: 'beyond-table' };
  if (!twoLevel) return found(image, base + streamId * STE_BYTES);
  const l1at = base + Math.floor(streamId / 2 ** split) * L1STD_BYTES;
  if (!image.memory.isBacked(l1at)) return { at: undefined, why: 'absent' };
  const words = loadWords(image.memory, l1at, 2);
  const span = spanOf(words);
  const index = streamId % 2 ** split;
  if (span === 0 || span > split + 1 || index >= 2 ** (span - 1))
    return { at: undefined, why: 'span' };
  return found(image, arrayOf(words, span) + index * STE_BYTES);
}

function found(image: DumpImage, at: number): StePlace {
  return holds(image.memory, at, STE_BYTES) ? { at } : { at: undefined, why: 'absent' };
}

/** Every STE of the table that the dump holds, by StreamID. */
export function* streamEntries(
  image: DumpImage,
): Generator<{ readonly streamId: number; readonly at: number }> {
  const { memory } = image;
  const { base, twoLevel, split, sids } = image.programming.streamTable;
  if (!twoLevel) {
    yield* entriesIn(image, { table: base, count: sids, first: 0 });
    return;
  }
  const l1end = base + Math.ceil(sids / 2 ** split) * L1STD_BYTES;
  for (const { start, end } of memory.held(base, l1end))
    for (let at = start; at < end; at += L1STD_BYTES) {
      const words = loadWords(memory, at, 2);
      const span = spanOf(words);
      if (span === 0 || span > split + 1) continue;
      const first = ((at - base) / L1STD_BYTES) * 2 ** split;
      yield* entriesIn(image, { table: arrayOf(words, span), count: 2 ** (span - 1), first });
    }
}

function* entriesIn(
  image: DumpImage,
  array: { readonly table: number; readonly count: number; readonly first: number },
): Generator<{ readonly streamId: number; readonly at: number }> {
  const { table, count, first } = array;
  for (const { start, end } of image.memory.held(table, table + count * STE_BYTES)) {
    const from = Math.ceil((start - table) / STE_BYTES);
    for (let i = from; table + (i + 1) * STE_BYTES <= end; i++)
      yield { streamId: first + i, at: table + i * STE_BYTES };
  }
}

/**
 * Why a stream has no STE in a dump, in words; undefined when it has one.
 * @example whyNoSte(openDump('linux-6.12-strict-up'), 0x10000) // 'the table has 0x10000 entries'
 */
export function whyNoSte(image: DumpImage, streamId: number): string | undefined {
  const place = placeOfSte(image, streamId);
  if (place.at !== undefined) return undefined;
  if (place.why === 'beyond-table')
    return `the table has 0x${image.programming.streamTable.sids.toString(16)} entries`;
  return place.why === 'span' ? 'its level 1 descriptor does not reach it' : 'the dump lacks it';
}
