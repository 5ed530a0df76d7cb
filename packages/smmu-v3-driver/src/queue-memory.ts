import { SZ_4K } from '@iommukit/bits';
import type { CoherentMemory } from './coherent-memory.ts';
import type { LogSink } from './driver-log.ts';

/** Memory of one queue. */
export interface QueueMemory {
  readonly base: number;
  /** log2 of the entries that memory was found for. */
  readonly lg2: number;
  readonly bytes: number;
}

/** Allocates a queue, halving it while memory is short and it is larger than half a page (`arm_smmu_init_one_queue`); null: none. */
export function allocQueue(
  source: CoherentMemory,
  log: LogSink,
  queue: { readonly name: string; readonly lg2: number; readonly entryBytes: number },
): QueueMemory | null {
  let { lg2 } = queue;
  for (;;) {
    const bytes = 2 ** lg2 * queue.entryBytes;
    const base = source.alloc(bytes);
    if (base >= 0) {
      log({ level: 'info', text: `allocated ${2 ** lg2} entries for ${queue.name}` });
      return { base, lg2, bytes };
    }
    if (bytes < SZ_4K) {
      const size = `0x${bytes.toString(16)} bytes`;
      log({ level: 'err', text: `failed to allocate queue (${size}) for ${queue.name}` });
      return null;
    }
    lg2--;
  }
}
