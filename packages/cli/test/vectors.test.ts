import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { VectorReport } from '@iommukit/integration';
import { VECTOR_FILES } from '@iommukit/vectors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { renderVectors, vectorsResult } from '../src/render-vectors.ts';
import { running } from './command.ts';

const golden = fileURLToPath(
  new URL('../data/golden/', import.meta.resolve('@iommukit/vectors')),
).replace(/\/$/, '');
const limits = join(golden, 'iova_limits.json');
const qtest = join(golden, '..', 'qtest');

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

/** The shorter recordings; with `npm run soak` all. */
const FILES = VECTOR_FILES.filter(({ operations }) => SOAK || operations < 200);

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'vectors-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const run = running('vectors');

function put(name: string, content: string | Uint8Array): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

/** The recording with the result of operation 0 (an allocation of 4 pages) one bit off. */
function wrong(): string {
  const text = readFileSync(limits, 'utf8');
  const changed = text.replace('"pfn":"0xffffffffc"', '"pfn":"0xffffffffd"');
  expect(changed).not.toBe(text);
  return put('wrong.json', changed);
}

describe('vectors check', () => {
  test('of a file: a table with what was compared', async () => {
    const { code, out, err } = await run('check', limits);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/iova_limits\.json . iova . kernel . {8}604 . +[\d,]+ . {10}0 /);
    expect(out).toMatch(/^ok: 1 files, 604 operations, [\d,]+ values compared, 0 mismatches$/m);
  });

  test('of a folder of recordings: all files, nothing differs', async () => {
    for (const { name } of FILES)
      copyFileSync(join(golden, `${name}.json`), join(dir, `${name}.json`));
    const { code, out, err } = await run('check', dir, '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out.trimEnd().split('\n')).toHaveLength(1);
    const report = JSON.parse(out) as { files: { file: string; operations: number }[] };
    expect(report).toMatchObject({
      ok: true,
      summary: {
        files: FILES.length,
        kernel: FILES.length,
        operations: FILES.reduce((sum, { operations }) => sum + operations, 0),
        mismatches: 0,
        unreadable: 0,
      },
      unreadable: [],
    });
    expect(report.files.map(({ file, operations }) => [file, operations])).toEqual(
      FILES.map(({ name, operations }) => [join(dir, `${name}.json`), operations]),
    );
  }, 60_000);

  test('a mismatch: exit 1, with operation, expected and got', async () => {
    const { code, out, err } = await run('check', wrong());
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).toContain(
      'wrong.json: operation 0, alloc_fast pfn: expected "0xffffffffd", got "0xffffffffc"',
    );
    expect(out).toMatch(/^NOT OK: 1 files, 604 operations, [\d,]+ values compared, 2 mismatches$/m);
  });

  test('--json of a mismatch', async () => {
    const { code, out } = await run('check', '--json', wrong(), limits);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      ok: false,
      summary: { files: 2, operations: 1208, mismatches: 2 },
      files: [
        {
          kind: 'iova',
          ok: false,
          // Both searches meet it.
          mismatches: 2,
          first: {
            operation: 0,
            what: 'alloc_fast pfn',
            expected: '0xffffffffd',
            got: '0xffffffffc',
          },
        },
        { kind: 'iova', ok: true, mismatches: 0 },
      ],
      skipped: 0,
    });
  });

  test('an absent value is null in JSON', async () => {
    const text = readFileSync(limits, 'utf8').replace(
      '{"op":"alloc_fast",',
      '{"op":"alloc_fast","warns":1,"extra":2,',
    );
    const { out } = await run('check', '--json', put('more.json', text));
    const { files } = JSON.parse(out) as { files: { first: object }[] };
    expect(files[0]?.first).toMatchObject({ operation: 0 });
    expect(out).toContain('"expected":1,"got":0');
    const extra = text.replace('"warns":1,', '');
    const again = await run('check', '--json', put('extra.json', extra));
    expect(again.out).toContain('"expected":2,"got":null');
  });

  test('gzip is read, whatever the name', async () => {
    const packed = put('packed.json', gzipSync(readFileSync(limits)));
    expect((await run('check', packed)).code).toBe(0);
  });

  test('of a folder: other files and folders are counted as skipped', async () => {
    copyFileSync(limits, join(dir, 'a.json'));
    put('README.md', 'text');
    put('b.txt', 'text');
    put('c.json.orig', 'text');
    mkdirSync(join(dir, 'deep.json'));
    const { code, out } = await run('check', dir);
    expect(code).toBe(0);
    expect(out).toContain('0 mismatches, 4 skipped');
    expect(JSON.parse((await run('check', dir, '--json')).out)).toMatchObject({
      ok: true,
      skipped: 4,
      summary: { files: 1, skipped: 4 },
    });
  });

  test('of a folder with a kind that cannot be run: the others are still printed', async () => {
    copyFileSync(limits, join(dir, 'b.json'));
    const bad = put('a.json', '{"kind":"vtd-qi","name":"x","cases":[]}\n');
    const { code, out, err } = await run('check', dir);
    expect(code).toBe(2);
    expect(out).toMatch(/b\.json . iova/);
    expect(out).toMatch(/^NOT OK: 1 files, .*, 1 files not read$/m);
    expect(err).toMatch(/^\S+a\.json:1: kind: expected one of .*, got "vtd-qi"\n$/);
    const json = await run('check', dir, '--json');
    expect(json.code).toBe(2);
    expect(JSON.parse(json.out)).toMatchObject({
      ok: false,
      summary: { files: 1, unreadable: 1 },
      unreadable: [{ file: bad, message: err.trimEnd() }],
    });
  });

  test('a packed file with one object a line is read and named', async () => {
    const lines = '{"header":{"format":1}}\n{"steps":[]}\n';
    put('p.ndjson.gz', gzipSync(lines));
    const { code, out, err } = await run('check', dir);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/p\.ndjson\.gz:1: expected vectors of a known kind, got .*\n$/);
  });

  test('a folder with nothing to run is not ok', async () => {
    put('notes.txt', 'text');
    const { code, out, err } = await run('check', dir);
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(out).toBe('NOT OK: 0 files, 0 operations, 0 values compared, 0 mismatches, 1 skipped\n');
    expect(JSON.parse((await run('check', dir, '--json')).out)).toMatchObject({ ok: false });
  });

  const dirty = [
    { name: 'empty', content: '', says: /:1: expected one complete JSON object/ },
    { name: 'text', content: 'Hello, world\n', says: /:1: expected one complete JSON object/ },
    {
      name: 'binary',
      content: Uint8Array.of(0, 255, 10, 13, 27),
      says: /:\d: expected one complete/,
    },
    {
      name: 'cut gzip',
      content: gzipSync('{"kind":"iova"}').subarray(0, 20),
      says: /expected complete gzip data/,
    },
    {
      name: 'another project',
      content: '{"name":"x","version":"1.0.0"}',
      says: /:1: kind: expected one of/,
    },
    {
      name: 'a cut recording',
      content: readFileSync(limits, 'utf8').slice(0, 3000),
      says: /:\d+: expected one complete/,
    },
  ];
  test.each(dirty)('$name: exit 2 and one line', async ({ content, says }) => {
    const { code, out, err } = await run('check', put('f.json', content));
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  const usage = [
    { name: 'no file', args: ['check'], says: /missing required argument 'path'/ },
    {
      name: 'a file that is not there',
      args: ['check', 'no-such.json'],
      says: /no-such\.json: expected a readable file \(ENOENT\)/,
    },
    { name: 'an unknown option', args: ['check', 'x', '--fast'], says: /unknown option '--fast'/ },
    { name: 'an unknown command', args: ['chek', 'x'], says: /unknown command 'chek'/ },
    { name: 'nothing to write', args: ['write'], says: /missing required argument 'what'/ },
    {
      name: 'an unknown kind',
      args: ['write', 'dma-iommu'],
      says: /expected one of iova, .*, got "dma-iommu"/,
    },
    {
      name: 'a seed that is none',
      args: ['write', 'iova', '--seed', 'x'],
      says: /Expected a whole number/,
    },
    {
      name: 'no operations',
      args: ['write', 'iova', '--operations', '0'],
      says: /operations: expected an integer from 1 /,
    },
    {
      name: 'a place that is none',
      args: ['write', 'iova', '-o', '/no/such/place.json'],
      says: /place\.json: expected a file to write to \(ENOENT\)/,
    },
  ];
  test.each(usage)('$name: exit 2', async ({ args, says }) => {
    const { code, out, err } = await run(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
  });
});

describe('vectors write', () => {
  test('to stdout: deterministic, marked as ours', async () => {
    const args = ['write', 'arm-64-lpae-s2', '--seed', '9', '--operations', '40'];
    const { code, out, err } = await run(...args);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect((await run(...args)).out).toBe(out);
    const file = JSON.parse(out) as { origin: string; ops: object[] };
    expect(file.origin).toMatch(/^iommukit \d/);
    expect(file.ops).toHaveLength(40);
  });

  test.each(['iova', 'io-pgtable', 'arm-64-lpae-s1'])(
    '%s: what is written is accepted, as ours',
    async (what) => {
      for (const name of ['ours.json', 'ours.json.gz']) {
        const path = join(dir, name);
        expect(await run('write', what, '-o', path)).toEqual({ code: 0, out: '', err: '' });
        const { code, out } = await run('check', path, '--json');
        expect(code).toBe(0);
        expect(JSON.parse(out)).toMatchObject({
          ok: true,
          summary: { files: 1, kernel: 0, operations: 500, mismatches: 0 },
          files: [{ origin: 'iommukit' }],
        });
      }
    },
  );

  test('smmu: architecture vectors, packed or not', async () => {
    const path = join(dir, 'smmu.json.gz');
    expect(await run('write', 'smmu', '-o', path)).toEqual({ code: 0, out: '', err: '' });
    // integration/test/smmu-architecture.test.ts runs all of it.
    const file = JSON.parse(gunzipSync(readFileSync(path)).toString()) as { cases: object[] };
    const cases = SOAK ? file.cases : file.cases.filter((_, i) => i % 20 === 0);
    writeFileSync(path, gzipSync(JSON.stringify({ ...file, cases })));
    const { code, out } = await run('check', path, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      summary: { files: 1, kernel: 0, mismatches: 0 },
      files: [{ kind: 'smmu-architecture', origin: 'iommukit' }],
    });
  });
});

describe('what programs of QEMU found, as text', () => {
  const report: VectorReport = {
    file: 'q.ndjson.gz',
    kind: 'qemu-program',
    origin: 'qemu',
    ok: true,
    operations: 4000,
    compared: 9000,
    mismatches: 0,
    programs: {
      preset: 'qemu-11-s1',
      programs: 1000,
      accesses: 3900,
      commands: 100,
      reads: { compared: 50, partly: {}, excepted: {} },
      deviations: { n12: { count: 3, equal: 0 }, n2: { count: 1500, equal: 1 } },
      equalAllTheSame: [{ program: 's1-a-1', category: 'a', step: 2, codes: 'n2' }],
      stale: { recorded: 12, fromMemory: 4, fromCopy: 5, refilled: 2, deviating: 1 },
      unflagged: {
        n26: [1, 2, 3, 4, 5, 6, 7].map((step) => ({ program: 's1-b-1', category: 'b', step })),
      },
      kept: { equal: 3800, reported: 100 },
      unmodelled: { UNMODELLED_LPAE32: 2 },
      mismatchesBy: {},
      mismatches: [],
    },
  };

  test('deviations by code, stale accesses, what is not flagged', () => {
    const lines = renderVectors(vectorsResult([report], 0, [])).split('\n');
    expect(
      lines.slice(
        lines.findIndex((line) => line.startsWith('q.ndjson.gz: ')),
        -1,
      ),
    ).toEqual([
      'q.ndjson.gz: 1,000 programs on qemu-11-s1, 3,900 accesses, 100 commands, 50 reads',
      '  stale accesses of QEMU: 12 (4 from memory, 5 from the copy, 2 from a later copy, 1 deviating too)',
      '  with everything kept: 3,800 accesses equal, 100 reported as stale uses',
      '  steps that deviate, by code: n2 1,500 (1 equal), n12 3',
      '  not flagged in the file, n26: s1-b-1 step 1, s1-b-1 step 2, s1-b-1 step 3, s1-b-1 step 4, s1-b-1 step 5 and 2 more (--json prints all)',
      '  flagged as deviating and equal all the same: s1-a-1 step 2 (n2)',
      '  not modelled, UNMODELLED_LPAE32: 2 programs',
      'ok: 1 files, 4,000 operations, 9,000 values compared, 0 mismatches',
    ]);
  });

  test('of a register-level run: what counted', async () => {
    const { code, out } = await run('check', join(qtest, 'qemu11.1.3-stage-1.json'));
    expect(code).toBe(0);
    expect(out).toMatch(
      /stage-1\.json: stage 1, \d+ register reads, \d+ events, \d+ checks, \d+ probes\n/,
    );
    expect(out).toMatch(/\n {2}steps that deviate, by code: .*q1 \d/);
  });
});
