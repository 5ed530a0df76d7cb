import {
  CD,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  type GranuleGeometry,
  STE,
  s2StartLevel,
  startLevel,
} from '@iommukit/arm-arch';

/** How the tables of one stage, or of one half of stage 1, are shaped. */
export interface TableShape {
  readonly stage: 1 | 2;
  readonly granule: GranuleGeometry;
  /** -1 to 3. */
  readonly startLevel: number;
  /** Address of the first table: physical, or an IPA where stage 2 is on. */
  readonly root: number;
  /** Bytes of the input range, a power of two. */
  readonly bytes: number;
  /** First input address. */
  readonly base: number;
  /** Where descriptors keep address bits above 47. */
  readonly wide: 'none' | 'ds' | '64k';
}

/** What a descriptor is at its level (DDI 0487 D8.3). */
export type DescriptorKind = 'invalid' | 'reserved' | 'table' | 'block' | 'page';

const TG0: readonly (GranuleGeometry | undefined)[] = [GRANULE_4K, GRANULE_64K, GRANULE_16K];
const TG1: readonly (GranuleGeometry | undefined)[] = [
  undefined,
  GRANULE_16K,
  GRANULE_4K,
  GRANULE_64K,
];
const LEVEL_MINUS_1 = 2 ** 48;
const ALL = 2 ** 64;
const IPS_52 = 6;

/** Bytes that a descriptor of a level covers. */
export function entryBytes(shape: TableShape, level: number): number {
  return level < 0 ? LEVEL_MINUS_1 : (shape.granule.entryBytes[level] as number);
}

/** Descriptors of a table: a full page below the first level, there as many as the input range needs. */
export function entryCount(shape: TableShape, level: number): number {
  if (level !== shape.startLevel) return shape.granule.bytes / 8;
  return Math.max(1, shape.bytes / entryBytes(shape, level));
}

function shapeOf(
  parts: { stage: 1 | 2; granule: GranuleGeometry; level: number; ttb: number },
  range: { bytes: number; base: number; wide: TableShape['wide'] },
): TableShape {
  const shape = { ...range, stage: parts.stage, granule: parts.granule, startLevel: parts.level };
  const rootBytes = entryCount({ ...shape, root: 0 }, parts.level) * 8;
  return { ...shape, root: parts.ttb - (parts.ttb % Math.max(16, rootBytes)) };
}

/** The tables of one half of a CD (IHI 0070 5.4); undefined when it is disabled (EPDx) or has no usable shape. */
export function stage1Shape(cd: Uint32Array, half: 'lower' | 'upper'): TableShape | undefined {
  const { get } = CD;
  const upper = half === 'upper';
  if ((upper ? get.EPD1(cd) : get.EPD0(cd)) === 1 || get.AA64(cd) === 0) return undefined;
  const granule = (upper ? TG1[get.TG1(cd)] : TG0[get.TG0(cd)]) as GranuleGeometry | undefined;
  const txsz = upper ? get.T1SZ(cd) : get.T0SZ(cd);
  if (granule === undefined || txsz < 12 || txsz > 48) return undefined;
  const ttb = (upper ? get.TTB1(cd) : get.TTB0(cd)) % 2 ** 52;
  const level = startLevel(granule, txsz);
  const bytes = 2 ** (64 - txsz);
  const wide =
    granule === GRANULE_64K
      ? get.IPS(cd) >= IPS_52
        ? '64k'
        : 'none'
      : get.DS(cd) === 1
        ? 'ds'
        : 'none';
  if (level < (wide === 'ds' && granule === GRANULE_4K ? -1 : 0) || level > 3) return undefined;
  return shapeOf({ stage: 1, granule, level, ttb }, { bytes, base: upper ? ALL - bytes : 0, wide });
}

/** The stage-2 tables of an STE (IHI 0070 5.2); undefined when they have no usable shape. */
export function stage2Shape(ste: Uint32Array): TableShape | undefined {
  const { get } = STE;
  const granule = TG0[get.S2TG(ste)];
  const t0sz = get.S2T0SZ(ste);
  if (granule === undefined || t0sz < 12 || t0sz > 48 || get.S2AA64(ste) === 0) return undefined;
  const ds = get.S2DS(ste) === 1;
  const code = get.S2SL0(ste) + (ds && granule === GRANULE_4K ? get.S2SL0_2(ste) * 4 : 0);
  const level = s2StartLevel(granule, code);
  if (level === undefined) return undefined;
  const wide =
    granule === GRANULE_64K ? (get.S2PS(ste) >= IPS_52 ? '64k' : 'none') : ds ? 'ds' : 'none';
  return shapeOf(
    { stage: 2, granule, level, ttb: get.S2TTB(ste) % 2 ** 52 },
    { bytes: 2 ** (64 - t0sz), base: 0, wide },
  );
}

/** What a descriptor with this low lane is. */
export function kindOf(shape: TableShape, level: number, lo: number): DescriptorKind {
  const type = lo % 4;
  if (type % 2 === 0) return 'invalid';
  if (level === 3) return type === 3 ? 'page' : 'reserved';
  if (type === 3) return 'table';
  const { granule, wide } = shape;
  return level >= (wide === 'none' ? granule.leafLevel : granule.leafLevel52)
    ? 'block'
    : 'reserved';
}

/** The address that a descriptor holds, aligned to what it points to. */
export function outputOf(
  shape: TableShape,
  words: { readonly lo: number; readonly hi: number },
  size: number,
): number {
  const { lo, hi } = words;
  const inPlace = (hi % 2 ** 16) * 2 ** 32 + lo;
  let top = 0;
  if (shape.wide === 'ds')
    top = (Math.floor(hi / 2 ** 16) % 4) * 2 ** 48 + (Math.floor(lo / 2 ** 8) % 4) * 2 ** 50;
  else if (shape.wide === '64k') top = (Math.floor(lo / 2 ** 12) % 16) * 2 ** 48;
  return top + inPlace - (inPlace % size);
}
