import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { IotlbGather } from '@iommukit/io-pgtable';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import { CommandBatch, CommandQueueStuck } from '@iommukit/smmu-v3-driver';
import { encodeFeatures, FEATURE_PRESETS } from '@iommukit/smmu-v3-model';
import { describe, expect, test } from 'vitest';
import { attached, ModelRig, probed } from './model-rig.ts';

const PAGE = { iova: 0x10_0000, paddr: 0x5000_0000 };
const REPORTED = 'unexpected global error reported (0x00000001), this could be serious';

function illegal(): CommandBatch {
  const batch = new CommandBatch();
  batch.tlbiNhAsid(1);
  // QEMU's SMMU has no ATS: CERROR_ILL.
  batch.atcInv({ streamId: 8, substreamId: 0, address: 0, size: 52 });
  batch.tlbiNhAsid(2);
  return batch;
}

describe('an illegal command', () => {
  test('is named and replaced by a SYNC; what stands behind it is done', () => {
    const rig = new ModelRig({ idr: 'qemu-11-s1' });
    const driver = rig.up();
    const domain = attached(driver, probed(driver, 'a', [8]), PAGE);
    rig.log.length = 0;
    const at = driver.cmdq.prod + 1;
    expect(driver.cmdq.issueSync(illegal())).toBe(0);
    expect(rig.log).toEqual([
      { level: 'warn', text: REPORTED },
      {
        level: 'err',
        text: `CMDQ error (cons 0x0100${at.toString(16).padStart(4, '0')}): Illegal command`,
      },
      { level: 'err', text: 'skipping command in error state:' },
      { level: 'err', text: '\t0x0000000800000040' },
      { level: 'err', text: '\t0x0000000000000034' },
    ]);
    expect(rig.memory.load64(driver.cmdq.base + at * 16)).toBe(0x0fc0_2046);
    expect(rig.platform.clock.nowUs).toBe(0);
    domain.ops.unmapPages(PAGE.iova, 0x1000, 1, new IotlbGather());
    domain.ops.flushIotlbAll();
    expect(rig.write(8, PAGE.iova)).toBe('F_TRANSLATION');
    expect(rig.frames.used).toBeGreaterThan(0);
  });

  test('whose interrupt is lost: the SYNC times out, and the queue goes on once the error is seen', () => {
    const rig = new ModelRig({ idr: 'qemu-11-s1', lost: ['gerror'] });
    const driver = rig.up();
    const { prod } = driver.cmdq;
    expect(driver.cmdq.issueSync(illegal())).toBe(-ERRNO.ETIMEDOUT);
    expect(rig.platform.clock.nowUs).toBe(1_000_000);
    const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
    expect(rig.lines('err')).toEqual([
      `CMD_SYNC timeout at ${hex(prod + 3)} [hwprod ${hex(prod + 4)}, hwcons ${hex(0x100_0000 + prod + 1)}]`,
    ]);
    expect(driver.globalErrorInterrupt()).toBe(true);
    expect(driver.globalErrorInterrupt()).toBe(false);
    expect(driver.cmdq.issueSync(new CommandBatch())).toBe(0);
    expect(driver.cmdq.prod).toBe(rig.model.registers.read32(REGISTER_OFFSET.CMDQ_CONS) % 2 ** 24);
    attached(driver, probed(driver, 'a', [8]), PAGE);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
  });
});

describe('a queue that has stopped', () => {
  const small = encodeFeatures({ ...FEATURE_PRESETS['qemu-11-s1'], cmdqMaxLg2: 7 });

  test('an unmap meanwhile: reported, and once the error is seen the domain is as good as new', () => {
    const rig = new ModelRig({ idr: 'qemu-11-s1', lost: ['gerror'] });
    const driver = rig.up();
    const device = probed(driver, 'a', [8]);
    const before = [rig.frames.used, rig.coherent.used];
    const domain = attached(driver, device, PAGE);
    const { ops } = domain;
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
    driver.cmdq.issue(illegal());
    const gather = new IotlbGather();
    gather.init();
    expect(ops.unmapPages(PAGE.iova, 0x1000, 1, gather)).toBe(0x1000);
    ops.iotlbSync(gather);
    expect(rig.lines('err').map((line) => line.slice(0, 19))).toEqual(['CMD_SYNC timeout at']);
    // The table has no page any more, but the device may still have it: that is what the line says.
    expect(ops.iovaToPhys(PAGE.iova)).toBe(0);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
    expect(driver.globalErrorInterrupt()).toBe(true);
    rig.platform.runDevices();
    expect(rig.write(8, PAGE.iova)).toBe('F_TRANSLATION');
    expect(ops.mapPages(PAGE.iova, PAGE.paddr + 0x2000, 0x1000, 1, 3)).toBe(0);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr + 0x2000);
    expect(driver.blockedDomain.ops.attachDev(device, domain)).toBe(0);
    ops.free();
    driver.releaseDevice(device);
    expect([rig.frames.used, rig.coherent.used]).toEqual(before);
  });

  test('fills: a line each second; with the error acknowledged everything in it is done', () => {
    const rig = new ModelRig({ idr: small, lost: ['gerror'] });
    const driver = rig.up();
    const done = rig.model.counters.commands;
    driver.cmdq.issue(illegal());
    const full = new CommandBatch();
    for (let i = 0; i < 60; i++) full.tlbiNhAsid(i + 1);
    driver.cmdq.issue(full);
    driver.cmdq.issue(full);
    expect(() => driver.cmdq.issueSync(full)).toThrow(CommandQueueStuck);
    expect(new Set(rig.lines('err'))).toEqual(new Set(['CMDQ timeout']));
    expect(rig.platform.clock.nowUs).toBe(16_000_000);
    driver.globalErrorInterrupt();
    expect(driver.cmdq.issueSync(full)).toBe(0);
    // The illegal one became a SYNC.
    expect(rig.model.counters.commands - done).toBe(3 + 60 + 60 + 61);
  });

  test('full when the interrupt comes late: the producer waits for it and goes on', () => {
    const rig = new ModelRig({ idr: small, lost: ['gerror'] });
    const driver = rig.up();
    driver.cmdq.issue(illegal());
    const full = new CommandBatch();
    for (let i = 0; i < 63; i++) full.tlbiNhAsid(i + 1);
    driver.cmdq.issue(full);
    rig.platform.clock.schedule(1_500_000, () => driver.globalErrorInterrupt());
    expect(driver.cmdq.issueSync(full)).toBe(0);
    expect(rig.lines('err').filter((line) => line === 'CMDQ timeout')).toHaveLength(1);
    expect(rig.platform.clock.nowUs).toBeGreaterThanOrEqual(1_500_000);
    expect(rig.platform.clock.nowUs).toBeLessThan(2_000_000);
  });
});

test('a command that cannot be fetched is fetched again', () => {
  let gone = false;
  const rig: ModelRig = new ModelRig({
    idr: 'qemu-11-s1',
    modelView: (memory) =>
      new Proxy(memory, {
        get(target, key) {
          if (key === 'isBacked') return (pa: number): boolean => !gone && target.isBacked(pa);
          if (key === 'lanes' || key === 'block') return () => undefined;
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }) satisfies MemoryView,
    lost: ['gerror'],
  });
  const driver = rig.up();
  gone = true;
  driver.cmdq.issue(oneTlbi());
  rig.model.run();
  gone = false;
  rig.log.length = 0;
  expect(driver.globalErrorInterrupt()).toBe(true);
  expect(rig.lines('err')).toEqual([
    'CMDQ error (cons 0x02000004): Abort on command fetch',
    'retrying command fetch',
  ]);
  expect(driver.cmdq.issueSync(new CommandBatch())).toBe(0);
});

function oneTlbi(): CommandBatch {
  const batch = new CommandBatch();
  batch.tlbiNhAsid(1);
  return batch;
}

test('an endpoint that answers no invalidation: named, and the SYNC is done at the second try', () => {
  const rig = new ModelRig({ idr: 'full' });
  const driver = rig.up();
  let asked = 0;
  rig.model.connect({
    streamId: 8,
    invalidate: () => {
      asked++;
      return 'timeout';
    },
    pageResponse() {},
    stallEnded() {},
  });
  probed(driver, 'a', [8]);
  rig.log.length = 0;
  const batch = new CommandBatch();
  batch.atcInv({ streamId: 8, substreamId: 0, address: 0, size: 52 });
  expect(driver.cmdq.issueSync(batch)).toBe(0);
  expect(asked).toBe(1);
  expect(rig.lines('err')).toEqual(['CMDQ error (cons 0x03000007): ATC invalidate timeout']);
});

test('a page request is printed and denied', () => {
  const rig = new ModelRig({ idr: 'full' });
  const driver = rig.up();
  const codes: number[] = [];
  rig.model.connect({
    streamId: 8,
    invalidate: () => 'done',
    pageResponse: ({ code }) => codes.push(code),
    stallEnded() {},
  });
  attached(driver, probed(driver, 'a', [8]), PAGE);
  rig.log.length = 0;
  rig.model.pageRequest({
    streamId: 8,
    page: 0x4000,
    group: 3,
    read: true,
    write: true,
    last: true,
  });
  rig.platform.runDevices();
  expect(rig.log.map(({ text }) => text)).toEqual([
    'unexpected PRI request received:',
    '\tsid 0x00000008.0x00000: [3L] unprivileged RW access at iova 0x0000000000004000',
  ]);
  expect(driver.priq?.drained).toBe(1);
  // PCIe's code of a response failure.
  expect(codes).toEqual([15]);
});
