import { OPCODE } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { Capture, FtraceTrace, QemuTranslation, QemuUntranslated } from '@iommukit/captures';
import { dmaProt, FlushQueue, type FlushQueueOptions } from '@iommukit/dma-api';
import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE, IotlbGather } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import type { Machine } from '../machine.ts';
import { CallDriver } from './call-driver.ts';
import type { CheckTally } from './check-tally.ts';
import type { CommandList } from './command-lists.ts';
import { outcome } from './dump-checks.ts';
import { inRam, streamIdsOf } from './environment.ts';
import { FreesCheck } from './frees-check.ts';
import { IovaAnswers } from './iova-answers.ts';
import type { Allocation, Member, Operation, UnmapStep } from './operation.ts';
import type { TranslationFeed } from './translation-index.ts';

const PAGE = 4096;
const DOORBELL_PROT = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;

interface Live {
  readonly domain: IommuDomain;
  readonly asid: number;
  /** Lazy mode: what decides here which ranges are free after a flush; the allocator gets them when the kernel's did. */
  queue: FlushQueue | null;
}

/** Runs the operations of a plan through the layers of a machine, and notes what has to be compared. */
export class ReplayDriver {
  /** CPU and context of the operation that runs now. */
  where: { cpu: number; context: number } = { cpu: 0, context: 0 };
  readonly #machine: Machine;
  readonly #capture: Capture;
  readonly #index: TranslationFeed | null;
  readonly #gather = new IotlbGather();
  readonly #devices = new Map<string, IommuDevice>();
  /** Our domain behind the kernel's pointer of an IOVA domain. */
  readonly #domains = new Map<string, Live>();
  readonly #frees = new FreesCheck();
  /** Table pages of unmaps that are not in their queue yet. */
  readonly #unqueued = new Map<UnmapStep, readonly number[]>();
  readonly #liveOf = new Map<IommuDomain, Live>();
  readonly #iova = new IovaAnswers();
  readonly #calls: CallDriver;
  #translated = 0;
  #differing: string[] = [];
  #flushes = 0;
  /** Uses of stale entries that a queued flush was going to end. */
  #pendingUses = 0;
  readonly #counts = {
    maps: 0,
    unmaps: 0,
    attaches: 0,
    translationsAfterMark: 0,
  };

  constructor(machine: Machine, capture: Capture, index: TranslationFeed | null) {
    this.#machine = machine;
    this.#capture = capture;
    this.#index = index;
    this.#calls = new CallDriver(machine, capture, this.#devices, this.#iova);
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
      case 'init':
        this.#init(operation.device, operation.iovad);
        return;
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
        this.#iova.add({
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
        this.#unmap(operation);
        return;
      case 'free':
        this.#free(operation.alloc, operation.pages);
        return;
      case 'flush':
        this.#flush(operation.iovad, operation.by);
        return;
      case 'call':
        this.#calls.call(operation.call);
        return;
      case 'uncall':
        this.#calls.uncall(operation.call);
        return;
      case 'mark':
        return;
    }
  }

  /** Runs the translations of mappings that are still live, and of those that no flush has ended. */
  finish(): void {
    this.#index?.closeAll((op) => this.#translate(op));
    for (const asid of this.#index?.waiting ?? [])
      this.#index?.flushing(asid, (op) => this.#translateWaiting(op));
  }

  /** A list of commands is issued. */
  issued(first: CommandList['first']): void {
    if (first[0] % 256 === OPCODE.TLBI_NH_ASID)
      this.#index?.flushed(Math.floor(first[1] / 2 ** 16));
  }

  /** Compares what our flush queues freed with what the kernel's did. */
  reportFrees(tally: CheckTally): void {
    this.#frees.report(tally);
  }

  reportIova(tally: CheckTally): void {
    this.#iova.report(tally);
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
      this.#calls.reportTranslations(tally);
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
      maps: this.#counts.maps,
      unmaps: this.#counts.unmaps + this.#calls.unmaps,
      attaches: this.#counts.attaches,
      driftCauses: this.#calls.driftCauses,
      translationsAfterMark: this.#counts.translationsAfterMark,
      translations: this.#translated + this.#calls.translated,
      walks: model.counters.walks,
      staleUses: model.staleUseCount - this.#pendingUses,
      ...(this.#calls.twoSteps > 0 ? { twoSteps: this.#calls.twoSteps } : {}),
      ...(this.#flushes > 0 ? { flushes: this.#flushes, pendingUses: this.#pendingUses } : {}),
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

  #init(name: string, iovad: string): void {
    const device = this.#devices.get(name);
    const domain = device?.group?.domain;
    if (device === undefined || domain === undefined || domain === null) return;
    const space = this.#machine.dma.initDomain(domain, device);
    const live = this.#live(domain);
    this.#domains.set(iovad, live);
    if (space.flushQueue !== null)
      live.queue = this.#flushQueue(iovad, live, space.flushQueueOptions);
  }

  #free(alloc: Allocation, pages: number): void {
    const live = this.#domains.get(alloc.iovad);
    if (live === undefined) return;
    if (live.queue !== null) this.#frees.theirs(alloc.iovad, alloc.kernelPfn, pages);
    if (alloc.ourPfn !== 0)
      this.#machine.dma.freeIova(live.domain, alloc.ourPfn * PAGE, alloc.pages * PAGE);
  }

  #live(domain: IommuDomain): Live {
    let live = this.#liveOf.get(domain);
    if (live === undefined) {
      // Paging domains get their ASIDs in order of group set-up, from 1.
      const asid = this.#machine.core.groups.findIndex((group) => group.domain === domain) + 1;
      live = { domain, asid, queue: null };
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
    const { core } = this.#machine;
    if (isTwoStep(alloc, paddr)) {
      core.mapNosync(live.domain, iova, paddr, size, prot);
      // The trace does not show dma_iova_sync; it follows the last piece.
      if (offset + size === alloc.pages * PAGE)
        core.syncMap(live.domain, alloc.ourPfn * PAGE, alloc.pages * PAGE);
    } else core.map(live.domain, iova, paddr, size, prot);
    this.#index?.mapped(live.asid, iova, size);
  }

  #prot(alloc: Allocation, paddr: number): number {
    if (alloc.dir === null && !isTwoStep(alloc, paddr)) return DOORBELL_PROT;
    return dmaProt(alloc.dir ?? 'BIDIRECTIONAL', undefined, 'coherent');
  }

  #unmap(unmap: UnmapStep): void {
    const { alloc, size } = unmap;
    const live = alloc === null ? undefined : this.#domains.get(alloc.iovad);
    if (alloc === null || live === undefined) return;
    const iova = alloc.ourPfn * PAGE;
    this.#index?.closing(live.asid, iova, size, (op) => this.#translate(op));
    this.#counts.unmaps++;
    const gather = this.#gather;
    gather.init();
    gather.queued = live.queue !== null;
    this.#machine.core.unmapFast(live.domain, iova, size, gather);
    if (live.queue === null) this.#machine.core.iotlbSync(live.domain, gather);
    else if (unmap.fillsRing) this.#unqueued.set(unmap, [...gather.freelist]);
    else live.queue.queue(alloc.ourPfn, size / PAGE, gather.freelist);
  }

  /** The timer of a queue, or the unmap that finds its ring full: then the queue must see that by itself. */
  #flush(iovad: string, by: UnmapStep | null): void {
    const queue = this.#domains.get(iovad)?.queue;
    if (by === null) queue?.expire();
    else if (by.alloc !== null) {
      queue?.queue(by.alloc.ourPfn, by.size / PAGE, this.#unqueued.get(by) ?? []);
      this.#unqueued.delete(by);
    }
  }

  #flushQueue(iovad: string, live: Live, options: FlushQueueOptions): FlushQueue {
    const { platform, core } = this.#machine;
    const { domain, asid } = live;
    return new FlushQueue({
      ...options,
      cpus: this.#capture.cpus,
      platform,
      timer: 'external',
      target: {
        flushAll: () => {
          this.#flushes++;
          this.#index?.flushing(asid, (op) => this.#translateWaiting(op));
          core.flushIotlbAll(domain);
        },
        freeIova: (pfn, pages) => this.#frees.ours(iovad, pfn, pages),
        putPages: (tables) => domain.ops.freeTables?.(tables),
      },
    });
  }

  /** A translation by what was cached of an unmapped page, before the flush that ends it. */
  #translateWaiting(op: QemuTranslation): void {
    const { model } = this.#machine;
    const before = model.staleUseCount;
    this.#translate(op);
    this.#pendingUses += model.staleUseCount - before;
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
}

/** RAM without a direction belongs to the two-step API, or was cut off by the end of the trace; no check can tell. */
function isTwoStep(alloc: Allocation, paddr: number): boolean {
  return alloc.dir === null && inRam(paddr);
}
