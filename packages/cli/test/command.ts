import { runCommandLine, type Streams } from '../src/index.ts';

/** What a run of the command came to. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `iommukit` with arguments, its streams no terminal. */
export async function run(...args: string[]): Promise<Ran> {
  let [out, err] = ['', ''];
  const streams: Streams = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
  };
  const code = await runCommandLine(args, streams);
  return { code, out, err };
}

/** Runs one command of `iommukit` with arguments. */
export const running =
  (...command: string[]) =>
  (...args: string[]): Promise<Ran> =>
    run(...command, ...args);
