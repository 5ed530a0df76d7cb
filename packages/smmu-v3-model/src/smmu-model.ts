/*
 * An SMMUv3, Non-secure programming interface (IHI 0070). It is built from ID register words, reads and writes memory through one
 * view, and knows nothing of who programs it.
 * Does not model: what `feature-rules.ts` refuses.
 */
import { CR0, CR2, REGISTER_OFFSET as R, STE } from '@iommukit/arm-arch';
import { fromLanes, hex } from '@iommukit/bits';
import type { MemoryView, MmioFrame, Runnable } from '@iommukit/platform';
import { AtcDetector } from './atc-detector.ts';
import {
  AtsPort,
  type TranslatedResult,
  type TranslatedTransaction,
  type TranslationCompletion,
  type TranslationRequest,
} from './ats.ts';
import { type CachePolicy, DEFAULT_POLICY } from './cache-policy.ts';
import type { CommandContext } from './command-decode.ts';
import { CommandProcessor } from './command-processor.ts';
import { CommandQueue } from './command-queue.ts';
import { ConfigCache } from './config-cache.ts';
import { ContextTable } from './context-table.ts';
import type { DmaAccess, DmaResult } from './dma-access.ts';
import type { EndpointPort } from './endpoint-port.ts';
import type { SmmuEvent, SmmuEventName, TranslationEvent } from './event.ts';
import { EventQueue } from './event-queue.ts';
import { TranslationWatch } from './explain-watch.ts';
import type { Explanation } from './explanation.ts';
import { FaultState } from './fault.ts';
import { FEATURE_PRESETS, type FeaturePreset } from './feature-presets.ts';
import { checkedFeatures } from './feature-rules.ts';
import { encodeFeatures, type Features, type IdrWords } from './features.ts';
import { PRESET_INTERFACE } from './interface-policy.ts';
import { type InterruptLine, Interrupts, type MsiSink } from './interrupts.ts';
import { ModelUseError } from './model-error.ts';
import { outgoingAttributes } from './outgoing-attribute.ts';
import type { PageHint } from './port-event.ts';
import { type PageRequest, type PageRequestResult, PriQueue } from './pri-queue.ts';
import { RegisterFile } from './register-file.lanes.ts';
import { Stage2 } from './stage2.ts';
import { StaleDetector } from './stale-detector.lanes.ts';
import { noteRemoved, StaleLog, type StaleUse } from './stale-use.ts';
import { type StallEndSink, type StalledTransaction, StallTable } from './stall-table.ts';
import { StreamTable } from './stream-table.ts';
import { Tlb } from './tlb.ts';
import { TlbFront } from './tlb-front.lanes.ts';
import { type CacheCounts, Translator } from './translator.ts';

/**
 * What a model is built from.
 * @example const options: ModelOptions = { memory, idr: { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 } };
 */
export interface ModelOptions {
  /** Memory as the SMMU sees it. */
  readonly memory: MemoryView;
  /** The ID registers: raw words, by name or by register offset, or the name of a preset. */
  readonly idr: IdrWords | ReadonlyMap<number, number> | FeaturePreset;
  readonly policy?: Partial<CachePolicy>;
  /** Called on each edge of a wired interrupt that is enabled. */
  readonly onInterrupt?: (line: InterruptLine) => void;
  /** Takes MSI writes to addresses that no memory backs; returns whether something took it. */
  readonly onMsi?: MsiSink;
  /** Takes the ends of stalled transactions; an endpoint that is connected is told of its own besides. */
  readonly onStallEnd?: StallEndSink;
}

/**
 * What a model has done so far.
 * @example smmu.counters.tlbHits
 */
export interface ModelCounters extends CacheCounts {
  commands: number;
  syncs: number;
  accesses: number;
  faults: number;
  eventsWritten: number;
  eventsDropped: number;
  eventsSuppressed: number;
}

/** What a model lends to one that explains. */
interface Shadow {
  readonly tlb: Tlb;
  readonly config: ConfigCache;
  readonly watch: TranslationWatch;
}

/** A translation refused by `translateFast`. */
const REFUSED = -1;
const ACCESS = { read: 0, write: 1, atomic: 2 } as const;

/**
 * The SMMU. Software programs `registers`; a device calls `translate` or `translateFast`; whoever waits calls `run`.
 * Endpoints with a translation cache are connected, and use `translationRequest`, `translatedTransaction` and `pageRequest`.
 * The constructor throws `FeatureError` for ID registers that no SMMU has and `UnmodelledError` for those that this one lacks; accesses
 * that no bus makes throw `ModelUseError`.
 * @example
 * const smmu = new SmmuV3Model({ memory, idr: { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 } });
 * smmu.translate({ streamId: 8, address: { lo: 0x1000, hi: 0 }, rw: 'read' }).outcome; // 'bypass'
 */
export class SmmuV3Model implements Runnable {
  /** Both register pages, 0x20000 bytes. */
  readonly registers: MmioFrame;
  readonly features: Features;
  readonly policy: CachePolicy;
  readonly counters: ModelCounters = {
    commands: 0,
    syncs: 0,
    accesses: 0,
    faults: 0,
    eventsWritten: 0,
    eventsDropped: 0,
    eventsSuppressed: 0,
    walks: 0,
    descriptorLoads: 0,
    tlbHits: 0,
    tlbMisses: 0,
    walkHits: 0,
    ipaHits: 0,
    ipaMisses: 0,
    configHits: 0,
    configMisses: 0,
  };
  readonly #file: RegisterFile;
  readonly #commandQueue: CommandQueue;
  readonly #eventQueue: EventQueue;
  readonly #interrupts: Interrupts;
  readonly #tlb: Tlb;
  readonly #config: ConfigCache;
  readonly #streams: StreamTable;
  readonly #translator: Translator;
  readonly #staleLog: StaleLog;
  readonly #commands: CommandProcessor;
  readonly #stalls: StallTable;
  readonly #ats: AtsPort;
  readonly #pageRequests: PriQueue;
  readonly #ports: Map<number, EndpointPort> = new Map();
  readonly #memory: MemoryView;
  readonly #idr: IdrWords;

  /** `shadow` is for {@link explain} alone: the caches of another model, and who watches. */
  constructor(options: ModelOptions, shadow?: Shadow) {
    const { memory, onInterrupt, onMsi } = options;
    const idr = idrWords(options.idr);
    this.#memory = memory;
    this.#idr = idr;
    const features = checkedFeatures(idr);
    const chosen = typeof options.idr === 'string' ? PRESET_INTERFACE[options.idr] : {};
    const policy = { ...DEFAULT_POLICY, ...chosen, ...options.policy };
    this.features = features;
    this.policy = policy;
    this.#file = new RegisterFile({
      idr,
      features,
      policy,
      effects: {
        enablesChanged: (before, after) => this.#enablesChanged(before, after),
        errorsAcknowledged: (before) => {
          this.#interrupts.acknowledged(before);
          this.#kick();
          this.#stalls.drain();
        },
        commandQueueKick: () => this.#kick(),
        eventQueueMoved: () => this.#stalls.drain(),
        streamTableMoved: () => {
          this.#streams.generation++;
        },
      },
    });
    this.registers = this.#file;
    const { words } = this.#file;
    this.#interrupts = new Interrupts({ words, memory, features, policy, onInterrupt, onMsi });
    const queueParts = { words, memory, features, interrupts: this.#interrupts };
    this.#commandQueue = new CommandQueue(queueParts, (command) => this.#commands.execute(command));
    this.#eventQueue = new EventQueue({ ...queueParts, policy });
    this.#stalls = new StallTable({
      capacity: features.stallMax,
      queue: this.#eventQueue,
      policy,
      retry: (access) => this.translate(access),
      onEnd: (transaction, end) => {
        options.onStallEnd?.(transaction, end);
        this.#ports.get(transaction.streamId)?.stallEnded(transaction, end);
      },
    });
    this.#tlb = shadow?.tlb ?? new Tlb(noteRemoved);
    this.#config = shadow?.config ?? new ConfigCache(noteRemoved);
    this.#staleLog = new StaleLog(policy.staleLimit);
    const detector = policy.detectStale
      ? new StaleDetector({
          memory,
          log: this.#staleLog,
          pending: (test) => this.#commands.progress(this.#commandQueue, test),
          features,
          e2h: () => CR2.get.E2H(this.#file.words, R.CR2 / 4) === 1,
        })
      : undefined;
    const uses = shadow?.watch ?? detector;
    this.#commands = new CommandProcessor({
      targets: {
        tlb: this.#tlb,
        config: this.#config,
        interrupts: this.#interrupts,
        stalls: this.#stalls,
        ports: this.#ports,
      },
      counts: this.counters,
      context: () => this.#commandContext(),
      invalidate: policy.invalidate,
    });
    this.#streams = new StreamTable({
      memory,
      words,
      features,
      cache: this.#config,
      policy,
      tlb: this.#tlb,
      detector: uses,
    });
    const fault = new FaultState();
    const stage2 = new Stage2({
      memory,
      fault,
      features,
      policy,
      detector: uses,
      counts: this.counters,
    });
    const contexts = new ContextTable({
      memory,
      features,
      policy,
      tlb: this.#tlb,
      structures: stage2,
      detector: uses,
    });
    this.#translator = new Translator({
      words,
      features,
      policy,
      cache: this.#config,
      streams: this.#streams,
      contexts,
      stage2,
      fault,
      detector: uses,
      counts: this.counters,
      front:
        shadow === undefined && policy.tlb === 'keep' && policy.config !== 'none'
          ? new TlbFront({
              words,
              cache: this.#config,
              streams: this.#streams,
              tlb: this.#tlb,
              log: this.#staleLog,
              watched: policy.detectStale ? memory : undefined,
            })
          : undefined,
    });
    shadow?.watch.attach({
      streams: this.#streams,
      contexts,
      stage2,
      translator: this.#translator,
      words,
    });
    this.#ats = new AtsPort({
      words,
      features,
      policy,
      translator: this.#translator,
      stage2,
      events: this.#eventQueue,
      detector:
        detector === undefined
          ? undefined
          : new AtcDetector({
              changes: detector,
              log: this.#staleLog,
              pending: (test) => this.#commands.atcProgress(this.#commandQueue, test),
            }),
      eventOf: (access, name) => this.#event(access, name),
      counted: (written) => this.#countEvent(written),
    });
    this.#pageRequests = new PriQueue({
      ...queueParts,
      pasidCheck: (streamId) => this.#ats.pasidResponse(streamId),
    });
  }

  /** Cached entries that were used although memory had changed, oldest first; at most `policy.staleLimit`. */
  get staleUses(): readonly StaleUse[] {
    return this.#staleLog.list;
  }

  /** Uses of stale entries, those beyond the list and repeated ones included. */
  get staleUseCount(): number {
    return this.#staleLog.uses;
  }

  /** Leaf translations held. */
  get tlbSize(): number {
    return this.#tlb.size;
  }

  /** Transactions that wait for a command or for room in the event queue, oldest first. */
  get stalled(): readonly StalledTransaction[] {
    return this.#stalls.transactions;
  }

  /** How many commands with this opcode were consumed. */
  commandCount(opcode: number): number {
    return this.#commands.count(opcode);
  }

  /** Connects what commands to a StreamID reach; it takes the place of an earlier one. */
  connect(port: EndpointPort): void {
    this.#ports.set(port.streamId, port);
  }

  /** Takes the endpoint of a StreamID away: commands to it are then ignored (4.5.1). */
  disconnect(streamId: number): void {
    this.#ports.delete(streamId);
  }

  /** Acknowledges what is due and consumes commands, one of them under `consume: 'step'`; true when anything was done. */
  run(): boolean {
    const acknowledged = this.#file.acknowledge();
    const worked =
      this.policy.consume === 'step'
        ? this.#commandQueue.consumeOne()
        : this.#commandQueue.consumeAll();
    return acknowledged || worked;
  }

  /** Consumes one command whatever the policy; false when there was none. */
  stepCommand(): boolean {
    return this.#commandQueue.consumeOne();
  }

  /**
   * Puts a dumped register file in place: 32-bit words by byte offset of the frame. No access rule applies, nothing is consumed,
   * and the ID registers stay as constructed. Caches are left alone.
   */
  restoreRegisters(words: ReadonlyMap<number, number>): void {
    this.#file.restore(words);
  }

  /** Sends a transaction through the SMMU. Records an event where the architecture does. */
  translate(access: DmaAccess): DmaResult {
    const { streamId, address, rw } = access;
    const ssid = access.substreamId ?? -1;
    checkIds(streamId, ssid);
    const lo = fromLanes(address.lo, 0);
    const offset = lo % 4096;
    const page = fromLanes(lo - offset, address.hi);
    const translator = this.#translator;
    translator.setAttributes(
      access.privileged === true,
      access.instruction === true && rw === 'read',
    );
    this.counters.accesses++;
    const paddr = translator.resolve(streamId, ssid, page, ACCESS[rw]);
    if (paddr < 0) return this.#refused(access);
    const attributes = outgoingAttributes(
      translator,
      access.attributes,
      this.#file.words,
      this.features,
    );
    if (translator.bypassed)
      return { outcome: 'bypass', paddr: paddr + offset, streamId, attributes };
    const { tlbHit } = translator;
    return { outcome: 'ok', paddr: paddr + offset, streamId, tlbHit, attributes };
  }

  /**
   * The same for replay, without allocation: an unprivileged data access without SubstreamID at a page-aligned address, `rw` 0 to
   * read and 1 to write. Returns the page-aligned physical address, or -1 when refused; records no event: call `translate` for
   * the details.
   */
  translateFast(streamId: number, page: number, rw: number): number {
    this.#translator.setAttributes(false, false);
    this.counters.accesses++;
    const paddr = this.#translator.resolve(streamId, -1, page, rw);
    return paddr < 0 ? REFUSED : paddr;
  }

  /**
   * What `translate` would do with an access now, step by step, without doing it: the same code runs over a view of memory that keeps
   * its stores to itself; caches, queues, registers and counters stay as they are. Costs a copy of the caches' indices.
   * @example renderExplanation(smmu.explain({ streamId: 8, address: { lo: 0x1000, hi: 0 }, rw: 'read' }))
   */
  explain(access: DmaAccess): Explanation {
    const watch = new TranslationWatch(this.#memory, this.features, access);
    const restore = [this.#tlb.keep(), this.#config.keep(access.streamId)];
    try {
      const shadow = new SmmuV3Model(
        { memory: watch.memory, idr: this.#idr, policy: { ...this.policy, detectStale: false } },
        { tlb: this.#tlb, config: this.#config, watch },
      );
      shadow.#file.words.set(this.#file.words);
      shadow.#interrupts.adopt(this.#interrupts);
      shadow.#eventQueue.adopt(this.#eventQueue);
      shadow.#stalls.adopt(this.#stalls);
      return watch.explanation(shadow.translate(access));
    } finally {
      for (const undo of restore) undo();
    }
  }

  /** Answers an ATS Translation Request (3.9.1.2). */
  translationRequest(request: TranslationRequest): TranslationCompletion {
    checkIds(request.streamId, request.substreamId ?? -1);
    return this.#ats.request(request);
  }

  /** Sends a transaction that an endpoint marks Translated (3.9.1.3). */
  translatedTransaction(transaction: TranslatedTransaction): TranslatedResult {
    checkIds(transaction.streamId, -1);
    this.counters.accesses++;
    return this.#ats.transaction(transaction);
  }

  /** Takes a transaction of a kind that no SMMU translates (7.3.2): it is always aborted. */
  unsupportedTransaction(
    access: DmaAccess,
    marked: 'untranslated' | 'translated' = 'untranslated',
  ): TranslatedResult {
    checkIds(access.streamId, access.substreamId ?? -1);
    this.counters.accesses++;
    return this.#ats.unsupported(access, marked);
  }

  /** Takes a hint of a device that it will use pages; true when software can see it (3.12.4.1). */
  hintPages(hint: PageHint): boolean {
    checkIds(hint.streamId, hint.substreamId ?? -1);
    return this.#ats.hint(hint);
  }

  /** Takes a page request of an endpoint (8). */
  pageRequest(request: PageRequest): PageRequestResult {
    checkIds(request.streamId, request.substreamId ?? -1);
    return this.#pageRequests.receive(request);
  }

  #refused(access: DmaAccess): DmaResult {
    const { streamId } = access;
    const { fault } = this.#translator;
    const name = fault.event;
    if (name === undefined)
      return { outcome: 'abort', reason: fault.abort ?? 'ste-abort', streamId };
    const event = this.#event(access, name);
    const how = this.#termination();
    this.counters.faults++;
    if (how.stall && isTranslationEvent(event)) return this.#stalls.stall(access, event);
    const { response } = how;
    if (!how.record) {
      this.counters.eventsSuppressed++;
      return { outcome: 'fault', event, response, record: 'suppressed', streamId };
    }
    const { stream } = this.#translator;
    const merging = stream !== undefined && STE.get.MEV(stream.words) === 1 ? 'mev' : 'no-mev';
    const written = this.#eventQueue.write(event, merging);
    this.#countEvent(written);
    return { outcome: 'fault', event, response, record: written ? 'written' : 'dropped', streamId };
  }

  /** What A, R and S of the stage that faulted make of the fault (3.12, 5.5); whatever they do not govern is aborted and recorded. */
  #termination(): { stall: boolean; record: boolean; response: 'abort' | 'raz-wi' } {
    const { fault, context, stream } = this.#translator;
    if (fault.configuredBy === 1 && context !== undefined)
      return { stall: context.s, record: context.r, response: context.a ? 'abort' : 'raz-wi' };
    if (fault.configuredBy === 2 && stream !== undefined)
      return { stall: stream.s2s, record: stream.s2r, response: 'abort' };
    return { stall: false, record: true, response: 'abort' };
  }

  #event(access: DmaAccess, name: SmmuEventName): SmmuEvent {
    const { fault, privileged, instruction } = this.#translator;
    const { streamId, address } = access;
    const { fetchAddress, stage } = fault;
    const header = { streamId, substreamId: fault.substreamId ?? access.substreamId };
    const rw = access.rw === 'atomic' ? 'write' : access.rw;
    const body = { address, privileged, instruction, stage, class: fault.class };
    switch (name) {
      case 'F_STE_FETCH':
      case 'F_CD_FETCH':
        return { event: name, ...header, fetchAddress };
      case 'F_WALK_EABT':
        return { event: name, ...header, ...body, rw, fetchAddress };
      case 'F_TRANSLATION':
      case 'F_ADDR_SIZE':
      case 'F_ACCESS':
        return { event: name, ...header, ...body, rw, ...stage2Input(fault) };
      case 'F_PERMISSION': {
        const read = access.rw === 'atomic' && !fault.lacksWrite;
        return {
          event: name,
          ...header,
          ...body,
          rw: read ? 'read' : rw,
          ...stage2Input(fault),
          ...(fault.class === 'TT' ? { tableAccess: fault.tableRead ? 'read' : 'update' } : {}),
        };
      }
      default:
        return { event: name, ...header };
    }
  }

  #countEvent(written: boolean): void {
    if (written) this.counters.eventsWritten++;
    else this.counters.eventsDropped++;
  }

  #enablesChanged(before: number, after: number): void {
    const { SMMUEN } = CR0.get;
    if (SMMUEN([before, 0]) === 1 && SMMUEN([after, 0]) === 0) this.#stalls.terminateAll();
    this.#kick();
    this.#stalls.drain();
  }

  #kick(): void {
    if (this.policy.consume === 'immediate') this.#commandQueue.consumeAll();
  }

  #commandContext(): CommandContext {
    const { words } = this.#file;
    return {
      features: this.features,
      policy: this.policy,
      e2h: CR2.get.E2H(words, R.CR2 / 4) === 1,
      vmw: Math.min(CR0.get.VMW(words, R.CR0ACK / 4), 4),
      enabled: CR0.get.SMMUEN(words, R.CR0ACK / 4) === 1,
    };
  }
}

function checkIds(streamId: number, ssid: number): void {
  if (
    !Number.isInteger(streamId) ||
    streamId < 0 ||
    streamId >= 2 ** 32 ||
    !Number.isInteger(ssid) ||
    ssid < -1 ||
    ssid > 0xf_ffff
  )
    throw new ModelUseError(
      'DMA_ACCESS',
      { streamId, substreamId: ssid },
      `no transaction carries StreamID ${hex(streamId)} and SubstreamID ${ssid}`,
      'Use 32-bit StreamIDs and 20-bit SubstreamIDs',
    );
}

function isTranslationEvent(event: SmmuEvent): event is TranslationEvent {
  return 'address' in event && event.event !== 'F_WALK_EABT';
}

function stage2Input(fault: FaultState): { ipa?: number } {
  return fault.stage === 2 ? { ipa: fault.ipa } : {};
}

function idrWords(idr: ModelOptions['idr']): IdrWords {
  if (typeof idr === 'string') return encodeFeatures(FEATURE_PRESETS[idr]);
  if (!(idr instanceof Map)) return idr as IdrWords;
  const word = (offset: number): number => idr.get(offset) ?? 0;
  return {
    IDR0: word(R.IDR0),
    IDR1: word(R.IDR1),
    IDR2: word(R.IDR2),
    IDR3: word(R.IDR3),
    IDR4: word(R.IDR4),
    IDR5: word(R.IDR5),
    IIDR: word(R.IIDR),
    AIDR: word(R.AIDR),
  };
}
