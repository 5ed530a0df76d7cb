import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import {
  count,
  flag,
  list,
  type Members,
  object,
  oneOf,
  plainOr,
  record,
  type Shape,
  text,
  tuple,
  word,
} from './vector-shape.ts';
import { halves, type JsonRow, VectorError } from './vector-values.lanes.ts';

// The steps of programs run on QEMU's SMMUv3, as `data/qemu-vectors/README.md` of @iommukit/vectors documents them, checked and
// taken apart once: a base runs before each of thousands of programs.

/** What an access did: the address it came out at, and the records that it added to the event queue, four doublewords each. */
export interface AccessOutcome {
  readonly result: string;
  readonly pa: string | undefined;
  readonly events: readonly (readonly string[])[];
  readonly gerror: number;
}

/** CMDQ_CONS and GERROR after a command. */
export interface CommandOutcome {
  readonly cons: number;
  readonly gerror: number;
}

/** A step's recorded differences from the architecture: codes, none for most. */
interface Recorded {
  readonly deviation: readonly string[];
}

/** A register access; `bytes` 8 for those that are programmed as 64 bits. */
export interface RegisterPlace {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 4 | 8;
}

/** Doublewords that software stores: address, low lane, high lane, and so on. */
export interface MemoryStep {
  readonly kind: 'mem';
  readonly words: readonly number[];
}

export interface WriteStep extends RegisterPlace {
  readonly kind: 'reg';
  readonly lo: number;
  readonly hi: number;
}

export interface ReadStep extends RegisterPlace {
  readonly kind: 'read';
  readonly lo: number;
  readonly hi: number;
}

export interface CommandStep extends Recorded, CommandOutcome {
  readonly kind: 'cmd';
  readonly words: readonly [number, number, number, number];
}

export interface AccessStep extends Recorded {
  readonly kind: 'access';
  readonly streamId: number;
  readonly lo: number;
  readonly hi: number;
  readonly rw: 'read' | 'write';
  readonly expected: AccessOutcome;
  readonly stale: boolean;
}

export type ProgramStep = MemoryStep | WriteStep | ReadStep | CommandStep | AccessStep;

const registerName = oneOf(...Object.keys(REGISTER_OFFSET));
const bases: Members = {
  mem: object,
  reg: tuple(2, registerName, word),
  cmd: tuple(2, word, word),
};
const code: Shape = (value, at) => {
  if (typeof value !== 'string' || !/^[a-z0-9]+(\+[a-z0-9]+)*$/.test(value))
    throw new VectorError(at, 'codes joined by "+"', value);
};

const memory = record({ mem: object });
const write = record({ reg: bases['reg'] as Shape });
const read = record({ read: registerName, value: word });
const baseCommand = record({ cmd: bases['cmd'] as Shape });
const command = record(
  { cmd: bases['cmd'] as Shape, cons: word, gerror: word },
  { deviation: code },
);
const access = record(
  {
    access: record({ sid: word, addr: word, write: flag, size: count(4096) }),
    result: oneOf('ok', 'abort'),
    events: list(tuple(4, word, word, word, word)),
  },
  { pa: word, gerror: word, stale: flag, deviation: code },
);
const stored = plainOr(word, list(word));

const WIDE: ReadonlySet<string> = new Set([
  ...['STRTAB_BASE', 'CMDQ_BASE', 'EVENTQ_BASE', 'PRIQ_BASE'],
  ...['GERROR_IRQ_CFG0', 'EVENTQ_IRQ_CFG0', 'PRIQ_IRQ_CFG0'],
]);

/** The place of a register, whose name was checked. */
export function registerPlace(name: string): RegisterPlace {
  const offset = REGISTER_OFFSET[name as keyof typeof REGISTER_OFFSET];
  return { name, offset, bytes: WIDE.has(name) ? 8 : 4 };
}

function lanes(text: unknown): { lo: number; hi: number } {
  const [lo, hi] = halves(text as string);
  return { lo, hi };
}

/** The same word without leading zeros. */
function plainWord(text: string): string {
  return `0x${text.slice(2).replace(/^0+(?=.)/, '')}`;
}

function memoryStep(mem: JsonRow, at: string): MemoryStep {
  const words: number[] = [];
  for (const [address, value] of Object.entries(mem)) {
    word(address, `${at}.mem`);
    stored(value, `${at}.mem.${address}`);
    const first = Number(address);
    if (first % 8 !== 0 || first >= 2 ** 52)
      throw new VectorError(`${at}.mem`, 'an address of a doubleword', address);
    for (const [i, one] of (typeof value === 'string' ? [value] : (value as string[])).entries())
      words.push(first + i * 8, ...halves(one));
  }
  return { kind: 'mem', words };
}

function deviations(step: JsonRow): readonly string[] {
  const { deviation } = step;
  return typeof deviation === 'string' ? deviation.split('+') : [];
}

function commandStep(step: JsonRow): CommandStep {
  const [first, second] = step['cmd'] as [string, string];
  return {
    kind: 'cmd',
    words: [...halves(first), ...halves(second)],
    cons: Number(step['cons'] ?? 0),
    gerror: Number(step['gerror'] ?? 0),
    deviation: deviations(step),
  };
}

function accessStep(step: JsonRow, at: string): AccessStep {
  const { sid, addr, write: isWrite } = step['access'] as JsonRow;
  const { result, pa, events, gerror = '0x0', stale = false } = step;
  if ((result === 'ok') !== (pa !== undefined))
    throw new VectorError(`${at}.pa`, 'an address with "ok" and none with "abort"', pa);
  return {
    kind: 'access',
    streamId: Number(sid),
    ...lanes(addr),
    rw: isWrite === true ? 'write' : 'read',
    expected: {
      result,
      pa: pa === undefined ? undefined : plainWord(pa),
      events: (events as string[][]).map((event) => event.map(plainWord)),
      gerror: Number(gerror),
    },
    stale,
    deviation: deviations(step),
  };
}

/** Takes a step of a program apart, or one of a base, which records no results. Throws {@link VectorError}. */
export function programStep(step: unknown, of: 'program' | 'base', at: string): ProgramStep {
  object(step, at);
  const row = step as JsonRow;
  if ('mem' in row) {
    memory(row, at);
    return memoryStep(row['mem'], at);
  }
  if ('reg' in row) {
    write(row, at);
    const [name, value] = row['reg'] as [string, string];
    return { kind: 'reg', ...registerPlace(name), ...lanes(value) };
  }
  if ('cmd' in row) {
    if (of === 'program') command(row, at);
    else baseCommand(row, at);
    return commandStep(row);
  }
  if (of === 'program' && 'read' in row) {
    read(row, at);
    return { kind: 'read', ...registerPlace(row['read']), ...lanes(row['value']) };
  }
  if (of === 'program' && 'access' in row) {
    access(row, at);
    return accessStep(row, at);
  }
  throw new VectorError(at, 'a step with mem, reg, cmd, read or access', row);
}

/** The members that every program has. */
export const programShape: Shape = record({
  id: text,
  preset: text,
  cat: text,
  base: text,
  steps: list(object),
});
