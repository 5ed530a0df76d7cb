import { BATCH_MUTATIONS } from './batch-mutations.ts';
import { DMA_MUTATIONS } from './dma-mutations.ts';
import { INVALIDATION_MUTATIONS } from './invalidation-mutations.ts';
import { type Mutation, nameOf } from './mutation.ts';
import { PASID_MUTATIONS } from './pasid-mutations.ts';
import { QUEUE_MUTATIONS } from './queue-mutations.ts';
import { TABLE_MUTATIONS } from './table-mutations.ts';

/** All mutations, by number and variant. */
export const MUTATIONS: readonly Mutation[] = [
  ...PASID_MUTATIONS,
  ...INVALIDATION_MUTATIONS,
  ...TABLE_MUTATIONS,
  ...BATCH_MUTATIONS,
  ...DMA_MUTATIONS,
  ...QUEUE_MUTATIONS,
].sort((a, b) => a.number - b.number || nameOf(a).localeCompare(nameOf(b)));
