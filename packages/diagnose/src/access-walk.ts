import {
  CD,
  EVENT_CODE,
  EVENTS,
  L1CD,
  L1CD_BYTES,
  L1STD,
  S1DSS,
  STE,
  STE_CONFIG,
} from '@iommukit/arm-arch';
import { hex, type U64 } from '@iommukit/bits';
import type { DmaAccess, DmaResult, SmmuEvent } from '@iommukit/smmu-v3-model';
import { type MetDescriptor, walkOf } from './descriptor-walk.ts';
import type { DumpImage } from './dump-image.ts';
import type { Watch } from './dump-memory.ts';
import { eventOf, modelOfDump } from './dump-model.ts';
import {
  type AnyLayout,
  type EntryView,
  lanesOf,
  loadWords,
  numberOf,
  viewOf,
} from './field-view.ts';
import { placeOfCd, readStream, type StreamConfig } from './stream-config.ts';
import { placeOfSte } from './stream-entries.ts';
import { layoutOf, stage1Shape } from './table-shape.ts';

/**
 * One fetch of a walk. `stage` and `level` belong to descriptors; `for` says what a stage-2 descriptor was read for. `entry` is absent
 * where the dump does not hold the address. `says` is what the entry makes of the access.
 * @example const raw = (step: WalkStep) => step.entry?.words[0];
 */
export interface WalkStep {
  readonly what: 'L1STD' | 'STE' | 'L1CD' | 'CD' | 'descriptor';
  readonly address: U64;
  readonly entry: EntryView | undefined;
  readonly section: string;
  readonly says: string;
  readonly stage?: 1 | 2;
  readonly level?: number;
  readonly for?: string;
}

/**
 * What became of the access. `not-in-dump`: the walk needed memory that the dump lacks, so nothing is known.
 * @example if (result.outcome === 'ok') result.paddr;
 */
export type WalkResult =
  | { readonly outcome: 'ok' | 'bypass'; readonly paddr: U64 }
  | { readonly outcome: 'abort'; readonly reason: string }
  | { readonly outcome: 'fault' | 'stall'; readonly event: SmmuEvent }
  | { readonly outcome: 'not-in-dump'; readonly address: U64 };

/**
 * The walk of one access: what the model fetched, in order and decoded, and the result. `section` decided it. `unaccounted` are loads of
 * the model that are no step here: none, when both readings of the tables agree.
 * @example const fault = (walk: AccessWalk) => walk.result.outcome === 'fault';
 */
export interface AccessWalk {
  readonly access: DmaAccess;
  readonly steps: readonly WalkStep[];
  readonly result: WalkResult;
  readonly section: string;
  readonly unaccounted: readonly U64[];
}

/** What the model loaded and missed, by address. */
interface Seen {
  readonly loads: ReadonlySet<number>;
  readonly absent: ReadonlySet<number>;
}

/**
 * Sends one access through the model over a dump and reports every fetch that it made. The model decides which structures are read
 * and what the outcome is; this reader only says what each of them is. Throws `UnmodelledError` for what the model refuses.
 * @example walkAccess(openDump('linux-6.12-strict-up'), { streamId: 8, address: { lo: 0xfffff000, hi: 0 }, rw: 'write' }).result
 */
export function walkAccess(image: DumpImage, access: DmaAccess): AccessWalk {
  image.memory.restore();
  const model = modelOfDump(image);
  const done: { result?: DmaResult } = {};
  const watch = image.memory.watching(() => {
    done.result = model.translate(access);
  });
  image.memory.restore();
  const answer = done.result as DmaResult;
  const reader = new StepReader(image, access, watch);
  reader.run();
  const result = resultOf(answer, watch);
  return {
    access,
    steps: reader.steps,
    result,
    section: sectionOf(answer, result, image),
    unaccounted: reader.unaccounted(),
  };
}

function resultOf(answer: DmaResult, watch: Watch): WalkResult {
  if (answer.outcome === 'ok' || answer.outcome === 'bypass')
    return { outcome: answer.outcome, paddr: lanesOf(answer.paddr) };
  if (answer.outcome === 'abort') return { outcome: 'abort', reason: answer.reason };
  const { event } = answer;
  const fetch = 'fetchAddress' in event ? event.fetchAddress : undefined;
  if (typeof fetch === 'number' && watch.absent.has(fetch))
    return { outcome: 'not-in-dump', address: lanesOf(fetch) };
  return { outcome: answer.outcome, event };
}

const ABORT_SECTION: Readonly<Record<string, string>> = {
  'gbpa-abort': 'IHI 0070 6.3.14',
  'address-above-oas': 'IHI 0070 3.4',
  'ste-abort': 'IHI 0070 5.2',
  'bad-stream-id-unrecorded': 'IHI 0070 7.3.3',
};

function sectionOf(answer: DmaResult, result: WalkResult, image: DumpImage): string {
  const event = eventOf(answer);
  if (result.outcome === 'not-in-dump') return 'none: the dump lacks what decides';
  if (event !== undefined) return EVENTS.get(EVENT_CODE[event.event])?.info.spec ?? 'IHI 0070 7.3';
  if (answer.outcome === 'abort') return ABORT_SECTION[answer.reason] ?? 'IHI 0070 3.4';
  if (answer.outcome === 'bypass')
    return image.programming.enabled ? 'IHI 0070 5.2' : 'IHI 0070 6.3.14';
  return 'DDI 0487 D8.3';
}

/** Names the model's loads, one structure after the other, as far as the model went. */
class StepReader {
  readonly steps: WalkStep[] = [];
  readonly #image: DumpImage;
  readonly #access: DmaAccess;
  readonly #seen: Seen;
  readonly #named = new Set<number>();
  readonly #watch: Watch;

  constructor(image: DumpImage, access: DmaAccess, watch: Watch) {
    this.#image = image;
    this.#access = access;
    this.#watch = watch;
    this.#seen = { loads: new Set(watch.loads), absent: watch.absent };
  }

  /** Loads that no step covers. */
  unaccounted(): U64[] {
    return [...new Set(this.#watch.loads)].filter((at) => !this.#named.has(at)).map(lanesOf);
  }

  run(): void {
    const image = this.#image;
    const { streamId } = this.#access;
    const place = placeOfSte(image, streamId);
    if (place.l1at !== undefined) {
      const ok = this.#entry('L1STD', L1STD, place.l1at, (words) => {
        const span = L1STD.get.Span(words);
        return span === 0
          ? 'Span 0: no STE'
          : `${2 ** (span - 1)} STEs at ${hex(L1STD.get.L2Ptr(words))}`;
      });
      if (ok === undefined) return;
    }
    if (place.at === undefined) {
      if (place.lacking !== undefined) this.#absent('STE', STE, place.lacking);
      return;
    }
    const words = this.#entry('STE', STE, place.at, steSays);
    if (words === undefined) return;
    const stream = readStream(image, streamId, place.at);
    if (stream.mode === 'stage2')
      this.#stage2(stream, numberOf(this.#access.address), 'the access');
    if (stream.mode === 'stage1' || stream.mode === 'nested') this.#stage1(stream);
  }

  #stage1(stream: StreamConfig): void {
    const ssid = this.#access.substreamId ?? 0;
    const pointer = STE.get.S1ContextPtr(stream.words);
    if (stream.cdSplit > 0) {
      const address = pointer + Math.floor(ssid / 2 ** stream.cdSplit) * L1CD_BYTES;
      this.#stage2(stream, address, 'the level 1 context descriptor');
    }
    const found = placeOfCd(this.#image, stream, ssid);
    if (found.l1at !== undefined) {
      const ok = this.#entry('L1CD', L1CD, found.l1at, (words) =>
        L1CD.get.V(words) === 1 ? `CDs at ${hex(L1CD.get.L2Ptr(words))}` : 'V=0: no CDs',
      );
      if (ok === undefined) return;
    }
    if (stream.cdSplit === 0)
      this.#stage2(stream, pointer - (pointer % 2 ** (stream.cdMax + 6)) + ssid * 64, 'the CD');
    else if (found.l1at !== undefined) {
      const l1 = loadWords(this.#image.memory, found.l1at, L1CD.lanes);
      const array = L1CD.get.L2Ptr(l1);
      const base = array - (array % (2 ** stream.cdSplit * 64));
      this.#stage2(stream, base + (ssid % 2 ** stream.cdSplit) * 64, 'the CD');
    }
    if (found.at === undefined) {
      this.#lackingCd(pointer);
      return;
    }
    const cd = this.#entry('CD', CD, found.at, cdSays);
    if (cd !== undefined) this.#translate(stream, cd);
  }

  #lackingCd(pointer: number): void {
    for (const at of this.#seen.absent)
      if (at >= pointer && at < pointer + 2 ** 26) {
        this.#absent('CD', CD, at);
        return;
      }
  }

  #translate(stream: StreamConfig, cd: Uint32Array): void {
    const { lo, hi } = this.#access.address;
    const upper = Math.floor(hi / 2 ** 23) % 2 === 1 && STE.get.STRW(stream.words) !== 2;
    const shape = stage1Shape(cd, upper ? 'upper' : 'lower');
    if (shape === undefined) return;
    const tbi = (upper ? CD.get.TBI1(cd) : CD.get.TBI0(cd)) === 1;
    const offset = lo % 4096;
    let page = numberOf({ lo: lo - offset, hi });
    if (tbi) page = (page % 2 ** 56) + (upper ? 255 * 2 ** 56 : 0);
    if (page < shape.base || page >= shape.base + shape.bytes) return;
    const through = stream.stage2;
    let output: number | undefined;
    const source = { image: this.#image, through };
    for (const met of walkOf(source, shape, page)) {
      this.#stage2(stream, met.address, `the stage 1 level ${met.level} descriptor`);
      if (!this.#descriptor(met)) return;
      if (met.kind === 'page' || met.kind === 'block') output = met.output + (page % met.size);
    }
    if (output !== undefined) this.#stage2(stream, output + offset, 'the access');
  }

  /** The stage-2 walk of one address, where stage 2 is on and the model did walk it. */
  #stage2(stream: StreamConfig, address: number, purpose: string): void {
    const shape = stream.stage2;
    if (shape === undefined || address >= shape.bytes) return;
    const source = { image: this.#image, through: undefined };
    const page = address - (address % 4096);
    for (const met of walkOf(source, shape, page)) if (!this.#descriptor(met, purpose)) return;
  }

  /** Adds a descriptor that the model met; false when it did not go that far. */
  #descriptor(met: MetDescriptor, purpose?: string): boolean {
    const { at, shape, level } = met;
    if (at === undefined) return false;
    const common = {
      what: 'descriptor' as const,
      address: lanesOf(at),
      stage: shape.stage,
      level,
      ...(purpose === undefined ? {} : { for: purpose }),
    };
    if (met.kind === 'absent') {
      if (!this.#seen.absent.has(at)) return false;
      const { spec } = layoutOf(shape, 'page').info;
      this.steps.push({ ...common, entry: undefined, section: spec, says: 'not in the dump' });
      return false;
    }
    if (!this.#seen.loads.has(at)) return false;
    const layout = layoutOf(shape, met.kind);
    const words = loadWords(this.#image.memory, at, 2);
    this.#named.add(at);
    const entry = viewOf(layout, words, at);
    this.steps.push({ ...common, entry, section: entry.section, says: descriptorSays(met) });
    return true;
  }

  /** Adds a structure that the model loaded; undefined when it did not, or could not. */
  #entry(
    what: 'L1STD' | 'STE' | 'L1CD' | 'CD',
    layout: AnyLayout,
    at: number,
    says: (words: Uint32Array) => string,
  ): Uint32Array | undefined {
    if (this.#seen.absent.has(at)) this.#absent(what, layout, at);
    if (!this.#seen.loads.has(at)) return undefined;
    const words = loadWords(this.#image.memory, at, layout.lanes);
    for (let i = 0; i < layout.lanes; i += 2) this.#named.add(at + i * 4);
    const entry = viewOf(layout, words, at);
    this.steps.push({
      what,
      address: lanesOf(at),
      entry,
      section: entry.section,
      says: says(words),
    });
    return words;
  }

  #absent(what: WalkStep['what'], layout: AnyLayout, at: number): void {
    const { spec } = layout.info;
    const address = lanesOf(at);
    this.steps.push({ what, address, entry: undefined, section: spec, says: 'not in the dump' });
  }
}

function steSays(words: Uint32Array): string {
  const { get } = STE;
  if (get.V(words) === 0) return 'V=0: invalid';
  const config = get.Config(words);
  const pointer = hex(get.S1ContextPtr(words));
  if (config < STE_CONFIG.BYPASS) return 'Config: abort';
  if (config === STE_CONFIG.BYPASS) return 'Config: bypass';
  if (config === STE_CONFIG.S2) return `Config: stage 2, VMID ${get.S2VMID(words)}`;
  const dss = get.S1CDMax(words) > 0 && get.S1DSS(words) === S1DSS.BYPASS ? ', S1DSS: bypass' : '';
  const nested = config === STE_CONFIG.NESTED ? ` and 2, VMID ${get.S2VMID(words)}` : '';
  return `Config: stage 1${nested}, CDs at ${pointer}${dss}`;
}

function cdSays(words: Uint32Array): string {
  const { get } = CD;
  if (get.V(words) === 0) return 'V=0: invalid';
  return `ASID ${get.ASID(words)}, TTB0 ${hex(get.TTB0(words))}, T0SZ ${get.T0SZ(words)}`;
}

function descriptorSays({ kind, output, size }: MetDescriptor): string {
  if (kind === 'invalid') return 'invalid: no translation';
  if (kind === 'reserved') return 'reserved at this level: no translation';
  return kind === 'table' ? `table at ${hex(output)}` : `${kind} of ${hex(size)} at ${hex(output)}`;
}
