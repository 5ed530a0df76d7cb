import { CommandLog } from './command-log.ts';
import type { DmaRig, DmaRigOptions } from './dma-rig.ts';

/**
 * Everything that a call changed, one line a call: stores to tables, data cache lines, bytes copied, commands, IOVAs given back. Two ways
 * that do the same work have the same lines.
 */
export class StepLog {
  readonly lines: string[] = [];
  #done: string[] = [];
  #commands: CommandLog | null = null;
  #copied = '';

  /** What a rig needs so that this log hears of it. */
  get options(): Pick<DmaRigOptions, 'observer' | 'onCache'> {
    const note = (what: string, ...at: number[]): void =>
      void this.#done.push(`${what} ${at.map((n) => n.toString(16)).join(' ')}`);
    return {
      observer: { onStore: (pa, lo, hi) => note('store', pa, hi, lo) },
      onCache: (what, paddr, size) => note(what, paddr, size),
    };
  }

  /** Begins with the next call. */
  follow(dma: DmaRig): void {
    const { machine } = dma.rig;
    this.#commands = new CommandLog(machine.memory, machine.driver.cmdq);
    this.#commands.keep = true;
    dma.api.trace.listen((event) => {
      if (event.name === 'free_fast') this.#done.push(`free ${event.pfn} ${event.size}`);
    });
    this.#done = [];
  }

  /** A call is over. */
  step(dma: DmaRig): void {
    const commands = this.#commands;
    if (commands === null) return;
    dma.rig.settleCommands();
    const { VA, ASID, CFGI, SYNC, other, fields } = commands.read();
    const addresses = commands.vas.splice(0).map(({ start }) => start);
    const { copiedIn, copiedOut, usedSlots } = dma.swiotlb.report();
    const copied = `${copiedIn} ${copiedOut} ${usedSlots}`;
    if (copied !== this.#copied) this.#done.push(`copied ${copied}`);
    this.#copied = copied;
    const issued = JSON.stringify({ VA, ASID, CFGI, SYNC, other, fields, addresses });
    this.lines.push([...this.#done, issued].join('; '));
    this.#done = [];
  }
}

/** The logs of the cases of one row: each is compared with the first. */
export class StepTwins {
  #first: readonly string[] | null = null;

  /** Calls that did exactly what the first case's did; any other is a fault. */
  compare(dma: DmaRig, { lines }: StepLog): number {
    const first = this.#first ?? lines;
    this.#first = first;
    let same = 0;
    let differs = -1;
    for (let i = 0; i < Math.max(first.length, lines.length); i++)
      if (first[i] === lines[i]) same++;
      else if (differs < 0) differs = i;
    if (differs >= 0)
      dma.rig.fault(`call ${differs}: ${lines[differs] ?? 'none'}, expected ${first[differs]}`);
    return same;
  }
}
