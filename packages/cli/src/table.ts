import Table from 'cli-table3';

/** A table without colours; the columns in `right` are aligned right. */
export function plainTable(
  head: string[],
  right: readonly number[] = [],
): InstanceType<typeof Table> {
  return new Table({
    head,
    colAligns: head.map((_, i) => (right.includes(i) ? 'right' : 'left')),
    style: { head: [], border: [] },
  });
}

/** A number with its thousands apart. */
export function grouped(n: number): string {
  return n.toLocaleString('en-US');
}
