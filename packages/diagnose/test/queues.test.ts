import { afterAll, describe, expect, test } from 'vitest';
import { commandQueueOf, eventQueueOf, openDump } from '../src/index.ts';
import { CMDQ, EVTQ, removeDumps, WrittenDump } from './written-dump.lanes.ts';

afterAll(removeDumps);

/** CMD_SYNC as Linux gives it, and CMD_CFGI_STE of a stream. */
const SYNC = [0x0fc0_2046n, 0n] as const;
const cfgi = (sid: bigint): readonly [bigint, bigint] => [(sid << 32n) | 3n, 1n];

function filled(count: number): WrittenDump {
  const dump = new WrittenDump();
  for (let i = 0; i < count; i++)
    dump.words(CMDQ + i * 16, ...(i % 2 === 0 ? cfgi(BigInt(i)) : SYNC));
  return dump;
}

describe('command queue', () => {
  test('pending from CONS to PROD, history before CONS', () => {
    const dump = filled(6);
    dump.registers['0x98'] = 6;
    dump.registers['0x9c'] = 4;
    const queue = commandQueueOf(dump.open());
    expect(queue.pending.map(({ index, name }) => [index, name])).toEqual([
      [4, 'CFGI_STE'],
      [5, 'SYNC'],
    ]);
    expect(queue.history.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(queue.cons).toEqual({ index: 4, wrap: 0 });
    expect(queue).toMatchObject({ used: 2, full: false, error: undefined, lacking: 0 });
  });

  test('a wrapped queue: the oldest entry is the next that is overwritten', () => {
    const dump = filled(16);
    dump.registers['0x98'] = 16 + 5;
    dump.registers['0x9c'] = 16 + 3;
    const queue = commandQueueOf(dump.open());
    expect(queue.pending.map(({ index }) => index)).toEqual([3, 4]);
    const oldestFirst = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2];
    expect(queue.history.map(({ index }) => index)).toEqual(oldestFirst);
  });

  test('a full queue, and an error', () => {
    const dump = filled(16);
    dump.registers['0x98'] = 16 + 3;
    // ERR=1, GERROR.CMDQ_ERR not acknowledged.
    dump.registers['0x9c'] = 3 + 0x0100_0000;
    dump.registers['0x60'] = 1;
    const queue = commandQueueOf(dump.open());
    expect(queue).toMatchObject({ used: 16, full: true });
    expect(queue.error).toBe('CERROR_ILL');
    expect(queue.pending).toHaveLength(16);
  });

  test('an undefined opcode is kept raw, reserved bits are named', () => {
    const dump = new WrittenDump().words(CMDQ, 0xffn, 0n, SYNC[0] | (1n << 63n), 1n << 63n);
    dump.registers['0x98'] = 2;
    dump.registers['0x9c'] = 2;
    const [unknown, sync] = commandQueueOf(dump.open()).history;
    expect(unknown).toMatchObject({ name: undefined, number: 0xff, entry: undefined });
    expect(sync?.entry?.stray.length).toBeGreaterThan(0);
  });

  test('registers that claim more than the dump holds', () => {
    const dump = new WrittenDump();
    dump.registers['0x98'] = 9;
    expect(commandQueueOf(dump.open())).toMatchObject({ used: 9, lacking: 9, pending: [] });
  });
});

describe('event queue', () => {
  test('the 24 records of the captured faults', () => {
    const { history, pending } = eventQueueOf(openDump('linux-6.12-fault'));
    expect(pending).toEqual([]);
    expect(history).toHaveLength(24);
    expect(new Set(history.map(({ name }) => name))).toEqual(new Set(['F_TRANSLATION']));
    // inputs.md section 2.1: the first one is a read of 0x1000 by stream 0x30.
    const words = history[0]?.words.map(({ lo, hi }) => [hi, lo]);
    expect(words).toEqual([
      [0x30, 0x10],
      [0x208, 0],
      [0, 0x1000],
      [0, 0],
    ]);
  });

  test('an overflow that is not acknowledged', () => {
    const dump = new WrittenDump().words(EVTQ, 0x0000_0008_0000_0010n, 0n, 0n, 0n);
    dump.registers['0x100a8'] = 0x8000_0001;
    const queue = eventQueueOf(dump.open());
    expect(queue).toMatchObject({ used: 1, error: 'overflow' });
    expect(queue.pending).toMatchObject([{ name: 'F_TRANSLATION', index: 0 }]);
  });
});
