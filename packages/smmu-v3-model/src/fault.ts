/*
 * The state of the one fault that a transaction may meet on its way (IHI 0070 7.2: at most one event for each transaction).
 * Does not model: F_UUT, F_TLB_CONFLICT, F_CFG_CONFLICT, F_VMS_FETCH, which this SMMU never produces.
 */
import type { AbortReason } from './dma-access.ts';
import type { SmmuEventName } from './event.ts';

/** Filled by the stage that refuses a transaction; reused for every transaction so that the hot path allocates nothing. */
export class FaultState {
  event: SmmuEventName | undefined = undefined;
  /** Set when the transaction is refused without an event. */
  abort: AbortReason | undefined = undefined;
  /** Structure or descriptor address of F_STE_FETCH, F_CD_FETCH and F_WALK_EABT. */
  fetchAddress = 0;
  /** SubstreamID that the event names when it is not the transaction's own. */
  substreamId: number | undefined = undefined;
  /** CD.A, CD.R and CD.S decide what happens (5.5); else abort and record. */
  configurable = false;

  raise(event: SmmuEventName, fetchAddress: number): void {
    this.event = event;
    this.abort = undefined;
    this.fetchAddress = fetchAddress;
    this.substreamId = undefined;
    this.configurable = false;
  }

  /** A fault of translation, which the CD configures. */
  raiseConfigurable(event: SmmuEventName): void {
    this.raise(event, 0);
    this.configurable = true;
  }

  refuse(reason: AbortReason): void {
    this.event = undefined;
    this.abort = reason;
  }
}
