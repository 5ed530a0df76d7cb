import { CFGI_ALL_RANGE, CMD_CFGI_STE, CMD_CFGI_STE_RANGE, OPCODE } from '@iommukit/arm-arch';
import type { QemuDigest } from '@iommukit/captures';
import type { DumpImage } from '../dump-image.ts';
import { commandQueueOf, type QueueEntry } from '../queue-report.ts';
import type { VerifyTally } from './verify-tally.ts';

/** QEMU's log joined with the command queue of one dump: where in the log the dump was made. */
export class CommandLog {
  readonly digest: QemuDigest;
  /** Consumed commands that the dump still holds, oldest first. */
  readonly history: readonly QueueEntry[];
  /** Commands consumed since boot when the dump was made. */
  readonly consumed: number;
  /** Position in `digest.ops` of the first command after the dump, or their number. */
  readonly end: number;
  readonly #log2Size: number;
  readonly #names: readonly string[];

  constructor(image: DumpImage, digest: QemuDigest) {
    this.digest = digest;
    const { log2Size, cons } = image.programming.commandQueue;
    this.#log2Size = log2Size;
    this.history = commandQueueOf(image).history;
    const places: number[] = [];
    const names: string[] = [];
    for (const [i, op] of digest.ops.entries())
      if (op.op === 'C') {
        names.push(op.opcode);
        places.push(i);
      }
    this.#names = names;
    // CONS counts modulo twice the size: of the numbers that fit, the one whose commands are those in memory.
    const round = 2 ** (log2Size + 1);
    const first = cons % round;
    let [best, bestEqual] = [first, -1];
    for (let n = first; n <= names.length; n += round) {
      const equal = this.#equalAt(n);
      if (equal > bestEqual) [best, bestEqual] = [n, equal];
    }
    this.consumed = best;
    this.end = places[best] ?? digest.ops.length;
  }

  /** The value of CMDQ_PROD or CMDQ_CONS after `n` commands since boot. */
  register(n: number): number {
    return n % 2 ** (this.#log2Size + 1);
  }

  /** How many commands the oldest one in memory has before it. */
  get firstHeld(): number {
    return this.consumed - this.history.length;
  }

  /** Compares the commands in memory with QEMU's log, one by one. */
  compare(tally: VerifyTally): void {
    for (const [i, entry] of this.history.entries()) {
      const theirs = this.#names[this.firstHeld + i];
      tally.compare(
        entry.name === theirs
          ? undefined
          : `command ${this.firstHeld + i}: ${entry.name ?? 'unknown'}, QEMU ${theirs ?? 'none'}`,
      );
    }
  }

  /** True when a command that is in memory invalidated the STE of the stream at or after number `from`. */
  reconfigures(streamId: number, from: number): boolean {
    return this.history
      .slice(Math.max(0, from - this.firstHeld))
      .some((entry) => invalidatesSte(entry, streamId));
  }

  #equalAt(n: number): number {
    const first = n - this.history.length;
    return this.history.filter(({ name }, i) => name === this.#names[first + i]).length;
  }
}

function invalidatesSte(entry: QueueEntry, streamId: number): boolean {
  const words = entry.words.flatMap(({ lo, hi }) => [lo, hi]);
  if (entry.number === OPCODE.CFGI_STE) return CMD_CFGI_STE.get.StreamID(words) === streamId;
  if (entry.number !== OPCODE.CFGI_STE_RANGE) return false;
  const range = CMD_CFGI_STE_RANGE.get.Range(words);
  const size = 2 ** (range + 1);
  const first = CMD_CFGI_STE_RANGE.get.StreamID(words);
  return range === CFGI_ALL_RANGE || Math.floor(first / size) === Math.floor(streamId / size);
}
