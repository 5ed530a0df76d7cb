import type { DmaTableFrames, GenericDriver, IotlbGather, TableShape } from '@iommukit/io-pgtable';
import { forEachEntry } from '@iommukit/io-pgtable';
import { type MemoryView, PhysicalMemory } from '@iommukit/platform';
import { forwardingView } from '../forwarding-view.ts';
import type { RecordedCall } from './recorded-tables.lanes.ts';
import { exactNumber, hex, type JsonRow, wordOf } from './vector-values.lanes.ts';

const TABLE_BYTES = 4096;
const FIRST_BELOW_TOP = 0x10_0000;
const TABLES = 0x1_0000;
const LAST_BYTE = 1n;
const WORD = 64;

/** The last byte of a range whose exclusive end is `end`, as the recordings write it. */
export function inclusiveEnd(end: number): string {
  return hex(BigInt.asUintN(WORD, BigInt(end) - LAST_BYTE));
}

/**
 * Table memory at the addresses of a recording of kind `generic-pt`, and everything that was asked of the outside, in the words of
 * the recording.
 */
export class GenericPtTables {
  readonly memory: PhysicalMemory;
  readonly view: MemoryView;
  readonly frames: DmaTableFrames;
  readonly driver: GenericDriver;
  /** Numbers of the tables that are allocated. */
  readonly live: Set<number> = new Set();
  calls: RecordedCall[] = [];
  /** The k-th allocation, DMA mapping from now on fails; 0: none. */
  failAlloc = 0;
  failDmaMap = 0;
  readonly #base: number;
  readonly #stride: number;
  #count = 0;

  constructor(cfg: JsonRow, where: string) {
    this.#base = exactNumber(cfg['table_base'], `${where}.table_base`);
    this.#stride = exactNumber(cfg['table_stride'], `${where}.table_stride`);
    const memory = new PhysicalMemory([
      { base: this.#base, size: FIRST_BELOW_TOP + this.#stride * TABLES },
    ]);
    this.memory = memory;
    this.view = forwardingView(memory, {
      clean: (pa, bytes) => {
        const table = this.tableOf(pa);
        this.calls.push(['sync', table, hex(pa - this.#paOf(table)), hex(bytes)]);
      },
    });
    const detailed = ((cfg['features'] ?? []) as string[]).includes('DETAILED_GATHER');
    this.frames = {
      alloc: (bytes) => this.#alloc(bytes),
      free: (pa) => this.#free(pa),
      dmaMap: (pa, bytes) => this.#dmaMap(pa, bytes),
      dmaUnmap: (pa, bytes) => {
        this.calls.push(['dma_unmap', this.tableOf(pa), hex(bytes)]);
      },
    };
    this.driver = {
      iotlbSync: (gather: IotlbGather) => {
        const levels = detailed ? [gather.leafLevels, gather.tableLevels] : [];
        this.calls.push([
          'iotlb_sync',
          hex(BigInt(gather.start)),
          inclusiveEnd(gather.end),
          ...levels,
        ]);
      },
      changeTop: (top, level) => {
        this.calls.push(['change_top', this.tableOf(top), level]);
      },
    };
  }

  tableOf(pa: number): number {
    const below = pa - this.#base - FIRST_BELOW_TOP;
    return below < 0 ? 0 : Math.floor(below / this.#stride) + 1;
  }

  /** All tables that can be reached, by number, with their used entries, from memory alone. */
  reachable(shape: TableShape): Map<number, { level: number; entries: Map<number, bigint> }> {
    const found = new Map<number, { level: number; entries: Map<number, bigint> }>();
    const add = (pa: number, level: number): void => {
      found.set(this.tableOf(pa), { level, entries: new Map() });
    };
    for (const root of shape.roots) add(root, shape.topLevel);
    forEachEntry(this.memory, shape, ({ table, index, level, kind, lo, hi }) => {
      found.get(this.tableOf(table))?.entries.set(index, wordOf(lo, hi));
      if (kind === 'table') add(shape.tableAddress(level, lo, hi), level - 1);
    });
    return found;
  }

  #paOf(table: number): number {
    return table === 0 ? this.#base : this.#base + FIRST_BELOW_TOP + (table - 1) * this.#stride;
  }

  #alloc(bytes: number): number {
    if (this.failAlloc > 0 && --this.failAlloc === 0) {
      this.calls.push(['alloc_fail']);
      return -1;
    }
    const table = this.#count++;
    const pa = this.#paOf(table);
    this.live.add(table);
    this.calls.push(['alloc', table, hex(bytes)]);
    // What the last user left, so that a table that was not zeroed shows.
    for (let at = 0; at < TABLE_BYTES; at += 8)
      this.memory.store64(pa + at, 0xdead_beef, 0xdead_beef);
    return pa;
  }

  #free(pa: number): void {
    const table = this.tableOf(pa);
    this.calls.push(['free', table]);
    if (!this.live.delete(table)) this.calls.push(['double free', table]);
  }

  #dmaMap(pa: number, bytes: number): boolean {
    const table = this.tableOf(pa);
    if (this.failDmaMap > 0 && --this.failDmaMap === 0) {
      this.calls.push(['dma_map_fail', table]);
      return false;
    }
    this.calls.push(['dma_map', table, hex(bytes)]);
    return true;
  }
}
