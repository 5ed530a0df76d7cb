// Which package may import which, lowest first: the table and the rules 1, 2 and 5 of the design.
// A package may only name packages above itself in this table.
import { readdirSync } from 'node:fs';

/** The rules that the import check cites. */
export const RULES = {
  1: 'imports go up the layer table only',
  2: 'the model and the driver never meet, and what writes tables shares no code with what reads them',
  5: 'the layers from bits to sva-pasid have no third-party and no node: import',
  'package.json': 'it declares what the code imports, no more and no less',
};

/** What a package may take from `io-pgtable` where the table says "prot and gather only". */
export const PROT_AND_GATHER = [
  'IOMMU_READ',
  'IOMMU_WRITE',
  'IOMMU_CACHE',
  'IOMMU_NOEXEC',
  'IOMMU_MMIO',
  'IOMMU_PRIV',
  'IotlbGather',
];

const protAndGather = { '@iommukit/io-pgtable': PROT_AND_GATHER };
/**
 * The core splits ranges by the rule that range calls of a page table follow too, and its batches keep what those leave pending: both
 * stand once, in the lower package.
 */
const protGatherAndRanges = {
  '@iommukit/io-pgtable': [
    ...PROT_AND_GATHER,
    'PageRun',
    'isMultiple',
    'RangeGather',
    'HAD_TABLES',
    'PhysRun',
  ],
};
const kit = (...names) => names.map((name) => `@iommukit/${name}`);

/**
 * - `pure`: runs in a browser (rule 5)
 * - `may`: workspace packages that it may depend on
 * - `only`: of such a package, the names that it may take
 * - `testMay`: workspace packages that only its tests and benches may import, as development dependencies
 * - `testsOnly`: in no other package's `may`; every package's tests may import it
 */
export const LAYERS = {
  '@iommukit/vectors': { pure: true, testsOnly: true, may: [] },
  '@iommukit/bits': { pure: true, may: [] },
  '@iommukit/platform': { pure: true, may: kit('bits') },
  '@iommukit/arm-arch': { pure: true, may: kit('bits') },
  '@iommukit/iova-allocator': { pure: true, may: kit('bits', 'platform') },
  '@iommukit/io-pgtable': { pure: true, may: kit('bits', 'platform', 'arm-arch') },
  '@iommukit/iommu-core': {
    pure: true,
    may: kit('bits', 'platform', 'io-pgtable'),
    only: protGatherAndRanges,
  },
  '@iommukit/smmu-v3-model': { pure: true, may: kit('bits', 'platform', 'arm-arch') },
  '@iommukit/smmu-v3-driver': {
    pure: true,
    may: kit('bits', 'platform', 'arm-arch', 'io-pgtable', 'iommu-core'),
  },
  '@iommukit/dma-api': {
    pure: true,
    may: kit('bits', 'platform', 'iova-allocator', 'io-pgtable', 'iommu-core'),
    // Tests see what a device reads through page tables of their own.
    testMay: kit('io-pgtable'),
    only: protAndGather,
  },
  '@iommukit/sva-pasid': {
    pure: true,
    may: kit('bits', 'platform', 'io-pgtable', 'iommu-core'),
    only: protAndGather,
  },
  '@iommukit/captures': { pure: false, may: kit('bits', 'arm-arch') },
  '@iommukit/integration': {
    pure: false,
    may: kit(
      'bits',
      'platform',
      'arm-arch',
      'iova-allocator',
      'io-pgtable',
      'iommu-core',
      'smmu-v3-model',
      'smmu-v3-driver',
      'dma-api',
      'sva-pasid',
      'captures',
    ),
  },
  '@iommukit/diagnose': {
    pure: false,
    may: kit(
      'bits',
      'platform',
      'arm-arch',
      'iova-allocator',
      'io-pgtable',
      'iommu-core',
      'smmu-v3-model',
      'smmu-v3-driver',
      'dma-api',
      'sva-pasid',
      'captures',
      'integration',
    ),
  },
  iommukit: {
    pure: false,
    may: kit(
      'bits',
      'platform',
      'arm-arch',
      'iova-allocator',
      'io-pgtable',
      'iommu-core',
      'smmu-v3-model',
      'smmu-v3-driver',
      'dma-api',
      'sva-pasid',
      'captures',
      'integration',
      'diagnose',
    ),
  },
};

/** Pairs that rule 2 keeps apart, in either direction. */
export const APART = [kit('smmu-v3-model', 'smmu-v3-driver'), kit('smmu-v3-model', 'io-pgtable')];

/** The folders in packages/ of the workspace at `root`. */
export const packageDirs = (root = new URL('..', import.meta.url)) =>
  readdirSync(new URL('packages', root), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
