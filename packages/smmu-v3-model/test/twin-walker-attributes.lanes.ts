/*
 * The memory attributes with which the twin lets a transaction out (IHI 0070 13.1-13.5, 5.4 MAIR; DDI 0487 D8.6 for S2FWB).
 */
import { bits } from './twin-walker-run.lanes.ts';

export interface TwinHints {
  readonly policy: 'NC' | 'WT' | 'WB';
  readonly readAllocate: boolean;
  readonly writeAllocate: boolean;
  readonly transient: boolean;
}

export interface TwinAttributes {
  readonly type: 'Device-nGnRnE' | 'Device-nGnRE' | 'Device-nGRE' | 'Device-GRE' | 'Normal';
  readonly inner: TwinHints;
  readonly outer: TwinHints;
  readonly shareability: 'NSH' | 'OSH' | 'ISH';
}

const DEVICE = ['Device-nGnRnE', 'Device-nGnRE', 'Device-nGRE', 'Device-GRE'] as const;
/** By two bits; 01 acts as 00 (5.2 S2SH0, DDI 0487 D8.6). */
const SHAREABILITY = ['NSH', 'NSH', 'OSH', 'ISH'] as const;

const ALL = { readAllocate: true, writeAllocate: true, transient: false } as const;

/** 13.1.3. */
export const TWIN_INCOMING: TwinAttributes = {
  type: 'Normal',
  inner: { policy: 'WB', ...ALL },
  outer: { policy: 'WB', ...ALL },
  shareability: 'NSH',
};

export interface TwinOverride {
  readonly mtcfg: number;
  readonly memattr: number;
  readonly alloccfg: number;
  readonly shcfg: number;
}

const POLICY = ['NC', 'NC', 'WT', 'WB'] as const;

/** The stage 2 encoding of MemAttr; policies alone. */
function memAttr(
  code: number,
): Pick<TwinAttributes, 'type'> & { inner: 'NC' | 'WT' | 'WB'; outer: 'NC' | 'WT' | 'WB' } {
  const outer = code >> 2;
  const inner = code & 3;
  if (outer === 0)
    return { type: DEVICE[inner] as TwinAttributes['type'], inner: 'NC', outer: 'NC' };
  if (inner === 0) return { type: 'Device-nGnRnE', inner: 'NC', outer: 'NC' };
  return { type: 'Normal', inner: POLICY[inner] as 'NC', outer: POLICY[outer] as 'NC' };
}

function cacheable(a: TwinAttributes): boolean {
  return a.type === 'Normal' && (a.inner.policy !== 'NC' || a.outer.policy !== 'NC');
}

/** 13.1.4. */
export function twinReplace(a: TwinAttributes, o: TwinOverride): TwinAttributes {
  let { type, inner, outer, shareability } = a;
  if (o.mtcfg === 1) {
    const to = memAttr(o.memattr);
    const level = (from: TwinHints, policy: 'NC' | 'WT' | 'WB'): TwinHints =>
      type !== 'Normal' || from.policy === 'NC' ? { policy, ...ALL } : { ...from, policy };
    inner = level(inner, to.inner);
    outer = level(outer, to.outer);
    type = to.type;
  }
  if (o.alloccfg >= 8) {
    const hints = {
      readAllocate: (o.alloccfg & 4) !== 0,
      writeAllocate: (o.alloccfg & 2) !== 0,
      transient: (o.alloccfg & 1) !== 0,
    };
    if (inner.policy !== 'NC') inner = { ...inner, ...hints };
    if (outer.policy !== 'NC') outer = { ...outer, ...hints };
  }
  if (o.shcfg !== 1) shareability = SHAREABILITY[o.shcfg] as 'NSH';
  return { type, inner, outer, shareability };
}

function mairLevel(code: number): TwinHints {
  if (code === 4)
    return { policy: 'NC', readAllocate: false, writeAllocate: false, transient: false };
  return {
    policy: (code & 4) === 0 ? 'WT' : 'WB',
    readAllocate: (code & 2) !== 0,
    writeAllocate: (code & 1) !== 0,
    transient: (code & 8) === 0 && (code & 3) !== 0,
  };
}

function stronger<T>(order: readonly T[], a: T, b: T): T {
  return order.indexOf(a) < order.indexOf(b) ? a : b;
}

const POLICY_ORDER = ['NC', 'WT', 'WB'] as const;
const SHARE_ORDER = ['OSH', 'ISH', 'NSH'] as const;
const TYPE_ORDER = [...DEVICE, 'Normal'] as const;

/** Stage 1: MAIR and shareability replace, hints of a cacheable input combine (13.4.2). */
export function twinStage1(a: TwinAttributes, mair: number, sh: number): TwinAttributes {
  const shareability = SHAREABILITY[sh] as 'NSH';
  if (mair < 16) return { ...a, type: DEVICE[(mair >> 2) & 3] as 'Device-GRE', shareability };
  const level = (code: number, from: TwinHints): TwinHints => {
    const to = mairLevel(code);
    if (!cacheable(a) || to.policy === 'NC') return to;
    return {
      policy: to.policy,
      readAllocate: to.readAllocate && (from.policy === 'NC' || from.readAllocate),
      writeAllocate: to.writeAllocate && (from.policy === 'NC' || from.writeAllocate),
      transient: to.transient || (from.policy !== 'NC' && from.transient),
    };
  };
  return {
    type: 'Normal',
    inner: level(mair & 15, a.inner),
    outer: level(mair >> 4, a.outer),
    shareability,
  };
}

/** Stage 2: the stronger of both, or what S2FWB forces (13.1.5, 13.1.6). */
export function twinStage2(
  a: TwinAttributes,
  s2: { attr: number; sh: number; fwb: boolean },
): TwinAttributes {
  const shareability = stronger(SHARE_ORDER, a.shareability, SHAREABILITY[s2.sh] as 'NSH');
  if (s2.fwb) {
    if ((s2.attr & 4) === 0)
      return {
        ...a,
        type: stronger(TYPE_ORDER, a.type, DEVICE[s2.attr & 3] as 'Normal'),
        shareability,
      };
    const code = s2.attr & 3;
    if (code === 3) return { ...a, shareability };
    if (code === 2) {
      const level = (from: TwinHints): TwinHints =>
        a.type === 'Normal' && from.policy !== 'NC'
          ? { ...from, policy: 'WB' }
          : { policy: 'WB', ...ALL };
      return { type: 'Normal', inner: level(a.inner), outer: level(a.outer), shareability };
    }
    if (a.type !== 'Normal') return { ...a, shareability };
    return {
      ...a,
      inner: { ...a.inner, policy: 'NC' },
      outer: { ...a.outer, policy: 'NC' },
      shareability,
    };
  }
  const to = memAttr(s2.attr);
  const type = stronger(TYPE_ORDER, a.type, to.type);
  return {
    type,
    inner: { ...a.inner, policy: stronger(POLICY_ORDER, a.inner.policy, to.inner) },
    outer: { ...a.outer, policy: stronger(POLICY_ORDER, a.outer.policy, to.outer) },
    shareability,
  };
}

/** 13.1.7. */
export function twinConsistent(a: TwinAttributes): TwinAttributes {
  const none: TwinHints = {
    policy: 'NC',
    readAllocate: false,
    writeAllocate: false,
    transient: false,
  };
  if (a.type !== 'Normal') return { type: a.type, inner: none, outer: none, shareability: 'OSH' };
  const level = (h: TwinHints): TwinHints =>
    h.policy === 'NC'
      ? none
      : { ...h, transient: h.transient && (h.readAllocate || h.writeAllocate) };
  const inner = level(a.inner);
  const outer = level(a.outer);
  const both = inner.policy === 'NC' && outer.policy === 'NC';
  return { type: 'Normal', inner, outer, shareability: both ? 'OSH' : a.shareability };
}

/** The override fields of dw1 of an STE, or of GBPA moved to the same places. */
export function steOverride(dw1: bigint): TwinOverride {
  return {
    memattr: bits(dw1, 35, 32),
    mtcfg: bits(dw1, 36, 36),
    alloccfg: bits(dw1, 40, 37),
    shcfg: bits(dw1, 45, 44),
  };
}

export function gbpaOverride(gbpa: bigint): TwinOverride {
  return {
    memattr: bits(gbpa, 3, 0),
    mtcfg: bits(gbpa, 4, 4),
    alloccfg: bits(gbpa, 11, 8),
    shcfg: bits(gbpa, 13, 12),
  };
}
