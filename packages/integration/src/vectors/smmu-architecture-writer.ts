import { bugCases } from './smmu-architecture-bugs.ts';
import { commandCases, featureSets } from './smmu-architecture-commands.lanes.ts';
import { fetchCases } from './smmu-architecture-faults.lanes.ts';
import { allLayoutCases, decodeCases, recordMasks } from './smmu-architecture-layouts.lanes.ts';
import { queueCases } from './smmu-architecture-queues.lanes.ts';
import { recordCases } from './smmu-architecture-records.ts';
import { setup } from './smmu-architecture-script.lanes.ts';
import { rangeCases, staleCases } from './smmu-architecture-tlb.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

/** Head and cases of a file of kind `smmu-architecture`: always the same. */
export function writeSmmuArchitecture(): { head: JsonRow; rows: JsonRow[] } {
  return {
    head: {
      specification: 'IHI 0070 issue G.b; DDI 0487 M.a.a',
      ram: ['0x40000000', '0x50000000'],
      features: featureSets(),
      setups: { linear: setup('linear'), 'two-level': setup('two-level') },
      masks: recordMasks(),
    },
    rows: [
      ...allLayoutCases(),
      ...decodeCases(),
      ...recordCases(),
      ...commandCases(),
      ...queueCases(),
      ...fetchCases(),
      ...rangeCases(),
      ...staleCases(),
      ...bugCases(),
    ],
  };
}
