export type { Clock } from './clock.ts';
export { type Counters, counted, createCounters } from './counters.ts';
export { ERRNO, type ErrnoName, type ErrnoResult, errnoName } from './errno.ts';
export {
  FrameAllocator,
  FrameError,
  type FramePool,
  type LeakReport,
} from './frame-allocator.lanes.ts';
export type { MemoryView } from './memory-view.ts';
export { MmioBus, MmioError, type MmioFrame } from './mmio.ts';
export { NonCoherentView } from './non-coherent-view.lanes.ts';
export { observeView, type StoreObserver } from './observed-view.ts';
export {
  BusError,
  MemoryRangeError,
  PhysicalMemory,
  type RamRange,
} from './physical-memory.lanes.ts';
export { type Platform, type Runnable, SimPlatform } from './platform.ts';
export { createPrng, type Prng } from './prng.lanes.ts';
export { SharedMemory } from './shared-memory.lanes.ts';
export { SimClock } from './sim-clock.ts';
export { TraceChannel } from './trace-channel.ts';
