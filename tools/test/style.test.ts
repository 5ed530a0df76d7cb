// The habits of this house, as far as a program can check them, on the tree as it stands. What each rule sees is in style-rules.test.ts.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import * as arch from '../../packages/arm-arch/src/index.ts';
import * as bits from '../../packages/bits/src/index.ts';
import { MEDIAN_CODE_LINES, machineComplaints, moduleComplaints } from '../code-style.mjs';
import {
  contractComplaints,
  exportComplaints,
  modelComplaints,
  ownExports,
  rangeComplaints,
  reexports,
  workedValues,
} from '../doc-style.mjs';
import { codesOf, errorClasses, listedCodes, uncodedErrors } from '../error-codes.mjs';
import { functionComplaints } from '../function-style.mjs';
import { packageDirs } from '../layers.mjs';
import { codeLines, parseModule } from '../parsed-module.mjs';
import { enumFaults, pinsExports, rowGaps } from '../table-style.mjs';
import { root, trackedFiles } from '../tree.mjs';

const files = trackedFiles();
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const ofSrc = files.filter((path) => /^packages\/[^/]+\/src\//.test(path));
const modules = new Map(ofSrc.map((path) => [path, parseModule(path, read(path))]));
const below = (prefix: string) =>
  [...modules].filter(([path]) => path.startsWith(prefix)).map(([, module]) => module);
const moduleAt = (path: string) => {
  const module = modules.get(path);
  if (module === undefined) throw new Error(`no module ${path}`);
  return module;
};

describe('the tree', () => {
  it('has every package in its shape', () => {
    const parts = ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'tsconfig.json'];
    const missing = packageDirs().flatMap((dir) => {
      const own = files.filter((path) => path.startsWith(`packages/${dir}/`));
      const has = (part: string) =>
        own.some(
          (path) =>
            path === `packages/${dir}/${part}` || path.startsWith(`packages/${dir}/${part}/`),
        );
      return [...parts, 'src/index.ts', 'test', 'bench']
        .filter((part) => !has(part))
        .map((part) => `packages/${dir}/${part}`);
    });
    expect(missing).toEqual([]);
  });

  it('keeps src/ to TypeScript modules of one noun each, of short functions without switches', () => {
    expect(ofSrc.length).toBeGreaterThan(0);
    expect(ofSrc.flatMap((path) => moduleComplaints(path, read(path)))).toEqual([]);
  });

  it(`keeps the median module at ${MEDIAN_CODE_LINES} lines of code or less`, () => {
    const lengths = [...modules.values()].map((module) => codeLines(module)).sort((a, b) => a - b);
    expect(lengths[lengths.length >> 1]).toBeLessThanOrEqual(MEDIAN_CODE_LINES);
  });

  it('keeps switches out of what tests and benches share', () => {
    const shared = files.filter(
      (path) =>
        /^packages\/[^/]+\/(?:test|bench)\/.*\.ts$/.test(path) && !path.endsWith('.test.ts'),
    );
    const found = shared.flatMap((path) => functionComplaints(parseModule(path, read(path))));
    expect(found.filter((complaint) => complaint.includes('boolean parameter'))).toEqual([]);
  });

  it('documents every export, with an example', () => {
    const declared = (path: string, name: string): string[] => {
      const onward = reexports(moduleAt(path)).find((one) => one.name === name);
      return onward === undefined
        ? exportComplaints(moduleAt(path), name)
        : declared(join(dirname(path), onward.from), onward.local);
    };
    const indexes = ofSrc.filter((path) => path.endsWith('/index.ts'));
    expect(indexes.length).toBeGreaterThanOrEqual(packageDirs().length);
    expect(
      indexes.flatMap((path) =>
        [
          ...reexports(moduleAt(path)).map(({ name }) => name),
          ...ownExports(moduleAt(path)),
        ].flatMap((name) => declared(path, name)),
      ),
    ).toEqual([]);
  });

  it('holds no registry host and no path of a machine', () => {
    const texts = files.filter((path) => !/(?:^|\/)(?:data|fixtures)\/|\.gz$/.test(path));
    expect(texts).toContain('pnpm-lock.yaml');
    expect(texts.flatMap((path) => machineComplaints(path, read(path), root))).toEqual([]);
  });
});

describe('the habits', () => {
  it('1: every package pins the names that it exports', () => {
    const unpinned = packageDirs().filter(
      (dir) =>
        !files.some(
          (path) =>
            path.startsWith(`packages/${dir}/test/`) &&
            path.endsWith('.test.ts') &&
            pinsExports(parseModule(path, read(path))),
        ),
    );
    expect(unpinned).toEqual([]);
  });

  const primitives = ['address', 'align', 'page-size', 'u64'].map(
    (noun) => `packages/bits/src/${noun}.ts`,
  );

  it('2: each primitive of lanes and addresses names the range in which it is valid', () => {
    expect(primitives.flatMap((path) => rangeComplaints(moduleAt(path)))).toEqual([]);
  });

  it('3: each primitive has a worked value, and it is so', () => {
    const worked = primitives.flatMap((path) => workedValues(moduleAt(path)));
    expect(worked.length).toBeGreaterThan(30);
    for (const { code, value } of worked) {
      const got = runInNewContext(`(${code})`, { ...bits });
      // A value of another realm has other prototypes; JSON and text see through that.
      const shown = (v: unknown) =>
        JSON.stringify(v, (_, part) => (typeof part === 'bigint' ? `${part}n` : part));
      expect(shown(got), code).toBe(shown(runInNewContext(`(${value})`)));
    }
  });

  const layouts: readonly bits.Layout<bits.FieldRows>[] = [
    ...Object.values<unknown>(arch).filter(isLayout),
    ...arch.COMMANDS.values(),
    ...arch.EVENTS.values(),
    ...arch.REGISTERS,
  ];

  it('4: the rows of each word add up to all of its bits', () => {
    expect(layouts.length).toBeGreaterThan(100);
    expect(layouts.flatMap((table) => rowGaps(table))).toEqual([]);
  });

  it('5: each command and each event has a layout of its own', () => {
    const own = (all: ReadonlyMap<number, object>) => new Set(all.values()).size;
    expect([arch.COMMANDS.size, own(arch.COMMANDS)]).toEqual([
      Object.keys(arch.OPCODE).length,
      arch.COMMANDS.size,
    ]);
    expect([arch.EVENTS.size, own(arch.EVENTS)]).toEqual([
      Object.keys(arch.EVENT_CODE).length,
      arch.EVENTS.size,
    ]);
  });

  it('6: enumerators are different values that fit their field', () => {
    expect(layouts.flatMap((table) => enumFaults(table))).toEqual([]);
  });

  it.each([
    ['io-pgtable/src/page-table-format.ts', 'PageTableFormat'],
    ['io-pgtable/src/page-table.ts', 'PageTable'],
    ['io-pgtable/src/flush-ops.ts', 'FlushOps'],
    ['platform/src/memory-view.ts', 'MemoryView'],
    ['platform/src/clock.ts', 'Clock'],
    ['platform/src/trace-channel.ts', 'TraceChannel'],
    ['iommu-core/src/domain-ops.ts', 'DomainOps'],
    ['iommu-core/src/iommu-ops.ts', 'IommuOps'],
    ['smmu-v3-driver/src/driver-log.ts', 'LogSink'],
  ])('7: %s states the contract %s member by member', (path, name) => {
    expect(contractComplaints(moduleAt(`packages/${path}`), name)).toEqual([]);
  });

  it('8: a mock format runs the whole contract', () => {
    const users = files.filter(
      (path) =>
        path.startsWith('packages/io-pgtable/test/') && /from '\.\/mock-format/.test(read(path)),
    );
    expect(users.some((path) => /subjects?\.ts$|contract/.test(path))).toBe(true);
  });

  const errors = errorClasses([...modules.values()]);

  it('13: each error class carries a code', () => {
    expect([...modules.values()].flatMap((module) => uncodedErrors(module, errors))).toEqual([]);
  });

  const codesOfPackage = new Map(
    packageDirs().map((dir) => [
      dir,
      new Set(
        below(`packages/${dir}/src/`).flatMap((module) => [...codesOf(module, errors).keys()]),
      ),
    ]),
  );
  const allCodes = new Set([...codesOfPackage.values()].flatMap((codes) => [...codes]));

  it.each([...codesOfPackage])(
    '13: the README of %s lists the codes that it throws',
    (dir, codes) => {
      const listed = listedCodes(read(`packages/${dir}/README.md`));
      expect([...codes].filter((code) => !listed.includes(code)).sort()).toEqual([]);
      // Those of a lower package may pass through.
      expect(listed.filter((code) => !allCodes.has(code))).toEqual([]);
      expect(new Set(listed).size).toBe(listed.length);
    },
  );

  it('15: each file of the model is headed by what it does not model', () => {
    const model = below('packages/smmu-v3-model/src/').filter(
      ({ file }) => !file.endsWith('/index.ts'),
    );
    expect(model.length).toBeGreaterThan(0);
    expect(model.flatMap(modelComplaints)).toEqual([]);
  });
});

function isLayout(value: unknown): value is bits.Layout<bits.FieldRows> {
  return typeof value === 'object' && value !== null && 'rows' in value && 'info' in value;
}
