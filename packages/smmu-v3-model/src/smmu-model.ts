/*
 * An SMMUv3, Non-secure programming interface (IHI 0070). It is built from ID register words, reads and writes memory through one
 * view, and knows nothing of who programs it.
 * Not modelled: what `feature-rules.ts` refuses.
 */
import { CR0, REGISTER_OFFSET as R, STE } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { MemoryView, MmioFrame, Runnable } from '@iommukit/platform';
import { ACCESS_KIND, attributesOf } from './access-mode.lanes.ts';
import { AtcDetector, type AtcPendingSearch } from './atc-detector.ts';
import { AtsPort } from './ats.ts';
import type {
  TranslatedResult,
  TranslatedTransaction,
  TranslationCompletion,
  TranslationRequest,
} from './ats-message.ts';
import { type CachePolicy, DEFAULT_POLICY } from './cache-policy.ts';
import type { CommandContext } from './command-decode.ts';
import { CommandProcessor } from './command-processor.ts';
import { CommandQueue } from './command-queue.ts';
import { ConfigCache } from './config-cache.ts';
import { isEnabled, usesE2h } from './control-register.ts';
import type { DmaAccess, DmaResult } from './dma-access.ts';
import type { EndpointPort } from './endpoint-port.ts';
import { EventQueue } from './event-queue.ts';
import { TranslationWatch } from './explain-watch.ts';
import type { Explanation } from './explanation.ts';
import { faultEvent, isTranslationEvent, terminationOf } from './fault-event.ts';
import { checkedFeatures } from './feature-rules.ts';
import type { Features, IdrWords } from './features.ts';
import { type IdrSource, idrWordsOf } from './idr-source.ts';
import { PRESET_INTERFACE } from './interface-policy.ts';
import { type InterruptLine, Interrupts, type MsiSink } from './interrupts.ts';
import { type ModelCounters, newCounters } from './model-counters.ts';
import { ModelUseError } from './model-error.ts';
import { outgoingAttributes } from './outgoing-attribute.ts';
import { offsetOf, pageOf } from './page-address.ts';
import type { PageHint } from './port-event.ts';
import { type PageRequest, type PageRequestResult, PriQueue } from './pri-queue.ts';
import { type RegisterEffects, RegisterFile } from './register-file.lanes.ts';
import { StaleDetector } from './stale-detector.lanes.ts';
import { noteRemoved, StaleLog, type StaleUse } from './stale-use.ts';
import { type StallEndSink, type StalledTransaction, StallTable } from './stall-table.ts';
import type { StreamTable } from './stream-table.ts';
import { Tlb } from './tlb.ts';
import { type TranslationPath, translationPath } from './translation-path.ts';
import type { Translator } from './translator.ts';

/**
 * What a model is built from.
 * @example const options: ModelOptions = { memory, idr: { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 } };
 */
export interface ModelOptions {
  /** Memory as the SMMU sees it. */
  readonly memory: MemoryView;
  /** The ID registers: raw words, by name or by register offset, or the name of a preset. */
  readonly idr: IdrSource;
  readonly policy?: Partial<CachePolicy>;
  /** Called on each edge of a wired interrupt that is enabled. */
  readonly onInterrupt?: (line: InterruptLine) => void;
  /** Takes MSI writes to addresses that no memory backs; returns whether something took it. */
  readonly onMsi?: MsiSink;
  /** Takes the ends of stalled transactions; an endpoint that is connected is told of its own besides. */
  readonly onStallEnd?: StallEndSink;
}

/** What a model lends to one that explains. */
interface Shadow {
  readonly tlb: Tlb;
  readonly config: ConfigCache;
  readonly watch: TranslationWatch;
}

/** A translation refused by `translateFast`. */
const REFUSED = -1;

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
  readonly counters: ModelCounters = newCounters();
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
    const idr = idrWordsOf(options.idr);
    const features = checkedFeatures(idr);
    const chosen = typeof options.idr === 'string' ? PRESET_INTERFACE[options.idr] : {};
    const policy = { ...DEFAULT_POLICY, ...chosen, ...options.policy };
    this.#memory = memory;
    this.#idr = idr;
    this.features = features;
    this.policy = policy;
    this.#file = new RegisterFile({ idr, features, policy, effects: this.#registerEffects() });
    this.registers = this.#file;
    const { words } = this.#file;
    this.#interrupts = new Interrupts({ words, memory, features, policy, onInterrupt, onMsi });
    const queueParts = { words, memory, features, interrupts: this.#interrupts };
    this.#commandQueue = new CommandQueue(queueParts, (command) => this.#commands.execute(command));
    this.#eventQueue = new EventQueue({ ...queueParts, policy });
    this.#stalls = this.#stallTable(options.onStallEnd);
    this.#tlb = shadow?.tlb ?? new Tlb(noteRemoved);
    this.#config = shadow?.config ?? new ConfigCache(noteRemoved);
    this.#commands = this.#commandProcessor();
    this.#staleLog = new StaleLog(policy.staleLimit);
    const detector = policy.detectStale ? this.#staleDetector() : undefined;
    const path = translationPath({
      words,
      memory,
      features,
      policy,
      tlb: this.#tlb,
      config: this.#config,
      uses: shadow?.watch ?? detector,
      counts: this.counters,
      staleLog: this.#staleLog,
      shortCut: shadow === undefined ? 'allowed' : 'every-step',
    });
    this.#streams = path.streams;
    this.#translator = path.translator;
    shadow?.watch.attach({ ...path, words });
    this.#ats = this.#atsPort(path, detector);
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
    const translator = this.#translator;
    translator.attributes = attributesOf(access);
    this.counters.accesses++;
    const page = translator.resolve(streamId, ssid, pageOf(address), ACCESS_KIND[rw]);
    if (page < 0) return this.#refused(access);
    const paddr = page + offsetOf(address);
    const attributes = outgoingAttributes(
      translator,
      access.attributes,
      this.#file.words,
      this.features,
    );
    if (translator.bypassed) return { outcome: 'bypass', paddr, streamId, attributes };
    const { tlbHit } = translator;
    return { outcome: 'ok', paddr, streamId, tlbHit, attributes };
  }

  /**
   * The same for replay, without allocation: an unprivileged data access without SubstreamID at a page-aligned address, `rw` 0 to
   * read and 1 to write. Returns the page-aligned physical address, or -1 when refused; records no event: call `translate` for
   * the details.
   */
  translateFast(streamId: number, page: number, rw: number): number {
    const translator = this.#translator;
    translator.attributes = 0;
    this.counters.accesses++;
    const paddr = translator.resolve(streamId, -1, page, rw);
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
    const event = faultEvent(this.#translator, access, name);
    const how = terminationOf(this.#translator);
    this.counters.faults++;
    if (how.stall && isTranslationEvent(event)) return this.#stalls.stall(access, event);
    const { response } = how;
    if (!how.record) {
      this.counters.eventsSuppressed++;
      return { outcome: 'fault', event, response, record: 'suppressed', streamId };
    }
    const { stream } = this.#translator;
    const merging = stream !== undefined && STE.get.MEV(stream.words) === 1 ? 'mev' : 'no-mev';
    const record = this.#eventQueue.write(event, merging) ? 'written' : 'dropped';
    this.#countRecord(record);
    return { outcome: 'fault', event, response, record, streamId };
  }

  #countRecord(record: 'written' | 'dropped'): void {
    if (record === 'written') this.counters.eventsWritten++;
    else this.counters.eventsDropped++;
  }

  #registerEffects(): RegisterEffects {
    return {
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
    };
  }

  #stallTable(onStallEnd: StallEndSink | undefined): StallTable {
    return new StallTable({
      capacity: this.features.stallMax,
      queue: this.#eventQueue,
      policy: this.policy,
      retry: (access) => this.translate(access),
      onEnd: (transaction, end) => {
        onStallEnd?.(transaction, end);
        this.#ports.get(transaction.streamId)?.stallEnded(transaction, end);
      },
    });
  }

  #commandProcessor(): CommandProcessor {
    return new CommandProcessor({
      targets: {
        tlb: this.#tlb,
        config: this.#config,
        interrupts: this.#interrupts,
        stalls: this.#stalls,
        ports: this.#ports,
      },
      counts: this.counters,
      context: () => this.#commandContext(),
      invalidate: this.policy.invalidate,
    });
  }

  #staleDetector(): StaleDetector {
    return new StaleDetector({
      memory: this.#memory,
      log: this.#staleLog,
      pending: (test) => this.#commands.progress(this.#commandQueue, test),
      features: this.features,
      e2h: () => usesE2h(this.#file.words),
    });
  }

  #atsPort({ translator, stage2 }: TranslationPath, changes: StaleDetector | undefined): AtsPort {
    const pending: AtcPendingSearch = (test) =>
      this.#commands.atcProgress(this.#commandQueue, test);
    return new AtsPort({
      words: this.#file.words,
      features: this.features,
      policy: this.policy,
      translator,
      stage2,
      events: this.#eventQueue,
      detector:
        changes === undefined
          ? undefined
          : new AtcDetector({ changes, log: this.#staleLog, pending }),
      counted: (record) => this.#countRecord(record),
    });
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
      e2h: usesE2h(words),
      vmw: Math.min(CR0.get.VMW(words, R.CR0ACK / 4), 4),
      enabled: isEnabled(words),
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
