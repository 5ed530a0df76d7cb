import { SingleBar } from 'cli-progress';

/** A progress bar on stderr that can be told how far the work is. */
export interface Progress {
  readonly update: (done: number, total: number) => void;
  readonly stop: () => void;
}

/** A bar for a terminal, which counts `units`; otherwise one that prints nothing. */
export function progressBar(
  onTerminal: boolean,
  units: 'operations' | 'files' | 'scenarios' = 'operations',
): Progress {
  if (!onTerminal) return { update: () => {}, stop: () => {} };
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
