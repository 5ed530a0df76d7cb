/*
 * The twin's translation tables: stage 1 and stage 2 (IHI 0070 3.4, 3.12, 3.13, 13.4; DDI 0487 D8.2-D8.5, D8.7).
 */
import { twinStage1, twinStage2 } from './twin-walker-attributes.lanes.ts';
import type { CdView } from './twin-walker-cd.lanes.ts';
import {
  bits,
  type FaultModel,
  type FaultPlace,
  field,
  type TwinClass,
  type TwinEventName,
  type TwinRun,
  translationFault,
} from './twin-walker-run.lanes.ts';
import { type SteView, stage2Start } from './twin-walker-ste.lanes.ts';

function stage2Model(ste: SteView): FaultModel {
  if (ste.s2s) return { recorded: true, response: 'stall' };
  return { recorded: ste.s2r, response: 'abort' };
}

function stage1Model(run: TwinRun, cd: CdView): FaultModel {
  if (cd.s) return { recorded: true, response: 'stall' };
  return { recorded: cd.r, response: cd.a || run.f.termModel ? 'abort' : 'raz-wi' };
}

interface Geometry {
  readonly granule: number;
  /** Bits of the input address. */
  readonly size: number;
  readonly start: number;
  /** 52-bit descriptors of 4K and 16K pages. */
  readonly ds: boolean;
  /** The implementation's output size: 64K tables hold 52 bits from there on. */
  readonly oas: number;
  /** Effective output size. */
  readonly output: number;
}

/** The output address of a descriptor, bits above `low`, as its format has them. */
function descriptorAddress(g: Geometry, descriptor: bigint, low: number): bigint {
  if (g.granule === 16) {
    const top = g.oas >= 52 ? BigInt(bits(descriptor, 15, 12)) << 48n : 0n;
    return field(descriptor, 47, low) | top;
  }
  if (!g.ds) return field(descriptor, 47, low);
  return field(descriptor, 49, low) | (BigInt(bits(descriptor, 9, 8)) << 50n);
}

function leafAllowed(g: Geometry, level: number): boolean {
  if (level === 3 || level === 2) return true;
  if (g.granule === 12) return level === 1 || (level === 0 && g.ds);
  if (g.granule === 14) return level === 1 && g.ds;
  return level === 1 && g.oas >= 52;
}

interface Found {
  readonly descriptor: bigint;
  /** Physical address of the leaf descriptor. */
  readonly at: bigint;
  readonly address: bigint;
  readonly level: number;
  readonly output: bigint;
}

interface WalkHooks {
  fail(event: TwinEventName): never;
  /** Physical address of a descriptor. */
  locate(address: bigint): bigint;
  aborted(at: bigint): never;
  table(descriptor: bigint, address: bigint): void;
}

/** Levels from `g.start` to a leaf: external abort, invalid, address size in this order at each. */
function walk(run: TwinRun, g: Geometry, base: bigint, input: bigint, hooks: WalkHooks): Found {
  const stride = g.granule - 3;
  let table = base;
  let top = g.size;
  for (let level = g.start; ; level++) {
    const low = g.granule + stride * (3 - level);
    const index = (input & ((1n << BigInt(top)) - 1n)) >> BigInt(low);
    const address = table + 8n * index;
    const at = hooks.locate(address);
    const descriptor = run.memory.read64(at);
    if (descriptor === undefined) hooks.aborted(at);
    const type = bits(descriptor, 1, 0);
    if (type === 0 || type === 2) hooks.fail('F_TRANSLATION');
    if (type === 3 && level < 3) {
      table = descriptorAddress(g, descriptor, g.granule);
      if (table >> BigInt(g.output) !== 0n) hooks.fail('F_ADDR_SIZE');
      hooks.table(descriptor, address);
      top = low;
      continue;
    }
    if (level === 3 ? type !== 3 : !leafAllowed(g, level)) hooks.fail('F_TRANSLATION');
    const page = descriptorAddress(g, descriptor, low);
    const output = page | (input & ((1n << BigInt(low)) - 1n));
    if (output >> BigInt(g.output) !== 0n) hooks.fail('F_ADDR_SIZE');
    return { descriptor, at, address, level, output };
  }
}

/** A root of `2^n` descriptors, aligned to its size; of 52-bit addresses (`ps` is IPS or S2PS, bits) to 64 bytes at the least. */
function alignBase(base: bigint, n: number, ps: number): bigint {
  const low = BigInt(Math.max(n + 3, ps >= 52 ? 6 : 4));
  return (base >> low) << low;
}

const AF = 1n << 10n;

export interface Stage2Request {
  readonly ipa: bigint;
  readonly class: TwinClass;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly privileged: boolean;
}

/** Stage 2 of one address; gives the physical address. */
export function translateStage2(run: TwinRun, ste: SteView, request: Stage2Request): bigint {
  const { ipa } = request;
  const model = stage2Model(ste);
  const place: FaultPlace = { stage: 2, class: request.class, ipa };
  const fail = (event: TwinEventName): never => translationFault(run, event, place, model);
  const size = 64 - ste.s2t0sz;
  if (ipa >> BigInt(size) !== 0n) fail('F_TRANSLATION');
  const granule = ste.granule as number;
  const g: Geometry = {
    granule,
    size,
    start: ste.startLevel as number,
    ds: ste.s2ds,
    oas: run.f.oas,
    output: ste.s2ps,
  };
  const base = alignBase(ste.s2ttb, stage2Start(ste) as number, ste.s2ps);
  const leaf = walk(run, g, base, ipa, {
    fail,
    locate: (address) => address,
    aborted: (at) => translationFault(run, 'F_WALK_EABT', { ...place, fetchAddress: at }, model),
    table: (descriptor, address) => {
      if (ste.s2haft && (descriptor & AF) === 0n) run.memory.write64(address, descriptor | AF);
    },
  });
  const { descriptor } = leaf;
  const bit = (n: number): boolean => bits(descriptor, n, n) === 1;
  if (!bit(10) && !ste.s2ha && !ste.s2affd) fail('F_ACCESS');
  const refuse = (as: 'read' | 'write'): never =>
    translationFault(
      run,
      'F_PERMISSION',
      { ...place, asRead: as === 'read', tableWrite: request.class === 'TT' && request.write },
      model,
    );
  if (request.class !== 'IN') {
    const device = ste.fwb ? !bit(4) : !bit(5) && !bit(4);
    if (ste.s2ptw && device) refuse('write');
  }
  const clean = !bit(7) && bit(51) && ste.s2hd && request.class !== 'CD';
  if (request.execute) {
    const code = bits(descriptor, 54, 53);
    const never = run.f.xnx
      ? [false, request.privileged, true, !request.privileged][code] === true
      : code >= 2;
    if (never) refuse('write');
  } else {
    if (request.write && !bit(7) && !clean) refuse('write');
    if (request.read && !bit(6)) refuse(request.class === 'IN' ? 'read' : 'write');
  }
  if (request.class === 'IN') {
    const sh = ste.s2ds ? bits(ste.dw[2] as bigint, 45, 44) : bits(descriptor, 9, 8);
    run.attributes = twinStage2(run.attributes, { attr: bits(descriptor, 5, 2), sh, fwb: ste.fwb });
  }
  let updated = descriptor;
  if (ste.s2ha) updated |= AF;
  if (request.write && clean) updated |= 1n << 7n;
  if (updated !== descriptor) run.memory.write64(leaf.at, updated);
  return leaf.output;
}

interface Limits {
  noUser: boolean;
  noWrite: boolean;
  userNever: boolean;
  privilegedNever: boolean;
}

/** Stage 1 of the transaction; gives the IPA, or the physical address without stage 2. */
export function translateStage1(run: TwinRun, ste: SteView, cd: CdView): bigint {
  const { access, f } = run;
  const model: FaultModel = stage1Model(run, cd);
  const place: FaultPlace = { stage: 1, class: 'IN' };
  const fail = (event: TwinEventName): never => translationFault(run, event, place, model);
  const va = access.address;
  const upper = cd.world !== 'EL2' && bits(va, 55, 55) === 1;
  const half = cd.halves[upper ? 1 : 0];
  const top = half.tbi ? 55 : 63;
  const size = 64 - half.txsz;
  if (half.disabled) fail('F_TRANSLATION');
  const sign = field(va, top, size);
  if (sign !== (upper ? field(2n ** 64n - 1n, top, size) : 0n)) fail('F_TRANSLATION');
  if (half.e0pd && !run.privileged) fail('F_TRANSLATION');
  const granule = half.granule as number;
  const stride = granule - 3;
  const levels = Math.ceil((size - granule) / stride);
  const start = 4 - levels;
  const resolved = size - granule - stride * (levels - 1);
  const g: Geometry = { granule, size, start, ds: half.ds, oas: f.oas, output: half.ips };
  const stage2 = (ste.config & 2) === 2;
  const locate = (address: bigint, to: 'read' | 'update'): bigint =>
    stage2
      ? translateStage2(run, ste, {
          ipa: address,
          class: 'TT',
          read: true,
          write: to === 'update',
          execute: false,
          privileged: true,
        })
      : address;
  const limits: Limits = {
    noUser: false,
    noWrite: false,
    userNever: false,
    privilegedNever: false,
  };
  const leaf = walk(run, g, alignBase(half.ttb, resolved, half.ips), va, {
    fail,
    locate: (address) => locate(address, 'read'),
    aborted: (at) =>
      translationFault(run, 'F_WALK_EABT', { stage: 1, class: 'TT', fetchAddress: at }, model),
    table: (descriptor, address) => {
      if (!half.had) {
        limits.noUser ||= bits(descriptor, 61, 61) === 1;
        limits.noWrite ||= bits(descriptor, 62, 62) === 1;
        limits.userNever ||= bits(descriptor, 60, 60) === 1;
        limits.privilegedNever ||= bits(descriptor, 59, 59) === 1;
      }
      if (cd.haft && (descriptor & AF) === 0n)
        run.memory.write64(locate(address, 'update'), descriptor | AF);
    },
  });
  const { descriptor } = leaf;
  const bit = (n: number): boolean => bits(descriptor, n, n) === 1;
  if (!bit(10) && !cd.ha && !cd.affd) fail('F_ACCESS');
  const clean = bit(7) && bit(51) && cd.hd;
  const writable = (!bit(7) || clean) && !limits.noWrite;
  let read: boolean;
  let write: boolean;
  let execute: boolean;
  if (cd.world === 'EL2') {
    read = true;
    write = writable;
    execute = !bit(54) && !limits.userNever;
  } else {
    const user = bit(6) && !limits.noUser;
    const userWrite = user && writable;
    const userExecute = !bit(54) && !limits.userNever;
    if (run.privileged) {
      // PAN is about data alone (5.4): WXN of an instruction read sees the page as writable.
      const never = cd.pan && !run.instruction && (user || (cd.epan && userExecute));
      read = !never;
      write = writable && !never;
      execute = !bit(53) && !limits.privilegedNever && !userWrite;
    } else {
      read = user;
      write = userWrite;
      execute = userExecute;
    }
  }
  if (cd.wxn && write) execute = false;
  const refused = run.instruction
    ? !execute
    : (access.write && !write) || ((!access.write || access.atomic === true) && !read);
  let updated = descriptor;
  if (cd.ha && (!refused || run.choices.accessFlagOnPermissionFault)) updated |= AF;
  if (access.write && clean && !refused) updated &= ~(1n << 7n);
  if (updated !== descriptor) run.memory.write64(locate(leaf.address, 'update'), updated);
  if (refused) {
    const asRead = !run.instruction && (!access.write || write);
    translationFault(run, 'F_PERMISSION', { ...place, asRead }, model);
  }
  const index = 8 * bits(descriptor, 4, 2);
  const sh = half.ds
    ? bits(cd.dw[0] as bigint, upper ? 29 : 13, upper ? 28 : 12)
    : bits(descriptor, 9, 8);
  run.attributes = twinStage1(run.attributes, bits(cd.dw[3] as bigint, index + 7, index), sh);
  return leaf.output;
}
