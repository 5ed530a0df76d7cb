import { ERRNO, observeView, PhysicalMemory, SimPlatform, TraceChannel } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { CommandBatch } from '../src/command-batch.ts';
import {
  CommandQueue,
  CommandQueueStuck,
  type DriverEvent,
  queueWordsBytes,
  SharedQueueWords,
  type SmmuV3Driver,
  type SyncSignal,
} from '../src/index.ts';
import { FakeSmmu, idsWith } from './fake-smmu.lanes.ts';
import { Rig } from './rig.ts';

// 2^7 entries: the smallest queue that Linux accepts.
const SMALL = idsWith({ idr1: { CMDQS: 7 } });

function batchOf(n: number, asid = 1): CommandBatch {
  const batch = new CommandBatch();
  for (let i = 0; i < n; i++) batch.tlbiNhAsid(asid + i);
  return batch;
}

function made(): { rig: Rig; driver: SmmuV3Driver } {
  const rig = new Rig({ ids: SMALL });
  return { rig, driver: rig.up() };
}

describe('the ring', () => {
  test('after 2^7 entries the index is 0 and the wrap bit 1, and back', () => {
    const { rig, driver } = made();
    // Probing left 4 entries.
    driver.cmdq.issueSync(batchOf(60));
    driver.cmdq.issueSync(batchOf(62));
    expect(driver.cmdq.prod).toBe(0x80);
    expect(driver.cmdq.issueSync(batchOf(1))).toBe(0);
    expect(driver.cmdq.prod).toBe(0x82);
    driver.cmdq.issueSync(batchOf(63));
    driver.cmdq.issueSync(batchOf(61));
    expect(driver.cmdq.prod).toBe(0);
    const prods = rig.smmu.writes.filter(([offset]) => offset === 0x98).map(([, v]) => v);
    expect(prods).toEqual([0x41n, 0x80n, 0x82n, 0xc2n, 0n]);
  });

  test('a list over the end arrives whole, and both runs are cleaned', () => {
    const cleaned: [number, number][] = [];
    const rig = new Rig({
      ids: SMALL,
      view: (memory) =>
        observeView(memory, { onStore() {}, onClean: (pa, bytes) => cleaned.push([pa, bytes]) }),
    });
    const driver = rig.up();
    driver.cmdq.issueSync(batchOf(60));
    driver.cmdq.issueSync(batchOf(57));
    rig.forget();
    cleaned.length = 0;
    driver.cmdq.issueSync(batchOf(9, 100));
    const { base } = driver.cmdq;
    expect(cleaned).toEqual([
      [base + 123 * 16, 5 * 16],
      [base, 5 * 16],
    ]);
    expect(rig.smmu.commands.slice(0, 9).map(([q0]) => Number(q0 >> 48n))).toEqual([
      100, 101, 102, 103, 104, 105, 106, 107, 108,
    ]);
  });

  test('PROD is written once for a list', () => {
    const { rig, driver } = made();
    driver.cmdq.issueSync(batchOf(20));
    expect(rig.smmu.writes).toEqual([[0x98, 25n, 4]]);
  });

  test('an empty list: a bare SYNC, or nothing', () => {
    const { rig, driver } = made();
    driver.cmdq.issue(new CommandBatch());
    expect(rig.lists).toEqual([]);
    expect(driver.cmdq.issueSync(new CommandBatch())).toBe(0);
    expect(rig.listLines()).toEqual(['n=0 sync=1 c0d0=0x0 c0d1=0x0']);
    expect(rig.smmu.commands).toEqual([[0xfc02046n, 0n]]);
  });
});

describe('waiting', () => {
  test('a full queue waits for room and loses nothing', () => {
    const { rig, driver } = made();
    rig.smmu.consumes = 'run';
    for (let i = 0; i < 4; i++) driver.cmdq.issue(batchOf(64, i * 64));
    expect(driver.cmdq.fullWaits).toBe(2);
    expect(driver.cmdq.issueSync(batchOf(1))).toBe(0);
    const asids = rig.smmu.commands
      .filter(([q0]) => (q0 & 0xffn) === 0x11n)
      .map(([q0]) => Number(q0 >> 48n));
    expect(asids).toEqual([...Array(256).keys(), 1]);
  });

  test('exactly full is allowed', () => {
    const { rig, driver } = made();
    rig.smmu.consumes = 'never';
    driver.cmdq.issue(batchOf(64));
    driver.cmdq.issue(batchOf(64));
    expect(driver.cmdq.fullWaits).toBe(0);
    expect(rig.smmu.read32(0x98)).toBe(0x84);
  });

  test('SYNC: waits for its own slot, not for the end of the ring', () => {
    const { rig, driver } = made();
    rig.smmu.consumes = 'run';
    expect(driver.cmdq.issueSync(batchOf(3))).toBe(0);
    expect(rig.smmu.commands).toHaveLength(4);
    // Devices work without time passing.
    expect(rig.platform.clock.nowUs).toBe(0);
  });

  test('CMD_SYNC timeout: after one second, with the slot of the SYNC', () => {
    const { rig, driver } = made();
    rig.smmu.consumes = 'never';
    expect(driver.cmdq.issueSync(batchOf(2))).toBe(-ERRNO.ETIMEDOUT);
    expect(rig.platform.clock.nowUs).toBe(1_000_000);
    expect(rig.log).toEqual([
      {
        level: 'err',
        text: 'CMD_SYNC timeout at 0x00000006 [hwprod 0x00000007, hwcons 0x00000004]',
      },
    ]);
  });

  test('CMD_SYNC timeout at the last slot of the ring', () => {
    const { rig, driver } = made();
    driver.cmdq.issueSync(batchOf(60));
    driver.cmdq.issueSync(batchOf(60));
    rig.smmu.consumes = 'never';
    driver.cmdq.issueSync(batchOf(1));
    expect(rig.log[0]?.text).toBe(
      'CMD_SYNC timeout at 0x0000007f [hwprod 0x00000080, hwcons 0x0000007e]',
    );
  });

  test('a queue that never drains: a line each second, then CMDQ_STUCK', () => {
    const { rig, driver } = made();
    rig.smmu.consumes = 'never';
    driver.cmdq.issue(batchOf(64));
    driver.cmdq.issue(batchOf(64));
    let caught: unknown;
    try {
      driver.cmdq.issue(batchOf(1));
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(CommandQueueStuck);
    expect(caught).toMatchObject({
      code: 'CMDQ_STUCK',
      operands: { prod: 0x84, cons: 4, entries: 1 },
    });
    expect(rig.log).toHaveLength(16);
    expect(new Set(rig.log.map((line) => line.text))).toEqual(new Set(['CMDQ timeout']));
    expect(rig.platform.clock.nowUs).toBe(16_000_000);
  });
});

describe('waiting by an MSI', () => {
  const queue = (signal: SyncSignal, smmu: (memory: PhysicalMemory) => FakeSmmu) => {
    const memory = new PhysicalMemory([{ base: 0x8000_0000, size: 0x1000 }]);
    const registers = smmu(memory);
    registers.write64(0x90, 0x8000_0000 + 3, 0);
    const platform = new SimPlatform();
    platform.register(registers);
    const log: string[] = [];
    const made = new CommandQueue({
      memory,
      registers,
      platform,
      trace: new TraceChannel<DriverEvent>(),
      log: ({ text }) => log.push(text),
      base: 0x8000_0000,
      lg2: 3,
      signal,
    });
    return { memory, registers, platform, log, made };
  };
  const consuming = (mode: FakeSmmu['consumes']) => (memory: PhysicalMemory) => {
    const smmu = new FakeSmmu(memory);
    smmu.consumes = mode;
    return smmu;
  };

  test('the SYNC asks for a write to itself', () => {
    const { registers, made } = queue('msi', consuming('at-once'));
    made.issueSync(batchOf(2));
    expect(registers.commands.at(-1)).toEqual([0x0fc0_1046n, 0x8000_0020n]);
  });

  test('zero in its place ends the wait, and the room before it is free without a look at CONS', () => {
    const { memory, registers, platform, made } = queue('msi', (of) => {
      const smmu = new FakeSmmu(of);
      smmu.consumes = 'run';
      smmu.run = () => {
        if (smmu.consume(1) === 0) return false;
        const [, q1] = smmu.commands.at(-1) ?? [0n, 0n];
        if (q1 !== 0n) of.store32(Number(q1), 0);
        return true;
      };
      return smmu;
    });
    for (let i = 0; i < 10; i++) expect(made.issueSync(batchOf(6))).toBe(0);
    expect(made.fullWaits).toBe(0);
    expect(platform.clock.nowUs).toBe(0);
    expect(registers.commands).toHaveLength(70);
    expect(memory.load32(0x8000_0000 + (69 % 8) * 16)).toBe(0);
  });

  test('an MSI that never comes: -ETIMEDOUT and the line, although CONS has moved', () => {
    const { platform, log, made } = queue('msi', consuming('at-once'));
    expect(made.issueSync(batchOf(1))).toBe(-ERRNO.ETIMEDOUT);
    expect(platform.clock.nowUs).toBe(1_000_000);
    expect(log).toEqual(['CMD_SYNC timeout at 0x00000001 [hwprod 0x00000002, hwcons 0x00000002]']);
    expect(made.issueSync(batchOf(1))).toBe(-ERRNO.ETIMEDOUT);
  });

  test('a queue that is polled without rest wants no signal', () => {
    const { registers, made } = queue('none', consuming('at-once'));
    expect(made.issueSync(batchOf(0))).toBe(0);
    expect(registers.commands).toEqual([[0x0fc0_0046n, 0n]]);
  });
});

test('another producer that never finishes: CMDQ_STUCK after 16 seconds, nothing published', () => {
  const memory = new PhysicalMemory([{ base: 0x8000_0000, size: 0x1000 }]);
  const registers = new FakeSmmu(memory);
  registers.write64(0x90, 0x8000_0000 + 4, 0);
  const platform = new SimPlatform();
  const words = new SharedQueueWords(new SharedArrayBuffer(queueWordsBytes(4)));
  const made = (): CommandQueue =>
    new CommandQueue({
      memory,
      registers,
      platform,
      trace: new TraceChannel<DriverEvent>(),
      log: () => {},
      base: 0x8000_0000,
      lg2: 4,
      words,
    });
  // The other one owns the run that the second has joined, and dies before it publishes.
  words.store(0, -0x8000_0000 + 2);
  made().issue(batchOf(1));
  expect(registers.read32(0x98)).toBe(0);
  // The next owner waits for it.
  words.and(0, 0x7fff_ffff);
  expect(() => made().issue(batchOf(1))).toThrow(CommandQueueStuck);
  expect(registers.read32(0x98)).toBe(0);
  expect(platform.clock.nowUs).toBe(16_000_000);
});
