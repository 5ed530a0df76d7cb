import { encodeFeatures, FEATURE_PRESETS, type Features } from '@iommukit/smmu-v3-model';
import {
  ABORT,
  fault,
  type Grounds,
  groundsOf,
  ok,
  PLACE,
  program,
  type Script,
  SID,
} from './smmu-architecture-script.lanes.ts';
import { hex, type JsonRow } from './vector-values.lanes.ts';

// Feature sets; which command is legal in which; queue pointers.

const { full } = FEATURE_PRESETS;

/** What devices of the vectors have: four whole ones, and `full` without one thing each. */
const FEATURE_SETS: Readonly<Record<string, Features>> = {
  'stage-1': FEATURE_PRESETS['qemu-11-s1'],
  'stage-2': FEATURE_PRESETS['qemu-11-s2'],
  nested: FEATURE_PRESETS['qemu-11-nested'],
  full,
  'stage-1-v3.2': { ...full, s2p: false, hyp: false, fwb: false, ptwnnc: false },
  'stage-2-v3.2': { ...full, s1p: false, hyp: false },
  'no-hyp': { ...full, hyp: false, minor: 1 },
  'no-ats': { ...full, ats: false, pri: false },
  'no-pri': { ...full, pri: false },
  'terminate-only': { ...full, stallModel: 1, stallMax: 0 },
  'stall-forced': { ...full, stallModel: 2 },
};

/** ID registers by the name that programs use. */
export function featureSets(): Record<string, Record<string, string>> {
  return Object.fromEntries(
    Object.entries(FEATURE_SETS).map(([name, features]) => [
      name,
      Object.fromEntries(
        Object.entries(encodeFeatures(features)).map(([id, word]) => [id, hex(word as number)]),
      ),
    ]),
  );
}

const CONFIG = [0x03, 0x04];
const S1 = [0x05, 0x06, 0x10, 0x11, 0x12, 0x13];
const EL2 = [0x20, 0x21, 0x22, 0x23];
const S2 = [0x28, 0x2a];
const STALL = [0x44, 0x45];

/** Opcodes that a device with these features takes, by the rules of 4.1 to 4.7. */
function legalOpcodes(f: Features): number[] {
  return [
    0x01,
    0x02,
    ...CONFIG,
    ...(f.s1p ? S1 : []),
    ...(f.hyp ? EL2 : []),
    ...(f.s2p ? S2 : []),
    0x30,
    ...(f.ats ? [0x40] : []),
    ...(f.pri ? [0x41] : []),
    ...(f.stallModel === 1 ? [] : STALL),
    0x46,
  ];
}

type CommandRow = readonly [dw0: bigint, dw1: bigint, error: number];

function commands(
  name: string,
  about: string,
  grounds: Grounds,
  features: string,
  rows: readonly CommandRow[],
): JsonRow {
  return {
    case: 'commands',
    name,
    about,
    ...groundsOf(grounds),
    features,
    rows: rows.map(([dw0, dw1, error]) => [hex(dw0), hex(dw1), error]),
  };
}

const UNKNOWN_OPCODES =
  'gem5 (2024): unknown opcodes are skipped, no GERROR; cloud-hypervisor #8805 (first version): unknown opcodes ignored';
const FEATURELESS =
  'QEMU 11.1.3 (q14): opcodes 18 1a 20-23 40 41 44 45 are consumed without the feature';

/** Legality of commands: 0 is consumed, 1 is CERROR_ILL. */
export function commandCases(): JsonRow[] {
  const opcodes = Array.from({ length: 256 }, (_, opcode) => opcode);
  const perSet = Object.entries(FEATURE_SETS).map(([features, f]) => {
    const legal = legalOpcodes(f);
    return commands(
      `opcodes, ${features}`,
      'every opcode alone, all other bits zero',
      {
        section: '4.1-4.7, 7.1',
        catches: f === full ? UNKNOWN_OPCODES : FEATURELESS,
      },
      features,
      opcodes.map((opcode) => [BigInt(opcode), 0n, legal.includes(opcode) ? 0 : 1]),
    );
  });
  const ranges = [0x12n, 0x13n, 0x22n, 0x23n, 0x2an];
  return [
    ...perSet,
    commands(
      'SSec on the Non-secure queue',
      'every legal opcode with bit 10',
      {
        section: '4.1.6',
        catches:
          'QEMU 11.1.3 (n22): SSec=1 refused for CFGI only; cloud-hypervisor #8805 (first version): SSec ignored',
      },
      'full',
      legalOpcodes(full).map((opcode) => [BigInt(opcode) | 0x400n, 0n, 1]),
    ),
    commands(
      'bit 8 is not SSec',
      'reserved bits of a command are ignored or illegal by choice, so that a device that refuses reserved bits may skip this case',
      {
        section: '4.1.6',
        confidence: 'medium',
        catches: 'OpenVMM (August 2026): accessor of SSec at bit 8',
      },
      'full',
      [
        [0x100n | 0x30n, 0n, 0],
        [0x100n | 0x46n, 0n, 0],
      ],
    ),
    commands(
      'SYNC by CS',
      'only CS=3 is illegal',
      {
        section: '4.7.3',
        catches: 'QEMU (8.1 era): CS=3 raises an interrupt; OpenVMM before #3661: CS=3 accepted',
      },
      'full',
      [0n, 1n, 2n, 3n].map((cs) => [0x46n | (cs << 12n), 0n, cs === 3n ? 1 : 0]),
    ),
    commands(
      'PRI_RESP by Resp',
      'bits 13:12 of dw1; only 3 is illegal',
      { section: '4.5.2', catches: 'QEMU (8.1 era): response code read from dw1 12:11' },
      'full',
      [
        ...[0n, 1n, 2n, 3n].map((resp): CommandRow => [0x41n, resp << 12n, resp === 3n ? 1 : 0]),
        [0x41n, 0x1800n, 0],
      ],
    ),
    commands(
      'CFGI_CD without stage 1',
      'structures that cannot exist have no command',
      { section: '4.3.3, 4.3.4', catches: 'QEMU (8.1 era): CFGI_CD without S1P is consumed' },
      'stage-2',
      [
        [0x05n, 0n, 1],
        [0x06n, 0n, 1],
        [0x03n, 0n, 0],
      ],
    ),
    commands(
      'TG without a range',
      'TG != 0 with NUM=SCALE=TTL=0 is reserved, any of them makes it a range',
      { section: '4.4.1.1', catches: 'QEMU 11.1.3 (n24): the reserved combination is consumed' },
      'full',
      ranges.flatMap((opcode): CommandRow[] =>
        [0n, 1n, 2n, 3n].flatMap((tg): CommandRow[] => [
          [opcode, tg << 10n, tg === 0n ? 0 : 1],
          [opcode | 0x1000n, tg << 10n, 0],
          [opcode | 0x10_0000n, tg << 10n, 0],
          [opcode, (tg << 10n) | 0x300n, 0],
        ]),
      ),
    ),
  ];
}

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

/** Queue pointers: empty, full, wrap, overflow, errors. */
export function queueCases(): JsonRow[] {
  const index = (
    name: string,
    about: string,
    catches: string | undefined,
    write: (s: Script) => void,
  ): JsonRow =>
    program(
      name,
      about,
      { section: '3.5.1, 6.3.26-6.3.28, 7.1, 7.4', ...(catches === undefined ? {} : { catches }) },
      'nested',
      write,
    );
  return [
    index(
      'command queue wraps',
      'eight slots, twenty commands: the index wraps, the wrap bit flips',
      undefined,
      (s) => {
        s.enable(0)
          .write('CMDQ_BASE', PLACE.cmdq + 3)
          .write('CMDQ_PROD', 0)
          .write('CMDQ_CONS', 0)
          .enable(0x8);
        for (let i = 0; i < 20; i++) s.sync();
        s.read('CMDQ_CONS', 4, 0xf_ffff).read('CMDQ_PROD', 4).read('GERROR', 0);
      },
    ),
    index(
      'command queue of one',
      'LOG2SIZE=0: the index has no bit, bit 0 is the wrap bit',
      undefined,
      (s) => {
        s.enable(0)
          .write('CMDQ_BASE', PLACE.cmdq)
          .write('CMDQ_PROD', 0)
          .write('CMDQ_CONS', 0)
          .enable(0x8);
        for (let i = 0; i < 3; i++) s.sync();
        s.read('CMDQ_CONS', 1, 0xf_ffff);
      },
    ),
    index(
      'a queue filled at once',
      'four commands in four slots: full is equal index and different wrap',
      undefined,
      (s) => {
        s.enable(0)
          .write('CMDQ_BASE', PLACE.cmdq + 2)
          .write('CMDQ_PROD', 0)
          .write('CMDQ_CONS', 0);
        for (let i = 0; i < 4; i++) s.store(PLACE.cmdq + i * 16, 0x46n, 0n);
        s.enable(0x8).write('CMDQ_PROD', 4).read('CMDQ_CONS', 4, 0xf_ffff).read('GERROR', 0);
      },
    ),
    index(
      'an empty queue does nothing',
      'equal index and wrap; what lies in the slots is no command',
      undefined,
      (s) => {
        s.enable(0)
          .write('CMDQ_BASE', PLACE.cmdq + 2)
          .write('CMDQ_PROD', 5)
          .write('CMDQ_CONS', 5);
        s.store(PLACE.cmdq + 16, 0xffn, 0n)
          .enable(0x8)
          .write('CMDQ_PROD', 5);
        s.read('CMDQ_CONS', 5, 0xf_ffff).read('GERROR', 0);
      },
    ),
    index(
      'an illegal command stops the queue',
      'CONS stays on it, ERR tells why, GERROR.CMDQ_ERR is active until GERRORN follows; then the command that took its place runs',
      'gem5 (2024): unknown opcodes are skipped, no GERROR, CONS moves before the command runs',
      (s) => {
        s.enable(0).write('CMDQ_PROD', 0).write('CMDQ_CONS', 0).enable(0x8);
        s.sync().command([0xffn, 0n], 1);
        s.read('CMDQ_CONS', 0x0100_0001, 0x7f0f_ffff).read('GERROR', 1);
        s.store(PLACE.cmdq + 16, 0x46n, 0n).write('GERRORN', 1);
        s.read('CMDQ_CONS', 2, 0xf_ffff).read('GERROR', 1);
      },
    ),
    index('a command that cannot be fetched', 'CERROR_ABT', undefined, (s) => {
      s.enable(0)
        .write('CMDQ_BASE', PLACE.ramEnd + 3)
        .write('CMDQ_PROD', 0)
        .write('CMDQ_CONS', 0);
      s.enable(0x8).write('CMDQ_PROD', 1);
      s.read('CMDQ_CONS', 0x0200_0000, 0x7f0f_ffff).read('GERROR', 1);
    }),
    index(
      'CMDQ_CONS is written before the queue is enabled',
      'and consumption begins there',
      'OpenVMM before #3661: CMDQ_CONS never writable',
      (s) => {
        s.enable(0).write('CMDQ_PROD', 7).write('CMDQ_CONS', 7).read('CMDQ_CONS', 7, 0xf_ffff);
        s.enable(0x8).read('CMDQ_CONS', 7, 0xf_ffff);
        s.store(PLACE.cmdq + 7 * 16, 0x46n, 0n)
          .write('CMDQ_PROD', 8)
          .read('CMDQ_CONS', 8, 0xf_ffff);
      },
    ),
    index(
      'CMDQ_CONS is read-only while the queue is enabled',
      'a write is ignored',
      'QEMU 11.1.3 (item 11): CMDQ_CONS writable while CMDQEN=1',
      (s) =>
        void s.read('CMDQ_CONS', 3, 0xf_ffff).write('CMDQ_CONS', 1).read('CMDQ_CONS', 3, 0xf_ffff),
    ),
    index(
      'event queue overflow drops the new record',
      'two slots, three faults: the third is lost, OVFLG toggles, the older two stay; after a slot is free and the flag acknowledged records go on',
      'jpgreninger/smmu: drops the oldest record; QEMU 11.1.3 (q1): GERROR.EVENTQ_ABT_ERR instead of OVFLG; gem5 (2024): no OVFLG',
      (s) => {
        s.stage1();
        s.enable(8)
          .write('EVENTQ_BASE', PLACE.evtq + 1)
          .write('EVENTQ_PROD', 0)
          .write('EVENTQ_CONS', 0)
          .enable();
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
    ),
    index(
      'an unacknowledged overflow does not block the event queue',
      'records go on once there is space',
      undefined,
      (s) => {
        s.stage1();
        s.enable(8)
          .write('EVENTQ_BASE', PLACE.evtq + 1)
          .write('EVENTQ_PROD', 0)
          .write('EVENTQ_CONS', 0)
          .enable();
        faults(s, 2);
        lost(s, 1);
        s.write('EVENTQ_CONS', 2);
        faults(s, 1);
        s.read('EVENTQ_PROD', 0x8000_0003).read('GERROR', 0);
      },
    ),
    index('a disabled event queue loses records without overflow', 'EVENTQEN=0', undefined, (s) => {
      s.stage1();
      s.enable(9);
      lost(s, 2);
      s.read('EVENTQ_PROD', 0);
    }),
    index(
      'a queue base is aligned to the queue',
      'LOG2SIZE=5: ADDR bits 8:5 count as zero',
      undefined,
      (s) => {
        s.stage1();
        s.enable(8)
          .write('EVENTQ_BASE', PLACE.evtq + 0x1e0 + 5)
          .enable();
        faults(s, 1);
        s.load(PLACE.evtq, ...(unmapped['record'] as string[]).map(BigInt));
      },
    ),
    index('SMMUEN=0 passes, GBPA.ABORT refuses', 'neither records anything', undefined, (s) => {
      s.write('GBPA', 0x8000_0000).access(0x1234, {}, { result: 'bypass', pa: '0x1234' });
      s.write('GBPA', 0x8010_0000).access(0x1234, {}, ABORT).read('EVENTQ_PROD', 0);
      s.stage1();
      s.enable().access(0x1000, { sid: SID }, ok(PLACE.data));
    }),
  ];
}
