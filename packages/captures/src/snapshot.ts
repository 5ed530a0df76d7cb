import type { U64 } from '@iommukit/bits';
import { InputError } from './input-error.ts';
import { JsonRecord, RecordError, readJson } from './json-record.ts';
import { registersOf } from './registers.ts';
import { readBytes } from './text-file.ts';

/**
 * A run of physical memory. `kind`: `pt-s1`, `cd`, `strtab-l1`, `strtab-l2`, `cmdq`, `evtq`. `offset` is its place in the
 * `.bin` file; a `strtab-l2` also has its index in the level-1 table and the descriptor's Span (IHI 0070 section 3.3.1).
 * @example const end = (s: SnapshotSegment) => s.physAddr + s.length;
 */
export interface SnapshotSegment {
  readonly physAddr: number;
  readonly length: number;
  readonly kind: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly l1index: number | undefined;
  readonly span: number | undefined;
}

/**
 * A command or event queue at the dump: 2^log2 entries at `pa`; the snapshot keeps the first `entriesKept`.
 * @example const empty = (q: SnapshotQueue) => q.prod === q.cons;
 */
export interface SnapshotQueue {
  readonly pa: number;
  readonly log2: number;
  readonly prod: number;
  readonly cons: number;
  readonly wrapped: boolean;
  readonly entriesKept: number;
}

/**
 * The stream table's place and shape (STRTAB_BASE, STRTAB_BASE_CFG).
 * @example const twoLevel = (t: SnapshotStreamTable) => t.fmt === 1;
 */
export interface SnapshotStreamTable {
  readonly base: number;
  readonly fmt: number;
  readonly split: number;
  readonly log2size: number;
}

/**
 * A configured STE with the first fields of its CD as the dump's author decoded them: `d` is the STE's first four doublewords,
 * `cd0` the CD's first.
 * @example const word0 = (ste: SnapshotSte) => ste.d[0];
 */
export interface SnapshotSte {
  readonly sid: number;
  readonly config: number;
  readonly d: readonly U64[];
  readonly cd: number | undefined;
  readonly cd0: U64 | undefined;
  readonly asid: number | undefined;
  readonly t0sz: number | undefined;
  readonly ttb0: number | undefined;
  readonly tg0: number | undefined;
  readonly ips: number | undefined;
  readonly mair: U64 | undefined;
}

/**
 * A sparse image of physical memory with the SMMU's registers (32-bit words by byte offset).
 * @example const tables = (s: Snapshot) => s.segments.filter((x) => x.kind === 'pt-s1');
 */
export interface Snapshot {
  readonly file: string;
  readonly tag: string;
  readonly qemuTraceByteOffset: number;
  readonly meta: {
    readonly cmdq: SnapshotQueue;
    readonly evtq: SnapshotQueue;
    readonly strtab: SnapshotStreamTable;
  };
  readonly validStes: number;
  readonly stes: readonly SnapshotSte[];
  readonly registers: ReadonlyMap<number, number>;
  readonly segments: readonly SnapshotSegment[];
}

function queueOf(r: JsonRecord): SnapshotQueue {
  return {
    pa: r.address('pa'),
    log2: r.count('log2'),
    prod: r.count('prod'),
    cons: r.count('cons'),
    wrapped: r.flag('wrapped'),
    entriesKept: r.count('entriesKept'),
  };
}

function streamTableOf(r: JsonRecord): SnapshotStreamTable {
  return {
    base: r.address('base'),
    fmt: r.count('fmt'),
    split: r.count('split'),
    log2size: r.count('log2size'),
  };
}

function steOf(value: unknown, index: number): SnapshotSte {
  const path = `stes[${String(index)}]`;
  const r = new JsonRecord(value, path);
  return {
    sid: r.address('sid'),
    config: r.count('config'),
    d: r.words('d'),
    cd: r.has('cd') ? r.address('cd') : undefined,
    cd0: r.has('cd0') ? r.word('cd0') : undefined,
    asid: r.has('asid') ? r.count('asid') : undefined,
    t0sz: r.has('t0sz') ? r.count('t0sz') : undefined,
    ttb0: r.has('ttb0') ? r.address('ttb0') : undefined,
    tg0: r.has('tg0') ? r.count('tg0') : undefined,
    ips: r.has('ips') ? r.count('ips') : undefined,
    mair: r.has('mair') ? r.word('mair') : undefined,
  };
}

function segmentOf(value: unknown, index: number, bin: Uint8Array): SnapshotSegment {
  const path = `segments[${String(index)}]`;
  const r = new JsonRecord(value, path);
  const offset = r.count('offset');
  const length = r.count('length');
  if (length === 0) throw new RecordError(`${path}.length to be positive`);
  if (offset + length > bin.length)
    throw new RecordError(
      `${path} (offset ${String(offset)}, length ${String(length)}) to lie inside the ${String(bin.length)} bytes of the .bin file`,
    );
  return {
    physAddr: r.address('physAddr'),
    length,
    kind: r.text('kind'),
    offset,
    bytes: bin.subarray(offset, offset + length),
    l1index: r.has('l1index') ? r.count('l1index') : undefined,
    span: r.has('span') ? r.count('span') : undefined,
  };
}

function checkOverlap(
  segments: readonly SnapshotSegment[],
  start: 'offset' | 'physAddr',
  where: string,
): void {
  const sorted = segments.toSorted((a, b) => a[start] - b[start]);
  for (const [i, next] of sorted.entries()) {
    const last = sorted[i - 1];
    if (last !== undefined && last[start] + last.length > next[start])
      throw new RecordError(
        `segments that do not overlap ${where} (0x${last.physAddr.toString(16)} and 0x${next.physAddr.toString(16)} do)`,
      );
  }
}

// `kinds` says a second time how many segments and bytes there are of each kind.
function checkKinds(kinds: JsonRecord, segments: readonly SnapshotSegment[]): void {
  const names = new Set([...kinds.keys(), ...segments.map((s) => s.kind)]);
  for (const name of names) {
    const of = segments.filter((s) => s.kind === name);
    const bytes = of.reduce((sum, s) => sum + s.length, 0);
    const said = kinds.has(name) ? kinds.record(name) : undefined;
    if (said?.count('n') !== of.length || said.count('bytes') !== bytes)
      throw new RecordError(
        `kinds.${name} to agree with the segments (${String(of.length)} segments, ${String(bytes)} bytes)`,
      );
  }
}

/**
 * Reads `DUMP-*.snap.json` with the `.snap.bin` beside it. Throws {@link InputError} when either is missing or malformed, when
 * the lengths disagree, when a segment lies outside the `.bin` file, or when segments overlap.
 * @example readSnapshot('DUMP-IDLE.snap.json').segments.length
 */
export function readSnapshot(jsonPath: string): Snapshot {
  const binPath = jsonPath.replace(/\.json$/, '.bin');
  return readJson(jsonPath, (r) => {
    // A copy at offset 0 of its own buffer, so that segments can be viewed as 32-bit lanes.
    const bin = Uint8Array.from(readBytes(binPath));
    const meta = r.record('meta');
    const snapshot: Snapshot = {
      file: jsonPath,
      tag: r.text('tag'),
      qemuTraceByteOffset: r.count('qemuTraceByteOffset'),
      meta: {
        cmdq: queueOf(meta.record('cmdq')),
        evtq: queueOf(meta.record('evtq')),
        strtab: streamTableOf(meta.record('strtab')),
      },
      validStes: r.count('validStes'),
      stes: r.list('stes').map(steOf),
      registers: registersOf(r.record('regs')),
      segments: r.list('segments').map((value, i) => segmentOf(value, i, bin)),
    };
    const { segments } = snapshot;
    checkOverlap(segments, 'offset', 'in the .bin file');
    checkOverlap(segments, 'physAddr', 'in memory');
    const total = segments.reduce((sum, s) => sum + s.length, 0);
    if (total !== bin.length)
      throw new InputError({
        file: binPath,
        expected: `${String(total)} bytes, the sum of the segments' lengths, not ${String(bin.length)}`,
      });
    checkKinds(r.record('kinds'), segments);
    return snapshot;
  });
}
