import { CMD_TLBI_NH_ASID, OPCODE } from '@iommukit/arm-arch';
import type { Capture, FtraceTrace } from '@iommukit/captures';
import { readLanes } from '../stream-leaves.ts';
import { tracedLists } from './command-lists.ts';
import { snapshotMemory } from './idle-checks.ts';

const COMMAND_LANES = 4;

/**
 * ASIDs of the kernel's TLBI_NH_ASID commands in the order of its queue: from the dumped queue as far as that goes, then in the order of the
 * trace, where lists of different CPUs may have changed places.
 */
export function flushedAsids(trace: FtraceTrace, capture: Capture): number[] {
  const traced: number[] = [];
  for (const { first } of tracedLists(trace)) if (isFlush(first)) traced.push(asidOf(first));
  const dumped = dumpedFlushes(capture);
  return [...dumped, ...traced.slice(dumped.length)];
}

function dumpedFlushes(capture: Capture): number[] {
  const asids: number[] = [];
  if (capture.missing('snapshot-busy')) return asids;
  const snapshot = capture.snapshot('busy');
  const { cmdq } = snapshot.meta;
  if (cmdq.wrapped) return asids;
  const lanes = readLanes(snapshotMemory(snapshot), cmdq.pa, cmdq.entriesKept * 2);
  for (let i = 0; i < lanes.length; i += COMMAND_LANES) {
    const command = lanes.subarray(i, i + COMMAND_LANES);
    if (isFlush(command)) asids.push(asidOf(command));
  }
  return asids;
}

function isFlush(command: ArrayLike<number>): boolean {
  return (command[0] as number) % 256 === OPCODE.TLBI_NH_ASID;
}

function asidOf(command: ArrayLike<number>): number {
  return CMD_TLBI_NH_ASID.get.ASID([command[0] as number, command[1] as number, 0, 0]);
}
