import type { MemoryView } from '@iommukit/platform';

/** `size` bytes of memory as a view has them. */
export function readBytes(view: MemoryView, paddr: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let word = -(paddr % 4); word < size; word += 4) {
    const value = view.load32(paddr + word);
    for (let i = Math.max(0, -word); i < 4 && word + i < size; i++)
      bytes[word + i] = value >>> (i * 8);
  }
  return bytes;
}

/** Stores bytes through a view; the other bytes of their words stay. */
export function writeBytes(view: MemoryView, paddr: number, bytes: Uint8Array): void {
  for (let word = -(paddr % 4); word < bytes.length; word += 4) {
    let value = view.load32(paddr + word);
    for (let i = Math.max(0, -word); i < 4 && word + i < bytes.length; i++)
      value = (value & ~(0xff << (i * 8))) | ((bytes[word + i] as number) << (i * 8));
    view.store32(paddr + word, value);
  }
}

/** Bytes that tell where they are: no two words of 256 KiB are alike, nor those of two seeds. */
export function patternBytes(seed: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = seed * 37 + i * 11 + (i >> 8) * 3 + 1;
  return bytes;
}
