import { u64Of } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';

/** Flags of a descriptor (virtio 1.2, 2.7.5). */
const NEXT = 1;
const WRITE = 2;
const DESCRIPTOR_BYTES = 16;
const USED_ELEMENT_BYTES = 8;
/** Indices of the rings are 16 bits and run freely. */
const INDEX_VALUES = 0x1_0000;

/** Where the three parts of a split virtqueue are in guest memory, and its size in descriptors, a power of two (2.7). */
export interface QueueLayout {
  readonly size: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

/** A piece of guest memory, bytes. */
export interface Piece {
  readonly paddr: number;
  readonly length: number;
}

/** A buffer as the device gets it: the pieces that it reads, and those that it writes. */
export interface Chain {
  readonly head: number;
  readonly readable: readonly Piece[];
  readonly writable: readonly Piece[];
}

/** The parts of a queue one after the other from `base` on, 16-byte aligned; and where they end. */
export function queueAt(base: number, size: number): { layout: QueueLayout; end: number } {
  const available = base + DESCRIPTOR_BYTES * size;
  // The used ring is aligned to 4, and each of the two rings has room for its event index.
  const used = available + Math.ceil((6 + 2 * size) / 4) * 4;
  const end = used + Math.ceil((6 + USED_ELEMENT_BYTES * size) / 16) * 16;
  return { layout: { size, descriptors: base, available, used }, end };
}

function load16(view: MemoryView, pa: number): number {
  const word = view.load32(pa - (pa % 4));
  return pa % 4 === 0 ? word % INDEX_VALUES : Math.floor(word / INDEX_VALUES);
}

function store16(view: MemoryView, pa: number, value: number): void {
  const at = pa - (pa % 4);
  const word = view.load32(at);
  const low = pa % 4 === 0 ? value : word % INDEX_VALUES;
  const high = pa % 4 === 0 ? Math.floor(word / INDEX_VALUES) : value;
  view.store32(at, high * INDEX_VALUES + low);
}

/** The driver's side of a split virtqueue: descriptors and the available ring are its own to write (2.7.13, 2.7.14). */
export class QueueDriver {
  readonly #view: MemoryView;
  readonly #layout: QueueLayout;
  #availableIndex = 0;
  #usedIndex = 0;

  constructor(view: MemoryView, layout: QueueLayout) {
    this.#view = view;
    this.#layout = layout;
  }

  /** Describes a buffer of one readable and one writable piece in descriptors `head` and `head + 1`, and makes it available. */
  offer(head: number, readable: Piece, writable: Piece): void {
    const { size, available } = this.#layout;
    this.#describe(head, readable, NEXT, head + 1);
    this.#describe(head + 1, writable, WRITE, 0);
    store16(this.#view, available + 4 + 2 * (this.#availableIndex % size), head);
    this.#availableIndex = (this.#availableIndex + 1) % INDEX_VALUES;
    store16(this.#view, available + 2, this.#availableIndex);
  }

  /** True when the device has given a buffer back that nobody took. */
  get hasUsed(): boolean {
    return load16(this.#view, this.#layout.used + 2) !== this.#usedIndex;
  }

  /** The next buffer that the device gave back: its head, and the bytes that were written; null: none. */
  take(): { readonly head: number; readonly written: number } | null {
    if (!this.hasUsed) return null;
    const { size, used } = this.#layout;
    const at = used + 4 + USED_ELEMENT_BYTES * (this.#usedIndex % size);
    this.#usedIndex = (this.#usedIndex + 1) % INDEX_VALUES;
    return { head: this.#view.load32(at), written: this.#view.load32(at + 4) };
  }

  #describe(index: number, { paddr, length }: Piece, flags: number, next: number): void {
    const at = this.#layout.descriptors + DESCRIPTOR_BYTES * index;
    const { lo, hi } = u64Of(paddr);
    this.#view.store64(at, lo, hi);
    this.#view.store32(at + 8, length);
    this.#view.store32(at + 12, next * INDEX_VALUES + flags);
  }
}

/** The device's side: it reads what the driver made available, in whatever pieces that is (2.7.4), and writes the used ring (2.7.8). */
export class QueueDevice {
  /** A chain left the table, or memory, or never ended: nothing is taken from the queue any more. */
  broken = false;
  readonly #view: MemoryView;
  readonly #layout: QueueLayout;
  #availableIndex = 0;
  #usedIndex = 0;

  constructor(view: MemoryView, layout: QueueLayout) {
    this.#view = view;
    this.#layout = layout;
  }

  /** The next buffer that the driver offers, or null. */
  next(): Chain | null {
    const { size, available } = this.#layout;
    if (this.broken || load16(this.#view, available + 2) === this.#availableIndex) return null;
    const head = load16(this.#view, available + 4 + 2 * (this.#availableIndex % size));
    this.#availableIndex = (this.#availableIndex + 1) % INDEX_VALUES;
    return this.#chain(head);
  }

  /** Gives a buffer back, with so many bytes written. */
  give(head: number, written: number): void {
    const { size, used } = this.#layout;
    const at = used + 4 + USED_ELEMENT_BYTES * (this.#usedIndex % size);
    this.#view.store32(at, head);
    this.#view.store32(at + 4, written);
    this.#usedIndex = (this.#usedIndex + 1) % INDEX_VALUES;
    store16(this.#view, used + 2, this.#usedIndex);
  }

  #chain(head: number): Chain | null {
    const { size, descriptors } = this.#layout;
    const readable: Piece[] = [];
    const writable: Piece[] = [];
    let index = head;
    for (let steps = 0; steps < size && index < size; steps++) {
      const at = descriptors + DESCRIPTOR_BYTES * index;
      const paddr = this.#view.load64(at) + this.#view.hi * 2 ** 32;
      const length = this.#view.load32(at + 8);
      const word = this.#view.load32(at + 12);
      if (!backs(this.#view, paddr, length)) break;
      const isWritable = Math.floor(word / WRITE) % 2 === 1;
      (isWritable ? writable : readable).push({ paddr, length });
      if (word % 2 !== NEXT) return { head, readable, writable };
      index = Math.floor(word / INDEX_VALUES);
    }
    this.broken = true;
    return null;
  }
}

/** Both ends of a piece are memory. */
function backs(view: MemoryView, paddr: number, length: number): boolean {
  return view.isBacked(paddr) && view.isBacked(paddr + Math.max(length, 1) - 1);
}
