/*
 * An SMMUv3, Non-secure programming interface, stage 1 (IHI 0070). It is built from ID register words, reads and writes memory
 * through one view, and knows nothing of who programs it.
 * Does not model: stage 2, ATS, PRI, stalls, HTTU, 52-bit addresses (each refused at use); Secure, Realm, MPAM, ATOS, ECMDQ.
 */
import { CMD_SYNC, CR0, CR2, OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { fromLanes, hex } from '@iommukit/bits';
import type { MemoryView, MmioFrame, Runnable } from '@iommukit/platform';
import { type CachePolicy, DEFAULT_POLICY } from './cache-policy.ts';
import { type CommandContext, type DecodedCommand, decodeCommand } from './command-decode.ts';
import { CommandQueue } from './command-queue.ts';
import { ConfigCache, type ConfigInvalidation } from './config-cache.ts';
import { ContextTable } from './context-descriptor.ts';
import type { DmaAccess, DmaResult } from './dma-access.ts';
import type { SmmuEvent, SmmuEventName } from './event.ts';
import { EventQueue } from './event-queue.ts';
import { decodeFeatures, type Features, type IdrWords } from './features.ts';
import { type InterruptLine, Interrupts, type MsiSink } from './interrupts.ts';
import { ModelUseError, UnmodelledError } from './model-error.ts';
import { RegisterFile } from './register-file.lanes.ts';
import { StaleDetector } from './stale-detector.lanes.ts';
import { noteRemoved, StaleLog, type StaleUse } from './stale-use.ts';
import { StreamTable } from './stream-table.ts';
import { Tlb, type TlbInvalidation } from './tlb.ts';
import { type CacheCounts, Translator } from './translator.ts';

/**
 * What a model is built from.
 * @example const options: ModelOptions = { memory, idr: { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR5: 0x74 } };
 */
export interface ModelOptions {
  /** Memory as the SMMU sees it. */
  readonly memory: MemoryView;
  /** Raw ID register words, by name or by register offset. */
  readonly idr: IdrWords | ReadonlyMap<number, number>;
  readonly policy?: Partial<CachePolicy>;
  /** Called on each edge of a wired interrupt that is enabled. */
  readonly onInterrupt?: (line: InterruptLine) => void;
  /** Takes MSI writes to addresses that no memory backs; returns whether something took it. */
  readonly onMsi?: MsiSink;
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

/** A translation refused by `translateFast`. */
const REFUSED = -1;

/**
 * The SMMU. Software programs `registers`; a device calls `translate` or `translateFast`; whoever waits calls `run`.
 * Throws `UnmodelledError` where legal software uses what is not modelled, `ModelUseError` for accesses that no bus makes.
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
  readonly #opcodes: Uint32Array = new Uint32Array(256);
  /** Invalidations that were consumed and wait for a CMD_SYNC. */
  readonly #waiting: (TlbInvalidation | ConfigInvalidation)[] = [];

  constructor(options: ModelOptions) {
    const { memory, onInterrupt, onMsi } = options;
    const idr = idrWords(options.idr);
    const features = decodeFeatures(idr);
    const policy = { ...DEFAULT_POLICY, ...options.policy };
    this.features = features;
    this.policy = policy;
    this.#file = new RegisterFile(
      idr,
      features,
      {
        enablesChanged: () => this.#kick(),
        commandQueueKick: () => this.#kick(),
        streamTableMoved: () => {
          this.#streams.generation++;
        },
      },
      policy.acknowledge,
    );
    this.registers = this.#file;
    const { words } = this.#file;
    this.#interrupts = new Interrupts({ words, memory, features, onInterrupt, onMsi });
    const queueParts = { words, memory, features, interrupts: this.#interrupts };
    this.#commandQueue = new CommandQueue(queueParts, (command) => this.#execute(command));
    this.#eventQueue = new EventQueue(queueParts);
    this.#tlb = new Tlb(noteRemoved);
    this.#config = new ConfigCache(noteRemoved);
    this.#staleLog = new StaleLog(policy.staleLimit);
    const detector = policy.detectStale
      ? new StaleDetector({
          memory,
          log: this.#staleLog,
          pending: (test) => this.#isPending(test),
          range: features.ril,
        })
      : undefined;
    this.#streams = new StreamTable({
      memory,
      words,
      features,
      cache: this.#config,
      policy,
      detector,
    });
    const contexts = new ContextTable({ memory, features, policy, tlb: this.#tlb, detector });
    this.#translator = new Translator({
      memory,
      words,
      features,
      policy,
      cache: this.#config,
      streams: this.#streams,
      contexts,
      detector,
      counts: this.counters,
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

  /** How many commands with this opcode were consumed. */
  commandCount(opcode: number): number {
    return this.#opcodes[opcode] ?? 0;
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
    const lo = fromLanes(address.lo, 0);
    const offset = lo % 4096;
    const page = fromLanes(lo - offset, address.hi);
    const translator = this.#translator;
    translator.setAttributes(
      access.privileged === true,
      access.instruction === true && rw === 'read',
    );
    this.counters.accesses++;
    const paddr = translator.resolve(streamId, ssid, page, rw === 'write' ? 1 : 0);
    if (paddr < 0) return this.#refused(access);
    if (translator.bypassed) return { outcome: 'bypass', paddr: paddr + offset, streamId };
    return { outcome: 'ok', paddr: paddr + offset, streamId, tlbHit: translator.tlbHit };
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

  #refused(access: DmaAccess): DmaResult {
    const { streamId } = access;
    const { fault, context } = this.#translator;
    const name = fault.event;
    if (name === undefined)
      return { outcome: 'abort', reason: fault.abort ?? 'ste-abort', streamId };
    const event = this.#event(access, name);
    const configured = fault.configurable ? context : undefined;
    if (configured?.s === true)
      throw new UnmodelledError(
        'UNMODELLED_STALL',
        { streamId },
        'the CD makes this fault stall (CD.S)',
      );
    this.counters.faults++;
    const response = configured?.a === false ? 'raz-wi' : 'abort';
    if (configured?.r === false) {
      this.counters.eventsSuppressed++;
      return { outcome: 'fault', event, response, record: 'suppressed', streamId };
    }
    const written = this.#eventQueue.write(event);
    if (written) this.counters.eventsWritten++;
    else this.counters.eventsDropped++;
    return { outcome: 'fault', event, response, record: written ? 'written' : 'dropped', streamId };
  }

  #event(access: DmaAccess, name: SmmuEventName): SmmuEvent {
    const { fault, privileged, instruction } = this.#translator;
    const { streamId, address, rw } = access;
    const { fetchAddress } = fault;
    const header = { streamId, substreamId: fault.substreamId ?? access.substreamId };
    switch (name) {
      case 'F_STE_FETCH':
      case 'F_CD_FETCH':
        return { event: name, ...header, fetchAddress };
      case 'F_WALK_EABT':
        return {
          event: name,
          ...header,
          address,
          rw,
          privileged,
          instruction,
          class: 'TT',
          fetchAddress,
        };
      case 'F_TRANSLATION':
      case 'F_ADDR_SIZE':
      case 'F_ACCESS':
      case 'F_PERMISSION':
        return { event: name, ...header, address, rw, privileged, instruction, class: 'IN' };
      default:
        return { event: name, ...header };
    }
  }

  #kick(): void {
    if (this.policy.consume === 'immediate') this.#commandQueue.consumeAll();
  }

  #commandContext(): CommandContext {
    const { words } = this.#file;
    return {
      features: this.features,
      e2h: CR2.get.E2H(words, R.CR2 / 4) === 1,
      vmw: Math.min(CR0.get.VMW(words, R.CR0ACK / 4), 4),
      enabled: CR0.get.SMMUEN(words, R.CR0ACK / 4) === 1,
    };
  }

  #execute(words: Uint32Array): boolean {
    const command = decodeCommand(words, this.#commandContext());
    if (command.what === 'illegal') return false;
    this.#perform(command);
    this.counters.commands++;
    const opcode = CMD_SYNC.get.Opcode(words);
    this.#opcodes[opcode] = (this.#opcodes[opcode] as number) + 1;
    return true;
  }

  #perform(command: DecodedCommand): void {
    switch (command.what) {
      case 'tlb':
      case 'config':
        if (this.policy.invalidate === 'at-sync') this.#waiting.push(command);
        else this.#invalidate(command);
        return;
      case 'sync':
        for (const waiting of this.#waiting.splice(0)) this.#invalidate(waiting);
        this.counters.syncs++;
        if (command.signal === 1) this.#interrupts.commandSync(command.msiAddress, command.msiData);
        return;
      case 'atc-inv':
        throw new UnmodelledError(
          'UNMODELLED_ATS',
          { opcode: OPCODE.ATC_INV },
          'CMD_ATC_INV was given',
        );
      case 'pri-resp':
        throw new UnmodelledError(
          'UNMODELLED_PRI',
          { opcode: OPCODE.PRI_RESP },
          'CMD_PRI_RESP was given',
        );
      default:
        // Prefetch is a hint, and no transaction is stalled.
        return;
    }
  }

  #invalidate(op: TlbInvalidation | ConfigInvalidation): void {
    if (op.what === 'tlb') this.#tlb.invalidate(op);
    else this.#config.invalidate(op);
  }

  #isPending(test: (op: TlbInvalidation | ConfigInvalidation) => boolean): boolean {
    if (this.#waiting.some(test)) return true;
    const context = this.#commandContext();
    return this.#commandQueue.somePending((words) => {
      const command = decodeCommand(words, context);
      return (command.what === 'tlb' || command.what === 'config') && test(command);
    });
  }
}

function idrWords(idr: IdrWords | ReadonlyMap<number, number>): IdrWords {
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
