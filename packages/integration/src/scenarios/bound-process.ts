import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator } from '@iommukit/platform';
import {
  IOMMU_FIRST_GLOBAL_PASID,
  PASID_MAX,
  PasidAllocator,
  type SharedIoMm,
  SvaBinder,
  svaBindDevice,
} from '@iommukit/sva-pasid';
import { MachineError } from '../machine.ts';
import { DemandPagedMm } from '../mm/demand-paged-mm.ts';
import { PageFrames } from '../mm/page-frames.ts';
import type { PasidRig } from './pasid-rig.ts';
import { X } from './setup.ts';

/** A process with one page at X that the CPU has used, and the device bound to it; PASID 1. */
export function boundProcess(rig: PasidRig): {
  readonly mm: DemandPagedMm;
  readonly shared: SharedIoMm;
} {
  const { core, memory } = rig.machine;
  const mm = new DemandPagedMm({
    memory,
    tableFrames: new FrameAllocator({ base: 0x4000_0000, size: SZ_2M }),
    frames: new PageFrames(memory, new FrameAllocator({ base: 0x4020_0000, size: SZ_2M })),
  });
  const allowed = { read: true, write: true, exec: false };
  mm.map({ start: X, end: X + SZ_4K, allowed });
  mm.store(X, { lo: 1, hi: 0 });
  const space = { first: IOMMU_FIRST_GLOBAL_PASID, last: PASID_MAX, order: 'lowest' } as const;
  const binder = new SvaBinder(core, new PasidAllocator(space));
  const shared = svaBindDevice(binder, rig.device, mm);
  if (typeof shared === 'number')
    throw new MachineError('NOT_BOOTED', { what: `svaBindDevice: ${shared}` });
  return { mm, shared };
}
