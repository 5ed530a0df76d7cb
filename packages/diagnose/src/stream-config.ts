import {
  CD,
  CD_BYTES,
  CD_SPLIT,
  IDR1,
  L1CD,
  L1CD_BYTES,
  REGISTER_OFFSET as R,
  STE,
  STE_CONFIG,
} from '@iommukit/arm-arch';
import { type Found, throughStage2 } from './descriptor-walk.ts';
import type { DumpImage } from './dump-image.ts';
import { holds, loadWords } from './field-view.ts';
import { stage2Shape, type TableShape } from './table-shape.ts';

/** What an STE's Config selects. @example const mode: StreamMode = 'nested'; */
export type StreamMode = 'invalid' | 'abort' | 'bypass' | 'stage1' | 'stage2' | 'nested';

/** An STE with what it leads to. */
export interface StreamConfig {
  readonly streamId: number;
  readonly at: number;
  readonly words: Uint32Array;
  readonly mode: StreamMode;
  /** log2 of the number of CDs. */
  readonly cdMax: number;
  /** SubstreamID bits below the level-1 index; 0: one array. */
  readonly cdSplit: number;
  /** Stage-2 tables where Config has them on. */
  readonly stage2: TableShape | undefined;
}

const MODES: Readonly<Record<number, StreamMode>> = {
  [STE_CONFIG.BYPASS]: 'bypass',
  [STE_CONFIG.S1]: 'stage1',
  [STE_CONFIG.S2]: 'stage2',
  [STE_CONFIG.NESTED]: 'nested',
};

/** Reads an STE. */
export function readStream(image: DumpImage, streamId: number, at: number): StreamConfig {
  const words = loadWords(image.memory, at, STE.lanes);
  const { get } = STE;
  const mode = get.V(words) === 0 ? 'invalid' : (MODES[get.Config(words)] ?? 'abort');
  const substreams = IDR1.get.SSIDSIZE(image.programming.words, R.IDR1 / 4) > 0;
  const cdMax = substreams && hasStage1(mode) ? get.S1CDMax(words) : 0;
  const format = get.S1Fmt(words);
  const cdSplit = cdMax > 0 && (format === 1 || format === 2) ? CD_SPLIT[format] : 0;
  const stage2 = mode === 'stage2' || mode === 'nested' ? stage2Shape(words) : undefined;
  return { streamId, at, words, mode, cdMax, cdSplit, stage2 };
}

/** True for the modes that read a CD. */
export function hasStage1(mode: StreamMode): boolean {
  return mode === 'stage1' || mode === 'nested';
}

/** Where the CD of a SubstreamID lies, through stage 2 where it is on. */
export function placeOfCd(image: DumpImage, stream: StreamConfig, ssid: number): Found {
  const pointer = STE.get.S1ContextPtr(stream.words);
  const { cdSplit, cdMax } = stream;
  if (cdSplit === 0)
    return place(image, stream, pointer - (pointer % 2 ** (cdMax + 6)) + ssid * CD_BYTES);
  const l1 = place(image, stream, pointer + Math.floor(ssid / 2 ** cdSplit) * L1CD_BYTES);
  if (l1.at === undefined) return l1;
  const words = loadWords(image.memory, l1.at, L1CD.lanes);
  if (L1CD.get.V(words) === 0) return { at: undefined, why: 'invalid' };
  const array = L1CD.get.L2Ptr(words);
  const base = array - (array % (2 ** cdSplit * CD_BYTES));
  return place(image, stream, base + (ssid % 2 ** cdSplit) * CD_BYTES);
}

function place(image: DumpImage, stream: StreamConfig, address: number): Found {
  const found =
    stream.stage2 === undefined ? { at: address } : throughStage2(image, stream.stage2, address);
  if (found.at === undefined || image.memory.isBacked(found.at)) return found;
  return { at: undefined, why: 'absent' };
}

/** CDs of one page; a table of less is smaller than that. */
const CDS_OF_PAGE = 64;

/** The CDs of a stream that the dump holds and that are valid or, for SubstreamID 0, present. */
export function* contextsOf(
  image: DumpImage,
  stream: StreamConfig,
): Generator<{ readonly ssid: number; readonly at: number; readonly words: Uint32Array }> {
  if (!hasStage1(stream.mode)) return;
  for (const { ssid, at } of placesOfCds(image, stream)) {
    if (!holds(image.memory, at, CD_BYTES)) continue;
    const words = loadWords(image.memory, at, CD.lanes);
    if (ssid === 0 || CD.get.V(words) === 1) yield { ssid, at, words };
  }
}

function* placesOfCds(
  image: DumpImage,
  stream: StreamConfig,
): Generator<{ readonly ssid: number; readonly at: number }> {
  const { cdSplit, cdMax, stage2 } = stream;
  const count = 2 ** cdMax;
  if (cdSplit === 0 && stage2 === undefined) {
    const pointer = STE.get.S1ContextPtr(stream.words);
    const table = pointer - (pointer % 2 ** (cdMax + 6));
    for (const { start, end } of image.memory.held(table, table + count * CD_BYTES)) {
      const first = Math.ceil((start - table) / CD_BYTES);
      for (let ssid = first; table + (ssid + 1) * CD_BYTES <= end; ssid++)
        yield { ssid, at: table + ssid * CD_BYTES };
    }
    return;
  }
  const step = cdSplit === 0 ? CDS_OF_PAGE : 2 ** cdSplit;
  for (let first = 0; first < count; first += step) {
    // What one page or one level-1 descriptor does not reach is skipped at once.
    if (placeOfCd(image, stream, first).at === undefined) continue;
    for (let ssid = first; ssid < Math.min(first + step, count); ssid++) {
      const { at } = placeOfCd(image, stream, ssid);
      if (at !== undefined) yield { ssid, at };
    }
  }
}
