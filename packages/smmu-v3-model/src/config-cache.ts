/*
 * Cached configuration: L1STD, STE, L1CD and CD, each with its own life (IHI 0070 5.2.1, 5.4.1, 16.2).
 * Not modelled: capacity; structures cached in 8-byte parts read at different times; the CONT hint; VMS and PARTID_MAP.
 */
import type { CachedContext, L1ContextEntry } from './context-descriptor.ts';
import type { MayBeStale } from './stale-use.ts';
import type { CachedStream, L1StreamEntry } from './stream-entry.ts';

/** What a configuration invalidation command removes, at the least (IHI 0070 4.3). StreamIDs from `first` to `last` inclusive. */
export interface ConfigInvalidation {
  readonly what: 'config';
  readonly first: number;
  readonly last: number;
  /** STEs, and with them every CD and L1CD of the stream. */
  readonly ste: boolean;
  readonly l1std: boolean;
  /** CD of this SubstreamID; -1 every one. Meaningless with `ste`. */
  readonly ssid: number;
  readonly l1cd: boolean;
}

/** CDs and L1CDs that were reached through one StreamID; they outlive nothing but their own commands and CFGI_STE. */
export class StreamContexts {
  readonly cds: Map<number, CachedContext> = new Map();
  readonly l1cds: Map<number, L1ContextEntry> = new Map();
}

function keepMap<V>(map: Map<number, V>): () => void {
  const kept = [...map];
  return () => {
    map.clear();
    for (const [key, value] of kept) map.set(key, value);
  };
}

/** The configuration caches. */
export class ConfigCache {
  readonly l1stds: Map<number, L1StreamEntry> = new Map();
  readonly streams: Map<number, CachedStream> = new Map();
  readonly #onRemove: (entry: MayBeStale) => void;
  /** Bumped whenever anything is removed, so that derived fast paths can be dropped. */
  generation = 0;

  constructor(onRemove: (entry: MayBeStale) => void) {
    this.#onRemove = onRemove;
  }

  /** Notes what is held of a stream and gives the way back to it, whatever that stream's transactions inserted since. */
  keep(streamId: number): () => void {
    const contexts = this.streams.get(streamId)?.contexts;
    const kept = [
      keepMap(this.l1stds),
      keepMap(this.streams),
      ...(contexts === undefined ? [] : [keepMap(contexts.cds), keepMap(contexts.l1cds)]),
    ];
    return () => {
      for (const restore of kept) restore();
    };
  }

  invalidate(op: ConfigInvalidation): void {
    this.generation++;
    if (op.l1std)
      for (const [index, entry] of this.l1stds)
        if (entry.firstSid <= op.last && entry.lastSid >= op.first) {
          this.l1stds.delete(index);
          this.#onRemove(entry);
        }
    if (op.last - op.first < this.streams.size) {
      for (let sid = op.first; sid <= op.last; sid++) {
        const stream = this.streams.get(sid);
        if (stream !== undefined) this.#invalidateStream(op, stream);
      }
    } else {
      for (const [sid, stream] of this.streams)
        if (sid >= op.first && sid <= op.last) this.#invalidateStream(op, stream);
    }
  }

  #invalidateStream(op: ConfigInvalidation, stream: CachedStream): void {
    const { cds, l1cds } = stream.contexts;
    if (op.ste) {
      this.streams.delete(stream.streamId);
      this.#onRemove(stream);
      for (const cd of cds.values()) this.#onRemove(cd);
      for (const l1cd of l1cds.values()) this.#onRemove(l1cd);
      cds.clear();
      l1cds.clear();
      return;
    }
    for (const [ssid, cd] of cds)
      if (op.ssid < 0 || ssid === op.ssid) {
        cds.delete(ssid);
        this.#onRemove(cd);
      }
    if (op.l1cd)
      for (const [index, l1cd] of l1cds)
        if (op.ssid < 0 || (op.ssid >= l1cd.firstSsid && op.ssid <= l1cd.lastSsid)) {
          l1cds.delete(index);
          this.#onRemove(l1cd);
        }
  }
}
