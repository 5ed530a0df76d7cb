import { PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeFeatures,
  encodeFeatures,
  FEATURE_PRESETS,
  FeatureError,
  type FeaturePreset,
  type Features,
  type IdrWords,
  SmmuV3Model,
  UnmodelledError,
} from '../src/index.ts';
import { anyFeatures } from './feature-arbitrary.ts';
import { RAM } from './rig.lanes.ts';

const memory = new PhysicalMemory([RAM]);

function make(idr: IdrWords): SmmuV3Model {
  return new SmmuV3Model({ memory, idr });
}

function full(patch: Partial<Features>): IdrWords {
  return encodeFeatures({ ...FEATURE_PRESETS.full, ...patch });
}

describe('ID registers and features (IHI 0070 6.3.1-6.3.8)', () => {
  // header.reset of the files under shared/data/qemu-vectors.
  test.each([
    ['qemu-11-s1', { IDR0: 0x0d44101a, IDR1: 0x02730010, IDR3: 0x1404, IDR5: 0x74 }],
    ['qemu-11-s2', { IDR0: 0x0d441019, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74 }],
    ['qemu-11-nested', { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74 }],
  ] as const)('%s has the recorded reset values', (name, words) => {
    expect(encodeFeatures(FEATURE_PRESETS[name])).toEqual({
      ...words,
      IDR2: 0,
      IDR4: 0,
      IIDR: 0,
      AIDR: 1,
      GBPA: 0x1000,
    });
    const { registers, features } = new SmmuV3Model({ memory, idr: name });
    expect([0, 4, 0xc, 0x14, 0x1c, 0x44].map((at) => registers.read32(at))).toEqual([
      words.IDR0,
      words.IDR1,
      words.IDR3,
      words.IDR5,
      1,
      0x1000,
    ]);
    expect(features).toEqual(FEATURE_PRESETS[name]);
  });

  test('every preset can be constructed, and comes back from its words', () => {
    for (const name of Object.keys(FEATURE_PRESETS) as FeaturePreset[])
      expect(make(encodeFeatures(FEATURE_PRESETS[name])).features).toEqual(FEATURE_PRESETS[name]);
  });

  test('features and words are each other, both ways', () => {
    fc.assert(
      fc.property(anyFeatures, (features) => {
        const words = encodeFeatures(features);
        expect(decodeFeatures(words)).toEqual(features);
        expect(encodeFeatures(decodeFeatures(words))).toEqual(words);
        expect(make(words).features).toEqual(features);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['IDR_NO_STAGE', { s1p: false, s2p: false, hyp: false }],
    ['IDR_NO_TABLE_FORMAT', { aarch64: false }],
    ['IDR_NO_GRANULE', { gran4k: false, gran16k: false, gran64k: false }],
    ['IDR_RESERVED_STALL_MODEL', { stallModel: 3 }],
    ['IDR_RESERVED_TTENDIAN', { ttEndian: 1 }],
    ['IDR_RESERVED_BBML', { bbml: 3 }],
    ['IDR_SIDSIZE_RANGE', { sidSize: 33 }],
    ['IDR_SSIDSIZE_RANGE', { ssidSize: 21 }],
    ['IDR_QUEUE_SIZE_RANGE', { eventqMaxLg2: 20 }],
    ['IDR_SIDSIZE_WITHOUT_TWO_LEVELS', { sidSize: 7, twoLevelStrtab: false }],
    ['IDR_PRI_WITHOUT_ATS', { pri: true, ats: false }],
    ['IDR_NS1ATS_WITHOUT_ATS_AND_STAGES', { ns1ats: true, ats: false, pri: false }],
    ['IDR_HYP_WITHOUT_STAGES', { s2p: false }],
    ['IDR_V32_WITHOUT_HYP', { hyp: false }],
    ['IDR_V31_WITHOUT_XNX', { minor: 1, xnx: false }],
    ['IDR_V31_WITHOUT_HAD', { minor: 1, had: false }],
    ['IDR_V32_WITHOUT_RIL', { minor: 2, ril: false }],
    ['IDR_V32_WITHOUT_FWB', { minor: 2, fwb: false }],
    ['IDR_V32_WITHOUT_BBML', { minor: 2, bbml: 0 }],
    ['IDR_V33_WITHOUT_E0PD', { e0pd: false }],
    ['IDR_V33_WITHOUT_PTWNNC', { ptwnnc: false }],
    ['IDR_OAS52_WITHOUT_FORMAT', { ds: false, gran64k: false }],
    ['IDR_DS_WITHOUT_VAX', { vax: 48 }],
    ['IDR_DS_WITHOUT_GRANULE', { gran4k: false, gran16k: false }],
    ['IDR_MINOR_RANGE', { minor: 5 }],
  ] as const)('%s is refused', (code, patch) => {
    const refused = (): unknown => make(full(patch));
    expect(refused).toThrow(FeatureError);
    expect(refused).toThrow(expect.objectContaining({ code }));
  });

  const words = encodeFeatures(FEATURE_PRESETS.full);
  test.each([
    ['UNMODELLED_LPAE32', { IDR0: words.IDR0 + 4 }],
    ['UNMODELLED_BIG_ENDIAN', { IDR0: words.IDR0 - 2 ** 22 }],
    ['UNMODELLED_BROADCAST_TLBI', { IDR0: words.IDR0 + 2 ** 5 }],
    ['UNMODELLED_DORMANT_HINT', { IDR0: words.IDR0 + 2 ** 8 }],
    ['UNMODELLED_ATOS', { IDR0: words.IDR0 + 2 ** 15 }],
    ['UNMODELLED_ATOS', { IDR0: words.IDR0 + 2 ** 20 }],
    ['UNMODELLED_RME', { IDR0: words.IDR0 + 2 ** 30 }],
    ['UNMODELLED_RELATIVE_BASES', { IDR1: words.IDR1 + 2 ** 28 }],
    ['UNMODELLED_ECMDQ', { IDR1: words.IDR1 + 2 ** 31 }],
    ['UNMODELLED_ATOS', { IDR2: 1 }],
    ['UNMODELLED_MPAM', { IDR3: words.IDR3 + 2 ** 7 }],
    ['UNMODELLED_DPT', { IDR3: words.IDR3 + 2 ** 15 }],
    ['UNMODELLED_PASIDTT', { IDR3: words.IDR3 + 2 ** 16 }],
    ['UNMODELLED_PERMISSION_INDIRECTION', { IDR3: words.IDR3 + 2 ** 18 }],
    ['UNMODELLED_PERMISSION_INDIRECTION', { IDR3: words.IDR3 + 2 ** 19 }],
    ['UNMODELLED_PERMISSION_INDIRECTION', { IDR3: words.IDR3 + 2 ** 20 }],
    ['UNMODELLED_TRANSLATION_HARDENING', { IDR3: words.IDR3 + 2 ** 21 }],
    ['UNMODELLED_MTE', { IDR3: words.IDR3 + 2 ** 22 }],
    ['UNMODELLED_PERMISSION_INDIRECTION', { IDR3: words.IDR3 + 2 ** 23 }],
    ['UNMODELLED_128_BIT_TABLES', { IDR5: words.IDR5 + 2 ** 8 }],
    ['UNMODELLED_56BIT', { IDR5: words.IDR5 + 1 }],
    ['UNMODELLED_56BIT', { IDR5: words.IDR5 + 2 ** 10 }],
  ] as const)('%s is refused: %o', (code, patch) => {
    const refused = (): unknown => make({ ...words, ...patch });
    expect(refused).toThrow(UnmodelledError);
    expect(refused).toThrow(expect.objectContaining({ code }));
  });

  test('an AIDR of another architecture is refused', () => {
    expect(() => make({ ...words, AIDR: 0x13 })).toThrow(
      expect.objectContaining({ code: 'IDR_MAJOR_VERSION' }),
    );
  });
});
