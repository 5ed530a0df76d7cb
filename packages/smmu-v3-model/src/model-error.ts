/*
 * What the model throws when it is built or used as no SMMU could be (IHI 0070 6.3 for the ID registers that announce it).
 * Not modelled: nothing of section 6.3 is decided here; faults of devices and software are events, not errors.
 */
import { IommuError } from '@iommukit/bits';

/**
 * What this model refuses rather than half does. At construction, because an ID register announces it: `UNMODELLED_LPAE32`,
 * `UNMODELLED_BIG_ENDIAN`, `UNMODELLED_56BIT`, `UNMODELLED_128_BIT_TABLES`, `UNMODELLED_PERMISSION_INDIRECTION`,
 * `UNMODELLED_TRANSLATION_HARDENING`, `UNMODELLED_MTE`, `UNMODELLED_MPAM`, `UNMODELLED_DPT`, `UNMODELLED_PASIDTT`,
 * `UNMODELLED_ATOS`, `UNMODELLED_RME`, `UNMODELLED_ECMDQ`, `UNMODELLED_RELATIVE_BASES`, `UNMODELLED_BROADCAST_TLBI`,
 * `UNMODELLED_DORMANT_HINT`.
 * @example const code: UnmodelledCode = 'UNMODELLED_LPAE32';
 */
export type UnmodelledCode =
  | 'UNMODELLED_LPAE32'
  | 'UNMODELLED_BIG_ENDIAN'
  | 'UNMODELLED_56BIT'
  | 'UNMODELLED_128_BIT_TABLES'
  | 'UNMODELLED_PERMISSION_INDIRECTION'
  | 'UNMODELLED_TRANSLATION_HARDENING'
  | 'UNMODELLED_MTE'
  | 'UNMODELLED_MPAM'
  | 'UNMODELLED_DPT'
  | 'UNMODELLED_PASIDTT'
  | 'UNMODELLED_ATOS'
  | 'UNMODELLED_RME'
  | 'UNMODELLED_ECMDQ'
  | 'UNMODELLED_RELATIVE_BASES'
  | 'UNMODELLED_BROADCAST_TLBI'
  | 'UNMODELLED_DORMANT_HINT';

/**
 * A legal feature, or a legal use of one, that the model does not have; thrown before any state changes.
 * @example try { new SmmuV3Model({ memory, idr }); } catch (e) { (e as UnmodelledError).code; } // 'UNMODELLED_LPAE32'
 */
export class UnmodelledError extends IommuError<Readonly<Record<string, number>>> {
  override readonly name = 'UnmodelledError';
  constructor(code: UnmodelledCode, operands: Readonly<Record<string, number>>, what: string) {
    super(code, operands, what, 'Clear the feature in the ID registers or in the structure');
  }
}

/**
 * A register access that no bus would make, an access to translate that is out of range, or an endpoint that asks for pages without
 * a translation cache; codes `REGISTER_ACCESS`, `DMA_ACCESS`, `ENDPOINT_PRI_WITHOUT_ATS`.
 * @example try { smmu.registers.read32(2); } catch (e) { (e as ModelUseError).code; } // 'REGISTER_ACCESS'
 */
export class ModelUseError extends IommuError<Readonly<Record<string, number>>> {
  override readonly name = 'ModelUseError';
}
