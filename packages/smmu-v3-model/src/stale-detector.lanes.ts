/*
 * Compares what the caches hold with memory, each time it is used (IHI 0070 3.21, 16.2).
 * Not modelled: changes that were made and undone between two uses; hints and software fields, which decide nothing.
 */
import type { U64 } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';
import type { AtcOrigin } from './atc-detector.ts';
import type { ConfigInvalidation } from './config-cache.ts';
import { type ConfigTarget, coversConfig } from './config-coverage.ts';
import type { CachedContext, L1ContextEntry } from './context-descriptor.ts';
import type { Features } from './features.ts';
import type { Regime } from './regime.ts';
import {
  type ChangedWord,
  changedContext,
  changedStage2,
  changedStages,
  unreached,
} from './stale-change.lanes.ts';
import { configCommands, ipaCommands, vaCommands } from './stale-commands.ts';
import { firstChanged, footprintOf } from './stale-footprint.lanes.ts';
import { CD_LOWER, CD_UPPER, CD_USED, STE_USED } from './stale-masks.ts';
import type { MayBeStale, StaleLog, StaleUse } from './stale-use.ts';
import type { CachedStream, L1StreamEntry } from './stream-entry.ts';
import type { TlbSpace } from './tlb.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';
import { coversLeaf, coversWalk, type TlbInvalidation } from './tlb-invalidation.ts';
import { keyToIova } from './translation-key.lanes.ts';

/** How far an invalidation that `test` accepts has come; `missing` when none is under way. */
export type PendingSearch = (
  test: (op: TlbInvalidation | ConfigInvalidation) => boolean,
) => StaleUse['class'];

/** An entry found by VA, whose it is, and which invalidations reach it. */
interface FoundByVa {
  readonly kind: 'tlb' | 'walk';
  readonly stream: CachedStream;
  readonly context: CachedContext;
  readonly space: TlbSpace;
  /** `undefined` for a table. */
  readonly leafLevel: number | undefined;
  readonly test: (op: TlbInvalidation) => boolean;
}

/** Reports uses of stale entries into a log. */
export class StaleDetector {
  readonly #memory: MemoryView;
  readonly #log: StaleLog;
  readonly #pending: PendingSearch;
  readonly #features: Features;
  readonly #e2h: () => boolean;

  constructor(parts: {
    memory: MemoryView;
    log: StaleLog;
    pending: PendingSearch;
    features: Features;
    /** CR2.E2H now, which a cached STE may hold as it was. */
    e2h: () => boolean;
  }) {
    this.#memory = parts.memory;
    this.#log = parts.log;
    this.#pending = parts.pending;
    this.#features = parts.features;
    this.#e2h = parts.e2h;
  }

  /** A cached L1STD was used to find an STE. `tableGeneration` counts the moves of the stream table. */
  checkL1Stream(l1std: L1StreamEntry, streamId: number, tableGeneration: number): void {
    const { paddr, lo, hi, firstSid, lastSid } = l1std;
    const used = { lo, hi };
    const now =
      this.#changedWord(paddr, lo, hi) ??
      (l1std.tableGeneration === tableGeneration ? undefined : used);
    if (now === undefined) return;
    const target: ConfigTarget = {
      kind: 'l1std',
      streamId,
      ssid: -1,
      first: firstSid,
      last: lastSid,
    };
    this.#reportConfig(l1std, { paddr, used, now }, target);
  }

  /** A cached STE was used. */
  checkStream(stream: CachedStream, tableGeneration: number): void {
    const { l1std, kind, streamId, world } = stream;
    if (l1std !== undefined) {
      const { paddr, lo, hi } = l1std;
      const now = this.#changedWord(paddr, lo, hi);
      // The STE outlives the L1STD that led to it, and only its own StreamID reaches it.
      if (now !== undefined)
        this.#reportConfig(stream, { paddr, used: { lo, hi }, now }, steTarget('l1std', streamId));
    }
    const change =
      this.#changed(stream.paddr, stream.words, STE_USED[kind]) ??
      (stream.tableGeneration !== tableGeneration || (world !== 0 && (world === 2) !== this.#e2h())
        ? unreached(stream)
        : undefined);
    if (change !== undefined) this.#reportConfig(stream, change, steTarget('ste', streamId));
  }

  /** A cached L1CD was used to find a CD. */
  checkL1Context(l1cd: L1ContextEntry, stream: CachedStream, ssid: number): void {
    const change = this.#changedL1Context(l1cd);
    if (change === undefined) return;
    const { firstSsid, lastSsid } = l1cd;
    const { streamId } = stream;
    const target: ConfigTarget = { kind: 'l1cd', streamId, ssid, first: firstSsid, last: lastSsid };
    this.#reportConfig(l1cd, change, target);
  }

  /** A cached CD was used. */
  checkContext(stream: CachedStream, cd: CachedContext): void {
    const { streamId } = stream;
    const { ssid } = cd;
    if (cd.l1cd !== undefined) {
      const change = this.#changedL1Context(cd.l1cd);
      // The CD outlives the L1CD that led to it, and only its own SubstreamID reaches it.
      if (change !== undefined)
        this.#reportConfig(cd, change, { kind: 'l1cd', streamId, ssid, first: ssid, last: ssid });
    }
    const change =
      this.#changed(cd.paddr, cd.words, CD_USED) ??
      (cd.under === undefined
        ? undefined
        : (this.#changedEntry(cd.under) ?? changedStage2(cd.under, stream)));
    if (change !== undefined)
      this.#reportConfig(cd, change, { kind: 'cd', streamId, ssid, first: ssid, last: ssid });
  }

  /** A cached leaf was used, found by VA. */
  checkLeaf(entry: TlbEntry, stream: CachedStream, cd: CachedContext, half: Regime): void {
    const { space } = entry;
    const inner = entry.inner ?? entry;
    const change =
      this.#changedEntry(entry) ??
      changedContext(inner, cd, half, space.asid < 0 ? 'same-asid' : 'any-asid') ??
      changedStages(inner.under ?? entry.outer, stream);
    if (change === undefined) return;
    this.#reportVa(entry, change, {
      kind: 'tlb',
      stream,
      context: cd,
      space,
      leafLevel: entry.level,
      test: (op) => coversLeaf(op, space, entry),
    });
  }

  /** A cached stage-1 table descriptor was used as the start of a walk. */
  checkWalk(entry: WalkEntry, stream: CachedStream, cd: CachedContext, half: Regime): void {
    const { space } = cd;
    const change =
      this.#changedEntry(entry) ??
      changedContext(entry, cd, half, 'any-asid') ??
      changedStages(entry.under, stream);
    if (change === undefined) return;
    this.#reportVa(entry, change, {
      kind: 'walk',
      stream,
      context: cd,
      space,
      leafLevel: undefined,
      test: (op) => coversWalk(op, space, entry),
    });
  }

  /** A cached stage-2 leaf was used, found by IPA. */
  checkIpa(entry: TlbEntry, stream: CachedStream): void {
    const change = this.#changedEntry(entry) ?? changedStage2(entry, stream);
    if (change === undefined) return;
    const { space } = entry;
    this.#reportIpa(entry, stream, change, {
      kind: 's2-tlb',
      leafLevel: entry.level,
      test: (op) => coversLeaf(op, space, entry),
    });
  }

  /** A cached stage-2 table descriptor was used as the start of a walk. */
  checkIpaWalk(entry: WalkEntry, stream: CachedStream): void {
    const change = this.#changedEntry(entry) ?? changedStage2(entry, stream);
    const space = stream.ipaSpace;
    if (change === undefined || space === undefined) return;
    this.#reportIpa(entry, stream, change, {
      kind: 's2-walk',
      leafLevel: undefined,
      test: (op) => coversWalk(op, space, entry),
    });
  }

  /** What changed under a translation that an endpoint keeps: its descriptors, CD or STE. Reporting it is the caller's. */
  changedTranslation({ inner, outer, context, half, stream }: AtcOrigin): ChangedWord | undefined {
    const mask = half?.upper === true ? CD_UPPER : CD_LOWER;
    return (
      this.#changedUnder(inner) ??
      this.#changedUnder(outer) ??
      (context === undefined ? undefined : this.#changed(context.paddr, context.words, mask)) ??
      (stream === undefined
        ? undefined
        : this.#changed(stream.paddr, stream.words, STE_USED[stream.kind]))
    );
  }

  /** A descriptor that an entry was made from, of whichever stage. */
  #changedEntry(entry: TlbEntry | WalkEntry): ChangedWord | undefined {
    entry.footprint ??= footprintOf(entry, this.#memory);
    const { paddrs, words } = entry.footprint;
    const i = firstChanged(entry.footprint, this.#memory);
    if (i < 0) return undefined;
    const paddr = paddrs[i] as number;
    const lo = this.#memory.load64(paddr);
    return {
      paddr,
      used: { lo: words[i * 4] as number, hi: words[i * 4 + 1] as number },
      now: { lo, hi: this.#memory.hi },
    };
  }

  #changedUnder(under: TlbEntry | undefined): ChangedWord | undefined {
    return under === undefined ? undefined : this.#changedEntry(under);
  }

  #changedL1Context({ paddr, lo, hi, under }: L1ContextEntry): ChangedWord | undefined {
    const now = this.#changedWord(paddr, lo, hi);
    return now === undefined ? this.#changedUnder(under) : { paddr, used: { lo, hi }, now };
  }

  #changedWord(paddr: number, lo: number, hi: number): U64 | undefined {
    const nowLo = this.#memory.load64(paddr);
    const nowHi = this.#memory.hi;
    return nowLo === lo && nowHi === hi ? undefined : { lo: nowLo, hi: nowHi };
  }

  #changed(paddr: number, words: Uint32Array, mask: Uint32Array): ChangedWord | undefined {
    const memory = this.#memory;
    const page = memory.lanes(paddr);
    const first = (paddr / 4) & 1023;
    for (let i = 0; i < mask.length; i += 2) {
      const maskLo = mask[i] as number;
      const maskHi = mask[i + 1] as number;
      if ((maskLo | maskHi) === 0) continue;
      // A structure is aligned to its size, so that it lies in one page.
      const lo = page === undefined ? memory.load64(paddr + i * 4) : (page[first + i] as number);
      const hi = page === undefined ? memory.hi : (page[first + i + 1] as number);
      const wasLo = words[i] as number;
      const wasHi = words[i + 1] as number;
      if (((lo ^ wasLo) & maskLo) !== 0 || ((hi ^ wasHi) & maskHi) !== 0)
        return { paddr: paddr + i * 4, used: { lo: wasLo, hi: wasHi }, now: { lo, hi } };
    }
    return undefined;
  }

  #reportConfig(entry: MayBeStale, change: ChangedWord, target: ConfigTarget): void {
    const { kind, streamId, ssid } = target;
    if (entry.stale !== undefined) {
      this.#log.again(entry.stale);
      return;
    }
    this.#log.add(entry, {
      kind,
      class: this.#pending((op) => op.what === 'config' && coversConfig(op, target)),
      streamId,
      substreamId: ssid < 0 ? undefined : ssid,
      asid: undefined,
      vmid: undefined,
      iova: undefined,
      ipa: undefined,
      ...change,
      removedBy: configCommands(kind, streamId, ssid),
      uses: 1,
    });
  }

  #reportVa(entry: TlbEntry | WalkEntry, change: ChangedWord, how: FoundByVa): void {
    if (entry.stale !== undefined) {
      this.#log.again(entry.stale);
      return;
    }
    const { kind, stream, context, space, leafLevel, test } = how;
    this.#log.add(entry, {
      kind,
      class: this.#pending((op) => op.what === 'tlb' && test(op)),
      streamId: stream.streamId,
      substreamId: substreamOf(stream, context),
      asid: space.asid < 0 ? undefined : space.asid,
      vmid: space.vmid,
      iova: keyToIova(entry.key),
      ipa: undefined,
      ...change,
      removedBy: vaCommands(entry, { space, user: context.space, leafLevel }, this.#features),
      uses: 1,
    });
  }

  #reportIpa(
    entry: TlbEntry | WalkEntry,
    stream: CachedStream,
    change: ChangedWord,
    how: {
      kind: 's2-tlb' | 's2-walk';
      leafLevel: number | undefined;
      test: (op: TlbInvalidation) => boolean;
    },
  ): void {
    if (entry.stale !== undefined) {
      this.#log.again(entry.stale);
      return;
    }
    const { vmid, streamId } = stream;
    this.#log.add(entry, {
      kind: how.kind,
      class: this.#pending((op) => op.what === 'tlb' && how.test(op)),
      streamId,
      substreamId: undefined,
      asid: undefined,
      vmid,
      iova: undefined,
      ipa: entry.key,
      ...change,
      removedBy: ipaCommands(entry, vmid, how.leafLevel, this.#features),
      uses: 1,
    });
  }
}

/** A cached STE, with (`l1std`) or without the L1STD that led to it. */
function steTarget(kind: 'l1std' | 'ste', streamId: number): ConfigTarget {
  return { kind, streamId, ssid: -1, first: streamId, last: streamId };
}

/** The SubstreamID that names a CD to people; absent where the stream has but one. */
function substreamOf(stream: CachedStream, cd: CachedContext): number | undefined {
  return stream.cdMax === 0 ? undefined : cd.ssid;
}
