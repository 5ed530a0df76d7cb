import { createPrng } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  CACHE_EVERYTHING,
  CACHE_NOTHING,
  type CachePolicy,
  type Explanation,
  type UpdateStep,
} from '../src/index.ts';
import { makeTwinCase } from './twin-walker-cases.lanes.ts';
import { dmaAccessOf, freshRig, type TwinRig } from './twin-walker-rig.lanes.ts';
import { Dice } from './twin-walker-space.lanes.ts';

/** Of each policy; eight accesses each, sent twice. */
const CASES = process.env['IOMMUKIT_SOAK'] === undefined ? 40 : 100;

/** Everything of a machine that explaining could disturb. */
function stateOf(rig: TwinRig, words: Iterable<bigint>): string {
  const { smmu } = rig;
  const registers: number[] = [];
  for (let at = 0; at < 0x200; at += 4) registers.push(smmu.registers.read32(at));
  for (const at of [0x1_00a8, 0x1_00ac]) registers.push(smmu.registers.read32(at));
  return JSON.stringify({
    registers,
    counters: { ...smmu.counters },
    tlb: smmu.tlbSize,
    stale: smmu.staleUseCount,
    stalled: smmu.stalled.map((one) => ({ ...one })),
    words: Array.from(words, (at) => rig.word(Number(at)).toString(16)),
  });
}

/** Loads and updates of memory while `work` runs. */
function memoryUse(
  rig: TwinRig,
  work: () => void,
): { loads: number[]; updates: [number, number][] } {
  const { memory } = rig;
  const use = { loads: [] as number[], updates: [] as [number, number][] };
  const load = memory.load64.bind(memory);
  const cas = memory.cas64.bind(memory);
  memory.load64 = (pa) => {
    use.loads.push(pa);
    return load(pa);
  };
  memory.cas64 = (pa, oldLo, oldHi, lo, hi) => {
    use.updates.push([pa, lo]);
    return cas(pa, oldLo, oldHi, lo, hi);
  };
  try {
    work();
  } finally {
    memory.load64 = load;
    memory.cas64 = cas;
  }
  return use;
}

function loadsOf({ steps }: Explanation): number[] {
  return steps.flatMap((step) =>
    step.kind === 'fetch'
      ? (step.words ?? []).map((_, i) => step.address.hi * 2 ** 32 + step.address.lo + i * 8)
      : [],
  );
}

function updatesOf({ steps }: Explanation): [number, number][] {
  return steps
    .filter((step): step is UpdateStep => step.kind === 'update')
    .map(({ address, after }) => [address.hi * 2 ** 32 + address.lo, after.lo]);
}

const refusals = new Map<string, Set<string>>();

function noteRefusal({ steps, result }: Explanation): void {
  const failed = steps.filter((step) => step.kind === 'check' && !step.ok);
  if (result.outcome === 'ok' || result.outcome === 'bypass') {
    expect(failed).toEqual([]);
    return;
  }
  // One rule refuses, and it stands last before the result.
  expect(failed).toHaveLength(1);
  const check = steps.at(-2);
  expect(check).toBe(failed[0]);
  const name = 'event' in result ? result.event.event : result.reason;
  const known = refusals.get(name) ?? new Set();
  refusals.set(name, known);
  if (check?.kind === 'check') {
    known.add(check.what);
    expect(check.says).not.toContain('no bit of the leaf');
  }
}

const policies: readonly (readonly [string, Partial<CachePolicy>, number])[] = [
  ['nothing cached', CACHE_NOTHING, 70_000],
  ['everything cached', CACHE_EVERYTHING, 80_000],
  ['stages kept apart', { ...CACHE_EVERYTHING, nested: 'separate' }, 90_000],
  ['stages kept together', { ...CACHE_EVERYTHING, nested: 'combined' }, 100_000],
];

describe('explain says what translate does', () => {
  test.each(policies)('%s', { timeout: 60_000 }, (_, policy, seed) => {
    let compared = 0;
    for (let i = 0; i < CASES; i++) {
      const dice = new Dice(createPrng(seed + i));
      const rig = freshRig(dice, { ...policy, detectStale: false });
      const one = makeTwinCase(dice, rig.f, rig.idr);
      rig.load(one);
      // So that every load of a walk is a call.
      rig.memory.block = () => undefined;
      const at = [...one.space.words.keys()];
      for (const access of [...one.accesses, ...one.accesses]) {
        const before = stateOf(rig, at);
        const explanation = rig.smmu.explain(dmaAccessOf(access));
        expect(stateOf(rig, at)).toBe(before);
        const done: { result?: unknown } = {};
        const use = memoryUse(rig, () => {
          done.result = rig.access(access);
        });
        expect(explanation.result).toEqual(done.result);
        expect(explanation.steps.at(-1)).toMatchObject({ kind: 'result', result: done.result });
        expect(loadsOf(explanation)).toEqual(use.loads);
        expect(updatesOf(explanation)).toEqual(use.updates);
        noteRefusal(explanation);
        compared++;
        if (explanation.result.outcome === 'stall') rig.release();
        rig.records();
      }
    }
    expect(compared).toBe(CASES * 16);
  });

  test('every kind of refusal occurred, and names its rule', () => {
    const found = Object.fromEntries([...refusals].map(([name, what]) => [name, [...what].sort()]));
    expect(found).toEqual({
      C_BAD_CD: ['CD'],
      C_BAD_STE: ['STE'],
      C_BAD_STREAMID: ['StreamID'],
      C_BAD_SUBSTREAMID: ['L1CD', 'SubstreamID'],
      F_ACCESS: ['access flag'],
      F_ADDR_SIZE: ['address size'],
      F_CD_FETCH: ['fetch'],
      F_PERMISSION: ['permission'],
      F_STE_FETCH: ['fetch'],
      F_STREAM_DISABLED: ['S1DSS'],
      F_TRANSLATION: ['E0PD', 'EPD', 'input range', 'valid descriptor'],
      F_WALK_EABT: ['fetch'],
      'address-above-oas': ['address size'],
      'bad-stream-id-unrecorded': ['StreamID'],
      'gbpa-abort': ['GBPA'],
      'ste-abort': ['STE.Config'],
    });
  });
});
