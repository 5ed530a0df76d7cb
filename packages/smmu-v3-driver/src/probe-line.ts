import { IDR0, IDR3, IDR5 } from '@iommukit/arm-arch';
import type { DriverProfile } from './driver-profile.ts';
import type { HardwareErrata } from './hardware-errata.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import type { IdRegisters } from './hardware-probe.ts';

/** IDR0.TTF with tables of 32-bit processes, whose input has 40 bits. */
const TTF_BOTH = 3;
const AARCH32_IAS = 40;

/** The line with which a probe ends: address sizes, and the features as a word of `ARM_SMMU_FEAT_*`. */
export function probeLine(
  ids: IdRegisters,
  features: HardwareFeatures,
  errata: HardwareErrata,
  profile: DriverProfile,
): string {
  const { oas } = features;
  // Linux prints the output size twice, unless 32-bit tables need more input.
  const ias = Math.max(IDR0.get.TTF(ids.idr0) === TTF_BOTH ? AARCH32_IAS : 0, oas);
  const input = profile.probeLine === 'ias-oas' ? `ias ${ias}-bit, ` : '';
  const newer = profile.printedFeatures === 'up-to-haft';
  const word = featureWord([
    ...base(ids, features, errata),
    ...(newer ? later(ids, features) : []),
  ]);
  return `${input}oas ${oas}-bit (features ${word})`;
}

type FeatureBit = readonly [bit: number, present: boolean];

/** The bits up to `ARM_SMMU_FEAT_HD` that the ID registers alone decide; those that ask the CPU too (SVA, E2H) are left out. */
function base(
  { idr0, idr5 }: IdRegisters,
  features: HardwareFeatures,
  errata: HardwareErrata,
): FeatureBit[] {
  const httu = IDR0.get.HTTU(idr0);
  return [
    [0, features.twoLevelStreamTable],
    [1, features.twoLevelCdTable],
    // Little-endian tables, without which the probe fails.
    [2, true],
    [3, IDR0.get.TTENDIAN(idr0) === 0],
    [4, features.priq],
    [5, features.ats],
    [6, IDR0.get.SEV(idr0) === 1 && !errata.noSev],
    [7, features.msi],
    [8, features.coherent],
    [9, features.stage1],
    [10, features.stage2],
    [11, features.stalls],
    [12, features.hyp],
    [13, features.stallForce],
    [14, IDR5.get.VAX(idr5) === 1],
    [15, features.rangeInvalidation],
    [19, features.nesting],
    [20, features.attrTypesOverride],
    [21, httu >= 1],
    [22, httu >= 2],
  ];
}

/** S2FWB, BBML2 and HAFT, which 7.x counts. */
function later({ idr0, idr3 }: IdRegisters, features: HardwareFeatures): FeatureBit[] {
  return [
    [23, features.forcedWriteBack],
    [24, IDR3.get.BBML(idr3) === 2],
    [25, IDR0.get.HTTU(idr0) >= 3],
  ];
}

function featureWord(rows: readonly FeatureBit[]): string {
  const sum = rows.reduce((word, [bit, present]) => word + (present ? 2 ** bit : 0), 0);
  return `0x${sum.toString(16).padStart(8, '0')}`;
}
