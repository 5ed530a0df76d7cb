/*
 * What `explain` says of an access, as data and as text; each step names its section.
 * Not modelled: nothing of IHI 0070 3.4 is decided here; the steps are those of the translation itself.
 */
import { hex, hex64, type StrayBits, type U64 } from '@iommukit/bits';
import type { DmaAccess, DmaResult } from './dma-access.ts';

/**
 * One decoded field: its value shifted down (addresses stand in place), and the name of the value where the layout has one.
 * @example const config: ExplainedField = { name: 'Config', value: { lo: 5, hi: 0 }, meaning: 'stage 1' };
 */
export interface ExplainedField {
  readonly name: string;
  readonly value: U64;
  readonly meaning?: string;
}

/**
 * An entry of memory: raw doublewords, decoded fields, the reserved fields that are not zero, and the section of its layout.
 * @example const raw = (entry: ExplainedEntry) => entry.words[0];
 */
export interface ExplainedEntry {
  readonly address: U64;
  readonly words: readonly U64[];
  /** Name of the layout: `STE`, `CD`, `S1_LEAF`, ... */
  readonly layout: string;
  readonly section: string;
  readonly fields: readonly ExplainedField[];
  readonly stray: readonly StrayBits[];
}

/** What an entry is, and of a descriptor where it stands and what it was read for. */
interface EntryStep {
  readonly what: 'L1STD' | 'STE' | 'L1CD' | 'CD' | 'descriptor';
  readonly section: string;
  /** What the entry makes of the access. */
  readonly says: string;
  readonly stage?: 1 | 2;
  readonly level?: number;
  /** What a stage-2 descriptor was needed for. */
  readonly for?: string;
}

/**
 * A read of memory. Without `words` nothing answered at the address.
 * @example if (step.kind === 'fetch') step.words?.[0];
 */
export interface FetchStep extends EntryStep {
  readonly kind: 'fetch';
  readonly address: U64;
  readonly words?: readonly U64[];
  readonly layout?: string;
  readonly fields?: readonly ExplainedField[];
  readonly stray?: readonly StrayBits[];
}

/**
 * A cached entry was used in place of a fetch. `words` are those that it was made from, at `address`; `now` is what memory holds
 * there, present when that differs.
 * @example if (step.kind === 'hit') step.cache; // 'tlb'
 */
export interface HitStep extends EntryStep {
  readonly kind: 'hit';
  /** `walk`: a table descriptor. */
  readonly cache: 'configuration' | 'walk' | 'tlb';
  readonly address: U64;
  readonly words: readonly U64[];
  readonly layout: string;
  readonly fields: readonly ExplainedField[];
  readonly stray: readonly StrayBits[];
  readonly now?: readonly U64[];
}

/**
 * Hardware would update a descriptor: access flag or dirty state (IHI 0070 3.13). Nothing is written by explaining.
 * @example if (step.kind === 'update') step.after;
 */
export interface UpdateStep {
  readonly kind: 'update';
  readonly what: 'descriptor';
  readonly section: string;
  readonly says: string;
  readonly address: U64;
  readonly before: U64;
  readonly after: U64;
  readonly stage: 1 | 2;
  readonly level: number;
}

/**
 * A rule that was asked; the last one with `ok: false` decided.
 * @example if (step.kind === 'check' && !step.ok) step.section; // 'IHI 0070 5.2'
 */
export interface CheckStep {
  readonly kind: 'check';
  readonly ok: boolean;
  /** What was checked: `SMMUEN`, `STE`, `input range`, `permission`, ... */
  readonly what: string;
  readonly section: string;
  readonly says: string;
}

/**
 * A field of an event record, with its meaning in words.
 * @example const text = ({ name, says }: EventField) => `${name}: ${says}`; // 'RnW: a read'
 */
export interface EventField extends ExplainedField {
  /** What this value means. */
  readonly says: string;
}

/**
 * What became of the access. With an event: the record that `translate` would write, or would if the queue took it.
 * @example if (step.kind === 'result') step.result.outcome;
 */
export interface ResultStep {
  readonly kind: 'result';
  readonly what: 'result';
  readonly section: string;
  readonly says: string;
  readonly result: DmaResult;
  readonly words?: readonly U64[];
  readonly fields?: readonly EventField[];
}

/**
 * One step of an explanation, by `kind`.
 * @example const fetches = explanation.steps.filter(({ kind }) => kind === 'fetch');
 */
export type ExplanationStep = FetchStep | HitStep | UpdateStep | CheckStep | ResultStep;

/**
 * The way of one access through the SMMU, in order; the last step is the result, which is also `result`.
 * @example const { result }: Explanation = smmu.explain(access);
 */
export interface Explanation {
  readonly access: DmaAccess;
  readonly steps: readonly ExplanationStep[];
  readonly result: DmaResult;
}

/**
 * An explanation as text, a paragraph for each step; fields of zero are left out.
 * @example renderExplanation(smmu.explain(access)).split('\n')[0]; // 'stream 0x8 read 0x1000'
 */
export function renderExplanation(explanation: Explanation): string {
  const { streamId, substreamId, rw, address, privileged, instruction } = explanation.access;
  const who = substreamId === undefined ? '' : ` substream ${hex(substreamId)}`;
  const how = `${privileged === true ? 'privileged ' : ''}${instruction === true ? 'instruction ' : ''}`;
  return [
    `stream ${hex(streamId)}${who} ${how}${rw} ${hex64(address)}`,
    ...explanation.steps.flatMap((step, i) => stepLines(step).map(numbered(i + 1))),
    '',
  ].join('\n');
}

function numbered(number: number): (line: string, i: number) => string {
  const head = `${number}. `;
  return (line, i) => (i === 0 ? head : ' '.repeat(head.length + 2)) + line;
}

function stepLines(step: ExplanationStep): string[] {
  switch (step.kind) {
    case 'check':
      return [`check ${step.what}: ${step.ok ? 'ok' : 'NO'}, ${step.says} [${step.section}]`];
    case 'update':
      return [
        `update${levelText(step)} at ${hex64(step.address)}: ${step.says} [${step.section}]`,
        `before ${hex64(step.before)} after ${hex64(step.after)}`,
      ];
    case 'result':
      return [
        `result: ${step.says} [${step.section}]`,
        ...(step.words === undefined ? [] : [`record ${step.words.map(hex64).join(' ')}`]),
        ...(step.fields ?? []).map((field) => `${fieldText(field)}: ${field.says}`),
      ];
    default:
      return entryLines(step);
  }
}

const CACHE_NAME = {
  configuration: 'configuration cache',
  walk: 'walk cache',
  tlb: 'TLB',
} as const;

function entryLines(step: FetchStep | HitStep): string[] {
  const purpose = step.for === undefined ? '' : `, for ${step.for}`;
  const how = step.kind === 'fetch' ? 'fetch' : `hit in the ${CACHE_NAME[step.cache]}:`;
  const from = step.kind === 'fetch' ? 'at' : 'from';
  const head = `${how} ${step.what}${levelText(step)} ${from} ${hex64(step.address)}${purpose}: ${step.says} [${step.section}]`;
  if (step.words === undefined) return [head];
  const fields = (step.fields ?? []).filter(({ value }) => value.lo !== 0 || value.hi !== 0);
  return [
    head,
    `words  ${step.words.map(hex64).join(' ')}`,
    ...(step.kind === 'hit' && step.now !== undefined
      ? [`memory ${step.now.map(hex64).join(' ')} (changed since)`]
      : []),
    `fields ${fields.map(fieldText).join(' ')}`,
    ...(step.stray ?? []).map(({ field, value }) => `reserved bits not 0: ${field}=${hex(value)}`),
  ];
}

function levelText({ stage, level }: { stage?: 1 | 2; level?: number }): string {
  return level === undefined || stage === undefined ? '' : ` stage ${stage} level ${level}`;
}

function fieldText({ name, value, meaning }: ExplainedField): string {
  return `${name}=${hex64(value)}${meaning === undefined ? '' : ` (${meaning})`}`;
}
