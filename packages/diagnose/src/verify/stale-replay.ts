import { REGISTER_OFFSET as R, S1_LEAF, S2_LEAF, VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { QemuTranslation, TruthRow } from '@iommukit/captures';
import { SmmuV3Model } from '@iommukit/smmu-v3-model';
import { walkOf } from '../descriptor-walk.ts';
import type { DumpImage } from '../dump-image.ts';
import { accessOf, modelOfDump } from '../dump-model.ts';
import { contextsOf, readStream } from '../stream-config.ts';
import { placeOfSte } from '../stream-entries.ts';
import { stage1Shape, type TableShape } from '../table-shape.ts';
import type { CommandLog } from './command-log.ts';
import { said } from './table-checks.ts';
import type { VerifyTally } from './verify-tally.ts';

interface Cached {
  readonly row: TruthRow;
  /** Commands that were consumed before QEMU made the translation. */
  readonly after: number;
}

/**
 * Shows that translations that are no longer in the tables are stale entries. Each is put back, translated at the place in the command
 * stream where QEMU translated it, and taken away again; then the model consumes every command that the dump's queue holds up to
 * its CONS. The entry must survive all of them, give QEMU's address, be reported as stale, and the tables alone must not translate.
 */
export function replayStale(
  image: DumpImage,
  rows: readonly TruthRow[],
  log: CommandLog,
  tally: VerifyTally,
): void {
  const cached = place(rows, log, tally);
  const first = cached[0];
  if (first === undefined) return;
  image.memory.restore();
  const cold = modelOfDump(image);
  const warm = new SmmuV3Model({
    memory: image.memory,
    idr: image.programming.registers,
    policy: { tlb: 'keep', walk: 'none', config: 'none' },
  });
  const start = log.register(first.after);
  warm.restoreRegisters(
    new Map([...image.programming.registers, [R.CMDQ_PROD, start], [R.CMDQ_CONS, start]]),
  );
  const live: Cached[] = [];
  for (const one of cached) {
    warm.registers.write32(R.CMDQ_PROD, log.register(one.after));
    const failure = cache(image, warm, one.row);
    if (failure === undefined) live.push(one);
    else tally.differ(`${name(one.row)}: ${failure}`);
  }
  warm.registers.write32(R.CMDQ_PROD, log.register(log.consumed));
  for (const { row } of live) {
    const failure = stillStale(image, warm, cold, row);
    if (failure === undefined) tally.explain('stale-entry');
    else tally.differ(`${name(row)}: ${failure}`);
  }
  image.memory.restore();
}

/** Where in the command stream QEMU made each translation last, in order. */
function place(rows: readonly TruthRow[], log: CommandLog, tally: VerifyTally): Cached[] {
  const wanted = new Map<string, { op: QemuTranslation; after: number } | undefined>();
  for (const row of rows) wanted.set(key(row), undefined);
  let after = 0;
  for (const op of log.digest.ops.slice(0, log.end)) {
    if (op.op === 'C') after++;
    else if (op.op === 'T' && wanted.has(key(op))) wanted.set(key(op), { op, after });
  }
  const cached: Cached[] = [];
  for (const row of rows) {
    const found = wanted.get(key(row));
    if (found === undefined) tally.differ(`${name(row)}: no such translation in QEMU's log`);
    else if (pageOf(found.op.pa) !== pageOf(row.pa))
      tally.differ(`${name(row)}: QEMU's log has ${hex(found.op.pa)} last`);
    else if (found.after < log.firstHeld)
      tally.differ(`${name(row)}: the queue has overwritten commands since it was cached`);
    else cached.push({ row, after: found.after });
  }
  return cached.sort((a, b) => a.after - b.after);
}

function key(row: { readonly sid: number; readonly iova: number }): string {
  return `${row.sid} ${pageOf(row.iova)}`;
}

function pageOf(address: number): number {
  return Math.floor(address / 4096);
}

function name(row: TruthRow): string {
  return `truth line ${row.line}: stream ${hex(row.sid)} ${hex(row.iova)}`;
}

function access(row: TruthRow): Parameters<SmmuV3Model['translate']>[0] {
  return accessOf(row.sid, row.iovaWord, { rw: row.perm >= 2 ? 'write' : 'read' });
}

/** Lets the model translate with the descriptor in place, then clears it again; what went wrong, if anything. */
function cache(image: DumpImage, model: SmmuV3Model, row: TruthRow): string | undefined {
  const failure = plant(image, row);
  if (failure !== undefined) return failure;
  const result = model.translate(access(row));
  image.memory.restore();
  const right = result.outcome === 'ok' && result.paddr === row.pa;
  return right ? undefined : `with its descriptor in place ${said(result)}, QEMU ${hex(row.pa)}`;
}

function stillStale(
  image: DumpImage,
  warm: SmmuV3Model,
  cold: SmmuV3Model,
  row: TruthRow,
): string | undefined {
  const tables = cold.translate(access(row));
  image.memory.restore();
  if (tables.outcome === 'ok' && tables.paddr === row.pa) return 'it is in the tables';
  const usesBefore = warm.staleUseCount;
  const result = warm.translate(access(row));
  image.memory.restore();
  if (result.outcome !== 'ok' || result.paddr !== row.pa)
    return `a command in the queue removed it (${said(result)})`;
  return warm.staleUseCount > usesBefore ? undefined : 'the model does not report it as stale';
}

/** Puts the descriptor of a translation into memory, with tables of its own where those are gone. */
function plant(image: DumpImage, row: TruthRow): string | undefined {
  const shape = shapeFor(image, row);
  if (shape === undefined) return 'the stream has no tables of one stage';
  const page = row.iova - (row.iova % shape.granule.bytes);
  const met = [...walkOf({ image, through: undefined }, shape, page)].at(-1);
  if (met?.at === undefined || (met.kind !== 'invalid' && met.level < 3))
    return 'the tables end in a block or outside the dump';
  const { memory } = image;
  let at = met.at;
  for (let level = met.level; level < 3; level++) {
    const table = unusedPage(image, shape.granule.bytes);
    const lanes = VMSAV8_64_TABLE.encode({ Valid: 1, Type: 1, NextTable: table });
    memory.store64(at, lanes[0] as number, lanes[1] as number);
    const size = shape.granule.entryBytes[level + 1] as number;
    at = table + (Math.floor((page - shape.base) / size) % (shape.granule.bytes / 8)) * 8;
    // The page counts as used from now on.
    memory.store64(at, 0, 0);
  }
  const output = row.pa - (row.pa % shape.granule.bytes);
  const common = { Valid: 1, Type: 1, SH: 3, AF: 1, OA: output };
  const lanes =
    shape.stage === 1
      ? S1_LEAF.encode({ ...common, AttrIndx: 1, AP: row.perm === 1 ? 3 : 1, nG: 1 })
      : S2_LEAF.encode({ ...common, MemAttr: 0xf, S2AP: row.perm });
  memory.store64(at, lanes[0] as number, lanes[1] as number);
  return undefined;
}

function shapeFor(image: DumpImage, row: TruthRow): TableShape | undefined {
  const { at } = placeOfSte(image, row.sid);
  if (at === undefined) return undefined;
  const stream = readStream(image, row.sid, at);
  if (stream.mode === 'stage2') return stream.stage2;
  if (stream.mode !== 'stage1') return undefined;
  for (const { ssid, words } of contextsOf(image, stream)) {
    if (ssid !== 0) continue;
    for (const half of ['lower', 'upper'] as const) {
      const shape = stage1Shape(words, half);
      if (shape !== undefined && row.iova >= shape.base && row.iova < shape.base + shape.bytes)
        return shape;
    }
  }
  return undefined;
}

/** A page that neither the dump nor a planted table uses. */
function unusedPage(image: DumpImage, bytes: number): number {
  let page = bytes;
  const used = (): boolean => {
    for (let at = page; at < page + bytes; at += 8) if (image.memory.isBacked(at)) return true;
    return false;
  };
  while (used()) page += bytes;
  return page;
}
