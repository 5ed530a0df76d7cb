import {
  CD,
  EVENT_CLASS,
  EVENT_CODE,
  EVENTS,
  type EventName,
  REGISTER,
  REGISTER_OFFSET,
  type RegisterName,
  STE,
} from '@iommukit/arm-arch';
import { hex, type JsonRow } from './vector-values.lanes.ts';

// What a program of architecture vectors is written with: memory, registers, commands, accesses.

/** Where things lie in every program. */
export const PLACE = {
  l1std: 0x4010_0000,
  strtab: 0x4020_0000,
  cds: 0x4026_0000,
  l1cd: 0x4027_0000,
  cmdq: 0x4028_0000,
  evtq: 0x4029_0000,
  stage1: 0x4040_0000,
  stage2: 0x4080_0000,
  data: 0x4100_0000,
  other: 0x4110_0000,
  ramEnd: 0x5000_0000,
} as const;
export const SID = 0x30;
export const ASID = 6;
export const VMID = 3;
/** Page leaf of stage 1: AttrIndx 1, unprivileged read-write, ISH, AF, nG. */
export const S1_RW = 0xf47n;
/** Page leaf of stage 2: Normal write-back, read-write, ISH, AF. */
export const S2_RW = 0x7ffn;
/** A block leaf has bit 1 clear. */
export const BLOCK: bigint = ~2n;
/** Masks of a leaf: the access flag, and read and write permission of stage 2 (AF, S2AP[0], S2AP[1]; DDI 0487 D8.3). */
export const NO_AF: bigint = ~0x400n;
export const NO_S2_READ: bigint = ~0x40n;
export const NO_S2_WRITE: bigint = ~0x80n;

/** Where an expectation comes from, and how sure it is. */
export interface Grounds {
  readonly section: string;
  readonly confidence?: 'high' | 'medium' | 'inferred';
  readonly origin?: 'architecture reading' | 'captured' | 'measured on QEMU';
  /** Published behaviour of other implementations that the vector tells from the architecture. */
  readonly catches?: string;
}

export type SteFields = Partial<Parameters<typeof STE.encode>[0]>;
export type CdFields = Partial<Parameters<typeof CD.encode>[0]>;
export type Words = readonly [dw0: bigint, dw1: bigint];

/** One outcome that an access may have. */
export type Outcome = JsonRow;

interface RecordFields {
  readonly address?: bigint;
  readonly rw?: 'read' | 'write';
  readonly stage?: 1 | 2;
  readonly class?: 'CD' | 'TT' | 'IN';
  readonly ipa?: number;
  readonly fetch?: number;
  readonly ssid?: number;
  readonly privileged?: boolean;
  readonly instruction?: boolean;
  readonly tableRead?: boolean;
  readonly sid?: number;
}

export function ok(pa: number): Outcome {
  return { result: 'ok', pa: hex(pa) };
}

export function bypass(pa: number | bigint): Outcome {
  return { result: 'bypass', pa: hex(pa) };
}

/** Refused with a bus error, without a record. */
export const ABORT: Outcome = { result: 'abort' };
/** Read as zero, write ignored, without a record. */
export const RAZ_WI: Outcome = { result: 'raz-wi' };

function doublewords(lanes: ArrayLike<number>): bigint[] {
  const out: bigint[] = [];
  for (let i = 0; i < lanes.length; i += 2)
    out.push((BigInt(lanes[i + 1] as number) << 32n) | BigInt(lanes[i] as number));
  return out;
}

/** Refused, with this record. */
export function fault(event: EventName, fields: RecordFields = {}): Outcome {
  const { address, rw = 'read', stage = 1, sid = SID } = fields;
  const layout = EVENTS.get(EVENT_CODE[event]);
  if (layout === undefined) throw new Error(event);
  const values: Record<string, number | { lo: number; hi: number }> = {
    EventNumber: EVENT_CODE[event],
    StreamID: sid,
  };
  if (fields.ssid !== undefined) {
    if ('SSV' in layout.rows) values['SSV'] = 1;
    values['SubstreamID'] = fields.ssid;
  }
  if (address !== undefined) {
    values['InputAddr'] = { lo: Number(address & 0xffff_ffffn), hi: Number(address >> 32n) };
    values['RnW'] = rw === 'read' ? 1 : 0;
    values['PnU'] = fields.privileged === true ? 1 : 0;
    values['InD'] = fields.instruction === true ? 1 : 0;
    values['S2'] = stage - 1;
    values['CLASS'] = EVENT_CLASS[fields.class ?? 'IN'];
  }
  if (fields.ipa !== undefined) values['IPA'] = fields.ipa;
  if (fields.fetch !== undefined) values['FetchAddr'] = fields.fetch;
  if (fields.tableRead !== undefined) values['TTRnW'] = fields.tableRead ? 1 : 0;
  const record = doublewords(layout.encode(values as never)).map(hex);
  return { result: event, record };
}

/** The steps of one program. */
export class Script {
  readonly steps: JsonRow[] = [];
  readonly #memory: Map<number, bigint> = new Map();
  #nextTable = 0x4050_0000;

  store(address: number, ...words: bigint[]): this {
    for (const [i, word] of words.entries()) this.#memory.set(address + i * 8, word);
    this.steps.push({ op: 'store', address: hex(address), words: words.map(hex) });
    return this;
  }

  write(register: RegisterName, value: number | bigint): this {
    this.steps.push({ op: 'write', ...placeOf(register), value: hex(value) });
    return this;
  }

  /** Expects a register to read as `value` in the bits of `mask`. */
  read(register: RegisterName, value: number | bigint, mask?: number | bigint): this {
    const place = placeOf(register);
    const all = place.bytes === 8 ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
    this.steps.push({ op: 'read', ...place, value: hex(value), mask: hex(mask ?? all) });
    return this;
  }

  /** Expects words in memory. */
  load(address: number, ...words: bigint[]): this {
    this.steps.push({ op: 'load', address: hex(address), words: words.map(hex) });
    return this;
  }

  /** Puts a command into the slot at CMDQ_PROD, advances it and waits; `error` is the CERROR that stops it. */
  command(words: Words, error = 0): this {
    this.steps.push({ op: 'command', words: words.map(hex), error });
    return this;
  }

  sync(): this {
    return this.command([0x46n, 0n]);
  }

  /** A command that the change before it needs, with a CMD_SYNC. */
  needed(words: Words, removes: string): this {
    this.steps.push({ op: 'command', words: words.map(hex), error: 0, needed: removes });
    return this.sync();
  }

  access(
    address: number | bigint,
    how: {
      rw?: 'read' | 'write' | 'atomic';
      sid?: number;
      ssid?: number;
      privileged?: true;
      instruction?: true;
    },
    ...allowed: readonly Outcome[]
  ): this {
    const { rw = 'read', sid = SID, ssid, privileged, instruction } = how;
    this.steps.push({
      op: 'access',
      sid: hex(sid),
      ...(ssid === undefined ? {} : { ssid: hex(ssid) }),
      address: hex(address),
      rw,
      ...(privileged === undefined ? {} : { privileged }),
      ...(instruction === undefined ? {} : { instruction }),
      allowed: [...allowed],
    });
    return this;
  }

  enable(cr0 = 0xd): this {
    return this.write('CR0', cr0);
  }

  ste(config: number, more: SteFields = {}, at: number = PLACE.strtab + SID * 64): this {
    const stage2 =
      config >= 6
        ? { S2VMID: VMID, S2T0SZ: 25, S2SL0: 1, S2PS: 4, S2AA64: 1, S2R: 1, S2TTB: PLACE.stage2 }
        : {};
    const lanes = STE.encode({
      V: 1,
      Config: config,
      S1ContextPtr: config % 2 === 1 ? PLACE.cds : 0,
      S2VMID: VMID,
      ...stage2,
      ...more,
    });
    return this.store(at, ...doublewords(lanes));
  }

  cd(more: CdFields = {}, at: number = PLACE.cds): this {
    const lanes = CD.encode({
      V: 1,
      AA64: 1,
      A: 1,
      R: 1,
      ASID,
      IPS: 4,
      T0SZ: 25,
      EPD1: 1,
      TTB0: PLACE.stage1,
      MAIR0: 0x00ff_4400,
      ...more,
    });
    return this.store(at, ...doublewords(lanes));
  }

  /** Writes a leaf below `root`, tables on the way; the address of its descriptor. */
  map(
    root: number,
    input: number,
    leaf: bigint,
    how: { level?: number; start?: number; granule?: 12 | 14 | 16 } = {},
  ): number {
    const { level = 3, start = 1, granule = 12 } = how;
    const stride = granule - 3;
    let table = root;
    for (let at = start; ; at++) {
      const shift = granule + stride * (3 - at);
      // The first table may be several, concatenated.
      const index =
        at === start
          ? Math.floor(input / 2 ** shift)
          : Math.floor(input / 2 ** shift) % 2 ** stride;
      const slot = table + index * 8;
      if (at === level) {
        this.store(slot, leaf);
        return slot;
      }
      let found = this.#memory.get(slot) ?? 0n;
      if (found % 2n === 0n) {
        found = BigInt(this.#nextTable) | 3n;
        this.#nextTable += 0x1_0000;
        this.store(slot, found);
      }
      table = Number(found & 0xffff_ffff_f000n);
    }
  }

  s1(iova: number, leaf: bigint, level = 3): number {
    return this.map(PLACE.stage1, iova, leaf, { level });
  }

  s2(ipa: number, leaf: bigint, level = 3): number {
    return this.map(PLACE.stage2, ipa, leaf, { level });
  }

  /** Stream SID by stage 1, page 0x1000 to the data page. */
  stage1(ste: SteFields = {}, cd: CdFields = {}): { leaf: number } {
    this.ste(5, ste).cd(cd);
    return { leaf: this.s1(0x1000, BigInt(PLACE.data) | S1_RW) };
  }

  /** Stream SID by stage 2, IPA 0x9000_0000 to the data page. */
  stage2(ste: SteFields = {}): { leaf: number } {
    this.ste(6, ste);
    return { leaf: this.s2(0x9000_0000, BigInt(PLACE.data) | S2_RW) };
  }

  /** Stream SID by both: page 0x1000 to IPA 0x9000_0000; CDs and tables mapped one to one in blocks of 2 MiB. */
  nested(ste: SteFields = {}, cd: CdFields = {}): { s1: number; s2: number } {
    this.ste(7, ste).cd(cd);
    const s1 = this.s1(0x1000, 0x9000_0000n | S1_RW);
    const s2 = this.s2(0x9000_0000, BigInt(PLACE.data) | S2_RW);
    for (const block of [0x4020_0000, 0x4040_0000])
      this.s2(block, (BigInt(block) | S2_RW) & BLOCK, 2);
    return { s1, s2 };
  }
}

function placeOf(register: RegisterName): { register: string; offset: string; bytes: 4 | 8 } {
  const bytes = REGISTER[register].info.width === 64 ? 8 : 4;
  return { register, offset: hex(REGISTER_OFFSET[register]), bytes };
}

/** What is done before every program: tables and queues placed, queues on, everything invalidated. */
export function setup(table: 'linear' | 'two-level'): JsonRow[] {
  const [base, config] = table === 'linear' ? [PLACE.strtab, 9] : [PLACE.l1std, 0x1_0209];
  const script = new Script();
  script
    .write('CR2', 2)
    .write('STRTAB_BASE', base)
    .write('STRTAB_BASE_CFG', config)
    .write('CMDQ_BASE', PLACE.cmdq + 5)
    .write('EVENTQ_BASE', PLACE.evtq + 5)
    .enable(0xc)
    .command([0x04n, 31n])
    .command([0x30n, 0n])
    .sync();
  return script.steps;
}

/** Which device a program needs, and how its stream table is set up: linear unless told. */
export type On = string | { readonly features: string; readonly setup: string | undefined };

/** A program with its grounds. */
export function program(
  name: string,
  about: string,
  grounds: Grounds,
  on: On,
  write: (script: Script) => void,
): JsonRow {
  const script = new Script();
  write(script);
  const { features, setup: base = 'linear' } =
    typeof on === 'string' ? { features: on, setup: undefined } : on;
  const { steps } = script;
  return { case: 'program', name, about, ...groundsOf(grounds), features, setup: base, steps };
}

export function groundsOf(grounds: Grounds): JsonRow {
  const { section, confidence = 'high', origin = 'architecture reading', catches } = grounds;
  return { section, confidence, origin, ...(catches === undefined ? {} : { catches }) };
}
