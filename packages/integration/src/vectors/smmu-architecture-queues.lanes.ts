import {
  ABORT,
  fault,
  ok,
  PLACE,
  program,
  type Script,
  SID,
} from './smmu-architecture-script.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

// Queue pointers: empty, full, wrap, overflow, errors.

interface QueueCase {
  readonly name: string;
  readonly about: string;
  readonly catches?: string;
  readonly write: (s: Script) => void;
}

/** A disabled command queue of other size, empty at an index. */
function commandQueue(s: Script, log2Size: number, index = 0): Script {
  return s
    .enable(0)
    .write('CMDQ_BASE', PLACE.cmdq + log2Size)
    .write('CMDQ_PROD', index)
    .write('CMDQ_CONS', index);
}

const COMMAND_QUEUE: readonly QueueCase[] = [
  {
    name: 'command queue wraps',
    about: 'eight slots, twenty commands: the index wraps, the wrap bit flips',
    write: (s) => {
      commandQueue(s, 3).enable(0x8);
      for (let i = 0; i < 20; i++) s.sync();
      s.read('CMDQ_CONS', 4, 0xf_ffff).read('CMDQ_PROD', 4).read('GERROR', 0);
    },
  },
  {
    name: 'command queue of one',
    about: 'LOG2SIZE=0: the index has no bit, bit 0 is the wrap bit',
    write: (s) => {
      commandQueue(s, 0).enable(0x8);
      for (let i = 0; i < 3; i++) s.sync();
      s.read('CMDQ_CONS', 1, 0xf_ffff);
    },
  },
  {
    name: 'a queue filled at once',
    about: 'four commands in four slots: full is equal index and different wrap',
    write: (s) => {
      commandQueue(s, 2);
      for (let i = 0; i < 4; i++) s.store(PLACE.cmdq + i * 16, 0x46n, 0n);
      s.enable(0x8).write('CMDQ_PROD', 4).read('CMDQ_CONS', 4, 0xf_ffff).read('GERROR', 0);
    },
  },
  {
    name: 'an empty queue does nothing',
    about: 'equal index and wrap; what lies in the slots is no command',
    write: (s) => {
      commandQueue(s, 2, 5);
      s.store(PLACE.cmdq + 16, 0xffn, 0n)
        .enable(0x8)
        .write('CMDQ_PROD', 5);
      s.read('CMDQ_CONS', 5, 0xf_ffff).read('GERROR', 0);
    },
  },
  {
    name: 'an illegal command stops the queue',
    about:
      'CONS stays on it, ERR tells why, GERROR.CMDQ_ERR is active until GERRORN follows; then the command that took its place runs',
    catches:
      'gem5 (2024): unknown opcodes are skipped, no GERROR, CONS moves before the command runs',
    write: (s) => {
      s.enable(0).write('CMDQ_PROD', 0).write('CMDQ_CONS', 0).enable(0x8);
      s.sync().command([0xffn, 0n], 1);
      s.read('CMDQ_CONS', 0x0100_0001, 0x7f0f_ffff).read('GERROR', 1);
      s.store(PLACE.cmdq + 16, 0x46n, 0n).write('GERRORN', 1);
      s.read('CMDQ_CONS', 2, 0xf_ffff).read('GERROR', 1);
    },
  },
  {
    name: 'a command that cannot be fetched',
    about: 'CERROR_ABT',
    write: (s) => {
      s.enable(0)
        .write('CMDQ_BASE', PLACE.ramEnd + 3)
        .write('CMDQ_PROD', 0)
        .write('CMDQ_CONS', 0);
      s.enable(0x8).write('CMDQ_PROD', 1);
      s.read('CMDQ_CONS', 0x0200_0000, 0x7f0f_ffff).read('GERROR', 1);
    },
  },
  {
    name: 'CMDQ_CONS is written before the queue is enabled',
    about: 'and consumption begins there',
    catches: 'OpenVMM before #3661: CMDQ_CONS never writable',
    write: (s) => {
      s.enable(0).write('CMDQ_PROD', 7).write('CMDQ_CONS', 7).read('CMDQ_CONS', 7, 0xf_ffff);
      s.enable(0x8).read('CMDQ_CONS', 7, 0xf_ffff);
      s.store(PLACE.cmdq + 7 * 16, 0x46n, 0n)
        .write('CMDQ_PROD', 8)
        .read('CMDQ_CONS', 8, 0xf_ffff);
    },
  },
  {
    name: 'CMDQ_CONS is read-only while the queue is enabled',
    about: 'a write is ignored',
    catches: 'QEMU 11.1.3 (item 11): CMDQ_CONS writable while CMDQEN=1',
    write: (s) =>
      void s.read('CMDQ_CONS', 3, 0xf_ffff).write('CMDQ_CONS', 1).read('CMDQ_CONS', 3, 0xf_ffff),
  },
];

const EMPTY_PAGE = 0x5000n;

/** What an access to a page without a mapping gives. */
const unmapped = fault('F_TRANSLATION', { address: EMPTY_PAGE });

function faults(script: Script, times: number): void {
  for (let i = 0; i < times; i++) script.access(EMPTY_PAGE, {}, unmapped);
}

/** The same access while the queue takes nothing. */
function lost(script: Script, times: number): void {
  for (let i = 0; i < times; i++)
    script.access(EMPTY_PAGE, {}, { result: 'F_TRANSLATION', record: 'dropped' });
}

/** Stage 1 with an event queue of two slots. */
function twoEvents(s: Script): void {
  s.stage1();
  s.enable(8)
    .write('EVENTQ_BASE', PLACE.evtq + 1)
    .write('EVENTQ_PROD', 0)
    .write('EVENTQ_CONS', 0)
    .enable();
}

const EVENT_QUEUE: readonly QueueCase[] = [
  {
    name: 'event queue overflow drops the new record',
    about:
      'two slots, three faults: the third is lost, OVFLG toggles, the older two stay; after a slot is free and the flag acknowledged records go on',
    catches:
      'jpgreninger/smmu: drops the oldest record; QEMU 11.1.3 (q1): GERROR.EVENTQ_ABT_ERR instead of OVFLG; gem5 (2024): no OVFLG',
    write: (s) => {
      twoEvents(s);
      s.access(EMPTY_PAGE, {}, unmapped).access(
        EMPTY_PAGE + 8n,
        {},
        fault('F_TRANSLATION', { address: EMPTY_PAGE + 8n }),
      );
      s.read('EVENTQ_PROD', 2);
      lost(s, 1);
      s.read('EVENTQ_PROD', 0x8000_0002).read('GERROR', 0);
      s.load(PLACE.evtq, ...(unmapped['record'] as string[]).map(BigInt));
      lost(s, 1);
      s.read('EVENTQ_PROD', 0x8000_0002).write('EVENTQ_CONS', 0x8000_0001);
      faults(s, 1);
      s.read('EVENTQ_PROD', 0x8000_0003);
    },
  },
  {
    name: 'an unacknowledged overflow does not block the event queue',
    about: 'records go on once there is space',
    write: (s) => {
      twoEvents(s);
      faults(s, 2);
      lost(s, 1);
      s.write('EVENTQ_CONS', 2);
      faults(s, 1);
      s.read('EVENTQ_PROD', 0x8000_0003).read('GERROR', 0);
    },
  },
  {
    name: 'a disabled event queue loses records without overflow',
    about: 'EVENTQEN=0',
    write: (s) => {
      s.stage1();
      s.enable(9);
      lost(s, 2);
      s.read('EVENTQ_PROD', 0);
    },
  },
  {
    name: 'a queue base is aligned to the queue',
    about: 'LOG2SIZE=5: ADDR bits 8:5 count as zero',
    write: (s) => {
      s.stage1();
      s.enable(8)
        .write('EVENTQ_BASE', PLACE.evtq + 0x1e0 + 5)
        .enable();
      faults(s, 1);
      s.load(PLACE.evtq, ...(unmapped['record'] as string[]).map(BigInt));
    },
  },
  {
    name: 'SMMUEN=0 passes, GBPA.ABORT refuses',
    about: 'neither records anything',
    write: (s) => {
      s.write('GBPA', 0x8000_0000).access(0x1234, {}, { result: 'bypass', pa: '0x1234' });
      s.write('GBPA', 0x8010_0000).access(0x1234, {}, ABORT).read('EVENTQ_PROD', 0);
      s.stage1();
      s.enable().access(0x1000, { sid: SID }, ok(PLACE.data));
    },
  },
];

/** One program for each. */
export function queueCases(): JsonRow[] {
  return [...COMMAND_QUEUE, ...EVENT_QUEUE].map(({ name, about, write, ...catches }) =>
    program(
      name,
      about,
      { section: '3.5.1, 6.3.26-6.3.28, 7.1, 7.4', ...catches },
      'nested',
      write,
    ),
  );
}
