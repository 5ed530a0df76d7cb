// All schedules of a few threads, one of each class that differs only in the order of accesses that do not touch the same word or only
// read it: dynamic partial-order reduction (Flanagan, Godefroid 2005) with sleep sets.
import { conflict, OUTCOME, type Stage, type Step, stillAsleep } from './step-gate.lanes.ts';

interface Node {
  readonly step: Step;
  chosen: number;
  /** Threads to try here, those tried, and those that need not be. */
  wanted: number;
  done: number;
  readonly sleep: number;
}

/** What an exploration saw. */
export interface Exploration {
  /** Schedules that were run. */
  readonly schedules: number;
  /** Accesses of the longest one. */
  readonly longest: number;
  /** True when nothing was left to try. */
  readonly complete: boolean;
}

/** Runs every schedule; `check` is told how each ended and throws when that is wrong. */
export function exploreAll(
  stage: Stage,
  parts: {
    readonly prepare: () => void;
    readonly check: (outcome: number) => void;
    readonly most: number;
  },
): Exploration {
  const nodes: Node[] = [];
  let prefix: number[] = [];
  let sleep = 0;
  let schedules = 0;
  let longest = 0;
  for (;;) {
    parts.prepare();
    const { outcome, steps } = stage.run(prefix, sleep);
    schedules++;
    longest = Math.max(longest, steps.length);
    parts.check(outcome);
    if (outcome !== OUTCOME.finished) return { schedules, longest, complete: false };
    extend(nodes, steps);
    addRaces(nodes);
    const next = backtrack(nodes);
    if (next === null) return { schedules, longest, complete: true };
    if (schedules === parts.most) return { schedules, longest, complete: false };
    prefix = nodes.map((node) => node.chosen);
    sleep = next;
  }
}

function extend(nodes: Node[], steps: readonly Step[]): void {
  for (let i = nodes.length; i < steps.length; i++) {
    const step = steps[i] as Step;
    const sleep = i === 0 ? 0 : sleepAfter(nodes[i - 1] as Node);
    // All that could run here was run elsewhere with the same effect.
    if (((sleep >> step.thread) & 1) === 1) return;
    nodes.push({
      step,
      chosen: step.thread,
      wanted: 1 << step.thread,
      done: 1 << step.thread,
      sleep,
    });
  }
}

/** Who sleeps in the state after a node's choice. */
function sleepAfter(node: Node): number {
  const asleep = node.sleep | (node.done & ~(1 << node.chosen));
  return stillAsleep(asleep, node.chosen, node.step.pending);
}

/** For each access the last one that it races with: there the other order is to be tried. */
function addRaces(nodes: readonly Node[]): void {
  const threads = nodes[0]?.step.pending.length ?? 0;
  /** For each step the number of steps of each thread that come before it in every equivalent schedule, itself included. */
  const clocks: number[][] = [];
  const current = Array.from({ length: threads }, () => new Array<number>(threads).fill(0));
  const count = new Array<number>(threads).fill(0);
  const ordinal: number[] = [];
  for (let j = 0; j < nodes.length; j++) {
    const p = (nodes[j] as Node).chosen;
    const op = (nodes[j] as Node).step.pending[p] as number;
    const before = current[p] as number[];
    const clock = [...before];
    let raced = false;
    for (let i = j - 1; i >= 0; i--) {
      const node = nodes[i] as Node;
      const q = node.chosen;
      if (q === p || !conflict(node.step.pending[q] as number, op)) continue;
      if (!raced && (before[q] as number) < (ordinal[i] as number)) {
        raced = true;
        const enabled = node.step.enabled;
        node.wanted |= ((enabled >> p) & 1) === 1 ? 1 << p : enabled;
      }
      const other = clocks[i] as number[];
      for (let t = 0; t < threads; t++) clock[t] = Math.max(clock[t] as number, other[t] as number);
    }
    count[p] = (count[p] as number) + 1;
    clock[p] = count[p] as number;
    ordinal.push(count[p] as number);
    clocks.push(clock);
    current[p] = clock;
  }
}

/** Takes back steps up to the last node where something is left to try and chooses it there; who sleeps after it, null: nothing is. */
function backtrack(nodes: Node[]): number | null {
  for (let node = nodes.at(-1); node !== undefined; node = nodes.at(-1)) {
    const left = node.wanted & ~node.done & ~node.sleep;
    if (left !== 0) {
      node.chosen = Math.log2(left & -left);
      node.done |= 1 << node.chosen;
      return sleepAfter(node);
    }
    nodes.pop();
  }
  return null;
}
