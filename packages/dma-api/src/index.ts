export type { BounceBuffers, BounceRequest } from './bounce-buffers.ts';
export type { AllocRequest, CoherentMemory, MemoryOrigin, PageProvider } from './coherent.ts';
export type { MmapWindow } from './coherent-calls.ts';
export type { DmaReport, DmaRule, MemoryKind } from './debug-rules.ts';
export { DmaApi, type DmaApiOptions } from './dma-api.ts';
export type { DmaCaches } from './dma-caches.ts';
export { DmaDebug, type DmaDebugOptions, type DmaDebugState } from './dma-debug.ts';
export { type ByteRange, DmaDevice, type DmaDeviceOptions, type DmaRange } from './dma-device.ts';
export { DmaDomain, type MsiPage } from './dma-domain.ts';
export { DmaError, type DmaErrorCode } from './dma-error.ts';
export type { DmaEvent, SgPiece } from './dma-event.ts';
export { DMA_HANDLE_BYTES, type DmaHandle, type DmaSgHandle } from './dma-handle.ts';
export { DmaIovaState } from './dma-iova-state.ts';
export type { DmaCounters, KmallocRule, RamExtent } from './dma-layer.ts';
export { DMA_PROFILES, type DmaDebugDialect, type DmaProfile } from './dma-profile.ts';
export { type Coherence, type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
export { ExposureMeter, type ExposureReport, type ExposureWindow } from './exposure.ts';
export {
  FLUSH_QUEUE_PER_CPU,
  FLUSH_QUEUE_SINGLE,
  FlushQueue,
  type FlushQueueInit,
  type FlushQueueOptions,
  type FlushQueueSettings,
  type FlushQueueState,
  type FlushQueueTarget,
} from './flush-queue.ts';
export type { DmaMemory, Frames } from './page-source.ts';
export { DMA_MAPPING_ERROR, type SgElement, type SgTable, sgElement } from './scatter-list.ts';
export type { LiveMapping, UnmapOptions } from './streaming.ts';
export {
  Swiotlb,
  type SwiotlbGrowth,
  type SwiotlbOptions,
  type SwiotlbReport,
} from './swiotlb.ts';
export { SWIOTLB_SEGMENT, SWIOTLB_SLOT } from './swiotlb-pool.lanes.ts';
export type { IovaDestroy, IovaLink, IovaUnlink, LinkedPiece } from './two-step.ts';
