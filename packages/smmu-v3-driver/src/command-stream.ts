import { OPCODE } from '@iommukit/arm-arch';
import { BATCH_ENTRIES, CommandBatch } from './command-batch.ts';

/**
 * Where lists of commands go: the command queue, or a recorder in a test.
 * @example const issuer: CommandIssuer = driver.cmdq;
 */
export interface CommandIssuer {
  /** Issues a list and a SYNC, and waits: 0 or -ETIMEDOUT. */
  issueSync(batch: CommandBatch): number;
  /** Issues a list and does not wait. */
  issue(batch: CommandBatch): void;
}

/**
 * What errata of an SMMU demand of every list; absent is false.
 * @example const quirks: QueueQuirks = { forceSync: true };
 */
export interface QueueQuirks {
  /** A SYNC follows at most 63 commands (`ARM_SMMU_OPT_CMDQ_FORCE_SYNC`). */
  readonly forceSync?: boolean;
  /** A list of CFGI or TLBI with its SYNC is issued twice. */
  readonly repeat?: boolean;
}

/**
 * A growing list of commands that issues itself when it is full (`arm_smmu_cmdq_batch_add`), with what errata demand.
 * @example const stream = new CommandStream(driver.cmdq, {}); stream.begin(); stream.room().cfgiSte(8); stream.submit();
 */
export class CommandStream {
  readonly batch: CommandBatch = new CommandBatch();
  readonly #issuer: CommandIssuer;
  readonly #forceSync: boolean;
  readonly #repeat: boolean;

  constructor(issuer: CommandIssuer, quirks: QueueQuirks) {
    this.#issuer = issuer;
    this.#forceSync = quirks.forceSync === true;
    this.#repeat = quirks.repeat === true;
  }

  /** Commands that wait to be issued. */
  get pending(): number {
    return this.batch.num;
  }

  /** Starts a new list. */
  begin(): void {
    this.batch.num = 0;
  }

  /** The list with room for one more command: what is full was issued, with a SYNC where an erratum asks. */
  room(): CommandBatch {
    const { batch } = this;
    if (batch.num < BATCH_ENTRIES - 1) return batch;
    if (this.#forceSync || (batch.num === BATCH_ENTRIES && this.#repeat)) this.submit();
    else if (batch.num === BATCH_ENTRIES) this.send();
    return batch;
  }

  /** Issues the list, empty or not, with a SYNC and starts a new one: 0 or -ETIMEDOUT. */
  submit(): number {
    const { batch } = this;
    let errno = this.#issuer.issueSync(batch);
    if (this.#repeat && repeats(batch)) errno = this.#issuer.issueSync(batch) || errno;
    batch.num = 0;
    return errno;
  }

  /** Issues the list without a SYNC and starts a new one. */
  send(): void {
    this.#issuer.issue(this.batch);
    this.batch.num = 0;
  }
}

/** The erratum is about cached configuration and translations; the first command decides for the list. */
function repeats({ num, words }: CommandBatch): boolean {
  const opcode = (words[0] as number) % 256;
  return num > 0 && opcode >= OPCODE.CFGI_STE && opcode < OPCODE.ATC_INV;
}
