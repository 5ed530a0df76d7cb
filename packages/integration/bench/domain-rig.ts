import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { kernelProfile, Machine, MEMORY_OF_CAPTURES } from '../src/index.ts';

const idr = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };

export interface DomainRig {
  readonly machine: Machine;
  readonly domain: IommuDomain;
}

/** A machine of kernel 7.3 with one device in its DMA domain, below the DMA layer. */
export function domainRig(): DomainRig {
  const profile = kernelProfile('7.3');
  const machine = new Machine({ idr, profile, cpus: 1, memory: MEMORY_OF_CAPTURES });
  machine.boot();
  const device = new IommuDevice({ name: '0000:00:01.0', ids: [8], groupKey: 'a', isPci: true });
  machine.core.probeDevice(device, machine.driver);
  const domain = device.group?.domain;
  if (domain === null || domain === undefined) throw new Error('the device has no domain');
  return { machine, domain };
}
