/* Processes that devices share tables with: pages come by faults, go under pressure, and are used by CPU and devices alike. */
import { SZ_2M } from '@iommukit/bits';
import { FrameAllocator } from '@iommukit/platform';
import { Endpoint, type StallEnd, type StalledTransaction } from '@iommukit/smmu-v3-model';
import {
  IOMMU_FIRST_GLOBAL_PASID,
  PasidAllocator,
  type SharedIoMm,
  SvaBinder,
  svaBindDevice,
  svaUnbindDevice,
} from '@iommukit/sva-pasid';
import { DemandPagedMm } from '../mm/demand-paged-mm.ts';
import { PageFrames } from '../mm/page-frames.ts';
import { PASID_DEVICE, type SoakDevice, type SoakMachine, STALL_DEVICE } from './soak-machine.ts';
import type { SoakOperation } from './soak-operation.ts';

const PAGE = 4096;
const TABLES = { base: 0x4000_0000, size: SZ_2M };
/** Fewer frames than pages: some must always go. */
const FRAMES = { base: 0x4200_0000, size: 64 * PAGE };
const PROCESSES = 2;
const START = 0x7f00_001f_0000;
const HI = Math.floor(START / 2 ** 32);
const PAGES = 64;
const LAST_PASID = 511;
/** Stalled accesses at a time. */
const MOST_WAITING = 8;
const ALLOWED = { read: true, write: true, exec: false };

interface Process {
  readonly mm: DemandPagedMm;
  readonly stalling: SharedIoMm;
  readonly plain: SharedIoMm;
  /** First words of pages, by address; absent: zero. */
  readonly words: Map<number, number>;
}

interface Access {
  readonly process: Process;
  readonly address: number;
  /** What is written; null for a read. */
  readonly word: number | null;
}

/** The processes of a soak and the devices that are bound to them. */
export class SoakShared {
  readonly #on: SoakMachine;
  readonly #binder: SvaBinder;
  readonly #tables: FrameAllocator = new FrameAllocator(TABLES);
  readonly #pool: FrameAllocator = new FrameAllocator(FRAMES);
  readonly #frames: PageFrames;
  readonly #stalling: SoakDevice;
  readonly #plain: SoakDevice;
  readonly #live = new Map<number, Process>();
  #waiting: Access[] = [];

  constructor(on: SoakMachine) {
    this.#on = on;
    const { machine } = on;
    this.#frames = new PageFrames(machine.memory, this.#pool);
    this.#binder = new SvaBinder(
      machine.core,
      new PasidAllocator({ first: IOMMU_FIRST_GLOBAL_PASID, last: LAST_PASID, order: 'lowest' }),
    );
    this.#stalling = on.device(STALL_DEVICE);
    this.#plain = on.device(PASID_DEVICE);
    const { streamId } = this.#stalling;
    const endpoint = new Endpoint({ smmu: machine.model, streamId });
    // A retry that translates moves its data then and there: later its page may be another's.
    endpoint.stallEnded = (transaction, end) => this.#ended(transaction, end);
  }

  /** A process begins and both devices are bound to it, or the process of the slot ends. */
  process({ slot, seed }: SoakOperation): void {
    const index = slot % PROCESSES;
    const known = this.#live.get(index);
    if (known !== undefined) {
      this.#exit(index, known, seed % 2 === 0 ? 'unbind-first' : 'exit-first');
      return;
    }
    const { memory } = this.#on.machine;
    const mm = new DemandPagedMm({ memory, tableFrames: this.#tables, frames: this.#frames });
    mm.map({ start: START, end: START + PAGES * PAGE, allowed: ALLOWED });
    const stalling = svaBindDevice(this.#binder, this.#stalling.device, mm);
    const plain = svaBindDevice(this.#binder, this.#plain.device, mm);
    if (typeof stalling === 'number' || typeof plain === 'number') {
      this.#on.violation.report('result', `svaBindDevice: ${String(stalling)}, ${String(plain)}`);
      return;
    }
    this.#on.digest.add(stalling.pasid);
    this.#live.set(index, { mm, stalling, plain, words: new Map() });
  }

  /** A device uses a page: one that stalls any, the other one that the CPU has just used. */
  dma({ slot, at, seed, device }: SoakOperation): void {
    const process = this.#live.get(slot % PROCESSES);
    if (process === undefined) return;
    const address = START + (at % PAGES) * PAGE;
    const access = { process, address, word: seed % 2 === 0 ? seed : null };
    if (device % 2 === 0) {
      if (this.#waiting.length >= MOST_WAITING) this.#on.machine.faults?.flush();
      this.#send(this.#stalling, access);
    } else {
      this.#cpu(access);
      this.#send(this.#plain, { ...access, word: access.word === null ? seed : null });
    }
  }

  /** The CPU uses a page. */
  cpu({ slot, at, seed }: SoakOperation): void {
    const process = this.#live.get(slot % PROCESSES);
    const address = START + (at % PAGES) * PAGE;
    if (process !== undefined) this.#cpu({ process, address, word: seed % 2 === 0 ? seed : null });
  }

  /** One piece of fault work is done, not always the oldest. */
  faults({ seed }: SoakOperation): void {
    const { faults } = this.#on.machine;
    if (faults !== null && faults.queued > 0) faults.step(seed % faults.queued);
  }

  /** Pages go: what they hold is kept aside. */
  reclaim({ slot, pages }: SoakOperation): void {
    const gone = this.#live.get(slot % PROCESSES)?.mm.reclaim(pages);
    if (gone !== undefined) this.#on.digest.add(gone);
  }

  /** Pages go for good, and others of zeros take their place. */
  discard({ slot, at, pages }: SoakOperation): void {
    const process = this.#live.get(slot % PROCESSES);
    if (process === undefined) return;
    const first = Math.min(at % PAGES, PAGES - pages);
    const start = START + first * PAGE;
    const end = start + pages * PAGE;
    process.mm.map({ start, end, allowed: ALLOWED });
    for (let page = start; page < end; page += PAGE) process.words.delete(page);
  }

  /** Ends all processes, and says what is left of them. */
  end(): void {
    const { violation } = this.#on;
    for (const [index, process] of [...this.#live]) this.#exit(index, process, 'unbind-first');
    const left = [
      ['accesses wait', this.#waiting.length],
      ['global PASIDs leak', this.#binder.pasids.used],
      ['tables of processes leak', this.#tables.used],
      ['pages of processes leak', this.#frames.used],
      ['page request groups are without answer', this.#on.machine.faults?.pending ?? 0],
    ] as const;
    for (const [what, count] of left) if (count !== 0) violation.report('leak', `${count} ${what}`);
  }

  #exit(index: number, process: Process, order: 'unbind-first' | 'exit-first'): void {
    this.#on.machine.faults?.flush();
    this.#live.delete(index);
    if (order === 'exit-first') process.mm.exit();
    svaUnbindDevice(process.plain);
    svaUnbindDevice(process.stalling);
    process.mm.exit();
  }

  #cpu({ process, address, word }: Access): void {
    const { violation, digest } = this.#on;
    if (word !== null) {
      if (!process.mm.store(address, { lo: word, hi: 0 }))
        violation.report('refused', `the CPU cannot store at 0x${address.toString(16)}`);
      process.words.set(address, word);
      return;
    }
    const got = process.mm.load(address);
    digest.add(got?.lo ?? -1);
    if (got?.lo !== (process.words.get(address) ?? 0))
      violation.report('bytes', `the CPU reads ${got?.lo} at 0x${address.toString(16)}`);
  }

  #send(device: SoakDevice, access: Access): void {
    const { process, address, word } = access;
    const result = this.#on.machine.model.translate({
      streamId: device.streamId,
      substreamId: process.plain.pasid,
      address: { lo: address % 2 ** 32, hi: HI },
      rw: word === null ? 'read' : 'write',
    });
    if (result.outcome === 'stall') this.#waiting.push(access);
    else if (result.outcome === 'ok') this.#move(access, result.paddr);
    else if (device === this.#plain && word !== null) this.#on.digest.add(-2);
    else
      this.#on.violation.report(
        'refused',
        `${device.device.name} at 0x${address.toString(16)}: ${result.outcome}`,
      );
  }

  #ended({ access }: StalledTransaction, end: StallEnd): void {
    const { substreamId, address, rw } = access;
    const at = this.#waiting.findIndex(
      (each) =>
        each.process.stalling.pasid === substreamId &&
        each.address % 2 ** 32 === address.lo &&
        (each.word === null) === (rw === 'read'),
    );
    const [waiting] = at < 0 ? [] : this.#waiting.splice(at, 1);
    if (waiting === undefined) this.#on.violation.report('result', 'a stall ends that never began');
    else if (end.outcome === 'ok') this.#move(waiting, end.paddr);
    else
      this.#on.violation.report(
        'refused',
        `a stall at 0x${waiting.address.toString(16)} ends with ${end.outcome}`,
      );
  }

  #move({ process, address, word }: Access, paddr: number): void {
    const { machine, digest, violation } = this.#on;
    const { memory } = machine;
    digest.add(paddr);
    if (word !== null) {
      memory.store64(paddr, word, 0);
      process.words.set(address, word);
      return;
    }
    const lo = memory.load64(paddr);
    digest.add(lo);
    if (lo !== (process.words.get(address) ?? 0))
      violation.report('bytes', `a device reads ${lo} at 0x${address.toString(16)}`);
  }
}
