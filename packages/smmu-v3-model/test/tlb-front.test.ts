import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { observeView } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CachePolicy } from '../src/index.ts';
import { ASID, AT, command, NestedMachine, S1_RW, S2_RO, S2_RW } from './nested-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const OTHER = SID + 1;
const PAGES = 8;
/** Two pages apart from the first, in a table of their own, that a block may take the place of. */
const FAR = 0x20_0000;
const IPA = 0x9000_0000;

/**
 * Two models on the same memory. One sees it through an observed view, which lends no pages: there every access takes the full path.
 * Whatever happens, they must not be told apart.
 */
class Pair {
  readonly fast: NestedMachine;
  readonly slow: NestedMachine;
  readonly s1: number[] = [];
  readonly s2: number[] = [];
  readonly far: number;

  constructor(policy: Partial<CachePolicy>) {
    this.fast = new NestedMachine({ policy });
    const { memory } = this.fast;
    this.slow = new NestedMachine(
      { policy },
      { memory: observeView(memory, { onStore: () => undefined }) },
    );
    this.fast.nested();
    this.fast.ste(5, {}, OTHER);
    for (let i = 0; i < PAGES; i++) {
      const iova = i < 6 ? 0x1000 + i * 0x1000 : FAR + i * 0x1000;
      this.s1.push(this.fast.s1(iova, BigInt(IPA + i * 4096) | S1_RW));
      this.s2.push(this.fast.s2(IPA + i * 4096, BigInt(AT.data + i * 4096) | S2_RW));
    }
    const level1 = memory.load64(AT.stage1);
    this.far = level1 - (level1 % 4096) + 8;
  }

  iova(i: number): number {
    return i % PAGES < 6 ? 0x1000 + (i % PAGES) * 0x1000 : FAR + (i % PAGES) * 0x1000;
  }

  both<T>(what: (machine: NestedMachine) => T): void {
    expect(what(this.fast)).toEqual(what(this.slow));
  }

  register(offset: number, value: number): void {
    for (const { smmu } of [this.fast, this.slow]) smmu.registers.write32(offset, value);
  }

  command(dw0: bigint, dw1: bigint): void {
    this.fast.command(dw0, dw1);
    this.slow.smmu.registers.write32(R.CMDQ_PROD, this.fast.smmu.registers.read32(R.CMDQ_PROD));
    this.slow.smmu.run();
  }

  same(): void {
    this.both(({ smmu }) => ({
      counters: { ...smmu.counters },
      stale: smmu.staleUses.map((use) => ({ ...use })),
      uses: smmu.staleUseCount,
      size: smmu.tlbSize,
    }));
  }
}

const S1_LEAVES = [S1_RW, 0n, S1_RW | 0x80n, S1_RW & ~0x800n, S1_RW & ~0x400n, S1_RW | (1n << 54n)];
const S2_LEAVES = [S2_RW, 0n, S2_RO, S2_RW & ~0x400n, S2_RW | (1n << 63n)];

type Step = readonly [kind: number, a: number, b: number];

function step(pair: Pair, [kind, a, b]: Step): void {
  const { fast } = pair;
  const page = a % PAGES;
  const sid = b % 8 === 7 ? OTHER : SID;
  switch (kind) {
    case 0:
      pair.both(({ smmu }) =>
        smmu.translate({
          streamId: sid,
          address: u64Of(pair.iova(a)),
          rw: (b & 1) === 0 ? 'read' : 'write',
          privileged: b % 16 === 9,
          instruction: b % 16 === 10,
        }),
      );
      return;
    case 1:
      fast.word(
        pair.s1[page] as number,
        S1_LEAVES[b % 6] === 0n ? 0n : BigInt(IPA + page * 4096) | (S1_LEAVES[b % 6] as bigint),
      );
      return;
    case 2:
      fast.word(
        pair.s2[page] as number,
        S2_LEAVES[b % 5] === 0n ? 0n : BigInt(AT.data + page * 4096) | (S2_LEAVES[b % 5] as bigint),
      );
      return;
    case 3: {
      // Through a lent page, as a page table writes.
      const slot = pair.s1[page] as number;
      const lanes = fast.memory.lanes(slot);
      if (lanes !== undefined) lanes[(slot / 4) & 1023] = IPA + (b % 16) * 4096 + 0xf47;
      return;
    }
    case 4:
      fast.word(
        pair.far,
        b % 3 === 0
          ? (BigInt(IPA) & ~0x1f_ffffn) | (b % 2 === 0 ? 0xf45n : 0x745n)
          : fast.read(pair.far) | 3n | (b % 3 === 1 ? 1n << 61n : 0n),
      );
      return;
    case 5:
      if (b % 4 === 0) fast.ste(7, { S2PS: (a % 2) + 4 });
      else if (b % 4 === 1) fast.ste(7, { MEV: a % 2, PRIVCFG: a % 4 });
      else if (b % 4 === 2) fast.cd({ MAIR0: a % 2 === 0 ? 0x00ff_4400 : 0 });
      else fast.cd({ ASID: ASID + (a % 2), MAIR1: a % 3 === 0 ? 0x8000_0000 : 0 });
      return;
    case 6: {
      const iova = pair.iova(a);
      const commands = [
        command.nhVa(iova),
        command.nhVa(iova, 0),
        command.s2Ipa(IPA + page * 4096),
        command.nhAsid(),
        command.cfgiSte(),
        command.cfgiCd(),
        command.nsnh(),
      ];
      pair.command(...(commands[b % 7] as [bigint, bigint]));
      return;
    }
    default:
      if (b % 3 === 0) pair.register(R.CR0, 0xc);
      else if (b % 3 === 1) pair.register(R.CR2, a % 2 === 0 ? 2 : 3);
      else
        for (const { smmu } of [pair.fast, pair.slow])
          smmu.registers.write64(R.STRTAB_BASE, AT.strtab, 0);
      if (a % 4 !== 0) pair.register(R.CR0, 0xd);
  }
}

/** Mostly accesses, and each of them a few times. */
const steps = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: fc.tuple(fc.constant(0), fc.nat(15), fc.nat(15)) },
    { weight: 4, arbitrary: fc.tuple(fc.integer({ min: 1, max: 6 }), fc.nat(15), fc.nat(30)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant(7), fc.nat(15), fc.nat(30)) },
  ),
  { minLength: 20, maxLength: 60 },
);

describe('the short cut of hits', () => {
  test.each<[string, Partial<CachePolicy>]>([
    ['both forms', {}],
    ['combined', { nested: 'combined' }],
    ['apart', { nested: 'separate' }],
    ['late', { invalidate: 'at-sync', walk: 'none' }],
  ])('gives, counts and reports what the full path does: %s', { timeout: 60_000 }, (_, policy) => {
    fc.assert(
      fc.property(steps, (list) => {
        const pair = new Pair(policy);
        for (const one of list) {
          step(pair, one);
          // A third use is the first that the short cut can answer.
          if (one[0] === 0) for (let i = 0; i < 3; i++) step(pair, one);
          pair.same();
        }
      }),
      { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 8 : 80 },
    );
  });

  test('a change of any word under a hit is noticed at the next use', () => {
    const words = (): number[] => {
      const { s1, s2, cd, table } = new NestedMachine().nested();
      return [
        AT.strtab + SID * 64,
        AT.strtab + SID * 64 + 24,
        AT.cd,
        AT.cd + 24,
        s1,
        s2,
        cd,
        table,
      ];
    };
    for (const [i, at] of words().entries()) {
      const machine = new NestedMachine();
      machine.nested();
      for (let n = 0; n < 4; n++) expect(machine.access(0x1000).outcome).toBe('ok');
      expect(machine.smmu.staleUseCount).toBe(0);
      machine.word(at, machine.read(at) ^ (i === 1 || i === 3 ? 0x1000n : 1n));
      machine.access(0x1000);
      expect(machine.smmu.staleUseCount).toBeGreaterThan(0);
    }
  });

  test('a wider leaf of the ASID stands before a global page that was hit often', () => {
    const outputs = [1, 5].map((hits) => {
      const pair = new Pair({ walk: 'none', detectStale: false });
      const { fast } = pair;
      const at = (i: number): unknown => fast.access(pair.iova(i), 'read', { streamId: OTHER });
      fast.word(pair.s1[6] as number, BigInt(IPA) | (S1_RW & ~0x800n));
      for (let n = 0; n < hits; n++) expect(at(6)).toMatchObject({ paddr: IPA });
      fast.word(pair.far, 0xa000_0000n | (S1_RW & ~2n));
      expect(at(7)).toMatchObject({ paddr: 0xa000_7000 });
      return at(6);
    });
    expect(outputs[0]).toMatchObject({ paddr: 0xa000_6000 });
    expect(outputs[1]).toEqual(outputs[0]);
  });
});
