/*
 * The state of the one fault that a transaction may meet on its way (IHI 0070 7.2: at most one event for each transaction).
 * Not modelled: F_TLB_CONFLICT, F_CFG_CONFLICT and F_VMS_FETCH, which this SMMU never meets; F_UUT is a port's, see `ats.ts`.
 */
import type { AbortReason } from './dma-access.ts';
import type { SmmuEventName } from './event.ts';

/** What was being accessed when a fault was met (7.3): a CD, a stage-1 table, or the transaction's own address. */
export type FaultClass = 'CD' | 'TT' | 'IN';

/** Filled by the stage that refuses a transaction; reused for every transaction so that the hot path allocates nothing. */
export class FaultState {
  event: SmmuEventName | undefined = undefined;
  /** Set when the transaction is refused without an event. */
  abort: AbortReason | undefined = undefined;
  /** Structure or descriptor address of F_STE_FETCH, F_CD_FETCH and F_WALK_EABT. */
  fetchAddress = 0;
  /** SubstreamID that the event names when it is not the transaction's own. */
  substreamId: number | undefined = undefined;
  /** Whose A, R and S decide what happens (5.5): 1 the CD's, 2 the STE's; 0: abort and record. */
  configuredBy: 0 | 1 | 2 = 0;
  stage: 1 | 2 = 1;
  class: FaultClass = 'IN';
  /** Input of stage 2 when `stage` is 2. */
  ipa = 0;
  /** F_PERMISSION, CLASS=TT: the descriptor was read (1) or updated (0). */
  tableRead = true;
  /** F_PERMISSION of an atomic: what was missing includes the write. */
  lacksWrite = true;

  raise(event: SmmuEventName, fetchAddress: number): void {
    this.event = event;
    this.abort = undefined;
    this.fetchAddress = fetchAddress;
    this.substreamId = undefined;
    this.configuredBy = 0;
    this.stage = 1;
    this.class = 'IN';
    this.ipa = 0;
    this.tableRead = true;
    this.lacksWrite = true;
  }

  /** A fault of stage 1, which the CD configures. */
  raiseStage1(event: SmmuEventName): void {
    this.raise(event, 0);
    this.configuredBy = 1;
  }

  /** A fault of stage 2, which the STE configures, on the way to what `cls` says. */
  raiseStage2(event: SmmuEventName, cls: FaultClass, ipa: number): void {
    this.raise(event, 0);
    this.configuredBy = 2;
    this.stage = 2;
    this.class = cls;
    this.ipa = ipa;
  }

  /** External abort on a descriptor. */
  raiseWalkAbort(stage: 1 | 2, cls: FaultClass, fetchAddress: number): void {
    this.raise('F_WALK_EABT', fetchAddress);
    this.stage = stage;
    this.class = stage === 1 ? 'TT' : cls;
  }

  refuse(reason: AbortReason): void {
    this.event = undefined;
    this.abort = reason;
  }
}
