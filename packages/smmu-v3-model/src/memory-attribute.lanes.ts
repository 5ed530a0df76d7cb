/*
 * Memory type, cacheability and shareability of a translated transaction (IHI 0070 13.1-13.5; DDI 0487 D8.6).
 * Not modelled: MTE tags, PBHA, the security state, MemAttr[3] of forced write-back; hints survive as far as the rules name them.
 */
import {
  CD,
  PTE_LO_ATTRINDX_SHIFT,
  PTE_LO_MEMATTR_SHIFT,
  PTE_LO_SH_MASK,
  SHCFG,
} from '@iommukit/arm-arch';

/**
 * Cacheability of Normal memory, inner or outer, with its allocation hints.
 * @example const writeBack: Cacheability = { policy: 'WB', readAllocate: true, writeAllocate: true, transient: false };
 */
export interface Cacheability {
  readonly policy: 'NC' | 'WT' | 'WB';
  readonly readAllocate: boolean;
  readonly writeAllocate: boolean;
  readonly transient: boolean;
}

/**
 * Memory attributes. Of Device memory `inner` and `outer` are Non-cacheable, and it is always Outer Shareable on its way out.
 * @example if (result.outcome === 'ok') result.attributes.type; // 'Normal'
 */
export interface MemoryAttributes {
  readonly type: 'Device-nGnRnE' | 'Device-nGnRE' | 'Device-nGRE' | 'Device-GRE' | 'Normal';
  readonly inner: Cacheability;
  readonly outer: Cacheability;
  readonly shareability: 'NSH' | 'OSH' | 'ISH';
}

/** Overrides of an STE or of GBPA. */
export interface AttributeOverride {
  readonly mtCfg: number;
  readonly memAttr: number;
  readonly allocCfg: number;
  readonly shCfg: number;
}

const NC: Cacheability = {
  policy: 'NC',
  readAllocate: false,
  writeAllocate: false,
  transient: false,
};
const WB: Cacheability = {
  policy: 'WB',
  readAllocate: true,
  writeAllocate: true,
  transient: false,
};
const WT: Cacheability = { ...WB, policy: 'WT' };
/** Lane of MAIR0 in a CD; MAIR1 is the next (IHI 0070 5.4). */
export const CD_MAIR: number = CD.rows.MAIR0.dw * 2;
/** Device types by two bits, strongest first. */
const DEVICE = ['Device-nGnRnE', 'Device-nGnRE', 'Device-nGRE', 'Device-GRE'] as const;
const POLICY = ['NC', 'WT', 'WB'] as const;
const SHARING = ['NSH', 'ISH', 'OSH'] as const;
const BY_SH = ['NSH', 'NSH', 'OSH', 'ISH'] as const;

/** What a transaction that says nothing about memory comes with (13.1.2). */
export const INCOMING_DEFAULT: MemoryAttributes = {
  type: 'Normal',
  inner: WB,
  outer: WB,
  shareability: 'NSH',
};

/** A transaction after the overrides of its STE or of GBPA, which act only where IDR1.ATTR_TYPES_OVR has them (13.1.4). */
export function overridden(
  incoming: MemoryAttributes,
  override: AttributeOverride,
): MemoryAttributes {
  const typed = override.mtCfg === 1 ? retyped(incoming, override.memAttr) : incoming;
  const { allocCfg, shCfg } = override;
  const hinted = (allocCfg & 8) === 0 ? typed : withHints(typed, allocCfg);
  return shCfg === SHCFG.INCOMING ? hinted : { ...hinted, shareability: shareabilityOf(shCfg) };
}

/** Stage 1 (13.1.5): the type and shareability of the leaf; hints combine with the incoming ones when those are cacheable. */
export function stage1Attributes(
  lo: number,
  context: Uint32Array,
  sharing: number,
  incoming: MemoryAttributes,
): MemoryAttributes {
  const index = (lo >>> PTE_LO_ATTRINDX_SHIFT) & 7;
  const mair =
    ((context[index < 4 ? CD_MAIR : CD_MAIR + 1] as number) >>> ((index & 3) * 8)) & 0xff;
  const shareability = shareabilityOf(sharing >= 0 ? sharing : sharingOf(lo));
  if (mair >>> 4 === 0) return { type: deviceOf(mair >>> 2), inner: NC, outer: NC, shareability };
  return {
    type: 'Normal',
    inner: hintsOf(fromNibble(mair & 15), incoming.inner),
    outer: hintsOf(fromNibble(mair >>> 4), incoming.outer),
    shareability,
  };
}

/** Stage 2 over what comes into it: combined (13.1.6), or replaced by the forced write-back encoding. */
export function stage2Attributes(
  lo: number,
  at: { readonly sharing: number; readonly s2fwb: boolean },
  before: MemoryAttributes,
): MemoryAttributes {
  const { sharing, s2fwb } = at;
  const memAttr = memAttrOf(lo);
  const shareability = shareabilityOf(sharing >= 0 ? sharing : sharingOf(lo));
  if (!s2fwb) return combined(before, fromMemAttr(memAttr, shareability));
  const shared = { ...before, shareability: strongerSharing(before.shareability, shareability) };
  if ((memAttr & 4) === 0)
    return combined(before, { type: deviceOf(memAttr), inner: NC, outer: NC, shareability });
  const encoding = memAttr & 3;
  if (encoding === 3) return shared;
  if (encoding === 2)
    return { ...shared, type: 'Normal', inner: forced(before.inner), outer: forced(before.outer) };
  return before.type === 'Normal' ? { ...shared, inner: NC, outer: NC } : shared;
}

/** Write-back with the hints of stage 1, where that was cacheable. */
function forced(before: Cacheability): Cacheability {
  return before.policy === 'NC' ? WB : { ...before, policy: 'WB' };
}

/** How attributes leave the SMMU: Device and iNC-oNC are Outer Shareable (13.1.7). */
export function leaving(attributes: MemoryAttributes): MemoryAttributes {
  const { type, inner, outer, shareability } = attributes;
  const uncached = type !== 'Normal' || (inner.policy === 'NC' && outer.policy === 'NC');
  return uncached && shareability !== 'OSH' ? { ...attributes, shareability: 'OSH' } : attributes;
}

/** MemAttr of a stage-2 leaf, 0 to 15; any low lane. */
export function memAttrOf(lo: number): number {
  return (lo >>> PTE_LO_MEMATTR_SHIFT) & 15;
}

/** SH of a leaf of either stage, 0 to 3; any low lane. */
function sharingOf(lo: number): number {
  return (lo & PTE_LO_SH_MASK) >>> 8;
}

/** True for a stage-2 leaf of Device memory, in the encoding that the STE selects. */
export function isDeviceLeaf(lo: number, stream: { readonly s2fwb: boolean }): boolean {
  const memAttr = memAttrOf(lo);
  return stream.s2fwb ? (memAttr & 4) === 0 : (memAttr & 12) === 0;
}

function deviceOf(bits: number): (typeof DEVICE)[number] {
  return DEVICE[bits & 3] as (typeof DEVICE)[number];
}

function shareabilityOf(sh: number): MemoryAttributes['shareability'] {
  return BY_SH[sh & 3] as (typeof BY_SH)[number];
}

function strongerSharing(
  a: MemoryAttributes['shareability'],
  b: MemoryAttributes['shareability'],
): MemoryAttributes['shareability'] {
  return SHARING[Math.max(SHARING.indexOf(a), SHARING.indexOf(b))] as (typeof SHARING)[number];
}

/** A nibble of MAIR: 00RW Write-Through transient, 0100 Non-cacheable, 01RW Write-Back transient, 10RW and 11RW not transient. */
function fromNibble(nibble: number): Cacheability {
  if (nibble === 4) return NC;
  return {
    policy: (nibble & 4) === 0 ? 'WT' : 'WB',
    readAllocate: (nibble & 2) !== 0,
    writeAllocate: (nibble & 1) !== 0,
    // Transient is how long what was allocated stays: it means nothing without allocation.
    transient: (nibble & 8) === 0 && (nibble & 3) !== 0,
  };
}

/** The encoding of MemAttr in stage-2 leaves, STEs and GBPA; 0100, 1000 and 1100 act as Device-nGnRnE. */
function fromMemAttr(
  memAttr: number,
  shareability: MemoryAttributes['shareability'],
): MemoryAttributes {
  const outer = memAttr >>> 2;
  const inner = memAttr & 3;
  if (outer === 0) return { type: deviceOf(inner), inner: NC, outer: NC, shareability };
  if (inner === 0) return { type: 'Device-nGnRnE', inner: NC, outer: NC, shareability };
  const by = [NC, NC, WT, WB] as const;
  return {
    type: 'Normal',
    inner: by[inner] as Cacheability,
    outer: by[outer] as Cacheability,
    shareability,
  };
}

/** Another type; the hints are ALLOCCFG's matter, and stay as they came where the transaction came cacheable. */
function retyped(incoming: MemoryAttributes, memAttr: number): MemoryAttributes {
  const typed = fromMemAttr(memAttr, incoming.shareability);
  const hint = (to: Cacheability, from: Cacheability): Cacheability =>
    to.policy === 'NC' || from.policy === 'NC' ? to : { ...from, policy: to.policy };
  return {
    ...typed,
    inner: hint(typed.inner, incoming.inner),
    outer: hint(typed.outer, incoming.outer),
  };
}

function withHints(attributes: MemoryAttributes, allocCfg: number): MemoryAttributes {
  const hint = (of: Cacheability): Cacheability =>
    of.policy === 'NC'
      ? of
      : {
          policy: of.policy,
          readAllocate: (allocCfg & 4) !== 0,
          writeAllocate: (allocCfg & 2) !== 0,
          transient: (allocCfg & 1) !== 0 && (allocCfg & 6) !== 0,
        };
  return { ...attributes, inner: hint(attributes.inner), outer: hint(attributes.outer) };
}

/** No-allocate wins, transient wins. */
function hintsOf(of: Cacheability, incoming: Cacheability): Cacheability {
  if (of.policy === 'NC' || incoming.policy === 'NC') return of;
  const readAllocate = of.readAllocate && incoming.readAllocate;
  const writeAllocate = of.writeAllocate && incoming.writeAllocate;
  return {
    policy: of.policy,
    readAllocate,
    writeAllocate,
    transient: (of.transient || incoming.transient) && (readAllocate || writeAllocate),
  };
}

function weaker(a: Cacheability, b: Cacheability): Cacheability {
  const policy = POLICY[Math.min(POLICY.indexOf(a.policy), POLICY.indexOf(b.policy))] as 'NC';
  return policy === 'NC' ? NC : hintsOf({ ...a, policy }, b);
}

/** The stronger of two: Device before Normal, nGnRnE first; the weaker cacheability; the wider shareability. */
function combined(a: MemoryAttributes, b: MemoryAttributes): MemoryAttributes {
  const shareability = strongerSharing(a.shareability, b.shareability);
  if (a.type === 'Normal' && b.type === 'Normal')
    return {
      type: 'Normal',
      inner: weaker(a.inner, b.inner),
      outer: weaker(a.outer, b.outer),
      shareability,
    };
  const types = [a.type, b.type];
  const type = DEVICE.find((device) => types.includes(device)) ?? 'Device-nGnRnE';
  return { type, inner: NC, outer: NC, shareability };
}
