export {
  type CoherentMemory,
  DmaApi,
  type DmaApiOptions,
  type DmaCaches,
  type PageProvider,
} from './dma-api.ts';
export { type ByteRange, DmaDevice, type DmaDeviceOptions } from './dma-device.ts';
export { DmaDomain, type MsiPage } from './dma-domain.ts';
export { DmaError, type DmaErrorCode } from './dma-error.ts';
export type { DmaEvent, SgPiece } from './dma-event.ts';
export { DMA_PROFILES, type DmaProfile } from './dma-profile.ts';
export { type Coherence, type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
export { DMA_MAPPING_ERROR, type SgElement, sgElement } from './scatter-list.ts';
