import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { dumpFiles, openDump, verifyCapture, walkAccess } from '../src/index.ts';
import { CMDQ, removeDumps, WrittenDump } from './written-dump.lanes.ts';

// A busy machine may take several seconds for a capture.
vi.setConfig({ testTimeout: 60_000 });

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const work = mkdtempSync(join(tmpdir(), 'verify-'));
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
  removeDumps();
});

let copies = 0;
/** A copy of a shipped capture's dumps and log with one file changed. */
function changed(name: string, file: string, edit: (text: string) => string): string {
  const dir = join(work, String(copies++));
  const [first] = dumpFiles(name);
  cpSync(join(first?.file ?? '', '..'), dir, { recursive: true });
  const path = join(dir, file);
  const packed = file.endsWith('.gz');
  const text = packed ? gunzipSync(readFileSync(path)).toString() : readFileSync(path, 'latin1');
  const after = edit(text);
  expect(after).not.toBe(text);
  writeFileSync(path, packed ? gzipSync(after) : Buffer.from(after, 'latin1'));
  return dir;
}

describe('shipped captures', () => {
  // Numbers of lines: the captures' README ("truth at idle", "replay verdicts"), of queue entries and records: their snapshots.
  const rows = [
    {
      name: 'linux-6.12-strict-up',
      checks: { truth: 112, verdicts: 1816, untranslated: 7, commands: 30_138, leaves: 2036 },
      stale: 0,
      notApplicable: ['stale', 'events'],
    },
    {
      name: 'linux-6.12-strict',
      checks: { truth: 126, verdicts: 2176, untranslated: 7, commands: 33_744, leaves: 2160 },
      stale: 32,
      notApplicable: ['events'],
    },
    {
      name: 'linux-6.12-fault',
      checks: { truth: 192, verdicts: 2604, untranslated: 7, commands: 27_722, events: 48 },
      stale: 0,
      notApplicable: ['stale'],
    },
  ];
  // The first two are also among what must be noticed, so that they run alone with `npm run soak` only.
  test.each(rows.filter(({ name }) => SOAK || name === 'linux-6.12-fault'))(
    '$name: every line, nothing unexplained',
    ({ name, checks, stale, notApplicable }) => {
      const report = verifyCapture(name);
      expect(report.dumps.flatMap(({ examples }) => examples)).toEqual([]);
      expect(report).toMatchObject({ ok: true, notApplicable });
      for (const [check, lines] of Object.entries(checks))
        expect(report.checks[check as keyof typeof checks]).toMatchObject({
          compared: lines,
          equal: lines,
        });
      expect(report.checks.stale?.reasons['stale-entry'] ?? 0).toBe(stale);
      const { compared, equal, explained } = report.summary;
      expect([compared - equal, explained]).toEqual([stale, stale]);
    },
  );
});

describe('what must be noticed', () => {
  test('a verdict that differs, a matching line that is not in the tables, a line that cannot be read', () => {
    const dir = changed('linux-6.12-strict-up', 'DUMP-IDLE.qemu-verdicts.jsonl', (text) =>
      text.replace('"qemuWrite":"ok"', '"qemuWrite":"F_PERMISSION"'),
    );
    const truth = join(dir, 'DUMP-IDLE.truth.jsonl');
    const lines = readFileSync(truth, 'utf8').replace(/"pa":"0x\w+"/, '"pa":"0x1000"');
    writeFileSync(truth, `${lines}{"sid":\n`);
    const { ok, checks, dumps, summary, unread } = verifyCapture(dir);
    expect(ok).toBe(false);
    expect(checks).toMatchObject({
      verdicts: { compared: 1816, unexplained: 1 },
      untranslated: { compared: 7, equal: 7 },
      commands: { compared: 30_138, equal: 30_138 },
      leaves: { compared: 2036, equal: 2036 },
    });
    const examples = dumps.flatMap((dump) => dump.examples);
    expect(examples).toContainEqual(
      expect.stringMatching(/^verdicts: verdicts line 1: .* QEMU F_PERMISSION$/),
    );
    expect(checks.truth?.unexplained).toBe(1);
    expect(summary).toMatchObject({ unexplained: 2, unread: 1 });
    expect(unread[0]).toMatchObject({ line: 40, expected: 'a JSON object' });
  });

  if (SOAK)
    test('a descriptor that lost a bit', () => {
      const image = openDump('linux-6.12-strict-up');
      const [row] = readFileSync(image.file.replace('snap.json', 'truth.jsonl'), 'utf8').split(
        '\n',
      );
      const { sid, iova } = JSON.parse(row ?? '') as { sid: number; iova: string };
      const address = { lo: Number(iova), hi: 0 };
      const { steps } = walkAccess(image, { streamId: sid, address, rw: 'read' });
      const at = steps.at(-1)?.address.lo ?? 0;
      const segment = image.snapshot.segments.find(
        ({ physAddr, length }) => physAddr <= at && at < physAddr + length,
      );
      const offset = (segment?.offset ?? 0) + at - (segment?.physAddr ?? 0);
      const dir = changed(
        'linux-6.12-strict-up',
        'DUMP-IDLE.snap.bin',
        (text) =>
          text.slice(0, offset) +
          String.fromCharCode(text.charCodeAt(offset) & ~1) +
          text.slice(offset + 1),
      );
      const { checks } = verifyCapture(dir);
      expect(checks.truth?.unexplained).toBeGreaterThan(0);
      expect(checks.verdicts?.unexplained).toBeGreaterThan(0);
      expect(checks.leaves?.unexplained).toBeGreaterThan(0);
    });

  test('a stale line whose entry a command had removed, and one that QEMU never translated', () => {
    // The last page of stream 8 whose invalidation stands in the queue of the idle dump.
    const log = gunzipSync(
      readFileSync(join(dumpFiles('linux-6.12-strict')[0]?.file ?? '', '../qemu-ops.txt.gz')),
    );
    const lines = log.toString().split('\n').slice(0, 84_000);
    const removed =
      lines
        .filter((line) => line.startsWith('I 0 6 '))
        .at(-1)
        ?.split(' ')[3] ?? '';
    const used = lines
      .filter(
        (line) =>
          line.startsWith('T 0x8 ') && line.split(' ')[2]?.slice(0, -3) === removed.slice(0, -3),
      )
      .at(-1);
    const [, , iova, pa] = used?.split(' ') ?? [];
    const dir = changed(
      'linux-6.12-strict',
      'DUMP-IDLE.truth.jsonl',
      (text) =>
        `${text}{"sid":8,"asid":6,"vmid":0,"iova":"${iova}","pa":"${pa}","perm":3,"stage":1,"atSnapshot":"not-in-tables"}\n`,
    );
    const busy = join(dir, 'DUMP-BUSY.truth.jsonl');
    writeFileSync(
      busy,
      `${readFileSync(busy, 'utf8')}{"sid":8,"asid":6,"vmid":0,"iova":"0x5000","pa":"0x47000000","perm":3,"stage":1,"atSnapshot":"not-in-tables"}\n`,
    );
    const { checks, dumps } = verifyCapture(dir);
    expect(checks.stale).toMatchObject({ explained: 32, unexplained: 2 });
    const examples = dumps.flatMap((dump) => dump.examples);
    expect(examples).toHaveLength(2);
    expect(examples).toContainEqual(expect.stringMatching(/a command in the queue removed it/));
  });

  test('without recorded outcomes nothing is verified', () => {
    const report = verifyCapture(new WrittenDump().ste(8, 0x9n).write());
    expect(report).toMatchObject({ ok: false, summary: { unexplained: 0 } });
    expect(report.notApplicable).toContain('verdicts');
  });
});

describe('a capture without translations', () => {
  const sync = [0x0fc0_2046n, 0n];
  const ops = [
    'W 0x80 0x40200000 8',
    'W 0x20 0x8 4',
    'C CFGI_STE_RANGE',
    'C SYNC',
    'Di 0x8 0x40001000 0',
    'W 0x20 0xd 4',
    'Ab 0x8 0x40001000 0',
    'Ab 0x9 0x40001000 1',
    'C CFGI_STE',
    'C SYNC',
    'By 0x8 0x40001234 1',
    'W 0x20 0x0 4',
    'Di 0x8 0x40001000 1',
  ];
  /** Stream 8 passes since command 2, stream 9 aborts. */
  const passing = (lines: readonly string[]): string => {
    const dump = new WrittenDump().ste(8, 0x9n, 1n << 44n).ste(9, 1n);
    const commands = [[4n, 31n], sync, [0x8_0000_0003n, 1n], sync];
    for (const [i, words] of commands.entries()) dump.words(CMDQ + i * 16, ...words);
    dump.registers['0x98'] = 4;
    dump.registers['0x9c'] = 4;
    return dump.write({ 'qemu-ops.txt': `${lines.join('\n')}\n`, 'DUMP-IDLE.truth.jsonl': '\n' });
  };

  test('is verified by its bypass and abort lines and its configuration', () => {
    const report = verifyCapture(passing(ops));
    expect(report.dumps[0]?.examples).toEqual([]);
    expect(report.ok).toBe(true);
    expect(report.notApplicable).toEqual(['truth', 'stale', 'verdicts', 'leaves', 'events']);
    // The abort of stream 8 is older than its CFGI_STE.
    expect(report.checks.untranslated).toEqual({
      compared: 5,
      equal: 4,
      explained: 1,
      unexplained: 0,
      reasons: { reconfigured: 1 },
    });
    expect(report.checks.commands).toMatchObject({ compared: 4, equal: 4 });
    expect(report.checks.config?.compared).toBeGreaterThan(0);
  });

  const wrong = [
    { name: 'a bypass that is an abort', from: 'By 0x8', to: 'Ab 0x8' },
    { name: 'an abort that is a bypass', from: 'Ab 0x9', to: 'By 0x9' },
    { name: 'another stream', from: 'By 0x8', to: 'By 0x9' },
    { name: 'another address space', from: 'By 0x8 0x40001234', to: 'By 0x300 0x40001234' },
  ];
  test.each(wrong)('$name is unexplained', ({ from, to }) => {
    const report = verifyCapture(passing(ops.map((line) => line.replace(from, to))));
    expect(report.ok).toBe(false);
    expect(report.checks.untranslated?.unexplained).toBe(1);
  });
});

describe('a stage 2 capture', () => {
  const TABLE = 0x4031_0000;
  // S2T0SZ 24, SL0 1, 4 KiB, 44 bits, AA64, S2R; VMID 5.
  const VTCR = (24n + (1n << 6n) + (4n << 16n) + (1n << 19n) + (1n << 26n)) << 32n;
  const truth = (iova: number, pa: number, atSnapshot: string): string =>
    JSON.stringify({
      sid: 8,
      asid: -1,
      vmid: 5,
      iova: `0x${iova.toString(16)}`,
      pa: `0x${pa.toString(16)}`,
      perm: 3,
      stage: 2,
      atSnapshot,
    });
  /** Page 0x1000 is mapped, 0x2000 was; a CMD_TLBI_S2_IPA of `invalidated` follows. */
  const capture = (invalidated: bigint): string => {
    const dump = new WrittenDump()
      .ste(8, 0xdn, 0n, VTCR + 5n, BigInt(TABLE))
      .map(TABLE, 0x1000, 0x4100_07ffn, { level: 1, next: 0x4032_0000 });
    const commands = [
      [0x8_0000_0003n, 1n],
      [0x0fc0_2046n, 0n],
      [0x5_0000_002an, invalidated + 1n],
      [0x0fc0_2046n, 0n],
    ];
    for (const [i, words] of commands.entries()) dump.words(CMDQ + i * 16, ...words);
    dump.registers['0x98'] = 4;
    dump.registers['0x9c'] = 4;
    return dump.write({
      'qemu-ops.txt': [
        'C CFGI_STE',
        'C SYNC',
        'T 0x8 0x1010 0x41000010 3',
        'T 0x8 0x2020 0x41005020 3',
        'C TLBI_S2_IPA',
        'C SYNC',
        'T 0x8 0x2040 0x41005040 3',
        '',
      ].join('\n'),
      'DUMP-IDLE.truth.jsonl': [
        truth(0x1010, 0x4100_0010, 'match'),
        truth(0x2020, 0x4100_5020, 'not-in-tables'),
        '',
      ].join('\n'),
    });
  };

  test('an invalidation of another page leaves the stale entry', () => {
    const report = verifyCapture(capture(0x3000n));
    expect(report.dumps[0]?.examples).toEqual([]);
    expect(report).toMatchObject({
      ok: true,
      checks: { truth: { equal: 1 }, stale: { explained: 1 } },
    });
  });

  test('one of its own page does not', () => {
    // The log's last access comes after the command, so it is taken out of it here.
    const dir = capture(0x2000n);
    const file = join(dir, 'qemu-ops.txt');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/T 0x8 0x2040 .*\n/, ''));
    const report = verifyCapture(dir);
    expect(report.checks.stale).toMatchObject({ explained: 0, unexplained: 1 });
    expect(report.ok).toBe(false);
  });
});
