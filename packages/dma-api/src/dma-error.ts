import { IommuError } from '@iommukit/bits';

/** Stable codes of {@link DmaError}. @example if (e.code === 'UNMODELLED_SWIOTLB') skip(); */
export type DmaErrorCode =
  | 'UNMODELLED_FLUSH_QUEUE'
  | 'UNMODELLED_SWIOTLB'
  | 'UNMODELLED_NON_COHERENT_DMA'
  | 'UNMODELLED_DMA_DIRECT'
  | 'DMA_SETUP';

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
