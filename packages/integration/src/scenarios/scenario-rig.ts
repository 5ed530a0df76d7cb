import type { LpaePageTable } from '@iommukit/io-pgtable';
import { type DomainOps, IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { type MemoryView, NonCoherentView, observeView } from '@iommukit/platform';
import { CACHE_EVERYTHING, type CachePolicy, type IdrWords } from '@iommukit/smmu-v3-model';
import { forwardingView } from '../forwarding-view.ts';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MachineError, MEMORY_OF_CAPTURES } from '../machine.ts';
import { CommandLog, noCommands } from './command-log.ts';
import { FrameWatch } from './frame-watch.ts';
import { Mapper, type MapperOptions, type Way } from './mapper.ts';
import { GRANULES, type GranuleName } from './setup.ts';
import { pagesOf, treeOf } from './table-image.ts';

const STREAM = 8;

/** What a rig is built with. */
export interface RigOptions {
  /** Absent: a coherent walker. */
  readonly mode?: 'coh' | 'nc';
  readonly granule?: GranuleName;
  /** Range invalidation; absent: present. */
  readonly ril?: boolean;
  /** The domain asks for `iotlbSyncMap`, which SMMUv3 does not. */
  readonly hook?: boolean;
  /** Absent: 7.3. */
  readonly kernel?: '7.2' | '7.3';
  /** The device is attached from outside. */
  readonly untrusted?: boolean;
  /** Absent: the adversary. */
  readonly policy?: Partial<CachePolicy>;
  /** Told of each store of the CPU to table memory, after it, and of cleans. */
  readonly observer?: {
    readonly onStore?: (pa: number, lo: number, hi: number) => void;
    readonly onClean?: (pa: number, bytes: number) => void;
  };
}

/** What a stretch of work cost; names as in the counting rules. */
export type Counts = {
  fmt: number;
  lvl: number;
  alloc: number;
  free: number;
  st: number;
  cmc: number;
  cml: number;
  add: number;
  hook: number;
  warn: number;
  VA: number;
  ASID: number;
  SYNC: number;
  cmd: number;
  fields: string;
};

const IDR0_COHACC = 0x10;
const IDR3_RIL = 0x400;
/** Output of 48 bits, and one granule each. */
const IDR5 = { '4K': 0x15, '16K': 0x25, '64K': 0x45 } as const;

/** Pages of one operation that the device touches: all of a small one, an even sample of a large one. */
const SAMPLE = 64;

/** One machine with one device and its strict DMA domain, the device's cache as bad as allowed, and a mirror of what was reported mapped. */
export class ScenarioRig {
  readonly machine: Machine;
  readonly device: IommuDevice;
  readonly domain: IommuDomain;
  readonly table: LpaePageTable<unknown>;
  readonly granule: number;
  readonly log: CommandLog;
  readonly watch: FrameWatch;
  /** Where each granule shall translate to, by what the calls returned. */
  readonly mirror: Map<number, number> = new Map<number, number>();
  /** Operations that failed, with their errno. */
  readonly failed: { readonly errno: number; readonly name: string }[] = [];
  /** Broken invariants, each with what was seen. */
  readonly broken: string[] = [];
  /** Stores of the CPU into tables that existed before the operation; counted while a sweep watches. */
  liveStores = 0;
  /** The same since the start. */
  liveTotal = 0;
  hooks = 0;
  /** Work before the device is released, in this order. */
  readonly atEnd: (() => void)[] = [];
  readonly cpu: MemoryView;
  readonly #warmed = new Set<number>();
  #commands = noCommands();

  constructor(options: RigOptions = {}, watching: 'stores' | 'nothing' = 'nothing') {
    const { mode = 'coh', granule = '4K', observer } = options;
    let cpu: MemoryView | undefined;
    let frameWatch: FrameWatch | undefined;
    const observed = (view: MemoryView): MemoryView => {
      if (observer === undefined && watching === 'nothing') return view;
      return observeView(view, {
        onStore: (pa, lo, hi) => {
          if (frameWatch?.holds(pa) !== true) return;
          if (!frameWatch.fresh.has(pa - (pa % 4096))) {
            this.liveStores++;
            this.liveTotal++;
          }
          observer?.onStore?.(pa, lo, hi);
        },
        onClean: (pa, bytes) => {
          if (frameWatch?.holds(pa) === true) observer?.onClean?.(pa, bytes);
        },
      });
    };
    this.machine = new Machine({
      idr: idrOf(options),
      profile: kernelProfile(options.kernel ?? '7.3'),
      cpus: 1,
      memory: MEMORY_OF_CAPTURES,
      policy: options.policy ?? CACHE_EVERYTHING,
      views: {
        cpu: (memory) => {
          cpu = observed(mode === 'nc' ? new NonCoherentView(memory) : memory);
          return cpu;
        },
        device: (memory) => watchedLoads(memory, (pa) => frameWatch?.load(pa)),
      },
    });
    const { machine } = this;
    machine.boot();
    this.device = new IommuDevice({
      name: '0000:00:01.0',
      ids: [STREAM],
      groupKey: 'a',
      isPci: true,
      untrusted: options.untrusted === true,
    });
    machine.core.probeDevice(this.device, machine.driver);
    const domain = this.device.group?.domain;
    if (domain === null || domain === undefined || !hasTable(domain.ops))
      throw new MachineError('NOT_BOOTED', { what: 'no paging domain' });
    this.domain = domain;
    this.table = domain.ops.table;
    this.granule = GRANULES[granule].granule;
    this.cpu = cpu ?? machine.memory;
    if (options.hook === true)
      domain.ops.iotlbSyncMap = () => {
        this.hooks++;
        return 0;
      };
    this.watch = new FrameWatch(machine.memory, machine.frames);
    frameWatch = this.watch;
    this.log = new CommandLog(machine.memory, machine.driver.cmdq);
  }

  /** The operations of a way, on this rig's domain. */
  by(way: Way, options: MapperOptions = {}): Mapper {
    return new Mapper(this, way, options);
  }

  /** Counts what `work` does. */
  count(work: () => void): Counts {
    this.log.read(this.#commands);
    const commands = noCommands();
    this.#commands = commands;
    const before = { ...this.table.counters };
    const { warnings } = this.table;
    const { hooks } = this;
    work();
    this.log.read(commands);
    this.#commands = noCommands();
    const c = this.table.counters;
    const { VA, ASID, SYNC, CFGI, other, fields } = commands;
    return {
      fmt: c.formatCalls - before.formatCalls,
      lvl: c.levels - before.levels,
      alloc: c.tablesAllocated - before.tablesAllocated,
      free: c.tablesFreed - before.tablesFreed,
      st: c.stores - before.stores,
      cmc: c.cleanCalls - before.cleanCalls,
      cml: c.cleanLines - before.cleanLines,
      add: c.tlbAddPages - before.tlbAddPages,
      hook: this.hooks - hooks,
      warn: this.table.warnings - warnings,
      VA,
      ASID,
      SYNC,
      cmd: VA + ASID + SYNC + CFGI + other,
      fields: Object.entries(fields)
        .map(([text, n]) => `${n}x ${text}`)
        .join(', '),
    };
  }

  /** Commands go on to be counted after this: the ring need not hold all of a long run. */
  settleCommands(): void {
    this.log.read(this.#commands);
  }

  /** An operation begins: what it allocates counts as fresh, what it stores elsewhere as live. */
  begin(): void {
    this.watch.fresh.clear();
    this.liveStores = 0;
  }

  /** One device access of a page: its physical address, or -1. */
  access(iova: number): number {
    return this.machine.model.translateFast(STREAM, iova, 0);
  }

  /** The same for a write. */
  writes(iova: number): number {
    return this.machine.model.translateFast(STREAM, iova, 1);
  }

  /** The device reads pages of [iova, iova + bytes), so that its caches hold them. */
  warm(iova: number, bytes: number): void {
    for (const at of this.#sample(iova, bytes)) {
      this.#warmed.add(at);
      this.#expectAccess(at);
    }
  }

  /** The same for given pages. */
  warmPages(pages: Iterable<number>): void {
    for (const at of pages) {
      this.#warmed.add(at);
      this.#expectAccess(at);
    }
  }

  /** Does `work` with a device that reads the second page of each `step` bytes of a range, which nobody warmed, at each freed table. */
  readAtFrees<T>(range: { iova: number; bytes: number; step: number }, work: () => T): T {
    const { iova, bytes, step } = range;
    this.watch.onFree = () => {
      for (let at = iova; at < iova + bytes; at += step) this.access(at + this.granule);
    };
    try {
      return work();
    } finally {
      this.watch.onFree = () => {};
    }
  }

  /** The device reads pages of a range again, and the neighbours: each shall be what the mirror says. Nothing may be pending. */
  look(iova: number, bytes: number): void {
    for (const at of this.#sample(iova, bytes)) this.#expectAccess(at);
    for (const at of [iova - this.granule, iova + bytes])
      if (at >= 0 && at < 2 ** 48) this.#expectAccess(at);
  }

  #expectAccess(at: number): void {
    const got = this.access(at);
    const expected = this.mirror.get(at) ?? -1;
    if (got !== expected)
      this.#break(
        `the device reads ${at.toString(16)} at ${got.toString(16)}, expected ${expected.toString(16)}`,
      );
  }

  *#sample(iova: number, bytes: number): Iterable<number> {
    const pages = bytes / this.granule;
    const step = Math.max(1, Math.floor(pages / SAMPLE));
    for (let i = 0; i < pages - 1; i += step) yield iova + i * this.granule;
    if (pages > 0) yield iova + (pages - 1) * this.granule;
  }

  /** Whole state: tables against the mirror, every page that the device ever read, reads of free frames. Nothing may be pending. */
  audit(): void {
    const pages = pagesOf(this.machine.memory, this.table);
    let differ = pages.size === this.mirror.size ? 0 : 1;
    for (const [iova, paddr] of this.mirror) if (pages.get(iova) !== paddr) differ++;
    if (differ > 0)
      this.#break(
        `tables map ${pages.size} pages, reported were ${this.mirror.size}; ${differ} differ`,
      );
    for (const at of this.#warmed) this.#expectAccess(at);
    if (this.watch.readsOfFree > 0)
      this.#break(`the SMMU read ${this.watch.readsOfFree} words of free frames`);
  }

  /** Releases the device, and with it the domain. */
  end(): void {
    const { core, frames, model } = this.machine;
    try {
      for (const work of this.atEnd) work();
      core.releaseDevice(this.device);
    } catch (error) {
      this.#break(`release: ${String(error)}`);
      return;
    }
    if (frames.used !== 0) this.#break(`${frames.used} frames leak`);
    if (model.tlbSize !== 0) this.#break(`${model.tlbSize} translations outlive the domain`);
  }

  /** Stale entries that were used, by class. */
  stale(): { missing: number; pending: number; race: number } {
    const seen = { missing: 0, pending: 0, race: 0 };
    for (const { class: kind } of this.machine.model.staleUses) seen[kind]++;
    return seen;
  }

  /** The tree as the CPU has it, for comparison with another rig's: software marks need not be clean. */
  tree(): string {
    return treeOf(this.cpu, this.table);
  }

  #break(text: string): void {
    if (this.broken.length < 8) this.broken.push(text);
  }

  /** Notes a broken invariant. */
  fault(text: string): void {
    this.#break(text);
  }
}

/** ID words of QEMU's SMMUv3 but for what the options choose. */
function idrOf({ mode = 'coh', granule = '4K', ril = true }: RigOptions): IdrWords {
  return {
    IDR0: 0x0d44101b - (mode === 'nc' ? IDR0_COHACC : 0),
    IDR1: 0x02730010,
    IDR3: 0x1414 - (ril ? 0 : IDR3_RIL),
    IDR5: IDR5[granule],
    AIDR: 1,
  };
}

/** A view whose every load is reported first: none goes past it by way of a block of lanes. */
function watchedLoads(memory: MemoryView, onLoad: (pa: number) => void): MemoryView {
  return forwardingView(memory, {
    load64: (pa) => {
      onLoad(pa);
      return memory.load64(pa);
    },
    lanes: () => undefined,
    blockBytes: 4096,
    block: () => undefined,
  });
}

function hasTable(ops: DomainOps): ops is DomainOps & { readonly table: LpaePageTable<unknown> } {
  return 'table' in ops;
}
