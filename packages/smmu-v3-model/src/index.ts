export type { AtcOrigin } from './atc-detector.ts';
export type {
  TranslatedResult,
  TranslatedTransaction,
  TranslationCompletion,
  TranslationRequest,
} from './ats-message.ts';
export {
  CACHE_EVERYTHING,
  CACHE_NOTHING,
  type CachePolicy,
  DEFAULT_POLICY,
} from './cache-policy.ts';
export type { AbortReason, DmaAccess, DmaResult } from './dma-access.ts';
export {
  Endpoint,
  type EndpointAccess,
  type EndpointOptions,
  type EndpointResult,
} from './endpoint.ts';
export type { AtcInvalidation, EndpointPort } from './endpoint-port.ts';
export type {
  ConfigEvent,
  FetchEvent,
  SmmuEvent,
  SmmuEventName,
  TranslationEvent,
  WalkEvent,
} from './event.ts';
export {
  type CheckStep,
  type EventField,
  type ExplainedField,
  type Explanation,
  type ExplanationStep,
  type FetchStep,
  type HitStep,
  type ResultStep,
  renderExplanation,
  type UpdateStep,
} from './explanation.ts';
export { FEATURE_PRESETS, type FeaturePreset } from './feature-presets.ts';
export { FeatureError } from './feature-rules.ts';
export { decodeFeatures, encodeFeatures, type Features, type IdrWords } from './features.ts';
export {
  DEFAULT_INTERFACE_POLICY,
  type InterfacePolicy,
  PRESET_INTERFACE,
} from './interface-policy.ts';
export type { InterruptLine } from './interrupts.ts';
export type { Cacheability, MemoryAttributes } from './memory-attribute.lanes.ts';
export type { ModelCounters } from './model-counters.ts';
export { ModelUseError, type UnmodelledCode, UnmodelledError } from './model-error.ts';
export type { AtsEvent, PageHint, RecordedEvent, UnsupportedEvent } from './port-event.ts';
export type { PageRequest, PageRequestResult, PageResponse } from './pri-queue.ts';
export { type ModelOptions, SmmuV3Model } from './smmu-model.ts';
export type { StaleUse } from './stale-use.ts';
export type { StallEnd, StallEndSink, StalledTransaction } from './stall-table.ts';
export type { AtcEntry } from './translation-cache.ts';
