import { listOf, openGenericPt, rowOf } from './generic-pt-init.ts';
import type { VectorTally } from './vector-tally.ts';
import type { JsonRow } from './vector-values.lanes.ts';

/**
 * Runs a file of kind `generic-pt-cfg-matrix`: what each format makes of a requested configuration. Throws `VectorError` when the file
 * does not hold what its kind says.
 * @example runGenericPtMatrix(JSON.parse(text), tally); tally.mismatches // 0
 */
export function runGenericPtMatrix(file: JsonRow, tally: VectorTally): void {
  for (const [index, row] of listOf(file, 'cases', 'file').entries()) {
    const where = `case ${index}`;
    tally.operations++;
    const at = { operation: index, where, tally };
    const { table, tables } = openGenericPt(row['format'], rowOf(row, 'cfg', where), row, at);
    table?.free();
    tally.check(index, 'tables left', tables.live.size, 0);
  }
}
