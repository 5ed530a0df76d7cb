/*
 * The address translation cache of an endpoint (IHI 0070 3.9.1, 4.5.1): what completions granted, until CMD_ATC_INV.
 * Not modelled: capacity and replacement; completions that grant nothing (they are not kept).
 */
import { type AtcOrigin, overlaps } from './atc-detector.ts';
import type { AtcInvalidation } from './endpoint-port.ts';
import { noteRemoved } from './stale-use.ts';

/**
 * A translation that an endpoint keeps, for one PASID (or none) and one privilege. The range is `[start, start + size)`, bytes.
 * @example const [first] = endpoint.translations; first.write; // true
 */
export interface AtcEntry {
  readonly substreamId: number | undefined;
  readonly privileged: boolean;
  readonly start: number;
  readonly size: number;
  readonly output: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly origin: AtcOrigin | undefined;
}

/** The translations of one endpoint. */
export class TranslationCache {
  readonly #entries: Set<AtcEntry> = new Set();

  get entries(): readonly AtcEntry[] {
    return [...this.#entries];
  }

  /** The translation of a page, as an access of this PASID and privilege would use it. */
  lookup({
    substreamId,
    privileged,
    page,
  }: Pick<AtcEntry, 'substreamId' | 'privileged'> & { page: number }): AtcEntry | undefined {
    for (const entry of this.#entries)
      if (
        entry.substreamId === substreamId &&
        entry.privileged === privileged &&
        entry.start <= page &&
        page < entry.start + entry.size
      )
        return entry;
    return undefined;
  }

  /** Keeps a translation in place of those that it meets. */
  insert(entry: AtcEntry): void {
    const { substreamId, privileged, start, size } = entry;
    for (const each of this.#entries)
      if (
        each.substreamId === substreamId &&
        each.privileged === privileged &&
        each.start < start + size &&
        start < each.start + each.size
      ) {
        this.#entries.delete(each);
        // What was told of the old one is settled by the invalidation of the new one.
        if (entry.origin !== undefined && each.origin?.stale !== undefined)
          entry.origin.stale ??= each.origin.stale;
      }
    this.#entries.add(entry);
  }

  /** Without a PASID only entries without one go, with one only its own; none was granted as global (4.5.1). */
  invalidate(request: AtcInvalidation): void {
    for (const entry of this.#entries)
      if (
        entry.substreamId === request.substreamId &&
        overlaps(request, entry.start, entry.size) &&
        this.#entries.delete(entry) &&
        entry.origin !== undefined
      )
        noteRemoved(entry.origin);
  }

  clear(): void {
    for (const { origin } of this.#entries) if (origin !== undefined) noteRemoved(origin);
    this.#entries.clear();
  }
}
