import { CD, COMMANDS, EVENTS, L1CD, L1STD, REGISTERS, STE } from '@iommukit/arm-arch';
import type { FieldRow, FieldRows, Layout } from '@iommukit/bits';
import { groundsOf } from './smmu-architecture-script.lanes.ts';
import { hex, type JsonRow } from './vector-values.lanes.ts';

// Layouts, one bit at a time, and words of real machines decoded.

/** Fields whose place the sources do not settle: they are named, and no bit of theirs is a vector. */
const UNSETTLED: readonly string[] = [
  'F_CFG_CONFLICT.Reason',
  'CMD_PREFETCH_CONFIG.Size',
  'CMD_PREFETCH_CONFIG.Stride',
  'CMD_PREFETCH_ADDR.Size',
  'CMD_PREFETCH_ADDR.Stride',
];
const INFERRED: readonly string[] = ['F_TLB_CONFLICT'];

/** What other implementations had in another place, by `STRUCTURE.FIELD` or by structure. */
const CATCHES: Readonly<Record<string, string>> = {
  'F_TRANSLATION.SSV': 'OpenVMM (August 2026): SSV at bit 10 of event records',
  'F_TRANSLATION.PnU': 'OpenVMM (August 2026): PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TRANSLATION.InD': 'OpenVMM (August 2026): PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TRANSLATION.RnW': 'OpenVMM (August 2026): PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TRANSLATION.S2': 'OpenVMM (August 2026): PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TRANSLATION.CLASS': 'OpenVMM (August 2026): PnU InD RnW S2 CLASS in dw1 bits 0-5',
  'F_TLB_CONFLICT.EventNumber': 'OpenVMM (August 2026): F_TLB_CONFLICT is 0x14',
  'CMD_TLBI_NH_VA.SSec': 'OpenVMM (August 2026): SSec at bit 8',
  'CMD_TLBI_NH_VA.Address': 'OpenVMM (August 2026): TLBI address shifted by 4',
  'CD.AA64': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'CD.HD': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'CD.HA': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'CD.S': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'CD.R': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'CD.A': 'OpenVMM before #3557: CD dw0 bits 36-47 permuted',
  'STE.CONT': 'OpenVMM before #3661: STE dw1 wrong from bit 13',
  'STE.EATS': 'OpenVMM before #3661: STE dw1 wrong from bit 13',
  'STE.STRW': 'OpenVMM before #3661: STE dw1 wrong from bit 13',
  'STE.SHCFG': 'OpenVMM before #3661: STE dw1 wrong from bit 13',
  'STE.S2VMID': 'OpenVMM before #3661: S2VMID in dw1',
  'F_CD_FETCH.FetchAddr': 'QEMU 11.1.3 (q2): fetch address of F_CD_FETCH in dw2',
  'F_PERMISSION.TTRnW': 'QEMU 11.1.3 (n16): no TTRnW',
  'CMD_PRI_RESP.Resp': 'QEMU (8.1 era): PRI_RESP code read from dw1 12:11',
};

type AnyLayout = Layout<FieldRows>;

function wordOfBit(row: FieldRow, bit: number): [word: bigint, value: bigint] {
  const word = 1n << BigInt(bit);
  // Addresses stand in place; every other value starts at its lowest bit.
  return [word, row.kind === 'addr' ? word : 1n << BigInt(bit - row.lo)];
}

function layoutCases(layout: AnyLayout, kind: string): JsonRow[] {
  const { name, info } = layout;
  const place = info.offset === undefined ? {} : { offset: hex(info.offset), width: info.width };
  return Object.entries(layout.rows).map(([field, row]) => {
    const own = `${name}.${field}`;
    const reserved = row.kind === 'res0' || row.kind === 'impdef';
    const unsettled = UNSETTLED.includes(own);
    const bits: string[][] = [];
    if (!reserved && !unsettled)
      for (let bit = row.lo; bit <= row.hi; bit++) bits.push(wordOfBit(row, bit).map(hex));
    const section = (row.spec ?? info.spec).replace(/^IHI 0070 /, '');
    const catches = CATCHES[own];
    return {
      case: 'layout',
      name: own,
      ...groundsOf({ section, ...(catches === undefined ? {} : { catches }) }),
      ...(unsettled
        ? { confidence: 'unsure' }
        : INFERRED.includes(name)
          ? { confidence: 'inferred' }
          : {}),
      structure: name,
      of: kind,
      ...place,
      dwords: info.dwords,
      field,
      is: row.is,
      reserved:
        row.kind === 'res0' ? 'RES0' : row.kind === 'impdef' ? 'IMPLEMENTATION DEFINED' : 'no',
      dw: row.dw,
      hi: row.hi,
      lo: row.lo,
      bits,
    };
  });
}

/** Structures by name, as the cases name them. */
export function layoutNamed(name: string): AnyLayout | undefined {
  return ALL.find(([layout]) => layout.name === name)?.[0];
}

const ALL: readonly (readonly [AnyLayout, string])[] = [
  ...[L1STD, STE, L1CD, CD].map((one) => [one as unknown as AnyLayout, 'structure'] as const),
  ...[...COMMANDS.values()].map((one) => [one, 'command'] as const),
  ...[...EVENTS.values()].map((one) => [one, 'event'] as const),
  ...REGISTERS.map((one) => [one, 'register'] as const),
];

/** Every field of every structure. */
export function allLayoutCases(): JsonRow[] {
  return ALL.flatMap(([layout, kind]) => layoutCases(layout, kind));
}

/** Words that Linux 6.12 wrote and read on QEMU 11.1.3, with what they say. */
export function decodeCases(): JsonRow[] {
  const captured = (
    structure: string,
    section: string,
    words: readonly string[],
    fields: Readonly<Record<string, string>>,
  ): JsonRow => ({
    case: 'decode',
    name: `${structure} of Linux 6.12`,
    ...groundsOf({ section, origin: 'captured' }),
    structure,
    words: [...words],
    fields,
  });
  return [
    captured('STE', '5.2', ['0x479f300b', '0xd6'], {
      V: '0x1',
      Config: '0x5',
      S1ContextPtr: '0x479f3000',
      S1CDMax: '0x0',
      S1DSS: '0x2',
      S1CIR: '0x1',
      S1COR: '0x1',
      S1CSH: '0x3',
    }),
    captured('CD', '5.4', ['0x6e204c0003510'], {
      T0SZ: '0x10',
      TG0: '0x0',
      IR0: '0x1',
      OR0: '0x1',
      SH0: '0x3',
      EPD1: '0x1',
      V: '0x1',
      IPS: '0x4',
      AA64: '0x1',
      R: '0x1',
      A: '0x1',
      ASET: '0x1',
      ASID: '0x6',
    }),
    captured('CR1', '6.3.11', ['0xd75'], {
      QUEUE_IC: '0x1',
      QUEUE_OC: '0x1',
      QUEUE_SH: '0x3',
      TABLE_IC: '0x1',
      TABLE_OC: '0x1',
      TABLE_SH: '0x3',
    }),
    captured('F_TRANSLATION', '7.3.13', ['0x3000000010', '0x20800000000', '0x1000', '0x0'], {
      EventNumber: '0x10',
      SSV: '0x0',
      StreamID: '0x30',
      STALL: '0x0',
      RnW: '0x1',
      S2: '0x0',
      CLASS: '0x2',
    }),
  ];
}

/** Bits of each event's record that the architecture gives: not Reason, GPCF, NSIPA and the tag of a stall. */
export function recordMasks(): Record<string, string[]> {
  const free = ['Reason', 'GPCF', 'NSIPA', 'STAG'];
  return Object.fromEntries(
    [...EVENTS.values()].map((event) => {
      const names = Object.entries(event.rows)
        .filter(
          ([field, { kind }]) => kind !== 'res0' && kind !== 'impdef' && !free.includes(field),
        )
        .map(([field]) => field);
      const lanes = event.mask(...(names as never[]));
      const words = [0, 2, 4, 6].map(
        (i) => (BigInt(lanes[i + 1] as number) << 32n) | BigInt(lanes[i] as number),
      );
      return [event.name, words.map(hex)];
    }),
  );
}
