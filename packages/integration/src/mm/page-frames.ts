import type { FrameAllocator, MemoryView } from '@iommukit/platform';
import { PAGE } from './cpu-mmu.lanes.ts';

/**
 * Words of a page, in compact form: index of a doubleword and its two lanes, zeros left out.
 * @example const saved: SavedPage = [[0, 7, 0]];
 */
export type SavedPage = readonly (readonly [index: number, lo: number, hi: number])[];

/**
 * The frames behind the pages of processes, counted by the pages that they are in, and the one page of zeros that all share.
 * @example const frames = new PageFrames(memory, new FrameAllocator(pool)); const frame = frames.alloc();
 */
export class PageFrames {
  readonly #memory: MemoryView;
  readonly #source: FrameAllocator;
  /** Of frames in use, but for the zero page. */
  readonly #users = new Map<number, number>();
  /** The page of zeros; never freed. */
  readonly zero: number;

  constructor(memory: MemoryView, source: FrameAllocator) {
    this.#memory = memory;
    this.#source = source;
    this.zero = source.alloc(PAGE);
    this.#clear(this.zero);
  }

  /** Frames in use, without the zero page. */
  get used(): number {
    return this.#users.size;
  }

  /** A frame of zeros with one user, or -1. */
  alloc(): number {
    const frame = this.#source.alloc(PAGE);
    if (frame < 0) return -1;
    this.#clear(frame);
    this.#users.set(frame, 1);
    return frame;
  }

  /** Pages that a frame is in; 0 for the zero page. */
  users(frame: number): number {
    return this.#users.get(frame) ?? 0;
  }

  /** One more page. */
  hold(frame: number): void {
    if (frame !== this.zero) this.#users.set(frame, this.users(frame) + 1);
  }

  /** One less; the last one frees it. */
  drop(frame: number): void {
    if (frame === this.zero) return;
    const users = this.users(frame) - 1;
    if (users > 0) this.#users.set(frame, users);
    else {
      this.#users.delete(frame);
      this.#source.free(frame, PAGE);
    }
  }

  copy(from: number, to: number): void {
    for (let at = 0; at < PAGE; at += 8) {
      const lo = this.#memory.load64(from + at);
      this.#memory.store64(to + at, lo, this.#memory.hi);
    }
  }

  /** What is in a frame. */
  save(frame: number): SavedPage {
    const words: [number, number, number][] = [];
    const lanes = this.#memory.lanes(frame);
    for (let i = 0; i < PAGE / 4; i += 2) {
      const lo = lanes?.[i] ?? this.#memory.load64(frame + i * 4);
      const hi = lanes?.[i + 1] ?? this.#memory.hi;
      if (lo !== 0 || hi !== 0) words.push([i / 2, lo, hi]);
    }
    return words;
  }

  /** Puts it into a frame of zeros. */
  restore(frame: number, saved: SavedPage): void {
    for (const [index, lo, hi] of saved) this.#memory.store64(frame + index * 8, lo, hi);
  }

  #clear(frame: number): void {
    const lanes = this.#memory.lanes(frame);
    if (lanes !== undefined) {
      lanes.fill(0);
      return;
    }
    for (let at = 0; at < PAGE; at += 8) this.#memory.store64(frame + at, 0, 0);
  }
}
