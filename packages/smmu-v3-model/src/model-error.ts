import { IommuError } from '@iommukit/bits';

/**
 * What software asked for and this model refuses rather than half does. `UNMODELLED_STAGE2` a stream whose STE
 * enables stage 2; `UNMODELLED_STALL` a fault that should stall; `UNMODELLED_HTTU` hardware update of descriptors;
 * `UNMODELLED_ATS` and `UNMODELLED_PRI` commands to an endpoint; `UNMODELLED_52BIT` addresses above 48 bits;
 * `UNMODELLED_LPAE32`, `UNMODELLED_BIG_ENDIAN`, `UNMODELLED_PERMISSION_INDIRECTION` table formats.
 * @example const code: UnmodelledCode = 'UNMODELLED_STAGE2';
 */
export type UnmodelledCode =
  | 'UNMODELLED_STAGE2'
  | 'UNMODELLED_STALL'
  | 'UNMODELLED_HTTU'
  | 'UNMODELLED_ATS'
  | 'UNMODELLED_PRI'
  | 'UNMODELLED_52BIT'
  | 'UNMODELLED_LPAE32'
  | 'UNMODELLED_BIG_ENDIAN'
  | 'UNMODELLED_PERMISSION_INDIRECTION';

/**
 * A legal use of an architected feature that the model does not have; thrown at the point of use, before any state changes.
 * @example try { smmu.translate(access); } catch (e) { (e as UnmodelledError).code; } // 'UNMODELLED_STAGE2'
 */
export class UnmodelledError extends IommuError<Readonly<Record<string, number>>> {
  override readonly name = 'UnmodelledError';
  constructor(code: UnmodelledCode, operands: Readonly<Record<string, number>>, what: string) {
    super(code, operands, what, 'Clear the feature in the ID registers or in the structure');
  }
}

/**
 * A register access that no bus would make, or an access to translate that is out of range; codes `REGISTER_ACCESS`, `DMA_ACCESS`.
 * @example try { smmu.registers.read32(2); } catch (e) { (e as ModelUseError).code; } // 'REGISTER_ACCESS'
 */
export class ModelUseError extends IommuError<Readonly<Record<string, number>>> {
  override readonly name = 'ModelUseError';
}
