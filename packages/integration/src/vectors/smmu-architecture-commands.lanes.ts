import { encodeFeatures, FEATURE_PRESETS, type Features } from '@iommukit/smmu-v3-model';
import { type Grounds, groundsOf } from './smmu-architecture-script.lanes.ts';
import { hex, type JsonRow } from './vector-values.lanes.ts';

// Feature sets, and which command is legal in which.

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

/** The opcodes that take a range. */
const RANGES = [0x12n, 0x13n, 0x22n, 0x23n, 0x2an];

/** Every opcode of every feature set. */
function opcodeCases(): JsonRow[] {
  const opcodes = Array.from({ length: 256 }, (_, opcode) => opcode);
  return Object.entries(FEATURE_SETS).map(([features, f]) => {
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
}

/** Fields that make a legal opcode illegal. */
const FIELD_CASES: readonly JsonRow[] = [
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
    RANGES.flatMap((opcode): CommandRow[] =>
      [0n, 1n, 2n, 3n].flatMap((tg): CommandRow[] => [
        [opcode, tg << 10n, tg === 0n ? 0 : 1],
        [opcode | 0x1000n, tg << 10n, 0],
        [opcode | 0x10_0000n, tg << 10n, 0],
        [opcode, (tg << 10n) | 0x300n, 0],
      ]),
    ),
  ),
];

/** Legality of commands: 0 is consumed, 1 is CERROR_ILL. */
export function commandCases(): JsonRow[] {
  return [...opcodeCases(), ...FIELD_CASES];
}
