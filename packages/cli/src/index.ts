export { runCommandLine } from './command-line.ts';
export type { Streams } from './streams.ts';
