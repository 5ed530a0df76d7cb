import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shippedCapture } from '@iommukit/integration';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { running } from './command.ts';

// A busy machine may take several seconds for a capture.
vi.setConfig({ testTimeout: 60_000 });

const work = mkdtempSync(join(tmpdir(), 'inspect-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const run = running('inspect');

interface Json {
  readonly ok: boolean;
  readonly summary: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/** The one JSON object of a command. */
async function json(...args: string[]): Promise<{ code: number; object: Json }> {
  const { code, out, err } = await run(...args, '--json');
  expect(err).toBe('');
  expect(out.endsWith('}\n')).toBe(true);
  expect(out.indexOf('\n')).toBe(out.length - 1);
  return { code, object: JSON.parse(out) as Json };
}

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const FAULT = 'linux-6.12-fault';

describe('walk', () => {
  // The first record of the captured event queue: a read of 0x1000 by stream 0x30 is F_TRANSLATION.
  test('the captured fault', async () => {
    const { code, object } = await json('walk', FAULT, '0x30', '0x1000');
    expect(code).toBe(1);
    expect(object).toMatchObject({
      ok: false,
      summary: { steps: 4, outcome: 'fault', unaccounted: 0 },
      dump: { capture: FAULT, tag: 'idle' },
      access: { streamId: 0x30, address: '0x1000', rw: 'read' },
      result: { outcome: 'fault', event: { event: 'F_TRANSLATION', address: '0x1000' } },
      section: 'IHI 0070 7.3.13',
      because: {
        section: 'DDI 0487 D8.3',
        says: 'the stage 1 level 0 descriptor is invalid: bit 0 is 0',
      },
    });
    const text = await run('walk', FAULT, '48', '4096');
    expect(text.code).toBe(1);
    expect(text.out).toMatch(
      /^1\. L1STD at 0x[0-9a-f]+: 256 STEs at 0x[0-9a-f]+ \[IHI 0070 5\.1\]$/m,
    );
    expect(text.out).toMatch(/^result: fault F_TRANSLATION streamId=0x30 address=0x1000 /m);
    expect(text.out).toMatch(/^because: the stage 1 level 0 descriptor is invalid: bit 0 is 0 \[/m);
  });

  test('a captured translation', async () => {
    const dir = shippedCapture(FAULT) ?? '';
    const line = readFileSync(join(dir, 'DUMP-BUSY.truth.jsonl'), 'utf8').split('\n')[0] ?? '';
    const { sid, iova, pa } = JSON.parse(line) as { sid: number; iova: string; pa: string };
    const args = ['walk', dir, String(sid), iova, '--dump', 'busy'];
    const { code, object } = await json(...args);
    expect(code).toBe(0);
    expect(object).toMatchObject({ ok: true, result: { outcome: 'ok', paddr: pa } });
  });

  test('a SubstreamID where there are none', async () => {
    const { code, object } = await json('walk', FAULT, '8', '1', '0xfffff000');
    expect(code).toBe(1);
    expect(object).toMatchObject({
      access: { substreamId: 1 },
      result: { event: { event: 'C_BAD_SUBSTREAMID' } },
    });
  });

  test('a stream beyond the table is what the device reports', async () => {
    const { code, object } = await json('walk', FAULT, '0x10000', '0x1000');
    expect(code).toBe(1);
    expect(object).toMatchObject({ result: { event: { event: 'C_BAD_STREAMID' } }, steps: [] });
  });
});

describe('the other looks', () => {
  // README of the capture: 1,066 leaves, 12 streams and 1,012 aborts, 13,027 commands, 24 events at idle.
  const rows = [
    { args: ['maps', FAULT], summary: { contexts: 12, leaves: 1066, absentTables: 0 } },
    { args: ['domains', FAULT], summary: { streams: 1024, conflicts: 0 } },
    { args: ['ste', FAULT], summary: { entries: 1024, illegal: 0, strayFields: 0 } },
    { args: ['ste', FAULT, '8'], summary: { entries: 1, illegal: 0 } },
    { args: ['cd', FAULT], summary: { entries: 12, illegal: 0, strayFields: 0 } },
    { args: ['cd', FAULT, '0x8', '0'], summary: { entries: 1 } },
    { args: ['cmdq', FAULT], summary: { history: 13_027, pending: 0, unknown: 0 } },
    { args: ['evtq', FAULT], summary: { history: 24, byName: { F_TRANSLATION: 24 } } },
  ];
  test.each(rows)('$args', async ({ args, summary }) => {
    const { code, object } = await json(...args);
    expect(code).toBe(0);
    expect(object).toMatchObject({ ok: true, summary });
    const text = await run(...args);
    expect(text.code).toBe(0);
    expect(text.out).toMatch(/^linux-6\.12-fault idle/);
    expect(text.out.length).toBeLessThan(200_000);
  });

  test('64-bit values are text', async () => {
    const { object } = await json('cd', FAULT, '8');
    const [cd] = object['cd'] as { entry: { words: string[]; address: string } }[];
    expect(cd?.entry.words).toHaveLength(8);
    for (const word of cd?.entry.words ?? []) expect(word).toMatch(/^0x[0-9a-f]+$/);
  });

  test('--last bounds what is shown of the history', async () => {
    const { object } = await json('cmdq', FAULT, '--last', '3');
    expect(object['history']).toHaveLength(3);
    expect(object.summary['history']).toBe(13_027);
    const { out } = await run('cmdq', FAULT, '--last', '2');
    expect(out).toContain('the last 2:');
  });
});

describe('verify', () => {
  test('a shipped capture: exact numbers, exit 0', async () => {
    const { code, object } = await json('verify', 'linux-6.12-strict-up');
    expect(code).toBe(0);
    expect(object).toMatchObject({
      ok: true,
      summary: { dumps: 2, explained: 0, unexplained: 0, unread: 0 },
      checks: { truth: { compared: 112, equal: 112 }, verdicts: { compared: 1816, equal: 1816 } },
      notApplicable: ['stale', 'events'],
    });
  });

  // The longest capture; its numbers are also in diagnose/test/verify.test.ts.
  if (SOAK)
    test('as a table', async () => {
      const { code, out } = await run('verify', 'linux-6.12-strict');
      expect(code).toBe(0);
      expect(out).toMatch(/│ busy │ stale +│ +32 │ +0 │ +32 │ +0 │/);
      expect(out).toMatch(/\nok: 2 dumps, /);
    });

  test('a difference: exit 1, and the line', async () => {
    const dir = join(work, 'differs');
    cpSync(shippedCapture('linux-6.12-strict-up') ?? '', dir, { recursive: true });
    const file = join(dir, 'DUMP-BUSY.qemu-verdicts.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"ok"', '"F_ACCESS"'));
    const { code, out, err } = await run('verify', dir);
    expect(code).toBe(1);
    expect(out).toMatch(/busy verdicts: verdicts line 1: stream 0x[0-9a-f]+ .* QEMU F_ACCESS\n/);
    expect(out).toMatch(/\nNOT OK: /);
    expect(err).toBe('');
  });

  test('a cut dump: exit 2 and one line', async () => {
    const dir = join(work, 'cut');
    cpSync(shippedCapture('linux-6.12-strict-up') ?? '', dir, { recursive: true });
    const file = join(dir, 'DUMP-IDLE.snap.bin');
    writeFileSync(file, readFileSync(file).subarray(0, 5000));
    const { code, out, err } = await run('verify', dir, '--json');
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(
      /DUMP-IDLE\.snap\.json: expected segments\[\d+\] .* inside the 5000 bytes.*\n$/,
    );
  });
});

describe('bad input: exit 2 and one line', () => {
  const rows = [
    { args: ['walk', FAULT], says: /missing required argument 'sid'/ },
    { args: ['walk', FAULT, '0xzz', '0'], says: /'0xzz' is invalid for argument 'sid'/ },
    { args: ['walk', FAULT, '8', '0xzz'], says: /argument iova '0xzz': expected a 64-bit number/ },
    {
      args: ['walk', FAULT, '8', '0x100000', '0'],
      says: /argument ssid '0x100000': expected a Sub/,
    },
    { args: ['walk', FAULT, '8', '0x10000000000000000'], says: /expected a 64-bit number/ },
    { args: ['ste', FAULT, '0x10000'], says: /not 0x10000: the table has 0x10000 entries/ },
    { args: ['maps', FAULT, '0x500'], says: /not 0x500: its level 1 descriptor/ },
    { args: ['cd', FAULT, '8', '3'], says: /expected a SubstreamID with a context descriptor/ },
    { args: ['cmdq', FAULT, '--last', '-1'], says: /expected|argument/i },
    { args: ['evtq', FAULT, '--dump', 'noon'], says: /one of the dumps idle, busy, not noon/ },
    { args: ['domains', 'no-such-dump'], says: /expected a capture directory/ },
    { args: ['verify'], says: /missing required argument/ },
    { args: ['look', FAULT], says: /unknown command 'look'/ },
  ];
  test.each(rows)('$args', async ({ args, says }) => {
    const { code, out, err } = await run(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
  });

  test('a file that is no dump', async () => {
    const file = join(work, 'DUMP-X.snap.json');
    writeFileSync(file, Buffer.from([0x7f, 0x45, 0x4c, 0x46]));
    const { code, err } = await run('maps', file);
    expect(code).toBe(2);
    expect(err).toMatch(/DUMP-X\.snap\.json: expected valid JSON\n$/);
  });
});
