/*
 * What endpoints with ATS send, and what they get back (IHI 0070 3.9.1, 13.6, 13.7).
 * Not modelled: requests for several translations at once, PASIDs on translated transactions (PASIDTT), memory attributes in
 * completions. N, Global and U of a completion are always 0.
 */
import type { U64 } from '@iommukit/bits';
import type { AtcOrigin } from './atc-detector.ts';
import type { RecordedEvent } from './port-event.ts';

/**
 * An ATS Translation Request for one page. `privileged` and `execute` exist only with a PASID. `noWrite` is NW: the endpoint does not
 * mean to write.
 * @example const request: TranslationRequest = { streamId: 8, address: { lo: 0x1000, hi: 0 }, noWrite: true };
 */
export interface TranslationRequest {
  readonly streamId: number;
  readonly substreamId?: number | undefined;
  readonly address: U64;
  readonly noWrite: boolean;
  readonly privileged?: boolean | undefined;
  readonly execute?: boolean | undefined;
}

/**
 * An ATS Translation Completion. `success`: what of `[start, start + size)` the endpoint may do, at `output` (a PA, or an IPA with
 * split-stage ATS); nothing granted means that the page is not there. The other two are the PCIe status codes UR and CA, with the
 * event, if one was recorded or lost.
 * @example if (completion.status === 'success' && completion.read) completion.output;
 */
export type TranslationCompletion =
  | {
      readonly status: 'success';
      readonly start: number;
      readonly output: number;
      /** Bytes, a power of two. */
      readonly size: number;
      readonly read: boolean;
      readonly write: boolean;
      readonly execute: boolean;
      readonly privileged: boolean;
      /** What the translation was made from, for the stale-use detector; absent where nothing was translated. */
      readonly origin: AtcOrigin | undefined;
    }
  | {
      readonly status: 'unsupported-request' | 'completer-abort';
      readonly event: RecordedEvent | undefined;
      readonly record: 'written' | 'dropped' | 'none';
    };

/**
 * A transaction that an endpoint marks Translated; `address` is what a completion gave. `origin` is that completion's.
 * @example const transaction: TranslatedTransaction = { streamId: 8, address: { lo: 0x4100_0000, hi: 0 }, rw: 'write' };
 */
export interface TranslatedTransaction {
  readonly streamId: number;
  readonly address: U64;
  readonly rw: 'read' | 'write' | 'atomic';
  readonly origin?: AtcOrigin | undefined;
}

/**
 * What became of a translated transaction. `ok`: it reaches the byte address `paddr`. `abort`: refused without an event. `fault`: an
 * event; the endpoint always gets an abort.
 * @example if (result.outcome === 'fault') result.event.event; // 'F_TRANSL_FORBIDDEN'
 */
export type TranslatedResult =
  | { readonly outcome: 'ok'; readonly paddr: number; readonly streamId: number }
  | {
      readonly outcome: 'abort';
      readonly reason: 'address-above-oas' | 'ste-abort' | 'unrecorded';
      readonly streamId: number;
    }
  | {
      readonly outcome: 'fault';
      readonly event: RecordedEvent;
      readonly response: 'abort';
      readonly record: 'written' | 'dropped' | 'suppressed';
      readonly streamId: number;
    };
