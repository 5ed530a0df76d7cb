import type { IotlbGather, TableFrames } from '@iommukit/io-pgtable';
import {
  type DomainType,
  type IommuCore,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { ERRNO, type MemoryView, type MmioFrame } from '@iommukit/platform';
import type { ContextBank } from '@iommukit/sva-pasid';
import { type GatheredPages, GPU_PAGES, GpuDomain, type GpuDomainHost } from './gpu-domain.ts';
import { BANK, BANK_BYTES, BANKS, TLB } from './gpu-registers.ts';

/** What the driver is composed of. */
export interface GpuDriverParts {
  readonly core: IommuCore;
  /** Registers of each GPU; a device has the index of its own as its id. */
  readonly units: readonly MmioFrame[];
  readonly memory: MemoryView;
  readonly frames: TableFrames;
}

/** State of a device: its registers, and what bank 1 walks when no private address space is switched to. */
interface GpuState {
  readonly registers: MmioFrame;
  own: GpuDomain | null;
  switched: GpuDomain | null;
}

/** The driver of GPUs that translate by themselves: bank 0 belongs to the kernel, bank 1 to whose job runs. */
export class GpuDriver implements IommuOps, GpuDomainHost {
  readonly capabilities = { cacheCoherency: true, deferredFlush: false, noexec: true };
  readonly memory: MemoryView;
  readonly frames: TableFrames;
  readonly #core: IommuCore;
  readonly #units: readonly MmioFrame[];
  readonly #states = new Map<IommuDevice, GpuState>();
  readonly #domains = new Map<GpuDomain, IommuDomain>();
  readonly #freeAsids: number[] = [];
  #nextAsid = 1;

  constructor(parts: GpuDriverParts) {
    this.#core = parts.core;
    this.#units = parts.units;
    this.memory = parts.memory;
    this.frames = parts.frames;
  }

  probeDevice(device: IommuDevice): number {
    const registers = this.#units[device.info.ids[0] ?? -1];
    if (registers === undefined) return -ERRNO.ENODEV;
    const state: GpuState = { registers, own: null, switched: null };
    this.#states.set(device, state);
    device.priv = state;
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    const state = this.#states.get(device);
    if (state === undefined) return;
    for (let bank = 0; bank < BANKS; bank++) setBank(state.registers, bank, null);
    this.#states.delete(device);
    device.priv = null;
  }

  domainAlloc(type: DomainType, _device: IommuDevice): IommuDomain | number {
    if (type !== 'unmanaged' && type !== 'dma') return -ERRNO.EOPNOTSUPP;
    const asid = this.#freeAsids.pop() ?? this.#nextAsid++;
    const ops = GpuDomain.create(this, asid);
    if (typeof ops === 'number') {
      this.#freeAsids.push(asid);
      return ops;
    }
    const domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap: GPU_PAGES,
      apertureStart: 0,
      apertureEnd: 2 ** 32,
    });
    this.#domains.set(ops, domain);
    return domain;
  }

  getResvRegions(): readonly [] {
    return [];
  }

  /** The register by which a device's command stream chooses the tables of bank 1. */
  contextBank(device: IommuDevice, most: number): ContextBank {
    return {
      most,
      load: (domain) => {
        const state = this.#states.get(device);
        if (state === undefined) return -ERRNO.ENODEV;
        const ops = domain?.ops ?? null;
        if (ops !== null && !(ops instanceof GpuDomain)) return -ERRNO.EINVAL;
        state.switched = ops;
        setBank(state.registers, 1, ops ?? state.own);
        return 0;
      },
    };
  }

  attach(device: IommuDevice, domain: GpuDomain): number {
    const state = this.#states.get(device);
    if (state === undefined) return -ERRNO.EINVAL;
    state.own = domain;
    setBank(state.registers, 0, domain);
    if (state.switched === null) setBank(state.registers, 1, domain);
    return 0;
  }

  invalidate(asid: number): void {
    for (const unit of this.#units) {
      unit.write32(TLB.invalidateAsid, asid);
      unit.write32(TLB.sync, 0);
    }
  }

  gatherPages(domain: GpuDomain, gather: IotlbGather, run: GatheredPages): void {
    const whole = this.#domains.get(domain);
    if (whole !== undefined && !gather.queued)
      this.#core.gatherAddPages(whole, gather, run.iova, run.pgsize, run.count);
  }

  releaseAsid(asid: number): void {
    for (const ops of this.#domains.keys()) if (ops.asid === asid) this.#domains.delete(ops);
    this.#freeAsids.push(asid);
  }
}

function setBank(registers: MmioFrame, bank: number, domain: GpuDomain | null): void {
  const at = bank * BANK_BYTES;
  registers.write32(at + BANK.enable, 0);
  if (domain === null) return;
  registers.write32(at + BANK.ttbr, domain.table.registers.ttbr);
  registers.write32(at + BANK.asid, domain.asid);
  registers.write32(at + BANK.enable, 1);
}
