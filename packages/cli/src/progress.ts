import { SingleBar } from 'cli-progress';
import type { Streams } from './streams.ts';

/** Told how much of how much is done. */
export type Update = (done: number, total: number) => void;

/**
 * Does work under a bar on stderr that counts `units`; where stderr is no terminal, and for JSON, nothing is drawn.
 */
export function withProgress<T>(
  streams: Streams,
  flags: { readonly json?: boolean },
  units: 'operations' | 'files' | 'scenarios',
  work: (update: Update) => T,
): T {
  if (!streams.isTerminal || flags.json === true) return work(() => {});
  const bar = new SingleBar({
    format: `{bar} {percentage}% {value}/{total} ${units}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  });
  let started = false;
  try {
    return work((done, total) => {
      if (!started) bar.start(total, done);
      else bar.update(done);
      started = true;
    });
  } finally {
    bar.stop();
  }
}
