import { OPCODE } from '@iommukit/arm-arch';

/** Opcodes that invalidate a tag: a range of it, or everything. */
export interface TlbiOpcodes {
  readonly sized: number;
  readonly unsized: number;
}

const STAGE_2: TlbiOpcodes = { sized: OPCODE.TLBI_S2_IPA, unsized: OPCODE.TLBI_S12_VMALL };
const EL2: TlbiOpcodes = { sized: OPCODE.TLBI_EL2_VA, unsized: OPCODE.TLBI_EL2_ASID };
const EL1: TlbiOpcodes = { sized: OPCODE.TLBI_NH_VA, unsized: OPCODE.TLBI_NH_ASID };

/** The opcodes of a stage on an SMMU whose stage 1 uses the EL2 regime or not (`arm_smmu_tlb_inv_range_domain`). */
export function tlbiOpcodes(stage: 1 | 2, unit: { readonly e2h: boolean }): TlbiOpcodes {
  if (stage === 2) return STAGE_2;
  return unit.e2h ? EL2 : EL1;
}
