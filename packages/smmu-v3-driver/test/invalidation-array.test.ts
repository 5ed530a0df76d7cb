import { expect, test } from 'vitest';
import { invalidateArrayRanges } from '../src/array-invalidation.ts';
import {
  buildEntries,
  type CommandBatch,
  type CommandIssuer,
  CommandStream,
  DRIVER_PROFILES,
  INVALIDATION_TYPE,
  InvalidationArray,
  type InvalidationEntry,
  type InvalidationUnit,
  invalidateArray,
  invalidationEntry,
  type QueueQuirks,
} from '../src/index.ts';

const { S1_ASID, S2_VMID, ATS } = INVALIDATION_TYPE;
const rules = DRIVER_PROFILES['7.3'];

interface List {
  readonly opcodes: number[];
  readonly sync: boolean;
}

/** A queue that remembers the opcodes of each list. */
function recorder(quirks: QueueQuirks = {}): { lists: List[]; stream: CommandStream } {
  const lists: List[] = [];
  const opcodesOf = ({ num, words }: CommandBatch): number[] =>
    Array.from({ length: num }, (_, i) => (words[i * 4] as number) & 0xff);
  const issuer: CommandIssuer = {
    issueSync(batch) {
      lists.push({ opcodes: opcodesOf(batch), sync: true });
      return 0;
    },
    issue: (batch) => void lists.push({ opcodes: opcodesOf(batch), sync: false }),
  };
  const stream = new CommandStream(issuer, quirks);
  return { lists, stream };
}

const { stream } = recorder();
const unit: InvalidationUnit = { order: 0, ranges: true, e2h: false, rules, stream };
/** As the kernel's test names them: V1 a VMID, A3 an endpoint, C1 an ASID. */
const entries = (...names: string[]): InvalidationEntry[] =>
  names
    .map((name) => {
      const type = { V: S2_VMID, C: S1_ASID, A: ATS }[name[0] as 'V' | 'C' | 'A'];
      const [id = 0, ssid = 0] = name.slice(1).split('.').map(Number);
      return invalidationEntry(unit, { type, id, ssid });
    })
    .sort((a, b) => a.type - b.type || a.id - b.id || a.ssid - b.ssid);

const state = ({ entries: all, trash }: InvalidationArray): unknown => ({
  ids: all.map(({ id, ssid }) => (ssid === 0 ? id : Number(`${id}.${ssid}`))),
  users: all.map(({ users }) => users),
  trash,
});

test('merge, unref and purge, with the numbers of the kernel’s own test', () => {
  let array = new InvalidationArray().merge(entries('V1', 'A3'));
  expect(state(array)).toEqual({ ids: [1, 3], users: [1, 1], trash: 0 });
  array = array.merge(entries('V1', 'A4', 'A5'));
  expect(state(array)).toEqual({ ids: [1, 3, 4, 5], users: [2, 1, 1, 1], trash: 0 });
  array.unref(entries('V1', 'A4', 'A5'));
  expect(state(array)).toEqual({ ids: [1, 3], users: [1, 1], trash: 0 });
  array = array.merge(entries('V1', 'A5', 'A6'));
  expect(state(array)).toEqual({ ids: [1, 3, 5, 6], users: [2, 1, 1, 1], trash: 0 });
  const gone = entries('V1', 'A3');
  array.unref(gone);
  expect(gone.map(({ users }) => users)).toEqual([1, 0]);
  expect(state(array)).toEqual({ ids: [1, 3, 5, 6], users: [1, 0, 1, 1], trash: 1 });
  const purged = array.purge();
  expect(state(purged as InvalidationArray)).toEqual({
    ids: [1, 5, 6],
    users: [1, 1, 1],
    trash: 0,
  });
  purged?.unref(entries('V1', 'A5', 'A6'));
  expect(state(purged as InvalidationArray)).toEqual({ ids: [], users: [], trash: 0 });
  expect(purged?.purge()).toBeNull();
});

test('endpoints are told apart by SubstreamID', () => {
  let array = new InvalidationArray().merge(entries('A10.1', 'A10.3', 'A12.1'));
  array = array.merge(entries('A10.2', 'A10.3', 'A12.2'));
  expect(state(array)).toEqual({
    ids: [10.1, 10.2, 10.3, 12.1, 12.2],
    users: [1, 1, 2, 1, 1],
    trash: 0,
  });
  array.unref(entries('A10.2', 'A10.3', 'A12.2'));
  expect(state(array)).toEqual({
    ids: [10.1, 10.2, 10.3, 12.1],
    users: [1, 0, 1, 1],
    trash: 1,
  });
  expect(array.purge()?.entries).toHaveLength(3);
});

test('a merge revives trash and drops what stays trash', () => {
  const array = new InvalidationArray().merge(entries('C1', 'C2', 'C3'));
  array.unref(entries('C1', 'C2'));
  expect(state(array.merge(entries('C1')))).toEqual({ ids: [1, 3], users: [1, 1], trash: 0 });
});

test('TLBs first, then guests, then endpoints, each with its SYNC', () => {
  const { lists, stream: mine } = recorder();
  const attached = buildEntries(
    { order: 0, ranges: true, e2h: false, rules, stream: mine },
    {
      stage: 2,
      id: 4,
      minPage: 4096,
      nestParent: true,
      streamIds: [8, 9],
      ats: true,
      ssid: 0,
    },
  );
  const array = new InvalidationArray().merge(attached);
  const page = { iova: 0x1000, size: 0x1000, granule: 0x1000, leaf: true };
  expect(invalidateArray(array, page)).toBe(0);
  expect(lists).toEqual([
    { opcodes: [0x2a], sync: true },
    { opcodes: [0x10], sync: true },
    { opcodes: [0x40, 0x40], sync: true },
  ]);
  lists.length = 0;
  invalidateArrayRanges(array, [page, { ...page, iova: 0x8000 }]);
  expect(lists).toEqual([
    { opcodes: [0x2a, 0x2a], sync: true },
    { opcodes: [0x10], sync: true },
    { opcodes: [0x40, 0x40], sync: true },
  ]);
  lists.length = 0;
  invalidateArrayRanges(array, [page, { iova: 0, size: 0, granule: 0x1000, leaf: true }]);
  expect(lists.map(({ opcodes }) => opcodes)).toEqual([[0x28], [0x40, 0x40]]);
});

test('an empty array issues nothing', () => {
  expect(
    invalidateArray(new InvalidationArray(), { iova: 0, size: 0, granule: 0, leaf: true }),
  ).toBe(0);
});

test.each([
  [
    {},
    64,
    [
      [64, false],
      [1, true],
    ],
  ],
  [
    { forceSync: true },
    63,
    [
      [63, true],
      [2, true],
    ],
  ],
  [
    { repeat: true },
    64,
    [
      [64, true],
      [64, true],
      [1, true],
      [1, true],
    ],
  ],
] as const)('65 commands with %j: the first list has %i', (quirks, _first, want) => {
  const { lists, stream: mine } = recorder(quirks);
  mine.begin();
  for (let i = 0; i < 65; i++) mine.room().cfgiSte(i);
  mine.submit();
  expect(lists.map(({ opcodes, sync }) => [opcodes.length, sync])).toEqual(want);
});

test('the erratum repeats CFGI and TLBI lists only, and only with a SYNC', () => {
  const { lists, stream: mine } = recorder({ repeat: true });
  mine.room().prefetchConfig(1);
  mine.send();
  mine.room().atcInv({ streamId: 1, substreamId: 0, address: 0, size: 52 });
  mine.submit();
  mine.submit();
  expect(lists.map(({ opcodes }) => opcodes)).toEqual([[1], [0x40], []]);
});
