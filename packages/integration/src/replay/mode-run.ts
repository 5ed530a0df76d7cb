import { hex } from '@iommukit/bits';
import { type DmaDevice, DmaDomain, ExposureMeter } from '@iommukit/dma-api';
import type { LpaePageTable } from '@iommukit/io-pgtable';
import { type DomainOps, IommuDevice } from '@iommukit/iommu-core';
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import type { KernelProfile } from '../kernel-profile.ts';
import { Machine, MEMORY_OF_CAPTURES } from '../machine.ts';
import { type MadeCall, ModeCalls } from './mode-calls.ts';
import { CommandKinds } from './mode-commands.ts';
import { type ModeCounts, type ModeLeaks, noPieces } from './mode-counts.ts';
import { ModeLedger } from './mode-ledger.ts';
import { type ModePolicy, modePolicy, type ReplayMode } from './mode-policy.ts';
import type { ModeSource } from './mode-source.ts';
import type { DmaCall, Member, Operation } from './operation.ts';

const PAGE = 4096;
/** PCI names as Linux prints them: such devices try 32-bit IOVAs first. */
const PCI_NAME = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

interface Live {
  readonly made: MadeCall;
  readonly dev: DmaDevice;
}

/** One machine that runs the calls of a source in one mode. */
export class ModeRun {
  readonly #source: ModeSource;
  readonly #policy: ModePolicy;
  readonly #machine: Machine;
  readonly #calls: ModeCalls;
  readonly #commands: CommandKinds;
  readonly #ledger: ModeLedger;
  readonly #exposure = new ExposureMeter();
  readonly #devices = new Map<string, IommuDevice>();
  readonly #dmaDevices = new Map<string, DmaDevice>();
  readonly #live = new Map<DmaCall, Live>();
  readonly #pieces = noPieces();
  /** Uses of stale entries by looks at what had just been unmapped. */
  #lookedUses = 0;
  readonly #counts = { requests: 0, failed: 0, unmaps: 0, asRecorded: 0 };

  constructor(source: ModeSource, mode: ReplayMode, profile: KernelProfile) {
    this.#source = source;
    const policy = modePolicy(mode);
    this.#policy = policy;
    const links = profile.dma.twoStepDestroy !== 'absent';
    this.#machine = new Machine({
      idr: source.idr,
      profile: policy.calls === 'linked' ? withLinks(profile) : profile,
      cpus: source.cpus,
      memory: MEMORY_OF_CAPTURES,
      // The worst that the architecture allows: a forgotten invalidation shows as a stale use.
      policy: CACHE_EVERYTHING,
      defaultDomainType: policy.queue === null ? 'dma' : 'dma-fq',
      flushQueue: { ...policy.queue, exposure: this.#exposure },
    });
    const { dma, dmaTrace, coreTrace } = this.#machine;
    this.#calls = new ModeCalls(dma, policy.calls, links ? 'links' : 'gathers');
    this.#ledger = new ModeLedger(dmaTrace, coreTrace);
    this.#enter(source.plan.operations[0]);
    this.#machine.boot();
    this.#commands = new CommandKinds(this.#machine.memory, this.#machine.driver.cmdq);
  }

  /** Runs one operation of the plan. */
  execute(operation: Operation): void {
    this.#enter(operation);
    if (operation.op === 'attach') this.#attach(operation.members);
    else if (operation.op === 'call') this.#make(operation.call);
    else if (operation.op === 'uncall') this.#undo(operation.call);
    this.#commands.read();
  }

  /** Lets the timers of the flush queues run out. */
  settle(): void {
    const { clock } = this.#machine.platform;
    clock.advanceTo(clock.nowUs + (this.#policy.queue?.timeoutUs ?? 0));
    this.#commands.read();
  }

  /** What was done so far. */
  counts(): ModeCounts {
    const { requests, failed, unmaps, asRecorded } = this.#counts;
    const { dma, driver, model } = this.#machine;
    const exposure = this.#exposure.report();
    const iova = { allocations: this.#ledger.allocations, nodesVisited: 0, fromCaches: 0 };
    const tables = { allocated: 0, freed: 0, formatCalls: 0, levels: 0 };
    const walks = { walks: 0, levels: 0, saved: dma.counters.walksSaved };
    let flushes = 0;
    for (const { iovad, flushQueue, domain } of this.#spaces()) {
      iova.nodesVisited += iovad.counters.nodesVisited;
      iova.fromCaches += iovad.counters.cacheAllocs;
      flushes += flushQueue?.state().flushFinish ?? 0;
      const { ops } = domain;
      if (!hasTable(ops)) continue;
      const { counters } = ops.table;
      tables.allocated += counters.tablesAllocated;
      tables.freed += counters.tablesFreed;
      tables.formatCalls += counters.formatCalls;
      tables.levels += counters.levels;
      walks.walks += counters.walks;
      walks.levels += counters.walkLevels;
    }
    const { differing, ...pieces } = this.#pieces;
    return {
      ...{ requests, failed, unmaps, iova, walks, tables, flushes },
      commands: driver.cmdq.issued,
      syncs: driver.cmdq.syncs,
      commandsByType: this.#commands.counts,
      exposure: {
        pages: exposure.pages,
        peakPages: exposure.peakPages,
        pageMilliseconds: exposure.pageMicroseconds / 1000,
        longestMilliseconds: exposure.longestUs / 1000,
      },
      translations: { ...pieces, examples: [...differing] },
      linked: this.#calls.linked,
      handles: this.#calls.handles,
      staleUses: model.staleUseCount - this.#lookedUses,
      iovasAsRecorded: asRecorded,
      warnings: this.#ledger.warnings,
    };
  }

  /** Undoes what the trace left mapped and releases every device: what remains. */
  release(): ModeLeaks {
    const machine = this.#machine;
    const stillMapped = this.#live.size;
    for (const { made } of this.#live.values()) made.undo();
    this.#live.clear();
    this.settle();
    // Doorbells belong to their domains.
    let doorbells = 0;
    for (const { msiPages } of this.#spaces()) doorbells += msiPages.length;
    const leaks = {
      iovaRanges: this.#ledger.liveRanges - doorbells,
      mappedBytes: this.#ledger.mappedBytes - doorbells * PAGE,
      handles: machine.dma.handles.live,
    };
    for (const { domain } of this.#spaces()) machine.dma.releaseDomain(domain);
    for (const device of this.#devices.values()) machine.core.releaseDevice(device);
    return {
      ...{ stillMapped, ...leaks },
      frames: machine.frames.used,
      cachedTranslations: machine.model.tlbSize,
    };
  }

  #enter(at: Operation | undefined): void {
    if (at === undefined) return;
    const { platform } = this.#machine;
    // Timers that are due run on the CPUs that started them.
    if (at.tsUs > platform.clock.nowUs) platform.clock.advanceTo(at.tsUs);
    platform.cpu = at.cpu;
  }

  #attach(members: readonly Member[]): void {
    const devices = members.map(({ device: name, group }) => {
      const device = new IommuDevice({
        name,
        ids: [...this.#source.streamIds(name)],
        groupKey: `group ${group}`,
        isPci: PCI_NAME.test(name),
      });
      this.#devices.set(name, device);
      return device;
    });
    const { core, driver } = this.#machine;
    core.probeDevices(devices, driver);
  }

  #make(call: DmaCall): void {
    const dev = this.#dmaDevice(call.device);
    if (dev === undefined) return;
    this.#counts.requests++;
    const made = this.#calls.make(call, dev);
    const start = made.iova - (made.iova % PAGE);
    if (made.iova < 0) this.#counts.failed++;
    else if (call.kind !== 'msi') this.#live.set(call, { made, dev });
    if (start === call.kernelIova) this.#counts.asRecorded++;
    let at = start;
    for (const { paddr, size } of call.pieces) {
      this.#compare(call, dev, { at, paddr, size, failed: made.iova < 0 });
      at += size;
    }
  }

  /** The device must find the first and the last page of a piece. */
  #compare(
    call: DmaCall,
    dev: DmaDevice,
    piece: {
      readonly at: number;
      readonly paddr: number;
      readonly size: number;
      readonly failed: boolean;
    },
  ): void {
    const { at, paddr, size, failed } = piece;
    const last = size - PAGE;
    const pieces = this.#pieces;
    pieces.compared++;
    if (!failed && this.#seen(call, dev, at) === paddr) {
      if (this.#seen(call, dev, at + last) === paddr + last) {
        pieces.equal++;
        return;
      }
    }
    if (pieces.differing.length < 5)
      pieces.differing.push(
        `${call.kind} for ${call.device}: ${hex(at)} is not at ${hex(paddr)}, ${hex(size)} bytes`,
      );
  }

  /** Where a page leads for the device: a physical address, or -1. */
  #seen(call: DmaCall, dev: DmaDevice, page: number): number {
    const streamId = dev.device.info.ids[0] ?? 0;
    return this.#machine.model.translateFast(streamId, page, call.dir === 'TO_DEVICE' ? 0 : 1);
  }

  #undo(call: DmaCall): void {
    const live = this.#live.get(call);
    if (live === undefined) return;
    const { made, dev } = live;
    this.#live.delete(call);
    this.#counts.unmaps++;
    made.undo();
    const { model } = this.#machine;
    const before = model.staleUseCount;
    const pieces = this.#pieces;
    let at = made.iova - (made.iova % PAGE);
    for (const { size } of call.pieces) {
      if (this.#seen(call, dev, at) >= 0) pieces.reachable++;
      at += size;
    }
    this.#lookedUses += model.staleUseCount - before;
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
      pciWindows: this.#source.pciWindows,
    });
    this.#dmaDevices.set(name, dev);
    return dev;
  }

  *#spaces(): Iterable<DmaDomain> {
    for (const { domain } of this.#machine.core.groups)
      if (domain?.dmaCookie instanceof DmaDomain) yield domain.dmaCookie;
  }
}

/** The same kernel with the two-step calls of 7.3, which free and invalidate at once. */
function withLinks(profile: KernelProfile): KernelProfile {
  return { ...profile, dma: { ...profile.dma, twoStepDestroy: 'synchronous' } };
}

function hasTable(ops: DomainOps): ops is DomainOps & { readonly table: LpaePageTable<unknown> } {
  return 'table' in ops;
}
