/*
 * Compares what the caches hold with memory, each time it is used (IHI 0070 3.21, 16.2).
 * Does not model: changes that were made and undone between two uses; hints and software fields, which decide nothing.
 */
import { CD, STE } from '@iommukit/arm-arch';
import { hex, type U64 } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';
import { type ConfigInvalidation, coversConfig } from './config-cache.ts';
import type { CachedContext, Half, L1ContextEntry } from './context-descriptor.ts';
import type { MayBeStale, StaleLog, StaleUse } from './stale-use.ts';
import type { CachedStream, L1StreamEntry } from './stream-table.ts';
import {
  coversLeaf,
  coversWalk,
  staleTags,
  type TlbEntry,
  type TlbInvalidation,
  type TlbSpace,
  type WalkEntry,
} from './tlb.ts';
import { leafDiffers, tableDiffers } from './walk.lanes.ts';

/** Whether an invalidation that `test` accepts has been given and is not complete. */
export type PendingSearch = (
  test: (op: TlbInvalidation | ConfigInvalidation) => boolean,
) => boolean;

const STE_ALL = Uint32Array.from([
  0xffff_ffff, 0xffff_ffff, 0xff0f_ffff, 0x000f_ffff, 0x0000_ffff, 0,
]);
const STE_ABORT = used(STE.mask('V', 'Config'));
const STE_BYPASS = used(
  STE.mask('V', 'Config', 'MemAttr', 'MTCFG', 'ALLOCCFG', 'SHCFG', 'PRIVCFG', 'INSTCFG', 'EATS'),
);
const CD_ALL = CD.mask(
  'T0SZ',
  'TG0',
  'IR0',
  'OR0',
  'SH0',
  'EPD0',
  'ENDI',
  'T1SZ',
  'TG1',
  'IR1',
  'OR1',
  'SH1',
  'EPD1',
  'V',
  'IPS',
  'AFFD',
  'WXN',
  'UWXN',
  'TBI0',
  'TBI1',
  'PAN',
  'AA64',
  'HD',
  'HA',
  'S',
  'R',
  'A',
  'ASET',
  'ASID',
  'HAD0',
  'E0PD0',
  'HAFT',
  'TTB0',
  'EPAN',
  'HAD1',
  'E0PD1',
  'AIE',
  'TTB1',
  'DS',
  'PIE',
  'MAIR0',
  'MAIR1',
).subarray(0, 8);

function used(mask: Uint32Array): Uint32Array {
  return mask.subarray(0, 6);
}

const CD_LOWER = CD.mask(
  ...(['T0SZ', 'TG0', 'IR0', 'OR0', 'SH0', 'EPD0', 'TBI0', 'HAD0', 'E0PD0', 'TTB0'] as const),
  ...(['ENDI', 'IPS', 'AFFD', 'WXN', 'PAN', 'EPAN', 'AA64', 'HD', 'HA', 'MAIR0', 'MAIR1'] as const),
).subarray(0, 8);
const CD_UPPER = CD.mask(
  ...(['T1SZ', 'TG1', 'IR1', 'OR1', 'SH1', 'EPD1', 'TBI1', 'HAD1', 'E0PD1', 'TTB1'] as const),
  ...(['ENDI', 'IPS', 'AFFD', 'WXN', 'PAN', 'EPAN', 'AA64', 'HD', 'HA', 'MAIR0', 'MAIR1'] as const),
).subarray(0, 8);
/** Lane of MAIR0 in a CD. */
const CD_MAIR = 6;

interface Change {
  readonly paddr: number;
  readonly used: U64;
  readonly now: U64;
}

/** Reports uses of stale entries into a log. */
export class StaleDetector {
  readonly #memory: MemoryView;
  readonly #log: StaleLog;
  readonly #pending: PendingSearch;
  readonly #range: boolean;

  constructor(parts: {
    memory: MemoryView;
    log: StaleLog;
    pending: PendingSearch;
    range: boolean;
  }) {
    this.#memory = parts.memory;
    this.#log = parts.log;
    this.#pending = parts.pending;
    this.#range = parts.range;
  }

  /** A cached L1STD was used, directly or through the STE that it led to. */
  checkL1Stream(l1std: L1StreamEntry, streamId: number): void {
    const { paddr, lo, hi } = l1std;
    const now = this.#changedWord(paddr, lo, hi);
    if (now !== undefined)
      this.#reportConfig(l1std, { paddr, used: { lo, hi }, now }, 'l1std', streamId, -1);
  }

  /** A cached STE was used. `tableGeneration` counts the moves of the stream table. */
  checkStream(stream: CachedStream, tableGeneration: number): void {
    const { l1std, kind, streamId } = stream;
    if (l1std !== undefined) this.checkL1Stream(l1std, streamId);
    const mask = kind === 'abort' ? STE_ABORT : kind === 'bypass' ? STE_BYPASS : STE_ALL;
    const change =
      this.#changed(stream.paddr, stream.words, mask) ??
      (stream.tableGeneration === tableGeneration ? undefined : movedAway(stream));
    if (change !== undefined) this.#reportConfig(stream, change, 'ste', streamId, -1);
  }

  /** A cached L1CD was used, directly or through the CD that it led to. */
  checkL1Context(l1cd: L1ContextEntry, streamId: number, ssid: number): void {
    const { paddr, lo, hi } = l1cd;
    const now = this.#changedWord(paddr, lo, hi);
    if (now !== undefined)
      this.#reportConfig(l1cd, { paddr, used: { lo, hi }, now }, 'l1cd', streamId, ssid);
  }

  /** A cached CD was used. */
  checkContext(stream: CachedStream, cd: CachedContext): void {
    if (cd.l1cd !== undefined) this.checkL1Context(cd.l1cd, stream.streamId, cd.ssid);
    const change = this.#changed(cd.paddr, cd.words, CD_ALL);
    if (change !== undefined) this.#reportConfig(cd, change, 'cd', stream.streamId, cd.ssid);
  }

  /** A cached leaf was used. */
  checkLeaf(entry: TlbEntry, streamId: number, ssid: number, cd: CachedContext, half: Half): void {
    const memory = this.#memory;
    const lo = memory.load64(entry.paddr);
    const { hi } = memory;
    const change = leafDiffers(entry, lo, hi)
      ? { paddr: entry.paddr, used: { lo: entry.lo, hi: entry.hi }, now: { lo, hi } }
      : (this.#changedTable(entry.parent) ??
        changedContext(entry.contextWords, cd, half, entry.space.asid >= 0));
    if (change === undefined) return;
    if (entry.stale !== undefined) this.#log.again(entry.stale);
    else {
      const { space } = entry;
      this.#log.add(entry, {
        kind: 'tlb',
        class: this.#classify((op) => op.what === 'tlb' && coversLeaf(op, space, entry)),
        streamId,
        substreamId: ssid < 0 ? undefined : ssid,
        ...staleTags(space, entry),
        ...change,
        removedBy: translationCommands(space, entry, cd.space, this.#range, entry.level),
        uses: 1,
      });
    }
  }

  /** A cached table descriptor was used as the start of a walk. */
  checkWalk(entry: WalkEntry, streamId: number, ssid: number, cd: CachedContext, half: Half): void {
    const change = this.#changedTable(entry) ?? changedContext(entry.contextWords, cd, half, true);
    if (change === undefined) return;
    if (entry.stale !== undefined) this.#log.again(entry.stale);
    else {
      const { space } = cd;
      this.#log.add(entry, {
        kind: 'walk',
        class: this.#classify((op) => op.what === 'tlb' && coversWalk(op, space, entry)),
        streamId,
        substreamId: ssid < 0 ? undefined : ssid,
        ...staleTags(space, entry),
        ...change,
        removedBy: translationCommands(space, entry, space, this.#range, 0),
        uses: 1,
      });
    }
  }

  #changedTable(first: WalkEntry | undefined): Change | undefined {
    for (let entry = first; entry !== undefined; entry = entry.parent) {
      const lo = this.#memory.load64(entry.paddr);
      const { hi } = this.#memory;
      if (tableDiffers(entry, lo, hi))
        return { paddr: entry.paddr, used: { lo: entry.lo, hi: entry.hi }, now: { lo, hi } };
    }
    return undefined;
  }

  #changedWord(paddr: number, lo: number, hi: number): U64 | undefined {
    const nowLo = this.#memory.load64(paddr);
    const nowHi = this.#memory.hi;
    return nowLo === lo && nowHi === hi ? undefined : { lo: nowLo, hi: nowHi };
  }

  #changed(paddr: number, words: Uint32Array, mask: Uint32Array): Change | undefined {
    for (let i = 0; i < mask.length; i += 2) {
      const lo = this.#memory.load64(paddr + i * 4);
      const { hi } = this.#memory;
      const wasLo = words[i] as number;
      const wasHi = words[i + 1] as number;
      if (
        ((lo ^ wasLo) & (mask[i] as number)) !== 0 ||
        ((hi ^ wasHi) & (mask[i + 1] as number)) !== 0
      )
        return { paddr: paddr + i * 4, used: { lo: wasLo, hi: wasHi }, now: { lo, hi } };
    }
    return undefined;
  }

  #reportConfig(
    entry: MayBeStale,
    change: Change,
    kind: 'l1std' | 'ste' | 'l1cd' | 'cd',
    streamId: number,
    ssid: number,
  ): void {
    if (entry.stale !== undefined) {
      this.#log.again(entry.stale);
      return;
    }
    this.#log.add(entry, {
      kind,
      class: this.#classify((op) => op.what === 'config' && coversConfig(op, streamId, kind, ssid)),
      streamId,
      substreamId: ssid < 0 ? undefined : ssid,
      asid: undefined,
      vmid: undefined,
      iova: undefined,
      ...change,
      removedBy: configCommands(kind, streamId, ssid),
      uses: 1,
    });
  }

  #classify(test: (op: TlbInvalidation | ConfigInvalidation) => boolean): StaleUse['class'] {
    return this.#pending(test) ? 'pending' : 'missing';
  }
}

/** The stream table was moved under a cached STE: the old copy is intact, but nothing leads to it any more. */
function movedAway(stream: CachedStream): Change {
  const word = { lo: stream.words[0] as number, hi: stream.words[1] as number };
  return { paddr: stream.paddr, used: word, now: word };
}

/**
 * A CD whose TLB-cacheable fields (5.4.1) changed while translations made under the old one stayed, or a CD that shares their tags
 * and disagrees. Global entries serve every ASID, each with tables of its own.
 */
function changedContext(
  made: Uint32Array,
  cd: CachedContext,
  half: Half,
  tagged: boolean,
): Change | undefined {
  const { words } = cd;
  if (made === words) return undefined;
  const mask = half.upper ? CD_UPPER : CD_LOWER;
  for (let i = 0; i < mask.length; i += 2) {
    if (i !== 0 && i !== CD_MAIR && !tagged) continue;
    const lo = words[i] as number;
    const hi = words[i + 1] as number;
    const wasLo = made[i] as number;
    const wasHi = made[i + 1] as number;
    if (
      ((lo ^ wasLo) & (mask[i] as number)) !== 0 ||
      ((hi ^ wasHi) & (mask[i + 1] as number)) !== 0
    )
      return { paddr: cd.paddr + i * 4, used: { lo: wasLo, hi: wasHi }, now: { lo, hi } };
  }
  return undefined;
}

function configCommands(
  kind: 'l1std' | 'ste' | 'l1cd' | 'cd',
  streamId: number,
  ssid: number,
): string[] {
  const sid = `sid=${hex(streamId)}`;
  const steCommands = [`CMD_CFGI_STE_RANGE covering ${sid}`, 'CMD_CFGI_ALL'];
  if (kind === 'l1std') return [`CMD_CFGI_STE ${sid} leaf=0`, ...steCommands];
  if (kind === 'ste') return [`CMD_CFGI_STE ${sid}`, ...steCommands];
  const leaf = kind === 'l1cd' ? ' leaf=0' : '';
  return [
    `CMD_CFGI_CD ${sid} ssid=${hex(ssid)}${leaf}`,
    `CMD_CFGI_CD_ALL ${sid}`,
    `CMD_CFGI_STE ${sid}`,
    ...steCommands,
  ];
}

function translationCommands(
  space: TlbSpace,
  entry: TlbEntry | WalkEntry,
  user: TlbSpace,
  range: boolean,
  leafLevel: number,
): string[] {
  const { iova = 0 } = staleTags(space, entry);
  const world = space.world === 0 ? 'NH' : 'EL2';
  const vmid = space.world === 0 ? ` vmid=${space.vmid}` : '';
  const leaf = leafLevel > 0 ? ` leaf=1${range ? ` ttl=0|${leafLevel}` : ''}` : ' leaf=0';
  // A global leaf goes with any ASID; name the one that software is likely to know.
  const asid = user.asid < 0 ? '' : ` asid=${user.asid}`;
  const commands = [
    `CMD_TLBI_${world}_VA${asid}${vmid} iova=${hex(iova)}${leaf}`,
    `CMD_TLBI_${world}_VAA${vmid} iova=${hex(iova)}${leaf}`,
  ];
  if (space.asid >= 0) commands.push(`CMD_TLBI_${world}_ASID asid=${space.asid}${vmid}`);
  commands.push(`CMD_TLBI_${world}_ALL${vmid}`);
  if (space.world === 0) commands.push('CMD_TLBI_NSNH_ALL');
  return commands;
}
