import { hex, IommuError } from '@iommukit/bits';

/**
 * A page that tables of this format cannot hold: its entries would run past the end of their table, because the IOVA is not aligned
 * to the page size, or an unmap is told a size of more than 16 entries; code `TABLE_OVERRUN`. Nothing was changed.
 * @example try { table.mapPages(0xf_f000, 0, 0x1_0000, 1, IOMMU_READ); } catch (e) { (e as TableOverrunError).operands.pgsize; }
 */
export class TableOverrunError extends IommuError<{ iova: number; pgsize: number }> {
  override readonly name = 'TableOverrunError';
  constructor(operands: { iova: number; pgsize: number }) {
    super(
      'TABLE_OVERRUN',
      operands,
      `no table holds pages of ${hex(operands.pgsize)} from ${hex(operands.iova)} on`,
      "Pass one of the format's page sizes and an IOVA aligned to it",
    );
  }
}
