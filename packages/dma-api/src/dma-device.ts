import type { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import type { DmaDomain } from './dma-domain.ts';
import type { Coherence } from './dma-prot.ts';

/**
 * A range of bytes, half-open.
 * @example const window: ByteRange = { start: 0x1000_0000, end: 0x3eff_0000 };
 */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * What a device's driver and bus say about its DMA.
 * @example const options: DmaDeviceOptions = { dmaBits: 64, coherentDmaBits: 64, coherent: true };
 */
export interface DmaDeviceOptions {
  /** Address bits for streaming mappings: `DMA_BIT_MASK(dmaBits)`, 1 to 64. */
  readonly dmaBits: number;
  /** Address bits for coherent allocations. */
  readonly coherentDmaBits: number;
  /** Exclusive end of what the bus can address, bytes; absent: no limit (`bus_dma_limit` is its last byte). */
  readonly busDmaLimit?: number;
  /** Do not try 32-bit addresses first (`iommu.forcedac`). */
  readonly forcedac?: boolean;
  /** The device snoops the CPU's caches. */
  readonly coherent: boolean;
  /** Memory windows of the PCI host bridge, as bus addresses: never used as IOVAs. Only those of the first device of a domain count. */
  readonly pciWindows?: readonly ByteRange[];
  /** Longest segment that `mapSg` may build, bytes; default 64 KiB (`dma_get_max_seg_size`). */
  readonly maxSegSize?: number;
  /** Boundary that no segment may cross, a power of two, bytes; default 2^64 (`dma_get_seg_boundary` is this less 1). */
  readonly segBoundary?: number;
  /** Low address bits that a mapping must keep (`dma_get_min_align_mask`); default 0. */
  readonly minAlignMask?: number;
}

/**
 * A device with its DMA set up; made by `DmaApi.setupDevice`.
 * @example const dma = api.setupDevice(device, { dmaBits: 64, coherentDmaBits: 64, coherent: true });
 */
export class DmaDevice {
  readonly device: IommuDevice;
  readonly name: string;
  /** The domain at set-up. */
  readonly domain: IommuDomain;
  /** The IOVA space, null for a device that bypasses the IOMMU (identity domain). */
  readonly space: DmaDomain | null;
  readonly coherence: Coherence;
  /** Exclusive end of streaming DMA addresses, bytes. */
  readonly dmaEnd: number;
  /** Exclusive end of coherent DMA addresses, bytes. */
  readonly coherentEnd: number;
  /** Exclusive end of bus addresses, bytes. */
  readonly busEnd: number;
  readonly maxSegSize: number;
  readonly segBoundary: number;
  readonly minAlignMask: number;
  /** 32-bit IOVAs are still tried first (`pci_32bit_workaround`). */
  pci32bitWorkaround: boolean;

  constructor(
    device: IommuDevice,
    domain: IommuDomain,
    space: DmaDomain | null,
    options: DmaDeviceOptions,
  ) {
    this.device = device;
    this.name = device.name;
    this.domain = domain;
    this.space = space;
    this.coherence = options.coherent ? 'coherent' : 'non-coherent';
    this.dmaEnd = 2 ** options.dmaBits;
    this.coherentEnd = 2 ** options.coherentDmaBits;
    this.busEnd = options.busDmaLimit ?? 2 ** 64;
    this.maxSegSize = options.maxSegSize ?? 0x1_0000;
    this.segBoundary = options.segBoundary ?? 2 ** 64;
    this.minAlignMask = options.minAlignMask ?? 0;
    this.pci32bitWorkaround = device.info.isPci === true && options.forcedac !== true;
  }
}
