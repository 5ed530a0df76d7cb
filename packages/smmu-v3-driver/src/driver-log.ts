/**
 * One line that the driver prints, without the device prefix.
 * @example const line: LogLine = { level: 'warn', text: 'EVTQ overflow detected -- events lost' };
 */
export interface LogLine {
  /** As `dev_info`, `dev_notice`, `dev_warn` and `dev_err` print it. */
  readonly level: 'info' | 'notice' | 'warn' | 'err';
  /** The kernel's text, without a line end. */
  readonly text: string;
}

/**
 * Where the driver's lines go. Called in the midst of whatever is printed about, once a line and in the kernel's order: it must not throw,
 * and must not call the driver. The line is the sink's to keep.
 * @example const sink: LogSink = (line) => lines.push(line.text);
 */
export type LogSink = (line: LogLine) => void;

/** A sink that keeps nothing. */
export const NO_LOG: LogSink = () => {};
