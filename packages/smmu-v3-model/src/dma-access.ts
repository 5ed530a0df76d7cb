/*
 * An untranslated transaction, and what became of it (IHI 0070 3.4, 3.12, 13.1).
 * Not modelled: data and length of a transaction, and what crosses a 4 KiB page: each is for one address.
 */
import type { U64 } from '@iommukit/bits';
import type { SmmuEvent, TranslationEvent } from './event.ts';
import type { MemoryAttributes } from './memory-attribute.lanes.ts';

/**
 * What a device sends: an untranslated transaction (IHI 0070 3.4). A missing `substreamId` is SSV=0; `privileged` and
 * `instruction` default to false, as a PCIe function without PASID sends them.
 * @example const access: DmaAccess = { streamId: 0x30, address: { lo: 0x1000, hi: 0 }, rw: 'read' };
 */
export interface DmaAccess {
  readonly streamId: number;
  readonly substreamId?: number | undefined;
  /** The full 64-bit input address, low bits included. */
  readonly address: U64;
  /** `atomic` reads and writes in one (13.1.1). */
  readonly rw: 'read' | 'write' | 'atomic';
  readonly privileged?: boolean | undefined;
  readonly instruction?: boolean | undefined;
  /** Memory attributes that the device sends; write-back cacheable, Non-shareable when it sends none (13.1.2). */
  readonly attributes?: MemoryAttributes | undefined;
}

/**
 * Why a transaction was refused without an event: GBPA.ABORT, an address above OAS with SMMUEN=0, STE.Config=0xx, or a
 * C_BAD_STREAMID that CR2.RECINVSID=0 keeps out of the event queue.
 * @example const why: AbortReason = 'gbpa-abort';
 */
export type AbortReason =
  | 'gbpa-abort'
  | 'address-above-oas'
  | 'ste-abort'
  | 'bad-stream-id-unrecorded';

/**
 * What became of a transaction. `ok`: translated to the byte address `paddr`. `bypass`: passed untranslated. `abort`: refused, and the
 * architecture records no event. `fault`: an event; `response` is what the device gets (CD.A, 5.5), `record` what became of the
 * record: in the queue, dropped because the queue was not writable, or suppressed by CD.R=0 or STE.S2R=0. `stall`: held without
 * an answer until a command resumes or ends it (3.12.2); `stag` names it. `attributes` are those that leave the SMMU (13.1).
 * @example if (result.outcome === 'fault') result.event.event; // 'F_TRANSLATION'
 */
export type DmaResult =
  | {
      readonly outcome: 'ok';
      readonly paddr: number;
      readonly streamId: number;
      readonly tlbHit: boolean;
      readonly attributes: MemoryAttributes;
    }
  | {
      readonly outcome: 'bypass';
      readonly paddr: number;
      readonly streamId: number;
      readonly attributes: MemoryAttributes;
    }
  | { readonly outcome: 'abort'; readonly reason: AbortReason; readonly streamId: number }
  | {
      readonly outcome: 'fault';
      readonly event: SmmuEvent;
      readonly response: 'abort' | 'raz-wi';
      readonly record: 'written' | 'dropped' | 'suppressed';
      readonly streamId: number;
    }
  | {
      readonly outcome: 'stall';
      readonly event: TranslationEvent;
      readonly stag: number;
      readonly record: 'written' | 'held';
      readonly streamId: number;
    };
