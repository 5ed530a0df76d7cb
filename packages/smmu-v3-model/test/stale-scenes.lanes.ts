import { CACHE_NOTHING, type CachePolicy } from '../src/index.ts';
import { AT, S1_RW } from './nested-machine.lanes.ts';
import { SID } from './rig.lanes.ts';
import { L1STD_ACTIVE, OTHER, StaleRig, type Words } from './stale-rig.lanes.ts';

/** What a row of the table does: `warm` fills the caches where `use` alone does not. */
export interface Scene {
  readonly warm?: () => void;
  readonly change: () => void;
  readonly use: () => string;
}

/** A needed command, the kind of entry that is used stale without it, and how a report names it. */
export type Needed = readonly [name: string, words: Words, kind: string, reported: string];

export interface Row {
  readonly name: string;
  readonly make: (m: StaleRig) => Scene;
  readonly needed: readonly Needed[];
  /** A command that is not complete spoils those after it: ATC_INV before its TLBI (3.9.1), NH_ASID before CFGI_CD (4.3.6). */
  readonly ordered?: true;
}

export const OTHER_SID = SID + 1;
export const IPA = 0x9000_0000;
export const LEAF_TO_OTHER = BigInt(OTHER.data) | S1_RW;
export const TABLE_CHANGED = BigInt(OTHER.stage1 + 0x1000) | 3n;

/** A stage-1 stream, one change of it, one access. */
export function stage1(change: (m: StaleRig, at: { s1: number }) => void): Row['make'] {
  return (m) => {
    const at = m.stage1();
    return { change: () => change(m, at), use: () => m.see() };
  };
}

export type Nested = ReturnType<StaleRig['nested']>;

export function nested(change: (m: StaleRig, at: Nested) => void, config: 6 | 7 = 7): Row['make'] {
  return (m) => {
    const at = m.nested();
    m.ste(config).otherStage2();
    return { change: () => change(m, at), use: () => m.see(config === 6 ? IPA : 0x1000) };
  };
}

/** The same stream behind an endpoint that keeps translations. */
export function cached(
  change: (m: StaleRig, at: { s1: number }) => void,
  before: (m: StaleRig) => void = () => undefined,
  ssid?: number,
): Row['make'] {
  return (m) => {
    const at = m.stage1();
    m.ste(5, { EATS: 1 });
    before(m);
    const access = m.endpoint();
    return { change: () => change(m, at), use: () => access(0x1000, ssid) };
  };
}

/** Two SubstreamIDs below one L1CD; the CDs stand in the leaf that it names. */
export function substreams(m: StaleRig): void {
  m.stage1();
  m.ste(5, { S1ContextPtr: OTHER.cds, S1CDMax: 8, S1Fmt: 1 });
  for (const ssid of [1, 2]) m.cd({}, AT.cd + ssid * 64);
  m.word(OTHER.cds, BigInt(AT.cd) | 1n);
}

/** The L1CD of SubstreamID 1 becomes valid. */
export function l1cdAppears(m: StaleRig): Scene {
  substreams(m);
  m.word(OTHER.cds, 0n);
  return {
    change: () => m.word(OTHER.cds, BigInt(AT.cd) | 1n),
    use: () => m.see(0x1000, { substreamId: 1 }),
  };
}

/** The L1STD of the stream becomes active. */
export function l1stdAppears(m: StaleRig): Scene {
  m.stage1();
  m.twoLevel(0n);
  return { change: () => m.word(OTHER.l1std, L1STD_ACTIVE), use: () => m.see() };
}

export function twoStreams(m: StaleRig): () => string {
  m.stage1();
  m.ste(5, {}, OTHER_SID);
  return () => `${m.see()} ${m.see(0x1000, { streamId: OTHER_SID })}`;
}

/** Makes a rig warm. */
export function warmed(row: Row, policy: Partial<CachePolicy> = {}): { m: StaleRig; scene: Scene } {
  const m = new StaleRig(policy);
  const scene = row.make(m);
  if (scene.warm !== undefined) scene.warm();
  else scene.use();
  return { m, scene };
}

const outcomes = new WeakMap<Row, string>();

/** What the access does when nothing was cached before the change. */
export function fresh(row: Row): string {
  const known = outcomes.get(row);
  if (known !== undefined) return known;
  const { change, use } = row.make(new StaleRig(CACHE_NOTHING));
  change();
  const outcome = use();
  outcomes.set(row, outcome);
  return outcome;
}
