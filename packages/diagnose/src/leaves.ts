import { VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { type MetDescriptor, readDescriptor, type TableSource } from './descriptor-walk.ts';
import { entryBytes, entryCount, type TableShape } from './table-shape.ts';

/** One leaf descriptor: `size` bytes at `input` map to `output`; `limits` are what the tables above take away. */
export interface Leaf {
  readonly input: number;
  readonly size: number;
  readonly output: number;
  readonly word: U64;
  readonly level: number;
  readonly at: number;
  readonly limits: TableLimits;
}

/** Hierarchical attributes that the tables above a leaf add up to (DDI 0487 D8.4.5). */
export interface TableLimits {
  /** APTable: 0 none, 1 no unprivileged access, 2 no writes, 3 both. */
  readonly ap: number;
  readonly privilegedExecuteNever: boolean;
  readonly unprivilegedExecuteNever: boolean;
}

/**
 * What a scan of tables met beside leaves.
 * @example if (notes.absent > 0) report(`${notes.absent} of ${notes.tables} tables are not in the dump`);
 */
export interface ScanNotes {
  tables: number;
  /** Tables that the dump lacks, or that stage 2 does not map. */
  absent: number;
  /** Descriptors whose encoding is reserved at their level. */
  reserved: number;
  /** The scan was cut: the tables lead to more tables than any dump holds. */
  cut: boolean;
}

const NO_LIMITS: TableLimits = {
  ap: 0,
  privilegedExecuteNever: false,
  unprivilegedExecuteNever: false,
};
/** A scan may meet a table more than once, as aliases are allowed; one that points at itself would never end. */
function mostTables({ image }: TableSource, shape: TableShape): number {
  return 64 + 4 * Math.ceil(image.memory.bytes / shape.granule.bytes);
}

/** Every leaf that tables reach, by input address. */
export function leavesOf(
  source: TableSource,
  shape: TableShape,
  notes: ScanNotes,
): Generator<Leaf> {
  return scan(source, shape, notes, {
    level: shape.startLevel,
    table: shape.root,
    input: shape.base,
    limits: NO_LIMITS,
    most: notes.tables + mostTables(source, shape),
  });
}

interface Place {
  readonly level: number;
  readonly table: number;
  readonly input: number;
  readonly limits: TableLimits;
  /** Tables after which the scan is cut. */
  readonly most: number;
}

function* scan(
  source: TableSource,
  shape: TableShape,
  notes: ScanNotes,
  place: Place,
): Generator<Leaf> {
  const { level, table, input, limits, most } = place;
  if (notes.tables >= most) {
    notes.cut = true;
    return;
  }
  notes.tables++;
  const size = entryBytes(shape, level);
  for (let i = 0; i < entryCount(shape, level); i++) {
    const met = readDescriptor(source, shape, { level, address: table + i * 8 });
    if (met.kind === 'absent') {
      // A page of tables is in a dump as a whole.
      notes.absent++;
      return;
    }
    if (met.kind === 'reserved') notes.reserved++;
    const { word, at } = met;
    if (word === undefined || at === undefined) continue;
    const start = input + i * size;
    if (met.kind === 'table')
      yield* scan(source, shape, notes, {
        level: level + 1,
        table: met.output,
        input: start,
        limits: below(limits, met),
        most,
      });
    else if (met.kind === 'page' || met.kind === 'block')
      yield { input: start, size, output: met.output, word, level, at, limits };
  }
}

function below(limits: TableLimits, met: MetDescriptor): TableLimits {
  const { word, shape } = met;
  if (shape.stage === 2 || word === undefined) return limits;
  const words = [word.lo, word.hi];
  const { get } = VMSAV8_64_TABLE;
  const ap = get.APTable(words);
  const [pxn, uxn] = [get.PXNTable(words) === 1, get.UXNTable(words) === 1];
  if (ap === 0 && !pxn && !uxn) return limits;
  const noUnprivileged = ap % 2 === 1 || limits.ap % 2 === 1;
  const noWrite = ap >= 2 || limits.ap >= 2;
  return {
    ap: (noUnprivileged ? 1 : 0) + (noWrite ? 2 : 0),
    privilegedExecuteNever: pxn || limits.privilegedExecuteNever,
    unprivilegedExecuteNever: uxn || limits.unprivilegedExecuteNever,
  };
}
