import type { DmaCall } from './operation.ts';

/** An unmap of a map that no dma event may ever name. */
interface End {
  readonly call: DmaCall;
  readonly line: number;
}

/**
 * Maps of memory that no dma event closes, in a trace without probes. Which ends them shows in their address and size; whose they are, only the
 * person who recorded the trace can say.
 */
export class UnnamedMaps {
  /** By the kernel's first IOVA. */
  readonly #live = new Map<number, DmaCall>();
  readonly #ends: End[] = [];
  readonly #device: string;

  /** `device`: whose the maps of the two-step calls are; empty: nobody knows. */
  constructor(device: string) {
    this.#device = device;
  }

  add(call: DmaCall): void {
    call.kind = 'coherent';
    this.#live.set(call.kernelIova, call);
  }

  /** The map that lives at an address with a size, or null. */
  at(iova: number, size: number): DmaCall | null {
    const call = this.#live.get(iova);
    return call?.size === size ? call : null;
  }

  has(call: DmaCall): boolean {
    return this.#live.get(call.kernelIova) === call;
  }

  /** An unmap ends a map, and no dma event names it: what has events for everything else is a two-step range. */
  end(call: DmaCall, line: number): void {
    if (this.has(call)) this.#live.delete(call.kernelIova);
    this.#ends.push({ call, line });
    this.#name(call);
  }

  /** Nothing in the trace told the device of a map: true when the person did. */
  leave(call: DmaCall): boolean {
    this.#name(call);
    return call.device !== '';
  }

  /** Lines of unmaps whose map has no device. */
  get orphanedEnds(): number[] {
    return this.#ends.filter(({ call }) => call.device === '').map(({ line }) => line);
  }

  #name(call: DmaCall): void {
    if (this.#device === '') return;
    call.kind = 'two-step';
    call.device = this.#device;
  }
}
