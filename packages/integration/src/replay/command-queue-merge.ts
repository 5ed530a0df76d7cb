import type { CheckTally } from './check-tally.ts';
import type { CommandList } from './command-lists.ts';

/** Lists by which one CPU's list may overtake another's: more is no race between two queue insertions. */
const MAX_DISPLACEMENT = 16;
const SYNC_OPCODE = 0x46;

/** Queue content: four lanes a command. */
export interface QueueImage {
  readonly words: Uint32Array;
  readonly entries: number;
}

/**
 * Compares queue memory by position. On several CPUs, entries at other positions are explained when the kernel's queue is a merge of our
 * lists in which only lists of different CPUs changed places, none by more than {@link MAX_DISPLACEMENT} lists, and both queues
 * hold the same commands.
 */
export function compareQueues(
  ours: QueueImage,
  theirs: QueueImage,
  lists: { readonly cpus: number; readonly issued: readonly CommandList[] },
  tally: CheckTally,
): void {
  const differing: number[] = [];
  const entries = Math.max(ours.entries, theirs.entries);
  for (let i = 0; i < entries; i++) {
    if (i < ours.entries && i < theirs.entries && sameCommand(ours.words, i, theirs.words, i))
      tally.equal++;
    else differing.push(i);
  }
  if (differing.length === 0) return;
  if (lists.cpus > 1 && sameCommands(ours, theirs) && isMerge(ours, theirs, lists.issued)) {
    tally.explain('cpu-order', differing.length);
    return;
  }
  for (const i of differing)
    tally.differ(`entry ${i}: ${command(ours, i)}, the kernel ${command(theirs, i)}`);
}

function sameCommand(a: Uint32Array, i: number, b: Uint32Array, k: number): boolean {
  for (let lane = 0; lane < 4; lane++) if (a[i * 4 + lane] !== b[k * 4 + lane]) return false;
  return true;
}

function command(image: QueueImage, i: number): string {
  if (i >= image.entries) return 'none';
  const lanes = [...image.words.subarray(i * 4, i * 4 + 4)];
  return lanes.map((lane) => lane.toString(16).padStart(8, '0')).join(' ');
}

/** True when both queues hold the same commands, SYNCs left out, in whatever order. */
function sameCommands(ours: QueueImage, theirs: QueueImage): boolean {
  const counts = new Map<string, number>();
  const count = (image: QueueImage, step: number): void => {
    for (let i = 0; i < image.entries; i++) {
      if ((image.words[i * 4] as number) % 256 === SYNC_OPCODE) continue;
      const key = command(image, i);
      counts.set(key, (counts.get(key) ?? 0) + step);
    }
  };
  count(ours, 1);
  count(theirs, -1);
  return [...counts.values()].every((n) => n === 0);
}

interface Issued {
  readonly at: number;
  readonly length: number;
  readonly cpu: number;
  readonly context: number;
  taken: boolean;
}

/** True when the kernel's queue is our lists, each whole, with lists of different CPUs swapped over a short distance. */
function isMerge(ours: QueueImage, theirs: QueueImage, issued: readonly CommandList[]): boolean {
  const lists: Issued[] = [];
  let at = 0;
  for (const { n, sync, cpu, context } of issued) {
    const length = n + sync;
    if (at + length > ours.entries) break;
    lists.push({ at, length, cpu, context, taken: false });
    at += length;
  }
  let next = 0;
  for (let position = 0; position < theirs.entries; ) {
    while (next < lists.length && lists[next]?.taken) next++;
    const found = findList(ours, theirs, position, lists.slice(next, next + MAX_DISPLACEMENT));
    if (found === undefined) return false;
    found.taken = true;
    position += found.length;
  }
  return lists.every((list) => list.taken);
}

/** The first list not yet placed that stands at `position` of the kernel's queue and overtakes no list of its own CPU. */
function findList(
  ours: QueueImage,
  theirs: QueueImage,
  position: number,
  candidates: readonly Issued[],
): Issued | undefined {
  const passed = new Set<number>();
  for (const list of candidates) {
    if (list.taken) continue;
    if (!passed.has(list.cpu) && standsAt(ours, list, theirs, position)) return list;
    passed.add(list.cpu);
  }
  return undefined;
}

function standsAt(ours: QueueImage, list: Issued, theirs: QueueImage, position: number): boolean {
  if (position + list.length > theirs.entries) return false;
  for (let i = 0; i < list.length; i++)
    if (!sameCommand(ours.words, list.at + i, theirs.words, position + i)) return false;
  return true;
}
