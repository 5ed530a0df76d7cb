import { HAD_TABLES, type IotlbGather, type PhysRun, type RangeGather } from '@iommukit/io-pgtable';
import type { DomainOps, DomainType, IommuDevice, IommuDomain } from '../src/index.ts';
import type { ToyDriver } from './toy-driver.ts';

export const PAGE = 0x1000;
export const SLOT = 0x20_0000;
const PER_TABLE = 512;
export const SPACE = 2 ** 40;
/** What a freed table translates to. */
export const POISON = 0xdead_0000;

/** A table that a walker may hold on to; a freed one is filled with rubbish. */
interface Table {
  readonly id: number;
  /** Physical addresses plus 1 of pages; 0: nothing. */
  readonly entries: Float64Array;
}

type Slot = Table | { readonly block: number };

const isTable = (slot: Slot | undefined): slot is Table => slot !== undefined && 'entries' in slot;

/** A domain of the toy hardware: 4 KiB pages in tables of 512, 2 MiB blocks; caches of both translations and table pointers. */
export class ToyDomain implements DomainOps {
  mapped = 0;
  failedAt = -1;
  readonly type: DomainType;
  readonly driver: ToyDriver;
  readonly slots: Map<number, Slot>;
  readonly tlb: Map<number, number> = new Map();
  readonly pointers: Map<number, Table> = new Map();
  readonly detached: Map<number, Table> = new Map();
  domain: IommuDomain | null = null;
  freed = false;
  /** Errno of the next attach of a device by name, of the next flush, of the next publication. */
  attachErrno: (device: IommuDevice) => number = () => 0;
  pasidErrno: (device: IommuDevice) => number = () => 0;
  flushErrno = 0;
  syncMapErrno = 0;
  mapRange?: DomainOps['mapRange'] & {};
  unmapRange?: DomainOps['unmapRange'] & {};
  flushRanges?: DomainOps['flushRanges'] & {};
  releaseTable?: DomainOps['releaseTable'] & {};
  iotlbSyncMap?: (iova: number, size: number) => number;

  constructor(driver: ToyDriver, type: DomainType) {
    this.driver = driver;
    this.type = type;
    const shared = driver.defect === 'domains share a table' ? driver.domains[0] : undefined;
    this.slots = shared?.slots ?? new Map();
    const { options } = driver;
    if (options.ranges !== false) {
      this.mapRange = (iova, runs, prot) => this.#mapRange(iova, runs, prot);
      if (driver.defect !== 'half of the range operations') {
        this.unmapRange = (iova, size, pending, how) => this.#unmapRange(iova, size, pending, how);
        this.flushRanges = (pending) => this.#flushRanges(pending);
        this.releaseTable = (table) => this.#release(table);
      }
    }
    if (options.syncMap === true)
      this.iotlbSyncMap = (iova, size) => {
        driver.commands.push(['sync_map', iova, size]);
        return this.syncMapErrno;
      };
  }

  attachDev(device: IommuDevice): number {
    const { driver } = this;
    const errno = this.attachErrno(device);
    if (errno !== 0) return errno;
    if (driver.defect !== 'attach forgets' || !driver.streams.has(device))
      driver.streams.set(device, this);
    driver.commands.push(['attach']);
    return 0;
  }

  setDevPasid(device: IommuDevice, pasid: number, _old: IommuDomain | null): number {
    const { driver } = this;
    const errno = this.pasidErrno(device);
    if (errno !== 0) return errno;
    const key = `${device.name}/${pasid}`;
    if (this.type !== 'blocked') {
      const wrong =
        driver.defect === 'PASIDs share the domain'
          ? driver.pasids.get(`${device.name}/1`)
          : undefined;
      driver.pasids.set(key, wrong ?? this);
    } else if (driver.defect !== 'a PASID stays') driver.pasids.delete(key);
    driver.commands.push(['pasid', pasid]);
    return 0;
  }

  #table(slot: number): Table | undefined {
    const at = this.slots.get(slot);
    return isTable(at) ? at : undefined;
  }

  #new(): Table | undefined {
    if (!this.driver.frames.alloc()) return undefined;
    return { id: ++this.driver.tableId, entries: new Float64Array(PER_TABLE) };
  }

  #free(table: Table): void {
    table.entries.fill(POISON + 1);
    if (this.driver.defect !== 'leaks a table') this.driver.frames.used--;
  }

  #empty(table: Table): boolean {
    return table.entries.every((entry) => entry === 0);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const { defect } = this.driver;
    this.mapped = 0;
    if (prot % 4 === 0 && defect !== 'ignores the protection') return -22;
    const slot = Math.floor(iova / SLOT);
    if (pgsize === SLOT) {
      for (let i = 0; i < pgcount; i++) {
        const old = this.slots.get(slot + i);
        if (isTable(old) && this.#empty(old)) {
          this.#invalidate((slot + i) * SLOT, (slot + i + 1) * SLOT, 'all');
          this.#sync();
          this.#free(old);
        } else if (old !== undefined && defect !== 'mapPages overwrites') return -17;
        this.slots.set(slot + i, { block: paddr + i * SLOT });
        this.mapped += SLOT;
      }
      return 0;
    }
    let table = this.slots.get(slot);
    if (table === undefined) {
      table = this.#new();
      if (table === undefined) return -12;
      this.slots.set(slot, table);
    }
    if (!isTable(table)) return -17;
    const first = (iova - slot * SLOT) / PAGE;
    const count = Math.min(pgcount, PER_TABLE - first);
    for (let i = 0; i < count; i++) {
      if (table.entries[first + i] !== 0 && defect !== 'mapPages overwrites') {
        if (defect === 'mapPages says nothing of a part') this.mapped = 0;
        return defect === 'positive errno' ? 17 : -17;
      }
      table.entries[first + i] = paddr + i * PAGE + 1;
      this.mapped += PAGE;
    }
    if (defect === 'mapPages counts wrongly') this.mapped += PAGE;
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    const { driver } = this;
    const { core, defect } = driver;
    const slot = Math.floor(iova / SLOT);
    let done = 0;
    if (pgsize === SLOT) {
      for (; done < pgcount; done++) {
        const old = this.slots.get(slot + done);
        if (old === undefined) break;
        this.slots.delete(slot + done);
        const start = (slot + done) * SLOT;
        if (isTable(old)) {
          this.#invalidate(start, start + SLOT, 'all');
          this.#sync();
          this.#free(old);
        }
        if (!gather.queued && core !== null && this.domain !== null)
          core.gatherAddPages(this.domain, gather, start, SLOT, 1);
      }
      return done * SLOT;
    }
    const table = this.#table(slot);
    if (table === undefined) return 0;
    const first = (iova - slot * SLOT) / PAGE;
    for (const limit = Math.min(pgcount, PER_TABLE - first); done < limit; done++) {
      if (table.entries[first + done] === 0 && defect !== 'unmapPages passes a hole') break;
      table.entries[first + done] = 0;
    }
    if (done > 0 && !gather.queued && core !== null && this.domain !== null)
      core.gatherAddPages(this.domain, gather, iova, PAGE, done);
    return done * PAGE;
  }

  iovaToPhys(iova: number): number {
    const { defect } = this.driver;
    const low = defect === 'iovaToPhys loses the offset' ? iova - (iova % PAGE) : iova;
    const at = this.walk(low, this.slots.get(Math.floor(iova / SLOT)));
    return at ?? (defect === 'iovaToPhys of a hole' ? iova : 0);
  }

  walk(iova: number, slot: Slot | undefined): number | undefined {
    const offset = iova % SLOT;
    if (slot === undefined) return undefined;
    if (!isTable(slot)) return slot.block + offset;
    const entry = slot.entries[Math.floor(offset / PAGE)] as number;
    return entry === 0 ? undefined : entry - 1 + (iova % PAGE);
  }

  /** DMA: through whatever is cached. */
  access(iova: number): number | undefined {
    const page = iova - (iova % PAGE);
    const hit = this.tlb.get(page);
    if (hit !== undefined) return hit + (iova % PAGE);
    const number = Math.floor(iova / SLOT);
    const slot = this.pointers.get(number) ?? this.slots.get(number);
    if (isTable(slot)) this.pointers.set(number, slot);
    const paddr = this.walk(page, slot);
    if (paddr === undefined) return undefined;
    this.tlb.set(page, paddr);
    return paddr + (iova % PAGE);
  }

  #invalidate(start: number, end: number, what: 'leaves' | 'all'): void {
    const { driver } = this;
    driver.commands.push(['inv', start, end, what === 'all' ? 0 : 1]);
    if (driver.defect === 'no invalidation') return;
    const to = driver.defect === 'invalidates one page' ? start + PAGE : end;
    for (const page of this.tlb.keys()) if (page >= start && page < to) this.tlb.delete(page);
    if (what === 'leaves' || driver.defect === 'invalidation keeps table pointers') return;
    for (const slot of this.pointers.keys())
      if (slot * SLOT < end && (slot + 1) * SLOT > start) this.pointers.delete(slot);
  }

  #sync(): void {
    this.driver.commands.push(['sync']);
  }

  flushIotlbAll(): void {
    this.#invalidate(0, SPACE, 'all');
    this.#sync();
  }

  iotlbSync(gather: IotlbGather): void {
    if (gather.pgsize === 0) return;
    this.#invalidate(gather.start, gather.end, 'leaves');
    this.#sync();
  }

  /** Every page of a range with what it should translate to, in steps of pages or of blocks where those fit. */
  *#pieces(iova: number, runs: readonly PhysRun[]): Generator<[number, number, number]> {
    let at = iova;
    for (const { paddr, length } of runs) {
      let done = 0;
      while (done < length) {
        const here = at + done;
        const there = paddr + done;
        const large = here % SLOT === 0 && there % SLOT === 0 && length - done >= SLOT;
        yield [here, there, large ? SLOT : PAGE];
        done += large ? SLOT : PAGE;
      }
      at += length;
    }
  }

  #mapRange(iova: number, runs: readonly PhysRun[], prot: number): number {
    const { driver } = this;
    const { defect } = driver;
    this.failedAt = -1;
    driver.rangeCalls++;
    if (prot % 4 === 0) return -22;
    if (defect === 'mapRange maps nothing') return 0;
    const made = new Map<number, Table>();
    const emptied: number[] = [];
    for (const [at, , size] of this.#pieces(iova, runs)) {
      const slot = this.slots.get(Math.floor(at / SLOT));
      const refuse = (failedAt: number): number => {
        if (defect !== 'mapRange tells no page') this.failedAt = failedAt;
        if (defect !== 'mapRange is not atomic')
          for (const table of made.values()) this.#free(table);
        return -17;
      };
      if (size === SLOT) {
        if (!isTable(slot) && slot !== undefined) return refuse(at);
        if (isTable(slot)) {
          const live = slot.entries.findIndex((entry) => entry !== 0);
          if (live >= 0) return refuse(at + live * PAGE);
          emptied.push(at / SLOT);
        }
        continue;
      }
      if (slot !== undefined && !isTable(slot)) return refuse(at);
      if (defect !== 'mapRange overwrites' && this.walk(at, slot) !== undefined) return refuse(at);
      const number = Math.floor(at / SLOT);
      if (slot !== undefined || made.has(number)) continue;
      const table = this.#new();
      if (table === undefined) {
        if (defect !== 'mapRange is not atomic')
          for (const other of made.values()) this.#free(other);
        else for (const [n, other] of made) this.slots.set(n, other);
        return -12;
      }
      made.set(number, table);
    }
    for (const number of emptied) {
      this.#invalidate(number * SLOT, (number + 1) * SLOT, 'all');
      this.#sync();
      this.#free(this.slots.get(number) as Table);
      this.slots.delete(number);
    }
    for (const [at, paddr, size] of this.#pieces(iova, runs)) {
      const number = Math.floor(at / SLOT);
      if (size === SLOT) {
        this.slots.set(number, { block: paddr });
        continue;
      }
      const table = this.#table(number) ?? (made.get(number) as Table);
      table.entries[(at - number * SLOT) / PAGE] = paddr + 1;
    }
    for (const [number, table] of made) this.slots.set(number, table);
    return 0;
  }

  #unmapRange(
    iova: number,
    size: number,
    pending: RangeGather,
    how: { readonly reuseTables?: boolean } | undefined,
  ): number {
    const { driver } = this;
    const { defect } = driver;
    driver.rangeCalls++;
    const note = (start: number, end: number, kind: number): void => {
      if (defect !== 'unmapRange keeps its records') pending.add(start, end, kind);
    };
    let done = 0;
    while (done < size) {
      const at = iova + done;
      const number = Math.floor(at / SLOT);
      const slot = this.slots.get(number);
      const whole = at % SLOT === 0 && size - done >= SLOT;
      if (slot === undefined || (!whole && !isTable(slot))) break;
      if (!isTable(slot)) {
        this.slots.delete(number);
        note(at, at + SLOT, SLOT);
        done += SLOT;
      } else if (
        whole &&
        slot.entries.every((entry) => entry !== 0) &&
        (how?.reuseTables !== true || defect === 'reuse detaches')
      ) {
        this.slots.delete(number);
        note(at, at + SLOT, HAD_TABLES);
        if (defect === 'unmapRange frees at once') this.#free(slot);
        else {
          this.detached.set(slot.id, slot);
          pending.detach(slot.id);
        }
        done += SLOT;
      } else {
        const first = (at - number * SLOT) / PAGE;
        const limit = Math.min(PER_TABLE - first, (size - done) / PAGE);
        let cleared = 0;
        while (cleared < limit && slot.entries[first + cleared] !== 0)
          slot.entries[first + cleared++] = 0;
        if (cleared > 0) note(at, at + cleared * PAGE, PAGE);
        done += cleared * PAGE;
        if (cleared < limit) break;
      }
    }
    if (defect === 'unmapRange sends commands') this.#sync();
    return done;
  }

  #flushRanges(pending: RangeGather): number {
    const { driver } = this;
    if (this.flushErrno !== 0) return this.flushErrno;
    let left = pending.records;
    pending.forEach((start, end, leafSize) => {
      left--;
      if (
        left === 0 &&
        pending.records > 1 &&
        driver.defect === 'flushRanges forgets the last record'
      )
        return;
      this.#invalidate(start, end, leafSize === HAD_TABLES ? 'all' : 'leaves');
    });
    this.#sync();
    return 0;
  }

  #release(id: number): void {
    const table = this.detached.get(id);
    if (table === undefined) throw new Error(`table ${id} was released twice`);
    this.detached.delete(id);
    this.#free(table);
  }

  free(): void {
    if (this.freed) throw new Error('freed twice');
    this.freed = true;
    if (this.driver.defect === 'frees nothing') return;
    this.flushIotlbAll();
    for (const slot of this.slots.values()) if (isTable(slot)) this.#free(slot);
    for (const table of this.detached.values()) this.#free(table);
    this.slots.clear();
  }
}
