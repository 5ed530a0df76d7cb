/*
 * Where the model stores the indices of the queues that the SMMU writes: their registers are in page 1, at the offsets that page 0
 * has for their aliases (IHI 0070 6.1, 6.2).
 * Not modelled: queues of another security state.
 */
import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';

/** Where register page 1 begins, bytes (6.1). */
export const PAGE_ONE = 0x1_0000;

/** Byte offsets in either page. */
export const EVENTQ_PROD: number = R.EVENTQ_PROD - PAGE_ONE;
export const EVENTQ_CONS: number = R.EVENTQ_CONS - PAGE_ONE;
export const PRIQ_PROD: number = R.PRIQ_PROD - PAGE_ONE;
export const PRIQ_CONS: number = R.PRIQ_CONS - PAGE_ONE;
