/**
 * One line that the driver prints, without the device prefix.
 * @example const line: LogLine = { level: 'warn', text: 'EVTQ overflow detected -- events lost' };
 */
export interface LogLine {
  readonly level: 'info' | 'notice' | 'warn' | 'err';
  readonly text: string;
}

/**
 * Where the driver's lines go.
 * @example const sink: LogSink = (line) => lines.push(line.text);
 */
export type LogSink = (line: LogLine) => void;
