import { CD, type RegisterName, STE } from '@iommukit/arm-arch';
import { PRESET_INTERFACE } from '@iommukit/smmu-v3-model';
import { ProgramDevice, type ResetWords } from './qemu-program-device.lanes.ts';
import { ProgramMemory } from './qemu-program-memory.lanes.ts';
import { type CommandOutcome, type CommandStep, registerPlace } from './qemu-program-step.ts';

// What the recorded register-level runs (data/qtest) did to QEMU's SMMU, done to the model: addresses and bit patterns are those of the
// recording script qtest-edu.mjs.

const RAM = 0x4000_0000;
const RAM_END = 0x5000_0000;
/** Stream table, CD, queues, tables of stages 1 and 2, data pages. */
export const PLACES = {
  strtab: 0x4010_0000,
  cd: 0x4011_0000,
  cmdq: 0x4012_0000,
  evtq: 0x4013_0000,
  level2: 0x4014_0000,
  stage1: 0x4020_0000,
  probe: 0x4028_0000,
  stage2: 0x4040_0000,
  data: 0x4080_0000,
  nowhere: 0x200_0000_0000,
} as const;
/** StreamIDs: two DMA engines, and the device that reports success. */
export const EDU1 = 0x8;
export const EDU2 = 0x10;
export const TESTDEV = 0x18;
export const CMDQ_LG2 = 8;
export const EVTQ_LG2 = 6;

const PAGE = 4096;
const TWO32 = 2 ** 32;

/** Low lane of a leaf descriptor: AF, SH, AP[1], nG; then variants. */
export const S1_RW = 0xf40;
export const S1_RO: number = S1_RW + 0x80;
export const S1_NO_AF: number = S1_RW - 0x400;
export const S1_GLOBAL: number = S1_RW - 0x800;
export const S1_PRIVILEGED: number = S1_RW - 0x40;
/** AF, SH, S2AP, MemAttr. */
export const S2_RW = 0x7fc;
export const S2_RO: number = S2_RW - 0x80;
export const S2_WO: number = S2_RW - 0x40;
export const S2_NONE: number = S2_RW - 0xc0;

/** A DMA: StreamID, direction, first address, bytes. */
export interface Dma {
  readonly streamId: number;
  readonly rw: 'read' | 'write';
  readonly lo: number;
  readonly hi: number;
  readonly bytes: number;
}

/** What a DMA did: where its words came out, -1 for those that were refused, and the first record. */
export interface DmaTrace {
  readonly addresses: readonly number[];
  readonly event: readonly string[] | undefined;
}

export type CdFields = Parameters<typeof CD.encode>[0];
export type SteFields = Parameters<typeof STE.encode>[0];

/** The model under the recording script's register writes. */
export class QtestRig {
  readonly device: ProgramDevice;
  readonly memory: ProgramMemory;

  constructor(reset: ResetWords) {
    this.memory = new ProgramMemory(RAM, RAM_END);
    this.device = new ProgramDevice(this.memory, reset, PRESET_INTERFACE['qemu-11-nested']);
  }

  write(name: RegisterName, value: number): void {
    const hi = Math.floor(value / TWO32);
    this.device.write({ kind: 'reg', ...registerPlace(name), lo: value % TWO32, hi });
  }

  read(name: RegisterName): number {
    const { lo, hi } = this.device.read(registerPlace(name));
    return hi * TWO32 + lo;
  }

  /** Stores a doubleword of a number below 2^53, or of lanes. */
  store(pa: number, lo: number, hi: number = Math.floor(lo / TWO32)): void {
    this.memory.store64(pa, lo % TWO32, hi);
  }

  submit(...commands: readonly CommandStep['words'][]): CommandOutcome {
    let outcome: CommandOutcome = { cons: 0, gerror: 0 };
    for (const words of commands) outcome = this.device.command(words);
    return outcome;
  }

  /** Registers from disabled to SMMUEN, EVENTQEN, CMDQEN; all caches invalidated. */
  up(format: 'linear' | 'two-level'): CommandOutcome {
    this.write('CR0', 0);
    this.write('CR1', 0xd75);
    this.write('STRTAB_BASE', PLACES.strtab);
    this.write('STRTAB_BASE_CFG', format === 'linear' ? 6 : 0x1_0189);
    this.write('CMDQ_BASE', PLACES.cmdq + CMDQ_LG2);
    this.write('CMDQ_PROD', 0);
    this.write('CMDQ_CONS', 0);
    this.write('EVENTQ_BASE', PLACES.evtq + EVTQ_LG2);
    this.write('EVENTQ_PROD', 0);
    this.write('EVENTQ_CONS', 0);
    this.write('IRQ_CTRL', 5);
    this.write('CR0', 8);
    const outcome = this.submit(CFGI_ALL, NSNH_ALL, SYNC);
    this.write('CR0', 0xd);
    return outcome;
  }

  cd(fields: CdFields = {}): void {
    this.#put(
      PLACES.cd,
      CD.encode({
        ...{ T0SZ: 25, IR0: 1, OR0: 1, SH0: 3, TG1: 2, EPD1: 1, V: 1, IPS: 4, AA64: 1 },
        ...{ R: 1, A: 1, ASET: 1, ASID: 1, TTB0: PLACES.stage1, MAIR0: 0xff },
        T1SZ: fields.T0SZ ?? 25,
        ...fields,
      }),
    );
  }

  ste(streamId: number, fields: SteFields = {}, table: number = PLACES.strtab): void {
    this.#put(
      table + streamId * 64,
      STE.encode({
        ...{ V: 1, Config: 5, S1ContextPtr: PLACES.cd, S1CIR: 1, S1COR: 1, S1CSH: 3 },
        ...fields,
      }),
    );
  }

  /** A DMA, four bytes at a time; every record is taken out of the queue. */
  dma({ streamId, rw, lo, hi, bytes }: Dma): DmaTrace {
    const addresses: number[] = [];
    let event: readonly string[] | undefined;
    for (let at = 0; at < bytes; at += 4) {
      const low = lo + at;
      const { outcome } = this.device.access({
        ...{ kind: 'access', stale: false, deviation: [], streamId, rw },
        ...{ lo: low % TWO32, hi: hi + Math.floor(low / TWO32) },
        expected: { result: '', pa: undefined, events: [], gerror: 0 },
      });
      addresses.push(outcome.pa === undefined ? -1 : Number(outcome.pa));
      event ??= outcome.events[0];
      this.write('EVENTQ_CONS', this.read('EVENTQ_PROD'));
    }
    return { addresses, event };
  }

  /** A DMA of a StreamID at an address below 2^53. */
  at(streamId: number, rw: 'read' | 'write', iova: number, bytes: number): DmaTrace {
    return this.dma({ streamId, rw, lo: iova % TWO32, hi: Math.floor(iova / TWO32), bytes });
  }

  #put(pa: number, words: Uint32Array): void {
    for (let i = 0; i < 16; i += 2) this.store(pa + i * 4, words[i] ?? 0, words[i + 1] ?? 0);
  }
}

export const S2_FIELDS: SteFields = {
  ...{ S2VMID: 1, S2T0SZ: 24, S2SL0: 1, S2IR0: 1, S2OR0: 1, S2SH0: 3, S2PS: 4, S2AA64: 1, S2R: 1 },
  S2TTB: PLACES.stage2,
};

type Words = CommandStep['words'];
export const CFGI_ALL: Words = [0x4, 0, 0x1f, 0];
export const NSNH_ALL: Words = [0x30, 0, 0, 0];
export const SYNC: Words = [0x46, 0, 0, 0];
export const cfgiSte = (streamId: number): Words => [0x3, streamId, 1, 0];
export const cfgiCd = (streamId: number): Words => [0x5, streamId, 1, 0];
export const tlbiAsid = (asid: number): Words => [0x11, asid * 0x1_0000, 0, 0];
export const tlbiVa = (asid: number, iova: number): Words => [0x12, asid * 0x1_0000, iova + 1, 0];

/** Tables of 4 KiB pages, written straight into memory. */
export class QtestTables {
  readonly root: number;
  /** The tables. */
  readonly pages: number[] = [];
  readonly #rig: QtestRig;
  readonly #start: number;
  #next: number;

  /** `rootPages` tables of the start level, concatenated. */
  constructor(rig: QtestRig, base: number, shape: { start: number; rootPages: number }) {
    this.#rig = rig;
    this.root = base;
    this.#start = shape.start;
    this.#next = base + shape.rootPages * PAGE;
    for (let pa = base; pa < this.#next; pa += 8) rig.store(pa, 0);
    for (let pa = base; pa < this.#next; pa += PAGE) this.pages.push(pa);
  }

  /** Maps a page, or a block of `level`; the address of the leaf. */
  map(iova: number, output: number, leaf: { bits: number; hi?: number; level?: number }): number {
    const { bits, hi = 0, level = 3 } = leaf;
    let table = this.root;
    for (let at = this.#start; ; at++) {
      const index = Math.floor(iova / 2 ** (39 - 9 * at)) % 512;
      const entry = table + index * 8;
      if (at === level) {
        const low = (output % TWO32) + bits + (level === 3 ? 3 : 1);
        this.#rig.store(entry, low, Math.floor(output / TWO32) + hi);
        return entry;
      }
      let next = this.#rig.memory.load64(entry);
      next -= next % PAGE;
      if (next === 0) {
        next = this.#next;
        this.#next += PAGE;
        this.pages.push(next);
        this.#rig.store(entry, next + 3);
      }
      table = next;
    }
  }
}
