import type { EntryType } from './debug-rules.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';

/** What is remembered of one mapping, or asked for (`struct dma_debug_entry`). Bytes. */
export interface DebugEntry {
  readonly device: DmaDevice;
  readonly type: EntryType;
  readonly dmaAddr: number;
  /** -1 where the call does not say. */
  readonly paddr: number;
  readonly size: number;
  readonly dir: DmaDirection;
  /** Elements of the list that was given, 0 for others, and segments that it became. */
  readonly listed: number;
  readonly mapped: number;
  readonly attrs: DmaAttrs | undefined;
  /** Whether the driver asked for the error of the map. */
  check: 'not-applicable' | 'missing' | 'done';
}

const BUCKETS = 16384;
const BUCKET_BYTES = 8192;

/** The table of live mappings: chains by 8 KiB of DMA address, as the kernel's, since which entry it finds depends on them. */
export class DebugEntries {
  readonly #buckets = new Map<number, DebugEntry[]>();

  add(entry: DebugEntry): void {
    const at = bucketOf(entry.dmaAddr);
    const chain = this.#buckets.get(at);
    if (chain === undefined) this.#buckets.set(at, [entry]);
    else chain.push(entry);
  }

  remove(entry: DebugEntry): void {
    const at = bucketOf(entry.dmaAddr);
    const chain = (this.#buckets.get(at) ?? []).filter((one) => one !== entry);
    if (chain.length === 0) this.#buckets.delete(at);
    else this.#buckets.set(at, chain);
  }

  /** The entry at exactly the address of `ref`; of several only one that agrees in everything (`bucket_find_exact`). */
  exact(ref: DebugEntry): DebugEntry | null {
    return bestOf(this.at(ref.device, ref.dmaAddr), ref);
  }

  /** Entries of a device at exactly this address, oldest first. */
  at(device: DmaDevice, dmaAddr: number): DebugEntry[] {
    const chain = this.#buckets.get(bucketOf(dmaAddr)) ?? [];
    return chain.filter((entry) => entry.dmaAddr === dmaAddr && entry.device === device);
  }

  /** The entry that holds all bytes of `ref`, searched downwards chain by chain (`bucket_find_contain`). */
  containing(ref: DebugEntry): DebugEntry | null {
    const end = ref.dmaAddr + ref.size;
    const first = Math.floor(ref.dmaAddr / BUCKET_BYTES);
    const steps = Math.min(BUCKETS, first + 1);
    for (let step = 0; step < steps; step++) {
      const chain = this.#buckets.get((first - step) % BUCKETS);
      if (chain === undefined) continue;
      const around = chain.filter(
        ({ device, dmaAddr, size }) =>
          device === ref.device && dmaAddr <= ref.dmaAddr && dmaAddr + size >= end,
      );
      const found = bestOf(around, ref);
      if (found !== null) return found;
    }
    return null;
  }

  /** All entries of a device, chain by chain. */
  of(device: DmaDevice): DebugEntry[] {
    const chains = [...this.#buckets].sort(([a], [b]) => a - b);
    return chains.flatMap(([, chain]) => chain.filter((entry) => entry.device === device));
  }
}

function bucketOf(dmaAddr: number): number {
  // An address that is none is never in the table.
  return dmaAddr < 0 ? -1 : Math.floor(dmaAddr / BUCKET_BYTES) % BUCKETS;
}

/** The only candidate, or the first that agrees in size, type, direction and count (`__hash_bucket_find`). */
function bestOf(candidates: readonly DebugEntry[], ref: DebugEntry): DebugEntry | null {
  const [only] = candidates;
  if (only === undefined) return null;
  if (candidates.length === 1) return only;
  const agrees = ({ size, type, dir, listed }: DebugEntry) =>
    size === ref.size && type === ref.type && dir === ref.dir && listed === ref.listed;
  return candidates.find(agrees) ?? null;
}
