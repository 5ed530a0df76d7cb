export { type CachePolicy, DEFAULT_POLICY } from './cache-policy.ts';
export type { AbortReason, DmaAccess, DmaResult } from './dma-access.ts';
export type {
  ConfigEvent,
  FetchEvent,
  SmmuEvent,
  SmmuEventName,
  TranslationEvent,
  WalkEvent,
} from './event.ts';
export { decodeFeatures, type Features, type IdrWords } from './features.ts';
export type { InterruptLine } from './interrupts.ts';
export { ModelUseError, type UnmodelledCode, UnmodelledError } from './model-error.ts';
export { type ModelCounters, type ModelOptions, SmmuV3Model } from './smmu-model.ts';
export type { StaleUse } from './stale-use.ts';
