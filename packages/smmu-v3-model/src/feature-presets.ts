/*
 * Sets of features by name, as ID registers announce them (IHI 0070 6.3.1-6.3.8).
 * Not modelled: what these devices choose beyond their ID registers; that is `CachePolicy`.
 */
import { decodeFeatures, type Features } from './features.ts';

/**
 * `qemu-11-s1`, `qemu-11-s2`, `qemu-11-nested`: what QEMU 11 advertises with `stage=1`, `2`, `nested`. `full`: everything that this
 * model has.
 * @example new SmmuV3Model({ memory, idr: 'qemu-11-nested' });
 */
export type FeaturePreset = 'qemu-11-s1' | 'qemu-11-s2' | 'qemu-11-nested' | 'full';

const QEMU = { IDR1: 0x0273_0010, IDR5: 0x74, AIDR: 1, GBPA: 0x1000 } as const;
const S1 = decodeFeatures({ ...QEMU, IDR0: 0x0d44_101a, IDR3: 0x1404 });
const S2 = decodeFeatures({ ...QEMU, IDR0: 0x0d44_1019, IDR3: 0x1414 });
const NESTED = decodeFeatures({ ...QEMU, IDR0: 0x0d44_101b, IDR3: 0x1414 });

const FULL: Features = {
  ...NESTED,
  httu: 3,
  hyp: true,
  ats: true,
  atsRecErr: true,
  pri: true,
  stallModel: 0,
  stallMax: 64,
  priqMaxLg2: 19,
  pps: true,
  msi: true,
  sev: true,
  vmw: true,
  cd2l: true,
  termModel: false,
  sidSize: 32,
  ssidSize: 20,
  attrPermsOvr: true,
  attrTypesOvr: true,
  pbha: true,
  xnx: true,
  fwb: true,
  stt: true,
  ril: true,
  bbml: 2,
  e0pd: true,
  ptwnnc: true,
  epan: true,
  oas: 52,
  ds: true,
  vax: 52,
  minor: 3,
};

/**
 * Features by name.
 * @example FEATURE_PRESETS.full.oas // 52
 */
export const FEATURE_PRESETS: Readonly<Record<FeaturePreset, Features>> = {
  'qemu-11-s1': S1,
  'qemu-11-s2': S2,
  'qemu-11-nested': NESTED,
  full: FULL,
};
