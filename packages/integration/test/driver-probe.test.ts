import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { IotlbGather } from '@iommukit/io-pgtable';
import { ERRNO, observeView } from '@iommukit/platform';
import { DRIVER_PROFILES, type SmmuV3Driver } from '@iommukit/smmu-v3-driver';
import { encodeFeatures, FEATURE_PRESETS, type FeaturePreset } from '@iommukit/smmu-v3-model';
import { describe, expect, test } from 'vitest';
import { attached, ModelRig, observedFrame, probed } from './model-rig.ts';

const PRESETS = Object.keys(FEATURE_PRESETS) as FeaturePreset[];
const PAGE = { iova: 0x10_0000, paddr: 0x5000_0000 };
/** The bits of `ARM_SMMU_FEAT_*` of each preset, by hand. */
const LINES: Readonly<Record<FeaturePreset, readonly [oas: number, six: string, seven: string]>> = {
  // 2LVL_STRTAB, TT_LE, COHERENCY, S1, RANGE_INV; BBML2
  'qemu-11-s1': [44, '0x00008305', '0x01008305'],
  'qemu-11-s2': [44, '0x00008505', '0x01008505'],
  'qemu-11-nested': [44, '0x00088705', '0x01088705'],
  // all but TT_BE, STALL_FORCE, BTM, SVA, E2H; S2FWB, BBML2, HAFT
  full: [52, '0x0078dff7', '0x03f8dff7'],
};

function steady(rig: ModelRig, driver: SmmuV3Driver): void {
  expect(rig.model.registers.read32(REGISTER_OFFSET.GERROR)).toBe(
    rig.model.registers.read32(REGISTER_OFFSET.GERRORN),
  );
  expect(rig.model.staleUses.filter((use) => use.class === 'missing')).toEqual([]);
  expect(driver.cmdq.prod).toBe(rig.model.registers.read32(REGISTER_OFFSET.CMDQ_CONS));
}

describe.each(PRESETS)('%s', (preset) => {
  const has = FEATURE_PRESETS[preset];

  test.each(['6.1', '6.12', '7.2', '7.3'] as const)('%s probes and translates', (kernel) => {
    const rig = new ModelRig({ idr: preset, kernel });
    const driver = rig.up();
    expect(driver.features).toMatchObject({
      stage1: has.s1p,
      stage2: has.s2p,
      nesting: has.s1p && has.s2p,
      twoLevelStreamTable: has.twoLevelStrtab && has.sidSize > 8,
      twoLevelCdTable: has.cd2l,
      coherent: has.cohacc,
      rangeInvalidation: has.ril,
      stalls: has.stallModel !== 1,
      stallForce: has.stallModel === 2,
      attrTypesOverride: has.attrTypesOvr,
      hyp: has.hyp,
      ats: has.ats,
      priq: has.pri,
      msi: has.msi,
      forcedWriteBack: has.fwb,
      asidBits: has.asid16 ? 16 : 8,
      vmidBits: has.vmid16 ? 16 : 8,
      sidBits: has.sidSize,
      ssidBits: has.ssidSize,
      oas: has.oas,
      ias: Math.min(has.vax, 48),
    });
    const [oas, six, seven] = LINES[preset];
    const { printedFeatures } = DRIVER_PROFILES[kernel];
    expect(rig.lines('info').at(0)).toBe(
      printedFeatures === 'up-to-hd'
        ? `ias ${oas}-bit, oas ${oas}-bit (features ${six})`
        : `oas ${oas}-bit (features ${seven})`,
    );
    expect(rig.lines('err')).toEqual([]);
    expect(driver.priq === null).toBe(!has.pri);
    const device = probed(driver, 'a', [8]);
    expect(rig.write(8, PAGE.iova)).toBe('ste-abort');
    const domain = attached(driver, device, PAGE);
    expect(rig.write(8, PAGE.iova + 4)).toBe(PAGE.paddr + 4);
    expect(rig.write(9, PAGE.iova)).toBe('ste-abort');
    domain.ops.unmapPages(PAGE.iova, 0x1000, 1, new IotlbGather());
    domain.ops.flushIotlbAll();
    expect(rig.write(8, PAGE.iova)).toBe('F_TRANSLATION');
    steady(rig, driver);
  });

  test('the bits of CR0 and IRQ_CTRL, and the form of SYNCs', () => {
    const rig = new ModelRig({ idr: preset });
    const driver = rig.up();
    const read = (name: 'CR0ACK' | 'IRQ_CTRLACK'): number =>
      rig.model.registers.read32(REGISTER_OFFSET[name]);
    expect(read('CR0ACK')).toBe(0b1101 + (has.pri ? 2 : 0) + (has.ats ? 16 : 0));
    expect(read('IRQ_CTRLACK')).toBe(0b101 + (has.pri ? 2 : 0));
    // With MSIs the SYNC in the ring is overwritten by zero, else it stands as it was.
    const sync = driver.cmdq.base + (driver.cmdq.prod - 1) * 16;
    expect(rig.memory.load32(sync)).toBe(has.msi ? 0 : 0x0fc0_2046);
    expect(rig.memory.load64(sync + 8)).toBe(has.msi ? sync : 0);
  });

  test('a reset with a device attached leaves nothing stale and loses nothing', () => {
    const rig = new ModelRig({ idr: preset });
    const driver = rig.up();
    const domain = attached(driver, probed(driver, 'a', [8]), PAGE);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
    // The page moves without an invalidation: what the reset sends must do.
    domain.ops.unmapPages(PAGE.iova, 0x1000, 1, new IotlbGather());
    domain.ops.mapPages(PAGE.iova, PAGE.paddr + 0x1000, 0x1000, 1, 3);
    rig.log.length = 0;
    expect(driver.reset()).toBe(0);
    expect(rig.log).toEqual([{ level: 'warn', text: 'SMMU currently enabled! Resetting...' }]);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr + 0x1000);
    steady(rig, driver);
  });

  test('another kernel finds the SMMU enabled with a device attached', () => {
    const rig = new ModelRig({ idr: preset });
    const old = rig.up();
    attached(old, probed(old, 'old', [8]), PAGE);
    expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
    const driver = rig.up();
    const device = probed(driver, 'a', [8]);
    // Not the old translation, although nobody took it back.
    expect(rig.write(8, PAGE.iova)).toBe('ste-abort');
    attached(driver, device, { iova: PAGE.iova, paddr: 0x5100_0000 });
    expect(rig.write(8, PAGE.iova)).toBe(0x5100_0000);
    steady(rig, driver);
  });

  test('allocation k fails, for every k: nothing leaks, or it goes on with less', () => {
    let refused = 0;
    for (let k = 1; ; k++) {
      const rig = new ModelRig({ idr: preset });
      rig.coherent.failIn = k;
      const driver = rig.probe();
      if (typeof driver === 'number') {
        refused++;
        expect([driver, rig.coherent.used, rig.frames.used]).toEqual([-ERRNO.ENOMEM, 0, 0]);
        continue;
      }
      const untouched = rig.coherent.failIn > 0;
      rig.coherent.failIn = 0;
      attached(driver, probed(driver, 'a', [8]), PAGE);
      expect(rig.write(8, PAGE.iova)).toBe(PAGE.paddr);
      if (untouched) break;
    }
    // The stream table alone cannot be smaller.
    expect(refused).toBe(1);
  });

  test('streams of firmware pass at every moment, from the first on', () => {
    const rmr = { start: PAGE.paddr, end: PAGE.paddr + 0x1000, prot: 3, type: 'direct' } as const;
    let looks = 0;
    const seen = new Set<number | string>();
    const look = (): void => {
      looks++;
      seen.add(rig.write(8, PAGE.paddr));
    };
    const rig: ModelRig = new ModelRig({
      idr: preset,
      parts: { rmrs: [{ streamIds: [8], regions: [rmr] }] },
      driverView: (memory) => observeView(memory, { onStore: look }),
      registers: (frame) => observedFrame(frame, look),
    });
    const driver = rig.up();
    const device = probed(driver, 'a', [8, 9]);
    expect(driver.getResvRegions(device)).toContainEqual(rmr);
    expect(driver.getResvRegions(probed(driver, 'b', [10]))).not.toContainEqual(rmr);
    expect(rig.write(9, PAGE.paddr)).toBe('ste-abort');
    attached(driver, device, { iova: PAGE.paddr, paddr: PAGE.paddr });
    expect(looks).toBeGreaterThan(20);
    expect([...seen]).toEqual([PAGE.paddr]);
    expect(rig.write(8, PAGE.paddr + 0x1000)).toBe('F_TRANSLATION');
    steady(rig, driver);
  });

  test('an SMMU that ran before aborts while it is reset; one that is shut down follows GBPA', () => {
    const between: (number | string)[] = [];
    const rig: ModelRig = new ModelRig({
      idr: preset,
      registers: (frame) =>
        observedFrame(frame, (offset, value) => {
          if (offset === REGISTER_OFFSET.CR0 && value % 2 === 0) between.push(rig.write(8, 0x1000));
        }),
    });
    const driver = rig.up();
    // Firmware left GBPA at bypass and Linux leaves it so.
    expect(new Set(between)).toEqual(new Set([0x1000]));
    expect(driver.shutdown()).toBe(0);
    expect(rig.write(8, 0x1000)).toBe(0x1000);
    expect(driver.reset()).toBe(0);
    between.length = 0;
    expect(driver.reset()).toBe(0);
    expect(new Set(between)).toEqual(new Set(['gbpa-abort']));
    expect(driver.shutdown()).toBe(0);
    expect(rig.write(8, 0x1000)).toBe('gbpa-abort');
  });
});

test('two levels grow by 256 streams when a device needs them; a linear table never', () => {
  const two = new ModelRig({ idr: 'qemu-11-nested' });
  const driver = two.up();
  const used = (rig: ModelRig, of: SmmuV3Driver, ids: readonly number[]): number => {
    const before = rig.coherent.used;
    probed(of, `d${ids}`, ids);
    return (rig.coherent.used - before) * 4096;
  };
  // Another second level: an SMMU may remember that this one is missing, and Linux sends no CFGI for it.
  expect(two.write(0x408, 0)).toBe('C_BAD_STREAMID');
  expect(used(two, driver, [0x108])).toBe(0x4000);
  expect(two.write(0x108, 0)).toBe('ste-abort');
  expect(two.write(0x1ff, 0)).toBe('ste-abort');
  expect(used(two, driver, [0x1ff])).toBe(0);
  expect(used(two, driver, [0x200, 0x300])).toBe(0x8000);
  expect(driver.probeDevice({ info: { ids: [0x1_0000] }, priv: null } as never)).toBe(
    -ERRNO.ERANGE,
  );
  const small = encodeFeatures({ ...FEATURE_PRESETS['qemu-11-nested'], sidSize: 8 });
  const linear = new ModelRig({ idr: small });
  expect(used(linear, linear.up(), [0, 255])).toBe(0);
  expect(linear.write(255, 0)).toBe('ste-abort');
});

describe('errata by IIDR', () => {
  const iidr = (product: number, variant: number, revision: number): number =>
    product * 2 ** 20 + variant * 2 ** 16 + revision * 2 ** 12 + 0x43b;
  const full = encodeFeatures(FEATURE_PRESETS.full);
  test.each([
    ['MMU-600 r0p2', iidr(0x483, 0, 2), '0x03f0dfb7', false],
    ['MMU-600 r1p0', iidr(0x483, 1, 0), '0x03f0dff7', false],
    ['MMU-600 r2p0', iidr(0x483, 2, 0), '0x03f8dff7', false],
    ['MMU-700 r0p0', iidr(0x487, 0, 0), '0x03f0dff7', true],
    ['MMU-700 r1p0', iidr(0x487, 1, 0), '0x03f0dff7', true],
    ['MMU-700 r1p1', iidr(0x487, 1, 1), '0x03f8dff7', false],
  ])('%s', (_name, IIDR, word, forceSync) => {
    const rig = new ModelRig({ idr: { ...full, IIDR } });
    const driver = rig.up();
    expect(rig.lines('info')[0]).toBe(`oas 52-bit (features ${word})`);
    expect(driver.features.forceSync).toBe(forceSync);
    const domain = attached(driver, probed(driver, 'a', [8]), PAGE);
    expect(typeof domain.ops).toBe('object');
  });
});

test('firmware decides about coherence', () => {
  const rig = new ModelRig({ idr: 'full', parts: { firmwareCoherent: false } });
  const driver = rig.up();
  expect(rig.lines('warn')[0]).toBe('IDR0.COHACC overridden by FW configuration (false)');
  expect(driver.capabilities.cacheCoherency).toBe(false);
  // No cache to see an MSI in: SYNCs are polled by CONS.
  expect(rig.memory.load32(driver.cmdq.base + (driver.cmdq.prod - 1) * 16)).toBe(0x0fc0_2046);
});
