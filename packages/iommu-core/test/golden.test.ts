import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Case, inapplicable, recorded, runCase } from './golden-runner.ts';

const fixtures = new URL('./fixtures/', import.meta.url);
const files = readdirSync(fixtures).filter((name) => name.endsWith('.json'));

describe('recorded from Linux 7.3-rc7', () => {
  for (const file of files)
    it(file, () => {
      const { cases } = JSON.parse(readFileSync(new URL(file, fixtures), 'utf8')) as {
        cases: Case[];
      };
      let compared = 0;
      for (const c of cases.filter((c) => inapplicable(c) === undefined)) {
        compared++;
        expect(runCase(c), JSON.stringify(c)).toEqual(recorded(c));
      }
      // None of these files holds a case that our interfaces cannot express.
      expect(compared).toBe(cases.length);
      expect(compared).toBeGreaterThan(100);
    });
});
