import { COMMAND_BYTES, OPCODE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CommandQueue } from '@iommukit/smmu-v3-driver';

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]),
);

/** Counts the commands of a queue by kind, as they stand in memory; the ring must hold all that came since the last look. */
export class CommandKinds {
  readonly #counts = new Map<string, number>();
  readonly #memory: MemoryView;
  readonly #queue: CommandQueue;
  #seen = 0;

  constructor(memory: MemoryView, queue: CommandQueue) {
    this.#memory = memory;
    this.#queue = queue;
  }

  /** Counts what was written since the last look. */
  read(): void {
    const { base, lg2, issued, prod } = this.#queue;
    const entries = 2 ** lg2;
    const fresh = issued - this.#seen;
    this.#seen = issued;
    // More than the ring holds: what was overwritten cannot be named any more.
    const readable = Math.min(fresh, entries);
    if (fresh > readable) this.#add('unread', fresh - readable);
    for (let i = readable; i > 0; i--) {
      const at = base + ((prod - i + 2 * entries) % entries) * COMMAND_BYTES;
      const opcode = this.#memory.load64(at) % 256;
      this.#add(NAMES.get(opcode) ?? 'unknown', 1);
    }
  }

  /** Commands by name, in alphabetic order. */
  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #add(name: string, count: number): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }
}
