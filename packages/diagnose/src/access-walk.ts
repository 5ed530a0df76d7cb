import type { U64 } from '@iommukit/bits';
import type {
  DmaAccess,
  DmaResult,
  Explanation,
  FetchStep,
  SmmuEvent,
} from '@iommukit/smmu-v3-model';
import type { DumpImage } from './dump-image.ts';
import { modelOfDump } from './dump-model.ts';
import { type EntryView, lanesOf, numberOf } from './field-view.ts';

/**
 * One fetch of a walk. `stage` and `level` belong to descriptors; `for` says what a stage-2 descriptor was read for. `entry` is absent
 * where the dump does not hold the address. `says` is what the entry makes of the access.
 * @example const raw = (step: WalkStep) => step.entry?.words[0];
 */
export interface WalkStep {
  readonly what: 'L1STD' | 'STE' | 'L1CD' | 'CD' | 'descriptor';
  readonly address: U64;
  readonly entry: EntryView | undefined;
  readonly section: string;
  readonly says: string;
  readonly stage?: 1 | 2;
  readonly level?: number;
  readonly for?: string;
}

/**
 * What became of the access. `not-in-dump`: the walk needed memory that the dump lacks, so nothing is known.
 * @example if (result.outcome === 'ok') result.paddr;
 */
export type WalkResult =
  | { readonly outcome: 'ok' | 'bypass'; readonly paddr: U64 }
  | { readonly outcome: 'abort'; readonly reason: string }
  | { readonly outcome: 'fault' | 'stall'; readonly event: SmmuEvent }
  | { readonly outcome: 'not-in-dump'; readonly address: U64 };

/**
 * The walk of one access: what the model fetched, in order and decoded, and the result. `section` decided it; `because` is the rule that
 * refused, with its own section, absent where nothing did. `unaccounted` are loads of the model that are no step here: none.
 * @example const fault = (walk: AccessWalk) => walk.result.outcome === 'fault';
 */
export interface AccessWalk {
  readonly access: DmaAccess;
  readonly steps: readonly WalkStep[];
  readonly result: WalkResult;
  readonly section: string;
  readonly because?: { readonly section: string; readonly says: string };
  readonly unaccounted: readonly U64[];
}

/**
 * Sends one access through the model over a dump and reports every fetch that it made, as the model explains it. Throws
 * `UnmodelledError` for what the model refuses.
 * @example walkAccess(openDump('linux-6.12-strict-up'), { streamId: 8, address: { lo: 0xfffff000, hi: 0 }, rw: 'write' }).result
 */
export function walkAccess(image: DumpImage, access: DmaAccess): AccessWalk {
  image.memory.restore();
  const model = modelOfDump(image);
  const done: { explanation?: Explanation } = {};
  const { loads } = image.memory.watching(() => {
    done.explanation = model.explain(access);
  });
  const { steps, result: answer } = done.explanation as Explanation;
  const fetches = steps.filter((step): step is FetchStep => step.kind === 'fetch');
  const result = resultOf(answer, fetches);
  const known = result.outcome !== 'not-in-dump';
  const refusal = known ? steps.find((step) => step.kind === 'check' && !step.ok) : undefined;
  const named = new Set(fetches.flatMap(addressesOf));
  return {
    access,
    steps: fetches.map(stepOf),
    result,
    section: known ? (steps.at(-1)?.section ?? '') : 'none: the dump lacks what decides',
    ...(refusal === undefined ? {} : { because: { section: refusal.section, says: refusal.says } }),
    unaccounted: [...new Set(loads)].filter((at) => !named.has(at)).map(lanesOf),
  };
}

function resultOf(answer: DmaResult, fetches: readonly FetchStep[]): WalkResult {
  if (answer.outcome === 'ok' || answer.outcome === 'bypass')
    return { outcome: answer.outcome, paddr: lanesOf(answer.paddr) };
  if (answer.outcome === 'abort') return { outcome: 'abort', reason: answer.reason };
  const lacking = fetches.find(({ words }) => words === undefined);
  if (lacking !== undefined) return { outcome: 'not-in-dump', address: lacking.address };
  return { outcome: answer.outcome, event: answer.event };
}

function addressesOf({ address, words = [] }: FetchStep): number[] {
  return words.map((_, i) => numberOf(address) + i * 8);
}

function stepOf({ kind: _, words, layout, fields, stray, ...step }: FetchStep): WalkStep {
  if (words === undefined || layout === undefined)
    return { ...step, entry: undefined, says: 'not in the dump' };
  const { address, section } = step;
  const entry = { address, words, layout, section, fields: fields ?? [], stray: stray ?? [] };
  return { ...step, entry };
}
