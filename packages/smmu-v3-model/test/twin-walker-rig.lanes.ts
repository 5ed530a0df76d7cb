/*
 * Runs generated cases on the model and on the twin, and says where they differ.
 */
import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import { createPrng, PhysicalMemory } from '@iommukit/platform';
import {
  CACHE_NOTHING,
  type CachePolicy,
  type DmaAccess,
  type DmaResult,
  encodeFeatures,
  FEATURE_PRESETS,
  type Features,
  type IdrWords,
  SmmuV3Model,
  UnmodelledError,
} from '../src/index.ts';
import { twinWalk } from './twin-walker.lanes.ts';
import type { TwinAttributes } from './twin-walker-attributes.lanes.ts';
import { makeTwinCase, type TwinCase } from './twin-walker-cases.lanes.ts';
import {
  type TwinAccess,
  type TwinFeatures,
  type TwinRegisters,
  type TwinResult,
  twinFeatures,
} from './twin-walker-run.lanes.ts';
import { Dice, SPACE_RAM } from './twin-walker-space.lanes.ts';

const QUEUE = 0x4010_0000;

export interface TwinDifference {
  readonly seed: number;
  readonly note: string;
  readonly access: string;
  readonly model: string;
  readonly twin: string;
  readonly idr: string;
}

export interface TwinReport {
  pairs: number;
  cases: number;
  /** Accesses that the model refuses as unmodelled, by code. */
  readonly unmodelled: Map<string, number>;
  /** The twin's outcomes. */
  readonly outcomes: Map<string, number>;
  readonly differences: TwinDifference[];
  differing: number;
}

export function newReport(): TwinReport {
  return {
    pairs: 0,
    cases: 0,
    unmodelled: new Map(),
    outcomes: new Map(),
    differences: [],
    differing: 0,
  };
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

type Idr = Pick<TwinRegisters, 'IDR0' | 'IDR1' | 'IDR3' | 'IDR5' | 'AIDR'>;

export function twinIdr(idr: Required<IdrWords>): Idr {
  const wide = (value: number): bigint => BigInt(value >>> 0);
  return {
    IDR0: wide(idr.IDR0),
    IDR1: wide(idr.IDR1),
    IDR3: wide(idr.IDR3),
    IDR5: wide(idr.IDR5),
    AIDR: wide(idr.AIDR),
  };
}

/** A legal set of features, by trial. */
export function randomFeatures(dice: Dice): Features {
  const preset = dice.pick(['full', 'full', 'full', 'qemu-11-nested', 'qemu-11-s1'] as const);
  const base = FEATURE_PRESETS[preset];
  if (preset !== 'full' && dice.chance(40)) return base;
  const minor = dice.between(0, 3);
  const yes = (percent: number): boolean => dice.chance(percent);
  const oas = dice.pick(minor === 0 ? [32, 40, 44, 48] : [32, 36, 40, 42, 44, 48, 48, 52, 52, 52]);
  const gran64k = oas === 52 || yes(80);
  const gran16k = yes(75);
  const gran4k = yes(85) || !(gran64k || gran16k);
  const ds = oas === 52 && (gran4k || gran16k) && yes(70);
  const s1p = base.s1p;
  const s2p = base.s2p;
  const hyp = s1p && s2p && (minor >= 2 || yes(60));
  const twoLevelStrtab = yes(85);
  return {
    ...base,
    ats: false,
    pri: false,
    ns1ats: false,
    minor,
    oas,
    gran4k,
    gran16k,
    gran64k,
    ds,
    vax: ds || (minor > 0 && yes(50)) ? 52 : 48,
    httu: yes(60) ? dice.below(4) : 0,
    hyp,
    asid16: yes(70),
    vmid16: yes(70),
    cd2l: yes(70),
    stallModel: dice.pick([0, 0, 0, 1, 1, 2]),
    termModel: yes(50),
    twoLevelStrtab,
    sidSize: twoLevelStrtab ? dice.pick([16, 16, 32, 10, 20]) : dice.between(0, 6),
    ssidSize: dice.pick([0, 1, 5, 8, 12, 20]),
    attrPermsOvr: yes(60),
    attrTypesOvr: yes(50),
    had: minor >= 1 || yes(70),
    pbha: yes(50),
    xnx: minor >= 1 || yes(60),
    fwb: minor >= 2 || yes(50),
    stt: yes(60),
    ril: minor >= 2 || yes(50),
    bbml: minor >= 2 ? dice.between(1, 2) : dice.between(0, 2),
    e0pd: minor >= 3 || yes(50),
    ptwnnc: minor >= 3 || yes(50),
    epan: yes(50),
    stallMax: 32,
  };
}

/** A model, its memory, and the twin's reading of the same ID registers. */
export class TwinRig {
  readonly memory: PhysicalMemory = new PhysicalMemory(
    // In two ranges each, so that memory comes in blocks of 64 KiB: a thousand machines zero fewer bytes.
    SPACE_RAM.flatMap(({ base, size }) => [
      { base, size: 0x1_0000 },
      { base: base + 0x1_0000, size: size - 0x1_0000 },
    ]),
  );
  readonly idr: Idr;
  readonly f: TwinFeatures;
  readonly smmu: SmmuV3Model;
  #prod = 0;

  constructor(features: Features, policy: Partial<CachePolicy> = CACHE_NOTHING) {
    const idr = encodeFeatures(features);
    this.idr = twinIdr(idr);
    this.f = twinFeatures(this.idr as TwinRegisters);
    this.smmu = new SmmuV3Model({ memory: this.memory, idr, policy });
  }

  load(one: TwinCase): void {
    const { registers } = this.smmu;
    registers.write32(R.CR0, 0);
    for (const [at, word] of one.space.words) this.store(at, word);
    registers.write32(R.CR2, Number(one.registers.CR2));
    registers.write32(R.GBPA, Number(one.registers.GBPA) + 0x8000_0000);
    const base = one.registers.STRTAB_BASE;
    registers.write64(R.STRTAB_BASE, Number(base & 0xffff_ffffn), Number(base >> 32n));
    registers.write32(R.STRTAB_BASE_CFG, Number(one.registers.STRTAB_BASE_CFG));
    registers.write64(R.EVENTQ_BASE, QUEUE + 4, 0);
    registers.write32(R.EVENTQ_PROD, 0);
    registers.write32(R.EVENTQ_CONS, 0);
    this.#prod = 0;
    registers.write32(R.CR0, Number(one.registers.CR0 & 5n) | 4);
  }

  store(at: bigint, word: bigint): void {
    this.memory.store64(Number(at), Number(word & 0xffff_ffffn), Number(word >> 32n));
  }

  word(at: number): bigint {
    const lo = this.memory.load64(at);
    return (BigInt(this.memory.hi) << 32n) | BigInt(lo);
  }

  unload(one: TwinCase): void {
    for (const at of one.space.words.keys()) this.memory.store64(Number(at), 0, 0);
  }

  access(a: TwinAccess): DmaResult {
    return this.smmu.translate(dmaAccessOf(a));
  }

  /** The records that came since the last call. */
  records(): bigint[][] {
    const prod = this.smmu.registers.read32(R.EVENTQ_PROD);
    const all: bigint[][] = [];
    for (; this.#prod !== prod; this.#prod = (this.#prod + 1) % 32) {
      const at = QUEUE + 32 * (this.#prod % 16);
      all.push([0, 8, 16, 24].map((offset) => this.word(at + offset)));
    }
    this.smmu.registers.write32(R.EVENTQ_CONS, prod);
    return all;
  }

  /** Frees what stalls (6.3.9: SMMUEN 1 to 0). */
  release(): void {
    const { registers } = this.smmu;
    const cr0 = registers.read32(R.CR0);
    registers.write32(R.CR0, cr0 - (cr0 % 2));
    registers.write32(R.CR0, cr0);
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function attributeText({ type, inner, outer, shareability }: TwinAttributes): string {
  const level = (h: TwinAttributes['inner']): string =>
    `${h.policy}${h.readAllocate ? 'r' : ''}${h.writeAllocate ? 'w' : ''}${h.transient ? 't' : ''}`;
  return `${type} i${level(inner)} o${level(outer)} ${shareability}`;
}

/** An access of the twin as the model takes it. */
export function dmaAccessOf(a: TwinAccess): DmaAccess {
  return {
    streamId: a.sid,
    substreamId: a.ssid,
    address: { lo: Number(a.address & 0xffff_ffffn), hi: Number(a.address >> 32n) },
    rw: a.atomic === true ? 'atomic' : a.write ? 'write' : 'read',
    privileged: a.privileged,
    instruction: a.instruction,
    ...(a.attributes === undefined ? {} : { attributes: a.attributes }),
  };
}

/** Whether the memory attributes of a translated access are part of its text. */
export type ShownText = 'plain' | 'with-attributes';

/** An outcome as text: kind, address or response, records with STAG removed. */
export function twinText(result: TwinResult, shown: ShownText = 'plain'): string {
  if (result.kind === 'ok')
    return `${result.route === 'off' || result.route === 'bypass' ? 'bypass' : 'ok'} ${hex(result.pa)}${
      shown === 'with-attributes' ? ` ${attributeText(result.attributes)}` : ''
    }`;
  if (result.kind === 'abort') return 'abort';
  if (!result.recorded) {
    if (result.event === 'C_BAD_STREAMID') return 'abort';
    return `${result.event} ${result.response} suppressed`;
  }
  return `${result.event} ${result.response} ${result.record.map(hex).join(' ')}`;
}

export function modelText(
  result: DmaResult,
  records: readonly (readonly bigint[])[],
  shown: ShownText = 'plain',
): string {
  const first = records[0];
  const words = first
    ?.map((word, i) => hex(i === 1 && result.outcome === 'stall' ? word & ~0xffffn : word))
    .join(' ');
  const more = records.length > 1 ? ` and ${records.length - 1} more` : '';
  if (result.outcome === 'ok' || result.outcome === 'bypass')
    return `${result.outcome} ${hex(BigInt(result.paddr))}${
      shown === 'with-attributes' ? ` ${attributeText(result.attributes)}` : ''
    }${first === undefined ? '' : ' recorded'}`;
  if (result.outcome === 'abort') return `abort${first === undefined ? '' : ' recorded'}`;
  const response = result.outcome === 'stall' ? 'stall' : result.response;
  return `${result.event.event} ${response} ${words ?? result.record}${more}`;
}

function outcomeKey(result: TwinResult): string {
  if (result.kind === 'ok') return `ok ${result.route}`;
  if (result.kind === 'abort') return `abort ${result.why}`;
  const dw1 = result.record[1];
  const stage = (dw1 >> 39n) & 1n;
  const of = ['CD', 'TT', 'IN'][Number((dw1 >> 40n) & 3n)];
  const code = result.record[0] & 0xffn;
  return code < 0xbn ? result.event : `${result.event} S${stage + 1n} ${of}`;
}

const AF = 1n << 10n;
const S1_RO = 1n << 7n;

/** Words of tables that the two left different; updates on the way to a fault may be made or not (3.13). */
function memoryDifference(rig: TwinRig, one: TwinCase, end: 'passed' | 'failed'): string {
  for (const [at, word] of one.space.words) {
    const theirs = rig.word(Number(at));
    if (theirs === word) continue;
    if (end === 'passed' || ((theirs ^ word) & ~(AF | S1_RO)) !== 0n)
      return `${hex(at)}: model ${hex(theirs)}, twin ${hex(word)}`;
    one.space.words.set(at, theirs);
  }
  return '';
}

/** A case in which caches cannot tell: one address space, and nothing that the SMMU updates. */
export function cacheNeutral(one: TwinCase, f: TwinFeatures): boolean {
  const ssids = new Set(one.accesses.map((access) => access.ssid));
  return f.httu === 0 && ssids.size === 1;
}

/** `translateFast` has to give what the twin gives, for the accesses that it takes; updates of tables would hide the second try. */
function quickDifference(rig: TwinRig, a: TwinAccess, result: TwinResult): string {
  if (rig.f.httu > 0 || a.ssid !== undefined || a.privileged || a.instruction || a.atomic === true)
    return '';
  const offset = a.address & 0xfffn;
  const got = rig.smmu.translateFast(a.sid, Number(a.address - offset), a.write ? 1 : 0);
  const expected = result.kind === 'ok' ? Number(result.pa - offset) : -1;
  return got === expected ? '' : `translateFast ${got}, expected ${expected}`;
}

export interface TwinRunOptions {
  readonly seed: number;
  readonly cases: number;
  readonly report: TwinReport;
  /** Differences that are kept. */
  readonly keep?: number;
  /** Caches of the model; with any, each case has a model of its own, and only cases that caches cannot change are run. */
  readonly policy?: Partial<CachePolicy>;
}

/** Runs cases from `seed` on; each has eight accesses. */
export function runTwinCases({ seed, cases, report, keep = 20, policy }: TwinRunOptions): void {
  let rig: TwinRig | undefined;
  for (let i = 0; i < cases; i++) {
    const dice = new Dice(createPrng(seed + i));
    if (rig === undefined || i % 16 === 0 || policy !== undefined) rig = freshRig(dice, policy);
    const made = makeTwinCase(dice, rig.f, rig.idr);
    if (policy !== undefined && !cacheNeutral(made, rig.f)) continue;
    // Once more, so that the second access of each kind can hit.
    const one =
      policy === undefined ? made : { ...made, accesses: [...made.accesses, ...made.accesses] };
    report.cases++;
    runCase(rig, one, { seed: seed + i, report, keep });
  }
}

export function freshRig(dice: Dice, policy?: Partial<CachePolicy>): TwinRig {
  for (;;) {
    const features = randomFeatures(dice);
    try {
      return new TwinRig(features, policy);
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
    }
  }
}

function runCase(
  rig: TwinRig,
  one: TwinCase,
  { seed, report, keep }: { seed: number; report: TwinReport; keep: number },
): void {
  rig.load(one);
  for (const access of one.accesses) {
    let model: string;
    let end: 'passed' | 'failed' = 'failed';
    try {
      const result = rig.access(access);
      model = modelText(result, rig.records(), 'with-attributes');
      if (result.outcome === 'ok' || result.outcome === 'bypass') end = 'passed';
      if (result.outcome === 'stall') rig.release();
    } catch (error) {
      if (!(error instanceof UnmodelledError)) throw error;
      count(report.unmodelled, error.code);
      rig.release();
      continue;
    }
    const result = twinWalk(one.space, one.registers, access);
    const twin = twinText(result, 'with-attributes');
    report.pairs++;
    count(report.outcomes, outcomeKey(result));
    const quick = quickDifference(rig, access, result);
    const words = rig.f.httu > 0 ? memoryDifference(rig, one, end) : '';
    if (model === twin && words === '' && quick === '') continue;
    report.differing++;
    if (report.differences.length < keep)
      report.differences.push({
        seed,
        note: one.note,
        access: JSON.stringify(access, (_, v: unknown) => (typeof v === 'bigint' ? hex(v) : v)),
        model: `${model} ${words}${quick}`,
        twin,
        idr: JSON.stringify(rig.idr, (_, v: unknown) => (typeof v === 'bigint' ? hex(v) : v)),
      });
    if (words !== '')
      for (const at of one.space.words.keys()) one.space.words.set(at, rig.word(Number(at)));
  }
  if (rig.smmu.staleUses.length > 0)
    report.differences.push({
      seed,
      note: one.note,
      access: '',
      model: `stale use ${JSON.stringify(rig.smmu.staleUses[0])}`,
      twin: 'nothing changed',
      idr: '',
    });
  rig.unload(one);
}
