import { EVENT_CODE, F_TRANSLATION } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';

/**
 * An event record as the driver read it: the raw doublewords, and the fields that every record has.
 * @example if (record.code === 0x10) report(record.streamId, record.address);
 */
export interface EventRecord {
  readonly code: number;
  readonly streamId: number;
  /** SubstreamID, or null without one. */
  readonly substreamId: number | null;
  readonly words: readonly [U64, U64, U64, U64];
  /** Present for the four translation faults (F_TRANSLATION, F_ADDR_SIZE, F_ACCESS, F_PERMISSION). */
  readonly fault: TranslationFault | null;
}

/**
 * Fields of a translation fault (IHI 0070 7.3.13 to 7.3.16).
 * @example fault.rw // 'read'
 */
export interface TranslationFault {
  readonly address: U64;
  readonly rw: 'read' | 'write';
  readonly privileged: boolean;
  readonly instruction: boolean;
  readonly stage: 1 | 2;
  /** 0 CD fetch, 1 translation table fetch, 2 the input address. */
  readonly class: number;
  readonly stalled: boolean;
  readonly stag: number;
}

const { EventNumber, SSV, SubstreamID, StreamID, RnW, PnU, InD, S2, CLASS, STALL, STAG } =
  F_TRANSLATION.get;

/**
 * Decodes the 32-byte record in `words` (eight lanes).
 * @example decodeEvent(words).code // 0x10: F_TRANSLATION
 */
export function decodeEvent(words: Uint32Array): EventRecord {
  const code = EventNumber(words);
  const lane = (i: number): U64 => ({ lo: words[i * 2] ?? 0, hi: words[i * 2 + 1] ?? 0 });
  return {
    code,
    streamId: StreamID(words),
    substreamId: SSV(words) === 1 ? SubstreamID(words) : null,
    words: [lane(0), lane(1), lane(2), lane(3)],
    fault:
      code >= EVENT_CODE.F_TRANSLATION && code <= EVENT_CODE.F_PERMISSION
        ? {
            address: lane(2),
            rw: RnW(words) === 1 ? 'read' : 'write',
            privileged: PnU(words) === 1,
            instruction: InD(words) === 1,
            stage: S2(words) === 1 ? 2 : 1,
            class: CLASS(words),
            stalled: STALL(words) === 1,
            stag: STAG(words),
          }
        : null,
  };
}
