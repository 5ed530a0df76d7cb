import { SZ_4K } from '@iommukit/bits';
import { armV7s, IO_PGTABLE_PROFILES, type TableShape, walkTable } from '@iommukit/io-pgtable';
import type { MemoryView, MmioFrame } from '@iommukit/platform';
import { BANK, BANK_BYTES, BANKS, TLB } from './gpu-registers.ts';

/** TTBR0 holds walk attributes below the address of a top table of 16 KiB (DDI 0406C B4.1.154). */
const TTBR_ALIGNMENT = 0x4000;
/** AP[2], which forbids writes: bit 15 of a section, bit 9 of a page (DDI 0406C B3.5.1). */
const READ_ONLY = [0, 2 ** 15, 2 ** 9] as const;

/** What is cached of one page. */
interface TlbEntry {
  readonly asid: number;
  readonly paddr: number;
  readonly writable: boolean;
}

interface Bank {
  enable: number;
  ttbr: number;
  asid: number;
  faultStatus: number;
  faultAddress: number;
}

/**
 * The GPU: two context banks that walk short-descriptor tables in memory, and one TLB that keeps every page until it is told to drop it.
 * Its command processor uses bank 0, its shaders bank 1. Not modelled: cached table entries, TLBs of a limited size, several jobs at once.
 */
export class GpuUnit implements MmioFrame {
  readonly hi = 0;
  /** Invalidations asked for, and waits. */
  invalidations = 0;
  syncs = 0;
  /** Table walks that the unit did itself. */
  walks = 0;
  readonly #memory: MemoryView;
  readonly #banks: Bank[] = Array.from({ length: BANKS }, () => ({
    enable: 0,
    ttbr: 0,
    asid: 0,
    faultStatus: 0,
    faultAddress: 0,
  }));
  readonly #tlb = new Map<string, TlbEntry>();
  readonly #asked: number[] = [];
  readonly #shapes = new Map<number, TableShape>();

  constructor(memory: MemoryView) {
    this.#memory = memory;
  }

  read32(offset: number): number {
    const { bank, field } = this.#register(offset);
    return field === undefined ? 0 : bank[field];
  }

  write32(offset: number, value: number): void {
    if (offset === TLB.invalidateAsid) {
      this.invalidations++;
      this.#asked.push(value);
    } else if (offset === TLB.sync) {
      this.syncs++;
      for (const asid of this.#asked.splice(0))
        for (const [key, entry] of this.#tlb) if (entry.asid === asid) this.#tlb.delete(key);
    } else {
      const { bank, field } = this.#register(offset);
      if (field !== undefined) bank[field] = field === 'faultStatus' ? 0 : value;
    }
  }

  read64(offset: number): number {
    return this.read32(offset);
  }

  write64(offset: number, lo: number, _hi: number): void {
    this.write32(offset, lo);
  }

  /** Where DMA of a bank to any byte ends, or -1 and a fault. */
  translate(bank: number, iova: number, rw: 'read' | 'write'): number {
    const page = Math.floor(iova / SZ_4K);
    const entry = this.#entryOf(bank, page);
    if (entry !== undefined && (rw === 'read' || entry.writable))
      return entry.paddr + (iova - page * SZ_4K);
    const registers = this.#banks[bank];
    if (registers?.faultStatus === 0) {
      registers.faultStatus = 1;
      registers.faultAddress = iova;
    }
    return -1;
  }

  /** Copies words from one IOVA to another, as a shader does: how many, fewer when one faults. */
  copy(bank: number, from: number, to: number, words: number): number {
    for (let i = 0; i < words; i++) {
      const source = this.translate(bank, from + 4 * i, 'read');
      const target = source < 0 ? -1 : this.translate(bank, to + 4 * i, 'write');
      if (target < 0) return i;
      this.#memory.store32(target, this.#memory.load32(source));
    }
    return words;
  }

  /** Runs one job: three words at `ring`, from, to and count, fetched through bank 0, run through bank 1. Words copied; -1 without a job. */
  run(ring: number): number {
    const fetch = (at: number): number => {
      const paddr = this.translate(0, at, 'read');
      return paddr < 0 ? -1 : this.#memory.load32(paddr);
    };
    const [from, to, words] = [fetch(ring), fetch(ring + 4), fetch(ring + 8)];
    return from < 0 || to < 0 || words < 0 ? -1 : this.copy(1, from, to, words);
  }

  #register(offset: number): { readonly bank: Bank; readonly field: keyof Bank | undefined } {
    const index = Math.floor(offset / BANK_BYTES);
    const bank = this.#banks[index];
    if (bank === undefined) throw new RangeError(`the GPU has no register at ${offset}`);
    const names = Object.keys(BANK) as (keyof typeof BANK)[];
    return { bank, field: names.find((name) => BANK[name] === offset - index * BANK_BYTES) };
  }

  #entryOf(bank: number, page: number): TlbEntry | undefined {
    const registers = this.#banks[bank];
    if (registers === undefined || registers.enable === 0) return undefined;
    const { asid, ttbr } = registers;
    const key = `${asid} ${page}`;
    const held = this.#tlb.get(key);
    if (held !== undefined) return held;
    const found = this.#walk(ttbr, asid, page * SZ_4K);
    if (found !== undefined) this.#tlb.set(key, found);
    return found;
  }

  #walk(ttbr: number, asid: number, iova: number): TlbEntry | undefined {
    this.walks++;
    const shape = this.#shapeAt(ttbr - (ttbr % TTBR_ALIGNMENT));
    let found: TlbEntry | undefined;
    walkTable(this.#memory, shape, iova, ({ kind, level, lo, hi }) => {
      if (kind !== 'leaf') return;
      const inPage = iova % shape.leafSize(level, lo, hi);
      const readOnly = Math.floor(lo / (READ_ONLY[level] ?? 1)) % 2 === 1;
      found = { asid, paddr: shape.leafAddress(level, lo, hi) + inPage, writable: !readOnly };
    });
    return found;
  }

  /** How tables with this top are laid out: a reader's handle on them, which writes nothing. */
  #shapeAt(base: number): TableShape {
    const known = this.#shapes.get(base);
    if (known !== undefined) return known;
    const table = armV7s.attach(
      {
        pgsizeBitmap: SZ_4K,
        ias: 32,
        oas: 32,
        coherentWalk: true,
        memory: this.#memory,
        frames: { alloc: () => -1, free() {} },
        flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
        profile: IO_PGTABLE_PROFILES['7.3'],
      },
      base,
    );
    if (typeof table === 'number') throw new RangeError(`no table at ${base}`);
    this.#shapes.set(base, table.shape);
    return table.shape;
  }
}
