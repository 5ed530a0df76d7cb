import { parseHex64, type U64 } from '@iommukit/bits';
import {
  type Amdv1HwInfo,
  amdv1,
  amdv1Mock,
  createPageTable,
  type GenericConfig,
  type GenericPageTable,
  type PageTableFormat,
  type Riscv64HwInfo,
  riscv64,
  type VtdssHwInfo,
  vtdss,
  type X8664HwInfo,
  x8664,
} from '@iommukit/io-pgtable';
import { GenericPtTables, inclusiveEnd } from './generic-pt-tables.ts';
import type { VectorTally } from './vector-tally.ts';
import { hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

type Opened = GenericPageTable<unknown> | number;

/** A format of a recording: how to make its table, and what its driver is told, in the words of the recording. */
interface RecordedGenericFormat {
  open(config: GenericConfig): Opened;
  hwInfo(table: GenericPageTable<unknown>): JsonRow | undefined;
}

function recorded<H>(
  format: PageTableFormat<GenericConfig, GenericPageTable<H>>,
  hwInfo: (info: H) => JsonRow | undefined,
): RecordedGenericFormat {
  return {
    open: (config) => createPageTable(format, config),
    hwInfo: (table) => hwInfo(table.hwInfo as H),
  };
}

const FORMATS: Readonly<Record<string, RecordedGenericFormat>> = {
  amdv1: recorded(amdv1, ({ hostPtRoot, mode }: Amdv1HwInfo) => ({
    host_pt_root: hex(hostPtRoot),
    mode,
  })),
  amdv1_mock: recorded(amdv1Mock, () => undefined),
  x86_64: recorded(x8664, ({ gcr3Pt, levels }: X8664HwInfo) => ({ gcr3_pt: hex(gcr3Pt), levels })),
  vtdss: recorded(vtdss, ({ ssptptr, aw }: VtdssHwInfo) => ({ ssptptr: hex(ssptptr), aw })),
  riscv_64: recorded(riscv64, ({ ppn, fscIosatpMode }: Riscv64HwInfo) => ({
    ppn: hex(ppn),
    fsc_iosatp_mode: fscIosatpMode,
  })),
};

const CFG_FIELDS = new Set([
  'features',
  'hw_max_vasz_lg2',
  'hw_max_oasz_lg2',
  'starting_level',
  'top_level',
  'sme_me_mask',
  'pgsize_mask',
  'cache_maintenance',
  'debug',
  'fail_alloc',
  'fail_dma_map',
  'table_base',
  'table_stride',
]);

/** The object under `key`, or an error that names it. */
export function rowOf(row: JsonRow, key: string, where: string): JsonRow {
  const value = row[key];
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new VectorError(`${where}.${key}`, 'an object', value);
  return value;
}

/** The list under `key`, or an error that names it. */
export function listOf(row: JsonRow, key: string, where: string): JsonRow[] {
  const value = row[key];
  if (!Array.isArray(value)) throw new VectorError(`${where}.${key}`, 'a list', value);
  return value;
}

/** The small number under `key`, or an error that names it; `absent` where it may be missing. */
export function countOf(row: JsonRow, key: string, where: string, absent?: number): number {
  const value = row[key] ?? absent;
  if (typeof value !== 'number' || !Number.isInteger(value))
    throw new VectorError(`${where}.${key}`, 'a number', value);
  return value;
}

function maskOf(cfg: JsonRow, key: string, where: string): U64 {
  const value: unknown = cfg[key];
  const mask = typeof value === 'string' ? parseHex64(value) : undefined;
  if (mask === undefined) throw new VectorError(`${where}.${key}`, 'a string "0x..."', value);
  return mask;
}

/** A table made as a recording says, and its surroundings; `table` is undefined when it was refused. */
export interface GenericPtOpened {
  readonly table: GenericPageTable<unknown> | undefined;
  readonly tables: GenericPtTables;
}

/**
 * Makes the table of a recorded configuration and compares what came back: `init` of a sequence, or a case of a matrix. Throws
 * {@link VectorError} for an unknown format or a missing field.
 */
export function openGenericPt(
  format: unknown,
  cfg: JsonRow,
  init: JsonRow,
  at: { readonly operation: number; readonly where: string; readonly tally: VectorTally },
): GenericPtOpened {
  const { operation, where, tally } = at;
  const kind =
    typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (kind === undefined)
    throw new VectorError(`${where}.format`, Object.keys(FORMATS).join(', '), format);
  const tables = new GenericPtTables(cfg, `${where}.cfg`);
  tables.failAlloc = countOf(cfg, 'fail_alloc', `${where}.cfg`, 0);
  tables.failDmaMap = countOf(cfg, 'fail_dma_map', `${where}.cfg`, 0);
  let warns = 0;
  const config: GenericConfig = {
    features: listOf(cfg, 'features', `${where}.cfg`) as unknown as GenericConfig['features'],
    hwMaxVaszLg2: countOf(cfg, 'hw_max_vasz_lg2', `${where}.cfg`),
    hwMaxOaszLg2: countOf(cfg, 'hw_max_oasz_lg2', `${where}.cfg`),
    topLevel: countOf(cfg, 'starting_level', `${where}.cfg`, cfg['top_level'] ?? 0),
    ...('sme_me_mask' in cfg && { smeMeMask: maskOf(cfg, 'sme_me_mask', `${where}.cfg`) }),
    ...('pgsize_mask' in cfg && { pgsizeMask: maskOf(cfg, 'pgsize_mask', `${where}.cfg`) }),
    ...('cache_maintenance' in cfg && { cacheMaintenance: cfg['cache_maintenance'] }),
    debug: Boolean(cfg['debug']),
    memory: tables.view,
    frames: tables.frames,
    driver: tables.driver,
    warn: () => {
      warns++;
    },
  };
  const made = kind.open(config);
  const got: JsonRow = { errno: typeof made === 'number' ? made : 0 };
  if (typeof made !== 'number') got['result'] = resultOf(made, kind);
  if (tables.calls.length > 0) got['calls'] = tables.calls;
  if (warns > 0) got['warns'] = warns;
  countOf(init, 'errno', where);
  for (const key of new Set([...Object.keys(init), ...Object.keys(got)]))
    if (key !== 'format' && key !== 'cfg') tally.check(operation, key, got[key], init[key]);
  for (const key of Object.keys(cfg))
    if (!CFG_FIELDS.has(key)) tally.check(operation, `cfg.${key}`, undefined, cfg[key]);
  tables.failAlloc = 0;
  tables.failDmaMap = 0;
  return { table: typeof made === 'number' ? undefined : made, tables };
}

function resultOf(table: GenericPageTable<unknown>, format: RecordedGenericFormat): JsonRow {
  const info = format.hwInfo(table);
  return {
    top_level: table.topLevel,
    max_vasz_lg2: table.maxVaszLg2,
    max_oasz_lg2: table.maxOaszLg2,
    features: table.features,
    pgsize_bitmap: hex(table.offeredPgsizes),
    aperture_start: hex(table.apertureStart),
    aperture_end: inclusiveEnd(table.apertureEnd),
    ...(info !== undefined && { hw_info: info }),
  };
}
