import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const packages = fileURLToPath(new URL('../../packages/', import.meta.url));
const FAMILIES = ['lpae', 'v7s', 'dart', 'generic'] as const;

/** The files of io-pgtable that a program bundles which uses one format. */
async function bundled(format: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: {
      contents: `import { createPageTable, ${format} } from '@iommukit/io-pgtable';
        globalThis.make = (config) => createPageTable(${format}, config);`,
      resolveDir: `${packages}smmu-v3-driver`,
    },
    conditions: ['@iommukit/source'],
    bundle: true,
    format: 'esm',
    metafile: true,
    write: false,
    absWorkingDir: packages,
  });
  const [output] = Object.values(metafile.outputs);
  return Object.entries(output?.inputs ?? {})
    .filter(([path, { bytesInOutput }]) => path.includes('io-pgtable/src/') && bytesInOutput > 0)
    .map(([path]) => path.replace(/^.*io-pgtable\/src\//, ''));
}

const rows = [
  { format: 'arm64LpaeS1', family: 'lpae', entries: 'lpae/arm-64-lpae-s1.lanes.ts' },
  { format: 'maliLpae', family: 'lpae', entries: 'lpae/mali-lpae.lanes.ts' },
  { format: 'armV7s', family: 'v7s', entries: 'v7s/arm-v7s.lanes.ts' },
  { format: 'appleDart2', family: 'dart', entries: 'dart/apple-dart.ts' },
  { format: 'x8664', family: 'generic', entries: 'generic/x86-64.lanes.ts' },
  { format: 'riscv64', family: 'generic', entries: 'generic/riscv64.lanes.ts' },
] as const;

test.each(rows)('a program that uses $format bundles no other family', async (row) => {
  const files = await bundled(row.format);
  expect(files).toContain(row.entries);
  const others = FAMILIES.filter((family) => family !== row.family);
  const foreign = files.filter((file) => others.some((family) => file.startsWith(`${family}/`)));
  expect(foreign).toEqual([]);
  const values = rows.filter(({ entries }) => entries !== row.entries).map((r) => r.entries);
  // Mali takes its memory attribute index from stage 1, as in Linux.
  const known = row.format === 'maliLpae' ? ['lpae/arm-64-lpae-s1.lanes.ts'] : [];
  expect(files.filter((file) => values.some((entries) => entries === file))).toEqual(known);
});
