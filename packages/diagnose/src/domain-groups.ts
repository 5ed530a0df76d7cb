import { CD, STE } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import type { DumpImage } from './dump-image.ts';
import { lanesOf, numberOf } from './field-view.ts';
import { contextsOf, readStream, type StreamConfig, type StreamMode } from './stream-config.ts';
import { streamEntries } from './stream-entries.ts';

/**
 * Streams that reach the same tables under the same tags: one domain. Streams that share a CD are in one of `contexts`.
 * @example const shared = (group: DomainGroup) => group.streams.length > 1;
 */
export interface DomainGroup {
  readonly mode: StreamMode;
  readonly asid: number | undefined;
  readonly vmid: number | undefined;
  readonly ttb0: U64 | undefined;
  readonly ttb1: U64 | undefined;
  readonly s2ttb: U64 | undefined;
  /** StreamID, and SubstreamID of stage 1. */
  readonly streams: readonly { readonly streamId: number; readonly substreamId?: number }[];
  readonly contexts: readonly { readonly address: U64; readonly streams: readonly number[] }[];
}

/**
 * Tags that are used for different tables, so that a TLB may mix them up (IHI 0070 3.17): `streams` of the groups concerned.
 * @example const finding: TagConflict = { tag: 'ASID 6 of VMID 0', streams: [8, 16] };
 */
export interface TagConflict {
  readonly tag: string;
  readonly streams: readonly number[];
}

/**
 * Streams by what they share.
 * @example domainsOf(openDump('linux-6.12-strict-up')).groups.length
 */
export interface DomainReport {
  readonly groups: readonly DomainGroup[];
  readonly conflicts: readonly TagConflict[];
}

interface Building {
  readonly group: Omit<DomainGroup, 'streams' | 'contexts'>;
  readonly streams: { readonly streamId: number; readonly substreamId?: number }[];
  readonly contexts: Map<number, number[]>;
}

/**
 * Groups the valid streams of a dump by mode, tags and tables. Streams that abort or bypass are one group each.
 * @example domainsOf(openDump('linux-6.12-strict-up')).conflicts.length // 0
 */
export function domainsOf(image: DumpImage): DomainReport {
  const groups = new Map<string, Building>();
  for (const { streamId, at } of streamEntries(image)) {
    const stream = readStream(image, streamId, at);
    if (stream.mode === 'invalid') continue;
    if (stream.mode === 'stage1' || stream.mode === 'nested') {
      for (const { ssid, at: cd, words } of contextsOf(image, stream)) {
        const building = groupFor(groups, stream, words);
        building.streams.push({ streamId, substreamId: ssid });
        const sharing = building.contexts.get(cd);
        if (sharing === undefined) building.contexts.set(cd, [streamId]);
        else sharing.push(streamId);
      }
    } else groupFor(groups, stream, undefined).streams.push({ streamId });
  }
  const built = [...groups.values()].map(({ group, streams, contexts }) => ({
    ...group,
    streams,
    contexts: [...contexts].map(([address, ids]) => ({ address: lanesOf(address), streams: ids })),
  }));
  return { groups: built, conflicts: conflictsOf(built) };
}

function groupFor(
  groups: Map<string, Building>,
  stream: StreamConfig,
  cd: Uint32Array | undefined,
): Building {
  const stage2 = stream.mode === 'stage2' || stream.mode === 'nested';
  const table = (address: number, off: number): U64 | undefined =>
    off === 1 ? undefined : lanesOf(address);
  const group = {
    mode: stream.mode,
    asid: cd === undefined ? undefined : CD.get.ASID(cd),
    vmid: cd === undefined && !stage2 ? undefined : STE.get.S2VMID(stream.words),
    ttb0: cd === undefined ? undefined : table(CD.get.TTB0(cd), CD.get.EPD0(cd)),
    ttb1: cd === undefined ? undefined : table(CD.get.TTB1(cd), CD.get.EPD1(cd)),
    s2ttb: stage2 ? lanesOf(STE.get.S2TTB(stream.words)) : undefined,
  };
  const key = JSON.stringify(group);
  const old = groups.get(key);
  if (old !== undefined) return old;
  const made: Building = { group, streams: [], contexts: new Map() };
  groups.set(key, made);
  return made;
}

function conflictsOf(groups: readonly DomainGroup[]): TagConflict[] {
  const byTag = new Map<string, { tables: Set<string>; streams: Set<number> }>();
  const note = (tag: string, tables: string, group: DomainGroup): void => {
    const entry = byTag.get(tag) ?? { tables: new Set<string>(), streams: new Set<number>() };
    byTag.set(tag, entry);
    entry.tables.add(tables);
    for (const { streamId } of group.streams) entry.streams.add(streamId);
  };
  for (const group of groups) {
    const { asid, vmid, ttb0, ttb1, s2ttb } = group;
    if (asid !== undefined)
      note(`ASID ${asid} of VMID ${vmid ?? 0}`, `${text(ttb0)} ${text(ttb1)}`, group);
    if (s2ttb !== undefined) note(`VMID ${vmid ?? 0}`, text(s2ttb), group);
  }
  return [...byTag]
    .filter(([, { tables }]) => tables.size > 1)
    .map(([tag, { streams }]) => ({ tag, streams: [...streams] }));
}

function text(address: U64 | undefined): string {
  return address === undefined ? '-' : String(numberOf(address));
}
