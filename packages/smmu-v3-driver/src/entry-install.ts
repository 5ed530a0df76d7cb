import { CD, EATS, STE, STE_CONFIG } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CommandStream } from './command-stream.ts';
import { cdUsedBits } from './context-descriptor.lanes.ts';
import type { DriverProfile } from './driver-profile.ts';
import {
  readEntry,
  writeEntry,
  writeEntryAtOnce,
  writeEntryInSteps,
} from './entry-writer.lanes.ts';
import { steUpdateSafe, steUsedBits, steUsedBitsMerged } from './stream-table-entry.lanes.ts';

/**
 * Where entries are installed and how the SMMU hears of it.
 * @example const site: InstallSite = { memory, stream, profile: DRIVER_PROFILES['7.3'], skipPrefetch: false };
 */
export interface InstallSite {
  readonly memory: MemoryView;
  readonly stream: CommandStream;
  readonly profile: Pick<DriverProfile, 'entryWriter' | 'updateSafe' | 'steFields'>;
  /** The hardware ignores or dislikes CMD_PREFETCH_CONFIG (`ARM_SMMU_OPT_SKIP_PREFETCH`). */
  readonly skipPrefetch: boolean;
}

/**
 * Writes one STE for every stream of a device, each stream once, and hints at it (`arm_smmu_install_ste_for_dev`). `entryOf` gives the
 * physical address of a stream's entry.
 * @example installSte(site, [8, 9], (streamId) => strtab.entry(streamId), abortSte());
 */
export function installSte(
  site: InstallSite,
  streamIds: readonly number[],
  entryOf: (streamId: number) => number,
  ste: Uint32Array,
): void {
  const { memory, stream, profile, skipPrefetch } = site;
  const usedBits = profile.steFields === 'mev-s2fwb' ? steUsedBitsMerged : steUsedBits;
  for (const id of new Set(streamIds)) {
    const sync = (): void => {
      stream.begin();
      stream.room().cfgiSte(id);
      stream.submit();
    };
    const target = {
      memory,
      pa: entryOf(id),
      usedBits,
      ...(profile.updateSafe === 'eats-mev' ? { updateSafe: steUpdateSafe } : {}),
      sync,
    };
    if (profile.entryWriter === 'used-bits') writeEntry(target, ste);
    else if (!translates(ste)) {
      // Two doublewords that hold all there is, one SYNC, no hint.
      writeEntryAtOnce(target, ste);
      continue;
    } else writeEntryInSteps(target, ste);
    if (skipPrefetch) continue;
    stream.begin();
    stream.room().prefetchConfig(id);
    stream.send();
  }
}

function translates(ste: Uint32Array): boolean {
  const config = STE.get.Config(ste);
  return config !== STE_CONFIG.ABORT && config !== STE_CONFIG.BYPASS;
}

/**
 * True when an STE answers translation requests.
 * @example steHasAts(abortSte()) // false
 */
export function steHasAts(ste: Uint32Array): boolean {
  return STE.get.EATS(ste) === EATS.FULL;
}

/** True when an STE makes a CD table reachable, and no stage 2 under it. */
export function steHasCdTable(ste: Uint32Array): boolean {
  return STE.get.V(ste) === 1 && STE.get.Config(ste) === STE_CONFIG.S1;
}

/**
 * Writes the CD of one SubstreamID of a device, whose streams share it (`arm_smmu_write_cd_entry`). Returns how the number of PASIDs in
 * use changes: 1, 0 or -1; SubstreamID 0 is no PASID.
 * @example used += installCd(site, [8], { pa, ssid: 5 }, cd);
 */
export function installCd(
  { memory, stream }: Pick<InstallSite, 'memory' | 'stream'>,
  streamIds: readonly number[],
  at: { readonly pa: number; readonly ssid: number },
  cd: Uint32Array,
): number {
  const { pa, ssid } = at;
  const was = CD.get.V(readEntry(memory, pa));
  const sync = (): void => invalidateCd(stream, streamIds, { ssid, leaf: 1 });
  writeEntry({ memory, pa, usedBits: cdUsedBits, sync }, cd);
  return ssid === 0 ? 0 : CD.get.V(cd) - was;
}

/** Makes the SMMU forget a CD of a device; `leaf` 0: its level-1 descriptor too (`arm_smmu_sync_cd`). */
export function invalidateCd(
  stream: CommandStream,
  streamIds: readonly number[],
  { ssid, leaf }: { readonly ssid: number; readonly leaf: 0 | 1 },
): void {
  stream.begin();
  for (const id of streamIds) stream.room().cfgiCd(id, ssid, leaf);
  stream.submit();
}
