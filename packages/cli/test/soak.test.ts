import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replaySoak, runSoak, type SoakMachine, type SoakReport } from '@iommukit/integration';
import { afterAll, expect, test } from 'vitest';
import { soak } from '../src/soak-command.ts';
import { running } from './command.ts';

const run = running('soak');
const dir = mkdtempSync(join(tmpdir(), 'soak-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('--json: exactly one object with seed, digest and counts; the same again', async () => {
  const { code, out, err } = await run('--seed', '7', '--steps', '300', '--json');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out.trimEnd().split('\n')).toHaveLength(1);
  const report = JSON.parse(out) as SoakReport;
  expect(report).toMatchObject({
    ok: true,
    summary: { steps: 300, violations: 0 },
    seed: 7,
    violation: null,
    operations: [],
  });
  expect(report.digest).toMatch(/^[0-9a-f]{64}$/);
  expect((await run('--seed', '7', '--steps', '300', '--json')).out).toBe(out);
});

test('text: the digest, the work and the verdict', async () => {
  const { code, out, err } = await run('--seed', '7', '--steps', '100');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toMatch(/^seed 7, digest [0-9a-f]{64}$/m);
  expect(out).toMatch(
    /^work: steps 100, accesses \d+, commands \d+, events \d+, page faults \d+, /m,
  );
  expect(out).toMatch(/^ok: no invariant broken$/m);
});

/** The first device's domain loses every invalidation. */
function broken(on: SoakMachine): void {
  on.device(0).dev.domain.ops.iotlbSync = () => {};
}

test('a failure: exit 1, what broke, and a file that is replayed', async () => {
  const file = join(dir, 'failing.json');
  let text = '';
  const streams = {
    out: (part: string) => {
      text += part;
    },
    err: () => {},
    isTerminal: false,
  };
  const by = {
    runSoak: (options: Parameters<typeof runSoak>[0]) => runSoak({ ...options, prepare: broken }),
    replaySoak: (seed: number, operations: Parameters<typeof replaySoak>[1]) =>
      replaySoak(seed, operations, broken),
  };
  expect(soak({ seed: 5, steps: 1000, out: file }, streams, by)).toBe(1);
  expect(text).toMatch(/^reuse: 0000:00:01\.0: IOVA 0x[0-9a-f]+ goes back while it reaches /m);
  expect(text).toMatch(/^NOT OK: 1 invariant broken, [1-9] operations suffice$/m);
  expect(readFileSync(file, 'utf8')).toMatch(/^\{"kind":"iommukit-soak","version":1,"seed":5,/);
  const first = text;
  text = '';
  expect(soak({ seed: 1, steps: 1, replay: file }, streams, by)).toBe(1);
  expect(text.split('\n').slice(2)).toEqual(first.split('\n').slice(2));
  const nowhere = join(dir, 'absent', 'x');
  expect(() => soak({ seed: 1, steps: 1, replay: file, out: nowhere }, streams, by)).toThrow(
    /expected a file to write to \(ENOENT\)$/,
  );
  const sound = await run('--replay', file);
  expect(sound).toMatchObject({ code: 0, err: '' });
  expect(sound.out).toMatch(/^ok: no invariant broken$/m);
});

const dirty = join(dir, 'dirty.json');
writeFileSync(dirty, '{"kind":"iommukit-soak","version":1,"seed":1,"operations":[{"op":"x"}]}');
const usage = [
  {
    name: 'no file',
    args: ['--replay', join(dir, 'absent')],
    says: /expected a file to read \(ENOENT\)$/,
  },
  { name: 'a dirty file', args: ['--replay', dirty], says: /operations\[0\]: "op": one of map / },
  { name: 'no number', args: ['--seed', 'x'], says: /expected a number from 0 to 4294967295/ },
  {
    name: 'workers and a file',
    args: ['--workers', '2', '--replay', dirty],
    says: /cannot be used with option '--replay/,
  },
  { name: 'no steps', args: ['--steps', '0'], says: /expected a number from 1 to / },
  { name: 'an unknown option', args: ['--fast'], says: /unknown option '--fast'/ },
];
test.each(usage)('$name: exit 2 and one line', async ({ args, says }) => {
  const { code, out, err } = await run(...args);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err.trimEnd()).toMatch(says);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
});
