import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  runBuilders,
  runCommands,
  runEntryWrites,
  runEvents,
  runInvalidations,
  type VectorFile,
} from './golden-run.lanes.ts';

function load(name: string): VectorFile {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8'));
}

test('invalidations of 6.12: every case is equal or not applicable by name', () => {
  const outcome = runInvalidations(load('smmu_inv_612'));
  expect(outcome.mismatches).toEqual([]);
  expect(outcome.compared).toBe(104);
  expect(outcome.notApplicable).toEqual({
    E2H: 50,
    'stage 2': 93,
    ATS: 77,
    'errata options': 16,
    SVA: 3,
  });
});

test('event lines of 6.12', () => {
  const outcome = runEvents(load('evt_print_612'));
  expect(outcome.mismatches).toEqual([]);
  expect(outcome.compared).toBe(129);
  expect(outcome.notApplicable).toEqual({ PRI: 12, 'global errors': 30 });
});

test('states of an entry at each sync, pairs that are peculiar to 6.12', () => {
  const file = load('smmu_entry_write_612');
  const outcome = runEntryWrites(file, file);
  expect(outcome.mismatches).toEqual([]);
  expect(outcome.compared).toBe(36);
  expect(outcome.notApplicable).toEqual({});
});

test('commands as the builder of 6.12 makes them', () => {
  const outcome = runCommands(load('smmu_cmd_612'));
  expect(outcome.mismatches).toEqual([]);
  expect(outcome.compared).toBe(53);
  expect(outcome.notApplicable).toEqual({
    'refused by the builder': 16,
    stalls: 13,
    ATS: 18,
    PRI: 9,
    MSIPOLL: 15,
    'TLBI of stage 2 or EL2': 16,
    'secondary queue': 3,
    'CFGI with leaf = 0': 4,
    CFGI_CD_ALL: 1,
  });
});

test('STEs, CDs, level-1 words and used bits', () => {
  const outcome = runBuilders(load('smmu_entry_build'));
  expect(outcome.mismatches).toEqual([]);
  expect(outcome.compared).toBe(105);
  expect(outcome.notApplicable).toEqual({
    ATS: 33,
    substreams: 12,
    E2H: 14,
    'stage 2': 91,
    'hardware dirty tracking': 16,
    SVA: 48,
  });
});

test('the comparison notices one wrong bit', () => {
  const file = JSON.parse(JSON.stringify(load('smmu_inv_612'))) as {
    cases: { issues: { cmds: [string, string][] }[] }[];
  };
  const command = file.cases[0]?.issues[0]?.cmds[0];
  if (command === undefined) throw new Error('no command');
  command[1] = `0x${(BigInt(command[1]) ^ 0x100n).toString(16)}`;
  expect(runInvalidations(file as unknown as VectorFile).mismatches).toHaveLength(1);
});
