import { TraceChannel } from '@iommukit/platform';
import {
  CORE_PROFILES,
  type DomainOps,
  IommuCore,
  IommuDomain,
  type KernelVersion,
} from '../src/index.ts';

/** A core of a kernel, and a domain of 4 KiB, 2 MiB and 1 GiB pages over these operations; no device is needed to map. */
export function benchCore(kernel: KernelVersion, ops: DomainOps) {
  const core = new IommuCore({
    trace: new TraceChannel(),
    profile: CORE_PROFILES[kernel],
    defaultDomainType: 'dma',
  });
  const domain = new IommuDomain({
    type: 'unmanaged',
    ops,
    pgsizeBitmap: 0x4020_1000,
    apertureStart: 0,
    apertureEnd: 2 ** 48,
  });
  return { core, domain };
}
