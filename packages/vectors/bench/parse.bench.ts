import { readFileSync } from 'node:fs';
import { VECTOR_FILES } from '../src/index.ts';

const largest = VECTOR_FILES.find(({ name }) => name === 'iova_depot_2cpu');
const text = readFileSync(new URL(`../${largest?.path ?? ''}`, import.meta.url), 'utf8');
const ops = largest?.operations ?? 1;

interface Parsed {
  readonly ops: readonly object[];
}

/** What it costs to read a file whole, or one operation at a time. */
export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'JSON.parse of the whole file',
    reference: true,
    ops,
    run: () => (JSON.parse(text) as Parsed).ops.length,
  },
  {
    name: 'JSON.parse of each line',
    ops,
    run: () => {
      let count = 0;
      for (const line of text.split('\n'))
        if (line.startsWith('{"op"'))
          count += Object.keys(JSON.parse(line.replace(/,$/, '')) as object).length;
      return count;
    },
  },
];
