import { hex } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { Bouncer } from './bounce.ts';
import { digits } from './debug-rules.ts';
import type { DmaDevice } from './dma-device.ts';
import { cleans, type DmaLayer } from './dma-layer.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { DMA_MAPPING_ERROR, invalidateSg, type SgElement } from './scatter-list.ts';

const NO_LIMIT = 2 ** 64;
/** The most address bits there are. */
const WIDEST = 64;

/** Devices without IOVA space: a DMA address is a physical address, moved by the device's ranges (`kernel/dma/direct.c`). */
export class DirectMapping {
  readonly #layer: DmaLayer;
  readonly #bouncer: Bouncer;

  constructor(layer: DmaLayer, bouncer: Bouncer) {
    this.#layer = layer;
    this.#bouncer = bouncer;
  }

  /** Where the device sees a byte of memory, or `DMA_MAPPING_ERROR` (`phys_to_dma`). */
  toDma(dev: DmaDevice, paddr: number): number {
    if (dev.dmaRanges.length === 0) return paddr;
    for (const { cpuStart, dmaStart, size } of dev.dmaRanges)
      if (paddr >= cpuStart && paddr < cpuStart + size) return dmaStart + (paddr - cpuStart);
    return DMA_MAPPING_ERROR;
  }

  /** The reverse (`dma_to_phys`). */
  toPhys(dev: DmaDevice, dmaAddr: number): number {
    for (const { cpuStart, dmaStart, size } of dev.dmaRanges)
      if (dmaAddr >= dmaStart && dmaAddr < dmaStart + size) return cpuStart + (dmaAddr - dmaStart);
    return dev.dmaRanges.length === 0 ? dmaAddr : DMA_MAPPING_ERROR;
  }

  /** A coherent allocation there can be used (`dma_coherent_ok`). */
  reachesCoherent(dev: DmaDevice, paddr: number, size: number): boolean {
    return capable(dev, this.toDma(dev, paddr), size, dev.coherentEnd);
  }

  /** The DMA address, of a bounce slot where the device does not reach the memory, or `DMA_MAPPING_ERROR` (`dma_direct_map_phys`). */
  map(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): number {
    const dmaAddr = this.#map(dev, paddr, size, dir, attrs);
    // A slot had its barrier already.
    const inPlace = attrs?.mmio !== true && dmaAddr === this.toDma(dev, paddr);
    if (inPlace && dmaAddr !== DMA_MAPPING_ERROR && cleans(dev, attrs)) this.#layer.barrier();
    return dmaAddr;
  }

  /** The same without the barrier. */
  #map(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): number {
    const isMmio = attrs?.mmio === true;
    const dmaAddr = isMmio ? paddr : this.toDma(dev, paddr);
    const reached = capable(dev, dmaAddr, size, dev.dmaEnd);
    if (!reached || (!isMmio && this.#bouncer.kmallocBounces(dev, size, dir))) {
      const { bounce } = this.#layer;
      if (bounce?.active === true && !isMmio && attrs?.requireCoherent !== true)
        return this.#bounce(dev, paddr, size, dir, attrs);
      this.#overflow(dev, 'DMA', dmaAddr, size);
      return DMA_MAPPING_ERROR;
    }
    if (!isMmio && cleans(dev, attrs)) this.#layer.cleanForDevice(paddr, size, dir);
    return dmaAddr;
  }

  /** `swiotlb_map`. */
  #bounce(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
  ): number {
    const { bounce } = this.#layer;
    if (bounce === null) return DMA_MAPPING_ERROR;
    dev.usedBounce = true;
    const slot = bounce.map({ device: dev, paddr, size, allocAlignMask: 0, dir, attrs });
    if (slot === DMA_MAPPING_ERROR) return DMA_MAPPING_ERROR;
    const dmaAddr = this.toDma(dev, slot);
    if (!capable(dev, dmaAddr, size, dev.dmaEnd)) {
      bounce.unmap(slot, size, dir, { ...attrs, skipCpuSync: true });
      this.#overflow(dev, 'swiotlb', dmaAddr, size);
      return DMA_MAPPING_ERROR;
    }
    if (cleans(dev, attrs)) {
      this.#layer.cleanForDevice(slot, size, dir);
      this.#layer.barrier();
    }
    return dmaAddr;
  }

  #overflow(dev: DmaDevice, what: 'DMA' | 'swiotlb', dmaAddr: number, size: number): void {
    const mask = (BigInt(dev.dmaEnd) - 1n).toString(16);
    const limit = dev.busEnd >= NO_LIMIT ? '0' : (dev.busEnd - 1).toString(16);
    this.#layer.warnOn(
      `${dev.name} does not reach ${hex(Math.max(dmaAddr, 0))}`,
      `${what} addr 0x${digits(dmaAddr)}+${size} overflow (mask ${mask}, bus limit ${limit}).`,
    );
  }

  /** `dma_direct_unmap_phys`. */
  unmap(dev: DmaDevice, dmaAddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): void {
    if (attrs?.mmio === true || attrs?.requireCoherent === true) return;
    const paddr = this.toPhys(dev, dmaAddr);
    if (attrs?.skipCpuSync !== true) {
      this.#toCpu(dev, paddr, size, dir);
      if (this.#layer.bounce?.owns(paddr) !== true) this.#barrier(dev);
    }
    this.#layer.bounce?.unmap(paddr, size, dir, { ...attrs, skipCpuSync: true });
  }

  syncForCpu(dev: DmaDevice, dmaAddr: number, size: number, dir: DmaDirection): void {
    const paddr = this.toPhys(dev, dmaAddr);
    this.#toCpu(dev, paddr, size, dir);
    if (this.#layer.bounce?.owns(paddr) !== true) this.#barrier(dev);
  }

  /** With a barrier only where a slot is copied afterwards. */
  #toCpu(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection): void {
    const { bounce } = this.#layer;
    if (cleans(dev, undefined)) this.#layer.cleanForCpu(paddr, size, dir);
    if (bounce?.owns(paddr) === true) this.#barrier(dev);
    bounce?.syncForCpu(paddr, size, dir);
  }

  #barrier(dev: DmaDevice): void {
    if (dev.coherence === 'non-coherent') this.#layer.barrier();
  }

  syncForDevice(dev: DmaDevice, dmaAddr: number, size: number, dir: DmaDirection): void {
    const paddr = this.toPhys(dev, dmaAddr);
    this.#layer.bounce?.syncForDevice(paddr, size, dir);
    if (cleans(dev, undefined)) this.#layer.cleanForDevice(paddr, size, dir);
    this.#barrier(dev);
  }

  /** Every element is its own segment: their number, -EREMOTEIO for a peer out of reach, else -EIO (`dma_direct_map_sg`). */
  mapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): number {
    for (let i = 0; i < sg.length; i++) {
      const element = sg[i] as SgElement;
      const isBus = element.peer === 'bus';
      if (element.peer === 'not-supported') return this.#undo(dev, sg, i, dir, attrs);
      element.dmaBus = isBus;
      element.dmaLength = element.length;
      element.dmaAddress = isBus
        ? (element.busAddress ?? element.paddr)
        : this.#map(dev, element.paddr, element.length, dir, attrs);
      if (element.dmaAddress === DMA_MAPPING_ERROR) return this.#undo(dev, sg, i, dir, attrs);
    }
    if (!sg.every(({ dmaBus }) => dmaBus)) this.#barrier(dev);
    return sg.length;
  }

  /** Unmaps what stands before the element that failed. */
  #undo(
    dev: DmaDevice,
    sg: readonly SgElement[],
    failed: number,
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
  ): number {
    this.unmapSg(dev, sg.slice(0, failed), dir, { ...attrs, skipCpuSync: true });
    invalidateSg(sg);
    return sg[failed]?.peer === 'not-supported' ? -ERRNO.EREMOTEIO : -ERRNO.EIO;
  }

  /** One barrier for all elements (`dma_direct_unmap_sg`). */
  unmapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): void {
    let mapped = 0;
    for (const element of sg) {
      const { dmaBus, dmaAddress, dmaLength } = element;
      element.dmaBus = false;
      if (dmaBus) continue;
      mapped++;
      if (attrs?.mmio === true || attrs?.requireCoherent === true) continue;
      const paddr = this.toPhys(dev, dmaAddress);
      if (attrs?.skipCpuSync !== true) this.#toCpu(dev, paddr, dmaLength, dir);
      this.#layer.bounce?.unmap(paddr, dmaLength, dir, { ...attrs, skipCpuSync: true });
    }
    if (mapped > 0) this.#barrier(dev);
  }

  syncSgForCpu(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    for (const { dmaAddress, length } of sg)
      this.#toCpu(dev, this.toPhys(dev, dmaAddress), length, dir);
    this.#barrier(dev);
  }

  syncSgForDevice(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    for (const { dmaAddress, length } of sg) {
      const paddr = this.toPhys(dev, dmaAddress);
      this.#layer.bounce?.syncForDevice(paddr, length, dir);
      if (cleans(dev, undefined)) this.#layer.cleanForDevice(paddr, length, dir);
    }
    this.#barrier(dev);
  }

  /** A mask of this many bits reaches enough to work with (`dma_direct_supported`). */
  supports(dev: DmaDevice, bits: number): boolean {
    if (bits >= 32) return true;
    const { end, dmaZoneEnd = end } = this.#layer.ram;
    const last = this.toDma(dev, Math.min(end, dmaZoneEnd) - 1);
    return last !== DMA_MAPPING_ERROR && last < 2 ** bits;
  }

  /** Address bits that reach all memory (`dma_direct_get_required_mask`). */
  requiredBits(dev: DmaDevice): number {
    const last = this.toDma(dev, this.#layer.ram.end - 1);
    if (last === DMA_MAPPING_ERROR) return WIDEST;
    let bits = 1;
    while (2 ** bits <= last) bits++;
    return bits;
  }

  /** The device's ranges leave no memory out (`dma_direct_all_ram_mapped`). */
  mapsAllRam(dev: DmaDevice): boolean {
    if (dev.dmaRanges.length === 0) return true;
    let reached = this.#layer.ram.start;
    for (const { cpuStart, size } of dev.dmaRanges.toSorted((a, b) => a.cpuStart - b.cpuStart))
      if (cpuStart <= reached) reached = Math.max(reached, cpuStart + size);
    return reached >= this.#layer.ram.end;
  }
}

/** `dma_capable`; a mask that was never set does not count where the bus has a limit. */
function capable(dev: DmaDevice, dmaAddr: number, size: number, maskEnd: number): boolean {
  if (dmaAddr === DMA_MAPPING_ERROR) return false;
  const unset = maskEnd === 1 && dev.busEnd < NO_LIMIT;
  return dmaAddr + size <= Math.min(unset ? NO_LIMIT : maskEnd, dev.busEnd);
}
