/**
 * Where the driver's queues and tables come from (`dmam_alloc_coherent` of the SMMU itself).
 * @example const source: CoherentMemory = { alloc: (bytes) => frames.alloc(bytes), free: (pa, bytes) => frames.free(pa, bytes) };
 */
export interface CoherentMemory {
  /** A physical address aligned to the size, or -1. Content need not be zero: the driver clears what hardware may read. */
  alloc(bytes: number): number;
  free(pa: number, bytes: number): void;
}
