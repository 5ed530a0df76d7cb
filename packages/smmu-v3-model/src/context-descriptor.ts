/*
 * From a SubstreamID to a CD, and what a CD means (IHI 0070 5.3, 5.4).
 * Does not model: CDs behind stage 2, VMSAv8-32, big-endian tables, HTTU, permission indirection, 52-bit addresses (all refused
 * at use); MAIR and AMAIR, as no memory types leave the model; MPAM; ASET's effect on broadcast maintenance, as there is none.
 */
import {
  CD,
  CD_BYTES,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  type GranuleGeometry,
  L1CD,
  L1CD_BYTES,
  startLevel,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import type { FaultState } from './fault.ts';
import { addressSize, type Features } from './features.ts';
import { UnmodelledError } from './model-error.ts';
import type { StaleDetector } from './stale-detector.lanes.ts';
import type { MayBeStale, StaleRecord } from './stale-use.ts';
import { type CachedStream, loadStructure } from './stream-table.ts';
import type { Tlb, TlbSpace } from './tlb.ts';

/** A fetched level-1 context descriptor. */
export interface L1ContextEntry extends MayBeStale {
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  readonly valid: boolean;
  readonly table: number;
  readonly firstSsid: number;
  readonly lastSsid: number;
}

/** Translation parameters of one half of the address space. */
export interface Half {
  readonly upper: boolean;
  /** EPDx=1: no walk. */
  readonly disabled: boolean;
  readonly tbi: boolean;
  readonly e0pd: boolean;
  /** APTable, UXNTable and PXNTable are ignored. */
  readonly had: boolean;
  readonly granule: GranuleGeometry;
  /** Bytes of the input range, a power of two. */
  readonly bytes: number;
  readonly startLevel: number;
  /** Root table, aligned as hardware aligns it. */
  readonly root: number;
}

/** A fetched CD, decoded. */
export interface CachedContext extends MayBeStale {
  readonly ssid: number;
  readonly paddr: number;
  readonly words: Uint32Array;
  readonly l1cd: L1ContextEntry | undefined;
  readonly legal: boolean;
  readonly space: TlbSpace;
  readonly lower: Half;
  readonly upper: Half;
  /** Effective output size, bits. */
  readonly ips: number;
  readonly affd: boolean;
  readonly wxn: boolean;
  readonly pan: boolean;
  readonly epan: boolean;
  readonly a: boolean;
  readonly r: boolean;
  readonly s: boolean;
  stale: StaleRecord | undefined;
}

const CD_LANES = 16;

const DISABLED: Half = {
  upper: true,
  disabled: true,
  tbi: false,
  e0pd: false,
  had: false,
  granule: GRANULE_4K,
  bytes: 2 ** 48,
  startLevel: 0,
  root: 0,
};

/** Looks CDs up in memory and keeps them with their stream. */
export class ContextTable {
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #policy: CachePolicy;
  readonly #tlb: Tlb;
  readonly #detector: StaleDetector | undefined;
  readonly #lanes: Uint32Array = new Uint32Array(2);
  loads = 0;

  constructor(parts: {
    memory: MemoryView;
    features: Features;
    policy: CachePolicy;
    tlb: Tlb;
    detector: StaleDetector | undefined;
  }) {
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#policy = parts.policy;
    this.#tlb = parts.tlb;
    this.#detector = parts.detector;
  }

  /** Fetches a CD past the CD cache but through the L1CD cache; `undefined` after raising the fault. */
  fetch(stream: CachedStream, ssid: number, fault: FaultState): CachedContext | undefined {
    const { cdSplit, cdMax, contextPtr } = stream;
    if (cdSplit === 0) {
      const table = contextPtr - (contextPtr % 2 ** (cdMax + 6));
      return this.#fetchCd(
        stream,
        { ssid, paddr: table + ssid * CD_BYTES, l1cd: undefined },
        fault,
      );
    }
    const l1cd = this.#l1cd(stream, ssid, fault);
    if (l1cd === undefined) return undefined;
    if (!l1cd.valid) {
      fault.raise('C_BAD_SUBSTREAMID', 0);
      fault.substreamId = ssid;
      return undefined;
    }
    const paddr = l1cd.table + (ssid - l1cd.firstSsid) * CD_BYTES;
    return this.#fetchCd(stream, { ssid, paddr, l1cd }, fault);
  }

  #l1cd(stream: CachedStream, ssid: number, fault: FaultState): L1ContextEntry | undefined {
    const size = 2 ** stream.cdSplit;
    const index = Math.floor(ssid / size);
    const { l1cds } = stream.contexts;
    const cached = l1cds.get(index);
    if (cached !== undefined) {
      this.#detector?.checkL1Context(cached, stream.streamId, ssid);
      return cached;
    }
    const paddr = stream.contextPtr + index * L1CD_BYTES;
    if (this.#unreachable(paddr)) {
      fault.raise('F_CD_FETCH', paddr);
      return undefined;
    }
    const lanes = this.#lanes;
    const lo = this.#memory.load64(paddr);
    const { hi } = this.#memory;
    lanes[0] = lo;
    lanes[1] = hi;
    this.loads++;
    const pointer = L1CD.get.L2Ptr(lanes);
    // Bits 15:12 of a pointer to a 64 KiB leaf are RES0.
    const table = pointer - (pointer % (size * CD_BYTES));
    const entry: L1ContextEntry = {
      paddr,
      lo,
      hi,
      valid: L1CD.get.V(lanes) === 1 && pointer < 2 ** this.#features.oas,
      table,
      firstSsid: index * size,
      lastSsid: index * size + size - 1,
      stale: undefined,
    };
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && entry.valid)) l1cds.set(index, entry);
    return entry;
  }

  #fetchCd(
    stream: CachedStream,
    at: { ssid: number; paddr: number; l1cd: L1ContextEntry | undefined },
    fault: FaultState,
  ): CachedContext | undefined {
    const { ssid, paddr, l1cd } = at;
    if (this.#unreachable(paddr)) {
      fault.raise('F_CD_FETCH', paddr);
      return undefined;
    }
    const words = new Uint32Array(CD_LANES);
    loadStructure(this.#memory, paddr, words);
    this.loads += CD_LANES / 2;
    const f = this.#features;
    const legal = isLegalContext(words, stream, f);
    if (legal) refuseUnmodelled(words, stream, f);
    const { get } = CD;
    const el2 = stream.world === 1;
    const cd: CachedContext = {
      ssid,
      paddr,
      words,
      l1cd,
      legal,
      space: this.#tlb.space({
        world: stream.world,
        vmid: stream.vmid,
        asid: el2 ? -1 : get.ASID(words),
        aset: el2 ? 0 : get.ASET(words),
      }),
      lower: lowerHalf(words, el2, f),
      upper: el2 ? DISABLED : upperHalf(words, f),
      ips: effectiveIps(words, f),
      affd: get.AFFD(words) === 1,
      wxn: get.WXN(words) === 1,
      pan: !el2 && get.PAN(words) === 1,
      epan: f.epan && get.EPAN(words) === 1,
      a: get.A(words) === 1,
      r: get.R(words) === 1,
      s: get.S(words) === 1,
      stale: undefined,
    };
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && legal)) stream.contexts.cds.set(ssid, cd);
    return cd;
  }

  #unreachable(paddr: number): boolean {
    return paddr >= 2 ** this.#features.oas || !this.#memory.isBacked(paddr);
  }
}

/** Bits 55:52 of a table address belong to 56-bit addresses and are ignored without them. */
function tableAddress(ttb: number): number {
  return ttb % 2 ** 52;
}

function effectiveIps(words: Uint32Array, f: Features): number {
  return Math.min(addressSize(CD.get.IPS(words)), f.oas);
}

const TG0_GRANULES: readonly (GranuleGeometry | undefined)[] = [
  GRANULE_4K,
  GRANULE_64K,
  GRANULE_16K,
];
const TG1_GRANULES: readonly (GranuleGeometry | undefined)[] = [
  undefined,
  GRANULE_16K,
  GRANULE_4K,
  GRANULE_64K,
];

/** The granule, `undefined` for a reserved or absent one; TG0 and TG1 are encoded differently (5.4). */
function granuleOf(upper: boolean, tg: number, f: Features): GranuleGeometry | undefined {
  const granule = (upper ? TG1_GRANULES : TG0_GRANULES)[tg];
  if (granule === GRANULE_4K) return f.gran4k ? granule : undefined;
  if (granule === GRANULE_16K) return f.gran16k ? granule : undefined;
  return f.gran64k ? granule : undefined;
}

function makeHalf(
  fields: { upper: boolean; disabled: boolean; txsz: number; tg: number; ttb: number },
  options: { tbi: boolean; e0pd: boolean; had: boolean },
  f: Features,
): Half {
  const { upper, disabled, txsz, ttb } = fields;
  // An ILLEGAL CD is cached too, and never walked: its half may be anything.
  const granule = granuleOf(upper, fields.tg, f) ?? GRANULE_4K;
  const bytes = 2 ** (64 - txsz);
  const level = Math.min(3, Math.max(0, startLevel(granule, txsz)));
  const rootBytes = (bytes / (granule.entryBytes[level] as number)) * 8;
  const root = ttb - (ttb % Math.max(16, rootBytes));
  return { upper, disabled, granule, bytes, startLevel: level, root, ...options };
}

function lowerHalf(words: Uint32Array, el2: boolean, f: Features): Half {
  const { get } = CD;
  return makeHalf(
    {
      upper: false,
      disabled: !el2 && get.EPD0(words) === 1,
      txsz: get.T0SZ(words),
      tg: get.TG0(words),
      ttb: tableAddress(get.TTB0(words)),
    },
    {
      tbi: get.TBI0(words) === 1,
      e0pd: !el2 && f.e0pd && get.E0PD0(words) === 1,
      had: f.had && get.HAD0(words) === 1,
    },
    f,
  );
}

function upperHalf(words: Uint32Array, f: Features): Half {
  const { get } = CD;
  return makeHalf(
    {
      upper: true,
      disabled: get.EPD1(words) === 1,
      txsz: get.T1SZ(words),
      tg: get.TG1(words),
      ttb: tableAddress(get.TTB1(words)),
    },
    {
      tbi: get.TBI1(words) === 1,
      e0pd: f.e0pd && get.E0PD1(words) === 1,
      had: f.had && get.HAD1(words) === 1,
    },
    f,
  );
}

/** The rules of 5.4 that make a CD ILLEGAL; both halves are checked whichever the address uses. */
export function isLegalContext(words: Uint32Array, stream: CachedStream, f: Features): boolean {
  const { get } = CD;
  if (get.V(words) === 0) return false;
  const el2 = stream.world === 1;
  const stall = get.S(words) === 1;
  if (stall && (stream.stallDisabled || f.stallModel === 1)) return false;
  if (!stall && f.stallModel === 2) return false;
  if (f.termModel && get.A(words) === 0) return false;
  const half0 = el2 || get.EPD0(words) === 0;
  const half1 = !el2 && get.EPD1(words) === 0;
  if ((half0 || half1) && !endianSupported(get.ENDI(words), f)) return false;
  if (get.AA64(words) === 0) {
    if (!f.lpae32 || stream.world === 2) return false;
    return true;
  }
  if (!f.aarch64) return false;
  if (!legalUpdates(words, f)) return false;
  if (!el2 && !f.asid16 && get.ASID(words) > 0xff) return false;
  const ips = effectiveIps(words, f);
  const ds = f.ds && get.DS(words) === 1;
  if (half0) {
    const granule = granuleOf(false, get.TG0(words), f);
    if (!legalHalf(granule, get.T0SZ(words), tableAddress(get.TTB0(words)), { ips, ds, f }))
      return false;
  }
  if (half1) {
    const granule = granuleOf(true, get.TG1(words), f);
    if (!legalHalf(granule, get.T1SZ(words), tableAddress(get.TTB1(words)), { ips, ds, f }))
      return false;
  }
  return true;
}

function endianSupported(big: number, f: Features): boolean {
  if (f.ttEndian === 0) return true;
  return (f.ttEndian === 3) === (big === 1);
}

function legalUpdates(words: Uint32Array, f: Features): boolean {
  const { get } = CD;
  if (get.HA(words) === 1 && f.httu === 0) return false;
  if (get.HD(words) === 1 && f.httu < 2) return false;
  return !(f.httu === 3 && get.HAFT(words) === 1 && get.HA(words) === 0);
}

function legalHalf(
  granule: GranuleGeometry | undefined,
  txsz: number,
  ttb: number,
  limits: { ips: number; ds: boolean; f: Features },
): boolean {
  const { ips, ds, f } = limits;
  if (granule === undefined) return false;
  const wide = granule === GRANULE_64K ? f.vax >= 52 : ds;
  const most = f.stt ? (granule === GRANULE_64K ? 47 : 48) : 39;
  if (txsz < (wide ? 12 : 16) || txsz > most) return false;
  const bits = granule === GRANULE_64K || ds ? ips : Math.min(ips, 48);
  return ttb < 2 ** bits;
}

/** Refuses a legal CD whose features the model lacks, at the point of use. */
function refuseUnmodelled(words: Uint32Array, stream: CachedStream, f: Features): void {
  const { get } = CD;
  const { streamId } = stream;
  if (get.AA64(words) === 0)
    throw new UnmodelledError('UNMODELLED_LPAE32', { streamId }, 'the CD selects VMSAv8-32 tables');
  if (get.ENDI(words) === 1)
    throw new UnmodelledError(
      'UNMODELLED_BIG_ENDIAN',
      { streamId },
      'the CD selects big-endian tables',
    );
  if (get.HA(words) === 1)
    throw new UnmodelledError(
      'UNMODELLED_HTTU',
      { streamId },
      'the CD enables hardware update (HA)',
    );
  if ((f.s1pi && get.PIE(words) === 1) || (f.aie && get.AIE(words) === 1))
    throw new UnmodelledError(
      'UNMODELLED_PERMISSION_INDIRECTION',
      { streamId },
      'the CD enables indirect permissions or attributes',
    );
  const ds = f.ds && get.DS(words) === 1;
  const wide64 =
    (usesGranule(words, GRANULE_64K, f) &&
      (effectiveIps(words, f) > 48 || smallestTxsz(words) < 16)) ||
    ds;
  if (wide64)
    throw new UnmodelledError(
      'UNMODELLED_52BIT',
      { streamId },
      'the CD selects addresses above 48 bits',
    );
}

function usesGranule(words: Uint32Array, granule: GranuleGeometry, f: Features): boolean {
  const { get } = CD;
  return (
    (get.EPD0(words) === 0 && granuleOf(false, get.TG0(words), f) === granule) ||
    (get.EPD1(words) === 0 && granuleOf(true, get.TG1(words), f) === granule)
  );
}

function smallestTxsz(words: Uint32Array): number {
  const { get } = CD;
  const lower = get.EPD0(words) === 0 ? get.T0SZ(words) : 64;
  const upper = get.EPD1(words) === 0 ? get.T1SZ(words) : 64;
  return Math.min(lower, upper);
}
