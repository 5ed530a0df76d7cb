import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '@iommukit/captures';
import { afterAll, describe, expect, test } from 'vitest';
import { AbsentMemory, dumpFiles, openDump } from '../src/index.ts';
import { removeDumps, STRTAB, WrittenDump } from './written-dump.lanes.ts';

afterAll(removeDumps);

describe('memory of a dump', () => {
  const { memory } = new WrittenDump()
    .word(0x4100_0000, 0x1122_3344_5566_7788n)
    .word(0x4200_0ff8, 5n)
    .open();

  test('what the dump holds', () => {
    expect(memory.load64(0x4100_0000)).toBe(0x5566_7788);
    expect(memory.hi).toBe(0x1122_3344);
    expect(memory.load32(0x4100_0004)).toBe(0x1122_3344);
    expect(memory.isBacked(0x4200_0ff8)).toBe(true);
  });

  test('what it does not hold is absent, never zero', () => {
    for (const pa of [0, 0x40ff_f000, 0x4100_1000, 0x4200_1000]) {
      expect(memory.isBacked(pa)).toBe(false);
      expect(() => memory.load64(pa)).toThrow(AbsentMemory);
    }
  });

  test('stores go over it and can be forgotten', () => {
    memory.store64(0x4100_0000, -1, 1);
    memory.store64(0x5000_0000, 7, 8);
    expect(memory.load64(0x4100_0000)).toBe(0xffff_ffff);
    expect(memory.cas64(0x5000_0000, 7, 9, 0, 0)).toBe(false);
    expect(memory.cas64(0x5000_0000, 7, 8, 1, 2)).toBe(true);
    memory.store32(0x5000_0004, 3);
    expect([memory.load64(0x5000_0000), memory.hi]).toEqual([1, 3]);
    memory.restore();
    expect(memory.load64(0x4100_0000)).toBe(0x5566_7788);
    expect(memory.isBacked(0x5000_0000)).toBe(false);
  });

  test('a watch notes loads and what was missed', () => {
    const watch = memory.watching(() => {
      memory.load64(0x4100_0008);
      memory.isBacked(0x6000_0000);
    });
    expect(watch).toEqual({ loads: [0x4100_0008], absent: new Set([0x6000_0000]) });
  });

  test('the held parts of a range', () => {
    expect([...memory.held(0x4100_0800, 0x4200_0010)]).toEqual([
      { start: 0x4100_0800, end: 0x4100_1000 },
      { start: 0x4200_0000, end: 0x4200_0010 },
    ]);
  });
});

describe('opening', () => {
  test('a folder, a file, a shipped name', () => {
    const dir = new WrittenDump().write();
    expect(dumpFiles(dir).map(({ tag }) => tag)).toEqual(['idle']);
    expect(openDump(join(dir, 'DUMP-IDLE.snap.json')).tag).toBe('idle');
    expect(dumpFiles('linux-6.12-fault').map(({ tag }) => tag)).toEqual(['idle', 'busy']);
    expect(openDump('linux-6.12-fault', 'BUSY').snapshot.tag).toBe('DUMP-BUSY');
  });

  const edited = (edit: (dir: string) => void): string => {
    const dir = new WrittenDump().write();
    edit(dir);
    return dir;
  };
  const json = (dir: string, edit: (text: string) => string): void => {
    const file = join(dir, 'DUMP-IDLE.snap.json');
    const text = JSON.stringify(openDump(dir).snapshot);
    writeFileSync(file, edit(text));
  };
  const rows = [
    {
      name: 'the .bin file is cut',
      dir: () => edited((dir) => writeFileSync(join(dir, 'DUMP-IDLE.snap.bin'), 'short')),
      says: /expected segments\[0\] \(offset 0, length 4096\) to lie inside the 5 bytes/,
    },
    {
      name: 'the .json file is something else',
      dir: () => edited((dir) => writeFileSync(join(dir, 'DUMP-IDLE.snap.json'), 'KDUMP   ')),
      says: /DUMP-IDLE\.snap\.json: expected valid JSON/,
    },
    {
      name: 'hexadecimal digits are none',
      dir: () => edited((dir) => json(dir, () => '{"tag":"x","qemuTraceByteOffset":"0xzz"}')),
      says: /expected /,
    },
    {
      name: 'the registers of the stream table are missing',
      dir: () => {
        const dump = new WrittenDump();
        delete dump.registers['0x80'];
        return dump.write();
      },
      says: /expected regs to hold STRTAB_BASE \(offset 0x80\)/,
    },
    {
      name: 'a folder without dumps',
      dir: () => edited((dir) => mkdirSync(join(dir, 'empty'))).concat('/empty'),
      says: /expected a dump, DUMP-IDLE\.snap\.json/,
    },
    { name: 'no such path', dir: () => 'no/such', says: /no\/such: expected a capture directory/ },
  ];
  test.each(rows)('$name: one line', ({ dir, says }) => {
    const path = dir();
    let error: unknown;
    try {
      openDump(path);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toMatch(says);
    expect((error as Error).message).not.toContain('\n');
  });

  test('an unknown part names those that are there', () => {
    expect(() => openDump(new WrittenDump().write(), 'noon')).toThrow(
      /one of the dumps idle, not noon/,
    );
  });

  test('a table size beyond any memory is no loop', () => {
    const dump = new WrittenDump();
    dump.registers['0x88'] = 0x3f;
    const image = dump.open();
    expect(image.programming.streamTable.sids).toBe(2 ** 16);
    expect(image.memory.isBacked(STRTAB)).toBe(true);
  });
});
