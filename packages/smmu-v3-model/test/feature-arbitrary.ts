import fc from 'fast-check';
import { FEATURE_PRESETS, type Features } from '../src/index.ts';

/** Features that an SMMUv3.0 may have together, and that the model has. */
export const anyFeatures: fc.Arbitrary<Features> = fc
  .record({
    stages: fc.constantFrom('s1', 's2', 'both', 'hyp'),
    httu: fc.integer({ min: 0, max: 3 }),
    asid16: fc.boolean(),
    vmid16: fc.boolean(),
    vmw: fc.boolean(),
    cd2l: fc.boolean(),
    stallModel: fc.constantFrom(0, 1, 2),
    termModel: fc.boolean(),
    sidSize: fc.constantFrom(6, 16, 32),
    ssidSize: fc.constantFrom(0, 1, 8, 20),
    attrPermsOvr: fc.boolean(),
    attrTypesOvr: fc.boolean(),
    had: fc.boolean(),
    xnx: fc.boolean(),
    fwb: fc.boolean(),
    stt: fc.boolean(),
    ril: fc.boolean(),
    bbml: fc.constantFrom(0, 1, 2),
    e0pd: fc.boolean(),
    epan: fc.boolean(),
    oas: fc.constantFrom(32, 36, 40, 42, 44, 48, 52),
    granules: fc.constantFrom([true, true, true], [true, false, false], [false, true, true]),
    ds: fc.boolean(),
    twoLevelStrtab: fc.boolean(),
  })
  .map(({ stages, granules, ...fields }) => {
    const [gran4k, gran16k, gran64k] = granules as [boolean, boolean, boolean];
    return {
      ...FEATURE_PRESETS.full,
      ...fields,
      minor: 0,
      s1p: stages !== 's2',
      s2p: stages !== 's1',
      hyp: stages === 'hyp',
      gran4k,
      gran16k,
      gran64k,
      oas: fields.oas === 52 && !gran64k && !fields.ds ? 48 : fields.oas,
      twoLevelStrtab: fields.twoLevelStrtab || fields.sidSize >= 7,
    };
  });
