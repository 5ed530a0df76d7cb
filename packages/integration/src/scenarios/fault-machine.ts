import { EVENTQ_PROD, EVENTS, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import type { EventRecord, LogLine } from '@iommukit/smmu-v3-driver';
import {
  CACHE_EVERYTHING,
  Endpoint,
  encodeFeatures,
  FEATURE_PRESETS,
} from '@iommukit/smmu-v3-model';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MachineError, MEMORY_OF_CAPTURES } from '../machine.ts';

/** StreamID of the device. */
export const FAULT_STREAM = 8;

/** How a machine for faults differs from the usual one. */
export interface FaultOptions {
  /** log2 of the entries of the event queue; absent: 19. */
  readonly eventqLg2?: number;
  /** The device stalls instead of being refused, and faults are handled. */
  readonly stall?: true;
}

/** An event record as it stands in memory: number and fields by name. */
export interface EventInMemory {
  readonly code: number;
  readonly fields: Readonly<Record<string, number>>;
  /** The third doubleword: the input address of a translation fault. */
  readonly address: U64;
}

/** A machine whose device is refused, and what became of it: records in memory, registers, decoded reports, printed lines. */
export class FaultMachine {
  readonly machine: Machine;
  readonly device: IommuDevice;
  readonly endpoint: Endpoint;
  readonly printed: LogLine[] = [];
  readonly reports: EventRecord[] = [];
  /** Interrupts of the event queue wait in here while it is set. */
  held: (() => void)[] | null = null;

  constructor({ eventqLg2 = 19, stall }: FaultOptions = {}) {
    this.machine = new Machine({
      idr: encodeFeatures({
        ...FEATURE_PRESETS['qemu-11-nested'],
        ...{ oas: 48, ssidSize: 16, cd2l: true, stallModel: 0, stallMax: 16 },
        eventqMaxLg2: eventqLg2,
      }),
      profile: kernelProfile('7.3'),
      cpus: 1,
      memory: MEMORY_OF_CAPTURES,
      policy: CACHE_EVERYTHING,
      log: (line) => void this.printed.push(line),
      onEvent: (record) => {
        this.reports.push(record);
        return false;
      },
      devices: { traitsOf: () => ({ stall: stall === true }) },
      ...(stall === true ? { pageFaults: {} } : {}),
      onInterrupt: (line, deliver) => {
        if (line === 'eventq' && this.held !== null) this.held.push(deliver);
        else deliver();
      },
    });
    this.machine.boot();
    this.device = new IommuDevice({
      ...{ name: '0000:00:01.0', ids: [FAULT_STREAM], groupKey: 'a', isPci: true },
      maxPasids: 2 ** 16,
    });
    this.machine.core.probeDevice(this.device, this.machine.driver);
    this.endpoint = new Endpoint({ smmu: this.machine.model, streamId: FAULT_STREAM });
  }

  /** Where requests without PASID go. */
  get domain(): IommuDomain {
    const domain = this.device.group?.domain;
    if (domain === null || domain === undefined)
      throw new MachineError('NOT_BOOTED', { what: 'no domain' });
    return domain;
  }

  /** EVENTQ_PROD: index with its wrap bit, and the overflow flag. */
  get prod(): { readonly index: number; readonly overflow: number } {
    const word = this.machine.model.registers.read32(REGISTER_OFFSET.EVENTQ_PROD);
    return { index: EVENTQ_PROD.get.WR([word, 0]), overflow: EVENTQ_PROD.get.OVFLG([word, 0]) };
  }

  /** A record of the ring. */
  eventAt(index: number): EventInMemory {
    const { memory, driver } = this.machine;
    const words = new Uint32Array(8);
    for (let i = 0; i < 8; i += 2) {
      words[i] = memory.load64(driver.evtq.base + index * 32 + i * 4);
      words[i + 1] = memory.hi;
    }
    const code = (words[0] as number) % 256;
    const fields: Record<string, number> = {};
    for (const [name, value] of Object.entries(EVENTS.get(code)?.decode(words).values ?? {}))
      if (typeof value === 'number') fields[name] = value;
    return { code, fields, address: { lo: words[4] as number, hi: words[5] as number } };
  }

  /** Lets the interrupts that waited come. */
  deliver(): void {
    const waiting = this.held ?? [];
    this.held = null;
    for (const deliver of waiting) deliver();
  }
}
