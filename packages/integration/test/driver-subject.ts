import { IDR0, IDR1, IDR3, IDR5, REGISTER_FRAME_BYTES } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import type { IommuDevice } from '@iommukit/iommu-core';
import type { DriverSubject } from '@iommukit/iommu-core/contract';
import { FrameAllocator, MmioBus, PhysicalMemory, SimPlatform } from '@iommukit/platform';
import { DRIVER_PROFILES, type DriverKernel, SmmuV3Driver } from '@iommukit/smmu-v3-driver';
import { Endpoint, SmmuV3Model } from '@iommukit/smmu-v3-model';
import { ADVERSARY, COHERENT, POOL } from './model-rig.ts';

const RAM = { base: 0x4000_0000, size: 0x1000_0000 };
const DEVICES = [
  { name: 'a', ids: [8], groupKey: 'a', maxPasids: 2 ** 12 },
  { name: 'b', ids: [9], groupKey: 'b', maxPasids: 2 ** 12 },
];

/** A kernel on a kind of silicon. */
export interface Kind {
  readonly kernel: DriverKernel;
  readonly stage: 1 | 2;
  readonly ranges: boolean;
  /** The devices keep translations of their own. */
  readonly ats: boolean;
}

/** The silicon that the driver is tried on: a linear stream table, so that nothing stays allocated when the devices have gone. */
function idr({ stage, ranges, ats }: Kind): {
  readonly IDR0: number;
  readonly IDR1: number;
  readonly IDR3: number;
  readonly IDR5: number;
} {
  const word = (lanes: Uint32Array): number => lanes[0] ?? 0;
  return {
    IDR0: word(
      IDR0.encode({
        S1P: stage === 1 ? 1 : 0,
        S2P: stage === 2 ? 1 : 0,
        TTF: 2,
        COHACC: 1,
        TTENDIAN: 2,
        ASID16: 1,
        CD2L: 1,
        STALL_MODEL: 1,
        ATS: ats ? 1 : 0,
      }),
    ),
    IDR1: word(IDR1.encode({ SIDSIZE: 6, SSIDSIZE: stage === 1 ? 12 : 0, CMDQS: 8, EVENTQS: 7 })),
    IDR3: word(IDR3.encode({ RIL: ranges ? 1 : 0 })),
    IDR5: word(IDR5.encode({ GRAN4K: 1, OAS: 5 })),
  };
}

/** A driver over the model; every model that was made is added to `models`. */
export function subject(kind: Kind, models: SmmuV3Model[]): DriverSubject {
  return {
    name: `${kind.kernel}, stage ${String(kind.stage)}`,
    create(core) {
      const memory = new PhysicalMemory([RAM]);
      const frames = new FrameAllocator(POOL);
      const coherent = new FrameAllocator(COHERENT);
      const platform = new SimPlatform();
      const model = new SmmuV3Model({ memory, idr: idr(kind), policy: ADVERSARY });
      models.push(model);
      platform.register(model);
      const endpoints = new Map(
        DEVICES.map(({ name, ids: [streamId = 0] }) => {
          const endpoint = new Endpoint({ smmu: model, streamId, ats: true });
          endpoint.setAts('off');
          return [name, endpoint] as const;
        }),
      );
      const endpointOf = (device: IommuDevice): Endpoint => {
        const endpoint = endpoints.get(device.name);
        if (endpoint === undefined) throw new Error(device.name);
        return endpoint;
      };
      const bus = new MmioBus();
      bus.attach(0x900_0000, REGISTER_FRAME_BYTES, model.registers);
      const driver = SmmuV3Driver.probe({
        registers: bus.frameAt(0x900_0000),
        memory,
        frames,
        coherent,
        platform,
        profile: DRIVER_PROFILES[kind.kernel],
        pgtableProfile: IO_PGTABLE_PROFILES[kind.kernel],
        gatherPages: (domain, gather, iova, granule, count) =>
          core.gatherAddPages(domain, gather, iova, granule, count),
        traitsOf: () => ({ ats: kind.ats }),
        ats: {
          enable: (device) => endpointOf(device).setAts('on'),
          disable: (device) => endpointOf(device).setAts('off'),
        },
      });
      if (typeof driver === 'number') throw new Error(`probe: ${driver}`);
      return {
        driver,
        devices: DEVICES.map((info) =>
          kind.stage === 1 && kind.kernel !== '6.1'
            ? info
            : { name: info.name, ids: info.ids, groupKey: info.groupKey },
        ),
        access(device: IommuDevice, iova, pasid) {
          const found = endpointOf(device).access({
            address: u64Of(iova),
            rw: 'write',
            ...(pasid === 0 ? {} : { substreamId: pasid }),
          });
          if (!('result' in found)) return -1;
          const { result } = found;
          if (result.outcome === 'bypass') return iova;
          return result.outcome === 'ok' ? result.paddr : -1;
        },
        commands: () => driver.cmdq.issued,
        frames: () => frames.used + coherent.used,
        failAllocation: (k) => {
          frames.failIn = k;
        },
        memory: 0x8000_0000,
      };
    },
  };
}

export const kinds: Kind[] = (['6.1', '6.12', '7.2', '7.3'] as const).flatMap((kernel) => [
  { kernel, stage: 1, ranges: true, ats: false },
  { kernel, stage: 1, ranges: false, ats: true },
  { kernel, stage: 2, ranges: true, ats: true },
]);
