import { IommuError } from '@iommukit/bits';
import type { FtraceTrace } from '@iommukit/captures';

/** True when the trace tells when flush queues were flushed, or nothing was ever unmapped. */
export function hasFlushProbes(trace: FtraceTrace): boolean {
  let flushes = false;
  let timers = false;
  let unmaps = false;
  for (const { event } of trace.events) {
    if (event === 'fq_flush') flushes = true;
    else if (event === 'fq_timeout') timers = true;
    else if (event === 'unmap') unmaps = true;
  }
  return !unmaps || (flushes && timers);
}

/**
 * A capture in lazy mode cannot be replayed from ordinary events: when and on which CPU a flush queue is drained decides every later IOVA, and only
 * the probes at `fq_flush_timeout` and `fq_flush_iotlb` tell. Code `NEEDS_FLUSH_PROBES`.
 * @example try { replayCapture(lazy, { feed: 'calls' }); } catch (e) { (e as FlushProbesNeeded).code; }
 */
export class FlushProbesNeeded extends IommuError<{ capture: string; feed: 'events' | 'calls' }> {
  override readonly name = 'FlushProbesNeeded';
  constructor(operands: { capture: string; feed: 'events' | 'calls' }) {
    const why =
      operands.feed === 'calls' ? 'feed calls does not use them' : 'its trace does not have them';
    super(
      'NEEDS_FLUSH_PROBES',
      operands,
      `${operands.capture} was recorded in lazy mode: the fq_timeout and fq_flush probes decide which ranges are free again, and ${why}`,
      'Replay a trace with alloc_fast, free_fast, fq_timeout and fq_flush probes with feed events',
    );
  }
}
