import type { MemoryView } from '@iommukit/platform';

const PAGE = 4096;

/** The 32 bits from any byte address on; loads no word that holds none of the first `bytes`. */
function load(memory: MemoryView, at: number, bytes: number): number {
  const phase = at % 4;
  if (phase === 0) return memory.load32(at);
  const low = memory.load32(at - phase) >>> (8 * phase);
  if (bytes <= 4 - phase) return low;
  return low | (memory.load32(at - phase + 4) << (32 - 8 * phase));
}

/** Writes the low `bytes` bytes (1 to 3) of a word to `at`, inside one word, and leaves the others. */
function merge(memory: MemoryView, at: number, bytes: number, value: number): void {
  const phase = at % 4;
  const mask = (2 ** (8 * bytes) - 1) << (8 * phase);
  const word = at - phase;
  memory.store32(word, (memory.load32(word) & ~mask) | ((value << (8 * phase)) & mask));
}

/** Bytes up to the next word, at most `bytes`; 0 on a word's start. */
function toWord(at: number, bytes: number): number {
  const phase = at % 4;
  return phase === 0 ? 0 : Math.min(bytes, 4 - phase);
}

/**
 * Copies bytes between any two addresses through one observer's view, as a CPU's `memcpy` does. Bytes beside the range are rewritten with
 * what they hold, in the same word. The ranges do not overlap.
 */
export function copyBytes(memory: MemoryView, to: number, from: number, bytes: number): void {
  const head = toWord(to, bytes);
  if (head > 0) merge(memory, to, head, load(memory, from, head));
  let at = head;
  while (bytes - at >= 4) {
    const room = pageRoom(to + at, from + at, bytes - at);
    const target = room >= 4 && (to - from) % 4 === 0 ? memory.lanes(to + at) : undefined;
    const source = target === undefined ? undefined : memory.lanes(from + at);
    if (target !== undefined && source !== undefined) {
      const words = Math.floor(room / 4);
      const first = ((from + at) % PAGE) / 4;
      target.set(source.subarray(first, first + words), ((to + at) % PAGE) / 4);
      at += words * 4;
      continue;
    }
    memory.store32(to + at, load(memory, from + at, 4));
    at += 4;
  }
  if (at < bytes) merge(memory, to + at, bytes - at, load(memory, from + at, bytes - at));
}

/** Bytes that stay inside the pages of both addresses. */
function pageRoom(to: number, from: number, bytes: number): number {
  return Math.min(bytes, PAGE - (to % PAGE), PAGE - (from % PAGE));
}

/** Zeroes [at, at + bytes) through a view; any addresses. */
export function zeroBytes(memory: MemoryView, start: number, bytes: number): void {
  const head = toWord(start, bytes);
  if (head > 0) merge(memory, start, head, 0);
  let at = head;
  while (bytes - at >= 4) {
    const words = Math.floor(Math.min(bytes - at, PAGE - ((start + at) % PAGE)) / 4);
    const page = memory.lanes(start + at);
    if (page === undefined) for (let i = 0; i < words; i++) memory.store32(start + at + i * 4, 0);
    else {
      const first = ((start + at) % PAGE) / 4;
      page.fill(0, first, first + words);
    }
    at += words * 4;
  }
  if (at < bytes) merge(memory, start + at, bytes - at, 0);
}
