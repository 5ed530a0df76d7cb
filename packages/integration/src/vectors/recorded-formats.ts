import {
  appleDart,
  appleDart2,
  arm32LpaeS1,
  arm32LpaeS2,
  arm64LpaeS1,
  arm64LpaeS2,
  armV7s,
  createPageTable,
  type DartPageTable,
  type LpaePageTable,
  type MaliRegisters,
  maliLpae,
  type PageTable,
  type PageTableConfig,
  type PageTableFormat,
  type StageOneRegisters,
  type StageTwoRegisters,
  type V7sPageTable,
} from '@iommukit/io-pgtable';
import { quirkBits, type RecordedTables } from './recorded-tables.lanes.ts';
import { hex, type JsonRow, wordOf } from './vector-values.lanes.ts';

/** A table of a recording, and what its creation answered in the words of the recording. */
export interface OpenedTable {
  readonly table: PageTable;
  readonly result: JsonRow;
}

/** Makes a table of one recorded format, or `undefined` where the product refuses. */
export type RecordedFormat = (
  config: PageTableConfig,
  cfg: JsonRow,
  tables: RecordedTables,
) => OpenedTable | undefined;

function recorded<T extends PageTable>(
  format: PageTableFormat<PageTableConfig, T>,
  resultOf: (table: T, tables: RecordedTables) => JsonRow,
): RecordedFormat {
  return (config, cfg, tables) => {
    const table = createPageTable(format, config);
    if (typeof table === 'number') return undefined;
    const quirks = quirkBits(cfg['quirks']);
    const { pgsizeBitmap } = table;
    const common = { pgsize_bitmap: hex(pgsizeBitmap), quirks };
    return { table, result: { ...common, ...resultOf(table, tables) } };
  };
}

function lpaeShape(table: LpaePageTable<unknown>): JsonRow {
  const { ias, oas, startLevel, bitsPerLevel, topEntries } = table.geometry;
  return {
    ias,
    oas,
    start_level: startLevel,
    bits_per_level: bitsPerLevel,
    pgd_entries: topEntries,
    pgd_bytes: hex(topEntries * 8),
  };
}

function stageOne(table: LpaePageTable<StageOneRegisters>, tables: RecordedTables): JsonRow {
  const { ttbr, tcr, mair } = table.registers;
  return {
    ...lpaeShape(table),
    ttbr: { table: tables.tableOf(ttbr), raw: hex(ttbr) },
    tcr: { ips: tcr.ips, tg: tcr.tg, sh: tcr.sh, orgn: tcr.orgn, irgn: tcr.irgn, tsz: tcr.tsz },
    mair: hex(wordOf(mair.lo, mair.hi)),
  };
}

function stageTwo(table: LpaePageTable<StageTwoRegisters>, tables: RecordedTables): JsonRow {
  const { vttbr, vtcr } = table.registers;
  return {
    ...lpaeShape(table),
    vttbr: { table: tables.tableOf(vttbr), raw: hex(vttbr) },
    vtcr: { ...vtcr },
  };
}

/** Address bits of TRANSTAB come in units of 32 bytes; every table is aligned to 64. */
const TRANSTAB_UNIT = 32;

function mali(table: LpaePageTable<MaliRegisters>, tables: RecordedTables): JsonRow {
  const { transtab, memattr } = table.registers;
  const attrs = transtab % TRANSTAB_UNIT;
  const base = { table: tables.tableOf(transtab - attrs), attrs: hex(attrs), raw: hex(transtab) };
  return { ...lpaeShape(table), transtab: base, memattr: hex(memattr) };
}

function shortDescriptors(table: V7sPageTable, tables: RecordedTables): JsonRow {
  const { base, ias, oas, registers, shape } = table;
  const { ttbr, tcr, nmrr, prrr } = registers;
  const pgdEntries = shape.entryCount(shape.topLevel);
  const attrs = ttbr - (base % 2 ** 32);
  return {
    ias,
    oas,
    pgd_entries: pgdEntries,
    pgd_bytes: hex(pgdEntries * shape.entryBytes),
    ttbr: { table: tables.tableOf(base), attrs: hex(attrs), raw: hex(ttbr) },
    tcr: hex(tcr),
    nmrr: hex(nmrr),
    prrr: hex(prrr),
  };
}

function dart(table: DartPageTable, tables: RecordedTables): JsonRow {
  const { ttbr, nTtbrs, nLevels, bitsPerLevel } = table.registers;
  return {
    ias: table.ias,
    oas: table.oas,
    bits_per_level: bitsPerLevel,
    n_ttbrs: nTtbrs,
    n_levels: nLevels,
    ttbr: ttbr.map((pa) => ({ table: tables.tableOf(pa), raw: hex(pa) })),
  };
}

/** The formats of recordings of kind `io-pgtable`, by their recorded names. */
export const RECORDED_FORMATS: Readonly<Record<string, RecordedFormat | undefined>> = {
  'arm-64-lpae-s1': recorded(arm64LpaeS1, stageOne),
  'arm-64-lpae-s2': recorded(arm64LpaeS2, stageTwo),
  'arm-32-lpae-s1': recorded(arm32LpaeS1, stageOne),
  'arm-32-lpae-s2': recorded(arm32LpaeS2, stageTwo),
  'mali-lpae': recorded(maliLpae, mali),
  'arm-v7s': recorded(armV7s, shortDescriptors),
  'apple-dart': recorded(appleDart, dart),
  'apple-dart2': recorded(appleDart2, dart),
};
