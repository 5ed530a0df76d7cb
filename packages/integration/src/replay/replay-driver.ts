import { hex, u64Of } from '@iommukit/bits';
import type { Capture, FtraceTrace, QemuTranslation, QemuUntranslated } from '@iommukit/captures';
import { type DmaDevice, dmaProt, type SgElement, sgElement } from '@iommukit/dma-api';
import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE, IotlbGather } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import type { Machine } from '../machine.ts';
import type { CheckTally } from './check-tally.ts';
import type { CommandList } from './command-lists.ts';
import { outcome } from './dump-checks.ts';
import { inRam, streamIdsOf } from './environment.ts';
import type { Allocation, DmaCall, Member, Operation } from './operation.ts';
import type { TranslationIndex } from './translation-index.ts';

const PAGE = 4096;
const DOORBELL_PROT = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;

interface Live {
  readonly domain: IommuDomain;
  readonly asid: number;
}

/** Runs the operations of a plan through the layers of a machine, and notes what has to be compared. */
export class ReplayDriver {
  /** CPU and context of the operation that runs now. */
  where: { cpu: number; context: number } = { cpu: 0, context: 0 };
  readonly #machine: Machine;
  readonly #capture: Capture;
  readonly #index: TranslationIndex | null;
  readonly #gather = new IotlbGather();
  readonly #devices = new Map<string, IommuDevice>();
  readonly #dmaDevices = new Map<string, DmaDevice>();
  /** Our domain behind the kernel's pointer of an IOVA domain. */
  readonly #domains = new Map<string, Live>();
  readonly #liveOf = new Map<IommuDomain, Live>();
  readonly #sgLists = new Map<DmaCall, readonly SgElement[]>();
  /** Allocations whose answer was compared. */
  readonly #iova: {
    readonly equal: boolean;
    readonly drifted: boolean;
    readonly text: () => string;
  }[] = [];
  readonly #drifted = new Set<IommuDomain>();
  #translated = 0;
  #differing: string[] = [];
  #mapsTranslated = 0;
  #mapsDiffering: string[] = [];
  readonly #counts = {
    maps: 0,
    unmaps: 0,
    attaches: 0,
    driftCauses: 0,
    translationsAfterMark: 0,
  };

  constructor(machine: Machine, capture: Capture, index: TranslationIndex | null) {
    this.#machine = machine;
    this.#capture = capture;
    this.#index = index;
  }

  /** True when QEMU's log is there to compare with. */
  get hasTranslations(): boolean {
    return this.#index !== null;
  }

  /** ASIDs as they follow from the order in which groups are set up, by stream id. */
  static asidOfStream(operations: readonly Operation[], capture: Capture): Map<number, number> {
    const asids = new Map<number, number>();
    const groups: number[] = [];
    for (const operation of operations) {
      if (operation.op !== 'attach') continue;
      for (const { device, group } of operation.members) {
        if (!groups.includes(group)) groups.push(group);
        for (const id of streamIdsOf(device, capture.bridges))
          asids.set(id, groups.indexOf(group) + 1);
      }
    }
    return asids;
  }

  /** Takes CPU, context and time of the trace's first event: the SMMU is probed there. */
  enterFirst(trace: FtraceTrace): void {
    const first = trace.events[0];
    if (first !== undefined) this.#enter(first);
  }

  execute(operation: Operation): void {
    this.#enter(operation);
    const { cmdq } = this.#machine.driver;
    this.#index?.untranslated(cmdq.issued, (op) => this.#pass(op));
    switch (operation.op) {
      case 'attach':
        this.#attach(operation.members);
        return;
      case 'init': {
        const device = this.#devices.get(operation.device);
        const domain = device?.group?.domain;
        if (device === undefined || domain === undefined || domain === null) return;
        this.#machine.dma.initDomain(domain, device);
        this.#domains.set(operation.iovad, this.#live(domain));
        return;
      }
      case 'reserve': {
        const live = this.#domains.get(operation.iovad);
        if (live !== undefined)
          this.#machine.dma.reserve(live.domain, operation.pfnLo, operation.pfnHi);
        return;
      }
      case 'alloc':
        this.#alloc(operation.alloc);
        return;
      case 'alloc-ret': {
        const { alloc, pfn } = operation;
        this.#iova.push({
          equal: alloc.ourPfn === pfn,
          drifted: false,
          text: () =>
            `${alloc.pages} pages for ${alloc.device}: ${hex(alloc.ourPfn)}, the kernel ${hex(pfn)}`,
        });
        return;
      }
      case 'map':
        this.#map(operation.alloc, operation.offset, operation.paddr, operation.size);
        return;
      case 'unmap':
        this.#unmap(operation.alloc, operation.size);
        return;
      case 'free': {
        const { alloc } = operation;
        const live = this.#domains.get(alloc.iovad);
        if (live !== undefined && alloc.ourPfn !== 0)
          this.#machine.dma.freeIova(live.domain, alloc.ourPfn * PAGE, alloc.pages * PAGE);
        return;
      }
      case 'call':
        this.#call(operation.call);
        return;
      case 'uncall':
        this.#uncall(operation.call);
        return;
      case 'mark':
        return;
    }
  }

  /** Runs the translations of mappings that are still live. */
  finish(): void {
    this.#index?.closeAll((op) => this.#translate(op));
  }

  reportIova(tally: CheckTally, feed: 'events' | 'calls'): void {
    for (const { equal, drifted, text } of this.#iova)
      if (!equal && feed === 'calls' && drifted) tally.explain('interrupt-free', 1);
      else tally.compare(equal ? undefined : text());
  }

  /**
   * Tallies the translations. Those of mappings that were never made are differences; in a run that stops early they lie after the stop,
   * and are counted as `translationsAfterMark`.
   */
  reportTranslations(
    tally: CheckTally,
    feed: 'events' | 'calls',
    until: 'idle' | 'busy' | 'end',
  ): void {
    if (feed === 'calls') {
      tally.equal += this.#mapsTranslated;
      for (const text of this.#mapsDiffering) tally.differ(text);
      return;
    }
    tally.equal += this.#translated;
    for (const text of this.#differing) tally.differ(text);
    const left = this.#index?.left ?? 0;
    if (until !== 'end') this.#counts.translationsAfterMark = left;
    else
      for (let i = 0; i < left; i++)
        tally.differ('a translation of QEMU that belongs to no mapping of ours');
  }

  /** The kernel's lists that stand in the same places as ours, context by context. */
  upTo(theirs: readonly CommandList[], ours: readonly CommandList[]): CommandList[] {
    const left = new Map<number, number>();
    for (const { context } of ours) left.set(context, (left.get(context) ?? 0) + 1);
    return theirs.filter(({ context }) => {
      const n = left.get(context) ?? 0;
      left.set(context, n - 1);
      return n > 0;
    });
  }

  counters(): Record<string, number> {
    const { model } = this.#machine;
    return {
      ...this.#counts,
      translations: this.#translated + this.#mapsTranslated,
      walks: model.counters.walks,
      staleUses: model.staleUseCount,
    };
  }

  #enter(at: { readonly cpu: number; readonly context: number; readonly tsUs: number }): void {
    const { platform } = this.#machine;
    this.where = { cpu: at.cpu, context: at.context };
    platform.cpu = at.cpu;
    if (at.tsUs > platform.clock.nowUs) platform.clock.advanceTo(at.tsUs);
  }

  #attach(members: readonly Member[]): void {
    const { core, driver } = this.#machine;
    const devices = members.map(({ device: name, group }) => {
      const ids = streamIdsOf(name, this.#capture.bridges);
      const device = new IommuDevice({ name, ids, groupKey: `group ${group}`, isPci: true });
      this.#devices.set(name, device);
      return device;
    });
    this.#counts.attaches += devices.length;
    core.probeDevices(devices, driver);
  }

  #live(domain: IommuDomain): Live {
    let live = this.#liveOf.get(domain);
    if (live === undefined) {
      // Paging domains get their ASIDs in order of group set-up, from 1.
      const asid = this.#machine.core.groups.findIndex((group) => group.domain === domain) + 1;
      live = { domain, asid };
      this.#liveOf.set(domain, live);
    }
    return live;
  }

  #alloc(alloc: Allocation): void {
    const live = this.#domains.get(alloc.iovad);
    if (live === undefined) return;
    const flush = alloc.flush ? 'flush' : 'no-flush';
    alloc.ourPfn = this.#machine.dma.allocPfn(live.domain, alloc.pages, alloc.limitPfn, flush);
  }

  #map(alloc: Allocation, offset: number, paddr: number, size: number): void {
    const live = this.#domains.get(alloc.iovad);
    if (live === undefined || alloc.ourPfn === 0) return;
    const iova = alloc.ourPfn * PAGE + offset;
    const prot = this.#prot(alloc, paddr);
    this.#counts.maps++;
    this.#machine.core.map(live.domain, iova, paddr, size, prot);
    this.#index?.mapped(live.asid, iova, size);
  }

  /** RAM without a direction belongs to the two-step API, or was cut off by the end of the trace; no check can tell. */
  #prot(alloc: Allocation, paddr: number): number {
    if (alloc.dir === null && !inRam(paddr)) return DOORBELL_PROT;
    return dmaProt(alloc.dir ?? 'BIDIRECTIONAL', undefined, 'coherent');
  }

  #unmap(alloc: Allocation | null, size: number): void {
    const live = alloc === null ? undefined : this.#domains.get(alloc.iovad);
    if (alloc === null || live === undefined) return;
    const iova = alloc.ourPfn * PAGE;
    this.#index?.closing(live.asid, iova, size, (op) => this.#translate(op));
    this.#counts.unmaps++;
    const gather = this.#gather;
    gather.init();
    this.#machine.core.unmapFast(live.domain, iova, size, gather);
    this.#machine.core.iotlbSync(live.domain, gather);
  }

  #translate(op: QemuTranslation): void {
    const { model } = this.#machine;
    const offset = op.iova % PAGE;
    const rw = op.perm >= 2 ? 1 : 0;
    if (
      op.iova <= Number.MAX_SAFE_INTEGER &&
      model.translateFast(op.sid, op.iova - offset, rw) + offset === op.pa
    ) {
      this.#translated++;
      return;
    }
    // Only a difference pays for its details.
    const address = { lo: op.iovaLo, hi: op.iovaHi };
    const result = model.translate({ streamId: op.sid, address, rw: rw === 1 ? 'write' : 'read' });
    if (result.outcome === 'ok' && result.paddr === op.pa) {
      this.#translated++;
      return;
    }
    this.#differing.push(
      `line ${op.line}: stream ${hex(op.sid)} ${hex(op.iova)}: ${outcome(result)}, QEMU ${hex(op.pa)}`,
    );
  }

  /** An access that QEMU did not translate is judged by the STE in force. */
  #pass(op: QemuUntranslated): void {
    const address = { lo: op.iovaLo, hi: op.iovaHi };
    const rw = op.isWrite ? 'write' : 'read';
    const result = this.#machine.model.translate({ streamId: op.sid, address, rw });
    const equal = op.op === 'By' ? result.outcome === 'bypass' : result.outcome === 'abort';
    if (equal) this.#translated++;
    else
      this.#differing.push(
        `line ${op.line}: stream ${hex(op.sid)}: ${outcome(result)}, QEMU ${op.op}`,
      );
  }

  #dmaDevice(name: string): DmaDevice | undefined {
    const known = this.#dmaDevices.get(name);
    if (known !== undefined) return known;
    const device = this.#devices.get(name);
    if (device === undefined) return undefined;
    const dev = this.#machine.dma.setupDevice(device, {
      dmaBits: 64,
      coherentDmaBits: 64,
      coherent: true,
      maxSegSize: 2 ** 32 - 1,
      pciWindows: this.#capture.pcieWindows.map(({ start, last }) => ({ start, end: last + 1 })),
    });
    this.#dmaDevices.set(name, dev);
    return dev;
  }

  #call(call: DmaCall): void {
    const dev = this.#dmaDevice(call.device);
    if (dev === undefined) return;
    const { dma } = this.#machine;
    const [first] = call.pieces;
    switch (call.kind) {
      case 'page':
        call.ourIova = dma.mapPage(dev, call.paddr, call.size, call.dir);
        break;
      case 'msi':
        call.ourIova = first === undefined ? -1 : dma.mapMsiPage(dev, first.paddr);
        break;
      case 'sg': {
        const list = call.pieces.map(({ paddr, size }) => sgElement(paddr, size));
        call.ourIova = dma.mapSg(dev, list, call.dir) > 0 ? (list[0]?.dmaAddress ?? -1) : -1;
        this.#sgLists.set(call, list);
        break;
      }
      case 'coherent': {
        const runs = call.pieces.map(({ paddr, size }) => ({ paddr, length: size }));
        const memory = dma.allocCoherent(dev, call.size, { alloc: () => runs, free: () => {} });
        call.ourIova = memory?.dmaAddress ?? -1;
        break;
      }
      case 'two-step':
        call.ourIova = this.#link(dev, call);
        break;
    }
    this.#compareCall(call, dev);
  }

  /** One IOVA range, then every piece into it (`dma_iova_try_alloc`, `dma_iova_link`): its address, or -1. */
  #link(dev: DmaDevice, call: DmaCall): number {
    const { dma, core } = this.#machine;
    const iova = dma.allocIova(dev, Math.max(call.asked, call.size));
    if (iova === 0) return -1;
    const prot = dmaProt(call.dir, undefined, 'coherent');
    let at = iova;
    for (const { paddr, size } of call.pieces) {
      if (core.map(dev.domain, at, paddr, size, prot) !== 0) return -1;
      at += size;
    }
    return iova;
  }

  #compareCall(call: DmaCall, dev: DmaDevice): void {
    if (call.drifts) {
      this.#drifted.add(dev.domain);
      this.#counts.driftCauses++;
    }
    const ours = call.ourIova - (call.ourIova % PAGE);
    this.#iova.push({
      equal: ours === call.kernelIova,
      drifted: this.#drifted.has(dev.domain),
      text: () =>
        `${call.kind} for ${call.device}: ${hex(ours)}, the kernel ${hex(call.kernelIova)}`,
    });
    const streamId = dev.device.info.ids[0] ?? 0;
    const rw = call.dir === 'TO_DEVICE' ? 'read' : 'write';
    let at = ours;
    for (const { paddr, size } of call.pieces) {
      const result = this.#machine.model.translate({ streamId, address: u64Of(at), rw });
      if (result.outcome === 'ok' && result.paddr === paddr) this.#mapsTranslated++;
      else
        this.#mapsDiffering.push(
          `${call.kind} ${hex(at)}: ${outcome(result)}, mapped ${hex(paddr)}`,
        );
      at += size;
    }
  }

  #uncall(call: DmaCall): void {
    const dev = this.#dmaDevice(call.device);
    if (dev === undefined || call.ourIova < 0) return;
    const { dma } = this.#machine;
    this.#counts.unmaps++;
    const list = this.#sgLists.get(call);
    if (list !== undefined) {
      dma.unmapSg(dev, list, call.dir);
      this.#sgLists.delete(call);
    } else if (call.kind === 'page') dma.unmapPage(dev, call.ourIova, call.size, call.dir);
    else dma.unmapRange(dev, call.ourIova, call.size);
  }
}
