/*
 * Writes down what a translation does while it does it, for `explain`: reads of memory, uses of cached entries, and rules.
 * Not modelled: nothing is walked here: each step is something that the translation did (IHI 0070 3.4), named by who was at work.
 */
import {
  REGISTER_OFFSET as R,
  S1_BLOCK,
  S1_LEAF,
  S2_BLOCK,
  S2_LEAF,
  S2_TABLE,
  STRTAB_BASE_CFG,
  VMSAV8_64_TABLE,
} from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';
import { ACCESS_KIND } from './access-mode.lanes.ts';
import type { CacheUses } from './cache-uses.ts';
import {
  brokenContextRule,
  type CachedContext,
  type L1ContextEntry,
} from './context-descriptor.ts';
import type { ContextTable } from './context-table.ts';
import { isEnabled } from './control-register.ts';
import type { DmaAccess, DmaResult } from './dma-access.ts';
import {
  type AnyLayout,
  describeDescriptor,
  doublewords,
  entryOf,
  lanesOf,
  STRUCTURES,
} from './explain-entry.ts';
import { type Frame, FrameStack, nextOf } from './explain-frame.ts';
import { ExplainMemory, type MemoryEvents } from './explain-memory.ts';
import { needText } from './explain-permission.lanes.ts';
import {
  abortCheck,
  faultCheck,
  passesStage1,
  type RefusalFacts,
  rangeText,
} from './explain-refusal.ts';
import { resultStep } from './explain-result.ts';
import type { Explanation, ExplanationStep, FetchStep, HitStep } from './explanation.ts';
import type { Features } from './features.ts';
import { CONTEXT_RULES, STREAM_RULES } from './legality-rule.ts';
import { pageOf } from './page-address.ts';
import { neededBits, permits } from './permission.lanes.ts';
import type { Regime } from './regime.ts';
import type { Stage2 } from './stage2.ts';
import { brokenStreamRule, type CachedStream, type L1StreamEntry } from './stream-entry.ts';
import type { StreamTable } from './stream-table.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';
import type { Translator } from './translator.ts';

type Structure = keyof typeof STRUCTURES;

/** The parts of an SMMU that are watched. */
export interface WatchedParts {
  readonly streams: StreamTable;
  readonly contexts: ContextTable;
  readonly stage2: Stage2;
  readonly translator: Translator;
  readonly words: Uint32Array;
}

const STE_DWORDS = 8;

/** The watch over one access; its SMMU has to be one that nobody else uses. */
export class TranslationWatch implements CacheUses, MemoryEvents {
  readonly memory: ExplainMemory;
  readonly #features: Features;
  readonly #access: DmaAccess;
  readonly #steps: ExplanationStep[] = [];
  readonly #frames: FrameStack = new FrameStack();
  #parts: WatchedParts | undefined = undefined;
  #inner: TlbEntry | undefined = undefined;
  #outer: TlbEntry | undefined = undefined;
  #outerNeed = 0;
  #insideStage1 = false;
  #contextSought = false;
  /** Steps up to and with those of the STE. */
  #streamSteps = 0;

  constructor(memory: MemoryView, features: Features, access: DmaAccess) {
    this.memory = new ExplainMemory(memory, this);
    this.#features = features;
    this.#access = access;
  }

  /** Stands between the parts of an SMMU: these objects are changed. */
  attach(parts: WatchedParts): void {
    this.#parts = parts;
    const { streams, contexts, stage2 } = parts;
    const { walker } = stage2;
    const fetchSte = streams.fetch.bind(streams);
    streams.fetch = (streamId, fault) => {
      const frame: Frame = { kind: 'stream', lanes: [], at: [], l1: false };
      const stream = this.#frames.within(frame, () => fetchSte(streamId, fault));
      this.#fetchedStream(frame);
      if (stream !== undefined) this.#sawStream(stream);
      return stream;
    };
    const fetchCd = contexts.fetch.bind(contexts);
    contexts.fetch = (stream, ssid, fault) => {
      this.#seeksContext(ssid);
      const frame: Frame = { kind: 'context', stream, lanes: [], start: 0, l1: false };
      const cd = this.#frames.within(frame, () => fetchCd(stream, ssid, fault));
      if (cd !== undefined) this.#sawContext(cd, stream);
      return cd;
    };
    const structure = stage2.structure.bind(stage2);
    stage2.structure = (stream, page, need, cls) => {
      const frame: Frame = { kind: 'structure', purpose: this.#frames.purposeOf(need), need };
      return this.#frames.within(frame, () => structure(stream, page, need, cls));
    };
    const walk = walker.walk.bind(walker);
    walker.walk = (job) => {
      if (job.regime.stage === 1) this.#entersStage1(job.regime);
      const level = job.above === undefined ? job.regime.startLevel : job.above.level + 1;
      const entry = this.#frames.within({ kind: 'walk', job, level }, () => walk(job));
      if (entry !== undefined) this.#foundLeaf(entry, job.regime.stage, job.need);
      return entry;
    };
  }

  loaded(pa: number, lo: number, hi: number): void {
    const frame = this.#frames.innermost;
    if (frame?.kind === 'stream') {
      frame.lanes.push(lo, hi);
      frame.at.push(pa);
    } else if (frame?.kind === 'context') this.#loadedContext(frame, pa, [lo, hi]);
    else if (frame?.kind === 'walk') {
      const { regime } = frame.job;
      const { layout, says } = describeDescriptor(regime, frame.level, [lo, hi]);
      this.#fetched(
        { what: 'descriptor', says, ...this.#frames.placeOf(frame) },
        layout,
        [lo, hi],
        pa,
      );
      frame.level++;
    }
  }

  absent(pa: number): void {
    const frame = this.#frames.innermost;
    if (frame === undefined || frame.kind === 'structure') return;
    const address = lanesOf(pa);
    const says = 'nothing answers';
    if (frame.kind === 'walk') {
      const { layout } = describeDescriptor(frame.job.regime, 3, [0, 0]);
      const section = layout.info.spec;
      const place = this.#frames.placeOf(frame);
      this.#steps.push({ kind: 'fetch', what: 'descriptor', section, says, address, ...place });
      return;
    }
    if (frame.kind === 'stream') this.#fetchedStream(frame);
    const what = frame.kind === 'stream' ? this.#streamStructure(frame) : nextOf(frame);
    const section = STRUCTURES[what].layout.info.spec;
    this.#steps.push({ kind: 'fetch', what, section, says, address });
  }

  updated(pa: number, before: [number, number], after: [number, number]): void {
    const frame = this.#frames.innermost;
    if (frame?.kind !== 'walk') return;
    const [wasLo, wasHi] = before;
    const [lo, hi] = after;
    const flag = Math.floor(lo / 0x400) % 2 !== Math.floor(wasLo / 0x400) % 2;
    const dirty = lo % 0x400 !== wasLo % 0x400;
    const names = [...(flag ? ['the access flag'] : []), ...(dirty ? ['the dirty state'] : [])];
    this.#steps.push({
      kind: 'update',
      what: 'descriptor',
      section: 'IHI 0070 3.13',
      says: `hardware sets ${names.join(' and ')}`,
      address: lanesOf(pa),
      before: { lo: wasLo, hi: wasHi },
      after: { lo, hi },
      stage: frame.job.regime.stage,
      level: frame.level - 1,
    });
  }

  raced(): void {
    const frame = this.#frames.innermost;
    if (frame?.kind === 'walk') frame.level--;
  }

  checkL1Stream(l1std: L1StreamEntry): void {
    const frame = this.#frames.innermost;
    if (frame?.kind === 'stream') frame.l1 = true;
    this.#hitStructure('L1STD', [l1std.lo, l1std.hi], l1std.paddr);
  }

  checkStream(stream: CachedStream): void {
    this.#hitStructure('STE', stream.words, stream.paddr);
    this.#sawStream(stream);
  }

  checkL1Context(l1cd: L1ContextEntry): void {
    const frame = this.#frames.innermost;
    if (frame?.kind === 'context') frame.l1 = true;
    this.#hitStructure('L1CD', [l1cd.lo, l1cd.hi], l1cd.paddr);
  }

  checkContext(stream: CachedStream, cd: CachedContext): void {
    this.#seeksContext(cd.ssid);
    this.#hitStructure('CD', cd.words, cd.paddr);
    this.#sawContext(cd, stream);
  }

  checkLeaf(entry: TlbEntry, _stream: CachedStream, _cd: CachedContext, half: Regime): void {
    this.#entersStage1(half);
    const { inner = entry, outer } = entry;
    this.#hitLeaf(inner, 1, outer === undefined ? '' : ', held with its stage 2');
    if (outer !== undefined) this.#hitLeaf(outer, 2, ', held with its stage 1', 'the access');
    this.#inner = inner;
    if (outer !== undefined) {
      this.#outer = outer;
      this.#outerNeed = this.#need();
    }
    if (permits(entry.permissions, this.#need()))
      this.#permitted(outer === undefined ? 'stage 1 permits' : 'both stages permit', this.#need());
  }

  checkWalk(entry: WalkEntry, _stream: CachedStream, _cd: CachedContext, half: Regime): void {
    this.#entersStage1(half);
    this.#hitTable(entry, 1);
  }

  checkIpa(entry: TlbEntry): void {
    const structure = this.#frames.structure;
    const need = structure?.need ?? this.#need();
    this.#hitLeaf(entry, 2, '', structure?.purpose ?? 'the access');
    this.#outer = entry;
    this.#outerNeed = need;
    if (structure === undefined && permits(entry.permissions, need))
      this.#permitted('stage 2 permits', need);
  }

  checkIpaWalk(entry: WalkEntry): void {
    this.#hitTable(entry, 2);
  }

  /** The whole, once the access has its result. */
  explanation(result: DmaResult): Explanation {
    const parts = this.#parts as WatchedParts;
    this.#passedStage1();
    this.#enabled(parts.words);
    const facts = this.#facts(parts);
    const refused =
      result.outcome === 'abort' ? abortCheck(result.reason, facts) : this.#refusal(result, facts);
    if (refused !== undefined) this.#steps.push(refused);
    this.#steps.push(resultStep(result, parts.words));
    return { access: this.#access, steps: this.#steps, result };
  }

  #refusal(result: DmaResult, facts: RefusalFacts): ExplanationStep | undefined {
    return 'event' in result ? faultCheck(facts) : undefined;
  }

  #facts({ translator, words }: WatchedParts): RefusalFacts {
    const { streamId, substreamId, address } = this.#access;
    return {
      translator,
      features: this.#features,
      words,
      steps: this.#steps,
      streamId,
      ssid: substreamId ?? -1,
      page: pageOf(address),
      insideStage1: this.#insideStage1,
      inner: this.#inner,
      outer: this.#outer,
      need: this.#need(),
      outerNeed: this.#outerNeed,
    };
  }

  #need(): number {
    const { translator } = this.#parts as WatchedParts;
    return neededBits(ACCESS_KIND[this.#access.rw], translator.attributes);
  }

  /** Names what was read for an STE: a doubleword before eight others is the L1STD. */
  #fetchedStream(frame: Extract<Frame, { kind: 'stream' }>): void {
    const { lanes, at } = frame;
    if (at.length % STE_DWORDS === 1) {
      this.#fetchedStructure('L1STD', lanes.splice(0, 2), at.splice(0, 1)[0] as number);
      frame.l1 = true;
    }
    if (at.length === STE_DWORDS)
      this.#fetchedStructure('STE', lanes.splice(0), at.splice(0)[0] as number);
  }

  #streamStructure({ l1 }: { l1: boolean }): 'L1STD' | 'STE' {
    const { words } = this.#parts as WatchedParts;
    const twoLevel = STRTAB_BASE_CFG.get.FMT(words, R.STRTAB_BASE_CFG / 4) === 1;
    return twoLevel && this.#features.twoLevelStrtab && !l1 ? 'L1STD' : 'STE';
  }

  #loadedContext(
    frame: Extract<Frame, { kind: 'context' }>,
    pa: number,
    word: readonly [number, number],
  ): void {
    if (frame.lanes.length === 0) frame.start = pa;
    frame.lanes.push(...word);
    const what = nextOf(frame);
    if (frame.lanes.length < STRUCTURES[what].layout.lanes) return;
    this.#fetchedStructure(what, frame.lanes, frame.start);
    frame.lanes = [];
    frame.l1 = true;
  }

  #fetchedStructure(what: Structure, words: ArrayLike<number>, pa: number): void {
    const { layout, says } = STRUCTURES[what];
    this.#fetched({ what, says: says(words) }, layout, words, pa);
  }

  #fetched(
    step: Omit<FetchStep, 'kind' | 'address' | 'section'>,
    layout: AnyLayout,
    words: ArrayLike<number>,
    pa: number,
  ): void {
    this.#steps.push({ kind: 'fetch', ...step, ...entryOf(layout, words, pa) });
  }

  #hitStructure(what: Structure, words: ArrayLike<number>, pa: number): void {
    const { layout, says } = STRUCTURES[what];
    this.#hit({ what, cache: 'configuration', says: says(words) }, layout, words, pa);
  }

  #hitLeaf(entry: TlbEntry, stage: 1 | 2, note: string, purpose?: string): void {
    const { level, lo, hi, paddr, coverSize } = entry;
    const [page, block] = stage === 1 ? [S1_LEAF, S1_BLOCK] : [S2_LEAF, S2_BLOCK];
    const start = hex(entry.output - (entry.key - entry.coverKey));
    const clean = entry.clean ? ', writable-clean' : '';
    const says = `${level === 3 ? 'page' : 'block'} of ${hex(coverSize)} at ${start}${clean}${note}`;
    const place = { stage, level, ...(purpose === undefined ? {} : { for: purpose }) };
    const layout = level === 3 ? page : block;
    this.#hit({ what: 'descriptor', cache: 'tlb', says, ...place }, layout, [lo, hi], paddr);
  }

  #hitTable({ level, lo, hi, paddr, next }: WalkEntry, stage: 1 | 2): void {
    const layout = stage === 1 ? VMSAV8_64_TABLE : S2_TABLE;
    const purpose = stage === 1 ? {} : { for: this.#frames.structure?.purpose ?? 'the access' };
    const says = `table at ${hex(next)}`;
    const step = { what: 'descriptor', cache: 'walk', says, stage, level, ...purpose } as const;
    this.#hit(step, layout, [lo, hi], paddr);
  }

  #hit(
    step: Pick<HitStep, 'what' | 'cache' | 'says' | 'stage' | 'level' | 'for'>,
    layout: AnyLayout,
    words: ArrayLike<number>,
    pa: number,
  ): void {
    const now = this.memory.changed(pa, words);
    this.#steps.push({
      kind: 'hit',
      ...step,
      ...entryOf(layout, words, pa),
      ...(now === undefined ? {} : { now: doublewords(now) }),
    });
  }

  #check(what: string, section: string, says: string): void {
    this.#steps.push({ kind: 'check', ok: true, what, section, says });
  }

  #broken(what: string, rule: { readonly section: string; readonly says: string }): void {
    this.#steps.push({ kind: 'check', ok: false, what, section: rule.section, says: rule.says });
  }

  #sawStream(stream: CachedStream): void {
    const rule = brokenStreamRule(stream.words, this.#features);
    if (rule === undefined) this.#check('STE', 'IHI 0070 5.2', 'valid and legal');
    else this.#broken('STE', STREAM_RULES[rule]);
    this.#streamSteps = this.#steps.length;
  }

  #seeksContext(ssid: number): void {
    this.#contextSought = true;
    const own = this.#access.substreamId !== undefined;
    const says = own ? `CD ${hex(ssid)} by SubstreamID` : `CD ${hex(ssid)}, without a SubstreamID`;
    this.#check('SubstreamID', 'IHI 0070 5.2', says);
  }

  #sawContext(cd: CachedContext, stream: CachedStream): void {
    const rule = brokenContextRule(cd.words, stream, this.#features);
    if (rule === undefined) this.#check('CD', 'IHI 0070 5.4', 'valid and legal');
    else this.#broken('CD', CONTEXT_RULES[rule]);
  }

  #entersStage1(half: Regime): void {
    if (!this.#insideStage1) this.#check('input range', 'IHI 0070 3.4.1', rangeText(half, 'is in'));
    this.#insideStage1 = true;
  }

  #foundLeaf(entry: TlbEntry, stage: 1 | 2, need: number): void {
    if (stage === 1) this.#inner = entry;
    else {
      this.#outer = entry;
      this.#outerNeed = need;
    }
    if (this.#frames.structure === undefined && permits(entry.permissions, need))
      this.#permitted(`stage ${stage} permits`, need);
  }

  #permitted(who: string, need: number): void {
    this.#check('permission', 'DDI 0487 D8.4', `${who} ${needText(need)}`);
  }

  /** A stream with stage 1 whose transaction went on without a CD: S1DSS sent it past. */
  #passedStage1(): void {
    const { translator } = this.#parts as WatchedParts;
    const { stream, fault } = translator;
    if (stream === undefined || this.#contextSought || !passesStage1(stream)) return;
    if (stream.kind !== 'stage1' && stream.kind !== 'nested') return;
    if (fault.event === 'C_BAD_SUBSTREAMID' || fault.event === 'F_STREAM_DISABLED') return;
    const says = 'S1DSS=01, and no SubstreamID: stage 1 is passed by';
    this.#steps.splice(this.#streamSteps, 0, {
      kind: 'check',
      ok: true,
      what: 'S1DSS',
      section: 'IHI 0070 5.2',
      says,
    });
  }

  #enabled(words: Uint32Array): void {
    const on = isEnabled(words);
    this.#steps.unshift({
      kind: 'check',
      ok: true,
      what: 'SMMUEN',
      section: on ? 'IHI 0070 6.3.9' : 'IHI 0070 6.3.14',
      says: on ? 'CR0.SMMUEN=1: the stream table decides' : 'CR0.SMMUEN=0: GBPA decides',
    });
  }
}
