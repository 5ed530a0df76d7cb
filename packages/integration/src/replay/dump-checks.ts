import { EVENT_BYTES, EVENTQ_PROD, EVENTS } from '@iommukit/arm-arch';
import { hex, hex64 } from '@iommukit/bits';
import type { Snapshot, TruthRow, VerdictRow } from '@iommukit/captures';
import type { MemoryView } from '@iommukit/platform';
import { type DmaResult, type IdrWords, SmmuV3Model } from '@iommukit/smmu-v3-model';
import { readLanes } from '../stream-leaves.ts';
import type { CheckTally } from './check-tally.ts';

/** The ID words of a register dump. */
export function idrWords(registers: ReadonlyMap<number, number>): IdrWords {
  const word = (offset: number): number => registers.get(offset) ?? 0;
  return {
    IDR0: word(0x0),
    IDR1: word(0x4),
    IDR2: word(0x8),
    IDR3: word(0xc),
    IDR4: word(0x10),
    IDR5: word(0x14),
    IIDR: word(0x18),
    AIDR: word(0x1c),
  };
}

/** Our model over the kernel's own memory and registers, as a dump has them. */
export function modelOfDump(
  memory: MemoryView,
  registers: ReadonlyMap<number, number>,
): SmmuV3Model {
  const model = new SmmuV3Model({
    memory,
    idr: idrWords(registers),
    policy: { tlb: 'none', walk: 'none', config: 'none' },
  });
  model.restoreRegisters(registers);
  return model;
}

/** QEMU's last translations of each page: our model must find the same address in the dumped tables. */
export function compareTruth(
  model: SmmuV3Model,
  rows: readonly TruthRow[],
  tally: CheckTally,
): void {
  for (const row of rows) {
    if (row.atSnapshot !== 'match') continue;
    const rw = row.perm >= 2 ? 'write' : 'read';
    const result = model.translate({ streamId: row.sid, address: row.iovaWord, rw });
    tally.compare(
      result.outcome === 'ok' && result.paddr === row.pa
        ? undefined
        : `line ${row.line}: stream ${hex(row.sid)} ${hex(row.iova)}: ${outcome(result)}, QEMU ${hex(row.pa)}`,
    );
  }
}

/**
 * QEMU's last translations of pages that are unmapped in the dump and not flushed: a lazy machine of ours that stands there must give the
 * same address, and from an entry that is stale.
 */
export function comparePending(
  model: SmmuV3Model,
  rows: readonly TruthRow[],
  tally: CheckTally,
): void {
  for (const row of rows) {
    if (row.atSnapshot === 'match') continue;
    const rw = row.perm >= 2 ? 'write' : 'read';
    const stale = model.staleUseCount;
    const result = model.translate({ streamId: row.sid, address: row.iovaWord, rw });
    const cached = model.staleUseCount > stale;
    tally.compare(
      result.outcome === 'ok' && result.paddr === row.pa && cached
        ? undefined
        : `line ${row.line}: stream ${hex(row.sid)} ${hex(row.iova)}: ${outcome(result)}${cached ? ', stale' : ''}, QEMU ${hex(row.pa)}`,
    );
  }
}

/** What a write did in QEMU on the reloaded dump: ok with an address, or the name of the event. */
export function compareVerdicts(
  model: SmmuV3Model,
  rows: readonly VerdictRow[],
  tally: CheckTally,
): void {
  for (const row of rows) {
    const result = model.translate({ streamId: row.sid, address: row.iovaWord, rw: 'write' });
    const ours = outcome(result);
    const theirs = row.qemuWrite === 'ok' ? `ok ${hex(row.pa ?? 0)}` : row.qemuWrite;
    tally.compare(
      ours === theirs
        ? undefined
        : `line ${row.line}: stream ${hex(row.sid)} ${hex(row.iova)}: ${ours}, QEMU ${theirs}`,
    );
  }
}

/** A result in the words of the verdict files. */
export function outcome(result: DmaResult): string {
  if (result.outcome === 'ok') return `ok ${hex(result.paddr)}`;
  if (result.outcome === 'fault') return result.event.event;
  return result.outcome;
}

/** Compares the records in our event queue with the dump's, field by field; an extra or missing record is a difference. */
export function compareEvents(
  ours: { readonly memory: MemoryView; readonly base: number; readonly prod: number },
  dump: { readonly snapshot: Snapshot; readonly memory: MemoryView },
  tally: CheckTally,
): void {
  const { evtq } = dump.snapshot.meta;
  const theirs = dump.memory;
  const mine = EVENTQ_PROD.get.WR([ours.prod, 0]);
  for (let i = 0; i < Math.max(mine, evtq.prod); i++) {
    const at = i * EVENT_BYTES;
    if (i >= evtq.prod || i >= mine) {
      tally.differ(`event ${i}: ${i < mine ? 'only ours' : 'only the kernel has it'}`);
      continue;
    }
    const a = readLanes(ours.memory, ours.base + at, EVENT_BYTES / 8);
    const b = readLanes(theirs, evtq.pa + at, EVENT_BYTES / 8);
    tally.compare(sameRecord(a, b) ? undefined : `event ${i}: ${words(a)}, the kernel ${words(b)}`);
  }
}

/** Equal in every field of the event's layout, reserved bits included. */
function sameRecord(a: Uint32Array, b: Uint32Array): boolean {
  const layout = EVENTS.get((b[0] as number) % 256);
  if (layout === undefined) return false;
  return layout.diff(a, b).length === 0;
}

function words(lanes: Uint32Array): string {
  const out: string[] = [];
  for (let i = 0; i < lanes.length; i += 2)
    out.push(hex64({ lo: lanes[i] as number, hi: lanes[i + 1] as number }));
  return out.join(' ');
}
