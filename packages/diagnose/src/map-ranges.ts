import { CD, S1_LEAF, S2_LEAF } from '@iommukit/arm-arch';
import { type FieldRow, hex, type U64 } from '@iommukit/bits';
import type { DumpImage } from './dump-image.ts';
import { lanesOf } from './field-view.ts';
import { type Leaf, leavesOf, type ScanNotes } from './leaves.ts';
import { contextsOf, readStream, type StreamConfig } from './stream-config.ts';
import { streamEntries } from './stream-entries.ts';
import { stage1Shape, type TableShape } from './table-shape.ts';

/**
 * Attributes of a mapping, as its descriptors have them. `access` as the descriptor encodes it, before `limits` of the tables above.
 * @example const writable = (a: MapAttributes) => a.access.endsWith('write');
 */
export interface MapAttributes {
  readonly access: string;
  /** Stage 1: MAIR index and byte; stage 2: MemAttr. */
  readonly memory: string;
  readonly shareability: string;
  readonly executeNever: string;
  readonly accessFlag: boolean;
  /** Stage 1 only: the entry belongs to its ASID. */
  readonly notGlobal: boolean;
  readonly dirtyBitModifier: boolean;
  /** What the tables above take away; empty: nothing. */
  readonly limits: string;
}

/**
 * A run of leaves with the same attributes whose input and output addresses are contiguous: [start, last], both inclusive.
 * @example const bytes = (range: MapRange) => range.bytes;
 */
export interface MapRange {
  readonly stage: 1 | 2;
  readonly start: U64;
  readonly last: U64;
  /** Output of `start`: an IPA in a nested stage 1. */
  readonly output: U64;
  readonly bytes: number;
  readonly leaves: number;
  /** Bytes of each kind of leaf that the run is made of. */
  readonly leafSizes: readonly number[];
  /** Leaves with the Contiguous bit. */
  readonly contiguous: number;
  readonly attributes: MapAttributes;
}

/**
 * What one stream (and SubstreamID, absent without stage 1) can reach.
 * @example const pages = (maps: StreamMaps) => maps.ranges.reduce((sum, range) => sum + range.leaves, 0);
 */
export interface StreamMaps {
  readonly streamId: number;
  readonly substreamId: number | undefined;
  readonly ranges: readonly MapRange[];
  readonly leaves: number;
  readonly bytes: number;
  readonly notes: Readonly<ScanNotes>;
}

/**
 * Every mapping of the streams of a dump, or of one: one entry for each CD of a stage-1 stream, and one for stage 2.
 * @example mapsOf(openDump('linux-6.12-strict-up'), 8)[0]?.leaves
 */
export function mapsOf(image: DumpImage, streamId?: number): StreamMaps[] {
  const out: StreamMaps[] = [];
  for (const entry of streamEntries(image)) {
    if (streamId !== undefined && entry.streamId !== streamId) continue;
    const stream = readStream(image, entry.streamId, entry.at);
    for (const { ssid, words } of contextsOf(image, stream))
      if (CD.get.V(words) === 1) out.push(mapsOfContext(image, stream, ssid, words));
    if (stream.stage2 !== undefined) out.push(mapsOfStage2(image, stream, stream.stage2));
  }
  return out;
}

function mapsOfContext(
  image: DumpImage,
  stream: StreamConfig,
  ssid: number,
  cd: Uint32Array,
): StreamMaps {
  const notes = newNotes();
  const ranges: MapRange[] = [];
  for (const half of ['lower', 'upper'] as const) {
    const shape = stage1Shape(cd, half);
    if (shape === undefined) continue;
    const leaves = leavesOf({ image, through: stream.stage2 }, shape, notes);
    ranges.push(...rangesOf(leaves, 1, (leaf) => stage1Attributes(leaf, cd)));
  }
  return summed({ streamId: stream.streamId, substreamId: ssid, ranges, notes });
}

function mapsOfStage2(image: DumpImage, stream: StreamConfig, shape: TableShape): StreamMaps {
  const notes = newNotes();
  const leaves = leavesOf({ image, through: undefined }, shape, notes);
  const ranges = rangesOf(leaves, 2, stage2Attributes);
  return summed({ streamId: stream.streamId, substreamId: undefined, ranges, notes });
}

/** Notes of a scan that has not begun. */
export function newNotes(): ScanNotes {
  return { tables: 0, absent: 0, reserved: 0, cut: false };
}

function summed(maps: Omit<StreamMaps, 'leaves' | 'bytes'>): StreamMaps {
  const leaves = maps.ranges.reduce((sum, range) => sum + range.leaves, 0);
  const bytes = maps.ranges.reduce((sum, range) => sum + range.bytes, 0);
  return { ...maps, leaves, bytes };
}

interface Run {
  readonly first: Leaf;
  readonly attributes: MapAttributes;
  readonly key: string;
  readonly sizes: Set<number>;
  end: number;
  outputEnd: number;
  leaves: number;
  contiguous: number;
}

function rangesOf(
  leaves: Iterable<Leaf>,
  stage: 1 | 2,
  attributesOf: (leaf: Leaf) => MapAttributes,
): MapRange[] {
  const runs: Run[] = [];
  for (const leaf of leaves) {
    const attributes = attributesOf(leaf);
    const key = JSON.stringify(attributes);
    let run = runs.at(-1);
    if (
      run === undefined ||
      run.key !== key ||
      run.end !== leaf.input ||
      run.outputEnd !== leaf.output
    ) {
      run = {
        first: leaf,
        attributes,
        key,
        sizes: new Set(),
        end: leaf.input,
        outputEnd: leaf.output,
        leaves: 0,
        contiguous: 0,
      };
      runs.push(run);
    }
    run.end += leaf.size;
    run.outputEnd += leaf.size;
    run.leaves++;
    run.sizes.add(leaf.size);
    run.contiguous += S1_LEAF.get.Contiguous([leaf.word.lo, leaf.word.hi]);
  }
  return runs.map((run) => {
    const { first, end, attributes, contiguous } = run;
    return {
      stage,
      start: lanesOf(first.input),
      last: lastBefore(end),
      output: lanesOf(first.output),
      bytes: end - first.input,
      leaves: run.leaves,
      leafSizes: [...run.sizes],
      contiguous,
      attributes,
    };
  });
}

/** The byte before a page-aligned end, which may be 2^64. */
function lastBefore(end: number): U64 {
  const page = lanesOf(end - 4096);
  return { lo: page.lo + 4095, hi: page.hi };
}

function stage1Attributes(leaf: Leaf, cd: Uint32Array): MapAttributes {
  const words = [leaf.word.lo, leaf.word.hi];
  const { get } = S1_LEAF;
  const index = get.AttrIndx(words);
  const mair = index < 4 ? CD.get.MAIR0(cd) : CD.get.MAIR1(cd);
  const byte = Math.floor(mair / 2 ** ((index % 4) * 8)) % 256;
  return {
    access: nameOf(S1_LEAF.rows.AP, get.AP(words)),
    memory: `AttrIndx ${index} (${hex(byte)})`,
    shareability: nameOf(S1_LEAF.rows.SH, get.SH(words)),
    executeNever: neverText(get.PXN(words), get.UXN(words)),
    accessFlag: get.AF(words) === 1,
    notGlobal: get.nG(words) === 1,
    dirtyBitModifier: get.DBM(words) === 1,
    limits: limitsText(leaf),
  };
}

function neverText(privileged: number, unprivileged: number): string {
  if (privileged + unprivileged === 0) return 'none';
  if (privileged + unprivileged === 2) return 'all';
  return privileged === 1 ? 'privileged' : 'unprivileged';
}

function limitsText({ limits }: Leaf): string {
  return [
    ...(limits.ap % 2 === 1 ? ['no unprivileged access'] : []),
    ...(limits.ap >= 2 ? ['no writes'] : []),
    ...(limits.privilegedExecuteNever ? ['no privileged execution'] : []),
    ...(limits.unprivilegedExecuteNever ? ['no unprivileged execution'] : []),
  ].join(', ');
}

function stage2Attributes(leaf: Leaf): MapAttributes {
  const words = [leaf.word.lo, leaf.word.hi];
  const { get } = S2_LEAF;
  return {
    access: nameOf(S2_LEAF.rows.S2AP, get.S2AP(words)),
    memory: `MemAttr ${hex(get.MemAttr(words))}`,
    shareability: nameOf(S2_LEAF.rows.SH, get.SH(words)),
    executeNever: nameOf(S2_LEAF.rows.XN, get.XN(words)),
    accessFlag: get.AF(words) === 1,
    notGlobal: false,
    dirtyBitModifier: get.DBM(words) === 1,
    limits: '',
  };
}

function nameOf(row: FieldRow, value: number): string {
  return row.of?.[value] ?? 'reserved';
}
