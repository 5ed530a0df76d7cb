import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  type IommuDomain,
} from '@iommukit/iommu-core';
import { driverContract } from '@iommukit/iommu-core/contract';
import { TraceChannel } from '@iommukit/platform';
import type { SmmuV3Model, StaleUse } from '@iommukit/smmu-v3-model';
import { describe, expect, test } from 'vitest';
import { kinds, subject } from './driver-subject.ts';

/** Uses of what no command was ever given for. */
function missing(models: readonly SmmuV3Model[]): StaleUse[] {
  return models.flatMap(({ staleUses }) => staleUses.filter((use) => use.class === 'missing'));
}

// Each silicon with the newest and one other kernel at least; with `npm run soak` all.
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const here = kinds.filter(({ kernel }, i) => SOAK || kernel === '7.3' || i % 4 === 0);

describe.each(here)('$kernel, stage $stage, range commands $ranges, ATS $ats', (kind) => {
  const models: SmmuV3Model[] = [];
  test.each(driverContract(subject(kind, models)))('$name', ({ run }) => {
    models.length = 0;
    run();
    // A rule may look before the flush; by its end there was a command for everything.
    expect(models).toHaveLength(1);
    expect(missing(models)).toEqual([]);
  });

  test('tags and PASIDs that are used again reach nothing of their old owner', () => {
    models.length = 0;
    const core = new IommuCore({
      trace: new TraceChannel<CoreEvent>(),
      profile: CORE_PROFILES[kind.kernel],
      defaultDomainType: 'identity',
    });
    const parts = subject(kind, models).create(core);
    const [info] = parts.devices;
    if (info === undefined) throw new Error('no device');
    const device = new IommuDevice(info);
    expect(core.probeDevice(device, parts.driver)).toBe(0);
    const made = (): IommuDomain => {
      const domain = core.domainAllocUnmanaged(device);
      if (typeof domain === 'number') throw new Error(`domain: ${domain}`);
      return domain;
    };
    const pasids = info.maxPasids === undefined ? [0] : [0, 5];
    for (let round = 0; round < 4; round++)
      for (const pasid of pasids) {
        const domain = made();
        const paddr = 0x8000_0000 + round * 0x10_0000 + pasid * 0x1000;
        expect(core.map(domain, 0x20_0000, paddr, 0x1000, IOMMU_READ + IOMMU_WRITE)).toBe(0);
        const attached =
          pasid === 0
            ? core.attachDevice(domain, device)
            : core.attachDevicePasid({ domain, device, pasid });
        expect(attached).toBe(0);
        expect(parts.access(device, 0x20_0123, pasid)).toBe(paddr + 0x123);
        if (pasid === 0) core.detachDevice(domain, device);
        else core.detachDevicePasid(domain, device, pasid);
        core.domainFree(domain);
      }
    expect(missing(models)).toEqual([]);
  });
});
