import { SZ_4K, SZ_64K } from '@iommukit/bits';
import {
  armV7s,
  createPageTable,
  type FlushOps,
  HAD_TABLES,
  IO_PGTABLE_PROFILES,
  IotlbGather,
  PageRun,
  type PhysRun,
  type RangeGather,
  type TableFrames,
  type V7sPageTable,
  walkTable,
} from '@iommukit/io-pgtable';
import type { DomainOps, IommuDevice } from '@iommukit/iommu-core';
import { ERRNO, type MemoryView } from '@iommukit/platform';

/** Page sizes of the GPU. */
export const GPU_PAGES: number = SZ_4K + SZ_64K;
const SECTION = 0x10_0000;
const TABLE_BYTES = 1024;

/** What a domain asks of its driver. */
export interface GpuDomainHost {
  readonly memory: MemoryView;
  readonly frames: TableFrames;
  attach(device: IommuDevice, domain: GpuDomain): number;
  /** Drops what is cached with a tag, and waits. */
  invalidate(asid: number): void;
  gatherPages(domain: GpuDomain, gather: IotlbGather, run: GatheredPages): void;
  releaseAsid(asid: number): void;
}

/** Cleared pages: the first IOVA, their size, their number. */
export interface GatheredPages {
  readonly iova: number;
  readonly pgsize: number;
  readonly count: number;
}

/** An address space of the GPU: one short-descriptor table and one tag. Whole ranges are the calls of that table, with what waits collected. */
export class GpuDomain implements DomainOps {
  readonly asid: number;
  readonly table: V7sPageTable;
  mapped = 0;
  failedAt = -1;
  readonly #host: GpuDomainHost;
  readonly #run = new PageRun();
  readonly #scratch = new IotlbGather();
  /** Where cleared pages and tables go while a range is unmapped. */
  #pending: RangeGather | null = null;
  #tablesMade = 0;

  /** A domain, or -ENOMEM. */
  static create(host: GpuDomainHost, asid: number): GpuDomain | number {
    const made: { domain?: GpuDomain } = {};
    const flush: FlushOps = {
      tlbFlushAll: () => host.invalidate(asid),
      tlbFlushWalk: (iova, size) => made.domain?.flushWalk(iova, size),
      tlbAddPage: (gather, iova, pgsize, count) =>
        made.domain?.addPages(gather, { iova, pgsize, count }),
    };
    const table = createPageTable(armV7s, {
      pgsizeBitmap: GPU_PAGES,
      ias: 32,
      oas: 32,
      coherentWalk: true,
      memory: host.memory,
      frames: {
        alloc: (bytes) => made.domain?.allocTable(bytes) ?? host.frames.alloc(bytes),
        free: (pa, bytes) => {
          if (made.domain === undefined) host.frames.free(pa, bytes);
          else made.domain.freeTable(pa, bytes);
        },
      },
      flush,
      profile: IO_PGTABLE_PROFILES['7.3'],
    });
    if (typeof table === 'number') return table;
    made.domain = new GpuDomain(host, asid, table);
    return made.domain;
  }

  private constructor(host: GpuDomainHost, asid: number, table: V7sPageTable) {
    this.#host = host;
    this.asid = asid;
    this.table = table;
  }

  attachDev(device: IommuDevice): number {
    return this.#host.attach(device, this);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const errno = this.table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = this.table.mapped;
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.table.iovaToPhys(iova);
  }

  flushIotlbAll(): void {
    this.#host.invalidate(this.asid);
  }

  iotlbSync(): void {
    this.#host.invalidate(this.asid);
  }

  mapRange(iova: number, runs: readonly PhysRun[], prot: number): number {
    let size = 0;
    for (const { length } of runs) size += length;
    if (iova + size > 2 ** 32) return -ERRNO.ERANGE;
    this.failedAt = this.#firstMapped(iova, iova + size);
    if (this.failedAt >= 0) return -ERRNO.EEXIST;
    const fresh = new Set<number>();
    let at = iova;
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; ) {
        // One table at a time, so that it is known which ones are new.
        const room = Math.min(length - done, SECTION - (at % SECTION));
        this.#run.pick(GPU_PAGES, at, paddr + done, room);
        const before = this.#tablesMade;
        const { pgsize, count } = this.#run;
        const errno = this.table.mapPages(at, paddr + done, pgsize, count, prot);
        if (this.#tablesMade > before) fresh.add(at - (at % SECTION));
        at += this.table.mapped;
        done += this.table.mapped;
        if (errno === 0) continue;
        this.#undo(iova, at, fresh);
        return errno;
      }
    return 0;
  }

  unmapRange(
    iova: number,
    size: number,
    pending: RangeGather,
    _options?: { readonly reuseTables?: boolean },
  ): number {
    this.#pending = pending;
    let done = 0;
    while (done < size) {
      this.#run.pick(GPU_PAGES, iova + done, iova + done, size - done);
      const { pgsize, count } = this.#run;
      const cleared = this.table.unmapPages(iova + done, pgsize, count, this.#scratch);
      if (cleared === 0) break;
      done += cleared;
    }
    this.#pending = null;
    return done;
  }

  /** One command, however many ranges there are. */
  flushRanges(): number {
    this.#host.invalidate(this.asid);
    return 0;
  }

  releaseTable(table: number): void {
    this.#host.frames.free(table, TABLE_BYTES);
  }

  free(): void {
    this.table.free();
    this.#host.releaseAsid(this.asid);
  }

  /** A table went. While a range is unmapped that waits like everything else. */
  flushWalk(iova: number, size: number): void {
    if (this.#pending === null) this.#host.invalidate(this.asid);
    else this.#pending.add(iova, iova + size, HAD_TABLES);
  }

  /** Pages were cleared. */
  addPages(gather: IotlbGather, run: GatheredPages): void {
    if (this.#pending === null) this.#host.gatherPages(this, gather, run);
    else this.#pending.add(run.iova, run.iova + run.pgsize * run.count, run.pgsize);
  }

  allocTable(bytes: number): number {
    const table = this.#host.frames.alloc(bytes);
    if (table >= 0) this.#tablesMade++;
    return table;
  }

  freeTable(pa: number, bytes: number): void {
    if (this.#pending === null) this.#host.frames.free(pa, bytes);
    else this.#pending.detach(pa);
  }

  /** The first IOVA of [start, end) that is mapped, or -1: one look at each entry that is about to be stored. */
  #firstMapped(start: number, end: number): number {
    const { memory } = this.#host;
    for (let at = start; at < end; ) {
      const next = Math.min(end, at - (at % SECTION) + SECTION);
      let first = -1;
      walkTable(memory, this.table.shape, at, (entry) => {
        first = entry.level === this.table.shape.leafLevel ? entry.at : -1;
      });
      for (; first >= 0 && at < next; at += SZ_4K, first += 4)
        if (memory.load32(first) !== 0) return at;
      at = next;
    }
    return -1;
  }

  /** Takes [iova, end) away again, with the tables that were made for it; a device may have seen it. */
  #undo(iova: number, end: number, fresh: ReadonlySet<number>): void {
    const gone = new IotlbGather();
    for (let at = iova; at < end; ) {
      const next = Math.min(end, at - (at % SECTION) + SECTION);
      if (!fresh.has(at - (at % SECTION)))
        this.table.unmapPages(at, SZ_4K, (next - at) / SZ_4K, gone);
      at = next;
    }
    // A section that was empty before holds nothing else: it goes with its table, and with a flush.
    for (const section of fresh) this.table.unmapPages(section, SECTION, 1, gone);
    if (end > iova) this.#host.invalidate(this.asid);
  }
}
