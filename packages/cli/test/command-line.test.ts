import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { run } from './command.ts';

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual(['runCommandLine']);
});

describe('iommukit', () => {
  test('without arguments: help on stdout, exit 0', async () => {
    const { code, out, err } = await run();
    expect(code).toBe(0);
    expect(out).toContain('replay');
    expect(err).toBe('');
  });

  const rows = [
    { name: 'an unknown command', args: ['reply', 'x'], says: /unknown command 'reply'/ },
    { name: 'no capture', args: ['replay'], says: /missing required argument 'capture'/ },
    {
      name: 'an unknown feed',
      args: ['replay', 'x', '--feed', 'maps'],
      says: /Allowed choices are events, calls/,
    },
    {
      name: 'an unknown mark',
      args: ['replay', 'x', '--until', 'noon'],
      says: /Allowed choices are idle, busy, end/,
    },
    {
      name: 'a capture that is not there',
      args: ['replay', 'no-such-capture'],
      says: /no-such-capture: expected a capture directory/,
    },
    {
      name: 'an unknown kernel',
      args: ['replay', 'linux-6.12-strict-up', '--kernel', '5.4'],
      says: /no profile for kernel 5\.4/,
    },
    {
      name: 'whole calls of a capture in lazy mode',
      args: ['replay', 'linux-6.12-lazy', '--feed', 'calls'],
      says: /^NEEDS_FLUSH_PROBES: .*fq_timeout and fq_flush probes.*\n$/,
    },
  ];
  test.each(rows)('$name: exit 2 and a line on stderr', async ({ args, says }) => {
    const { code, out, err } = await run(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
  });

  test('an empty folder names the file that is missing', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'empty-'));
    try {
      const { code, err } = await run('replay', dir);
      expect(code).toBe(2);
      expect(err).toMatch(/run\.json: expected .*\n$/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('until a mark that the trace does not have: exit 2 and a line with what was expected', async () => {
    const part = new URL('../../integration/test/captures/linux-7.2-part', import.meta.url);
    const dir = fileURLToPath(part);
    expect(await run('replay', dir, '--until', 'idle')).toEqual({
      code: 2,
      out: '',
      err: `${join(dir, 'guest/trace.txt.gz')}: expected the mark PHASE:dump-idle, where a replay until idle stops\n`,
    });
  }, 60_000);

  test('--version prints the version of the manifest', async () => {
    const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    expect(await run('--version')).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });

  test('replay prints a table', async () => {
    const { code, out, err } = await run('replay', 'linux-6.12-strict-up', '--until', 'idle');
    expect(out).toMatch(/cmdq .* 14,745 . 14,745 /);
    expect(out).toContain('ok: every check compared something');
    expect({ code, err }).toEqual({ code: 0, err: '' });
  }, 60_000);

  test('replay --json prints exactly one object', async () => {
    const { code, out } = await run('replay', 'linux-6.12-strict-up', '--until', 'idle', '--json');
    expect(code).toBe(0);
    expect(out.trimEnd().split('\n')).toHaveLength(1);
    const report = JSON.parse(out) as Record<string, unknown>;
    expect(report).toMatchObject({ capture: 'linux-6.12-strict-up', kernel: '6.12', ok: true });
    expect(Object.keys(report)).toEqual(
      expect.arrayContaining(['feed', 'checks', 'notApplicable', 'summary', 'counters']),
    );
  }, 60_000);
});
