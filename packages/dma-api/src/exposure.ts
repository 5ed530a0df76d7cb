import type { Clock } from '@iommukit/platform';

/**
 * What lazy invalidation left reachable: pages that were unmapped while devices could still hold their translations.
 * @example meter.report().peakBytes
 */
export interface ExposureReport {
  /** Unmaps that were not followed by an invalidation at once. */
  readonly unmaps: number;
  /** Pages of those, of the domains' granules, and their bytes. */
  readonly pages: number;
  readonly bytes: number;
  /** Reachable now. */
  readonly openPages: number;
  readonly openBytes: number;
  /** The most that was reachable at one time. */
  readonly peakPages: number;
  readonly peakBytes: number;
  /** Sum over all pages that are closed of the time they stayed open: pages times microseconds. */
  readonly pageMicroseconds: number;
  /** The longest that a closed page stayed open, microseconds. */
  readonly longestUs: number;
}

/**
 * One domain's view of an {@link ExposureMeter}.
 * @example const window: ExposureWindow = meter.watch(4096, clock);
 */
export interface ExposureWindow {
  /** Pages were unmapped after `flushStart` flushes had begun. */
  open(pages: number, flushStart: number): void;
  /** Flush number `finish` is complete: what was opened before it began is out of reach. */
  close(finish: number): void;
}

interface Batch {
  readonly flushStart: number;
  readonly firstUs: number;
  pages: number;
  /** Sum of the moments at which its pages were unmapped. */
  sinceUs: number;
}

/**
 * Measures the window of lazy domains: from the unmap to the flush of the whole domain a device may still reach the page. One meter can
 * watch many domains. Time is the injected clock's.
 * @example const exposure = new ExposureMeter(); new DmaApi({ ...options, flushQueue: { exposure } }); exposure.report().longestUs;
 */
export class ExposureMeter {
  #unmaps = 0;
  #pages = 0;
  #bytes = 0;
  #openPages = 0;
  #openBytes = 0;
  #peakPages = 0;
  #peakBytes = 0;
  #pageMicroseconds = 0;
  #longestUs = 0;

  /** The figures so far. */
  report(): ExposureReport {
    return {
      unmaps: this.#unmaps,
      pages: this.#pages,
      bytes: this.#bytes,
      openPages: this.#openPages,
      openBytes: this.#openBytes,
      peakPages: this.#peakPages,
      peakBytes: this.#peakBytes,
      pageMicroseconds: this.#pageMicroseconds,
      longestUs: this.#longestUs,
    };
  }

  /** A window for one more domain, whose pages have `granule` bytes. */
  watch(granule: number, clock: Clock): ExposureWindow {
    const batches: Batch[] = [];
    return {
      open: (pages, flushStart) => {
        const now = clock.nowUs;
        let batch = batches.at(-1);
        if (batch?.flushStart !== flushStart) {
          batch = { flushStart, firstUs: now, pages: 0, sinceUs: 0 };
          batches.push(batch);
        }
        batch.pages += pages;
        batch.sinceUs += pages * now;
        this.#opened(pages, granule);
      },
      close: (finish) => {
        const now = clock.nowUs;
        for (let batch = batches[0]; batch !== undefined; batch = batches[0]) {
          if (batch.flushStart >= finish) return;
          batches.shift();
          this.#openPages -= batch.pages;
          this.#openBytes -= batch.pages * granule;
          this.#pageMicroseconds += batch.pages * now - batch.sinceUs;
          this.#longestUs = Math.max(this.#longestUs, now - batch.firstUs);
        }
      },
    };
  }

  #opened(pages: number, granule: number): void {
    this.#unmaps++;
    this.#pages += pages;
    this.#bytes += pages * granule;
    this.#openPages += pages;
    this.#openBytes += pages * granule;
    this.#peakPages = Math.max(this.#peakPages, this.#openPages);
    this.#peakBytes = Math.max(this.#peakBytes, this.#openBytes);
  }
}
