// The defects of private PASIDs that must be noticed (evaluation.md section 12), each put in for a moment: the row that names it fails.
import { CMD_TLBI_NH_VA, OPCODE } from '@iommukit/arm-arch';
import { type CommandBatch, CommandQueue } from '@iommukit/smmu-v3-driver';
import { IoMm, PasidAllocator, SvaDevice } from '@iommukit/sva-pasid';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SCENARIOS } from '../src/scenarios/run-scenarios.ts';
import { runScenario } from '../src/scenarios/scenario.ts';

const LANES = 4;
const DOMAIN_ASID = 1;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Each list of commands goes through `change` before it is issued with its SYNC. */
function changing(change: (batch: CommandBatch) => void): void {
  const real = CommandQueue.prototype.issueSync;
  vi.spyOn(CommandQueue.prototype, 'issueSync').mockImplementation(function (
    this: CommandQueue,
    batch,
  ) {
    change(batch);
    return real.call(this, batch);
  });
}

/** Commands of an opcode never reach the queue. */
function without(opcode: number): void {
  changing((batch) => {
    const { words } = batch;
    let kept = 0;
    for (let i = 0; i < batch.num; i++) {
      const one = words.slice(i * LANES, (i + 1) * LANES);
      if ((one[0] as number) % 256 === opcode) continue;
      words.set(one, kept * LANES);
      kept++;
    }
    batch.num = kept;
  });
}

const { alloc } = PasidAllocator.prototype;

const defects: readonly {
  readonly name: string;
  readonly put: () => void;
  readonly caught: readonly string[];
}[] = [
  {
    name: '1: no CFGI_CD after a CD write',
    put: () => without(OPCODE.CFGI_CD),
    caught: ['S2-4', 'S2-8'],
  },
  {
    name: '2: no CFGI_STE after an STE write',
    put: () => without(OPCODE.CFGI_STE),
    caught: ['S2-6'],
  },
  {
    name: '4: PASID freed without TLBI by ASID',
    put: () => without(OPCODE.TLBI_NH_ASID),
    caught: ['S2-8', 'S2-9'],
  },
  {
    name: '6: unmap without its TLBI',
    put: () => without(OPCODE.TLBI_NH_VA),
    caught: ['S2-7', 'S2-12'],
  },
  {
    name: "7: the domain's ASID in a PASID's TLBI",
    put: () =>
      changing(({ words, num }) => {
        for (let i = 0; i < num; i++)
          if ((words[i * LANES] as number) % 256 === OPCODE.TLBI_NH_VA)
            CMD_TLBI_NH_VA.set.ASID(words, DOMAIN_ASID, i * LANES);
      }),
    caught: ['S2-7', 'S2-12'],
  },
  {
    name: '8: a range that is exclusive at the top',
    put: () =>
      vi.spyOn(PasidAllocator.prototype, 'alloc').mockImplementation(function (
        this: PasidAllocator,
        min = this.first,
        max = this.last,
      ) {
        return alloc.call(this, min, max - 1);
      }),
    caught: ['S2-10'],
  },
  {
    name: '8: lowest free instead of cyclic',
    put: () =>
      vi.spyOn(PasidAllocator.prototype, 'alloc').mockImplementation(function (
        this: PasidAllocator,
        min = this.first,
        max = this.last,
      ) {
        for (let pasid = min; pasid <= max; pasid++)
          if (!this.isAllocated(pasid)) return alloc.call(this, pasid, pasid);
        return alloc.call(this, min, max);
      }),
    caught: ['S2-10'],
  },
  {
    name: '9: io_mm not on the list',
    put: () => vi.spyOn(SvaDevice.prototype, 'track').mockImplementation(() => {}),
    caught: ['S2-9'],
  },
  {
    name: 'every handle counts as private and live',
    put: () => vi.spyOn(IoMm.prototype, 'mappable', 'get').mockReturnValue(true),
    caught: ['S2-15', 'S2-16'],
  },
];

describe.each(defects)('$name', ({ put, caught }) => {
  test.each(caught)('is caught by %s', (id) => {
    const scenario = SCENARIOS.find((one) => one.id === id);
    if (scenario === undefined) throw new Error(id);
    put();
    expect(runScenario(scenario).ok).toBe(false);
  });
});
