import { fromBigInt, type U64 } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import type { CommandBatch, CommandIssuer } from '@iommukit/smmu-v3-driver';
import { hexOfLanes, type JsonRow } from './vector-values.lanes.ts';

// What the kinds smmu-entry, smmu-cmd, smmu-inv and evt-print share: how their files write words, names and lists of commands.

/** Address bits that the kernel's masks keep: 51 down to `lo`. */
export function kernelAddress(text: string | undefined, lo: number): number {
  return Number(BigInt(text ?? 0) & ((1n << 52n) - (1n << BigInt(lo))));
}

/** A recorded 64-bit value as lanes; absent is 0. */
export function lanesOf(text: string | undefined): U64 {
  return fromBigInt(BigInt(text ?? 0));
}

/** A recorded value as a number: counts, and addresses aligned to a page. */
export function numberOf(value: string | number | undefined): number {
  return Number(BigInt(value ?? 0));
}

/** A recorded value cut to the bits of a field, as the kernel's FIELD_PREP does. */
export function fieldOf(value: string | number | undefined, bits: number): number {
  return Number(BigInt(value ?? 0) & ((1n << BigInt(bits)) - 1n));
}

/** Membership in a recorded list of names; absent is empty. */
export function namesOf(list: readonly string[] | undefined): (name: string) => boolean {
  return (name) => list?.includes(name) === true;
}

/** Doublewords as text, trailing zeros left out. */
export function wordsOf(lanes: ArrayLike<number>): string[] {
  const words: string[] = [];
  for (let q = 0; q * 2 < lanes.length; q++)
    words.push(hexOfLanes(lanes[q * 2] as number, lanes[q * 2 + 1] as number));
  while (words.at(-1) === '0x0') words.pop();
  return words;
}

/** The lanes of an entry of eight doublewords. */
export function entryOf(words: readonly string[]): Uint32Array {
  const lanes = new Uint32Array(16);
  for (const [q, word] of words.entries()) {
    const { lo, hi } = lanesOf(word);
    lanes[q * 2] = lo;
    lanes[q * 2 + 1] = hi;
  }
  return lanes;
}

/** The command at a place of a list, two doublewords. */
export function commandAt(words: ArrayLike<number>, at = 0): [string, string] {
  return [
    hexOfLanes(words[at] as number, words[at + 1] as number),
    hexOfLanes(words[at + 2] as number, words[at + 3] as number),
  ];
}

/** One insertion into a command queue. */
export interface Issue {
  readonly smmu?: number;
  readonly cmds: readonly (readonly [string, string])[];
  readonly sync?: true;
}

/** The insertions of a row, runs of commands written out. */
export function issuesOf(row: JsonRow): Issue[] {
  const issues = (row['issues'] ?? []) as {
    smmu?: number;
    cmds?: (string | number)[][];
    sync?: boolean;
  }[];
  return issues.map(({ smmu, cmds = [], sync }) => ({
    ...(smmu === undefined ? {} : { smmu }),
    cmds: cmds.flatMap(([q0, q1, n = 1, step = 0]) =>
      Array.from({ length: Number(n) }, (_, i): [string, string] => [
        String(q0),
        `0x${BigInt.asUintN(64, BigInt(q1 ?? 0) + BigInt(i) * BigInt(step)).toString(16)}`,
      ]),
    ),
    ...(sync === true ? { sync } : {}),
  }));
}

/** Takes lists of commands instead of a queue. */
export class IssueRecorder {
  readonly issues: Issue[] = [];

  /** The queue of one SMMU; the first is not named in the recordings. */
  issuer(smmu: number): CommandIssuer {
    const { issues } = this;
    const name = smmu === 0 ? {} : { smmu };
    const commandsOf = ({ num, words }: CommandBatch): [string, string][] =>
      Array.from({ length: num }, (_, i) => commandAt(words, i * 4));
    return {
      issueSync(batch) {
        issues.push({ ...name, cmds: commandsOf(batch), sync: true });
        return 0;
      },
      issue(batch) {
        if (batch.num > 0) issues.push({ ...name, cmds: commandsOf(batch) });
      },
    };
  }
}

/** Stream ids of a row: a list, or a run. */
export function streamIdsOf(row: JsonRow): number[] {
  const { sids, first_sid: first, n_sids: count } = row;
  if (sids !== undefined) return sids as number[];
  return Array.from({ length: Number(count ?? 0) }, (_, i) => Number(first ?? 0) + i);
}

/** A page of memory for entries and queue slots. */
export function scratchPage(): PhysicalMemory {
  return new PhysicalMemory([{ base: SCRATCH, size: 0x1000 }]);
}

/** Where the page of {@link scratchPage} begins. */
export const SCRATCH = 0x1000;

/** Stores the lanes of an entry or a command. */
export function storeLanes(memory: PhysicalMemory, pa: number, lanes: ArrayLike<number>): void {
  for (let i = 0; i < lanes.length; i += 2)
    memory.store64(pa + i * 4, lanes[i] as number, lanes[i + 1] as number);
}
