import type { DmaAttrs, DmaDirection } from './dma-prot.ts';

/**
 * What a {@link DmaDebug} reports, by stable names; the kernel's text of each is in the report (`kernel/dma/debug.c`).
 * @example const leaks = debug.countOf('leak');
 */
export type DmaRule =
  | 'free-invalid-address'
  | 'free-unallocated'
  | 'free-size'
  | 'free-function'
  | 'free-cpu-address'
  | 'free-sg-count'
  | 'free-direction'
  | 'free-attributes'
  | 'map-error-unchecked'
  | 'map-stack'
  | 'map-kernel-text'
  | 'map-vmalloc'
  | 'map-invalid-area'
  | 'map-resource-ram'
  | 'sync-unallocated'
  | 'sync-direction'
  | 'sync-read-only'
  | 'sync-write-only'
  | 'sync-sg-count'
  | 'sg-too-long'
  | 'sg-boundary'
  | 'overlap'
  | 'overlap-count'
  | 'leak';

/**
 * One misuse that was noticed.
 * @example if (report.rule === 'free-size') log.push(report.text);
 */
export interface DmaReport {
  readonly rule: DmaRule;
  readonly device: string;
  /** The kernel's line, or two for a leak, with its `DMA-API: ` in front. */
  readonly text: string;
  /** The kernel would print it: `num_errors` of them, or all, of drivers that pass the filter. */
  readonly shown: boolean;
}

/**
 * What kind of memory a physical address is, as far as the rules on mappings ask.
 * @example const kind: MemoryKind = 'stack';
 */
export type MemoryKind =
  | 'ram'
  /** No memory, or memory that is not the kernel's to hand out. */
  | 'device'
  /** Without an address of the kernel: its content cannot be checked. */
  | 'highmem'
  /** The current stack. */
  | 'stack'
  /** Code or read-only data of the kernel. */
  | 'kernel-text'
  /** Passed by an address of the vmalloc area. */
  | 'vmalloc'
  /** Passed by an address that is none. */
  | 'invalid';

/** What an entry of the debug table is (`dma_debug_*`). */
export type EntryType = 'single' | 'phy' | 'resource' | 'sg' | 'coherent' | 'noncoherent';

/** 16 hexadecimal digits (`%016llx`); -1 is all ones. */
export function digits(value: number): string {
  return value < 0 ? 'f'.repeat(16) : value.toString(16).padStart(16, '0');
}

/** The name of a direction in a message. */
export function dirName(dir: DmaDirection): string {
  return `DMA_${dir}`;
}

// Bits of DMA_ATTR_* (include/linux/dma-mapping.h).
const ATTR_BITS: readonly (readonly [keyof DmaAttrs, number])[] = [
  ['noKernelMapping', 0x10],
  ['skipCpuSync', 0x20],
  ['forceContiguous', 0x40],
  ['allocSinglePages', 0x80],
  ['noWarn', 0x100],
  ['privileged', 0x200],
  ['mmio', 0x400],
  ['requireCoherent', 0x1000],
];
const EQUAL_AT_UNMAP: readonly (keyof DmaAttrs)[] = [
  'noKernelMapping',
  'forceContiguous',
  'mmio',
  'requireCoherent',
  'privileged',
];

/** Attributes as the kernel's word of bits. */
export function attrBits(attrs: DmaAttrs | undefined): number {
  let bits = 0;
  for (const [name, bit] of ATTR_BITS) if (attrs?.[name] === true) bits += bit;
  return bits;
}

/** The attributes that a map and its unmap must share are equal. */
export function sameAttrs(a: DmaAttrs | undefined, b: DmaAttrs | undefined): boolean {
  return EQUAL_AT_UNMAP.every((name) => (a?.[name] === true) === (b?.[name] === true));
}
