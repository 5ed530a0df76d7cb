import { ERRNO, observeView } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { CommandBatch } from '../src/command-batch.ts';
import { CommandQueueStuck, type SmmuV3Driver } from '../src/index.ts';
import { idsWith } from './fake-smmu.lanes.ts';
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
