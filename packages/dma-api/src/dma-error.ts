import { IommuError } from '@iommukit/bits';

/** Stable codes of {@link DmaError}. @example if (e.code === 'HANDLE_STALE') report(e); */
export type DmaErrorCode =
  | 'UNMODELLED_NON_COHERENT_DMA'
  | 'DMA_SETUP'
  /** A bounce slot for no bytes was asked for: a BUG in the kernel. */
  | 'BOUNCE_SIZE'
  /** A mask, limit or count that no device and no kernel has. */
  | 'DMA_PARAMETER'
  /** Memory was asked for, and nobody said where it comes from. */
  | 'DMA_MEMORY'
  /** A provider gave scattered pages for a device without IOMMU. */
  | 'PAGES_SCATTERED'
  /** Memory is given back that this layer does not hold for the device, or not any more. */
  | 'MEMORY_FOREIGN'
  /** The kernel of this profile has no two-step calls. */
  | 'NO_TWO_STEP'
  /** A physical address given by the caller is not what is mapped (checking mode). */
  | 'PAGE_MISMATCH'
  /** The pieces given by the caller do not cover what is unlinked. */
  | 'PIECES_INCOMPLETE'
  /** A handle whose mapping is gone. */
  | 'HANDLE_UNMAPPED'
  /** A handle whose place was taken by a newer mapping. */
  | 'HANDLE_STALE'
  /** A handle of another device, or of another DMA layer. */
  | 'HANDLE_FOREIGN'
  /** The handle's size, or the range to sync, is not the mapping's. */
  | 'HANDLE_SIZE'
  | 'HANDLE_DIRECTION'
  /** The handle's addresses are not the mapping's. */
  | 'HANDLE_ADDRESS'
  /** An address that a live handle owns was given to a plain call. */
  | 'HANDLE_OWNED';

/**
 * The DMA layer was asked for something that is not modelled, or out of order.
 * @example try { dma.setupDevice(device, options); } catch (e) { (e as DmaError).code; }
 */
export class DmaError extends IommuError<{ device: string }> {
  override readonly name = 'DmaError';
  constructor(code: DmaErrorCode, device: string, what: string, fix: string) {
    super(code, { device }, `${device} ${what}`, fix);
  }
}
