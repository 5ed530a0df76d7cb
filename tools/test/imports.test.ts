import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkImports } from '../check-imports.mjs';
import { importSites } from '../import-sites.mjs';
import { LAYERS, PROT_AND_GATHER } from '../layers.mjs';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'imports-'));
  write('package.json', { devDependencies: { vitest: '1.0.0' } });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, content: string | object): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  const text = typeof content === 'string' ? content : JSON.stringify(content, null, 2);
  writeFileSync(join(root, path), text);
}

function manifest(name: string, dependencies: readonly string[], devDependencies: object = {}) {
  write(`packages/${name}/package.json`, {
    name: name === 'cli' ? 'iommukit' : `@iommukit/${name}`,
    dependencies: Object.fromEntries(dependencies.map((d) => [d, 'workspace:^'])),
    devDependencies,
  });
}

/** The complaints without the explanation of the rule: `file:line: what (rule N`. */
function problems(): string[] {
  const shorten = (text: string) => text.replace(/(\(rule [^:]+):.*$/s, '$1)');
  return checkImports(root).problems.map(shorten).sort();
}

describe('the table', () => {
  it('names only earlier entries', () => {
    write('packages/bits/package.json', { name: '@iommukit/bits' });
    expect(checkImports(root).problems).toEqual([]);
    const upside = { '@iommukit/bits': { pure: true, may: ['iommukit'] }, iommukit: { may: [] } };
    expect(checkImports(root, upside as unknown as typeof LAYERS).problems).toEqual([
      'tools/layers.mjs:1: @iommukit/bits may not name iommukit (rule 1: imports go up the layer table only)',
    ]);
  });

  it('keeps vectors out of every source', () => {
    for (const { may } of Object.values(LAYERS)) expect(may).not.toContain('@iommukit/vectors');
  });

  it('lets three packages take prot and gather only', () => {
    const limited = Object.entries(LAYERS).filter(([, layer]) => 'only' in layer);
    expect(limited.map(([name]) => name)).toEqual([
      '@iommukit/iommu-core',
      '@iommukit/dma-api',
      '@iommukit/sva-pasid',
    ]);
    expect(PROT_AND_GATHER).toContain('IotlbGather');
  });

  it('has no pure layer above one that is not', () => {
    const pure = Object.values(LAYERS).map((layer) => layer.pure);
    expect(pure.lastIndexOf(true)).toBeLessThan(pure.indexOf(false));
  });
});

describe('package.json files', () => {
  it('accepts a good one', () => {
    manifest('platform', ['@iommukit/bits'], { '@iommukit/vectors': 'workspace:^' });
    write('packages/platform/src/a.ts', "import { a } from '@iommukit/bits';\nexport { a };\n");
    write('packages/platform/test/a.test.ts', "import '@iommukit/vectors';\nimport 'vitest';\n");
    expect(problems()).toEqual([]);
  });

  it('complains about direction, ranges, third parties and unused entries', () => {
    write('packages/bits/package.json', {
      name: '@iommukit/bits',
      dependencies: { '@iommukit/platform': 'workspace:*', lodash: '4.0.0' },
    });
    write('packages/arm-arch/package.json', {
      name: '@iommukit/arm-arch',
      dependencies: { '@iommukit/vectors': 'workspace:^' },
      devDependencies: { '@iommukit/platform': '1.0.0' },
    });
    manifest('smmu-v3-model', ['@iommukit/smmu-v3-driver']);
    manifest('stranger', []);
    expect(problems()).toEqual([
      'packages/arm-arch/package.json:4: @iommukit/arm-arch may not depend on @iommukit/vectors (rule 1)',
      'packages/arm-arch/package.json:4: @iommukit/vectors is declared but src/ never imports it (rule package.json)',
      'packages/arm-arch/package.json:7: @iommukit/arm-arch may not depend on @iommukit/platform, not even in tests (rule 1)',
      'packages/arm-arch/package.json:7: @iommukit/platform must be "workspace:^" (rule package.json)',
      'packages/bits/package.json:4: @iommukit/bits may not depend on @iommukit/platform (rule 1)',
      'packages/bits/package.json:4: @iommukit/platform is declared but src/ never imports it (rule package.json)',
      'packages/bits/package.json:4: @iommukit/platform must be "workspace:^" (rule package.json)',
      'packages/bits/package.json:5: lodash is declared but src/ never imports it (rule package.json)',
      'packages/bits/package.json:5: third-party dependency lodash (rule 5)',
      'packages/smmu-v3-model/package.json:4: @iommukit/smmu-v3-driver is declared but src/ never imports it (rule package.json)',
      'packages/smmu-v3-model/package.json:4: @iommukit/smmu-v3-model may not depend on @iommukit/smmu-v3-driver (rule 2)',
      'packages/stranger/package.json:2: @iommukit/stranger is not in tools/layers.mjs (rule 1)',
    ]);
  });
});

describe('sources', () => {
  const cases: { name: string; line: string }[] = [
    { name: 'import', line: "import { a } from 'iommukit';" },
    { name: 'import type', line: "import type { A } from 'iommukit';" },
    { name: 'inline type', line: "import { type A } from 'iommukit';" },
    { name: 'side effect', line: "import 'iommukit';" },
    { name: 're-export', line: "export { a } from 'iommukit';" },
    { name: 'type re-export', line: "export type { A } from 'iommukit';" },
    { name: 'star re-export', line: "export * as a from 'iommukit';" },
    { name: 'dynamic', line: "export const a = () => import('iommukit');" },
    { name: 'template', line: 'export const a = () => import(`iommukit`);' },
    { name: 'require', line: "import a = require('iommukit');" },
    { name: 'call of require', line: "export const a = require('iommukit');" },
    { name: 'type query', line: "export type A = import('iommukit').A;" },
    { name: 'typeof', line: "export type A = typeof import('iommukit');" },
    { name: 'resolve', line: "export const a = import.meta.resolve('iommukit');" },
  ];
  it.each(cases)('finds an import of an upper package: $name', ({ line }) => {
    manifest('platform', []);
    write('packages/platform/src/a.ts', `// first line\n\n${line}\n`);
    expect(problems()).toEqual([
      "packages/platform/src/a.ts:3: 'iommukit' is not allowed in @iommukit/platform (rule 1)",
    ]);
  });

  it('complains about every other bad way to name a module', () => {
    manifest('platform', ['@iommukit/bits']);
    write(
      'packages/platform/src/deep/a.ts',
      [
        "import '@iommukit/bits';",
        "import '@iommukit/bits/src/u64.ts';",
        "import '@iommukit/platform';",
        "import '../../test/x.ts';",
        "import '../../../bits/src/index.ts';",
        "import '/etc/a.js';",
        "import 'data:text/javascript,0';",
        "import 'node:fs';",
        "import 'fs';",
        "import 'lodash';",
        "import '@iommukit/vectors';",
        'export const a = (name: string) => import(name);',
        "export const b = new URL('../../../../x', import.meta.url);",
        'export const c = new URL(`../../../${String(a)}/x`, import.meta.url);',
        'export const d = new URL(`../../data/${String(a)}/x`, import.meta.url);',
        "export const e = new URL('https://example.org/../..', import.meta.url);",
        '/// <reference types="node" />',
        '/// <reference path="../../../bits/src/index.ts" />',
        "// import 'iommukit' in a comment is none",
        'export const f = \'import "iommukit"\';',
      ].join('\n'),
    );
    const at = 'packages/platform/src/deep/a.ts';
    expect(problems()).toEqual(
      [
        `${at}:2: '@iommukit/bits/src/u64.ts' reaches past the exports of the package (rule 1)`,
        `${at}:3: '@iommukit/platform' is this package itself (rule 1)`,
        `${at}:4: '../../test/x.ts' leaves src/ (rule 1)`,
        `${at}:5: '../../../bits/src/index.ts' leaves src/ (rule 1)`,
        `${at}:6: '/etc/a.js' is no package name (rule 1)`,
        `${at}:7: 'data:text/javascript,0' is no package name (rule 1)`,
        `${at}:8: 'node:fs' is not there in a browser (rule 5)`,
        `${at}:9: 'fs' is not there in a browser (rule 5)`,
        `${at}:10: 'lodash' is a third-party package (rule 5)`,
        `${at}:11: '@iommukit/vectors' is allowed in the tests of @iommukit/platform only (rule 1)`,
        `${at}:12: import of a computed name (rule 1)`,
        `${at}:13: '../../../../x' leaves the package (rule 1)`,
        `${at}:14: '../../../0/x' leaves the package (rule 1)`,
        `${at}:17: 'node' is not there in a browser (rule 5)`,
        `${at}:18: '../../../bits/src/index.ts' leaves src/ (rule 1)`,
      ].sort(),
    );
  });

  it('keeps the model, the driver and the table writers apart, in tests too', () => {
    manifest('smmu-v3-model', []);
    manifest('smmu-v3-driver', []);
    write('packages/smmu-v3-model/src/a.ts', "import '@iommukit/smmu-v3-driver';");
    write('packages/smmu-v3-model/test/a.test.ts', "import '@iommukit/io-pgtable';");
    write('packages/smmu-v3-driver/bench/a.bench.ts', "import '@iommukit/smmu-v3-model';");
    expect(problems()).toEqual([
      "packages/smmu-v3-driver/bench/a.bench.ts:1: '@iommukit/smmu-v3-model' is not allowed in @iommukit/smmu-v3-driver (rule 2)",
      "packages/smmu-v3-model/src/a.ts:1: '@iommukit/smmu-v3-driver' is not allowed in @iommukit/smmu-v3-model (rule 2)",
      "packages/smmu-v3-model/test/a.test.ts:1: '@iommukit/io-pgtable' is not allowed in @iommukit/smmu-v3-model (rule 2)",
    ]);
  });

  it('knows which names of io-pgtable are prot and gather', () => {
    manifest('dma-api', ['@iommukit/io-pgtable']);
    write(
      'packages/dma-api/src/a.ts',
      [
        "import { IOMMU_READ, IotlbGather } from '@iommukit/io-pgtable';",
        "import { IOMMU_CACHE as cache, mapPages as map } from '@iommukit/io-pgtable';",
        "import type { FlushOps } from '@iommukit/io-pgtable';",
        "import * as all from '@iommukit/io-pgtable';",
        "export { mapPages } from '@iommukit/io-pgtable';",
        "export type A = import('@iommukit/io-pgtable').PageTable;",
        "export type B = import('@iommukit/io-pgtable').IotlbGather;",
        "import pgtable from '@iommukit/io-pgtable';",
      ].join('\n'),
    );
    const only = `only ${PROT_AND_GATHER.join(', ')}`;
    const at = 'packages/dma-api/src/a.ts';
    const no = (line: number, name: string) =>
      `${at}:${line}: '@iommukit/io-pgtable' gives @iommukit/dma-api no ${name}, ${only} (rule 1)`;
    expect(problems()).toEqual(
      [
        no(2, 'mapPages'),
        no(3, 'FlushOps'),
        `${at}:4: '@iommukit/io-pgtable' must be imported by name: ${PROT_AND_GATHER.join(', ')} (rule 1)`,
        no(5, 'mapPages'),
        no(6, 'PageTable'),
        no(8, 'default'),
      ].sort(),
    );
  });

  it('holds what is declared and what is imported together', () => {
    manifest('captures', []);
    write(
      'packages/captures/src/a.ts',
      "import '@iommukit/bits';\nimport 'zlib';\nimport 'node:zlib';\nimport 'vitest';\n",
    );
    write(
      'packages/captures/test/a.test.ts',
      [
        "import '@iommukit/bits';",
        "import 'vitest';",
        "import 'tinybench';",
        "import '@iommukit/captures';",
        "import '../../../tools/worker-boot.mjs';",
        "import '../../bits/test/rows.ts';",
      ].join('\n'),
    );
    write('packages/captures/scripts/b.mjs', "import 'iommukit';");
    write('packages/captures/data/c.ts', "import 'iommukit';");
    expect(problems()).toEqual([
      "packages/captures/scripts/b.mjs:1: 'iommukit' is not allowed in @iommukit/captures (rule 1)",
      "packages/captures/src/a.ts:1: '@iommukit/bits' is not declared (rule package.json)",
      "packages/captures/src/a.ts:2: 'zlib' must be written with node: (rule package.json)",
      "packages/captures/src/a.ts:4: 'vitest' is not declared (rule package.json)",
      "packages/captures/test/a.test.ts:1: '@iommukit/bits' is not declared (rule package.json)",
      "packages/captures/test/a.test.ts:3: 'tinybench' is not declared (rule package.json)",
      "packages/captures/test/a.test.ts:6: '../../bits/test/rows.ts' leaves the package (rule 1)",
    ]);
  });

  it('says why, and where a file cannot be read', () => {
    manifest('platform', []);
    write('packages/platform/src/a.ts', "import 'node:fs';");
    write('packages/platform/src/b.ts', 'const a = 1;\nconst = ;\n');
    const found = checkImports(root).problems;
    expect(found[0]).toBe(
      "packages/platform/src/a.ts:1: 'node:fs' is not there in a browser (rule 5: the layers from bits to sva-pasid have no third-party and no node: import)",
    );
    expect(found[1]).toMatch(/^packages\/platform\/src\/b\.ts:2: cannot be read: /);
  });

  it('lists the sites of a module in order', () => {
    const text = "import a, { b as c } from 'x';\nexport { d as e } from 'y';\nimport 'z';\n";
    expect(importSites('a.ts', text).sites).toEqual([
      { line: 1, spec: 'x', kind: 'import', names: ['default', 'b'] },
      { line: 2, spec: 'y', kind: 'import', names: ['d'] },
      { line: 3, spec: 'z', kind: 'import', names: [] },
    ]);
  });
});
