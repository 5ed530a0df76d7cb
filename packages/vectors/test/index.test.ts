import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VECTOR_FILES } from '../src/index.ts';

const root = new URL('../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

interface Header {
  readonly kind: string;
  readonly name: string;
  readonly description: string;
  readonly origin?: string;
  readonly ops?: readonly object[];
  readonly cases?: readonly object[];
}

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual(['VECTOR_FILES']);
});

test('the index names every file', () => {
  const there = readdirSync(new URL('data/golden/', root)).filter((name) => name.endsWith('.json'));
  expect(VECTOR_FILES.map(({ path }) => path)).toEqual(
    there.sort().map((name) => `data/golden/${name}`),
  );
  expect(VECTOR_FILES).toHaveLength(65);
});

test.each(VECTOR_FILES)('$path holds what the index says', ({ path, kind, name, operations }) => {
  const text = read(path);
  const file = JSON.parse(text) as Header;
  const rows = file.ops ?? file.cases ?? [];
  expect([file.kind, file.name, rows.length]).toEqual([kind, name, operations]);
  expect(file.description).not.toBe('');
  expect(file.origin, 'recorded from the kernel').toBeUndefined();
  // One operation a line, between the header's line and the closing one.
  const lines = text.split('\n');
  expect(lines).toHaveLength(rows.length + 3);
  expect(JSON.parse((lines[1] ?? '').replace(/,$/, ''))).toEqual(rows[0]);
});

test('the documentation lists every file with its number of operations', () => {
  const table = [...read('data/golden/README.md').matchAll(/^\| `(\w+)\.json` \| (\d+) \|/gm)];
  const listed = new Map(table.map(([, name, count]) => [name, Number(count)]));
  expect(listed).toEqual(new Map(VECTOR_FILES.map(({ name, operations }) => [name, operations])));
  expect(VECTOR_FILES.reduce((sum, { operations }) => sum + operations, 0)).toBe(
    24_506 + 6_535 + 3_430 + 1_279 + 415,
  );
});

interface Schema {
  readonly properties: {
    readonly kind: { readonly const: string };
    readonly ops?: Rows;
    readonly cases?: Rows;
  };
}

interface Rows {
  readonly items: { readonly oneOf?: readonly Operation[] };
}

interface Operation {
  readonly properties: Readonly<Record<string, { readonly const?: string }>>;
  readonly required: readonly string[];
}

const rowsOf = ({ ops, cases }: Header): readonly object[] => ops ?? cases ?? [];

test.each([...new Set(VECTOR_FILES.map(({ kind }) => kind))])('the schema of %s', (kind) => {
  const { properties } = JSON.parse(read(`data/golden/schema/${kind}.schema.json`)) as Schema;
  expect(properties.kind.const).toBe(kind);
  const shapes = (properties.ops ?? properties.cases)?.items.oneOf ?? [];
  let operations = 0;
  const wrong: string[] = [];
  for (const { path } of VECTOR_FILES.filter((file) => file.kind === kind))
    for (const op of rowsOf(JSON.parse(read(path)) as Header)) {
      if (!('op' in op)) continue;
      operations++;
      const { op: name } = op as { readonly op: string };
      const shape = shapes.find(({ properties: { op: own } }) => own?.const === name);
      for (const key of Object.keys(op))
        if (!Object.hasOwn(shape?.properties ?? {}, key)) wrong.push(`${path}: ${name} has ${key}`);
      for (const key of shape?.required ?? [])
        if (!Object.hasOwn(op, key)) wrong.push(`${path}: ${name} lacks ${key}`);
    }
  expect(wrong).toEqual([]);
  expect(operations > 0).toBe(!kind.endsWith('-cfg-matrix'));
});

test.each(['golden', 'qemu-vectors', 'qtest', 'smmu-architecture'])(
  'data/%s has a README, and the package names it',
  (folder) => {
    expect(readdirSync(new URL('data/', root))).toContain(folder);
    expect(read(`data/${folder}/README.md`)).toMatch(/^# /);
    expect(read('README.md')).toContain(`data/${folder}/`);
  },
);

test('folders of data', () => {
  expect(readdirSync(new URL('data/', root)).sort()).toEqual([
    'golden',
    'qemu-vectors',
    'qtest',
    'smmu-architecture',
  ]);
});

test('architecture vectors: one case a line, each kind of case in the documentation', () => {
  const text = read('data/smmu-architecture/smmu-architecture.json');
  const { kind, version, origin, cases } = JSON.parse(text) as {
    readonly kind: string;
    readonly version: number;
    readonly origin: string;
    readonly cases: readonly {
      readonly case: string;
      readonly steps?: readonly { op: string }[];
    }[];
  };
  expect([kind, version]).toEqual(['smmu-architecture', 1]);
  expect(origin).toMatch(/^iommukit \d+\.\d+\.\d+/);
  expect(text.split('\n')).toHaveLength(cases.length + 3);
  const names = cases.flatMap((one) => [one.case, ...(one.steps ?? []).map(({ op }) => op)]);
  for (const name of new Set(names))
    expect(read('data/smmu-architecture/README.md')).toContain(`| \`${name}\` |`);
});
