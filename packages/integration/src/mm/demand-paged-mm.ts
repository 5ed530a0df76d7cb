import { type U64, u64 } from '@iommukit/bits';
import type { TableFrames } from '@iommukit/io-pgtable';
import type { ProcessNotifier } from '@iommukit/iommu-core';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { ProcessTables } from '@iommukit/smmu-v3-driver';
import type { Mm, MmAccess, MmFaultResult, VmArea } from '@iommukit/sva-pasid';
import { AreaList, type MappedArea } from './area-list.ts';
import { CpuMmu, PAGE } from './cpu-mmu.lanes.ts';
import type { PageFrames, SavedPage } from './page-frames.ts';

/**
 * What a process is made of.
 * @example const parts: DemandPagedMmParts = { memory, tableFrames, frames: new PageFrames(memory, pool) };
 */
export interface DemandPagedMmParts {
  readonly memory: MemoryView;
  /** Where its page tables come from. */
  readonly tableFrames: TableFrames;
  /** Where its pages come from; processes that fork share one. */
  readonly frames: PageFrames;
}

/**
 * What a process has done.
 * @example mm.counts.evicted // pages that went to make room
 */
export interface MmCounts {
  faults: number;
  zeroPages: number;
  /** Pages copied on a write, or only made writable by their last user. */
  copied: number;
  reused: number;
  evicted: number;
  /** Pages that came back. */
  restored: number;
}

/** Pages that one reclaim takes at a time. */
const RECLAIM = 32;

/**
 * A small process with demand paging: areas, a shared page of zeros for what is only read, copy on write after a fork, and pages that go,
 * and are kept aside, when there are no frames. Its tables are an Arm CPU's, and every change of a valid entry is notified.
 * @example
 * const mm = new DemandPagedMm({ memory, tableFrames, frames });
 * mm.map({ start: 0x10_0000, end: 0x20_0000, allowed: { read: true, write: true, exec: false } });
 * mm.store(0x10_0000, { lo: 1, hi: 0 }); // faults, and the page is there
 */
export class DemandPagedMm implements Mm {
  readonly tables: ProcessTables;
  readonly counts: MmCounts = {
    faults: 0,
    zeroPages: 0,
    copied: 0,
    reused: 0,
    evicted: 0,
    restored: 0,
  };
  readonly #parts: DemandPagedMmParts;
  readonly #mmu: CpuMmu;
  readonly #areas = new AreaList();
  readonly #notifiers = new Set<ProcessNotifier>();
  /** Frames of pages that are present, oldest first. */
  readonly #present = new Map<number, number>();
  /** What pages held that had to go. */
  readonly #aside = new Map<number, SavedPage>();
  #users = 1;

  /** Throws `RangeError` without memory for the first table. */
  constructor(parts: DemandPagedMmParts) {
    this.#parts = parts;
    const mmu = CpuMmu.create(parts.memory, parts.tableFrames);
    if (mmu === null) throw new RangeError('no memory for the tables of a process');
    this.#mmu = mmu;
    this.tables = mmu.tables;
  }

  get users(): number {
    return this.#users;
  }

  /** Pages with a frame, the page of zeros included. */
  get resident(): number {
    return this.#present.size;
  }

  addNotifier(notifier: ProcessNotifier): number {
    if (this.#users === 0) return -ERRNO.EINVAL;
    this.#notifiers.add(notifier);
    return 0;
  }

  removeNotifier(notifier: ProcessNotifier): void {
    this.#notifiers.delete(notifier);
  }

  areaAt(address: number): VmArea | null {
    return this.#areas.at(address)?.allowed ?? null;
  }

  /** Puts an area in place of whatever was there (`mmap` with MAP_FIXED). */
  map(area: MappedArea): void {
    this.unmap(area.start, area.end);
    this.#areas.put(area);
  }

  /** Takes [start, end) out (`munmap`). */
  unmap(start: number, end: number): void {
    this.#areas.cut(start, end);
    const pages = this.#pagesIn(start, end);
    this.#clear(pages);
    for (const page of pages) this.#release(page);
    for (const page of [...this.#aside.keys()])
      if (page >= start && page < end) this.#aside.delete(page);
  }

  /** Changes what the areas in [start, end) allow (`mprotect`). */
  protect(start: number, end: number, allowed: VmArea): void {
    for (const piece of this.#areas.cut(start, end)) this.#areas.put({ ...piece, allowed });
    const pages = this.#pagesIn(start, end);
    this.#clear(pages);
    // Writable only at the next write: the frame may be shared.
    for (const page of pages) this.#enter(page, this.#present.get(page) as number, 'read');
  }

  /** A second process with the same pages, copied when either writes (`fork`). */
  fork(): DemandPagedMm {
    const child = new DemandPagedMm(this.#parts);
    for (const area of this.#areas.areas) child.#areas.put(area);
    for (const [page, saved] of this.#aside) child.#aside.set(page, saved);
    const pages = [...this.#present.keys()].filter((page) => this.#mmu.walk(page)?.write === true);
    this.#clear(pages);
    for (const page of pages) this.#enter(page, this.#present.get(page) as number, 'read');
    for (const [page, frame] of this.#present) {
      this.#parts.frames.hold(frame);
      child.#enter(page, frame, 'read');
      child.#present.set(page, frame);
    }
    return child;
  }

  /** The last user leaves (`exit_mmap`): notifiers first, while the tables stand, then tables and pages. */
  exit(): void {
    if (this.#users === 0) return;
    this.#users = 0;
    for (const notifier of [...this.#notifiers]) notifier.release();
    this.#mmu.free();
    for (const page of [...this.#present.keys()]) this.#release(page);
    this.#aside.clear();
  }

  /** Memory pressure: takes up to `count` pages that no other process has, oldest first, the page of zeros too; returns how many. */
  reclaim(count: number): number {
    const { frames } = this.#parts;
    const victims: number[] = [];
    for (const [page, frame] of this.#present) {
      if (victims.length === count) break;
      if (frames.users(frame) <= 1) victims.push(page);
    }
    this.#clear(victims);
    // Only now: until the invalidation a device may have written.
    for (const page of victims) {
      const frame = this.#present.get(page) as number;
      if (frame !== frames.zero) this.#aside.set(page, frames.save(frame));
      this.#release(page);
    }
    this.counts.evicted += victims.length;
    return victims.length;
  }

  handleFault(address: number, { write }: MmAccess): MmFaultResult {
    const page = address - (address % PAGE);
    const area = this.#areas.at(page);
    if (area === null || this.#users === 0) return 'error';
    this.counts.faults++;
    const frame = this.#present.get(page);
    if (frame === undefined) return this.#bringIn(page, area, write ? 'write' : 'read');
    // Somebody else has brought it in meanwhile.
    if (!write || this.#mmu.walk(page)?.write === true) return 'done';
    return this.#makeWritable(page, frame);
  }

  /** A load of the CPU, 8-byte aligned; null where a process would get SIGSEGV. */
  load(address: number): U64 | null {
    const paddr = this.#reach(address, 'read');
    if (paddr < 0) return null;
    const lo = this.#parts.memory.load64(paddr);
    return u64(lo, this.#parts.memory.hi);
  }

  /** A store of the CPU; false where a process would get SIGSEGV. */
  store(address: number, value: U64): boolean {
    const paddr = this.#reach(address, 'write');
    if (paddr < 0) return false;
    this.#parts.memory.store64(paddr, value.lo, value.hi);
    return true;
  }

  /** Where an access of the CPU ends, faults handled, or -1. */
  #reach(address: number, access: 'read' | 'write'): number {
    const offset = address % PAGE;
    const page = address - offset;
    const write = access === 'write';
    for (let tries = 0; tries < 2; tries++) {
      const found = this.#users === 0 ? null : this.#mmu.walk(page);
      if (found !== null && (!write || found.write)) return found.frame + offset;
      const area = this.areaAt(page);
      if (area === null || !(write ? area.write : area.read)) return -1;
      const result = this.handleFault(address, { write, instruction: false, user: true });
      if (result === 'error') return -1;
    }
    return -1;
  }

  #bringIn(page: number, area: MappedArea, access: 'read' | 'write'): MmFaultResult {
    const { frames } = this.#parts;
    const saved = this.#aside.get(page);
    if (saved === undefined && area.content === undefined && access === 'read') {
      if (this.#enter(page, frames.zero, 'read') !== 0) return 'error';
      this.counts.zeroPages++;
      this.#present.set(page, frames.zero);
      return 'done';
    }
    const frame = this.#frame();
    if (frame < 0) return 'error';
    if (saved !== undefined) {
      frames.restore(frame, saved);
      this.#aside.delete(page);
      this.counts.restored++;
    } else if (area.content !== undefined) {
      const { lo, hi } = area.content(page);
      frames.restore(frame, [[0, lo, hi]]);
    }
    this.#present.set(page, frame);
    return this.#finish(page, frame, area.allowed.write ? 'write' : 'read');
  }

  #makeWritable(page: number, frame: number): MmFaultResult {
    const { frames } = this.#parts;
    if (frames.users(frame) === 1) {
      this.#clear([page]);
      this.counts.reused++;
      return this.#finish(page, frame, 'write');
    }
    const own = this.#frame();
    if (own < 0) return 'error';
    this.#clear([page]);
    frames.copy(frame, own);
    frames.drop(frame);
    this.counts.copied++;
    this.#present.delete(page);
    this.#present.set(page, own);
    return this.#finish(page, own, 'write');
  }

  /** A frame of zeros, at the cost of older pages of this process; -1 when there is none to take. */
  #frame(): number {
    const { frames } = this.#parts;
    let frame = frames.alloc();
    while (frame < 0 && this.reclaim(RECLAIM) > 0) frame = frames.alloc();
    return frame;
  }

  /** Enters a page that is counted as present; without memory for a table it is not. */
  #finish(page: number, frame: number, access: 'read' | 'write'): MmFaultResult {
    if (this.#enter(page, frame, access) === 0) return 'done';
    this.#release(page);
    return 'error';
  }

  #enter(page: number, frame: number, access: 'read' | 'write'): number {
    const allowed = this.areaAt(page) ?? { read: true, write: false, exec: false };
    return this.#mmu.set(page, frame, { ...allowed, write: access === 'write' });
  }

  /** Clears entries, and tells of them in runs. */
  #clear(pages: readonly number[]): void {
    for (const page of pages) this.#mmu.clear(page);
    const sorted = [...pages].sort((a, b) => a - b);
    let start = sorted[0];
    if (start === undefined) return;
    let end = start;
    for (const page of sorted) {
      if (page !== end) {
        this.#notify(start, end);
        start = page;
      }
      end = page + PAGE;
    }
    this.#notify(start, end);
  }

  #notify(start: number, end: number): void {
    for (const notifier of [...this.#notifiers]) notifier.invalidate(start, end);
  }

  /** Gives the frame of a page back, whose entry is cleared. */
  #release(page: number): void {
    const frame = this.#present.get(page);
    if (frame === undefined) return;
    this.#present.delete(page);
    this.#parts.frames.drop(frame);
  }

  #pagesIn(start: number, end: number): number[] {
    return [...this.#present.keys()].filter((page) => page >= start && page < end);
  }
}
