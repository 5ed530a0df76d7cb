/*
 * Interrupts and global errors (IHI 0070 3.18, 6.3.16-6.3.20, 7.5).
 * Not modelled: the attributes of MSI writes, MSIs of a Secure state, latency between an error and its interrupt.
 */
import {
  EVENTQ_IRQ_CFG0,
  GERROR,
  GERROR_IRQ_CFG0,
  IRQ_CTRL,
  PRIQ_IRQ_CFG0,
  PRIQ_IRQ_CFG2,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { Features } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';

/**
 * The wired outputs that a driver can use; `sev` is no interrupt but the event that CMD_SYNC sends to processors.
 * @example onInterrupt: (line: InterruptLine) => pending.add(line)
 */
export type InterruptLine = 'eventq' | 'priq' | 'gerror' | 'cmd-sync' | 'sev';

/** Called with an MSI whose address no memory backs: true when something took it, else the write is recorded as aborted. */
export type MsiSink = (address: number, data: number) => boolean;

/** The errors of GERROR that this model raises. */
export type GlobalError =
  | 'CMDQ_ERR'
  | 'EVENTQ_ABT_ERR'
  | 'PRIQ_ABT_ERR'
  | 'MSI_CMDQ_ABT_ERR'
  | 'MSI_EVENTQ_ABT_ERR'
  | 'MSI_PRIQ_ABT_ERR'
  | 'MSI_GERROR_ABT_ERR';

const ERRORS: readonly GlobalError[] = [
  'CMDQ_ERR',
  'EVENTQ_ABT_ERR',
  'PRIQ_ABT_ERR',
  'MSI_CMDQ_ABT_ERR',
  'MSI_EVENTQ_ABT_ERR',
  'MSI_PRIQ_ABT_ERR',
  'MSI_GERROR_ABT_ERR',
];

/** Raises global errors and interrupts. */
export class Interrupts {
  readonly #words: Uint32Array;
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #ignoreInactive: boolean;
  readonly #onInterrupt: ((line: InterruptLine) => void) | undefined;
  readonly #onMsi: MsiSink | undefined;
  /** Errors whose GERRORN differs from GERROR although they never happened (7.5, `inactiveErrorToggle: 'ignored'`). */
  readonly #imagined: Set<GlobalError> = new Set();

  constructor(parts: {
    words: Uint32Array;
    memory: MemoryView;
    features: Features;
    policy: Pick<InterfacePolicy, 'inactiveErrorToggle'>;
    onInterrupt: ((line: InterruptLine) => void) | undefined;
    onMsi: MsiSink | undefined;
  }) {
    this.#words = parts.words;
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#ignoreInactive = parts.policy.inactiveErrorToggle === 'ignored';
    this.#onInterrupt = parts.onInterrupt;
    this.#onMsi = parts.onMsi;
  }

  /** Takes over what another SMMU knows of its errors beside its registers. */
  adopt(other: Interrupts): void {
    for (const error of other.#imagined) this.#imagined.add(error);
  }

  /** An error is active while GERROR and GERRORN differ in its bit (7.5). */
  isActive(error: GlobalError): boolean {
    const get = GERROR.get[error];
    if (get(this.#words, R.GERROR / 4) === get(this.#words, R.GERRORN / 4)) return false;
    return this.#imagined.size === 0 || !this.#imagined.has(error);
  }

  /** Makes an error active, unless it is. */
  raise(error: GlobalError): void {
    if (this.isActive(error)) return;
    const words = this.#words;
    this.#imagined.delete(error);
    GERROR.set[error](words, 1 - GERROR.get[error](words, R.GERROR / 4), R.GERROR / 4);
    if (error !== 'MSI_GERROR_ABT_ERR') this.#signalGlobalError();
  }

  /** GERRORN was written: a bit that now differs although its error was not active is what the policy makes of it. */
  acknowledged(before: number): void {
    if (!this.#ignoreInactive) return;
    const old = [before, 0];
    for (const error of ERRORS) {
      const raised = GERROR.get[error](this.#words, R.GERROR / 4);
      const now = GERROR.get[error](this.#words, R.GERRORN / 4);
      const was = GERROR.get[error](old);
      if (raised === now) this.#imagined.delete(error);
      else if (was === raised) this.#imagined.add(error);
    }
  }

  eventQueueNotEmpty(): void {
    const words = this.#words;
    if (IRQ_CTRL.get.EVENTQ_IRQEN(words, R.IRQ_CTRLACK / 4) === 0) return;
    const address = this.#msiAddress(EVENTQ_IRQ_CFG0.get.ADDR(words, R.EVENTQ_IRQ_CFG0 / 4));
    if (address === 0) this.#onInterrupt?.('eventq');
    else if (!this.#writeMsi(address, words[R.EVENTQ_IRQ_CFG1 / 4] as number))
      this.raise('MSI_EVENTQ_ABT_ERR');
  }

  /** A page request arrived: into an empty queue, as the last of its group (queued, or lost to overflow), or neither (3.18, 6.3.36). */
  pageRequest(arrival: { readonly wasEmpty: boolean; readonly last: boolean }): void {
    const words = this.#words;
    if (IRQ_CTRL.get.PRIQ_IRQEN(words, R.IRQ_CTRLACK / 4) === 0) return;
    const lastOnly = PRIQ_IRQ_CFG2.get.LO(words, R.PRIQ_IRQ_CFG2 / 4) === 1;
    if (!(lastOnly ? arrival.last : arrival.wasEmpty)) return;
    const address = this.#msiAddress(PRIQ_IRQ_CFG0.get.ADDR(words, R.PRIQ_IRQ_CFG0 / 4));
    if (address === 0) this.#onInterrupt?.('priq');
    else if (!this.#writeMsi(address, words[R.PRIQ_IRQ_CFG1 / 4] as number))
      this.raise('MSI_PRIQ_ABT_ERR');
  }

  /** CMD_SYNC with CS=1: by MSI where it names an address, else by wire; no IRQ_CTRL bit masks it. */
  commandSync(msiAddress: number, msiData: number): void {
    const address = this.#msiAddress(msiAddress);
    if (address === 0) this.#onInterrupt?.('cmd-sync');
    else if (!this.#writeMsi(address, msiData)) this.raise('MSI_CMDQ_ABT_ERR');
  }

  /** CMD_SYNC with CS=2; without IDR0.SEV no event leaves the SMMU. */
  sendEvent(): void {
    if (this.#features.sev) this.#onInterrupt?.('sev');
  }

  #signalGlobalError(): void {
    if (IRQ_CTRL.get.GERROR_IRQEN(this.#words, R.IRQ_CTRLACK / 4) === 0) return;
    const address = this.#msiAddress(GERROR_IRQ_CFG0.get.ADDR(this.#words, R.GERROR_IRQ_CFG0 / 4));
    if (address === 0) this.#onInterrupt?.('gerror');
    else if (!this.#writeMsi(address, this.#words[R.GERROR_IRQ_CFG1 / 4] as number))
      this.raise('MSI_GERROR_ABT_ERR');
  }

  #msiAddress(address: number): number {
    return this.#features.msi ? address : 0;
  }

  #writeMsi(address: number, data: number): boolean {
    if (address >= 2 ** this.#features.oas || !this.#memory.isBacked(address))
      return this.#onMsi?.(address, data) ?? false;
    this.#memory.store32(address, data);
    return true;
  }
}
