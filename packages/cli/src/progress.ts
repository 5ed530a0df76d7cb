import { SingleBar } from 'cli-progress';
import type { Streams } from './streams.ts';

/** Told how much of how much is done. */
export type Update = (done: number, total: number) => void;

type Units = 'operations' | 'files' | 'scenarios' | 'steps' | 'mutations';

/** A bar on stderr, drawn from the first update on. */
function openBar(units: Units): { readonly update: Update; stop(): void } {
  const bar = new SingleBar({
    format: `{bar} {percentage}% {value}/{total} ${units}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  });
  let started = false;
  return {
    update: (done, total) => {
      if (!started) bar.start(total, done);
      else bar.update(done);
      started = true;
    },
    stop: () => bar.stop(),
  };
}

/**
 * Does work under a bar on stderr that counts `units`; where stderr is no terminal, and for JSON, nothing is drawn.
 */
export function withProgress<T>(
  streams: Streams,
  flags: { readonly json?: boolean },
  units: Units,
  work: (update: Update) => T,
): T {
  if (!streams.isTerminal || flags.json === true) return work(() => {});
  const bar = openBar(units);
  try {
    return work(bar.update);
  } finally {
    bar.stop();
  }
}

/** The same for work that waits for other processes. */
export async function withProgressOf<T>(
  streams: Streams,
  flags: { readonly json?: boolean },
  units: Units,
  work: (update: Update) => Promise<T>,
): Promise<T> {
  if (!streams.isTerminal || flags.json === true) return work(() => {});
  const bar = openBar(units);
  try {
    return await work(bar.update);
  } finally {
    bar.stop();
  }
}
