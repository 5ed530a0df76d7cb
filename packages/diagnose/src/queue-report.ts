import {
  CMDQ_CONS,
  COMMAND_BYTES,
  COMMANDS,
  EVENT_BYTES,
  EVENTQ_CONS,
  EVENTQ_PROD,
  EVENTS,
  GERROR,
  GERRORN,
  queueFull,
  queueIndex,
  queueUsed,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import type { DumpImage } from './dump-image.ts';
import {
  type AnyLayout,
  type EntryView,
  holds,
  lanesOf,
  loadWords,
  viewOf,
  wordsOf,
} from './field-view.ts';
import type { QueuePlace } from './programming.ts';

/**
 * One queue entry: its index, and its decoding where the number of its command or event is known.
 * @example const name = (entry: QueueEntry) => entry.name ?? 'unknown';
 */
export interface QueueEntry {
  readonly index: number;
  /** Command without `CMD_`, or event; undefined for a number that the architecture does not define. */
  readonly name: string | undefined;
  readonly number: number;
  readonly words: readonly U64[];
  readonly entry: EntryView | undefined;
}

/**
 * A queue of a dump. `pending`: entries from the consumer's position on, which are not consumed. `history`: consumed entries that are still
 * in memory, oldest first. `lacking`: pending entries that the dump does not hold.
 * @example const stuck = (queue: QueueReport) => queue.error !== undefined;
 */
export interface QueueReport {
  readonly base: U64;
  readonly log2Size: number;
  /** Index of the next entry that is written, and its wrap bit. */
  readonly prod: { readonly index: number; readonly wrap: number };
  /** The consumer's position. */
  readonly cons: { readonly index: number; readonly wrap: number };
  readonly used: number;
  readonly full: boolean;
  /** Command queue: why consumption stopped (CMDQ_CONS.ERR, IHI 0070 7.1). Event queue: `overflow` when it is not acknowledged. */
  readonly error: string | undefined;
  readonly pending: readonly QueueEntry[];
  readonly history: readonly QueueEntry[];
  readonly lacking: number;
}

interface Kind {
  readonly bytes: number;
  readonly layouts: ReadonlyMap<number, AnyLayout>;
  readonly prefix: string;
}

const COMMAND: Kind = { bytes: COMMAND_BYTES, layouts: COMMANDS, prefix: 'CMD_' };
const EVENT: Kind = { bytes: EVENT_BYTES, layouts: EVENTS, prefix: '' };

/**
 * The command queue of a dump.
 * @example commandQueueOf(openDump('linux-6.12-strict-up')).history.at(-1)?.name // 'SYNC'
 */
export function commandQueueOf(image: DumpImage): QueueReport {
  const { commandQueue, words } = image.programming;
  const code = CMDQ_CONS.get.ERR(words, R.CMDQ_CONS / 4);
  const active =
    GERROR.get.CMDQ_ERR(words, R.GERROR / 4) !== GERRORN.get.CMDQ_ERR(words, R.GERRORN / 4);
  const name = (CMDQ_CONS.rows.ERR.of as Readonly<Record<number, string>>)[code];
  const error = active ? (name ?? `error ${code}`) : undefined;
  return queueOf(image, commandQueue, COMMAND, error);
}

/**
 * The event queue of a dump.
 * @example eventQueueOf(openDump('linux-6.12-fault')).history.length // 24
 */
export function eventQueueOf(image: DumpImage): QueueReport {
  const { eventQueue, words } = image.programming;
  const flag = EVENTQ_PROD.get.OVFLG(words, R.EVENTQ_PROD / 4);
  const seen = EVENTQ_CONS.get.OVACKFLG(words, R.EVENTQ_CONS / 4);
  return queueOf(image, eventQueue, EVENT, flag === seen ? undefined : 'overflow');
}

function queueOf(
  image: DumpImage,
  place: QueuePlace,
  kind: Kind,
  error: string | undefined,
): QueueReport {
  const { base, log2Size, prod, cons } = place;
  const size = 2 ** log2Size;
  const position = (reg: number): { index: number; wrap: number } => ({
    index: queueIndex(reg, log2Size),
    wrap: Math.floor(reg / size) % 2,
  });
  const [next, at] = [position(prod), position(cons)];
  // Inconsistent registers may claim more than fits.
  const used = Math.min(size, queueUsed(prod, cons, log2Size));
  const pending: QueueEntry[] = [];
  for (let i = 0; i < used; i++) {
    const entry = entryAt(image, base, (at.index + i) % size, kind);
    if (entry !== undefined) pending.push(entry);
  }
  const history: QueueEntry[] = [];
  // The oldest entry is the one that would be overwritten next; what was never written is absent or zero.
  for (let i = 0; i < size - used; i++) {
    const entry = entryAt(image, base, (next.index + i) % size, kind);
    if (entry === undefined) continue;
    if (history.length > 0 || entry.words.some(({ lo, hi }) => lo !== 0 || hi !== 0))
      history.push(entry);
  }
  return {
    base: lanesOf(base),
    log2Size,
    prod: next,
    cons: at,
    used,
    full: queueFull(prod, cons, log2Size),
    error,
    pending,
    history,
    lacking: used - pending.length,
  };
}

function entryAt(
  image: DumpImage,
  base: number,
  index: number,
  kind: Kind,
): QueueEntry | undefined {
  const at = base + index * kind.bytes;
  if (!holds(image.memory, at, kind.bytes)) return undefined;
  const words = loadWords(image.memory, at, kind.bytes / 4);
  const number = (words[0] as number) % 256;
  const layout = kind.layouts.get(number);
  return {
    index,
    name: layout?.name.replace(kind.prefix, ''),
    number,
    words: wordsOf(words),
    entry: layout === undefined ? undefined : viewOf(layout, words, at),
  };
}
