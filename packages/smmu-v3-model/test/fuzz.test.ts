import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CachePolicy, encodeFeatures, type IdrWords, SmmuV3Model } from '../src/index.ts';
import { anyFeatures } from './feature-arbitrary.ts';
import { CD_DW0, IDR, Machine, PLACE } from './machine.lanes.ts';
import { RAM } from './rig.lanes.ts';

/** With `npm run soak` four times as many. */
const OFTEN = process.env['IOMMUKIT_SOAK'] === undefined ? 1 : 4;

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const dword = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const near = fc.constantFrom(0, 1, 2, 0xfff).chain((page) => fc.constant(RAM.base + page * 4096));
const idr: fc.Arbitrary<IdrWords> = fc.oneof(fc.constant(IDR), anyFeatures.map(encodeFeatures));
const policy: fc.Arbitrary<Partial<CachePolicy>> = fc.record({
  tlb: fc.constantFrom('none', 'keep'),
  walk: fc.constantFrom('none', 'keep'),
  nested: fc.constantFrom('combined', 'separate', 'both'),
  config: fc.constantFrom('none', 'keep-valid', 'keep'),
  invalidate: fc.constantFrom('at-command', 'at-sync'),
  consume: fc.constantFrom('immediate', 'run', 'step'),
  acknowledge: fc.constantFrom('immediate', 'run'),
});

/** Runs an action; only a refusal of something unmodelled may come out of it. */
function tolerate(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof IommuError) || !error.code.startsWith('UNMODELLED_')) throw error;
  }
}

describe('random input never throws but for what is unmodelled', () => {
  test('register files, memory, accesses', () => {
    const registers = Object.values(R).filter((offset) => offset >= 0x20);
    fc.assert(
      fc.property(
        idr,
        policy,
        fc.array(fc.tuple(fc.constantFrom(...registers), fc.oneof(word, near)), { maxLength: 30 }),
        fc.array(fc.tuple(near, fc.integer({ min: 0, max: 511 }), dword), { maxLength: 40 }),
        fc.array(
          fc.tuple(
            fc.integer({ min: 0, max: 300 }),
            word,
            word,
            fc.boolean(),
            fc.option(fc.nat(70)),
          ),
          { maxLength: 12 },
        ),
        (ids, choice, writes, stores, accesses) => {
          const memory = new PhysicalMemory([RAM]);
          const smmu = new SmmuV3Model({ memory, idr: ids, policy: choice });
          for (const [page, index, value] of stores)
            memory.store64(page + index * 8, Number(value & 0xffff_ffffn), Number(value >> 32n));
          for (const [offset, value] of writes)
            tolerate(() => smmu.registers.write32(offset, value));
          tolerate(() => smmu.registers.write32(R.CR0, 0xd));
          for (const [streamId, lo, hi, write, ssid] of accesses) {
            tolerate(() =>
              smmu.translate({
                streamId,
                address: { lo, hi },
                rw: write ? 'write' : 'read',
                substreamId: ssid ?? undefined,
              }),
            );
            tolerate(() => smmu.run());
          }
          for (const offset of registers) smmu.registers.read32(offset);
        },
      ),
      { numRuns: 100 * OFTEN },
    );
  });

  test('mutated STE, CD and tables of a working stream', () => {
    fc.assert(
      fc.property(
        idr,
        policy,
        fc.array(
          fc.tuple(
            fc.oneof(
              fc.integer({ min: 0, max: 3 }).map((i) => PLACE.strtab + 0x30 * 64 + i * 8),
              fc.integer({ min: 0, max: 3 }).map((i) => PLACE.cd + i * 8),
              fc.integer({ min: 0, max: 3 }).map((i) => PLACE.table + i * 0x1000),
            ),
            fc.integer({ min: 0, max: 63 }),
          ),
          { maxLength: 6 },
        ),
        fc.array(fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 48n }), fc.boolean()), {
          minLength: 1,
          maxLength: 6,
        }),
        (ids, choice, flips, accesses) => {
          const machine = new Machine({ idr: ids, policy: choice });
          tolerate(() => machine.enable());
          machine.smmu.run();
          machine.device();
          tolerate(() => machine.access(0x1000));
          for (const [at, bit] of flips) {
            const lo = machine.memory.load64(at);
            machine.word(
              at,
              ((BigInt(machine.memory.hi) << 32n) | BigInt(lo)) ^ (1n << BigInt(bit)),
            );
          }
          for (const [address, write] of [[0x1000n, false] as const, ...accesses])
            tolerate(() => machine.access(Number(address & ~0xfffn), write ? 'write' : 'read'));
        },
      ),
      { numRuns: 150 * OFTEN },
    );
  });

  test('random commands consume, or stop the queue with an error', () => {
    fc.assert(
      fc.property(
        idr,
        policy,
        fc.array(fc.tuple(dword, dword), { minLength: 1, maxLength: 12 }),
        (ids, choice, commands) => {
          const machine = new Machine({ idr: ids, policy: choice });
          tolerate(() => machine.enable());
          machine.device();
          for (const command of commands) tolerate(() => machine.issue(command));
          for (let i = 0; i < 20; i++) tolerate(() => machine.smmu.run());
        },
      ),
      { numRuns: 100 * OFTEN },
    );
  });
});

describe('caches never change a result of unchanged memory', () => {
  test('twice through a caching model equals once through one that caches nothing', () => {
    const leaf = fc.tuple(
      fc.integer({ min: 0, max: 40 }),
      fc.constantFrom(0xf47n, 0xfc7n, 0xb47n, 0x747n, 0xf07n, 0xf45n, 0n),
      fc.integer({ min: 0, max: 1000 }),
    );
    fc.assert(
      fc.property(
        fc.array(leaf, { maxLength: 20 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 41 }), fc.boolean()), { maxLength: 30 }),
        (leaves, accesses) => {
          const run = (choice: Partial<CachePolicy>): unknown[] => {
            const machine = new Machine({ policy: choice }).enable();
            machine.device();
            machine.cd(CD_DW0);
            for (const [page, bits, frame] of leaves)
              machine.map(page * 4096, bits === 0n ? 0n : bits | BigInt(PLACE.data + frame * 4096));
            return accesses.map(([page, write]) => {
              const result = machine.access(page * 4096 + 8, write ? 'write' : 'read');
              return { ...result, tlbHit: undefined };
            });
          };
          expect(run({})).toEqual(run({ tlb: 'none', walk: 'none', config: 'none' }));
        },
      ),
      { numRuns: 50 * OFTEN },
    );
  });
});
