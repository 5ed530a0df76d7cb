import { toBigInt } from '@iommukit/bits';
import type { DeviceFault } from '@iommukit/iommu-core';
import {
  CommandStream,
  type DriverProfile,
  decodeEvent,
  eventLines,
  handleEvent,
  handleGlobalErrors,
  type LogLine,
  skipBadCommand,
  unexpectedPageRequest,
} from '@iommukit/smmu-v3-driver';
import {
  commandAt,
  entryOf,
  IssueRecorder,
  issuesOf,
  lanesOf,
  numberOf,
  SCRATCH,
  scratchPage,
  storeLanes,
} from './smmu-recording.lanes.ts';
import type { VectorTally } from './vector-tally.ts';
import { hex, hexOfLanes, type JsonRow } from './vector-values.lanes.ts';

/** A ring that has every slot of the scratch page; recorded indices are taken modulo its size. */
const RING_LG2 = 8;

/** Runs a file of kind `evt-print` as a kernel's driver. */
export function runEvtPrint(file: JsonRow, tally: VectorTally, profile: DriverProfile): void {
  for (const [i, row] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    const check: Check = (what, got, expected) => tally.check(i, what, got, expected);
    if (row['op'] === 'evt') checkEvent(row, profile, check);
    else if (row['op'] === 'pri') checkPageRequest(row, check);
    else checkGlobalError(row, check);
  }
}

type Check = (what: string, got: unknown, expected: unknown) => void;

function logOf(lines: readonly LogLine[]): (readonly [string, string])[] {
  return lines.map(({ level, text }) => [level, text]);
}

function checkEvent(row: JsonRow, profile: DriverProfile, check: Check): void {
  const record = decodeEvent(entryOf(row['record']).subarray(0, 8));
  const client = (row['client'] ?? null) as string | null;
  const known = row['known_sid'] === undefined ? -1 : numberOf(row['known_sid']);
  let reported: DeviceFault | null = null;
  const errno = handleEvent(
    record,
    {
      deviceOf: (streamId) => (streamId === known ? (client ?? '') : undefined),
      report(_device, fault) {
        reported = fault;
        return Number(row['report'] ?? 0);
      },
    },
    profile,
  );
  check('handle', errno, Number(row['handle'] ?? 0));
  check('fault', reported === null ? undefined : faultOf(reported), row['fault']);
  const name = record.streamId === known ? client : null;
  const lines = errno === 0 ? [] : eventLines(record, name, profile);
  check('log', logOf(lines), row['log'] ?? []);
}

/** `struct iommu_fault` as it is recorded: a page request, flags PASID_VALID 1 and LAST_PAGE 2. */
function faultOf({ addr, pasid, perm, grpid, lastPage }: DeviceFault): unknown {
  const flags = (pasid === null ? 0 : 1) + (lastPage ? 2 : 0);
  return { type: 1, flags, pasid: pasid ?? 0, grpid, perm, addr: hex(toBigInt(addr)) };
}

function checkPageRequest(row: JsonRow, check: Check): void {
  const { lines, response } = unexpectedPageRequest(entryOf(row['record']));
  const recorder = new IssueRecorder();
  const stream = new CommandStream(recorder.issuer(0), {});
  if (response !== null) {
    stream.room().priResponse(response);
    stream.send();
  }
  check('log', logOf(lines), row['log'] ?? []);
  check('issues', recorder.issues, issuesOf(row));
}

function checkGlobalError(row: JsonRow, check: Check): void {
  const gerror = numberOf(row['gerror']);
  const gerrorn = numberOf(row['gerrorn']);
  const cons = numberOf(row['cons']);
  const lines: LogLine[] = [];
  const log = (line: LogLine): void => void lines.push(line);
  const memory = scratchPage();
  const slot = SCRATCH + (cons % 2 ** RING_LG2) * 16;
  const command = ((row['cmd'] ?? []) as string[]).flatMap((word) => {
    const { lo, hi } = lanesOf(word);
    return [lo, hi];
  });
  storeLanes(memory, slot, command);
  let disabled = 0;
  const handled = handleGlobalErrors({
    gerror,
    gerrorn,
    log,
    disable: () => {
      disabled = 1;
    },
    skipCommand: () => skipBadCommand({ memory, base: SCRATCH, lg2: RING_LG2, cons, log }),
  });
  check('handled', handled ? 1 : 0, Number(row['handled'] ?? 0));
  check('gerrorn_after', hex(handled ? gerror : gerrorn), row['gerrorn_after']);
  check('disabled', disabled, Number(row['disabled'] ?? 0));
  check('log', logOf(lines), row['log'] ?? []);
  if (row['slot'] === undefined) return;
  const lanes = [0, 8].flatMap((at) => {
    const lo = memory.load64(slot + at);
    return [lo, memory.hi];
  });
  check(
    'slot',
    commandAt(lanes),
    (row['slot'] as string[]).map((word) => {
      const { lo, hi } = lanesOf(word);
      return hexOfLanes(lo, hi);
    }),
  );
}
