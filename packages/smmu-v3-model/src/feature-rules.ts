/*
 * Which reset values make an SMMU (IHI 0070 6.3.1-6.3.8), and which of those this model has.
 * Not modelled: the rules between features that it refuses anyway.
 */
import { AIDR, IDR0, IDR1, IDR2, IDR3, IDR5 } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import { decodeFeatures, type Features, type IdrWords } from './features.ts';
import { type UnmodelledCode, UnmodelledError } from './model-error.ts';

/**
 * Reset values that no SMMU has; `code` starts with `IDR_` and names the rule.
 * @example try { new SmmuV3Model({ memory, idr }); } catch (e) { (e as FeatureError).code; } // 'IDR_PRI_WITHOUT_ATS'
 */
export class FeatureError extends IommuError<Readonly<Record<string, number>>> {
  override readonly name = 'FeatureError';
}

interface Rule {
  readonly code: string;
  readonly spec: string;
  readonly broken: (f: Features) => boolean;
}

/** Sections 6.3.1 to 6.3.8, each as the combination that must not be. */
const RULES: readonly Rule[] = [
  { code: 'IDR_NO_STAGE', spec: '6.3.1', broken: (f) => !f.s1p && !f.s2p },
  { code: 'IDR_NO_TABLE_FORMAT', spec: '6.3.1', broken: (f) => !f.aarch64 },
  { code: 'IDR_NO_GRANULE', spec: '6.3.6', broken: (f) => !f.gran4k && !f.gran16k && !f.gran64k },
  { code: 'IDR_RESERVED_STALL_MODEL', spec: '6.3.1', broken: (f) => f.stallModel === 3 },
  { code: 'IDR_RESERVED_TTENDIAN', spec: '6.3.1', broken: (f) => f.ttEndian === 1 },
  { code: 'IDR_RESERVED_BBML', spec: '6.3.4', broken: (f) => f.bbml === 3 },
  { code: 'IDR_SIDSIZE_RANGE', spec: '6.3.2', broken: (f) => f.sidSize > 32 },
  { code: 'IDR_SSIDSIZE_RANGE', spec: '6.3.2', broken: (f) => f.ssidSize > 20 },
  {
    code: 'IDR_QUEUE_SIZE_RANGE',
    spec: '6.3.2',
    broken: (f) => Math.max(f.cmdqMaxLg2, f.eventqMaxLg2, f.priqMaxLg2) > 19,
  },
  {
    code: 'IDR_SIDSIZE_WITHOUT_TWO_LEVELS',
    spec: '6.3.2',
    broken: (f) => f.sidSize >= 7 && !f.twoLevelStrtab,
  },
  { code: 'IDR_PRI_WITHOUT_ATS', spec: '6.3.1', broken: (f) => f.pri && !f.ats },
  {
    code: 'IDR_NS1ATS_WITHOUT_ATS_AND_STAGES',
    spec: '6.3.1',
    broken: (f) => f.ns1ats && !(f.ats && f.s1p && f.s2p),
  },
  { code: 'IDR_HYP_WITHOUT_STAGES', spec: '6.3.1', broken: (f) => f.hyp && !(f.s1p && f.s2p) },
  {
    code: 'IDR_V32_WITHOUT_HYP',
    spec: '6.3.1',
    broken: (f) => f.minor >= 2 && f.s1p && f.s2p && !f.hyp,
  },
  { code: 'IDR_V31_WITHOUT_XNX', spec: '6.3.4', broken: (f) => f.minor >= 1 && f.s2p && !f.xnx },
  { code: 'IDR_V31_WITHOUT_HAD', spec: '6.3.4', broken: (f) => f.minor >= 1 && f.s1p && !f.had },
  { code: 'IDR_V32_WITHOUT_RIL', spec: '6.3.4', broken: (f) => f.minor >= 2 && !f.ril },
  { code: 'IDR_V32_WITHOUT_FWB', spec: '6.3.4', broken: (f) => f.minor >= 2 && f.s2p && !f.fwb },
  { code: 'IDR_V32_WITHOUT_BBML', spec: '6.3.4', broken: (f) => f.minor >= 2 && f.bbml === 0 },
  { code: 'IDR_V33_WITHOUT_E0PD', spec: '6.3.4', broken: (f) => f.minor >= 3 && f.s1p && !f.e0pd },
  {
    code: 'IDR_V33_WITHOUT_PTWNNC',
    spec: '6.3.4',
    broken: (f) => f.minor >= 3 && f.s2p && !f.ptwnnc,
  },
  {
    code: 'IDR_OAS52_WITHOUT_FORMAT',
    spec: '6.3.6',
    broken: (f) => f.oas === 52 && !f.gran64k && !f.ds,
  },
  { code: 'IDR_DS_WITHOUT_VAX', spec: '6.3.6', broken: (f) => f.ds && f.vax < 52 },
  {
    code: 'IDR_DS_WITHOUT_GRANULE',
    spec: '6.3.6',
    broken: (f) => f.ds && !f.gran4k && !f.gran16k,
  },
  { code: 'IDR_MINOR_RANGE', spec: '6.3.8', broken: (f) => f.minor > 4 },
];

interface Absent {
  readonly code: UnmodelledCode;
  readonly register: keyof IdrWords;
  readonly fields: readonly ((words: ArrayLike<number>) => number)[];
}

/** Fields of the ID registers that announce what the model does not have. */
const ABSENT: readonly Absent[] = [
  { code: 'UNMODELLED_BROADCAST_TLBI', register: 'IDR0', fields: [IDR0.get.BTM] },
  { code: 'UNMODELLED_DORMANT_HINT', register: 'IDR0', fields: [IDR0.get.DORMHINT] },
  { code: 'UNMODELLED_ATOS', register: 'IDR0', fields: [IDR0.get.ATOS, IDR0.get.VATOS] },
  { code: 'UNMODELLED_RME', register: 'IDR0', fields: [IDR0.get.RME_IMPL] },
  { code: 'UNMODELLED_ECMDQ', register: 'IDR1', fields: [IDR1.get.ECMDQ] },
  { code: 'UNMODELLED_RELATIVE_BASES', register: 'IDR1', fields: [IDR1.get.REL] },
  { code: 'UNMODELLED_ATOS', register: 'IDR2', fields: [IDR2.get.BA_VATOS] },
  { code: 'UNMODELLED_MPAM', register: 'IDR3', fields: [IDR3.get.MPAM] },
  { code: 'UNMODELLED_DPT', register: 'IDR3', fields: [IDR3.get.DPT] },
  { code: 'UNMODELLED_PASIDTT', register: 'IDR3', fields: [IDR3.get.PASIDTT] },
  {
    code: 'UNMODELLED_PERMISSION_INDIRECTION',
    register: 'IDR3',
    fields: [IDR3.get.S1PI, IDR3.get.S2PI, IDR3.get.S2PO, IDR3.get.AIE],
  },
  { code: 'UNMODELLED_TRANSLATION_HARDENING', register: 'IDR3', fields: [IDR3.get.THE] },
  { code: 'UNMODELLED_MTE', register: 'IDR3', fields: [IDR3.get.MTEPERM] },
  { code: 'UNMODELLED_128_BIT_TABLES', register: 'IDR5', fields: [IDR5.get.D128] },
];

/** Reads reset values; throws {@link FeatureError} or `UnmodelledError` for those that the model cannot be. */
export function checkedFeatures(idr: IdrWords): Features {
  for (const { code, register, fields } of ABSENT) {
    const word = idr[register] ?? 0;
    if (fields.some((get) => get([word, 0]) !== 0))
      throw new UnmodelledError(code, { [register]: word }, `${register} announces it`);
  }
  const f = decodeFeatures(idr);
  const word = { IDR0: idr.IDR0 };
  const ttf = IDR0.get.TTF([idr.IDR0, 0]);
  if (ttf === 1 || ttf === 3)
    throw new UnmodelledError('UNMODELLED_LPAE32', word, 'IDR0.TTF announces VMSAv8-32 tables');
  if (f.ttEndian === 0 || f.ttEndian === 3)
    throw new UnmodelledError('UNMODELLED_BIG_ENDIAN', word, 'IDR0.TTENDIAN is not 2');
  if (f.oas > 52 || f.vax > 52)
    throw new UnmodelledError('UNMODELLED_56BIT', { IDR5: idr.IDR5 }, 'IDR5 has 56-bit addresses');
  if (AIDR.get.ArchMajorRev([idr.AIDR ?? 0, 0]) !== 0)
    throw new FeatureError(
      'IDR_MAJOR_VERSION',
      { AIDR: idr.AIDR ?? 0 },
      'this is not SMMUv3 (6.3.8)',
      'Clear AIDR bits 7:4',
    );
  for (const { code, spec, broken } of RULES)
    if (broken(f))
      throw new FeatureError(
        code,
        { IDR0: idr.IDR0, IDR1: idr.IDR1, IDR3: idr.IDR3 ?? 0, IDR5: idr.IDR5 },
        `no SMMU has this combination (IHI 0070 ${spec})`,
        'Change one of the fields that the code names',
      );
  return f;
}
