import {
  forEachEntry,
  IO_PGTABLE_PROFILES,
  type PageTable,
  type PageTableConfig,
  type PageTableQuirks,
} from '@iommukit/io-pgtable';
import { type MemoryView, PhysicalMemory } from '@iommukit/platform';
import { forwardingView } from '../forwarding-view.ts';
import { exactNumber, hex, type JsonRow, wordOf } from './vector-values.lanes.ts';

/** One recorded call to the outside: its name and arguments. */
export type RecordedCall = (string | number)[];

const QUIRKS: Record<string, keyof PageTableQuirks | undefined> = {
  ARM_NS: 'ns',
  NO_PERMS: 'noPerms',
  ARM_MTK_EXT: 'mtkExt',
  ARM_MTK_TTBR_EXT: 'mtkTtbrExt',
  ARM_TTBR1: 'ttbr1',
  ARM_OUTER_WBWA: 'outerWbwa',
  ARM_HD: 'hd',
  ARM_S2FWB: 's2fwb',
  NO_WARN: 'noWarn',
};
/** Bits of the quirks in the recorded configuration that came back. */
const QUIRK_BITS: Record<string, number | undefined> = {
  ARM_NS: 0,
  NO_PERMS: 1,
  ARM_MTK_EXT: 3,
  ARM_MTK_TTBR_EXT: 4,
  ARM_TTBR1: 5,
  ARM_OUTER_WBWA: 6,
  ARM_HD: 7,
  ARM_S2FWB: 8,
  NO_WARN: 9,
};

/** The quirks of a recorded configuration as one number. */
export function quirkBits(names: readonly string[]): string {
  return hex(names.reduce((sum, name) => sum + 2 ** (QUIRK_BITS[name] ?? 63), 0));
}

/**
 * Table memory at the addresses of a recording of kind `io-pgtable`, and everything that was asked of the outside, in the words of
 * the recording.
 */
export class RecordedTables {
  readonly memory: PhysicalMemory;
  readonly view: MemoryView;
  /** Live tables by number. */
  readonly live: Map<number, { pa: number; bytes: number }> = new Map();
  calls: RecordedCall[] = [];
  /** The k-th allocation from now on fails; 0: none. */
  failIn = 0;
  /** Low bits of the IOVA that the current operation was recorded with, which no call of the product takes. */
  unaligned = 0n;
  readonly #cfg: JsonRow;
  readonly #base: number;
  readonly #stride: number;
  readonly #cpuPage: number;
  /** Bytes of a table that is handed to the device as it is, not by whole CPU pages. */
  readonly #exactBytes: number;
  readonly #fresh = new Set<number>();
  #count = 0;

  constructor(format: string, cfg: JsonRow) {
    this.#cfg = cfg;
    this.#base = exactNumber(cfg['table_base'], 'cfg.table_base');
    this.#stride = exactNumber(cfg['table_stride'] ?? '0x1000', 'cfg.table_stride');
    this.#cpuPage = exactNumber(cfg['cpu_page_size'], 'cfg.cpu_page_size');
    this.#exactBytes = format === 'arm-v7s' ? 1024 : 0;
    const memory = new PhysicalMemory([{ base: this.#base, size: 0x1000_0000 }]);
    this.memory = memory;
    this.view = forwardingView(memory, {
      clean: (pa, bytes) => this.#clean(pa, bytes),
    });
  }

  config(warn: (text: string) => void): PageTableConfig {
    const cfg = this.#cfg;
    const iovaOf = (iova: number): string => hex(BigInt(iova) + this.unaligned);
    return {
      pgsizeBitmap: exactNumber(cfg['pgsize_bitmap'], 'cfg.pgsize_bitmap'),
      ias: cfg['ias'],
      oas: cfg['oas'],
      coherentWalk: cfg['coherent_walk'],
      // Names the product does not have pass through, so that it has to refuse them.
      quirks: Object.fromEntries(
        (cfg['quirks'] as string[]).map((name) => [QUIRKS[name] ?? name, true]),
      ),
      cpuPageSize: this.#cpuPage,
      memory: this.view,
      frames: { alloc: (bytes) => this.#alloc(bytes), free: (pa) => this.#free(pa) },
      flush: {
        tlbFlushAll: () => this.calls.push(['tlb_flush_all']),
        tlbFlushWalk: (iova, size, granule) =>
          this.calls.push(['tlb_flush_walk', iovaOf(iova), hex(size), hex(granule)]),
        tlbAddPage: (_gather, iova, granule, count) =>
          this.#addPages(BigInt(iova) + this.unaligned, granule, count),
      },
      profile: IO_PGTABLE_PROFILES['7.3'],
      warn,
    };
  }

  paOf(table: number): number {
    return table === 0 ? this.#base : this.#base + 0x10_0000 + (table - 1) * this.#stride;
  }

  tableOf(pa: number): number {
    return pa < this.#base + 0x10_0000
      ? 0
      : Math.floor((pa - this.#base - 0x10_0000) / this.#stride) + 1;
  }

  /** All tables that can be reached, by number, with their entries, from memory alone. */
  reachable(table: PageTable): Map<number, { level: number; entries: Map<number, bigint> }> {
    const { shape } = table;
    const found = new Map<number, { level: number; entries: Map<number, bigint> }>();
    const add = (pa: number, level: number): void => {
      found.set(this.tableOf(pa), { level, entries: new Map() });
    };
    const step = shape.leafLevel > shape.topLevel ? 1 : -1;
    for (const root of shape.roots) add(root, shape.topLevel);
    forEachEntry(this.memory, shape, ({ table: pa, index, level, kind, lo, hi }) => {
      found.get(this.tableOf(pa))?.entries.set(index, wordOf(lo, hi));
      if (kind === 'table') add(shape.tableAddress(level, lo, hi), level + step);
    });
    return found;
  }

  #alloc(bytes: number): number {
    if (this.failIn > 0 && --this.failIn === 0) {
      this.calls.push(['alloc_fail']);
      return -1;
    }
    const table = this.#count++;
    const pa = this.paOf(table);
    this.live.set(table, { pa, bytes });
    this.#fresh.add(table);
    this.calls.push(['alloc', table, hex(bytes)]);
    // What the last user left, so that a table that was not zeroed shows.
    for (let at = 0; at < bytes; at += 8) this.memory.store64(pa + at, 0xdead_beef, 0xdead_beef);
    return pa;
  }

  #free(pa: number): void {
    const table = this.tableOf(pa);
    const bytes = this.live.get(table)?.bytes ?? 0;
    // A table that was refused before it was handed to the device is not taken back either.
    const handed = !this.#cfg['coherent_walk'] && !this.#fresh.delete(table);
    if (handed) this.calls.push(['dma_unmap', table, this.#handed(bytes)]);
    this.calls.push(['free', table]);
    if (!this.live.delete(table)) this.calls.push(['double free', table]);
  }

  /** Consecutive pages are one row of a recording, in however many calls they come. */
  #addPages(iova: bigint, granule: number, count: number): void {
    const last = this.calls.at(-1);
    if (last?.[0] === 'tlb_add_page' && last[2] === hex(granule)) {
      const pages = Number(last[3]);
      if (BigInt(last[1] as string) + BigInt(pages) * BigInt(granule) === iova) {
        last[3] = pages + count;
        return;
      }
    }
    this.calls.push(['tlb_add_page', hex(iova), hex(granule), count]);
  }

  #clean(pa: number, bytes: number): void {
    const table = this.tableOf(pa);
    if (this.#fresh.delete(table)) this.calls.push(['dma_map', table, this.#handed(bytes)]);
    else this.calls.push(['sync', table, hex(pa - this.paOf(table)), hex(bytes)]);
  }

  #handed(bytes: number): string {
    if (bytes === this.#exactBytes) return hex(bytes);
    return hex(Math.ceil(bytes / this.#cpuPage) * this.#cpuPage);
  }
}
