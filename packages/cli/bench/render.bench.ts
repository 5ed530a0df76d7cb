import { runCommandLine } from '../src/index.ts';

let chars = 0;
const streams = {
  out: (text: string) => {
    chars += text.length;
  },
  err: () => {},
  isTerminal: false,
};

/** Start-up cost of the command line in one process: help with the whole command tree, against the text alone. */
export const cases = [
  {
    name: 'a text of the same size',
    reference: true as const,
    ops: 1,
    run: () => {
      streams.out('x'.repeat(400));
      return chars;
    },
  },
  {
    name: 'help',
    ops: 1,
    run: () => {
      void runCommandLine([], streams);
      return chars;
    },
  },
];
