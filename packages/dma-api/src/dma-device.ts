import type { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import type { DmaDomain } from './dma-domain.ts';
import { DmaError } from './dma-error.ts';
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
 * A window through which a bus sees memory elsewhere than the CPU does (an entry of `dma_range_map`); bytes.
 * @example const range: DmaRange = { cpuStart: 0x8000_0000, dmaStart: 0, size: 0x4000_0000 };
 */
export interface DmaRange {
  readonly cpuStart: number;
  readonly dmaStart: number;
  readonly size: number;
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
  /** Without IOMMU: the only memory that the device reaches, and where it sees it; absent: all of it, at its physical address. */
  readonly dmaRanges?: readonly DmaRange[];
}

/** Throws {@link DmaError} `DMA_PARAMETER` for a range of nothing, or one that begins nowhere. */
export function checkRanges(device: string, ranges: readonly DmaRange[]): void {
  for (const { cpuStart, dmaStart, size } of ranges)
    if (!(cpuStart >= 0 && dmaStart >= 0 && size > 0))
      throw new DmaError(
        'DMA_PARAMETER',
        device,
        `has a DMA range of ${size} bytes at ${cpuStart}, seen at ${dmaStart}`,
        'Give ranges of 1 byte or more at addresses of 0 or more',
      );
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
  /** Exclusive end of streaming DMA addresses, bytes; changed by `DmaApi.setMask`. */
  dmaEnd: number;
  /** Exclusive end of coherent DMA addresses, bytes; changed by `DmaApi.setCoherentMask`. */
  coherentEnd: number;
  /** Exclusive end of bus addresses, bytes. */
  readonly busEnd: number;
  /** Changed by `DmaApi.setMaxSegSize`, as the next two by their calls. */
  maxSegSize: number;
  segBoundary: number;
  minAlignMask: number;
  /** Empty: memory is where it is. */
  readonly dmaRanges: readonly DmaRange[];
  /** A bounce slot was asked for: from now on its syncs may have something to do (`dma_reset_need_sync`). */
  usedBounce = false;
  /** Attached from outside: what it can reach beside its buffers must be empty, so unaligned ends are bounced. */
  readonly untrusted: boolean;
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
    this.dmaRanges = options.dmaRanges ?? [];
    this.untrusted = device.info.untrusted === true;
    this.pci32bitWorkaround = device.info.isPci === true && options.forcedac !== true;
  }
}
