/* Private address spaces of one device, each under a PASID: allocated, mapped, used, unmapped, freed. */
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceOf,
  svaDeviceShutdown,
  svaFreePasid,
  svaMap,
  svaMapSg,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from '@iommukit/sva-pasid';
import { MachineError } from '../machine.ts';
import { PASID_DEVICE, type SoakDevice, type SoakMachine } from './soak-machine.ts';
import type { SoakOperation } from './soak-operation.ts';
import { SoakSpace } from './soak-space.ts';
import { wordOf } from './soak-streaming.ts';

const PAGE = 4096;
const PROT = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;
/** PASIDs for private spaces: one more than there are slots would be free. */
const FIRST = 512;
const SPACES = 4;
/** Places for mappings in each; across two tables of leaves. */
const PLACES = 8;
const STRIDE = 0x4_0000;
const ORIGIN = 0x3ff8_0000;

interface PrivateSpace {
  readonly ioMm: IoMm;
  readonly space: SoakSpace;
  /** Frames by place, in order. */
  readonly mapped: Map<number, readonly number[]>;
}

/** The private address spaces of a soak. */
export class SoakPrivate {
  readonly #on: SoakMachine;
  readonly #device: SoakDevice;
  readonly #live = new Map<number, PrivateSpace>();

  constructor(on: SoakMachine) {
    this.#on = on;
    this.#device = on.device(PASID_DEVICE);
    const errno = svaDeviceInit({
      core: on.machine.core,
      device: this.#device.device,
      features: IOMMU_SVA_FEAT_PRIVATE,
      minPasid: FIRST,
      maxPasid: FIRST + SPACES - 1,
    });
    if (errno !== 0) throw new MachineError('NOT_BOOTED', { what: `svaDeviceInit: ${errno}` });
  }

  /** Allocates a space for a slot, or frees that of the slot with all that is mapped in it. */
  space({ slot }: SoakOperation): void {
    const index = slot % SPACES;
    const known = this.#live.get(index);
    if (known !== undefined) {
      this.#free(index, known);
      return;
    }
    const { dev, device } = this.#device;
    const ioMm = svaAllocPasid(dev.domain, device);
    if (typeof ioMm === 'number') {
      this.#on.violation.report('result', `svaAllocPasid: ${ioMm}`);
      return;
    }
    this.#on.digest.add(ioMm.pasid);
    this.#live.set(index, { ioMm, space: new SoakSpace(ioMm.domain), mapped: new Map() });
  }

  /** Maps pages at a place, or unmaps what is there. */
  map(operation: SoakOperation): void {
    const { slot, at } = operation;
    const known = this.#live.get(slot % SPACES);
    if (known === undefined) return;
    const place = at % PLACES;
    const frames = known.mapped.get(place);
    if (frames !== undefined) this.#unmap(known, place, frames, operation);
    else this.#map(known, place, operation);
  }

  /** The device reads or writes under a PASID; where nothing is mapped it is refused. */
  dma({ slot, at, seed }: SoakOperation): void {
    const known = this.#live.get(slot % SPACES);
    const place = at % PLACES;
    const frames = known?.mapped.get(place);
    if (known === undefined || frames === undefined) {
      // Every refusal is an event: most of the time the device behaves.
      if (seed % 8 === 0) this.#refused(known?.ioMm.pasid ?? FIRST + SPACES, iovaOf(place));
      return;
    }
    const { twin, digest, violation, cpu } = this.#on;
    const offset = ((seed % (frames.length * PAGE)) / 4 - (seed % 4) / 4) * 4;
    const frame = frames[Math.floor(offset / PAGE)] as number;
    const write = seed % 2 === 0;
    const got = this.#access(known.ioMm.pasid, iovaOf(place) + offset, write ? 'write' : 'read');
    const paddr = frame + (offset % PAGE);
    if (got !== paddr)
      violation.report(
        got < 0 ? 'refused' : 'reached',
        `PASID ${known.ioMm.pasid} finds 0x${(iovaOf(place) + offset).toString(16)} at ${got}, mapped at ${paddr}`,
      );
    else if (write) {
      cpu.store32(paddr, wordOf(seed, at));
      twin.set(paddr, wordOf(seed, at));
    } else {
      const word = cpu.load32(paddr);
      digest.add(word);
      if (word !== twin.get(paddr))
        violation.report('bytes', `PASID ${known.ioMm.pasid} reads ${word} at ${paddr}`);
    }
  }

  /** Page tables that hold other pages than those mapped. */
  *spaces(): Iterable<SoakSpace> {
    for (const { space } of this.#live.values()) yield space;
  }

  /** Frees all, and what the device was prepared with. */
  end(): void {
    for (const [index, known] of [...this.#live]) this.#free(index, known);
    const used = svaDeviceOf(this.#device.device)?.pasids.used ?? 0;
    if (used !== 0) this.#on.violation.report('leak', `${used} private PASIDs leak`);
    svaDeviceShutdown(this.#device.device);
  }

  #map(known: PrivateSpace, place: number, { pages, seed }: SoakOperation): void {
    const { frames: source, violation } = this.#on;
    const frames: number[] = [];
    for (let i = 0; i < pages; i++) frames.push(source.alloc(PAGE));
    if (frames.includes(-1)) violation.report('result', 'no frames for a private space');
    if (seed % 2 === 0) frames.reverse();
    const runs = frames.map((paddr) => ({ paddr, length: PAGE }));
    const iova = iovaOf(place);
    const [first = 0] = frames;
    const done =
      pages === 1
        ? svaMap(known.ioMm, iova, first, PAGE, PROT) || PAGE
        : svaMapSg(known.ioMm, iova, runs, PROT);
    if (done !== pages * PAGE) violation.report('result', `svaMap of ${pages} pages: ${done}`);
    known.mapped.set(place, frames);
  }

  #unmap(
    known: PrivateSpace,
    place: number,
    frames: readonly number[],
    { seed }: Pick<SoakOperation, 'seed'>,
  ): void {
    const { violation, machine } = this.#on;
    const { ioMm } = known;
    const bytes = frames.length * PAGE;
    const iova = iovaOf(place);
    const done = seed % 2 === 0 ? svaUnmap(ioMm, iova, bytes) : svaUnmapFast(ioMm, iova, bytes);
    if (seed % 2 !== 0) {
      // Until the sync the device may still get there, by an old entry.
      const before = machine.model.staleUseCount;
      this.#pending(ioMm.pasid, iova);
      this.#on.pendingUses += machine.model.staleUseCount - before;
      svaTlbSync(ioMm);
    }
    if (done !== bytes) violation.report('result', `svaUnmap of ${bytes} bytes: ${done}`);
    known.mapped.delete(place);
    for (const frame of frames) this.#on.frames.free(frame, PAGE);
    if (seed % 4 === 0) this.#refused(ioMm.pasid, iova);
  }

  #pending(pasid: number, iova: number): void {
    this.#on.digest.add(this.#access(pasid, iova, 'read'));
  }

  #free(index: number, known: PrivateSpace): void {
    const { dev } = this.#device;
    const { pasid } = known.ioMm;
    this.#live.delete(index);
    const frames = [...known.mapped.values()].flat();
    const errno = svaFreePasid(dev.domain, known.ioMm);
    if (errno !== 0) this.#on.violation.report('result', `svaFreePasid: ${errno}`);
    for (const frame of frames) this.#on.frames.free(frame, PAGE);
    this.#refused(pasid, ORIGIN);
  }

  #refused(pasid: number, iova: number): void {
    const got = this.#access(pasid, iova, 'read');
    if (got >= 0)
      this.#on.violation.report(
        'reached',
        `PASID ${pasid} reaches 0x${got.toString(16)} by 0x${iova.toString(16)}, where nothing is mapped`,
      );
  }

  #access(substreamId: number, iova: number, rw: 'read' | 'write'): number {
    const { streamId } = this.#device;
    const address = { lo: iova, hi: 0 };
    const result = this.#on.machine.model.translate({ streamId, substreamId, address, rw });
    return result.outcome === 'ok' ? result.paddr : -1;
  }
}

function iovaOf(place: number): number {
  return ORIGIN + place * STRIDE;
}
