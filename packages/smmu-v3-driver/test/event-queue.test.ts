import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { expect, test } from 'vitest';
import type { EventRecord, SmmuV3Driver } from '../src/index.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { Rig } from './rig.ts';

const { EVENTQ_CONS, EVENTQ_PROD } = REGISTER_OFFSET;
const OVERFLOW = { level: 'err', text: 'EVTQ overflow detected -- events lost' };
// The first event of the capture: edu reads 0x1000, RnW, input address caused the fault.
const CAPTURED = [0x30_0000_0010n, 0x0208_0000_0000n, 0x1000n, 0n];

function made(onEvent?: (record: EventRecord) => boolean): { rig: Rig; driver: SmmuV3Driver } {
  const rig = new Rig({
    ids: idsWith({ idr1: { EVENTQS: 3 } }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  return { rig, driver: rig.up() };
}

const consWrites = (rig: Rig): bigint[] =>
  rig.smmu.writes.filter(([offset]) => offset === EVENTQ_CONS).map(([, value]) => value);

test('decodes a translation fault', () => {
  const seen: EventRecord[] = [];
  const { rig, driver } = made((record) => {
    seen.push(record);
    return true;
  });
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(seen).toEqual([
    {
      code: 0x10,
      streamId: 0x30,
      substreamId: null,
      words: [
        { lo: 0x10, hi: 0x30 },
        { lo: 0, hi: 0x208 },
        { lo: 0x1000, hi: 0 },
        { lo: 0, hi: 0 },
      ],
      fault: {
        address: { lo: 0x1000, hi: 0 },
        rw: 'read',
        privileged: false,
        instruction: false,
        stage: 1,
        class: 2,
        stalled: false,
        stag: 0,
      },
    },
  ]);
  expect(rig.log).toEqual([]);
});

test('decodes a stalled write with a substream, of stage 2; other events have no fault', () => {
  const seen: EventRecord[] = [];
  const { rig, driver } = made((record) => seen.push(record) > 0);
  const q1 = (1n << 33n) | (1n << 34n) | (1n << 39n) | (1n << 40n) | (1n << 31n) | 0x1234n;
  rig.smmu.publish([0x8_0000_5813n, q1, 0xffff_0000_0000_1000n, 0n]);
  rig.smmu.publish([0x8_0000_0002n, 0n, 0n, 0n]);
  driver.evtq.thread();
  expect(seen[0]).toMatchObject({
    code: 0x13,
    streamId: 8,
    substreamId: 5,
    fault: {
      rw: 'write',
      privileged: true,
      instruction: true,
      stage: 2,
      class: 1,
      stalled: true,
      stag: 0x1234,
      address: { lo: 0x1000, hi: 0xffff_0000 },
    },
  });
  expect(seen[1]).toMatchObject({ code: 2, fault: null });
  expect(driver.evtq.drained).toBe(2);
});

test('prints five lines at info level', () => {
  const { rig, driver } = made();
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(rig.log).toEqual(
    [
      'event 0x10 received:',
      '\t0x0000003000000010',
      '\t0x0000020800000000',
      '\t0x0000000000001000',
      '\t0x0000000000000000',
    ].map((text) => ({ level: 'info', text })),
  );
  expect(rig.events).toEqual([{ name: 'evtq_thread' }]);
});

test('CONS is written after every record, and not otherwise', () => {
  const { rig, driver } = made();
  driver.evtq.thread();
  expect(rig.smmu.writes).toEqual([]);
  for (let i = 0; i < 3; i++) rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(consWrites(rig)).toEqual([1n, 2n, 3n]);
});

test('the wrap bit, and records that come while the queue drains', () => {
  let more = 12;
  const { rig, driver } = made(() => {
    if (more-- > 0) rig.smmu.publish(CAPTURED);
    return true;
  });
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(driver.evtq.drained).toBe(13);
  expect(rig.smmu.read32(EVENTQ_CONS)).toBe(13);
  more = 2;
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(rig.smmu.read32(EVENTQ_CONS)).toBe(0);
});

test('ten events in five seconds; the rest is counted in the next line', () => {
  const { rig, driver } = made();
  const send = (n: number): void => {
    for (let i = 0; i < n; i++) {
      rig.smmu.publish(CAPTURED);
      driver.evtq.thread();
    }
  };
  const printed = (): number => rig.log.filter((line) => line.text.startsWith('event')).length;
  send(13);
  expect(printed()).toBe(10);
  rig.platform.clock.advance(5_000_000);
  send(1);
  // The window ends after, not at, five seconds.
  expect(printed()).toBe(10);
  rig.platform.clock.advance(1);
  rig.log.length = 0;
  send(1);
  expect(rig.log.slice(0, 2)).toEqual([
    { level: 'warn', text: 'arm_smmu_evtq_thread: 4 callbacks suppressed' },
    { level: 'info', text: 'event 0x10 received:' },
  ]);
  rig.platform.clock.advance(6_000_000);
  rig.log.length = 0;
  send(1);
  expect(rig.log).toHaveLength(5);
});

test('handled events do not count against the limit', () => {
  let handled = true;
  const { rig, driver } = made(() => handled);
  for (let i = 0; i < 20; i++) {
    rig.smmu.publish(CAPTURED);
    driver.evtq.thread();
  }
  handled = false;
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(rig.log).toHaveLength(5);
});

test('overflow: the line, then the flag of PROD in CONS', () => {
  const { rig, driver } = made(() => true);
  for (let i = 0; i < 8; i++) rig.smmu.publish(CAPTURED);
  rig.smmu.poke(EVENTQ_PROD, 0x8000_0008);
  driver.evtq.thread();
  // Before the eight records; the look after them finds the flag as it was.
  expect(rig.log).toEqual([OVERFLOW]);
  expect(consWrites(rig)).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 0x8000_0008n]);
  rig.forget();
  rig.smmu.publish(CAPTURED);
  driver.evtq.thread();
  expect(rig.log).toEqual([]);
  expect(consWrites(rig)).toEqual([0x8000_0009n]);
});

test('the second overflow flips the flag back', () => {
  const { rig, driver } = made(() => true);
  rig.smmu.poke(EVENTQ_PROD, 0x8000_0000);
  driver.evtq.thread();
  rig.smmu.poke(EVENTQ_PROD, 0);
  driver.evtq.thread();
  expect(rig.log).toEqual([OVERFLOW, OVERFLOW]);
  expect(consWrites(rig)).toEqual([0x8000_0000n, 0n]);
});
