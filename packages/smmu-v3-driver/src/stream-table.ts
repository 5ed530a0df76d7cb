import { L1STD_BYTES, STE, STE_BYTES } from '@iommukit/arm-arch';
import { hiOf, loOf } from '@iommukit/bits';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { CoherentMemory } from './coherent-memory.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { abortSte } from './stream-table-entry.lanes.ts';
import { STRTAB_SPLIT as SPLIT, streamTableDescriptor } from './table-descriptor.ts';

/** `STRTAB_MAX_L1_ENTRIES`: 1 MiB of descriptors. */
const MAX_L1_ENTRIES = 2 ** 17;

/** The values of STRTAB_BASE and STRTAB_BASE_CFG that describe a table. */
export interface StreamTableRegisters {
  readonly base: number;
  readonly log2Size: number;
  readonly split: number;
  /** 0 linear, 1 two-level. */
  readonly format: 0 | 1;
}

/** What a stream table is made of. */
export interface StreamTableParts {
  readonly memory: MemoryView;
  readonly source: CoherentMemory;
  readonly log: LogSink;
  readonly sidBits: number;
  readonly twoLevel: boolean;
  readonly profile: Pick<DriverProfile, 'shareability'>;
}

/** The stream table in memory: linear, or two levels whose second-level tables appear when a device needs them. */
export class StreamTable {
  readonly registers: StreamTableRegisters;
  readonly #memory: MemoryView;
  readonly #source: CoherentMemory;
  readonly #log: LogSink;
  readonly #sidBits: number;
  readonly #abort: Uint32Array;
  readonly #secondLevel = new Map<number, number>();

  /** Allocates and initialises a table for 2^sidBits streams, or returns -ENOMEM. */
  static create(options: StreamTableParts): StreamTable | number {
    const { memory, source, log, sidBits, twoLevel } = options;
    const wanted = Math.floor((2 ** sidBits - 1) / 2 ** SPLIT) + 1;
    const l1Entries = Math.min(wanted, MAX_L1_ENTRIES);
    const l1Bits = Math.round(Math.log2(l1Entries)) + SPLIT;
    if (twoLevel && l1Entries < wanted)
      log({
        level: 'warn',
        text: `2-level strtab only covers ${l1Bits}/${sidBits} bits of SID`,
      });
    const bytes = twoLevel ? l1Entries * L1STD_BYTES : 2 ** sidBits * STE_BYTES;
    const base = source.alloc(bytes);
    if (base < 0) {
      const kind = twoLevel ? 'l1' : 'linear';
      log({ level: 'err', text: `failed to allocate ${kind} stream table (${bytes} bytes)` });
      return -ERRNO.ENOMEM;
    }
    const table = new StreamTable(options, {
      base,
      log2Size: twoLevel ? l1Bits : sidBits,
      split: twoLevel ? SPLIT : 0,
      format: twoLevel ? 1 : 0,
    });
    if (twoLevel) clear(memory, base, bytes);
    else table.#fillAbort(base, 2 ** sidBits);
    return table;
  }

  private constructor(options: StreamTableParts, registers: StreamTableRegisters) {
    this.#memory = options.memory;
    this.#source = options.source;
    this.#log = options.log;
    this.#sidBits = options.sidBits;
    this.#abort = abortSte(options.profile);
    this.registers = registers;
  }

  /** Makes the STE of a stream exist (`arm_smmu_init_sid_strtab`): 0, -ERANGE or -ENOMEM. */
  ensure(streamId: number): number {
    const { format, base, log2Size } = this.registers;
    if (streamId >= 2 ** Math.min(log2Size, this.#sidBits)) return -ERRNO.ERANGE;
    if (format === 0) return 0;
    const index = Math.floor(streamId / 2 ** SPLIT);
    if (this.#secondLevel.has(index)) return 0;
    const table = this.#source.alloc(2 ** SPLIT * STE_BYTES);
    if (table < 0) {
      const text = `failed to allocate l2 stream table for SID ${streamId}`;
      this.#log({ level: 'err', text });
      return -ERRNO.ENOMEM;
    }
    this.#fillAbort(table, 2 ** SPLIT);
    this.#secondLevel.set(index, table);
    // The entries stand before the descriptor that makes them reachable.
    const descriptor = streamTableDescriptor(table);
    const pa = base + index * L1STD_BYTES;
    this.#memory.store64(pa, descriptor[0] ?? 0, descriptor[1] ?? 0);
    this.#memory.clean(pa, L1STD_BYTES);
    return 0;
  }

  /** Physical address of the STE of a stream that `ensure` accepted. */
  entry(streamId: number): number {
    const { format, base } = this.registers;
    if (format === 0) return base + streamId * STE_BYTES;
    const table = this.#secondLevel.get(Math.floor(streamId / 2 ** SPLIT)) ?? base;
    return table + (streamId % 2 ** SPLIT) * STE_BYTES;
  }

  #fillAbort(pa: number, count: number): void {
    const memory = this.#memory;
    const abort = this.#abort;
    for (let i = 0; i < count; i++)
      for (let q = 0; q < STE.info.dwords; q++)
        memory.store64(
          pa + i * STE_BYTES + q * 8,
          abort[q * 2] as number,
          abort[q * 2 + 1] as number,
        );
    memory.clean(pa, count * STE_BYTES);
  }
}

/** Zeroes memory through a view and makes it visible. */
export function clear(memory: MemoryView, pa: number, bytes: number): void {
  for (let at = 0; at < bytes; at += 8) memory.store64(pa + at, 0, 0);
  memory.clean(pa, bytes);
}

/** Bit 62 of a base register, in its upper lane: read-allocate for tables, read- and write-allocate for queues (IHI 0070 6.3). */
const ALLOCATE_HINT = 0x4000_0000;

/** A base register with the allocation hint that Linux sets, as lanes; `low` is added below the address. */
export function baseRegister(base: number, low: number): readonly [number, number] {
  return [loOf(base) + low, hiOf(base) + ALLOCATE_HINT];
}
