import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Endpoint } from '../src/index.ts';
import { AT, S1_RW, S2_RW } from './nested-machine.lanes.ts';
import { ALL_ON, PortMachine } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const address = fc.record({
  lo: fc.oneof(u32, fc.constantFrom(0x1000, 0x5000)),
  hi: fc.constantFrom(0, 0, 0, 0x9000, 0xffff_ffff),
});
const rw = fc.constantFrom('read', 'write', 'atomic') as fc.Arbitrary<'read' | 'write' | 'atomic'>;
const ssid = fc.constantFrom(undefined, 0, 1, 3, 0xf_ffff);
const policy = fc.record({
  consume: fc.constantFrom('immediate', 'run', 'step'),
  acknowledge: fc.constantFrom('immediate', 'run'),
  invalidate: fc.constantFrom('at-command', 'at-sync'),
  duplicateStalls: fc.constantFrom('recorded', 'suppressed'),
  stallsBeyondMaximum: fc.constantFrom('abort', 'hold'),
  heldStalls: fc.constantFrom('record', 'retry'),
  mergeEvents: fc.constantFrom('never', 'newest'),
  reservedBits: fc.constantFrom('zero', 'stored'),
  inactiveErrorToggle: fc.constantFrom('ignored', 'activates'),
} as const);

/** What devices and software do, in any order. */
const step = fc.oneof(
  fc.record({
    do: fc.constant('register' as const),
    offset: fc.nat(0x7f).map((i) => i * 4),
    value: u32,
  }),
  fc.record({
    do: fc.constant('index' as const),
    offset: fc.constantFrom(R.EVENTQ_CONS, R.PRIQ_CONS, R.EVENTQ_PROD, R.PRIQ_PROD),
    value: fc.nat(40),
  }),
  fc.record({
    do: fc.constant('command' as const),
    opcode: fc.nat(0x50),
    words: fc.tuple(u32, u32, u32),
  }),
  fc.record({
    do: fc.constant('resume' as const),
    stag: fc.nat(3),
    action: fc.constantFrom('retry', 'abort', 'raz-wi') as fc.Arbitrary<
      'retry' | 'abort' | 'raz-wi'
    >,
  }),
  fc.record({ do: fc.constant('access' as const), address, rw, substreamId: ssid }),
  fc.record({ do: fc.constant('untranslated' as const), address, rw, substreamId: ssid }),
  fc.record({
    do: fc.constant('page' as const),
    address,
    rw,
    substreamId: ssid,
    group: fc.nat(511),
    last: fc.boolean(),
  }),
  fc.record({ do: fc.constant('run' as const) }),
  fc.record({ do: fc.constant('enable' as const) }),
);

describe('anything that software and devices do has an architected outcome', () => {
  test('random registers, commands, requests, stalls', () => {
    fc.assert(
      fc.property(
        policy,
        fc.constantFrom(0, 1, 2),
        fc.array(step, { minLength: 1, maxLength: 60 }),
        (chosen, eats, steps) => {
          const m = new PortMachine({ features: { stallMax: 3 }, policy: chosen, eventLg2: 2 });
          m.smmu.run();
          m.nested({ EATS: eats as 0, S1CDMax: 2, S1DSS: 2, MEV: 1 }, { S: 1 });
          m.s1(0x5000, BigInt(AT.data) | (S1_RW & ~0x400n));
          m.s2(0x5000, BigInt(AT.data) | S2_RW);
          const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true, pri: true });
          for (const each of steps) {
            if (each.do === 'register') m.set(each.offset, each.value);
            else if (each.do === 'index') m.set(each.offset, each.value);
            else if (each.do === 'command')
              m.command(
                BigInt(each.opcode) | (BigInt(each.words[0]) << 32n),
                BigInt(each.words[1]) | (BigInt(each.words[2]) << 32n),
              );
            else if (each.do === 'resume') m.resume(each.stag, each.action);
            else if (each.do === 'access') endpoint.access(each);
            else if (each.do === 'untranslated') m.smmu.translate({ streamId: SID, ...each });
            else if (each.do === 'page') endpoint.requestPage(each, each);
            else if (each.do === 'run') m.smmu.run();
            else m.set(R.CR0, ALL_ON);
            const { stalled } = m.smmu;
            const tags = stalled
              .filter(({ state }) => state === 'recorded')
              .map(({ stag }) => stag);
            // A STAG names one stall, and no more are recorded than STALL_MAX says.
            expect(new Set(tags).size).toBe(tags.length);
            expect(tags.length).toBeLessThanOrEqual(3);
          }
        },
      ),
      { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 80 : 300 },
    );
  }, 30_000);
});
