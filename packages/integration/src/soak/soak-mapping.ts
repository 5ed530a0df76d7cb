import type { DmaDirection } from '@iommukit/dma-api';
import type { SoakDevice } from './soak-machine.ts';
import type { SoakOperation } from './soak-operation.ts';

/** A run of bytes, at physical or at DMA addresses. */
export interface Extent {
  readonly start: number;
  readonly length: number;
}

/** A live mapping: the same bytes as the CPU has them and as the device has them. */
export interface SoakMapping {
  readonly way: SoakOperation['way'];
  readonly device: SoakDevice;
  readonly dir: DmaDirection;
  readonly bytes: number;
  readonly memory: readonly Extent[];
  readonly bus: readonly Extent[];
  /** Undoes the mapping. */
  unmap(): void;
  /** Gives the memory back. */
  release(): void;
  /** Hands the bytes [at, at + size) to the CPU and back, where the way has calls for it. */
  sync?(target: 'cpu' | 'device', at: number, size: number): void;
}

/** The address of a byte of a mapping, or -1 beyond its end. */
export function addressAt(extents: readonly Extent[], at: number): number {
  let left = at;
  for (const { start, length } of extents) {
    if (left < length) return start + left;
    left -= length;
  }
  return -1;
}
