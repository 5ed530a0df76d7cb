/*
 * Programs recorded on QEMU, with the twin walker in the device's place: registers are plain cells, nothing is cached.
 */
import { twinWalk } from './twin-walker.lanes.ts';
import type { TwinMemory, TwinRegisters, TwinResult } from './twin-walker-run.lanes.ts';

export interface VectorStep {
  readonly mem?: Readonly<Record<string, string | readonly string[]>>;
  readonly reg?: readonly [string, string];
  readonly read?: string;
  readonly cmd?: readonly [string, string];
  readonly access?: { readonly sid: string; readonly addr: string; readonly write: boolean };
  readonly result?: 'ok' | 'abort';
  readonly pa?: string;
  readonly events?: readonly (readonly string[])[];
  readonly stale?: boolean;
  readonly deviation?: string;
}

export interface VectorHeader {
  readonly reset: Readonly<Record<string, string>>;
  readonly ram: readonly [string, string];
  readonly bases: Readonly<Record<string, readonly VectorStep[]>>;
}

export interface VectorProgram {
  readonly id: string;
  readonly cat: string;
  readonly base: string;
  readonly note: string;
  readonly steps: readonly VectorStep[];
}

export interface VectorOutcome {
  readonly step: VectorStep;
  readonly equal: boolean;
  readonly twin: TwinResult;
  readonly text: string;
}

class Cells implements TwinMemory {
  readonly words: Map<bigint, bigint> = new Map();
  readonly #end: bigint;
  constructor(end: bigint) {
    this.#end = end;
  }
  read64(address: bigint): bigint | undefined {
    return address >= this.#end ? undefined : (this.words.get(address) ?? 0n);
  }
  write64(address: bigint, value: bigint): void {
    this.words.set(address, value);
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** Runs one program and gives every access with both outcomes. */
export function runVector(header: VectorHeader, program: VectorProgram): VectorOutcome[] {
  const memory = new Cells(BigInt(header.ram[1]));
  const regs: Record<string, bigint> = {};
  for (const name of ['CR0', 'CR2', 'GBPA', 'STRTAB_BASE', 'STRTAB_BASE_CFG', 'EVENTQ_BASE'])
    regs[name] = 0n;
  regs['EVENTQ_PROD'] = 0n;
  regs['EVENTQ_CONS'] = 0n;
  for (const [name, value] of Object.entries(header.reset)) regs[name] = BigInt(value);
  const outcomes: VectorOutcome[] = [];
  for (const step of [...(header.bases[program.base] ?? []), ...program.steps]) {
    for (const [at, words] of Object.entries(step.mem ?? {}))
      [words].flat().forEach((word, i) => {
        memory.write64(BigInt(at) + 8n * BigInt(i), BigInt(word));
      });
    if (step.reg !== undefined) {
      const value = BigInt(step.reg[1]);
      if (step.reg[0] !== 'GBPA') regs[step.reg[0]] = value;
      else if (((value >> 31n) & 1n) === 1n) regs['GBPA'] = value & 0x7fff_ffffn;
    }
    if (step.access === undefined) continue;
    const twin = twinWalk(memory, regs as unknown as TwinRegisters, {
      sid: Number(step.access.sid),
      address: BigInt(step.access.addr),
      write: step.access.write,
      privileged: false,
      instruction: false,
    });
    const records = twin.kind === 'fault' && twin.recorded ? queue(regs, twin.record) : [];
    const text = JSON.stringify([
      twin.kind === 'ok' ? 'ok' : 'abort',
      twin.kind === 'ok' ? hex(twin.pa) : undefined,
      records,
    ]);
    const theirs = JSON.stringify([step.result, step.pa, step.events]);
    outcomes.push({ step, equal: text === theirs, twin, text });
  }
  return outcomes;
}

/** The event queue as far as a program without overflow needs it. */
function queue(regs: Record<string, bigint>, record: readonly bigint[]): string[][] {
  const size = 1n << ((regs['EVENTQ_BASE'] as bigint) & 0x1fn);
  const prod = (regs['EVENTQ_PROD'] as bigint) & 0xfffffn;
  const cons = (regs['EVENTQ_CONS'] as bigint) & 0xfffffn;
  const full = ((prod ^ cons) & (2n * size - 1n)) === size;
  if (((regs['CR0'] as bigint) & 4n) === 0n || full) return [];
  regs['EVENTQ_PROD'] = (prod + 1n) & (2n * size - 1n);
  return [record.map(hex)];
}
