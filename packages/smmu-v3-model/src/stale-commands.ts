/*
 * The commands that would have removed a cached entry, narrowest first (IHI 0070 4.3, 4.4, 16.2).
 * Not modelled: range forms, which remove the same as the plain ones; over-invalidation.
 */
import { hex } from '@iommukit/bits';
import type { TlbSpace } from './tlb.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';
import { keyToIova } from './translation-key.lanes.ts';

/** For a structure of the configuration. */
export function configCommands(
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

/** `leaf` of a last-level entry says so with its level, where range commands exist; a table must be named with Leaf=0. */
function leafOf(leafLevel: number | undefined, features: { ril: boolean }): string {
  if (leafLevel === undefined) return ' leaf=0';
  // TTL names levels 1 to 3 (4.4.1.1).
  return features.ril && leafLevel > 0 ? ` leaf=1 ttl=0|${leafLevel}` : ' leaf=1';
}

/**
 * For an entry found by VA, a combined one too. `user` is the space of the stream that met it: a global leaf goes with any ASID, and
 * that one is likely to be known.
 */
export function vaCommands(
  entry: TlbEntry | WalkEntry,
  at: { space: TlbSpace; user: TlbSpace; leafLevel: number | undefined },
  features: { ril: boolean; s2p: boolean },
): string[] {
  const { space, user, leafLevel } = at;
  const iova = hex(keyToIova(entry.key));
  const el1 = space.world === 0;
  const world = el1 ? 'NH' : 'EL2';
  const vmid = el1 ? ` vmid=${space.vmid}` : '';
  const leaf = leafOf(leafLevel, features);
  const asid = user.asid < 0 ? '' : ` asid=${user.asid}`;
  const commands = [
    `CMD_TLBI_${world}_VA${asid}${vmid} iova=${iova}${leaf}`,
    `CMD_TLBI_${world}_VAA${vmid} iova=${iova}${leaf}`,
  ];
  if (space.asid >= 0) commands.push(`CMD_TLBI_${world}_ASID asid=${space.asid}${vmid}`);
  commands.push(`CMD_TLBI_${world}_ALL${vmid}`);
  if (el1 && features.s2p) commands.push(`CMD_TLBI_S12_VMALL${vmid}`);
  if (el1) commands.push('CMD_TLBI_NSNH_ALL');
  return commands;
}

/** For an entry found by IPA. */
export function ipaCommands(
  entry: TlbEntry | WalkEntry,
  vmid: number,
  leafLevel: number | undefined,
  features: { ril: boolean },
): string[] {
  return [
    `CMD_TLBI_S2_IPA vmid=${vmid} ipa=${hex(entry.key)}${leafOf(leafLevel, features)}`,
    `CMD_TLBI_S12_VMALL vmid=${vmid}`,
    'CMD_TLBI_NSNH_ALL',
  ];
}
