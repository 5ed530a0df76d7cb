import { CD_BYTES, CD_SPLIT, L1CD_BYTES } from '@iommukit/arm-arch';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { CoherentMemory } from './coherent-memory.ts';
import { clear } from './stream-table.ts';
import type { CdTable } from './stream-table-entry.lanes.ts';
import { cdTableDescriptor } from './table-descriptor.ts';

/** Most CDs of a linear table where the SMMU has no two-level ones: 64 KiB of them (`CTXDESC_LINEAR_CDMAX`). */
export const LINEAR_CD_BITS = 10;
/** Values of STE.S1Fmt (IHI 0070 5.2). */
const FORMAT_LINEAR = 0;
const FORMAT_64K_LEAVES = 2;
/** log2 of the CDs of one second-level table (`CTXDESC_SPLIT`). */
const SPLIT = CD_SPLIT[FORMAT_64K_LEAVES];

/** What a CD table is made of. */
export interface ContextTableParts {
  readonly memory: MemoryView;
  readonly source: CoherentMemory;
  /** log2 of the SubstreamIDs of the device. */
  readonly ssidBits: number;
  /** The SMMU reads two-level CD tables. */
  readonly twoLevel: boolean;
}

/** The context descriptors of one device in memory: linear up to 1024, else two levels that grow with the PASIDs in use. */
export class ContextTable {
  readonly base: number;
  readonly format: CdTable['format'];
  readonly cdMax: number;
  readonly #bytes: number;
  readonly #parts: ContextTableParts;
  readonly #secondLevel = new Map<number, number>();

  /** An empty table, or -ENOMEM. */
  static create(parts: ContextTableParts): ContextTable | number {
    const twoLevel = parts.twoLevel && parts.ssidBits > SPLIT;
    const bytes = twoLevel
      ? 2 ** (parts.ssidBits - SPLIT) * L1CD_BYTES
      : 2 ** parts.ssidBits * CD_BYTES;
    const base = parts.source.alloc(bytes);
    if (base < 0) return -ERRNO.ENOMEM;
    clear(parts.memory, base, bytes);
    return new ContextTable(parts, { base, bytes, twoLevel });
  }

  private constructor(
    parts: ContextTableParts,
    made: { readonly base: number; readonly bytes: number; readonly twoLevel: boolean },
  ) {
    this.#parts = parts;
    this.base = made.base;
    this.#bytes = made.bytes;
    this.format = made.twoLevel ? FORMAT_64K_LEAVES : FORMAT_LINEAR;
    this.cdMax = parts.ssidBits;
  }

  /**
   * Makes the CD of a SubstreamID exist (`arm_smmu_alloc_cd_ptr`): 0, 1 when a second-level table was linked, whose level-1 descriptor
   * the SMMU has to forget, or -ENOMEM.
   */
  ensure(ssid: number): number {
    if (this.format === FORMAT_LINEAR) return 0;
    const index = Math.floor(ssid / 2 ** SPLIT);
    if (this.#secondLevel.has(index)) return 0;
    const { memory, source } = this.#parts;
    const bytes = 2 ** SPLIT * CD_BYTES;
    const table = source.alloc(bytes);
    if (table < 0) return -ERRNO.ENOMEM;
    clear(memory, table, bytes);
    this.#secondLevel.set(index, table);
    const descriptor = cdTableDescriptor(table);
    const pa = this.base + index * L1CD_BYTES;
    memory.store64(pa, descriptor[0] as number, descriptor[1] as number);
    memory.clean(pa, L1CD_BYTES);
    return 1;
  }

  /** Physical address of the CD of a SubstreamID, or -1 when nothing made it exist. */
  entry(ssid: number): number {
    if (this.format === FORMAT_LINEAR) return this.base + ssid * CD_BYTES;
    const table = this.#secondLevel.get(Math.floor(ssid / 2 ** SPLIT));
    return table === undefined ? -1 : table + (ssid % 2 ** SPLIT) * CD_BYTES;
  }

  /** Gives the memory back; no STE points here any more. */
  free(): void {
    const { source } = this.#parts;
    for (const table of this.#secondLevel.values()) source.free(table, 2 ** SPLIT * CD_BYTES);
    source.free(this.base, this.#bytes);
  }
}
