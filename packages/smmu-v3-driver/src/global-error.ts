import { CERROR, CMDQ_CONS, COMMAND_BYTES, GERROR, queueIndex } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { LogLine, LogSink } from './driver-log.ts';
import { hex8, hex16 } from './event-line.ts';
import { SYNC_WORDS } from './sync-command.ts';

/** Errors that Linux looks at. */
const KNOWN = [
  'SFM_ERR',
  'MSI_GERROR_ABT_ERR',
  'MSI_PRIQ_ABT_ERR',
  'MSI_EVENTQ_ABT_ERR',
  'MSI_CMDQ_ABT_ERR',
  'PRIQ_ABT_ERR',
  'EVENTQ_ABT_ERR',
  'CMDQ_ERR',
] as const;

/** Lines in the order in which the kernel prints them; the command queue's comes last and is its own. */
const LINES: readonly (readonly [(typeof KNOWN)[number], LogLine])[] = [
  ['SFM_ERR', { level: 'err', text: 'device has entered Service Failure Mode!' }],
  ['MSI_GERROR_ABT_ERR', { level: 'warn', text: 'GERROR MSI write aborted' }],
  ['MSI_PRIQ_ABT_ERR', { level: 'warn', text: 'PRIQ MSI write aborted' }],
  ['MSI_EVENTQ_ABT_ERR', { level: 'warn', text: 'EVTQ MSI write aborted' }],
  ['MSI_CMDQ_ABT_ERR', { level: 'warn', text: 'CMDQ MSI write aborted' }],
  ['PRIQ_ABT_ERR', { level: 'err', text: 'PRIQ write aborted -- events may have been lost' }],
  ['EVENTQ_ABT_ERR', { level: 'err', text: 'EVTQ write aborted -- events may have been lost' }],
];

const CERROR_TEXT = new Map<number, string>([
  [CERROR.NONE, 'No error'],
  [CERROR.ILL, 'Illegal command'],
  [CERROR.ABT, 'Abort on command fetch'],
  [CERROR.ATC_INV_SYNC, 'ATC invalidate timeout'],
]);
/** Errors after which the queue goes on by itself, or once GERROR is acknowledged. */
const NO_SKIP: readonly number[] = [CERROR.NONE, CERROR.ABT, CERROR.ATC_INV_SYNC];

/**
 * What a global error handler works with.
 * @example handleGlobalErrors({ gerror, gerrorn, log, disable, skipCommand });
 */
export interface GlobalErrorParts {
  /** GERROR and GERRORN as read. */
  readonly gerror: number;
  readonly gerrorn: number;
  readonly log: LogSink;
  /** Switches the SMMU off (CR0 = 0). */
  disable(): void;
  /** Deals with the command at which the queue stopped, e.g. by {@link skipBadCommand}. */
  skipCommand(): void;
}

/**
 * Prints and answers the global errors that are active (`arm_smmu_gerror_handler`): true when there were any; the caller then writes
 * GERROR to GERRORN.
 * @example if (handleGlobalErrors(parts)) registers.write32(REGISTER_OFFSET.GERRORN, parts.gerror);
 */
export function handleGlobalErrors(parts: GlobalErrorParts): boolean {
  const { gerror, gerrorn, log } = parts;
  const active = (field: (typeof KNOWN)[number]): boolean =>
    GERROR.get[field]([gerror, 0]) !== GERROR.get[field]([gerrorn, 0]);
  if (!KNOWN.some(active)) return false;
  const differing = hex8(differingBits(gerror, gerrorn));
  log({
    level: 'warn',
    text: `unexpected global error reported (${differing}), this could be serious`,
  });
  for (const [field, line] of LINES) {
    if (!active(field)) continue;
    log(line);
    if (field === 'SFM_ERR') parts.disable();
  }
  if (active('CMDQ_ERR')) parts.skipCommand();
  return true;
}

function differingBits(a: number, b: number): number {
  let sum = 0;
  for (let bit = 1; bit < 2 ** 32; bit *= 2)
    if (Math.floor(a / bit) % 2 !== Math.floor(b / bit) % 2) sum += bit;
  return sum;
}

/**
 * A command queue that stopped: `cons` is CMDQ_CONS as read, error included.
 * @example const stopped: StoppedQueue = { memory, base: cmdq.base, lg2: cmdq.lg2, cons, log };
 */
export interface StoppedQueue {
  readonly memory: MemoryView;
  readonly base: number;
  readonly lg2: number;
  readonly cons: number;
  readonly log: LogSink;
}

/**
 * Names the error, and overwrites an illegal command with a SYNC that signals an event, so that the queue can go on
 * (`__arm_smmu_cmdq_skip_err`). An aborted fetch is tried again as it stands.
 * @example skipBadCommand({ memory, base, lg2, cons, log });
 */
export function skipBadCommand({ memory, base, lg2, cons, log }: StoppedQueue): void {
  const error = CMDQ_CONS.get.ERR([cons, 0]);
  const name = CERROR_TEXT.get(error) ?? 'Unknown';
  log({ level: 'err', text: `CMDQ error (cons ${hex8(cons)}): ${name}` });
  if (error === CERROR.ABT) log({ level: 'err', text: 'retrying command fetch' });
  if (NO_SKIP.includes(error)) return;
  const pa = base + queueIndex(cons, lg2) * COMMAND_BYTES;
  log({ level: 'err', text: 'skipping command in error state:' });
  for (let q = 0; q < 2; q++) {
    const lo = memory.load64(pa + q * 8);
    log({ level: 'err', text: `\t${hex16({ lo, hi: memory.hi })}` });
  }
  memory.store64(pa, SYNC_WORDS[0] as number, SYNC_WORDS[1] as number);
  memory.store64(pa + 8, SYNC_WORDS[2] as number, SYNC_WORDS[3] as number);
  memory.clean(pa, COMMAND_BYTES);
}
