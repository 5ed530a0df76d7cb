/**
 * Where a command writes; `isTerminal` of stderr decides about progress.
 * @example const streams: Streams = { out: (text) => chunks.push(text), err: () => {}, isTerminal: false };
 */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTerminal: boolean;
}

/** Prints a report: one JSON object on a line where it is asked for, text otherwise. */
export function printReport<T>(
  streams: Streams,
  flags: { readonly json?: boolean },
  report: T,
  render: (report: T) => string,
): void {
  streams.out(flags.json === true ? `${JSON.stringify(report)}\n` : render(report));
}
