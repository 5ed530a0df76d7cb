import { COMMAND_BYTES, OPCODE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CommandQueue } from '@iommukit/smmu-v3-driver';

/** Changes a command in place; `drop`: the SMMU shall not see it at all. */
export type CommandChange = (words: Uint32Array, opcode: number) => 'drop' | 'keep';

/**
 * A driver that writes wrong commands: each command is changed in the queue after the driver wrote it and before the SMMU fetches it. One that
 * is dropped becomes a prefetch hint, which removes nothing.
 */
export class CommandDefect {
  /** Commands that were changed or dropped. */
  changed = 0;
  readonly #memory: MemoryView;
  readonly #queue: CommandQueue;
  readonly #change: CommandChange;

  constructor(memory: MemoryView, queue: CommandQueue, change: CommandChange) {
    this.#memory = memory;
    this.#queue = queue;
    this.#change = change;
  }

  /** A doubleword was stored: the second of a command completes it. */
  stored(pa: number): void {
    const { base, lg2 } = this.#queue;
    const at = pa - base;
    if (at < 0 || at >= 2 ** lg2 * COMMAND_BYTES || at % COMMAND_BYTES !== 8) return;
    const words = this.#load(pa - 8);
    const before = words.join(' ');
    if (this.#change(words, (words[0] as number) % 256) === 'drop')
      words.set([OPCODE.PREFETCH_CONFIG, 0, 0, 0]);
    if (words.join(' ') === before) return;
    this.changed++;
    this.#store(pa - 8, words);
  }

  #load(pa: number): Uint32Array {
    const words = new Uint32Array(4);
    for (let i = 0; i < 4; i += 2) {
      words[i] = this.#memory.load64(pa + i * 4);
      words[i + 1] = this.#memory.hi;
    }
    return words;
  }

  #store(pa: number, words: Uint32Array): void {
    for (let i = 0; i < 4; i += 2)
      this.#memory.store64(pa + i * 4, words[i] as number, words[i + 1] as number);
  }
}
