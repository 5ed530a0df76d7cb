/*
 * Interrupts and global errors (IHI 0070 3.18, 6.3.16-6.3.20, 7.5).
 * Does not model: the attributes of MSI writes, MSIs of a Secure state, latency between an error and its interrupt.
 */
import {
  EVENTQ_IRQ_CFG0,
  GERROR,
  GERROR_IRQ_CFG0,
  IRQ_CTRL,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { Features } from './features.ts';

/**
 * The wired interrupt outputs that a driver can use.
 * @example onInterrupt: (line: InterruptLine) => pending.add(line)
 */
export type InterruptLine = 'eventq' | 'gerror' | 'cmd-sync';

/** Called with an MSI whose address no memory backs: true when something took it, else the write is recorded as aborted. */
export type MsiSink = (address: number, data: number) => boolean;

/** The errors of GERROR that this model raises. */
export type GlobalError =
  | 'CMDQ_ERR'
  | 'EVENTQ_ABT_ERR'
  | 'MSI_CMDQ_ABT_ERR'
  | 'MSI_EVENTQ_ABT_ERR'
  | 'MSI_GERROR_ABT_ERR';

/** Raises global errors and interrupts. */
export class Interrupts {
  readonly #words: Uint32Array;
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #onInterrupt: ((line: InterruptLine) => void) | undefined;
  readonly #onMsi: MsiSink | undefined;

  constructor(parts: {
    words: Uint32Array;
    memory: MemoryView;
    features: Features;
    onInterrupt: ((line: InterruptLine) => void) | undefined;
    onMsi: MsiSink | undefined;
  }) {
    this.#words = parts.words;
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#onInterrupt = parts.onInterrupt;
    this.#onMsi = parts.onMsi;
  }

  /** An error is active while GERROR and GERRORN differ in its bit (7.5). */
  isActive(error: GlobalError): boolean {
    const get = GERROR.get[error];
    return get(this.#words, R.GERROR / 4) !== get(this.#words, R.GERRORN / 4);
  }

  /** Makes an error active, unless it is. */
  raise(error: GlobalError): void {
    if (this.isActive(error)) return;
    const words = this.#words;
    GERROR.set[error](words, 1 - GERROR.get[error](words, R.GERROR / 4), R.GERROR / 4);
    if (error !== 'MSI_GERROR_ABT_ERR') this.#signalGlobalError();
  }

  eventQueueNotEmpty(): void {
    if (IRQ_CTRL.get.EVENTQ_IRQEN(this.#words, R.IRQ_CTRLACK / 4) === 0) return;
    const address = this.#msiAddress(EVENTQ_IRQ_CFG0.get.ADDR(this.#words, R.EVENTQ_IRQ_CFG0 / 4));
    if (address === 0) this.#onInterrupt?.('eventq');
    else if (!this.#writeMsi(address, this.#words[R.EVENTQ_IRQ_CFG1 / 4] as number))
      this.raise('MSI_EVENTQ_ABT_ERR');
  }

  commandSync(msiAddress: number, msiData: number): void {
    const address = this.#msiAddress(msiAddress);
    if (address === 0) this.#onInterrupt?.('cmd-sync');
    else if (!this.#writeMsi(address, msiData)) this.raise('MSI_CMDQ_ABT_ERR');
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
    if (!this.#memory.isBacked(address)) return this.#onMsi?.(address, data) ?? false;
    this.#memory.store32(address, data);
    return true;
  }
}
