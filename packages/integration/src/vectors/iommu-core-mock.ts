import type { IotlbGather } from '@iommukit/io-pgtable';
import type { DomainOps, IommuCore, IommuDomain } from '@iommukit/iommu-core';
import { hex } from './vector-values.lanes.ts';

/** How the recorded mock driver misbehaves: `mock` of a case of kind `iommu-core`, as the data's documentation says. */
export interface CoreMock {
  readonly per_call?: number;
  readonly table?: number;
  readonly fail_call?: number;
  readonly fail_errno?: number;
  readonly fail_pages?: number;
  readonly unmap_zero?: number;
  readonly gather?: 'page' | 'range';
  readonly no_sync?: number;
  readonly no_sync_map?: number;
  readonly sync_fail?: number;
  readonly sync_errno?: number;
}

/** A call of the driver: its name, then scalars; page lists alone are lists. */
export type CoreCall = (string | number | readonly number[])[];

const PER_TABLE = 512;
/** Where what is mapped before a case is mapped to, above its IOVA. */
const BEFORE = 0x90_0000_0000;
const ALL = 2 ** 64;

/** The start of a gather; the kernel's empty one starts at the last byte. */
export function startText(start: number): string {
  return start === ALL ? '0xffffffffffffffff' : hex(start);
}

/** The inclusive end that the kernel keeps. */
export function lastText(end: number): string {
  return end === 0 ? '0x0' : hex(BigInt(end) - 1n);
}

interface Mapping {
  readonly start: number;
  readonly end: number;
  /** Physical address minus IOVA. */
  readonly shift: number;
}

/** The recorded mock driver: a set of mapped bytes, and a list of what core asked for. */
export class CoreMockDomain implements DomainOps {
  readonly calls: CoreCall[] = [];
  mapped = 0;
  domain: IommuDomain | null = null;
  iotlbSyncMap?: (iova: number, size: number) => number;
  readonly #core: IommuCore;
  readonly #mock: CoreMock;
  #mappings: Mapping[] = [];
  #maps = 0;
  #unmaps = 0;
  #syncMaps = 0;

  constructor(core: IommuCore, mock: CoreMock) {
    this.#core = core;
    this.#mock = mock;
    if (mock.no_sync_map === undefined)
      this.iotlbSyncMap = (iova, size) => {
        const fails = ++this.#syncMaps === mock.sync_fail;
        const errno = fails ? -(mock.sync_errno ?? 0) : 0;
        this.calls.push(['sync_map', hex(iova), hex(size), ...(errno === 0 ? [] : [errno])]);
        return errno;
      };
  }

  /** What is mapped when the case begins. */
  preset(start: number, size: number): void {
    this.#mappings.push({ start, end: start + size, shift: BEFORE });
  }

  attachDev(): number {
    return 0;
  }

  #limit(iova: number, pgsize: number, count: number): number {
    const { per_call, table } = this.#mock;
    const toBoundary = PER_TABLE - Number((BigInt(iova) / BigInt(pgsize)) % BigInt(PER_TABLE));
    return Math.min(count, per_call ?? count, table === undefined ? count : toBoundary);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const { fail_call, fail_pages = 0, fail_errno = 0 } = this.#mock;
    const fails = ++this.#maps === fail_call;
    const limit = this.#limit(iova, pgsize, pgcount);
    const pages = fails ? Math.min(limit, fail_pages) : limit;
    const errno = fails ? -fail_errno : 0;
    this.mapped = pages * pgsize;
    if (pages > 0)
      this.#mappings.push({ start: iova, end: iova + this.mapped, shift: paddr - iova });
    const call: CoreCall = ['map', hex(iova), hex(paddr), hex(pgsize), pgcount, prot];
    if (pages !== pgcount || errno !== 0) call.push(hex(this.mapped), errno);
    this.calls.push(call);
    return errno;
  }

  #covers(start: number, end: number): boolean {
    let at = start;
    while (at < end) {
      const here = at;
      const hit = this.#mappings.find((mapping) => mapping.start <= here && here < mapping.end);
      if (hit === undefined) return false;
      at = hit.end;
    }
    return true;
  }

  #clear(start: number, end: number): void {
    this.#mappings = this.#mappings.flatMap((mapping) => {
      if (mapping.end <= start || mapping.start >= end) return [mapping];
      const below = { ...mapping, end: start };
      const above = { ...mapping, start: end };
      return [below, above].filter((part) => part.start < part.end);
    });
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    const { unmap_zero, gather: kind } = this.#mock;
    const limit = ++this.#unmaps === unmap_zero ? 0 : this.#limit(iova, pgsize, pgcount);
    const call: CoreCall = ['unmap', hex(iova), hex(pgsize), pgcount];
    // Before the calls that a gather makes.
    this.calls.push(call);
    let done = 0;
    while (done < limit && this.#covers(iova + done * pgsize, iova + (done + 1) * pgsize)) done++;
    const bytes = done * pgsize;
    this.#clear(iova, iova + bytes);
    if (done !== pgcount) call.push(hex(bytes));
    if (bytes === 0 || gather.queued || this.domain === null) return bytes;
    if (kind === 'page') this.#core.gatherAddPages(this.domain, gather, iova, pgsize, done);
    else if (kind === 'range') gather.addRange(iova, bytes);
    return bytes;
  }

  iovaToPhys(iova: number): number {
    const hit = this.#mappings.find(({ start, end }) => start <= iova && iova < end);
    return hit === undefined ? 0 : iova + hit.shift;
  }

  flushIotlbAll(): void {
    this.calls.push(['flush_all']);
  }

  iotlbSync(gather: IotlbGather): void {
    if (this.#mock.no_sync !== undefined) return;
    const call: CoreCall = [
      'sync',
      startText(gather.start),
      lastText(gather.end),
      hex(gather.pgsize),
    ];
    if (gather.queued) call.push(1);
    this.calls.push(call);
  }

  free(): void {}
}
