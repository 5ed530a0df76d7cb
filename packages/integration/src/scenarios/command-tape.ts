import { COMMAND_BYTES, COMMANDS } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CommandQueue } from '@iommukit/smmu-v3-driver';

/** Short names of the commands that the rows of PASIDs count; what is not here counts as `other`. */
const SHORT: Readonly<Record<string, CommandKind>> = {
  CMD_CFGI_CD: 'CD',
  CMD_CFGI_STE: 'STE',
  CMD_PREFETCH_CONFIG: 'PREFETCH',
  CMD_TLBI_NH_VA: 'VA',
  CMD_TLBI_NH_ASID: 'ASID',
  CMD_ATC_INV: 'ATC',
  CMD_SYNC: 'SYNC',
};

/** Commands by what they are for. */
export type CommandKind = 'CD' | 'STE' | 'PREFETCH' | 'VA' | 'ASID' | 'ATC' | 'SYNC' | 'other';

/** One command as read back from the queue. */
export interface TapeCommand {
  readonly kind: CommandKind;
  /** Fields by name, as the layout of the command has them. */
  readonly fields: Readonly<Record<string, number>>;
}

/** The commands that a driver wrote, read back from the queue in memory, whole and in order. */
export class CommandTape {
  readonly #memory: MemoryView;
  readonly #queue: CommandQueue;
  #seen: number;

  constructor(memory: MemoryView, queue: CommandQueue) {
    this.#memory = memory;
    this.#queue = queue;
    this.#seen = queue.issued;
  }

  /** What was written since the last time. */
  read(): readonly TapeCommand[] {
    const { base, lg2, issued, prod } = this.#queue;
    const entries = 2 ** lg2;
    const fresh = issued - this.#seen;
    this.#seen = issued;
    if (fresh > entries)
      throw new RangeError(`${fresh} commands since the last look: the ring holds ${entries}`);
    return Array.from({ length: fresh }, (_, i) =>
      this.#command(base + ((prod - fresh + i + 2 * entries) % entries) * COMMAND_BYTES),
    );
  }

  #command(at: number): TapeCommand {
    const words = new Uint32Array(4);
    words[0] = this.#memory.load64(at);
    words[1] = this.#memory.hi;
    words[2] = this.#memory.load64(at + 8);
    words[3] = this.#memory.hi;
    const layout = COMMANDS.get((words[0] as number) % 256);
    const fields: Record<string, number> = {};
    for (const [name, value] of Object.entries(layout?.decode(words).values ?? {}))
      if (typeof value === 'number') fields[name] = value;
    return { kind: SHORT[layout?.name ?? ''] ?? 'other', fields };
  }
}

/** How many of each kind, and all of them as `cmd`. */
export type TapeCounts = Readonly<Record<CommandKind | 'cmd', number>> & {
  /** Their kinds in order, as text. */
  readonly order: string;
};

/** Counts what is on a tape. */
export function countTape(commands: readonly TapeCommand[]): TapeCounts {
  const of = (kind: CommandKind): number => commands.filter((one) => one.kind === kind).length;
  return {
    CD: of('CD'),
    STE: of('STE'),
    PREFETCH: of('PREFETCH'),
    VA: of('VA'),
    ASID: of('ASID'),
    ATC: of('ATC'),
    SYNC: of('SYNC'),
    other: of('other'),
    cmd: commands.length,
    order: commands.map(({ kind }) => kind).join(' '),
  };
}
