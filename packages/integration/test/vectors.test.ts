import { readFileSync } from 'node:fs';
import { VECTOR_FILES } from '@iommukit/vectors';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError, type VectorReport } from '../src/index.ts';

const data = new URL('../', import.meta.resolve('@iommukit/vectors'));
const read = (path: string): string => readFileSync(new URL(path, data), 'utf8');
const golden = (name: string): string => read(`data/golden/${name}.json`);

// The documentation's own count, not the runner's.
const documented = new Map(
  [...read('data/golden/README.md').matchAll(/^\| `(\w+)\.json` \| (\d+) \|/gm)].map(
    ([, name, count]) => [name, Number(count)],
  ),
);

describe('recorded from the kernel', () => {
  test.each(VECTOR_FILES)('$name', ({ path, kind, name }) => {
    const report = runVectorFile(read(path), name);
    expect(report.first).toBeUndefined();
    expect(report).toEqual({
      file: name,
      kind,
      origin: 'kernel',
      ok: true,
      operations: documented.get(name),
      compared: expect.any(Number),
      mismatches: 0,
    });
    expect(report.compared).toBeGreaterThan(report.operations / 2);
  });

  test('what was parsed already runs the same', () => {
    const text = golden('iova_reserve');
    expect(runVectorFile(JSON.parse(text) as object, 'a')).toEqual(runVectorFile(text, 'a'));
  });
});

/** The text with the lowest bit of the last hexadecimal digit of the first match on a line flipped. */
function flipped(text: string, line: number, pattern: RegExp): string {
  const lines = text.split('\n');
  const before = lines[line - 1] ?? '';
  lines[line - 1] = before.replace(
    pattern,
    (match) => match.slice(0, -1) + (Number.parseInt(match.slice(-1), 16) ^ 1).toString(16),
  );
  expect(lines[line - 1]).not.toBe(before);
  return lines.join('\n');
}

/** The text without the operations that stand far behind a line. */
function cutAfter(text: string, line: number): string {
  const lines = text.split('\n');
  const end = line + 8;
  if (end >= lines.length - 2) return text;
  const kept = lines.slice(0, end).join('\n').replace(/,$/, '');
  return `${kept}\n${lines.slice(-2).join('\n')}`;
}

const lineWith = (text: string, part: string): number =>
  text.split('\n').findIndex((line) => line.includes(part)) + 1;

describe('one flipped bit is noticed', () => {
  const rows = [
    { name: 'pt_s1_4k_48_a', part: '"op":"iova_to_phys"', bit: /"ret":"0x[0-9a-f]+/, what: 'ret' },
    {
      name: 'pt_s1_4k_48_a',
      part: '"tlb_flush_walk"',
      bit: /"tlb_flush_walk","0x[0-9a-f]+/,
      what: 'calls',
    },
    {
      name: 'pt_s2_4k_48_noncoherent',
      part: '"sync"',
      bit: /"sync",\d+,"0x[0-9a-f]+/,
      what: 'calls',
    },
    { name: 'pt_s1_64k_52', part: '"op":"checkpoint"', bit: /"raw":"0x[0-9a-f]+/, what: 'table' },
    { name: 'pt_s1_4k_ttbr1', part: '"warns"', bit: /"warns":\d+/, what: 'warns' },
    { name: 'pt_v7s_32', part: '"op":"checkpoint"', bit: /"raw":"0x[0-9a-f]+/, what: 'table' },
    { name: 'pt_dart_16k', part: '"op":"checkpoint"', bit: /"raw":"0x[0-9a-f]+/, what: 'table' },
    {
      name: 'gpt_riscv64_sv48',
      part: '"op":"checkpoint"',
      bit: /"raw":"0x[0-9a-f]+/,
      what: 'table',
    },
    { name: 'gpt_amdv1_64', part: '"gather"', bit: /"end":"0x[0-9a-f]+/, what: 'gather' },
    { name: 'iova_limits', part: '"op":"alloc_fast"', bit: /"pfn":"0x[0-9a-f]+/, what: 'pfn' },
    { name: 'iova_reserve', part: '"op":"reserve"', bit: /"ret":\["0x[0-9a-f]+/, what: 'ret' },
    {
      name: 'iova_soak_4cpu',
      part: '"op":"checkpoint"',
      bit: /"cached_node":"0x[0-9a-f]+/,
      what: 'cached_node',
    },
    { name: 'iopgt_cfg_matrix', part: '"mair"', bit: /"mair":"0x[0-9a-f]+/, what: 'result' },
    { name: 'gpt_cfg_matrix', part: '"errno"', bit: /"errno":-\d+/, what: 'errno' },
    {
      name: 'smmu_entry_build',
      part: '"builder":"nested"',
      bit: /"data":\["0x[0-9a-f]+/,
      what: 'data',
    },
    { name: 'smmu_entry_build', part: '"op":"used"', bit: /"used":\["0x[0-9a-f]+/, what: 'used' },
    {
      name: 'smmu_entry_write',
      part: '"to":"bypass"',
      bit: /"syncs":\[\["0x[0-9a-f]+/,
      what: 'syncs',
    },
    {
      name: 'smmu_entry_write',
      part: '"op":"install"',
      bit: /"cmds":\[\["0x[0-9a-f]+/,
      what: 'issues',
    },
    {
      name: 'dma_alloc',
      part: '"op":"phys_map"',
      bit: /"phys_map".*?"ret":"0x[0-9a-f]+/,
      what: 'phys_map: ret',
    },
    {
      name: 'dma_sg',
      part: '"op":"sg_map"',
      bit: /"out":\[\["0x[0-9a-f]+/,
      what: 'step 0 sg_map: out',
    },
    { name: 'dma_iova', part: '"op":"link"', bit: /"map","0x[0-9a-f]+/, what: 'link: calls' },
    { name: 'dma_fq', part: '"op":"queue"', bit: /"rings":\[\[\d+/, what: 'fq_init: state' },
    { name: 'smmu_cmd', part: '"make":"tlbi"', bit: /"cmd":\["0x[0-9a-f]+/, what: 'cmd' },
    { name: 'smmu_cmd_612', part: '"errno"', bit: /"errno":-\d+/, what: 'errno' },
    { name: 'smmu_inv_612', part: '"call":"all"', bit: /"cmds":\[\["0x[0-9a-f]+/, what: 'issues' },
    { name: 'smmu_inv_array', part: '"op":"invs_unref"', bit: /"trash":\d+/, what: 'array' },
    { name: 'smmu_inv_random', part: '"issues"', bit: /"cmds":\[\["0x[0-9a-f]+/, what: 'issues' },
    { name: 'evt_print', part: '"fault"', bit: /"grpid":\d+/, what: 'fault' },
    {
      name: 'evt_print',
      part: '"op":"gerror"',
      bit: /"gerrorn_after":"0x[0-9a-f]+/,
      what: 'gerrorn',
    },
    { name: 'evt_print_612', part: '"op":"pri"', bit: /\[\d+/, what: 'log' },
  ];
  test.each(rows)('$name: $what', ({ name, part, bit, what }) => {
    const text = golden(name);
    // Behind the header, whose members have the same names.
    const line = lineWith(text.replace(/^.*\n/, '\n'), part);
    const report = runVectorFile(flipped(cutAfter(text, line), line, bit), name);
    expect(report.ok).toBe(false);
    expect(report.mismatches).toBeGreaterThan(0);
    expect(report.first?.operation).toBe(line - 2);
    expect(report.first?.what).toContain(what);
    expect(report.first?.expected).not.toEqual(report.first?.got);
  });

  test('in the header', () => {
    const report = runVectorFile(flipped(golden('pt_s1_16k_48'), 1, /"tsz":\d+/), 'a');
    expect(report.first).toMatchObject({ operation: -1, what: 'init result' });
  });

  test('a result that nobody knows', () => {
    const text = golden('iova_large').replace('{"op":"alloc",', '{"op":"alloc","colour":"red",');
    expect(runVectorFile(text, 'a').first).toMatchObject({ expected: 'red', got: undefined });
  });
});

function run(text: string): VectorReport | string {
  try {
    return runVectorFile(text, 'f.json');
  } catch (error) {
    expect(error).toBeInstanceOf(VectorError);
    const { message } = error as VectorError;
    expect(message.split('\n')).toHaveLength(1);
    return message;
  }
}

describe('a file that is none', () => {
  const pt = golden('pt_overrun_s1_4k');
  const iova = golden('iova_limits');
  const gpt = golden('gpt_amdv1_mock');
  const swap = (text: string, a: string | RegExp, b: string): string => {
    const changed = text.replace(a, b);
    expect(changed).not.toBe(text);
    return changed;
  };
  const rows: { name: string; text: string; says: string | RegExp }[] = [
    { name: 'nothing', text: '', says: 'f.json:1: expected one complete JSON object, got ""' },
    {
      name: 'no JSON',
      text: 'hello\n',
      says: 'f.json:1: expected one complete JSON object, got "hello"',
    },
    { name: 'an array', text: '[1]', says: 'f.json:1: expected a JSON object, got [1]' },
    { name: 'null', text: 'null', says: 'f.json:1: expected a JSON object, got null' },
    {
      name: 'cut within an operation',
      text: pt.slice(0, pt.indexOf('"op"', 5000) + 9),
      says: /^f\.json:\d+: expected one complete JSON object, got "\{/,
    },
    {
      name: 'cut after an operation',
      text: `${pt.split('\n').slice(0, 20).join('\n')}\n`,
      says: /^f\.json:20: expected one complete JSON object/,
    },
    {
      name: 'no kind',
      text: '{"name":"a","ops":[]}',
      says: /^f\.json:1: kind: expected one of io-pgtable, .*, iova, .*, got nothing$/,
    },
    {
      name: 'a kind of another project',
      text: '{"kind":"vtd-qi","name":"a","cases":[]}',
      says: /^f\.json:1: kind: expected one of .* got "vtd-qi"$/,
    },
    {
      name: 'a kind that every object has',
      text: '{"kind":"toString","name":"a"}',
      says: /^f\.json:1: kind: expected one of/,
    },
    {
      name: 'one object a line',
      text: '{"header":{"format":1}}\n{"op":"map"}\n',
      says: 'f.json:1: expected vectors of a known kind, got {"header":{"format":1}}',
    },
    {
      name: 'another version',
      text: swap(iova, '"name"', '"version":2,"name"'),
      says: 'f.json:1: version: expected 1, got 2',
    },
    {
      name: 'another kernel',
      text: swap(iova, '"name"', '"kernel":"6.12.107","name"'),
      says: 'f.json:1: kernel: expected none or 7.3, got "6.12.107"',
    },
    {
      name: 'an unknown origin',
      text: swap(iova, '"name"', '"origin":"me","name"'),
      says: /^f\.json:1: origin: expected none \(the kernel\) or "iommukit VERSION", got "me"$/,
    },
    {
      name: 'no operations',
      text: '{"kind":"iova","name":"a"}',
      says: /^f\.json:1: cfg: expected an object, got nothing$/,
    },
    {
      name: 'an unknown format',
      text: swap(pt, '"arm-64-lpae-s1"', '"arm-128"'),
      says: /^f\.json:1: format: expected one of arm-64-lpae-s1, .* got "arm-128"$/,
    },
    {
      name: 'a format that every object has',
      text: swap(pt, '"arm-64-lpae-s1"', '"constructor"'),
      says: /^f\.json:1: format: expected one of/,
    },
    {
      name: 'a generic format of another family',
      text: swap(gpt, '"amdv1_mock"', '"arm-v7s"'),
      says: /^f\.json:1: format: expected one of amdv1, /,
    },
    {
      name: 'an address that is none',
      text: swap(pt, /"iova":"0x[0-9a-f]+"/, '"iova":"0xzz"'),
      says: /^f\.json:2: operation 0\.iova: expected a string "0x" .*, got "0xzz"$/,
    },
    {
      name: 'an address of 65 bits',
      text: swap(pt, /"iova":"0x[0-9a-f]+"/, '"iova":"0x10000000000000000"'),
      says: /^f\.json:2: operation 0\.iova: /,
    },
    {
      name: 'a number for an address',
      text: swap(iova, '"limit":"0xfffff"', '"limit":5'),
      says: /^f\.json:3: operation 1\.limit: expected a string "0x" .*, got 5$/,
    },
    {
      name: 'a count that is a fraction',
      text: swap(iova, '"size":4', '"size":4.5'),
      says: /^f\.json:2: operation 0\.size: expected .*, got 4\.5$/,
    },
    {
      name: 'a missing input',
      text: swap(pt, /"pgsize":"0x[0-9a-f]+",/, ''),
      says: /^f\.json:\d+: .*expected .*, got nothing$/,
    },
    {
      name: 'a missing result',
      text: swap(iova, '"pfn":"0xffffffffc"', '"pnf":"0xffffffffc"'),
      says: /^f\.json:2: operation 0\.pfn: expected .*, got nothing$/,
    },
    {
      name: 'an unknown operation',
      text: swap(iova, '"op":"free_fast"', '"op":"resize"'),
      says: /^f\.json:\d+: operation \d+\.op: expected one of alloc_fast, .* got "resize"$/,
    },
    {
      name: 'an operation that is no object',
      text: swap(pt, '"ops":[', '"ops":[null,'),
      says: /operation 0: expected an object, got null$/,
    },
    {
      name: 'operations that are no array',
      text: '{"kind":"io-pgtable-cfg-matrix","name":"a","cases":{}}',
      says: 'f.json:1: cases: expected an array, got {}',
    },
    {
      name: 'a checkpoint without tables',
      text: swap(pt, /"op":"checkpoint","tables":/, '"op":"checkpoint","tablets":'),
      says: /^f\.json:\d+: operation \d+\.tables: expected an array, got nothing$/,
    },
    {
      name: 'an entry that is no entry',
      text: swap(pt, /"tables":\[\[0,0,\[\[\d+,/, '"tables":[[0,0,[[1,null],[2,'),
      says: /^f\.json:\d+: operation \d+\.tables\[0\]\[2\]\[0\]\[1\]: expected a string/,
    },
    {
      name: 'a run of too many entries',
      text: swap(pt, /"tables":\[\[0,0,\[/, '"tables":[[0,0,[[0,"0x1",1000000000000,"0x1"],'),
      says: /expected an integer from 0 to 1048576, got 1000000000000$/,
    },
    {
      name: 'a granule that is none',
      text: swap(iova, '"granule":"0x1000"', '"granule":"0x3"'),
      says: 'f.json:1: expected what the packages model, got "IOVA_GRANULE"',
    },
  ];
  test.each(rows)('$name', ({ text, says }) => {
    const result = run(text);
    if (typeof says === 'string') expect(result).toBe(says);
    else expect(result).toMatch(says);
  });

  test('a quirk that the formats do not have is refused, which the recording did not', () => {
    expect(run(swap(pt, '"quirks":[]', '"quirks":["SHINY"]'))).toMatchObject({
      ok: false,
      first: { operation: -1, what: 'init result', got: null },
    });
  });

  test('a file without operations is not ok', () => {
    const head = iova.slice(0, iova.indexOf('"ops":['));
    expect(run(`${head}"ops":[]}`)).toMatchObject({ ok: false, operations: 0, mismatches: 0 });
    expect(run('{"kind":"io-pgtable-cfg-matrix","name":"a","cases":[]}')).toMatchObject({
      ok: false,
      compared: 0,
    });
  });

  test('what is cut anywhere is an error, never a crash', () => {
    for (let end = 0; end < pt.length - 3; end += 997)
      expect(run(pt.slice(0, end)), `cut at ${String(end)}`).toMatch(/^f\.json:\d+: expected/);
  });
});
