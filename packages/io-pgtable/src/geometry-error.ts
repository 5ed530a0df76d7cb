import { IommuError } from '@iommukit/bits';

/**
 * An input address size that leaves no bit above the page offset; code `INPUT_ADDRESS_SIZE`.
 * @example try { createPageTable(arm64LpaeS1, { ...config, ias: 12 }); } catch (e) { (e as GeometryError).operands.ias; } // 12
 */
export class GeometryError extends IommuError<{ ias: number; granule: number }> {
  override readonly name = 'GeometryError';
  constructor(operands: { ias: number; granule: number }) {
    super(
      'INPUT_ADDRESS_SIZE',
      operands,
      `${operands.ias} input address bits hold no page of ${operands.granule} bytes`,
      'Pass an ias above the page offset',
    );
  }
}
