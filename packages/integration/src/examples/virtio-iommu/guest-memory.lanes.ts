import type { MemoryView } from '@iommukit/platform';

/** Where a guest's memory is: its first guest-physical address, where the host has that, and bytes. */
export interface GuestRam {
  readonly guest: number;
  readonly host: number;
  readonly size: number;
}

/** Host memory as a guest sees it: RAM at its own addresses, and nothing else. */
export class GuestMemory implements MemoryView {
  readonly ram: GuestRam;
  readonly blockBytes = 4096;
  readonly #host: MemoryView;

  constructor(host: MemoryView, ram: GuestRam) {
    this.#host = host;
    this.ram = ram;
  }

  get hi(): number {
    return this.#host.hi;
  }

  /** Where the host has [paddr, paddr + size) of the guest, or -1 where that is not all RAM. */
  hostAddress(paddr: number, size: number): number {
    const { guest, host, size: bytes } = this.ram;
    return paddr >= guest && paddr + size <= guest + bytes ? paddr - guest + host : -1;
  }

  isBacked(pa: number): boolean {
    return this.hostAddress(pa, 1) >= 0;
  }

  load64(pa: number): number {
    return this.#host.load64(this.#at(pa));
  }

  store64(pa: number, lo: number, hi: number): void {
    this.#host.store64(this.#at(pa), lo, hi);
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    return this.#host.cas64(this.#at(pa), oldLo, oldHi, lo, hi);
  }

  load32(pa: number): number {
    return this.#host.load32(this.#at(pa));
  }

  store32(pa: number, value: number): void {
    this.#host.store32(this.#at(pa), value);
  }

  clean(pa: number, bytes: number): void {
    this.#host.clean(this.#at(pa), bytes);
  }

  lanes(): undefined {
    return undefined;
  }

  block(): undefined {
    return undefined;
  }

  /** Outside RAM the host's view answers, with a `BusError`: nothing backs a negative address. */
  #at(pa: number): number {
    return this.hostAddress(pa, 1);
  }
}

/** Bytes of memory from any address on. */
export function loadBytes(view: MemoryView, paddr: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const inWord = (paddr + done) % 4;
    const word = view.load32(paddr + done - inWord);
    const count = Math.min(length - done, 4 - inWord);
    for (let i = 0; i < count; i++) bytes[done + i] = word >>> (8 * (inWord + i));
    done += count;
  }
  return bytes;
}

/** Stores bytes; the others of their words stay. */
export function storeBytes(view: MemoryView, paddr: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const inWord = (paddr + done) % 4;
    const at = paddr + done - inWord;
    const count = Math.min(bytes.length - done, 4 - inWord);
    let word = count === 4 ? 0 : view.load32(at);
    for (let i = 0; i < count; i++) {
      const shift = 8 * (inWord + i);
      word = (word & ~(0xff << shift)) | ((bytes[done + i] as number) << shift);
    }
    view.store32(at, word);
    done += count;
  }
}
