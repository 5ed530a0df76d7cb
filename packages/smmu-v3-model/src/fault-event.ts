/*
 * From the fault that a translation left behind to its event, and to what the device gets (IHI 0070 3.12, 5.5, 7.3).
 * Not modelled: what `event.ts` leaves out of a record.
 */
import { isInstruction, isPrivileged } from './access-mode.lanes.ts';
import type { DmaAccess } from './dma-access.ts';
import type { SmmuEvent, SmmuEventName, TranslationEvent } from './event.ts';
import type { FaultState } from './fault.ts';
import type { Translator } from './translator.ts';

/** What becomes of a transaction that faulted. */
export interface Termination {
  readonly stall: boolean;
  readonly record: boolean;
  readonly response: 'abort' | 'raz-wi';
}

/** The event of the translator's last fault, for the access that met it. */
export function faultEvent(
  translator: Translator,
  access: DmaAccess,
  name: SmmuEventName,
): SmmuEvent {
  const { fault, attributes } = translator;
  const { streamId, address } = access;
  const { fetchAddress, stage } = fault;
  const header = { streamId, substreamId: fault.substreamId ?? access.substreamId };
  const rw = access.rw === 'atomic' ? 'write' : access.rw;
  const privileged = isPrivileged(attributes);
  const instruction = isInstruction(attributes);
  const body = { address, privileged, instruction, stage, class: fault.class };
  switch (name) {
    case 'F_STE_FETCH':
    case 'F_CD_FETCH':
      return { event: name, ...header, fetchAddress };
    case 'F_WALK_EABT':
      return { event: name, ...header, ...body, rw, fetchAddress };
    case 'F_TRANSLATION':
    case 'F_ADDR_SIZE':
    case 'F_ACCESS':
      return { event: name, ...header, ...body, rw, ...stage2Input(fault) };
    case 'F_PERMISSION': {
      const read = access.rw === 'atomic' && !fault.lacksWrite;
      return {
        event: name,
        ...header,
        ...body,
        rw: read ? 'read' : rw,
        ...stage2Input(fault),
        ...(fault.class === 'TT' ? { tableAccess: fault.tableRead ? 'read' : 'update' } : {}),
      };
    }
    default:
      return { event: name, ...header };
  }
}

/** What A, R and S of the stage that faulted make of the fault (3.12, 5.5); whatever they do not govern is aborted and recorded. */
export function terminationOf({ fault, context, stream }: Translator): Termination {
  if (fault.configuredBy === 1 && context !== undefined)
    return { stall: context.s, record: context.r, response: context.a ? 'abort' : 'raz-wi' };
  if (fault.configuredBy === 2 && stream !== undefined)
    return { stall: stream.s2s, record: stream.s2r, response: 'abort' };
  return { stall: false, record: true, response: 'abort' };
}

/** True for the events that a transaction may stall with (3.12.2). */
export function isTranslationEvent(event: SmmuEvent): event is TranslationEvent {
  return 'address' in event && event.event !== 'F_WALK_EABT';
}

function stage2Input(fault: FaultState): { ipa?: number } {
  return fault.stage === 2 ? { ipa: fault.ipa } : {};
}
