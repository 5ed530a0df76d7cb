/*
 * Generated cases for the twin: configurations that are legal for a set of features, with tables that map some addresses, then a
 * few mutations. Deep paths are reached because most of a case is legal.
 */
import { type MappedInput, twinAccesses } from './twin-walker-accesses.lanes.ts';
import {
  bits,
  sizeOf,
  type TwinAccess,
  type TwinFeatures,
  type TwinRegisters,
} from './twin-walker-run.lanes.ts';
import {
  type Dice,
  encodeOutput,
  Space,
  TableBuilder,
  type TablePlace,
} from './twin-walker-space.lanes.ts';

export interface TwinCase {
  readonly registers: TwinRegisters;
  readonly space: Space;
  readonly accesses: readonly TwinAccess[];
  /** Address of the stream's STE. */
  readonly ste: bigint;
  /** Config, and what was turned. */
  readonly note: string;
}

const STRTAB = 0x4020_0000n;
const L2TAB = 0x4030_0000n;
const LINEAR_CD = 0x4400_0000n;

function place(value: number | bigint, low: number): bigint {
  return BigInt(value) << BigInt(low);
}

class CaseBuilder {
  readonly dice: Dice;
  readonly f: TwinFeatures;
  readonly space: Space = new Space();
  readonly config: number;
  readonly ste: bigint[] = [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
  readonly inputs: MappedInput[] = [];
  stage2: TableBuilder | undefined;
  s2output = 0;
  s2input = 0;
  httuS2 = false;
  e2h: boolean;
  world: 'EL1' | 'EL2' | 'EL2-E2H' = 'EL1';

  constructor(dice: Dice, f: TwinFeatures) {
    this.dice = dice;
    this.f = f;
    this.e2h = dice.chance(50);
    const configs = [4, ...(f.s1p ? [5, 5, 5, 5] : []), ...(f.s2p ? [6, 6] : [])];
    if (f.s1p && f.s2p) configs.push(7, 7, 7, 7);
    this.config = dice.pick(configs);
  }

  /** Where a table of stage 1, or a structure of a nested stream, lies: mapped by stage 2 if there is one. */
  structure(bytes: bigint, limit: number): TablePlace {
    const { dice } = this;
    if (this.stage2 === undefined) {
      const pa = this.space.alloc(bytes, limit >= 52 && dice.chance(50) ? 'high' : 'low');
      return { address: pa, pa };
    }
    const page = 1n << BigInt(this.stage2.shape.granule);
    const pa = this.space.alloc(bytes > page ? bytes : page);
    const level = dice.chance(85) ? 3 : dice.pick(this.stage2.levels());
    const unit = bytes > page ? bytes : page;
    let low = BigInt(this.stage2.low(level));
    let leaf = level;
    if (1n << low < unit || Number(low) >= Math.min(limit, this.s2input)) {
      low = BigInt(this.stage2.shape.granule);
      leaf = 3;
    }
    const top = Math.min(limit, this.s2input);
    const span = 1n << low;
    const base = (dice.wide(top) & ~((span > unit ? span : unit) - 1n)) | (pa & (span - 1n));
    for (let at = 0n; at < unit; at += span)
      this.mapStage2(base + at, pa + at, { level: leaf, table: true });
    return { address: base, pa };
  }

  mapStage2(ipa: bigint, pa: bigint, how: { level: number; table: boolean }): void {
    const { dice, stage2 } = this;
    if (stage2 === undefined) return;
    const low = BigInt(stage2.low(how.level));
    let d = encodeOutput(stage2.shape, (pa >> low) << low);
    const strict = how.table && !dice.chance(8);
    const af = strict || !dice.chance(12) ? !this.httuS2 || dice.chance(60) : false;
    if (af) d |= place(1, 10);
    const dbm = dice.chance(this.httuS2 ? 50 : 15);
    if (dbm) d |= place(1, 51);
    const rights = strict
      ? dbm && this.httuS2
        ? dice.pick([1, 3])
        : 3
      : dice.pick([3, 3, 3, 3, 3, 3, 3, 1, 2, 0]);
    d |= place(rights, 6);
    d |= place(strict ? 15 : dice.pick([15, 15, 5, 1, 0, 10, 6, 7, dice.below(16)]), 2);
    if (!stage2.shape.ds) d |= place(dice.below(4), 8);
    if (dice.chance(30)) d |= place(dice.below(4), 53);
    if (dice.chance(10)) d |= place(1, 52);
    if (how.level < 3 && dice.chance(15)) d |= place(1, 16);
    if (dice.chance(10)) d |= place(dice.below(16), 55);
    stage2.map(ipa, how.level, d);
  }

  makeStage2(): void {
    const { dice, f, ste } = this;
    const granule = dice.pick(f.granules);
    const ds = f.ds && granule !== 16 && dice.chance(60);
    const least = Math.max(granule === 16 || ds ? 12 : 16, 64 - f.oas);
    const most = f.stt && dice.chance(40) ? (granule === 16 ? 47 : 48) : 39;
    const t0sz = dice.chance(30) ? least : dice.between(least, most);
    const size = 64 - t0sz;
    const stride = granule - 3;
    const codes: { code: number; level: number }[] = [];
    const table = granule === 12 ? [2, 1, 0, 3] : granule === 14 ? [3, 2, 1, 0] : [3, 2, 1, -9];
    for (let code = 0; code < 8; code++) {
      const level =
        code === 4 && granule === 12 && ds ? -1 : code < 4 ? (table[code] as number) : -9;
      if (level === -9) continue;
      if (granule === 12 && code === 3 && !f.stt) continue;
      if (granule === 14 && code === 3 && !ds) continue;
      const n = size - (granule + stride * (3 - level));
      if (n >= 1 && n <= stride + 4) codes.push({ code, level });
    }
    const start = codes.length === 0 ? { code: 1, level: 1 } : dice.pick(codes);
    const n = Math.max(1, size - (granule + stride * (3 - start.level)));
    const ps = dice.chance(70) ? 6 : dice.below(8);
    this.s2output = Math.min(sizeOf(ps), f.oas, granule === 16 || ds ? 52 : 48);
    this.s2input = size;
    const wide = granule === 16 ? f.oas >= 52 : ds;
    const ha = f.httu >= 1 && dice.chance(50);
    const hd = f.httu >= 2 && dice.chance(50);
    this.httuS2 = ha;
    const high = this.s2output >= 52 && wide;
    const bytes = 1n << BigInt(Math.max(n + 3, 6));
    const pa = this.space.alloc(bytes, high && dice.chance(50) ? 'high' : 'low');
    this.stage2 = new TableBuilder(
      this.space,
      { granule, size, start: start.level, ds, wide },
      { address: pa, pa },
      {
        place: (size) => {
          const at = this.space.alloc(size, high && dice.chance(50) ? 'high' : 'low');
          return { address: at, pa: at };
        },
        limits: () =>
          (dice.chance(20) ? dice.wide(64) & 0xff80_0000_0000_0000n : 0n) |
          (dice.chance(50) && !ds ? place(1, 10) : 0n),
      },
    );
    const haft = f.httu === 3 && ha && dice.chance(40);
    ste[2] =
      (ste[2] as bigint) |
      place(t0sz, 32) |
      place(start.code & 3, 38) |
      place(dice.below(64), 40) |
      place(granule === 12 ? 0 : granule === 16 ? 1 : 2, 46) |
      place(ps, 48) |
      place(1, 51) |
      place(dice.chance(25) ? 1 : 0, 53) |
      place(dice.chance(20) ? 1 : 0, 54) |
      place(hd ? 1 : 0, 55) |
      place(ha ? 1 : 0, 56) |
      place(f.stallModel === 2 || (f.stallModel === 0 && dice.chance(15)) ? 1 : 0, 57) |
      place(dice.chance(85) ? 1 : 0, 58) |
      place(haft ? 1 : 0, 59);
    ste[3] = pa | place(start.code >> 2, 2) | place(ds ? 1 : 0, 3);
  }

  /** One CD with its tables; gives its doublewords. */
  makeCd(ssid: number | undefined): bigint[] {
    const { dice, f } = this;
    const ips = dice.chance(70) ? 6 : dice.below(8);
    const ds = f.ds && dice.chance(60);
    const ha = f.httu >= 1 && dice.chance(50);
    const hd = f.httu >= 2 && dice.chance(50);
    let dw0 = place(1, 31) | place(1, 41) | place(ips, 32);
    const ttb: bigint[] = [0n, 0n];
    for (const upper of this.world === 'EL2' ? [0] : [0, 1]) {
      const granule = dice.pick(f.granules);
      const halfDs = ds && granule !== 16;
      const least = f.vax52 && (granule === 16 || halfDs) ? 12 : 16;
      const most = f.stt && dice.chance(40) ? (granule === 16 ? 47 : 48) : 39;
      const txsz = dice.chance(30) ? least : dice.between(least, most);
      const size = 64 - txsz;
      const stride = granule - 3;
      const count = Math.ceil((size - granule) / stride);
      const output = Math.min(sizeOf(ips), f.oas, granule === 16 || halfDs ? 52 : 48);
      const wide = granule === 16 ? f.oas >= 52 : halfDs;
      const limit = wide ? output : Math.min(output, 48);
      const n = size - granule - stride * (count - 1);
      const root = this.structure(1n << BigInt(Math.max(n + 3, 6)), limit);
      const builder = new TableBuilder(
        this.space,
        { granule, size, start: 4 - count, ds: halfDs, wide },
        root,
        {
          place: (bytes) => this.structure(bytes, limit),
          limits: () =>
            (dice.chance(25) ? dice.wide(5) << 59n : 0n) |
            (dice.chance(50) && !halfDs ? place(1, 10) : 0n) |
            (dice.chance(20) ? dice.wide(7) << 52n : 0n),
        },
      );
      const tbi = dice.chance(30);
      for (let i = dice.between(1, 3); i > 0; i--)
        this.mapStage1(builder, { upper, ha, limit, tbi, ssid });
      ttb[upper] = root.address;
      dw0 |=
        place(txsz, upper === 1 ? 16 : 0) |
        place(
          upper === 1
            ? granule === 12
              ? 2
              : granule === 14
                ? 1
                : 3
            : granule === 12
              ? 0
              : granule === 16
                ? 1
                : 2,
          upper === 1 ? 22 : 6,
        ) |
        place(dice.below(64), upper === 1 ? 24 : 8) |
        place(dice.chance(8) ? 1 : 0, upper === 1 ? 30 : 14) |
        place(tbi ? 1 : 0, 38 + upper);
    }
    dw0 |=
      place(dice.chance(20) ? 1 : 0, 35) |
      place(dice.chance(20) ? 1 : 0, 36) |
      place(dice.chance(10) ? 1 : 0, 37) |
      place(dice.chance(25) ? 1 : 0, 40) |
      place(hd ? 1 : 0, 42) |
      place(ha ? 1 : 0, 43) |
      place(f.stallModel === 2 || (f.stallModel === 0 && dice.chance(12)) ? 1 : 0, 44) |
      place(dice.chance(88) ? 1 : 0, 45) |
      place(f.termModel || dice.chance(80) ? 1 : 0, 46) |
      place(dice.below(2), 47) |
      place(dice.below(f.asid16 ? 65536 : 256), 48);
    const half = (upper: number): bigint =>
      (ttb[upper] as bigint) |
      place(dice.chance(15) ? 1 : 0, 1) |
      place(dice.chance(12) ? 1 : 0, 2);
    const haft = f.httu === 3 && ha && dice.chance(40);
    const mair = dice.chance(40) ? dice.wide(64) : 0xff_bb_44_04_00_f4_0c_ffn;
    return [
      dw0,
      half(0) | place(haft ? 1 : 0, 3) | place(dice.chance(30) ? 1 : 0, 59),
      half(1) | place(ds ? 1 : 0, 58),
      mair,
      0n,
      0n,
      0n,
      0n,
    ];
  }

  mapStage1(
    builder: TableBuilder,
    how: { upper: number; ha: boolean; limit: number; tbi: boolean; ssid: number | undefined },
  ): void {
    const { dice } = this;
    const { size, start } = builder.shape;
    const level = dice.chance(60)
      ? 3
      : dice.pick(builder.levels().length === 0 ? [3] : builder.levels());
    if (level < start) return;
    const low = builder.low(level);
    const span = 1n << BigInt(low);
    const va = dice.wide(size) & ~(span - 1n);
    const output = this.target(low, how.limit);
    let d = encodeOutput(builder.shape, output);
    if (dice.chance(how.ha ? 50 : 85)) d |= place(1, 10);
    d |= place(dice.pick([1, 1, 1, 1, 1, 0, 3, 3, 2]), 6);
    d |= place(dice.below(8), 2) | place(dice.below(2), 11);
    if (!builder.shape.ds) d |= place(dice.below(4), 8);
    if (dice.chance(25)) d |= place(dice.below(4), 53);
    if (dice.chance(how.ha ? 50 : 15)) d |= place(1, 51);
    if (dice.chance(10)) d |= place(1, 52);
    if (level < 3 && dice.chance(15)) d |= place(1, 16);
    if (dice.chance(10)) d |= place(dice.below(128), 55);
    builder.map(va, level, d);
    const sign = how.upper === 1 ? (2n ** 64n - 1n) & ~((1n << BigInt(size)) - 1n) : 0n;
    this.inputs.push({ address: va | sign, ssid: how.ssid, span, tbi: how.tbi });
  }

  /** An output of stage 1, mapped by stage 2 more often than not. */
  target(low: number, limit: number): bigint {
    const { dice } = this;
    const span = 1n << BigInt(low);
    const bound = dice.chance(96) ? limit : 52;
    if (this.stage2 === undefined) return dice.wide(bound) & ~(span - 1n);
    const ipa = dice.wide(Math.min(bound, dice.chance(96) ? this.s2input : 52)) & ~(span - 1n);
    if (dice.chance(88)) this.mapIpa(ipa);
    return ipa;
  }

  mapIpa(ipa: bigint): { span: bigint; base: bigint } {
    const { dice } = this;
    const stage2 = this.stage2 as TableBuilder;
    const level = dice.chance(60) ? 3 : dice.pick(stage2.levels());
    const low = stage2.low(level);
    const span = 1n << BigInt(low);
    const inside = ipa & ((1n << BigInt(this.s2input)) - 1n);
    const pa = dice.wide(dice.chance(96) ? this.s2output : 52) & ~(span - 1n);
    this.mapStage2(inside, pa, { level, table: false });
    return { span, base: inside & ~(span - 1n) };
  }

  streamTable(): { sid: number; ste: bigint; base: bigint; cfg: bigint } {
    const { dice, f, space } = this;
    if (!f.twoLevel || dice.chance(55)) {
      const log2 = Math.min(f.sidSize, dice.between(0, 9));
      const sid = dice.below(2 ** log2);
      this.ste.forEach((word, i) => {
        space.put(STRTAB + BigInt(64 * sid + 8 * i), word);
      });
      const literal = log2 === f.sidSize && dice.chance(30) ? log2 + 2 : log2;
      return {
        sid,
        ste: STRTAB + BigInt(64 * sid),
        base: STRTAB,
        cfg: place(literal, 0) | place(dice.pick([0, 0, 2, 3]), 16),
      };
    }
    const code = dice.pick([6, 8, 10, 0, 7]);
    const split = code === 8 || code === 10 ? code : 6;
    const log2 = Math.min(f.sidSize, dice.between(4, 16));
    const sid = dice.below(2 ** log2);
    const index = sid % 2 ** split;
    const need = Math.ceil(Math.log2(index + 1)) + 1;
    const span = dice.between(need, split + 1);
    space.put(STRTAB + BigInt(8 * Math.floor(sid / 2 ** split)), L2TAB | BigInt(span));
    this.ste.forEach((word, i) => {
      space.put(L2TAB + BigInt(64 * index + 8 * i), word);
    });
    return {
      sid,
      ste: L2TAB + BigInt(64 * index),
      base: STRTAB,
      cfg: place(log2, 0) | place(code, 6) | place(1, 16),
    };
  }

  cdTable(): number | undefined {
    const { dice, f, space, ste } = this;
    const ssids = f.ssidSize > 0 && dice.chance(55);
    const max = ssids ? dice.between(1, f.ssidSize) : 0;
    const dss = dice.pick([0, 1, 2, 2, 3]);
    const format = max > 0 && f.cd2l ? dice.below(4) : dice.pick([0, 3]);
    const used: (number | undefined)[] = [];
    if (max === 0) used.push(undefined);
    else {
      if (dss === 2) used.push(undefined);
      used.push(dice.below(2 ** max));
    }
    const twoLevel = max > 0 && (format === 1 || format === 2);
    const split = format === 1 ? 6 : 10;
    let pointer = 0n;
    const limit = this.stage2 === undefined ? 48 : f.oas;
    if (twoLevel)
      pointer = this.structure(1n << BigInt(Math.max(6, max - split + 3)), limit).address;
    else if (this.stage2 === undefined) pointer = LINEAR_CD;
    else pointer = dice.wide(Math.min(f.oas, this.s2input)) & ~((1n << BigInt(max + 6)) - 1n);
    const leaves = new Map<number, TablePlace>();
    for (const ssid of used) {
      const n = ssid ?? 0;
      const words = this.makeCd(ssid);
      let pa: bigint;
      if (twoLevel) {
        const high = Math.floor(n / 2 ** split);
        let leaf = leaves.get(high);
        if (leaf === undefined) {
          leaf = this.structure(1n << BigInt(split + 6), limit);
          leaves.set(high, leaf);
          const l1 = this.physical(pointer + 8n * BigInt(high));
          if (l1 !== undefined && space.read64(l1) !== undefined) space.put(l1, leaf.address | 1n);
        }
        pa = leaf.pa + 64n * BigInt(n % 2 ** split);
      } else if (this.stage2 === undefined) pa = pointer + 64n * BigInt(n);
      else {
        const page = 1n << BigInt(this.stage2.shape.granule);
        const ipa = pointer + 64n * BigInt(n);
        const at = this.space.alloc(page);
        this.mapStage2(ipa & ~(page - 1n), at, { level: 3, table: true });
        pa = at + (ipa & (page - 1n));
      }
      words.forEach((word, i) => {
        if (i < 4) space.put(pa + BigInt(8 * i), word);
        else space.write64(pa + BigInt(8 * i), word);
      });
    }
    ste[0] = (ste[0] as bigint) | pointer | place(format, 4) | place(max, 59);
    ste[1] = (ste[1] as bigint) | place(dss, 0);
    return max;
  }

  physical(address: bigint): bigint | undefined {
    return this.stage2 === undefined ? address : this.lookup(address);
  }

  /** Through the tables that were just built: a table may span several pages of stage 2. */
  lookup(ipa: bigint): bigint | undefined {
    const stage2 = this.stage2 as TableBuilder;
    const { granule, size, start } = stage2.shape;
    let table = stage2.root.pa;
    let top = size;
    for (let level = start; level <= 3; level++) {
      const low = granule + (granule - 3) * (3 - level);
      const index = (ipa & ((1n << BigInt(top)) - 1n)) >> BigInt(low);
      const word = this.space.words.get(table + 8n * index);
      if (word === undefined || (word & 1n) === 0n) return undefined;
      const base =
        granule === 16
          ? (word & 0xffff_ffff_0000n) | (stage2.shape.wide ? ((word >> 12n) & 15n) << 48n : 0n)
          : stage2.shape.ds
            ? (word & 0x3_ffff_ffff_f000n) | (((word >> 8n) & 3n) << 50n)
            : word & 0xffff_ffff_f000n;
      if (level === 3 || (word & 2n) === 0n) {
        const mask = (1n << BigInt(low)) - 1n;
        return (base & ~mask) | (ipa & mask);
      }
      table = base;
      top = low;
    }
    return undefined;
  }

  build(): Omit<TwinCase, 'registers' | 'ste'> & {
    readonly strtab: { ste: bigint; base: bigint; cfg: bigint };
  } {
    const { dice, f, ste, config } = this;
    const strw = f.hyp && config === 5 && dice.chance(35) ? 2 : 0;
    if (strw === 2) this.world = this.e2h ? 'EL2-E2H' : 'EL2';
    ste[0] = 1n | place(config, 1);
    ste[1] =
      place(dice.below(64), 2) |
      place(strw, 30) |
      place(dice.below(16), 32) |
      place(dice.below(2), 36) |
      place(dice.below(16), 37) |
      place(dice.below(4), 44) |
      place(dice.chance(50) ? dice.below(4) : 0, 48) |
      place(dice.chance(30) ? dice.below(4) : 0, 50) |
      place(f.fwb && dice.chance(40) ? 1 : 0, 25);
    ste[2] = place(dice.below(f.vmid16 ? 65536 : 256), 0);
    if ((config & 2) !== 0) this.makeStage2();
    let cdMax: number | undefined;
    if ((config & 1) !== 0) cdMax = this.cdTable();
    if (config === 6 || (config === 7 && cdMax !== undefined && cdMax > 0))
      for (let i = dice.between(1, 3); i > 0; i--) {
        const { span, base } = this.mapIpa(dice.wide(this.s2input));
        this.inputs.push({ address: base, ssid: undefined, span, tbi: false });
      }
    if (this.inputs.length === 0 || config === 4)
      this.inputs.push({ address: dice.wide(f.oas), ssid: undefined, span: 1n, tbi: false });
    const strtab = this.streamTable();
    const accesses = twinAccesses(dice, this.inputs, { sid: strtab.sid, cdMax: cdMax ?? 0 });
    return { space: this.space, strtab, accesses, note: `config ${config} ${this.world}` };
  }
}

/** One case for the features of `idr`. */
export function makeTwinCase(
  dice: Dice,
  f: TwinFeatures,
  idr: Pick<TwinRegisters, 'IDR0' | 'IDR1' | 'IDR3' | 'IDR5' | 'AIDR'>,
): TwinCase {
  const builder = new CaseBuilder(dice, f);
  const { space, strtab, accesses, note } = builder.build();
  let turned = note;
  let cr0 = 0xdn;
  let base = strtab.base;
  let cfg = strtab.cfg;
  if (dice.chance(1.5)) cr0 = 0xcn;
  if (dice.chance(38))
    for (let i = dice.pick([1, 1, 1, 2, 3]); i > 0; i--) {
      const at = dice.pick(space.targets);
      const word = space.words.get(at) ?? 0n;
      const change = dice.chance(85)
        ? 1n << BigInt(dice.below(64))
        : dice.wide(64) & (0xffn << BigInt(dice.below(57)));
      space.words.set(at, word ^ change);
      turned += ` ${at.toString(16)}^${change.toString(16)}`;
    }
  if (dice.chance(2)) base ^= 1n << BigInt(dice.between(4, 55));
  if (dice.chance(2)) cfg ^= 1n << BigInt(dice.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 17]));
  const silent = dice.chance(1);
  if (silent) space.words.set(strtab.ste, (space.words.get(strtab.ste) ?? 0n) & ~8n);
  return {
    registers: {
      ...idr,
      CR0: cr0,
      CR2: (builder.e2h ? 1n : 0n) | (dice.chance(70) ? 2n : 0n),
      GBPA: dice.chance(30) ? 0x10_0000n : dice.wide(18) & 0x3f1fn,
      STRTAB_BASE: base & 0x00ff_ffff_ffff_ffc0n,
      STRTAB_BASE_CFG: BigInt(bits(cfg, 17, 0)),
    },
    space,
    accesses,
    ste: strtab.ste,
    note: turned,
  };
}
