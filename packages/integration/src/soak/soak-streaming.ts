/* Mappings of the DMA API: made, used by their devices, synced, undone, and reached for afterwards. */
import { SoakBuffers } from './soak-buffers.ts';
import type { SoakDevice, SoakMachine } from './soak-machine.ts';
import { addressAt, type SoakMapping } from './soak-mapping.ts';
import { SOAK_SLOTS, type SoakOperation } from './soak-operation.ts';

const WORD = 4;
const PAGE = 4096;
/** Most words of one access. */
const BURST = 16;

/** The streaming and coherent mappings of a soak, by device and slot. */
export class SoakStreaming {
  readonly #on: SoakMachine;
  readonly #buffers: SoakBuffers;
  readonly #live = new Map<number, SoakMapping>();
  /** A DMA address of the last mapping of a slot that was undone. */
  readonly #gone = new Map<number, number>();

  constructor(on: SoakMachine) {
    this.#on = on;
    this.#buffers = new SoakBuffers(on);
  }

  /** Maps into an empty slot, or undoes what is in it. */
  map(operation: SoakOperation): void {
    const key = keyOf(operation);
    const mapping = this.#live.get(key);
    if (mapping !== undefined) {
      this.#live.delete(key);
      this.#unmap(mapping, operation);
      this.#gone.set(key, mapping.bus[0]?.start ?? 0);
      return;
    }
    const made = this.#buffers.make(this.#on.device(operation.device), operation);
    if (made === null) {
      this.#on.violation.report('result', `no room for ${operation.way}`);
      return;
    }
    for (const { start, length } of made.bus) {
      this.#on.digest.add(start);
      this.#on.digest.add(length);
    }
    this.#live.set(key, made);
  }

  /** The device reads or writes words of a mapping. */
  dma(operation: SoakOperation): void {
    const mapping = this.#live.get(keyOf(operation));
    if (mapping === undefined) return;
    const { at, size } = window(mapping, operation);
    const { dir } = mapping;
    const write = dir === 'FROM_DEVICE' || (dir === 'BIDIRECTIONAL' && operation.seed % 2 === 0);
    if (write) this.#write(mapping, at, size, operation.seed);
    else this.#read(mapping, at, size);
  }

  /** The CPU gets a part of a mapping, looks at it, changes it, and gives it back. */
  sync(operation: SoakOperation): void {
    const mapping = this.#live.get(keyOf(operation));
    if (mapping === undefined) return;
    const { at, size } = window(mapping, operation);
    if (mapping.way !== 'coherent' && mapping.sync === undefined) return;
    mapping.sync?.('cpu', at, size);
    this.#cpuReads(mapping, at, size);
    if (mapping.dir !== 'FROM_DEVICE') this.#cpuWrites(mapping, at, size, operation.seed);
    mapping.sync?.('device', at, size);
  }

  /** The device goes on with an address whose mapping was undone. */
  stray(operation: SoakOperation): void {
    const iova = this.#gone.get(keyOf(operation));
    if (iova !== undefined)
      this.#reachesOn(this.#on.device(operation.device), iova, operation.seed);
  }

  /** Undoes everything. */
  end(operation: SoakOperation): void {
    for (const mapping of this.#live.values()) this.#unmap(mapping, operation);
    this.#live.clear();
  }

  /** Slots of bounce buffers that mappings of untrusted devices may hold; how many mappings there are. */
  get live(): IterableIterator<SoakMapping> {
    return this.#live.values();
  }

  #unmap(mapping: SoakMapping, { at, seed }: SoakOperation): void {
    const coherent = mapping.way === 'coherent';
    const part = window(mapping, { at, seed });
    // What is coherent is gone with its mapping.
    if (coherent) this.#cpuReads(mapping, part.at, part.size);
    const { device } = mapping;
    const iova = mapping.bus[0]?.start ?? 0;
    const old = device.space.at(iova);
    mapping.unmap();
    // A device that has not heard of it.
    if (device.lazy && seed % 4 === 0) this.#reachesOn(device, iova, seed / 4, old);
    if (!coherent) {
      this.#cpuReads(mapping, part.at, part.size);
      this.#cpuWrites(mapping, part.at, part.size, seed + 1);
    }
    mapping.release();
    if (device.lazy) return;
    for (const { start, length } of mapping.bus) this.#refused(device, start, length);
  }

  /** An access by an address whose mapping was undone: where no flush is due it must be refused, before one it may find the old page. */
  #reachesOn(device: SoakDevice, iova: number, seed: number, old?: number): void {
    const { violation, digest, machine } = this.#on;
    // Another mapping has the page by now.
    if (device.space.at(iova) >= 0) return;
    const before = machine.model.staleUseCount;
    const got = this.#on.reach(device, iova, seed % 2 === 0 ? 'read' : 'write');
    digest.add(got);
    const pending = device.lazy && device.ranges.holds(Math.floor(iova / PAGE));
    if (pending) this.#on.pendingUses += machine.model.staleUseCount - before;
    if (got >= 0 && (!pending || (old !== undefined && got !== old)))
      violation.report(
        'reached',
        `${device.device.name} reaches 0x${got.toString(16)} by 0x${iova.toString(16)}, which was unmapped`,
      );
  }

  /** After an unmap in a strict domain nothing is left. */
  #refused(device: SoakDevice, start: number, length: number): void {
    for (let at = start - (start % PAGE); at < start + length; at += PAGE) {
      if (device.space.at(at) >= 0) continue;
      const got = this.#on.reach(device, at, 'read');
      if (got >= 0)
        this.#on.violation.report(
          'reached',
          `${device.device.name} reaches 0x${got.toString(16)} by 0x${at.toString(16)} after the unmap`,
        );
    }
  }

  #read(mapping: SoakMapping, at: number, size: number): void {
    const { twin, digest, violation } = this.#on;
    for (let i = at; i < at + size; i += WORD) {
      const paddr = this.#target(mapping, i, 'read');
      if (paddr < 0) return;
      const word = mapping.device.view.load32(paddr);
      digest.add(word);
      const wanted = twin.get(addressAt(mapping.memory, i));
      if (word !== wanted)
        violation.report(
          'bytes',
          `${mapping.device.device.name} reads ${word.toString(16)} at byte ${i} of ${mapping.way}, ${wanted.toString(16)} is there`,
        );
    }
  }

  #write(mapping: SoakMapping, at: number, size: number, seed: number): void {
    const { twin } = this.#on;
    for (let i = at; i < at + size; i += WORD) {
      const paddr = this.#target(mapping, i, 'write');
      if (paddr < 0) return;
      const word = wordOf(seed, i);
      mapping.device.view.store32(paddr, word);
      twin.set(addressAt(mapping.memory, i), word);
    }
  }

  /** Where a byte of a mapping is, as the SMMU has it: it must be where the driver's tables were told. */
  #target(mapping: SoakMapping, at: number, rw: 'read' | 'write'): number {
    const { device } = mapping;
    const iova = addressAt(mapping.bus, at);
    const got = this.#on.reach(device, iova, rw);
    if (got < 0)
      this.#on.violation.report(
        'refused',
        `${device.device.name} is refused a ${rw} at 0x${iova.toString(16)} of ${mapping.way}`,
      );
    else if (got !== device.space.at(iova))
      this.#on.violation.report(
        'reached',
        `${device.device.name} finds 0x${iova.toString(16)} at 0x${got.toString(16)}`,
      );
    return got;
  }

  #cpuReads(mapping: SoakMapping, at: number, size: number): void {
    const { twin, digest, violation } = this.#on;
    const view = this.#cpuView(mapping);
    for (let i = at; i < at + size; i += WORD) {
      const paddr = addressAt(mapping.memory, i);
      const word = view.load32(paddr);
      digest.add(word);
      if (word !== twin.get(paddr))
        violation.report(
          'bytes',
          `the CPU reads ${word.toString(16)} at byte ${i} of ${mapping.way} of ${mapping.device.device.name}, ${twin.get(paddr).toString(16)} is there`,
        );
    }
  }

  #cpuWrites(mapping: SoakMapping, at: number, size: number, seed: number): void {
    const view = this.#cpuView(mapping);
    for (let i = at; i < at + size; i += WORD) {
      const paddr = addressAt(mapping.memory, i);
      const word = wordOf(seed, i);
      view.store32(paddr, word);
      this.#on.twin.set(paddr, word);
    }
  }

  /** Coherent memory of a device that does not snoop is not cached. */
  #cpuView(mapping: SoakMapping): SoakDevice['view'] {
    return mapping.way === 'coherent' ? mapping.device.view : this.#on.cpu;
  }
}

function keyOf({ device, slot }: SoakOperation): number {
  return device * SOAK_SLOTS + slot;
}

/** Some words of a mapping. */
function window(
  { bytes }: SoakMapping,
  { at, seed }: Pick<SoakOperation, 'at' | 'seed'>,
): { readonly at: number; readonly size: number } {
  const words = Math.floor(bytes / WORD);
  const first = (at * 7 + (seed % 4096)) % words;
  const count = Math.min(words - first, 1 + (seed % BURST));
  return { at: first * WORD, size: count * WORD };
}

/** Words that tell where they are, and of which write they come. */
export function wordOf(seed: number, at: number): number {
  return (seed + at * 2_654_435_761) % 2 ** 32;
}
