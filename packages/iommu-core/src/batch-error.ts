import { hex, IommuError } from '@iommukit/bits';

/**
 * A range that waits for its invalidation; bytes.
 * @example const range: PendingRange = { start: 0x1000, end: 0x3000, leafSize: 4096 };
 */
export interface PendingRange {
  readonly start: number;
  readonly end: number;
  /** Size of the leaves that were cleared, or 0 (`HAD_TABLES`) where tables went too. */
  readonly leafSize: number;
}

/**
 * What a batch still held.
 * @example const { ranges, tables } = (error as BatchDroppedError).operands;
 */
export interface BatchRemains {
  /** Cleared, but perhaps still cached. */
  readonly ranges: readonly PendingRange[];
  /** Tables that a walker may still read. */
  readonly tables: number;
  /** Mapped ranges that the driver was not told of (`iotlbSyncMap`). */
  readonly unpublished: number;
}

/**
 * A batch was left with pending invalidations, and its domain is wanted for another batch or is to be freed; code `BATCH_DROPPED`.
 * Nothing has changed: the batch can still be flushed.
 * @example try { core.domainFree(domain); } catch (e) { if (e instanceof BatchDroppedError) domain.batch?.flush(); }
 */
export class BatchDroppedError extends IommuError<BatchRemains> {
  override readonly name = 'BatchDroppedError';
  constructor(operands: BatchRemains) {
    const ranges = operands.ranges.map(({ start, end }) => `${hex(start)}..${hex(end)}`).join(', ');
    super(
      'BATCH_DROPPED',
      operands,
      `a batch was left with ${operands.tables} tables, ${operands.unpublished} unpublished ranges and pending invalidations of ${ranges || 'nothing'}`,
      'Flush every batch, or abandon it if the hardware is gone',
    );
  }
}

/**
 * A batch was used after it ended: abandoned, or replaced by the next `beginBatch`; code `BATCH_ENDED`.
 * @example try { batch.flush(); } catch (e) { (e as BatchEndedError).code; }
 */
export class BatchEndedError extends IommuError<{ operations: number }> {
  override readonly name = 'BatchEndedError';
  constructor(operands: { operations: number }) {
    super(
      'BATCH_ENDED',
      operands,
      `the batch ended after ${operands.operations} operations`,
      'Begin another one',
    );
  }
}
