/*
 * Reports translations that an endpoint used although what they were made from has changed (IHI 0070 3.9.1, 4.5.1): only CMD_ATC_INV
 * removes them.
 * Not modelled: changes that were made and undone between two uses.
 */
import { hex } from '@iommukit/bits';
import type { CachedContext } from './context-descriptor.ts';
import type { AtcInvalidation } from './endpoint-port.ts';
import type { Regime } from './regime.ts';
import type { ChangedWord } from './stale-change.lanes.ts';
import type { MayBeStale, StaleLog, StaleUse } from './stale-use.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbEntry } from './tlb-entry.ts';

/**
 * What a completion was made from. Its content is the model's; endpoints only keep it and give it back.
 * @example smmu.translatedTransaction({ streamId, address, rw: 'read', origin: completion.origin });
 */
export interface AtcOrigin extends MayBeStale {
  readonly streamId: number;
  readonly substreamId: number | undefined;
  /** Page-aligned address that was asked for, bytes. */
  readonly page: number;
  readonly stream: CachedStream | undefined;
  readonly context: CachedContext | undefined;
  readonly half: Regime | undefined;
  readonly inner: TlbEntry | undefined;
  readonly outer: TlbEntry | undefined;
}

/** The part of the stale-use detector that knows descriptors. */
export interface TranslationChanges {
  changedTranslation(origin: AtcOrigin): ChangedWord | undefined;
}

/** How far a CMD_ATC_INV that `test` accepts has come; `missing` when none is under way. */
export type AtcPendingSearch = (test: (request: AtcInvalidation) => boolean) => StaleUse['class'];

/** Checks what endpoints use. */
export class AtcDetector {
  readonly #changes: TranslationChanges;
  readonly #log: StaleLog;
  readonly #pending: AtcPendingSearch;

  constructor(parts: {
    changes: TranslationChanges;
    log: StaleLog;
    pending: AtcPendingSearch;
  }) {
    this.#changes = parts.changes;
    this.#log = parts.log;
    this.#pending = parts.pending;
  }

  /** An endpoint used a translation that it keeps. */
  check(origin: AtcOrigin): void {
    const change = this.#changes.changedTranslation(origin);
    if (change === undefined) return;
    if (origin.stale !== undefined) {
      this.#log.again(origin.stale);
      return;
    }
    const { streamId, substreamId, page } = origin;
    this.#log.add(origin, {
      kind: 'atc',
      class: this.#pending((request) => coversAtc(request, origin)),
      streamId,
      substreamId,
      asid: undefined,
      vmid: undefined,
      iova: page,
      ipa: undefined,
      ...change,
      removedBy: atcCommands(streamId, substreamId, page),
      uses: 1,
    });
  }
}

/** True when the request removes a translation of this page. */
export function coversAtc(
  request: AtcInvalidation,
  held: { readonly streamId: number; readonly substreamId: number | undefined; page: number },
): boolean {
  if (request.streamId !== held.streamId || request.substreamId !== held.substreamId) return false;
  return request.sizeLg2 >= 64 || overlaps(request, held.page, 4096);
}

/** True when the span of the request and `[start, start + bytes)` have an address in common. */
export function overlaps(request: AtcInvalidation, start: number, bytes: number): boolean {
  if (request.sizeLg2 >= 64) return true;
  return request.start < start + bytes && start < request.start + 2 ** request.sizeLg2;
}

function atcCommands(streamId: number, substreamId: number | undefined, page: number): string[] {
  const who = `sid=${hex(streamId)}${substreamId === undefined ? '' : ` ssid=${hex(substreamId)}`}`;
  return [`CMD_ATC_INV ${who} iova=${hex(page)}`, `CMD_ATC_INV ${who} all`];
}
