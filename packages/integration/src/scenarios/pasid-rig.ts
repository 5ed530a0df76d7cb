import { CD, CD_BYTES, L1CD, L1CD_BYTES, S1FMT, STE } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import type { LpaePageTable } from '@iommukit/io-pgtable';
import { type DefaultDomainType, IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { FrameAllocator, observeView } from '@iommukit/platform';
import { CACHE_EVERYTHING, type CachePolicy, Endpoint } from '@iommukit/smmu-v3-model';
import {
  type ContextOps,
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  type MmOps,
  type SvaDevice,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceOf,
  svaDeviceShutdown,
} from '@iommukit/sva-pasid';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MachineError, MEMORY_OF_CAPTURES } from '../machine.ts';
import { CommandTape, countTape, type TapeCommand, type TapeCounts } from './command-tape.ts';

/** First StreamID of the device. */
export const STREAM = 8;
/** CDs of one second-level table. */
const LEAF_CDS = 1024;
const ENTRY_LANES = 16;
const IDR0_CD2L = 0x8_0000;
const IDR0_ATS = 0x400;
const IDR1_SSIDSIZE = 0x40;
const COHERENT = { base: 0x6c00_0000, size: 0x400_0000 };

/** What a rig is built with; absent is what most rows have. */
export interface PasidRigOptions {
  /** Version; 7.3. */
  readonly kernel?: string;
  /** SubstreamID bits of SMMU and device; 10. */
  readonly ssidBits?: number;
  readonly cdTable?: 'linear' | 'two-level';
  readonly streams?: number;
  /** Devices of the group; 1. Only the first is used. */
  readonly devices?: 1 | 2;
  readonly defaultDomain?: DefaultDomainType;
  /** PASIDs, inclusive: [5, 8]; null: the device is not prepared. */
  readonly range?: readonly [number, number] | null;
  readonly mm?: MmOps;
  /** How the device comes to use an address space; by PASID. */
  readonly contexts?: ContextOps;
  readonly policy?: Partial<CachePolicy>;
  /** The device asks for translations and keeps them. */
  readonly ats?: true;
  /** Told of every store of the CPU, after it. */
  readonly onStore?: (pa: number) => void;
}

/** What an access came to: the physical address, or the event that refused it. */
export type Outcome = number | string;

/** One machine with one device that sends PASIDs, prepared for private ones, and the commands that its driver writes. */
export class PasidRig {
  readonly machine: Machine;
  readonly device: IommuDevice;
  /** What it does DMA with. */
  readonly endpoint: Endpoint;
  /** Where requests without PASID go. */
  readonly domain: IommuDomain;
  /** Where queues, stream table and CDs come from. */
  readonly coherent: FrameAllocator;
  /** Broken invariants, each with what was seen. */
  readonly broken: string[] = [];
  /** Commands of the last `count`, in order. */
  tape: readonly TapeCommand[] = [];
  readonly #tape: CommandTape;

  constructor(options: PasidRigOptions = {}) {
    const { ssidBits = 10, cdTable = 'linear', streams = 1, onStore } = options;
    const { range = [5, 8], mm, contexts } = options;
    this.coherent = new FrameAllocator(COHERENT);
    this.machine = new Machine({
      idr: {
        IDR0:
          0x0d44101b +
          (cdTable === 'two-level' ? IDR0_CD2L : 0) +
          (options.ats === true ? IDR0_ATS : 0),
        IDR1: 0x02730010 + ssidBits * IDR1_SSIDSIZE,
        IDR3: 0x1414,
        IDR5: 0x15,
        AIDR: 1,
      },
      profile: kernelProfile(options.kernel ?? '7.3'),
      cpus: 1,
      memory: MEMORY_OF_CAPTURES,
      coherent: this.coherent,
      policy: options.policy ?? CACHE_EVERYTHING,
      devices: {
        traitsOf: () => ({ ats: options.ats === true }),
        ats: {
          enable: () => this.endpoint.setAts('on'),
          disable: () => this.endpoint.setAts('off'),
        },
      },
      ...(onStore === undefined
        ? {}
        : { views: { cpu: (memory) => observeView(memory, { onStore }) } }),
    });
    const { machine } = this;
    this.endpoint = new Endpoint({ smmu: machine.model, streamId: STREAM });
    machine.boot();
    machine.core.setDefaultDomainType(options.defaultDomain ?? 'dma');
    const group = Array.from({ length: options.devices ?? 1 }, (_, n) => {
      const ids = Array.from({ length: streams }, (_id, i) => STREAM + n * streams + i);
      const name = `0000:00:0${n + 1}.0`;
      return new IommuDevice({ name, ids, groupKey: 'a', isPci: true, maxPasids: 2 ** ssidBits });
    });
    for (const device of group) machine.core.probeDevice(device, machine.driver);
    this.device = group[0] as IommuDevice;
    const domain = this.device.group?.domain;
    if (domain === null || domain === undefined)
      throw new MachineError('NOT_BOOTED', { what: 'no domain' });
    this.domain = domain;
    this.#tape = new CommandTape(machine.memory, machine.driver.cmdq);
    if (range === null) return;
    const [minPasid, maxPasid] = range;
    const errno = svaDeviceInit({
      core: machine.core,
      device: this.device,
      features: IOMMU_SVA_FEAT_PRIVATE,
      minPasid,
      maxPasid,
      ...(mm === undefined ? {} : { mm }),
      ...(contexts === undefined ? {} : { contexts }),
    });
    if (errno !== 0) throw new MachineError('NOT_BOOTED', { what: `svaDeviceInit: ${errno}` });
  }

  /** What the device was prepared with. */
  get sva(): SvaDevice {
    const sva = svaDeviceOf(this.device);
    if (sva === undefined) throw new MachineError('NOT_BOOTED', { what: 'not prepared' });
    return sva;
  }

  /** A private address space; throws when there is none. */
  alloc(): IoMm {
    const ioMm = svaAllocPasid(this.domain, this.device);
    if (typeof ioMm === 'number')
      throw new MachineError('NOT_BOOTED', { what: `svaAllocPasid: ${ioMm}` });
    return ioMm;
  }

  /** Counts the commands of `work`. */
  count(work: () => void): TapeCounts {
    this.#tape.read();
    work();
    this.tape = this.#tape.read();
    return countTape(this.tape);
  }

  /** One access of the device: without a PASID, or with one. */
  access(pasid: number | null, iova: number, rw: 'read' | 'write' = 'read'): Outcome {
    const ssid = pasid === null ? {} : { substreamId: pasid };
    const way = this.endpoint.access({ address: u64Of(iova), rw, ...ssid });
    if (way.via !== 'untranslated' && way.via !== 'translated') return way.via;
    const { result } = way;
    if (result.outcome === 'ok' || result.outcome === 'bypass') return result.paddr;
    return result.outcome === 'abort' ? result.reason : result.event.event;
  }

  /** Physical address of a CD as the STE in memory leads to it, or -1. */
  cdAddress(pasid: number): number {
    const ste = this.#words(this.machine.driver.strtab.entry(STREAM));
    const base = STE.get.S1ContextPtr(ste);
    if (base === 0 || pasid >= 2 ** STE.get.S1CDMax(ste)) return -1;
    if (STE.get.S1Fmt(ste) === S1FMT.LINEAR) return base + pasid * CD_BYTES;
    const words = this.#words(base + Math.floor(pasid / LEAF_CDS) * L1CD_BYTES, 2);
    if (L1CD.get.V(words) === 0) return -1;
    return L1CD.get.L2Ptr(words) + (pasid % LEAF_CDS) * CD_BYTES;
  }

  /** A CD as it stands in memory; all zero where there is none. */
  cd(pasid: number): Uint32Array {
    const at = this.cdAddress(pasid);
    return at < 0 ? new Uint32Array(ENTRY_LANES) : this.#words(at);
  }

  /** The ASID of a PASID's CD, 0 for an invalid one. */
  asid(pasid: number | null): number {
    const cd = this.cd(pasid ?? 0);
    return CD.get.V(cd) === 1 ? CD.get.ASID(cd) : 0;
  }

  /** PASIDs of a range whose CD is valid. */
  validCds(first = 1, last = 16): number {
    let valid = 0;
    for (let pasid = first; pasid <= last; pasid++) if (this.asid(pasid) !== 0) valid++;
    return valid;
  }

  /** What a failing or undone operation must leave as it was. */
  state(): string {
    const { machine, coherent } = this;
    const sva = svaDeviceOf(this.device);
    return [
      `ids ${sva?.pasids.used ?? 0}`,
      `frames ${machine.frames.used}`,
      `coherent ${coherent.used}`,
      `listed ${sva?.contexts.length ?? 0}`,
      `attached ${this.device.group?.pasids.size ?? 0}`,
      `valid ${this.validCds()}`,
      `CDs ${[5, 6, 7, 8, 1024].map((pasid) => this.cd(pasid).join(' ')).join(' ')}`,
    ].join(', ');
  }

  #words(at: number, lanes: number = ENTRY_LANES): Uint32Array {
    const { memory } = this.machine;
    const words = new Uint32Array(lanes);
    for (let i = 0; i < lanes; i += 2) {
      words[i] = memory.load64(at + i * 4);
      words[i + 1] = memory.hi;
    }
    return words;
  }

  /** Notes a broken invariant. */
  fault(text: string): void {
    if (this.broken.length < 8) this.broken.push(text);
  }

  /**
   * Takes everything down and says what was left or used too long. `race`: the row looks into the window between a store and the end of
   * its invalidation, where old and new are both allowed.
   */
  end(stale?: 'race'): readonly string[] {
    const { core, model, frames } = this.machine;
    svaDeviceShutdown(this.device);
    for (const device of [...(this.device.group?.devices ?? [])]) core.releaseDevice(device);
    if (frames.used !== 0) this.fault(`${frames.used} frames leak`);
    if (model.tlbSize !== 0) this.fault(`${model.tlbSize} translations outlive their domains`);
    for (const { kind, class: missed, substreamId, iova } of model.staleUses)
      if (missed === 'missing' || stale !== 'race')
        this.fault(
          `stale ${kind} used, ${missed}: PASID ${substreamId} iova ${iova?.toString(16)}`,
        );
    return this.broken;
  }
}

/** The page table of a domain of the driver. */
export function tableOf(domain: IommuDomain): LpaePageTable<unknown> {
  const { ops } = domain;
  if (!('table' in ops)) throw new MachineError('NOT_BOOTED', { what: 'no page table' });
  return ops.table as LpaePageTable<unknown>;
}
