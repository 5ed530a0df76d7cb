/*
 * The memory attributes with which a transaction leaves (IHI 0070 13.1): what it came with, the overrides, then each stage.
 * Not modelled: PCIe's own rules for overrides, which are the implementation's.
 */
import { GBPA, REGISTER_OFFSET as R, STE } from '@iommukit/arm-arch';
import type { Features } from './features.ts';
import {
  INCOMING_DEFAULT,
  leaving,
  type MemoryAttributes,
  overridden,
  stage1Attributes,
  stage2Attributes,
} from './memory-attribute.lanes.ts';
import type { Translator } from './translator.ts';

/** Attributes of the transaction that `translator` just took through. */
export function outgoingAttributes(
  translator: Translator,
  incoming: MemoryAttributes | undefined,
  words: Uint32Array,
  f: Features,
): MemoryAttributes {
  const { stream, inner, outer, half } = translator;
  let attributes = incoming ?? INCOMING_DEFAULT;
  if (f.attrTypesOvr) attributes = overridden(attributes, overrideOf(stream?.words, words));
  if (inner !== undefined)
    attributes = stage1Attributes(inner.lo, inner.made, half?.sharing ?? -1, attributes);
  if (outer !== undefined && stream !== undefined) {
    const { s2fwb, stage2 } = stream;
    attributes = stage2Attributes(outer.lo, { sharing: stage2?.sharing ?? -1, s2fwb }, attributes);
  }
  return leaving(attributes);
}

/** The STE's overrides, or with SMMUEN=0 those of GBPA. */
function overrideOf(
  ste: Uint32Array | undefined,
  registers: Uint32Array,
): Parameters<typeof overridden>[1] {
  const at = R.GBPA / 4;
  if (ste === undefined)
    return {
      mtCfg: GBPA.get.MTCFG(registers, at),
      memAttr: GBPA.get.MemAttr(registers, at),
      allocCfg: GBPA.get.ALLOCCFG(registers, at),
      shCfg: GBPA.get.SHCFG(registers, at),
    };
  return {
    mtCfg: STE.get.MTCFG(ste),
    memAttr: STE.get.MemAttr(ste),
    allocCfg: STE.get.ALLOCCFG(ste),
    shCfg: STE.get.SHCFG(ste),
  };
}
