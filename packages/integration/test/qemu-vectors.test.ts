import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError, type VectorReport } from '../src/index.ts';

const data = new URL('../data/', import.meta.resolve('@iommukit/vectors'));
const text = (path: string): string => readFileSync(new URL(path, data), 'utf8');
const programs = (preset: string): string =>
  gunzipSync(readFileSync(new URL(`qemu-vectors/${preset}.ndjson.gz`, data))).toString();
const sample = programs('s1');

// The documentation's own counts, not the runner's.
const documented = [
  ...text('qemu-vectors/README.md').matchAll(
    /^\| `(\w+)\.ndjson\.gz` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|/gm,
  ),
].map(([, name = '', ...counts]) => ({
  name,
  counts: counts.map((digits) => Number(digits.replaceAll(',', ''))),
}));

interface Step {
  access?: object;
  cmd?: string[];
  read?: string;
  value?: string;
  mem?: object;
  reg?: string[];
  result?: string;
  pa?: string;
  events?: string[][];
  cons?: string;
  stale?: boolean;
  deviation?: string;
}
interface Row {
  id: string;
  cat: string;
  base: string;
  steps: Step[];
}

const [headerLine = '', ...rowLines] = sample.trimEnd().split('\n');
const rows = rowLines.map((line) => JSON.parse(line) as Row);

function fileOf(...of: readonly (Row | string)[]): string {
  const lines = of.map((row) => (typeof row === 'string' ? row : JSON.stringify(row)));
  return `${[headerLine, ...lines].join('\n')}\n`;
}

function findings(report: VectorReport): NonNullable<VectorReport['programs']> {
  if (report.programs === undefined) throw new Error('no programs');
  return report.programs;
}

/** Each sample runs once, whatever asks for it first. */
const reports = new Map<string, VectorReport>();
function reportOf(preset: string): VectorReport {
  const report = reports.get(preset) ?? runVectorFile(programs(preset), preset);
  reports.set(preset, report);
  return report;
}

// Hundreds of programs on a busy machine.
describe('recorded on QEMU 11', { timeout: 60_000 }, () => {
  test('the documentation names all three files', () => {
    expect(documented.map(({ name }) => name)).toEqual(['s1', 's2', 'nested']);
  });

  test.each(documented)('$name', ({ name, counts }) => {
    const report = reportOf(name);
    const { programs: run, accesses, commands, ...found } = findings(report);
    expect(report.first).toBeUndefined();
    expect(report).toMatchObject({ kind: 'qemu-program', origin: 'qemu', ok: true, mismatches: 0 });
    expect([run, accesses, commands]).toEqual(counts);
    expect(found.preset).toBe(`qemu-11-${name}`);
    expect(found.unmodelled).toEqual({});
    // Every access counts in the run with caches too.
    expect(found.kept.equal + found.kept.reported).toBe(accesses);
    expect(found.kept.reported).toBeGreaterThan(0);
    expect(found.reads.compared).toBeGreaterThan(50);
    expect(found.equalAllTheSame).toEqual([]);
  });

  test('what the file flags is counted by code', () => {
    const flags = new Map<string, number>();
    for (const { deviation } of rows.flatMap(({ steps }) => steps))
      for (const code of deviation?.split('+') ?? []) flags.set(code, (flags.get(code) ?? 0) + 1);
    const { deviations, stale } = findings(reportOf('s1'));
    const counts = Object.entries(deviations).map(([code, { count }]) => [code, count] as const);
    expect(new Map(counts)).toEqual(flags);
    expect(stale.recorded).toBe(rows.flatMap(({ steps }) => steps).filter((s) => s.stale).length);
  });
});

/** The first program with a step of which `change` changes something, changed. */
function changed(change: (step: Step) => boolean): { row: Row; step: number } {
  for (const original of rows) {
    const row = structuredClone(original);
    const step = row.steps.findIndex((one) => change(one));
    if (step >= 0) return { row, step };
  }
  throw new Error('no such step');
}

function flip(word: string): string {
  return word.slice(0, -1) + (Number.parseInt(word.slice(-1), 16) ^ 1).toString(16);
}

function put<K extends keyof Step>(step: Step, key: K, value: Step[K]): true {
  step[key] = value;
  return true;
}

const plain = (step: Step): boolean => step.stale !== true && step.deviation === undefined;

describe('one flipped bit is noticed', () => {
  const cases: { name: string; what: string; change: (step: Step) => boolean }[] = [
    {
      name: 'an address',
      what: 'access',
      change: (step) => plain(step) && step.pa !== undefined && put(step, 'pa', flip(step.pa)),
    },
    {
      name: 'a record',
      what: 'access',
      change: (step) => {
        const event = step.events?.[0];
        if (!plain(step) || event === undefined) return false;
        event[2] = flip(event[2] ?? '0x0');
        return true;
      },
    },
    {
      name: 'CMDQ_CONS',
      what: 'command',
      change: (step) =>
        plain(step) && step.cons !== undefined && put(step, 'cons', flip(step.cons)),
    },
    {
      name: 'a register',
      what: 'read GERROR',
      change: (step) => step.read === 'GERROR' && put(step, 'value', flip(step.value ?? '0x0')),
    },
    {
      name: 'a copy that QEMU used',
      what: 'stale outcome',
      change: (step) =>
        step.stale === true &&
        step.deviation === undefined &&
        step.pa !== undefined &&
        put(step, 'pa', flip(step.pa)),
    },
    {
      name: 'a stale use without its flag',
      what: 'access',
      change: (step) => step.stale === true && step.deviation === undefined && delete step.stale,
    },
    {
      name: 'a deviation without its code',
      what: 'access',
      change: (step) =>
        step.access !== undefined &&
        step.stale !== true &&
        step.deviation === 'q5' &&
        delete step.deviation,
    },
  ];
  test.each(cases)('$name', ({ what, change }) => {
    const { row, step } = changed(change);
    const report = runVectorFile(fileOf(row), 'f');
    expect(report.ok).toBe(false);
    expect(findings(report).mismatches[0]).toMatchObject({
      program: row.id,
      category: row.cat,
      step,
      what,
    });
    expect(report.first?.operation).toBe(0);
    expect(report.first?.what).toContain(`${row.id}, step ${String(step)} (${row.cat})`);
  });
});

describe('programs in categories not shown', () => {
  const program = (steps: Step[], base = 's1-c5-g4'): Row =>
    ({ id: 'x-1', preset: 'qemu-11-s1', cat: 'new', base, steps }) as Row;
  const access = (addr: string, write = false): Step => ({
    access: { sid: '0x8', addr, write, size: 4 },
  });

  test('bypass while SMMUEN is 0, in RAM and outside', () => {
    const steps = [
      { ...access('0x41000010'), result: 'ok', pa: '0x41000010', events: [] },
      { ...access('0x9000000'), result: 'ok', pa: '0x9000000', events: [] },
    ];
    const report = runVectorFile(fileOf(program(steps, 'regs')), 'f');
    expect(report).toMatchObject({ ok: true, operations: 2, mismatches: 0 });
  });

  test('a fetch behind the end of RAM is an external abort', () => {
    const steps: Step[] = [
      { mem: { '0x40260000': ['0x1e204b5993519', '0x50000000'] } },
      { reg: ['CR0', '0xd'] },
      {
        ...access('0x20000000'),
        result: 'abort',
        // F_WALK_EABT, CLASS=TT; the level-1 descriptor of 0x20000000 is the first (7.3.12).
        events: [['0x80000000b', '0x10800000000', '0x20000000', '0x50000000']],
      },
    ];
    expect(runVectorFile(fileOf(program(steps)), 'f').first).toBeUndefined();
  });

  test('a file without a comparable step is not ok', () => {
    expect(runVectorFile(fileOf(program([])), 'f')).toMatchObject({ ok: false, compared: 0 });
  });
});

function message(input: string): string {
  try {
    runVectorFile(input, 'f');
  } catch (error) {
    expect(error).toBeInstanceOf(VectorError);
    const line = (error as VectorError).message;
    expect(line.split('\n')).toHaveLength(1);
    return line;
  }
  throw new Error('nothing thrown');
}

describe('dirty input names file and line', () => {
  const [row] = rows;
  if (row === undefined) throw new Error('no program');
  const header = JSON.parse(headerLine) as { header: Record<string, object> };
  const without = (key: string): string => {
    const { [key]: _, ...rest } = header.header;
    return `${JSON.stringify({ header: rest })}\n`;
  };
  const withStep = (step: object): string => fileOf({ ...row, steps: [step as Step] });
  const cases = [
    { name: 'cut off', input: fileOf(row, row).slice(0, -40), at: 'f:3' },
    { name: 'no JSON', input: fileOf(row, '{"id"'), at: 'f:3' },
    { name: 'an array', input: fileOf('[]'), at: 'f:2' },
    { name: 'header cut off', input: headerLine.slice(0, 500), at: 'f:1' },
    { name: 'no bases', input: without('bases'), at: 'f:1' },
    { name: 'no reset', input: without('reset'), at: 'f:1' },
    { name: 'no RAM', input: without('ram'), at: 'f:1' },
    { name: 'no steps', input: fileOf(JSON.stringify({ ...row, steps: undefined })), at: 'f:2' },
    { name: 'unknown base', input: fileOf({ ...row, base: 'x' }), at: 'f:2: base' },
    { name: 'unknown step', input: withStep({ jump: 1 }), at: 'f:2: steps[0]' },
    { name: 'unknown register', input: withStep({ reg: ['CR9', '0x0'] }), at: 'f:2: steps[0].reg' },
    { name: 'a decimal word', input: withStep({ mem: { '0x40000000': '12' } }), at: 'f:2: steps' },
    {
      name: 'ok without an address',
      input: withStep({
        access: { sid: '0x8', addr: '0x0', write: true, size: 4 },
        result: 'ok',
        events: [],
      }),
      at: 'f:2: steps[0].pa',
    },
    { name: 'a read without a value', input: withStep({ read: 'CR0' }), at: 'f:2: steps[0]' },
    {
      name: 'memory outside RAM',
      input: withStep({ mem: { '0x1000': '0x0' } }),
      at: 'f:2: steps[0].mem',
    },
  ];
  test.each(cases)('$name', ({ input, at }) => {
    expect(message(input).slice(0, at.length)).toBe(at);
  });
});

describe('register-level runs', () => {
  const listed = [
    ...text('qtest/README.md').matchAll(
      /^\| `(.+)\.json` \| (\d+) \| (\d+) \| (\d+) \| (\d*) ?\|/gm,
    ),
  ].map(([, name = '', ...counts]) => ({ name, counts: counts.map(Number) }));

  test.each(listed)('$name', ({ name, counts }) => {
    const report = runVectorFile(text(`qtest/${name}.json`), name);
    expect(report.first).toBeUndefined();
    expect(report).toMatchObject({ kind: 'qtest', origin: 'qemu', ok: true });
    const { registers, events, checks, probes } = report.qtest?.steps ?? {};
    expect([registers, events, checks, probes]).toEqual(counts);
    expect(report.qtest?.equalAllTheSame).toEqual([]);
  });

  test('a flipped bit of a record', () => {
    const file = text('qtest/qemu11.1.3-stage-1.json');
    const wrong = file.replace(/("raw": "13)00/, '$101');
    expect(wrong).not.toBe(file);
    const { ok, qtest } = runVectorFile(wrong, 'f');
    expect({ ok, differing: qtest?.differing }).toEqual({
      ok: false,
      differing: ['write to RO page'],
    });
  });

  test('a step that nobody knows', () => {
    const file = JSON.parse(text('qtest/qemu11.1.3-stage-2.json')) as { events: object[] };
    file.events.push({ name: 'moonlight', n: 0 });
    expect(() => runVectorFile(file, 'f')).toThrow('moonlight');
  });
});
