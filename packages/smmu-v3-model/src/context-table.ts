/*
 * From a SubstreamID to a CD (IHI 0070 5.3, 5.4; 3.4.3).
 * Not modelled: CDs in Non-cacheable memory told apart; MPAM.
 */
import { CD_BYTES, L1CD, L1CD_BYTES } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { CachePolicy } from './cache-policy.ts';
import type { CacheUses } from './cache-uses.ts';
import { type CachedContext, decodeContext, type L1ContextEntry } from './context-descriptor.ts';
import type { FaultState } from './fault.ts';
import type { Features } from './features.ts';
import { STRUCTURE_READ } from './permission.lanes.ts';
import type { CachedStream } from './stream-entry.ts';
import { loadStructure } from './stream-table.ts';
import type { Tlb } from './tlb.ts';
import type { TlbEntry } from './tlb-entry.ts';
import type { StructureAccess } from './walk.lanes.ts';

const CD_LANES = CD_BYTES / 4;
const PAGE = 4096;

/** Looks CDs up in memory and keeps them with their stream. */
export class ContextTable {
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #policy: CachePolicy;
  readonly #tlb: Tlb;
  readonly #structures: StructureAccess;
  readonly #detector: CacheUses | undefined;
  readonly #lanes: Uint32Array = new Uint32Array(2);
  /** The stage-2 leaf that the last reachable structure was found through. */
  #under: TlbEntry | undefined = undefined;
  loads = 0;

  constructor(parts: {
    memory: MemoryView;
    features: Features;
    policy: CachePolicy;
    tlb: Tlb;
    structures: StructureAccess;
    detector: CacheUses | undefined;
  }) {
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#policy = parts.policy;
    this.#tlb = parts.tlb;
    this.#structures = parts.structures;
    this.#detector = parts.detector;
  }

  /** Fetches a CD past the CD cache but through the L1CD cache; `undefined` after raising the fault. */
  fetch(stream: CachedStream, ssid: number, fault: FaultState): CachedContext | undefined {
    const { cdSplit, cdMax, contextPtr } = stream;
    if (cdSplit === 0) {
      const table = contextPtr - (contextPtr % 2 ** (cdMax + 6));
      return this.#fetchCd(
        stream,
        { ssid, address: table + ssid * CD_BYTES, l1cd: undefined },
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
    const address = l1cd.table + (ssid - l1cd.firstSsid) * CD_BYTES;
    return this.#fetchCd(stream, { ssid, address, l1cd }, fault);
  }

  #l1cd(stream: CachedStream, ssid: number, fault: FaultState): L1ContextEntry | undefined {
    const size = 2 ** stream.cdSplit;
    const index = Math.floor(ssid / size);
    const { l1cds } = stream.contexts;
    const cached = l1cds.get(index);
    if (cached !== undefined) {
      this.#detector?.checkL1Context(cached, stream, ssid);
      return cached;
    }
    // Aligned to its size; the low bits are taken as zero, which is one of the choices that 5.2 S1Fmt leaves.
    const bytes = 2 ** Math.max(6, stream.cdMax - stream.cdSplit + 3);
    const table1 = stream.contextPtr - (stream.contextPtr % bytes);
    const paddr = this.#place(stream, table1 + index * L1CD_BYTES, fault);
    if (paddr === undefined) return undefined;
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
      under: this.#under,
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
    at: { ssid: number; address: number; l1cd: L1ContextEntry | undefined },
    fault: FaultState,
  ): CachedContext | undefined {
    const { ssid, l1cd } = at;
    const paddr = this.#place(stream, at.address, fault);
    if (paddr === undefined) return undefined;
    const words = new Uint32Array(CD_LANES);
    loadStructure(this.#memory, paddr, words);
    this.loads += CD_LANES / 2;
    const cd = decodeContext(
      words,
      { ssid, paddr, l1cd, under: this.#under },
      { stream, features: this.#features, tlb: this.#tlb },
    );
    const { config } = this.#policy;
    if (config === 'keep' || (config === 'keep-valid' && cd.legal))
      stream.contexts.cds.set(ssid, cd);
    return cd;
  }

  /** Physical address of a structure: an IPA goes through stage 2 (3.4.3); `undefined` after raising the fault. */
  #place(stream: CachedStream, address: number, fault: FaultState): number | undefined {
    this.#under = undefined;
    let paddr = address;
    if (stream.stage2 !== undefined) {
      const page = address - (address % PAGE);
      const under = this.#structures.structure(stream, page, STRUCTURE_READ, 'CD');
      if (under === undefined) return undefined;
      this.#under = under;
      paddr = under.output + (address - under.key);
    }
    if (paddr < 2 ** this.#features.oas && this.#memory.isBacked(paddr)) return paddr;
    fault.raise('F_CD_FETCH', paddr);
    return undefined;
  }
}
