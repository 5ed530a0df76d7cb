import { OAS_BITS } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import type { SharedTables } from './context-descriptor.lanes.ts';
import type { HardwareFeatures } from './hardware-features.ts';

/**
 * The page tables of a process, and what else of its CPU decides whether an SMMU can walk them: the `tables` of a `ProcessSpace`.
 * @example const tables: ProcessTables = { pgd, vaBits: 48, pageSize: 4096, ips: 5, mair, haft: false, bbml2: false, asidBits: 16 };
 */
export interface ProcessTables extends SharedTables {
  /** The CPU changes block sizes without a break in between (FEAT_BBM level 2). */
  readonly bbml2: boolean;
  /** Bits of the CPU's ASIDs. */
  readonly asidBits: 8 | 16;
  /** The ASID that the CPU keeps for this process; only for drivers that share it (`processAsids`). */
  readonly asid?: number;
}

/**
 * Why an SMMU cannot share page tables with a CPU.
 * @example svaRefusal(driver.features, tables) // 'coherency'
 */
export type SvaRefusal =
  | 'coherency'
  | 'va-size'
  | 'bbml2'
  | 'haft'
  | 'page-size'
  | 'output-size'
  | 'asid-size';

/**
 * Whether an SMMU can walk the tables of a process: null, or the first reason why not (`arm_smmu_sva_supported`, which asks the CPU
 * once for all processes).
 * @example if (svaRefusal(driver.features, tables) === null) bind();
 */
export function svaRefusal(
  features: Pick<
    HardwareFeatures,
    'coherent' | 'va52' | 'bbml2' | 'tableAccessFlag' | 'pgsizeBitmap' | 'oas' | 'asidBits'
  >,
  tables: ProcessTables,
): SvaRefusal | null {
  const { vaBits, pageSize } = tables;
  if (!features.coherent) return 'coherency';
  // Only the 64 KiB granule has 52 bits without the descriptors of LPA2, which the kernel does not share.
  if (vaBits === 52 && (pageSize !== 0x1_0000 || !features.va52)) return 'va-size';
  if (tables.bbml2 && !features.bbml2) return 'bbml2';
  if (tables.haft && !features.tableAccessFlag) return 'haft';
  // Sizes on offer are a sum of powers of two.
  if (Math.floor(features.pgsizeBitmap / pageSize) % 2 === 0) return 'page-size';
  if (features.oas < (OAS_BITS[tables.ips] ?? 0)) return 'output-size';
  return features.asidBits < tables.asidBits ? 'asid-size' : null;
}

/** The `tables` of a process as this driver needs them; throws {@link ProcessTablesError} for anything else. */
export function processTablesOf(tables: unknown): ProcessTables {
  if (!hasFields(tables)) throw new ProcessTablesError({ given: String(tables) });
  return tables;
}

function hasFields(tables: unknown): tables is ProcessTables {
  if (typeof tables !== 'object' || tables === null) return false;
  const wanted = { pgd: 'number', vaBits: 'number', pageSize: 'number', ips: 'number' };
  const fields: Readonly<Record<string, unknown>> = { ...tables };
  return (
    Object.entries(wanted).every(([name, type]) => typeof fields[name] === type) &&
    typeof fields['mair'] === 'object'
  );
}

/**
 * An address space was given whose `tables` are not those of an Arm CPU; code `PROCESS_TABLES`.
 * @example try { core.domainAllocSva(device, space); } catch (e) { (e as ProcessTablesError).operands.given; }
 */
export class ProcessTablesError extends IommuError<{ given: string }> {
  override readonly name = 'ProcessTablesError';
  constructor(operands: { given: string }) {
    super(
      'PROCESS_TABLES',
      operands,
      `${operands.given} are no page tables that an SMMUv3 can walk`,
      'Give the ProcessSpace tables with the fields of ProcessTables',
    );
  }
}
