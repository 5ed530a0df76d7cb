import { PTE_HI_XN, PTE_LO_AP_RDONLY } from '@iommukit/arm-arch';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_NOEXEC,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  type LpaePageTable,
  type StageOneRegisters,
  type TableFrames,
  walkTable,
} from '@iommukit/io-pgtable';
import type { MemoryView } from '@iommukit/platform';
import type { ProcessTables } from '@iommukit/smmu-v3-driver';
import type { VmArea } from '@iommukit/sva-pasid';

/** Page of the CPU, bytes. */
export const PAGE = 4096;
const VA_BITS = 48;
const PA_BITS = 48;
/** What an invalidation after each change makes needless. */
const NOTHING_CACHED = { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} };

/**
 * Where a page of a process is, as its tables say.
 * @example const found: CpuTranslation | null = mmu.walk(0x1000);
 */
export interface CpuTranslation {
  /** Physical address of the page. */
  readonly frame: number;
  readonly write: boolean;
  readonly exec: boolean;
}

/**
 * The tables of one process as an Arm CPU with 4 KiB pages uses them, written through `io-pgtable` and read back word by word. Whoever
 * changes an entry sees to the invalidation: nothing is cached here.
 * @example const mmu = CpuMmu.create(memory, frames); mmu?.set(0x1000, frame, { read: true, write: false, exec: false });
 */
export class CpuMmu {
  readonly tables: ProcessTables;
  readonly #memory: MemoryView;
  readonly #table: LpaePageTable<StageOneRegisters>;

  /** Empty tables, or null without memory for them. */
  static create(memory: MemoryView, frames: TableFrames): CpuMmu | null {
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: PAGE,
      ias: VA_BITS,
      oas: PA_BITS,
      coherentWalk: true,
      memory,
      frames,
      flush: NOTHING_CACHED,
      profile: IO_PGTABLE_PROFILES['7.3'],
    });
    return typeof table === 'number' ? null : new CpuMmu(memory, table);
  }

  private constructor(memory: MemoryView, table: LpaePageTable<StageOneRegisters>) {
    this.#memory = memory;
    this.#table = table;
    const { ttbr, tcr, mair } = table.registers;
    this.tables = {
      pgd: ttbr,
      vaBits: VA_BITS,
      pageSize: PAGE,
      ips: tcr.ips,
      mair,
      haft: false,
      bbml2: false,
      asidBits: 16,
    };
  }

  /** Enters a page where none is: 0 or -ENOMEM. */
  set(page: number, frame: number, allowed: VmArea): number {
    const prot =
      IOMMU_READ +
      IOMMU_CACHE +
      (allowed.write ? IOMMU_WRITE : 0) +
      (allowed.exec ? 0 : IOMMU_NOEXEC);
    return this.#table.mapPages(page, frame, PAGE, 1, prot);
  }

  /** Clears the entry of a page. */
  clear(page: number): void {
    this.#table.unmapPages(page, PAGE, 1, new IotlbGather());
  }

  /** What the tables say of a page, or null. */
  walk(page: number): CpuTranslation | null {
    let lo = 0;
    let hi = 0;
    const kind = walkTable(this.#memory, this.#table.shape, page, (entry) => {
      lo = entry.lo;
      hi = entry.hi;
    });
    if (kind !== 'leaf') return null;
    return {
      frame: this.#table.iovaToPhys(page),
      write: (lo & PTE_LO_AP_RDONLY) === 0,
      exec: (hi & PTE_HI_XN) === 0,
    };
  }

  /** Frees the tables; nobody walks them any more. */
  free(): void {
    this.#table.free();
  }
}
