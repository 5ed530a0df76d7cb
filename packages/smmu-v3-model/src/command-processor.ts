/*
 * What commands do (IHI 0070 4): invalidation, barriers, endpoints and stalled transactions.
 * Not modelled: prefetch; commands of one queue that complete out of order, beyond invalidation that is as late as CMD_SYNC allows.
 */
import { CERROR, CMD_SYNC } from '@iommukit/arm-arch';
import { type CommandContext, type DecodedCommand, decodeCommand } from './command-decode.ts';
import type { CommandQueue } from './command-queue.ts';
import type { ConfigCache, ConfigInvalidation } from './config-cache.ts';
import type { AtcInvalidation, EndpointPort } from './endpoint-port.ts';
import type { Interrupts } from './interrupts.ts';
import type { StaleUse } from './stale-use.ts';
import type { StallTable } from './stall-table.ts';
import type { Tlb } from './tlb.ts';
import type { TlbInvalidation } from './tlb-invalidation.ts';

/** What was consumed and may still wait for a CMD_SYNC. */
type Waiting =
  | TlbInvalidation
  | ConfigInvalidation
  | { readonly what: 'atc-inv'; readonly request: AtcInvalidation };

/** What the processor counts. */
export interface CommandCounts {
  commands: number;
  syncs: number;
}

/** What commands act on. */
export interface CommandTargets {
  readonly tlb: Tlb;
  readonly config: ConfigCache;
  readonly interrupts: Interrupts;
  readonly stalls: StallTable;
  /** Endpoints by StreamID. */
  readonly ports: ReadonlyMap<number, EndpointPort>;
}

/** Executes commands. */
export class CommandProcessor {
  readonly #targets: CommandTargets;
  readonly #counts: CommandCounts;
  readonly #context: () => CommandContext;
  readonly #invalidate: 'at-command' | 'at-sync';
  readonly #opcodes: Uint32Array = new Uint32Array(256);
  readonly #waiting: Waiting[] = [];
  /** An endpoint did not answer an invalidation since the last CMD_SYNC. */
  #timedOut = false;
  /** Caches were invalidated since the last CMD_SYNC. */
  #invalidated = false;

  constructor(parts: {
    targets: CommandTargets;
    counts: CommandCounts;
    context: () => CommandContext;
    invalidate: 'at-command' | 'at-sync';
  }) {
    this.#targets = parts.targets;
    this.#counts = parts.counts;
    this.#context = parts.context;
    this.#invalidate = parts.invalidate;
  }

  /** How many commands with this opcode were consumed. */
  count(opcode: number): number {
    return this.#opcodes[opcode] ?? 0;
  }

  /** Executes a command; the CERROR that stops the queue. */
  execute(words: Uint32Array): number {
    const command = decodeCommand(words, this.#context());
    if (command.what === 'illegal') return CERROR.ILL;
    const error = this.#perform(command);
    if (error !== CERROR.NONE) return error;
    this.#counts.commands++;
    const opcode = CMD_SYNC.get.Opcode(words);
    this.#opcodes[opcode] = (this.#opcodes[opcode] as number) + 1;
    return CERROR.NONE;
  }

  /** How far an invalidation of the SMMU's caches that `test` accepts has come; the furthest of several. */
  progress(
    queue: CommandQueue,
    test: (op: TlbInvalidation | ConfigInvalidation) => boolean,
  ): StaleUse['class'] {
    return this.#progress(queue, (op) => op.what !== 'atc-inv' && test(op));
  }

  /** The same for invalidations of endpoints. */
  atcProgress(queue: CommandQueue, test: (request: AtcInvalidation) => boolean): StaleUse['class'] {
    return this.#progress(queue, (op) => op.what === 'atc-inv' && test(op.request));
  }

  #progress(queue: CommandQueue, test: (op: Waiting) => boolean): StaleUse['class'] {
    if (this.#waiting.some(test)) return 'race';
    const context = this.#context();
    const queued = queue.somePending((words) => {
      const command = decodeCommand(words, context);
      const { what } = command;
      return (what === 'tlb' || what === 'config' || what === 'atc-inv') && test(command);
    });
    return queued ? 'pending' : 'missing';
  }

  #perform(command: Exclude<DecodedCommand, { what: 'illegal' }>): number {
    const { stalls, ports } = this.#targets;
    switch (command.what) {
      case 'tlb':
      case 'config':
      case 'atc-inv':
        if (this.#invalidate === 'at-sync') this.#waiting.push(command);
        else this.#complete(command);
        return CERROR.NONE;
      case 'sync':
        return this.#sync(command);
      case 'resume':
        stalls.resume(command.streamId, command.stag, command.action);
        return CERROR.NONE;
      case 'stall-term':
        stalls.terminateStream(command.streamId);
        return CERROR.NONE;
      case 'pri-resp':
        ports.get(command.response.streamId)?.pageResponse(command.response);
        return CERROR.NONE;
      default:
        return CERROR.NONE;
    }
  }

  #sync(command: Extract<DecodedCommand, { what: 'sync' }>): number {
    for (const op of this.#waiting.splice(0)) this.#complete(op);
    if (this.#timedOut) {
      // Which of the outstanding invalidations failed is not known; a CMD_SYNC that is given again does not wait for them (4.7.3).
      this.#timedOut = false;
      return CERROR.ATC_INV_SYNC;
    }
    this.#counts.syncs++;
    const { interrupts, stalls } = this.#targets;
    if (this.#invalidated) stalls.touch();
    this.#invalidated = false;
    if (command.signal === 1) interrupts.commandSync(command.msiAddress, command.msiData);
    else if (command.signal === 2) interrupts.sendEvent();
    return CERROR.NONE;
  }

  #complete(op: Waiting): void {
    const { tlb, config, ports } = this.#targets;
    if (op.what === 'atc-inv') {
      // A StreamID without an endpoint is a system without ATS: the command is ignored (4.5.1).
      const answer = ports.get(op.request.streamId)?.invalidate(op.request);
      if (answer === 'timeout') this.#timedOut = true;
      return;
    }
    this.#invalidated = true;
    if (op.what === 'tlb') tlb.invalidate(op);
    else config.invalidate(op);
  }
}
