import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Case, inapplicable, runCase } from './golden-runner.ts';

const fixtures = new URL('./fixtures/', import.meta.url);
const files = readdirSync(fixtures).filter((name) => name.endsWith('.json'));

describe('recorded from Linux 7.3-rc7', () => {
  for (const file of files)
    it(file, () => {
      const { cases } = JSON.parse(readFileSync(new URL(file, fixtures), 'utf8')) as {
        cases: Case[];
      };
      let compared = 0;
      for (const c of cases) {
        // The copies hold no case that needs bounce buffers.
        expect(inapplicable(c)).toBeUndefined();
        compared++;
        for (const { expected, actual } of runCase(c))
          expect(actual, JSON.stringify(c)).toEqual(expected);
      }
      expect(compared).toBe(file === 'dma_sg.json' ? 70 : 125);
    });
});
