import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { ERRNO, FrameAllocator } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { DRIVER_PROFILES, SmmuV3Driver } from '../src/index.ts';
import { capturedIds, capturedMemory, capturedWrites, kernelLines } from './capture.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { device, Rig } from './rig.ts';

const at = REGISTER_OFFSET;
const errs = (rig: Rig): string[] =>
  rig.log.filter((line) => line.level === 'err').map((line) => line.text);

describe('probe and reset of the capture', () => {
  test('register writes, in order', () => {
    const rig = new Rig({ ids: capturedIds(), coherent: capturedMemory() });
    const driver = rig.create();
    if (typeof driver === 'number') throw new Error(`${driver}`);
    expect(driver.reset()).toBe(0);
    const want = capturedWrites().slice(0, rig.smmu.writes.length);
    expect(want).toHaveLength(20);
    // QEMU prints offsets within a register page; EVENTQ_PROD and EVENTQ_CONS are in page 1.
    expect(rig.smmu.writes.map(([offset, ...rest]) => [offset % 0x1_0000, ...rest])).toEqual(want);
    expect(rig.smmu.writes.filter(([offset]) => offset >= 0x1_0000).map(([o]) => o)).toEqual([
      0x1_00a8, 0x1_00ac,
    ]);
    expect(rig.smmu.commands).toEqual([
      [4n, 0x1fn],
      [0xfc02046n, 0n],
      [0x30n, 0n],
      [0xfc02046n, 0n],
    ]);
  });

  test('lines', () => {
    const rig = new Rig({ ids: capturedIds() });
    rig.create();
    const prefix = 'arm-smmu-v3 9050000.smmuv3: ';
    const want = kernelLines().slice(0, 3);
    expect(rig.log.map((line) => prefix + line.text)).toEqual(want);
    expect(rig.log.every((line) => line.level === 'info')).toBe(true);
  });

  test('features', () => {
    const driver = new Rig().up();
    expect(driver.features).toMatchObject({
      twoLevelStreamTable: true,
      coherent: true,
      stage1: true,
      stage2: true,
      rangeInvalidation: true,
      stalls: false,
      asidBits: 16,
      sidBits: 16,
      ias: 48,
      oas: 44,
      cmdqLg2: 16,
      evtqLg2: 15,
      pgsizeBitmap: 0x4000_0000 + 0x20_0000 + 0x1000 + 0x1_0000 + 0x2000_0000 + 0x4000 + 0x200_0000,
    });
    expect(driver.capabilities).toEqual({
      cacheCoherency: true,
      deferredFlush: true,
      noexec: true,
    });
  });
});

describe('hardware that Linux refuses', () => {
  const rows: readonly [string, Parameters<typeof idsWith>[0]][] = [
    ['unknown/unsupported TT endianness!', { idr0: { TTENDIAN: 3 } }],
    ['unknown/unsupported TT endianness!', { idr0: { TTENDIAN: 1 } }],
    ['no translation support!', { idr0: { S1P: 0, S2P: 0 } }],
    ['AArch64 table format not supported!', { idr0: { TTF: 1 } }],
    ['AArch64 table format not supported!', { idr0: { TTF: 0 } }],
    ['embedded implementation not supported', { idr1: { TABLES_PRESET: 1 } }],
    ['embedded implementation not supported', { idr1: { QUEUES_PRESET: 1 } }],
    ['command queue size <= 64 entries not supported', { idr1: { CMDQS: 6 } }],
  ];
  test.each(rows)('%s', (text, change) => {
    const rig = new Rig({ ids: idsWith(change) });
    expect(rig.create()).toBe(-ERRNO.ENXIO);
    expect(rig.log).toEqual([{ level: 'err', text }]);
    expect(rig.coherentPool.used).toBe(0);
  });

  test('the cap on queue bytes counts before the smallest size', () => {
    const rig = new Rig({ profile: { maxQueueBytes: 1024 } });
    expect(rig.create()).toBe(-ERRNO.ENXIO);
  });

  test('stage 2 alone is enough', () => {
    const rig = new Rig({ ids: idsWith({ idr0: { S1P: 0, S2P: 1 } }) });
    expect(rig.create()).toBeInstanceOf(SmmuV3Driver);
  });
});

test('sizes: the smaller of the hardware and the cap', () => {
  const small = new Rig({ ids: idsWith({ idr1: { CMDQS: 7, EVENTQS: 3 } }) }).up();
  expect([small.features.cmdqLg2, small.features.evtqLg2]).toEqual([7, 3]);
  const capped = new Rig({ profile: { maxQueueBytes: 0x1_0000 } }).up();
  expect([capped.features.cmdqLg2, capped.features.evtqLg2]).toEqual([12, 11]);
});

test('output size 52 brings 4 TiB pages; a reserved code is cut to 48', () => {
  const wide = new Rig({ ids: idsWith({ idr5: { OAS: 6 } }) });
  expect(wide.up().features).toMatchObject({ oas: 52 });
  const { pgsizeBitmap } = wide.up().features;
  expect(Math.floor(pgsizeBitmap / 2 ** 42)).toBe(1);
  const odd = new Rig({ ids: idsWith({ idr5: { OAS: 7 } }) });
  const driver = odd.create();
  expect((driver as SmmuV3Driver).features.oas).toBe(48);
  expect(odd.log[0]).toEqual({
    level: 'info',
    text: 'unknown output address size. Truncating to 48-bit',
  });
});

describe('memory', () => {
  test('a queue is halved until memory is found', () => {
    const pool = new FrameAllocator({ base: 0x6000_0000, size: 0x1000_0000 });
    const coherent = {
      alloc: (bytes: number) => (bytes > 0x8000 ? -1 : pool.alloc(bytes)),
      free: (pa: number, bytes: number) => pool.free(pa, bytes),
    };
    const driver = new Rig({ coherent }).up();
    expect([driver.features.cmdqLg2, driver.cmdq.lg2, driver.evtq.lg2]).toEqual([11, 11, 10]);
  });

  test('no memory at all: sizes go down to half a page', () => {
    const asked: number[] = [];
    const alloc = (bytes: number): number => {
      asked.push(bytes);
      return -1;
    };
    const rig = new Rig({ coherent: { alloc, free() {} } });
    expect(rig.create()).toBe(-ERRNO.ENOMEM);
    expect([asked[0], asked.at(-1)]).toEqual([0x10_0000, 0x800]);
    expect(errs(rig)).toEqual(['failed to allocate queue (0x800 bytes) for cmdq']);
  });

  test.each([2, 3])('allocation %i fails: nothing leaks', (n) => {
    const rig = new Rig({ profile: { maxQueueBytes: 0x1000 } });
    rig.coherentPool.failIn = n;
    const made = rig.create();
    if (n === 3) expect(made).toBe(-ERRNO.ENOMEM);
    expect(rig.coherentPool.used).toBe(n === 3 ? 0 : 3);
  });

  test('no stream table: the kernel names its size', () => {
    const rig = new Rig();
    rig.coherentPool.failIn = 3;
    expect(rig.create()).toBe(-ERRNO.ENOMEM);
    expect(errs(rig)).toEqual(['failed to allocate l1 stream table (2048 bytes)']);
  });
});

describe('stream table', () => {
  test('two levels of more than 25 bits cover 25', () => {
    const rig = new Rig({ ids: idsWith({ idr1: { SIDSIZE: 32 } }) });
    const driver = rig.create() as SmmuV3Driver;
    expect(rig.log.at(-1)).toEqual({
      level: 'warn',
      text: '2-level strtab only covers 25/32 bits of SID',
    });
    expect(driver.strtab.registers).toMatchObject({ format: 1, split: 8, log2Size: 25 });
    expect(driver.probeDevice(device('a', [2 ** 25]))).toBe(-ERRNO.ERANGE);
    expect(driver.probeDevice(device('a', [2 ** 25 - 1]))).toBe(0);
  });

  test.each([
    ['few stream ids', idsWith({ idr1: { SIDSIZE: 8 } }), 8],
    ['no second level', idsWith({ idr0: { ST_LEVEL: 0 }, idr1: { SIDSIZE: 10 } }), 10],
  ] as const)('%s: linear, all abort', (_name, ids, bits) => {
    const rig = new Rig({ ids });
    const driver = rig.create() as SmmuV3Driver;
    expect(driver.strtab.registers).toMatchObject({ format: 0, split: 0, log2Size: bits });
    expect(rig.words(driver.strtab.registers.base, 9)).toEqual([
      1n,
      0n,
      0n,
      0n,
      0n,
      0n,
      0n,
      0n,
      1n,
    ]);
    expect(rig.words(driver.strtab.entry(2 ** bits - 1), 8)).toEqual([1n, ...Array(7).fill(0n)]);
    driver.reset();
    expect(rig.smmu.writes).toContainEqual([at.STRTAB_BASE_CFG, BigInt(bits), 4]);
    expect(driver.probeDevice(device('a', [2 ** bits]))).toBe(-ERRNO.ERANGE);
  });
});

describe('reset', () => {
  test('an SMMU that runs is made to abort first', () => {
    const rig = new Rig();
    const driver = rig.create() as SmmuV3Driver;
    rig.smmu.poke(at.CR0, 1);
    rig.forget();
    expect(driver.reset()).toBe(0);
    expect(rig.log).toEqual([{ level: 'warn', text: 'SMMU currently enabled! Resetting...' }]);
    expect(rig.smmu.writes.slice(0, 2)).toEqual([
      [at.GBPA, 0x8010_0000n, 4],
      [at.CR0, 0n, 4],
    ]);
  });

  test('an SMMU with EL2 gets TLBI_EL2_ALL between CFGI_ALL and TLBI_NSNH_ALL', () => {
    const rig = new Rig({ ids: idsWith({ idr0: { Hyp: 1 } }) });
    (rig.create() as SmmuV3Driver).reset();
    expect(rig.listLines()).toEqual([
      'n=1 sync=1 c0d0=0x4 c0d1=0x1f',
      'n=1 sync=1 c0d0=0x20 c0d1=0x0',
      'n=1 sync=1 c0d0=0x30 c0d1=0x0',
    ]);
  });

  test.each([
    [at.CR0, 'failed to clear cr0', at.CR0ACK],
    [at.IRQ_CTRL, 'failed to disable irqs', at.IRQ_CTRLACK],
  ] as const)('register %i that does not acknowledge', (offset, text, ack) => {
    const rig = new Rig();
    rig.smmu.deaf.add(offset);
    rig.smmu.poke(ack, 0xff);
    const driver = rig.create() as SmmuV3Driver;
    expect(driver.reset()).toBe(-ERRNO.ETIMEDOUT);
    expect(errs(rig)[0]).toBe(text);
  });

  test.each([
    [8, 'failed to enable command queue'],
    [12, 'failed to enable event queue'],
    [13, 'failed to enable SMMU interface'],
  ])('CR0 = %i is not acknowledged', (value, text) => {
    const rig = new Rig();
    const driver = rig.create() as SmmuV3Driver;
    const write = rig.smmu.write32.bind(rig.smmu);
    rig.smmu.write32 = (offset, written): void => {
      if (offset === at.CR0 && written === value) rig.smmu.deaf.add(offset);
      write(offset, written);
    };
    expect(driver.reset()).toBe(-ERRNO.ETIMEDOUT);
    expect(errs(rig)).toEqual([text]);
    expect(rig.platform.clock.nowUs).toBe(1_000_000);
  });

  test('a SYNC that times out is printed and reset goes on', () => {
    const rig = new Rig();
    rig.smmu.consumes = 'never';
    const driver = rig.create() as SmmuV3Driver;
    expect(driver.reset()).toBe(0);
    expect(errs(rig)[0]).toBe(
      'CMD_SYNC timeout at 0x00000001 [hwprod 0x00000002, hwcons 0x00000000]',
    );
  });

  test('a second reset starts the queues again', () => {
    const rig = new Rig();
    const driver = rig.up();
    expect([driver.cmdq.issued, driver.cmdq.syncs, driver.cmdq.prod]).toEqual([4, 2, 4]);
    expect(driver.reset()).toBe(0);
    expect([driver.cmdq.issued, driver.cmdq.syncs, driver.cmdq.prod]).toEqual([4, 2, 4]);
  });
});

test('7.2: the probe line of the capture, and of a stream that another device has', () => {
  const rig = new Rig({ profile: DRIVER_PROFILES['7.2'] });
  const driver = rig.create() as SmmuV3Driver;
  expect(rig.log[0]).toEqual({ level: 'info', text: 'oas 44-bit (features 0x01088705)' });
  rig.log.length = 0;
  expect(driver.probeDevice(device('0000:03:01.0', [0x308, 0x300]))).toBe(0);
  expect(driver.probeDevice(device('0000:03:02.0', [0x310, 0x300]))).toBe(-ERRNO.ENODEV);
  const text = 'Aliasing StreamID 0x300 (from 0000:03:01.0) unsupported, expect DMA to be broken';
  expect(rig.log).toEqual([{ level: 'warn', text }]);
});

test('an SMMU with ATS checks translated transactions, before it is enabled', () => {
  const rig = new Rig({ ids: idsWith({ idr0: { ATS: 1 } }) });
  const driver = rig.create() as SmmuV3Driver;
  rig.forget();
  expect(driver.reset()).toBe(0);
  const cr0 = rig.smmu.writes.filter(([offset]) => offset === REGISTER_OFFSET.CR0);
  expect(cr0.map(([, value]) => value)).toEqual([0n, 0x8n, 0xcn, 0x1cn, 0x1dn]);
});
