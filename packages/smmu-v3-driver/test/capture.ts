import { readFileSync } from 'node:fs';
import type { CoherentMemory } from '../src/index.ts';
import type { IdWords, RegisterWrite } from './fake-smmu.lanes.ts';

function text(name: string): string {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
}

/** Register writes of the capture, in order. */
export function capturedWrites(): RegisterWrite[] {
  return text('qemu-ops.txt')
    .split('\n')
    .filter((line) => line.startsWith('W '))
    .map((line): RegisterWrite => {
      const [, offset, value, bytes] = line.split(' ');
      return [Number(offset), BigInt(value ?? 0), bytes === '8' ? 8 : 4];
    });
}

const guestOps = text('guest-ops.txt').trimEnd().split('\n');
const bridged = guestOps.findIndex((line) => line.includes('0000:03:01.0'));

/** Command lists of the capture: probe and the first device, or the bridged device. */
export function capturedLists(which: 'first' | 'bridged'): string[] {
  const lines = which === 'first' ? guestOps.slice(0, bridged) : guestOps.slice(bridged);
  return lines
    .filter((line) => line.includes(' cmdlist '))
    .map((line) => line.slice(line.indexOf('n=')));
}

/** Gives out the addresses that the kernel got, and refuses another size. */
export function capturedMemory(): CoherentMemory {
  const given = guestOps
    .filter((line) => line.includes(' dma_alloc '))
    .map((line) => {
      const [, pa, size] = /dma_addr=([0-9a-f]+) size=(\d+)/.exec(line) ?? [];
      return { pa: Number(`0x${pa}`), size: Number(size) };
    });
  return {
    alloc(bytes) {
      const next = given.shift();
      return next?.size === bytes ? next.pa : -1;
    },
    free() {},
  };
}

/** ID words as dumped. */
export function capturedIds(): IdWords {
  const { regs } = JSON.parse(text('regs.json')) as { regs: Record<string, string> };
  const word = (offset: string): number => Number(regs[offset]);
  return { idr0: word('0x0'), idr1: word('0x4'), idr3: word('0xc'), idr5: word('0x14') };
}

/** One stream of the idle dump. */
export interface DumpedStream {
  readonly sid: string;
  readonly d: readonly string[];
  readonly cd0: string;
  readonly ttb0: string;
  readonly mair: string;
}

export function dumpedStream(sid: number): DumpedStream {
  const stes = JSON.parse(text('stes.json')) as DumpedStream[];
  const found = stes.find((ste) => Number(ste.sid) === sid);
  if (found === undefined) throw new Error(`no stream ${sid}`);
  return found;
}

/** Kernel lines without time stamp. */
export function kernelLines(): string[] {
  return text('dmesg.txt')
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^\[[^\]]*\] /, ''));
}
