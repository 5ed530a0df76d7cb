import type { SgRun } from '@iommukit/iommu-core';
import {
  type CoherentMemory,
  DMA_PROFILES,
  DmaDebug,
  type DmaDevice,
  type DmaDirection,
  DmaIovaState,
  type PageProvider,
  type SgElement,
  sgElement,
} from '../src/index.ts';
import { LAYOUT, pattern, RealMachine, type RealOptions } from './real-machine.lanes.ts';

const ARENA = 0x1_0000;
const ARENAS = 400;

/** One step of a random run; what does not apply is skipped. */
export interface Action {
  readonly op:
    | 'map'
    | 'map-handle'
    | 'map-sg'
    | 'map-sg-handle'
    | 'two-step'
    | 'coherent'
    | 'read'
    | 'write'
    | 'to-cpu'
    | 'cpu-write'
    | 'to-device'
    | 'part'
    | 'unmap'
    | 'time'
    | 'lazy';
  readonly dev: number;
  readonly cpu: number;
  readonly dir: DmaDirection;
  readonly offset: number;
  readonly size: number;
  readonly count: number;
  readonly pick: number;
}

/** A run of bytes that is the same for the device and for the CPU. */
interface Part {
  readonly paddr: number;
  readonly dmaAddr: number;
  readonly size: number;
}

interface Mapping {
  readonly dev: DmaDevice;
  readonly dir: DmaDirection;
  readonly parts: readonly Part[];
  /** The plain twin: what the bytes are, whoever looks. */
  readonly twin: Uint8Array[];
  readonly arenas: readonly number[];
  owner: 'device' | 'cpu' | 'both';
  readonly name: string;
  toCpu(): void;
  toDevice(): void;
  unmap(): void;
}

/** Who may do what: the owner's bytes are his, and a device writes only where it may. */
function applies(op: Action['op'], { owner, dir, name }: Mapping): boolean {
  switch (op) {
    case 'read':
      return owner !== 'cpu';
    case 'write':
      return owner !== 'cpu' && dir !== 'TO_DEVICE';
    case 'to-cpu':
      return owner === 'device';
    case 'cpu-write':
      return owner === 'both' || (owner === 'cpu' && dir !== 'FROM_DEVICE');
    case 'to-device':
      return owner === 'cpu';
    case 'part':
      return owner === 'device' && name === 'phys';
    default:
      return true;
  }
}

/** Real mappings of several devices beside a twin that is nothing but their bytes. */
export class TwinWorld {
  readonly machine: RealMachine;
  readonly devices: readonly DmaDevice[];
  readonly live: Mapping[] = [];
  /** Watches for what drivers do wrong; nothing is. */
  readonly debug: DmaDebug;
  /** Steps that did something, by name. */
  readonly done = new Map<string, number>();
  /** Ends inside a granule may go through slots. */
  readonly #bounces: boolean;
  readonly #free: number[] = Array.from(
    { length: ARENAS },
    (_, i) => LAYOUT.ram + (ARENAS - 1 - i) * ARENA,
  );
  #seed = 0;

  constructor(options: RealOptions) {
    this.debug = new DmaDebug({
      profile: DMA_PROFILES['7.3'],
      errors: 'all',
      kmallocBounces: options.api?.kmalloc !== undefined,
    });
    this.machine = new RealMachine({ ...options, api: { ...options.api, debug: this.debug } });
    this.#bounces = options.untrusted === true || options.api?.kmalloc !== undefined;
    // The first two cannot be told apart by the IOMMU and share a domain.
    this.devices = [
      this.machine.device({ minAlignMask: 0xfff }, 'd0', 'shared'),
      this.machine.device({ segBoundary: 0x1_0000 }, 'd1', 'shared'),
      this.machine.device({ minAlignMask: 0x1ff, maxSegSize: 0x2000 }, 'd2'),
    ];
  }

  run(action: Action): void {
    this.machine.platform.cpu = action.cpu;
    const fit = this.live.filter((mapping) => applies(action.op, mapping));
    const one = fit[action.pick % Math.max(1, fit.length)];
    // Meanwhile a cache may look where it likes.
    const other = this.live[action.pick % Math.max(1, this.live.length)];
    if (action.offset % 2 === 0 && other?.owner === 'device') this.#prefetch(other);
    const did = this.#fresh(action) || (one !== undefined && this.#step(action, one));
    if (did) this.done.set(action.op, (this.done.get(action.op) ?? 0) + 1);
  }

  #fresh(action: Action): boolean {
    const dev = this.devices[action.dev] as DmaDevice;
    if (action.op === 'time') {
      this.machine.platform.clock.advance(action.size);
      return true;
    }
    if (action.op === 'lazy') {
      const { dma, core } = this.machine;
      const group = dev.device.group;
      if (group !== null && dev.domain.type === 'dma')
        core.setGroupType(group, 'dma-fq', (domain) => dma.initFlushQueue(domain));
      return true;
    }
    if (action.op === 'map') return this.#mapPhys(dev, action);
    if (action.op === 'map-handle') return this.#mapHandle(dev, action);
    if (action.op === 'map-sg') return this.#mapSg(dev, action);
    if (action.op === 'map-sg-handle') return this.#mapSgHandle(dev, action);
    if (action.op === 'two-step') return this.#twoStep(dev, action);
    if (action.op === 'coherent') return this.#coherent(dev, action);
    return false;
  }

  /** A buffer of its own with fresh bytes, written by the CPU. */
  #buffer(offset: number, size: number): { paddr: number; arena: number } {
    const arena = this.#free.pop();
    if (arena === undefined) throw new Error('out of arenas');
    this.machine.cpuWrite(arena + offset, pattern(++this.#seed, size));
    return { paddr: arena + offset, arena };
  }

  #add(mapping: Omit<Mapping, 'twin' | 'owner'>, owner: Mapping['owner'] = 'device'): true {
    const twin = mapping.parts.map(({ paddr, size }) => this.machine.cpuRead(paddr, size));
    this.live.push({ ...mapping, twin, owner });
    return true;
  }

  #mapPhys(dev: DmaDevice, { offset, size, dir }: Action): boolean {
    const { dma } = this.machine;
    const { paddr, arena } = this.#buffer(offset, size);
    const dmaAddr = dma.mapPhys(dev, paddr, size, dir);
    if (dma.mappingError(dev, dmaAddr)) throw new Error('mapPhys failed');
    return this.#add({
      ...{ name: 'phys', dev, dir, parts: [{ paddr, dmaAddr, size }], arenas: [arena] },
      toCpu: () => dma.syncForCpu(dev, dmaAddr, size, dir),
      toDevice: () => dma.syncForDevice(dev, dmaAddr, size, dir),
      unmap: () => dma.unmapPhys(dev, dmaAddr, size, dir),
    });
  }

  #mapHandle(dev: DmaDevice, { offset, size, dir }: Action): boolean {
    const { dma } = this.machine;
    const { paddr, arena } = this.#buffer(offset, size);
    const handle = dma.mapPhysHandle(dev, paddr, size, dir);
    if (handle === null) throw new Error('mapPhysHandle failed');
    const { dmaAddr } = handle;
    return this.#add({
      ...{ name: 'handle', dev, dir, parts: [{ paddr, dmaAddr, size }], arenas: [arena] },
      toCpu: () => dma.syncHandleForCpu(dev, handle),
      toDevice: () => dma.syncHandleForDevice(dev, handle),
      unmap: () => dma.unmapHandle(dev, handle),
    });
  }

  /** Elements of growing offset, each in an arena of its own. */
  #list({ offset, size, count }: Action): { sg: SgElement[]; arenas: number[] } {
    const arenas: number[] = [];
    const sg = Array.from({ length: count }, (_, i) => {
      const whole = (offset + i) % 3 === 0;
      const start = whole ? 0 : (offset + i * 0x333) % 4096;
      const length = whole ? 4096 * (1 + (i % 2)) : 1 + ((size * (i + 1)) % 6000);
      const { paddr, arena } = this.#buffer(start, length);
      arenas.push(arena);
      return sgElement(paddr, length);
    });
    return { sg, arenas };
  }

  /** Where the device finds the bytes of each element: segments hold them one after the other. */
  #parts(sg: readonly SgElement[], nents: number): Part[] {
    const parts: Part[] = [];
    let segment = 0;
    let used = 0;
    for (const { paddr, length } of sg)
      for (let done = 0; done < length; ) {
        const out = sg[segment] as SgElement;
        if (segment >= nents) throw new Error('segments too short');
        const size = Math.min(length - done, out.dmaLength - used);
        parts.push({ paddr: paddr + done, dmaAddr: out.dmaAddress + used, size });
        done += size;
        used += size;
        if (used === out.dmaLength) {
          segment++;
          used = 0;
        }
      }
    return parts;
  }

  #mapSg(dev: DmaDevice, action: Action): boolean {
    const { dma } = this.machine;
    const { dir } = action;
    const { sg, arenas } = this.#list(action);
    const nents = dma.mapSg(dev, sg, dir);
    if (nents <= 0) throw new Error(`mapSg: ${nents}`);
    return this.#add({
      ...{ name: 'sg', dev, dir, parts: this.#parts(sg, nents), arenas },
      toCpu: () => dma.syncSgForCpu(dev, sg, dir),
      toDevice: () => dma.syncSgForDevice(dev, sg, dir),
      unmap: () => dma.unmapSg(dev, sg, dir),
    });
  }

  #mapSgHandle(dev: DmaDevice, action: Action): boolean {
    const { dma } = this.machine;
    const { sg, arenas } = this.#list(action);
    const list = dma.mapSgHandle(dev, sg, action.dir);
    if (typeof list === 'number') throw new Error(`mapSgHandle: ${list}`);
    return this.#add({
      ...{ name: 'sg handle', dev, dir: action.dir, parts: this.#parts(sg, list.nents), arenas },
      toCpu: () => dma.syncSgHandleForCpu(dev, list),
      toDevice: () => dma.syncSgHandleForDevice(dev, list),
      unmap: () => dma.unmapSgHandle(dev, list),
    });
  }

  #twoStep(dev: DmaDevice, { offset, size, count, dir, pick }: Action): boolean {
    const { dma } = this.machine;
    // The ends of a bounced range need an address that keeps its place in the page.
    const aligned = this.#bounces && dev.minAlignMask !== 0xfff;
    const head = aligned ? 0 : offset;
    const pieces = Array.from({ length: count }, (_, i) => {
      const start = i === 0 ? head : 0;
      const last = i === count - 1;
      const length = last && !aligned ? 1 + (size % (8192 - start)) : 8192 - start;
      return { ...this.#buffer(start, length), size: length };
    });
    const state = new DmaIovaState();
    const total = pieces.reduce((sum, piece) => sum + piece.size, 0);
    const first = pieces[0]?.paddr ?? 0;
    if (!dma.iovaTryAlloc(dev, state, first, total)) throw new Error('iovaTryAlloc failed');
    let at = 0;
    const parts = pieces.map((piece): Part => {
      const errno = dma.iovaLink(dev, state, {
        ...{ paddr: piece.paddr, offset: at, size: piece.size, dir },
      });
      if (errno !== 0) throw new Error(`iovaLink: ${errno}`);
      const part = { paddr: piece.paddr, dmaAddr: state.addr + at, size: piece.size };
      at += piece.size;
      return part;
    });
    if (dma.iovaSync(dev, state, 0, total) !== 0) throw new Error('iovaSync failed');
    const each = (work: (part: Part) => void) => {
      for (const part of parts) work(part);
    };
    return this.#add({
      ...{ name: 'two-step', dev, dir, parts, arenas: pieces.map(({ arena }) => arena) },
      // A sync of one call stays inside what is physically contiguous.
      toCpu: () => each((part) => this.#granules(part, (a, n) => dma.syncForCpu(dev, a, n, dir))),
      toDevice: () =>
        each((part) => this.#granules(part, (a, n) => dma.syncForDevice(dev, a, n, dir))),
      unmap: () => {
        if (pick % 2 === 0) dma.iovaDestroy(dev, state, { mapped: total, dir });
        else {
          dma.iovaUnlink(dev, state, { offset: 0, size: total, dir });
          dma.iovaFree(dev, state);
        }
      },
    });
  }

  /** Syncs of two-step ranges, which the kernel's debugging does not know: each is reported. */
  #untracked = 0;

  #granules({ dmaAddr, size }: Part, work: (dmaAddr: number, size: number) => void): void {
    for (let at = dmaAddr; at < dmaAddr + size; ) {
      const length = Math.min(dmaAddr + size - at, 4096 - (at % 4096));
      work(at, length);
      this.#untracked++;
      at += length;
    }
  }

  #coherent(dev: DmaDevice, { size, pick }: Action): boolean {
    const { dma, frames, memory } = this.machine;
    const pages: PageProvider = {
      alloc: (bytes) => {
        const unit = pick % 2 === 0 ? 4096 : bytes;
        const runs: SgRun[] = [];
        for (let done = 0; done < bytes; done += unit) {
          const paddr = frames.alloc(unit);
          memory.zero(paddr, unit);
          runs.push({ paddr, length: unit });
        }
        return runs;
      },
      free: (runs) => {
        for (const { paddr, length } of runs) frames.free(paddr, length);
      },
    };
    const ring: CoherentMemory | null = dma.allocCoherent(dev, size, pages);
    if (ring === null) throw new Error('allocCoherent failed');
    let at = 0;
    const parts = ring.runs.map(({ paddr, length }) => {
      const part = { paddr, dmaAddr: ring.dmaAddress + at, size: length };
      at += length;
      return part;
    });
    return this.#add(
      {
        ...{ name: 'coherent', dev, dir: 'BIDIRECTIONAL', parts, arenas: [] },
        toCpu() {},
        toDevice() {},
        unmap: () => dma.freeCoherent(dev, ring, pages),
      },
      'both',
    );
  }

  #step(action: Action, one: Mapping): boolean {
    const { op, offset, size } = action;
    const k = offset % one.parts.length;
    const part = one.parts[k] as Part;
    const twin = one.twin[k] as Uint8Array;
    const start = offset % part.size;
    const count = Math.min(part.size - start, 1 + (size % 700));
    switch (op) {
      case 'read':
        this.#compareDevice(one);
        return true;
      case 'write':
        twin.set(pattern(++this.#seed, count), start);
        this.machine.deviceWrite(one.dev, part.dmaAddr + start, twin.slice(start, start + count));
        return true;
      case 'to-cpu':
        one.toCpu();
        one.owner = 'cpu';
        this.#compareCpu(one);
        return true;
      case 'cpu-write':
        twin.set(pattern(++this.#seed, count), start);
        this.#cpuWrite(one, part.paddr + start, twin.slice(start, start + count));
        return true;
      case 'to-device':
        one.toDevice();
        one.owner = 'device';
        this.#compareDevice(one);
        return true;
      case 'part':
        this.#syncPart(one, start, count);
        return true;
      case 'unmap':
        this.#unmap(one);
        return true;
      default:
        return false;
    }
  }

  /** A part goes to the CPU and back while the device keeps still. */
  #syncPart(one: Mapping, start: number, count: number): void {
    const { dma } = this.machine;
    const { dev, dir } = one;
    const part = one.parts[0] as Part;
    const twin = one.twin[0] as Uint8Array;
    dma.syncForCpu(dev, part.dmaAddr + start, count, dir);
    const seen = this.machine.cpuRead(part.paddr + start, count);
    this.#equal(seen, twin.slice(start, start + count), `${one.name} part, CPU`);
    if (dir !== 'FROM_DEVICE') {
      twin.set(pattern(++this.#seed, count), start);
      this.machine.cpuWrite(part.paddr + start, twin.slice(start, start + count));
    }
    dma.syncForDevice(dev, part.dmaAddr + start, count, dir);
    this.#compareDevice(one);
  }

  #cpuWrite(one: Mapping, paddr: number, bytes: Uint8Array): void {
    if (one.owner !== 'both') this.machine.cpuWrite(paddr, bytes);
    // Coherent memory is mapped uncached for the CPU where the device does not snoop.
    else this.machine.rawWrite(paddr, bytes);
  }

  #compareDevice(one: Mapping): void {
    one.parts.forEach(({ dmaAddr, size }, i) => {
      const seen = this.machine.deviceRead(one.dev, dmaAddr, size);
      this.#equal(seen, one.twin[i] as Uint8Array, `${one.name} ${one.dir}, device`);
    });
  }

  #compareCpu(one: Mapping): void {
    one.parts.forEach(({ paddr, size }, i) => {
      const seen = this.machine.cpuRead(paddr, size);
      this.#equal(seen, one.twin[i] as Uint8Array, `${one.name} ${one.dir}, CPU`);
    });
  }

  #equal(seen: Uint8Array, want: Uint8Array, what: string): void {
    const at = seen.findIndex((byte, i) => byte !== want[i]);
    if (at >= 0) throw new Error(`${what}: byte ${at} is ${seen[at]}, not ${want[at]}`);
  }

  #prefetch({ dev, parts }: Mapping): void {
    for (const { paddr, dmaAddr, size } of parts) {
      this.machine.prefetch(paddr, size);
      this.machine.prefetch(this.machine.core.iovaToPhys(dev.domain, dmaAddr), size);
    }
  }

  #unmap(one: Mapping): void {
    const wasCpus = one.owner === 'cpu';
    if (one.owner === 'both') this.#compareDevice(one);
    // The prescribed order: what the CPU holds goes back to the device first.
    if (wasCpus) one.toDevice();
    one.unmap();
    this.live.splice(this.live.indexOf(one), 1);
    if (one.owner !== 'both') this.#compareCpu(one);
    this.#free.push(...one.arenas);
  }

  /** Unmaps everything: what is then still live anywhere. */
  end(): object {
    for (const one of [...this.live]) this.#unmap(one);
    const handles = this.machine.dma.handles.live;
    for (const dev of this.devices) this.machine.dma.releaseDevice(dev);
    const { warnings, printed } = this.machine;
    const reports = this.debug.reports.filter(({ rule }) => rule !== 'sync-unallocated');
    if (this.debug.countOf('sync-unallocated') !== this.#untracked)
      throw new Error(this.debug.reports.map(({ text }) => text).join('\n'));
    return {
      ...this.machine.teardown(this.devices),
      handles,
      warnings,
      printed,
      reports,
    };
  }
}
