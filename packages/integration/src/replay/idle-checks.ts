import { REGISTER_OFFSET, STE } from '@iommukit/arm-arch';
import { hex, hex64 } from '@iommukit/bits';
import type { LeafRow, Snapshot } from '@iommukit/captures';
import { type MemoryView, type MmioFrame, PhysicalMemory } from '@iommukit/platform';
import { readLanes, streamEntries, streamLeaves } from '../stream-leaves.ts';
import type { CheckTally } from './check-tally.ts';
import type { QueueImage } from './command-queue-merge.ts';

const COMMAND_BYTES = 16;
const STE_WORDS = 8;
/** CD doublewords that are compared; doubleword 1 (TTB0) is an address of the kernel's page allocator. */
const CD_WORDS = [0, 3] as const;

/** The memory of a snapshot: each segment at its address, nothing else backed beyond the pages that hold them. */
export function snapshotMemory(snapshot: Snapshot): PhysicalMemory {
  const pages = new Set<number>();
  for (const { physAddr, length } of snapshot.segments)
    for (let pa = physAddr - (physAddr % 4096); pa < physAddr + length; pa += 4096) pages.add(pa);
  const ranges: { base: number; size: number }[] = [];
  for (const pa of [...pages].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last.base + last.size === pa) last.size += 4096;
    else ranges.push({ base: pa, size: 4096 });
  }
  const memory = new PhysicalMemory(ranges);
  for (const { physAddr, bytes } of snapshot.segments) memory.write(physAddr, bytes);
  return memory;
}

/** The commands in a queue's memory from its start up to `entries`. */
export function queueImage(memory: MemoryView, base: number, entries: number): QueueImage {
  return { words: readLanes(memory, base, (entries * COMMAND_BYTES) / 8), entries };
}

/** Compares every leaf of our tables with the dump's list, both ways, all 64 bits. */
export function compareLeaves(
  memory: MemoryView,
  snapshot: Snapshot,
  leaves: readonly LeafRow[],
  tally: CheckTally,
): void {
  const key = (sid: number, iova: number): string => `${sid} ${hex(iova)}`;
  const ours = new Map<string, string>();
  for (const leaf of streamLeaves(memory, snapshot.meta.strtab))
    ours.set(key(leaf.streamId, leaf.iova), `${leaf.size} ${hex64(leaf)}`);
  for (const { sid, iova, size, pte } of leaves) {
    const name = key(sid, iova);
    const mine = ours.get(name);
    const theirs = `${size} ${hex64(pte)}`;
    tally.compare(
      mine === theirs ? undefined : `leaf ${name}: ${mine ?? 'none'}, the kernel ${theirs}`,
    );
    ours.delete(name);
  }
  for (const [name, mine] of ours) tally.differ(`leaf ${name}: ${mine}, the kernel none`);
}

/** Compares stream table, STEs, CDs and base registers with a dump. Returns the number of abort STEs that were compared besides. */
export function compareConfig(
  memory: MemoryView,
  registers: MmioFrame,
  dump: {
    readonly snapshot: Snapshot;
    readonly memory: MemoryView;
    readonly registers: ReadonlyMap<number, number>;
  },
  tally: CheckTally,
): number {
  const theirs = dump.memory;
  const { strtab } = dump.snapshot.meta;
  const word = (name: string, pa: number, mine: MemoryView, other: MemoryView): void => {
    const [a, b] = [readLanes(mine, pa, 1), readLanes(other, pa, 1)];
    tally.compare(
      a[0] === b[0] && a[1] === b[1]
        ? undefined
        : `${name} at ${hex(pa)}: ${lanes(a)}, the kernel ${lanes(b)}`,
    );
  };

  for (const name of ['STRTAB_BASE', 'STRTAB_BASE_CFG', 'CMDQ_BASE', 'EVENTQ_BASE'] as const) {
    const offset = REGISTER_OFFSET[name];
    const wide = name !== 'STRTAB_BASE_CFG';
    const lo = wide ? registers.read64(offset) : registers.read32(offset);
    const hi = wide ? registers.hi : 0;
    const [dumpLo, dumpHi] = [
      dump.registers.get(offset),
      wide ? dump.registers.get(offset + 4) : 0,
    ];
    tally.compare(lo === dumpLo && hi === dumpHi ? undefined : `${name}: ${hex64({ lo, hi })}`);
  }
  if (strtab.fmt === 1)
    for (let index = 0; index < 2 ** (strtab.log2size - strtab.split); index++) {
      const pa = strtab.base + index * 8;
      if (!isZero(memory, pa) || !isZero(theirs, pa)) word('L1STD', pa, memory, theirs);
    }

  const seen = new Set<number>();
  let aborts = 0;
  for (const { streamId, pa } of streamEntries(theirs, strtab)) {
    const [mine, other] = [readLanes(memory, pa, STE_WORDS), readLanes(theirs, pa, STE_WORDS)];
    if (isAbort(mine) && isAbort(other)) {
      aborts++;
      continue;
    }
    for (let q = 0; q < STE_WORDS; q++)
      word(`STE ${hex(streamId)}[${q}]`, pa + q * 8, memory, theirs);
    const cd = STE.get.S1ContextPtr(other);
    if (STE.get.Config(other) !== 5 || seen.has(cd)) continue;
    seen.add(cd);
    for (const q of CD_WORDS) word(`CD ${hex(streamId)}[${q}]`, cd + q * 8, memory, theirs);
  }
  return aborts;
}

function isZero(memory: MemoryView, pa: number): boolean {
  return memory.load64(pa) === 0 && memory.hi === 0;
}

/** V = 1, Config = abort, everything else zero. */
function isAbort(ste: Uint32Array): boolean {
  return ste[0] === 1 && ste.subarray(1).every((lane) => lane === 0);
}

function lanes(words: Uint32Array): string {
  return hex64({ lo: words[0] ?? 0, hi: words[1] ?? 0 });
}
