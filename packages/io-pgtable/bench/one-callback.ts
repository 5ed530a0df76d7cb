import { SZ_4K } from '@iommukit/bits';
import { type FlushOps, IotlbGather } from '../src/index.ts';
import { type BenchTable, benchTable, gatherOnly, PROT } from './bench-table.ts';

const IOVA = 0xffe0_0000;
/** Pages of one round: mapped at once, unmapped one at a time, so that the callback is called for each. */
export const PAGES = 512;

/** A round of maps and unmaps whose invalidations go to `flush`. */
export function unmapRounds(flush: FlushOps = gatherOnly()): (rounds: number) => number {
  const { table }: BenchTable = benchTable(0x10_0000, flush);
  const gather = new IotlbGather();
  return (rounds) => {
    let bytes = 0;
    for (let round = 0; round < rounds; round++) {
      table.mapPages(IOVA, 0x2_0000_0000, SZ_4K, PAGES, PROT);
      gather.init();
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        bytes += table.unmapPages(IOVA + at, SZ_4K, 1, gather);
    }
    return bytes + table.warnings;
  };
}
