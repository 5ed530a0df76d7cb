import { CMD_TLBI_NH_VA, COMMAND_BYTES, OPCODE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CommandQueue } from '@iommukit/smmu-v3-driver';

/** Commands by kind; `fields` counts those of `TLBI_NH_VA` by what they say besides the address. */
export interface CommandCounts {
  VA: number;
  ASID: number;
  CFGI: number;
  SYNC: number;
  other: number;
  fields: Record<string, number>;
}

/** One `TLBI_NH_VA` as read back from the queue. */
export interface VaCommand {
  readonly start: number;
  /** Granules: (NUM + 1) x 2^SCALE, or 1 without a range. */
  readonly granules: number;
  readonly leaf: boolean;
}

/** Reads the commands that a driver wrote back from the queue in memory, in order. */
export class CommandLog {
  /** The addresses of the last `read`, in order, while `keep` is set. */
  readonly vas: VaCommand[] = [];
  keep = false;
  readonly #memory: MemoryView;
  readonly #queue: CommandQueue;
  readonly #words = new Uint32Array(4);
  #seen = 0;

  constructor(memory: MemoryView, queue: CommandQueue) {
    this.#memory = memory;
    this.#queue = queue;
    this.#seen = queue.issued;
  }

  /** Counts what was written since the last time. */
  read(into: CommandCounts = noCommands()): CommandCounts {
    const { base, lg2, issued, prod } = this.#queue;
    const entries = 2 ** lg2;
    const fresh = issued - this.#seen;
    this.#seen = issued;
    if (fresh > entries)
      throw new RangeError(`${fresh} commands since the last look: the ring holds ${entries}`);
    const words = this.#words;
    for (let i = fresh; i > 0; i--) {
      const at = base + ((prod - i + 2 * entries) % entries) * COMMAND_BYTES;
      words[0] = this.#memory.load64(at);
      words[1] = this.#memory.hi;
      words[2] = this.#memory.load64(at + 8);
      words[3] = this.#memory.hi;
      this.#count(into, words);
    }
    return into;
  }

  #count(into: CommandCounts, words: Uint32Array): void {
    const opcode = (words[0] as number) % 256;
    if (opcode === OPCODE.TLBI_NH_VA) {
      const { get } = CMD_TLBI_NH_VA;
      const [num, scale, tg, ttl] = [
        get.NUM(words),
        get.SCALE(words),
        get.TG(words),
        get.TTL(words),
      ];
      const leaf = get.Leaf(words);
      into.VA++;
      const text = `NUM=${num} SCALE=${scale} TG=${tg} TTL=${ttl} LEAF=${leaf}`;
      into.fields[text] = (into.fields[text] ?? 0) + 1;
      if (this.keep) {
        const start = get.Address(words);
        this.vas.push({ start, granules: tg === 0 ? 1 : (num + 1) * 2 ** scale, leaf: leaf === 1 });
      }
    } else if (opcode === OPCODE.TLBI_NH_ASID) into.ASID++;
    else if (opcode === OPCODE.SYNC) into.SYNC++;
    else if (opcode >= OPCODE.CFGI_STE && opcode < OPCODE.TLBI_NH_ALL) into.CFGI++;
    else into.other++;
  }
}

/** Counts at zero. */
export function noCommands(): CommandCounts {
  return { VA: 0, ASID: 0, CFGI: 0, SYNC: 0, other: 0, fields: {} };
}
