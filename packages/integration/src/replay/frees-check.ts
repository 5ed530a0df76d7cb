import { hex } from '@iommukit/bits';
import type { CheckTally } from './check-tally.ts';

/**
 * Ranges that our flush queues free against those that the kernel's do, by domain, page frame, size and how often. Ours must be freed when the
 * kernel's is: the flush that ends a mapping comes before its range is free again.
 */
export class FreesCheck {
  /** Our frees minus the kernel's, of each range. */
  readonly #balance = new Map<string, number>();
  #equal = 0;
  readonly #differences: string[] = [];

  /** One of our queues frees a range, pages. */
  ours(iovad: string, pfn: number, pages: number): void {
    const range = rangeOf(iovad, pfn, pages);
    this.#balance.set(range, (this.#balance.get(range) ?? 0) + 1);
  }

  /** The kernel frees a range, pages. */
  theirs(iovad: string, pfn: number, pages: number): void {
    const range = rangeOf(iovad, pfn, pages);
    const waiting = this.#balance.get(range) ?? 0;
    if (waiting > 0) {
      this.#balance.set(range, waiting - 1);
      this.#equal++;
    } else this.#differences.push(`${range}: the kernel frees what no flush of ours has ended`);
  }

  report(tally: CheckTally): void {
    tally.equal += this.#equal;
    for (const text of this.#differences) tally.differ(text);
    for (const [range, balance] of this.#balance)
      for (let n = balance; n > 0; n--) tally.differ(`${range}: the kernel does not free it`);
  }
}

function rangeOf(iovad: string, pfn: number, pages: number): string {
  return `domain ${iovad}, page frame ${hex(pfn)}, ${pages} pages`;
}
