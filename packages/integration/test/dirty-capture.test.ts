import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { InputError, openCapture } from '@iommukit/captures';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { replayCapture, shippedCapture, UnknownKernel } from '../src/index.ts';

/** With `npm run soak` only: what takes a replay for one counter. */
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const source = shippedCapture('linux-6.12-strict-up') ?? '';
let work = '';

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'capture-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** A copy of the capture with one file changed. */
function changed(name: string, file: string, edit: (bytes: Buffer) => Buffer): string {
  const dir = join(work, name);
  cpSync(source, dir, { recursive: true });
  const path = join(dir, file);
  writeFileSync(path, edit(readFileSync(path)));
  return dir;
}

const editTrace = (edit: (text: string) => string) => (bytes: Buffer) =>
  gzipSync(edit(gunzipSync(bytes).toString()));

test('a wrong IOVA in the trace is an unexplained difference', () => {
  const dir = changed(
    'iova',
    'guest/trace.txt.gz',
    editTrace((text) => text.replace(/(alloc_fast_ret: .*) pfn=0xfff30\n/, '$1 pfn=0xfff00\n')),
  );
  const { checks, ok } = replayCapture(openCapture(dir), { until: 'busy' });
  // The maps and the free of the range find no allocation any more, so later answers differ too.
  expect(checks.iova?.unexplained).toBeGreaterThan(0);
  expect(ok).toBe(false);
}, 60_000);

if (SOAK)
  test('a lost command list is an unexplained difference', () => {
    const line = / *\S+ +\[000\] \S+ +\S+: cmdlist: [^\n]*c0d0=0x2000000005 [^\n]*\n/;
    const dir = changed(
      'cmdlist',
      'guest/trace.txt.gz',
      editTrace((text) => text.replace(line, '')),
    );
    const { checks } = replayCapture(openCapture(dir), { until: 'busy' });
    expect(checks.commands?.unexplained).toBeGreaterThan(0);
  }, 60_000);

if (SOAK)
  test('a malformed line is counted as unread and the run goes on', () => {
    const dir = changed(
      'line',
      'guest/trace.txt.gz',
      editTrace((text) => `${text}   init-1 [000] ..... 99.9: map: IOMMU: iova=zz\n`),
    );
    const { counters, checks, unread } = replayCapture(openCapture(dir), { until: 'idle' });
    expect(counters['unreadLines']).toBe(1);
    // 75,323 events and 12 comment lines stand before it.
    expect(unread).toEqual([
      { file: join(dir, 'guest/trace.txt.gz'), line: 75_336, expected: expect.any(String) },
    ]);
    expect(checks.iova?.unexplained).toBe(0);
  }, 60_000);

test('a truncated gzip and a short snapshot are errors before anything runs', () => {
  const cut = changed('gzip', 'guest/trace.txt.gz', (bytes) => bytes.subarray(0, bytes.length / 2));
  expect(() => replayCapture(openCapture(cut))).toThrow(InputError);
  const short = changed('snap', 'DUMP-IDLE.snap.bin', (bytes) => bytes.subarray(0, 1000));
  let steps = 0;
  const onProgress = () => {
    steps++;
  };
  expect(() => replayCapture(openCapture(short), { onProgress })).toThrow(/DUMP-IDLE\.snap/);
  const busy = changed('busy', 'DUMP-BUSY.snap.bin', (bytes) => bytes.subarray(0, 1000));
  expect(() => replayCapture(openCapture(busy), { onProgress })).toThrow(/DUMP-BUSY\.snap/);
  expect(steps).toBe(0);
}, 60_000);

test('a capture in lazy mode whose trace has no probes of the flush queue is refused', () => {
  const dir = changed('lazy', 'guest/dmesg.txt.gz', (bytes) =>
    gzipSync(gunzipSync(bytes).toString().replace('policy: strict mode', 'policy: lazy mode')),
  );
  expect(() => replayCapture(openCapture(dir))).toThrow(
    expect.objectContaining({ code: 'NEEDS_FLUSH_PROBES' }),
  );
});

test('an unknown kernel is an error', () => {
  expect(() => replayCapture(openCapture(source), { kernel: '5.4' })).toThrow(UnknownKernel);
});

test('checks without data are left out and named', () => {
  const dir = join(work, 'bare');
  cpSync(source, dir, { recursive: true });
  for (const file of ['qemu-ops.txt.gz', 'DUMP-IDLE.truth.jsonl', 'DUMP-BUSY.truth.jsonl'])
    rmSync(join(dir, file));
  const { checks, notApplicable, ok } = replayCapture(
    openCapture(dir),
    SOAK ? {} : { until: 'idle' },
  );
  expect(notApplicable).toEqual(['translations', 'truth', 'events']);
  expect(checks.translations).toBeUndefined();
  expect(ok).toBe(true);
}, 60_000);
