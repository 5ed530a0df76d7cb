import { readFileSync } from 'node:fs';
import { REGISTER_OFFSET as R, type RegisterName } from '@iommukit/arm-arch';
import { parseHex64, toBigInt, type U64 } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { type CachePolicy, type IdrWords, PRESET_INTERFACE, SmmuV3Model } from '../src/index.ts';

interface Step {
  readonly mem?: Readonly<Record<string, string | string[]>>;
  readonly reg?: [RegisterName, string];
  readonly cmd?: [string, string];
  readonly cons?: string;
  readonly gerror?: string;
  readonly access?: { sid: string; addr: string; write: boolean };
  readonly result?: 'ok' | 'abort';
  readonly pa?: string;
  readonly events?: string[][];
}

interface Sample {
  readonly reset: Readonly<Record<string, string>>;
  readonly ram: [string, string];
  readonly bases: Readonly<Record<string, Step[]>>;
  readonly programs: readonly { id: string; base: string; note: string; steps: Step[] }[];
}

function load(preset: string): Sample {
  const url = new URL(`fixtures/${preset}-sample.json`, import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8')) as Sample;
}

function idrOf({ reset }: Sample): IdrWords {
  const names = ['IDR0', 'IDR1', 'IDR2', 'IDR3', 'IDR4', 'IDR5', 'IIDR', 'AIDR', 'GBPA'];
  const words = names.map((name) => [name, Number(reset[name])]);
  return Object.fromEntries(words) as unknown as IdrWords;
}

function hex64(text: string): U64 {
  const value = parseHex64(text);
  if (value === undefined) throw new Error(`no number: ${text}`);
  return value;
}

class Bench {
  readonly memory: PhysicalMemory;
  readonly smmu: SmmuV3Model;
  #seen = 0;

  constructor(sample: Sample, policy: Partial<CachePolicy>) {
    const base = Number(sample.ram[0]);
    this.memory = new PhysicalMemory([{ base, size: Number(sample.ram[1]) - base }]);
    this.smmu = new SmmuV3Model({
      memory: this.memory,
      idr: idrOf(sample),
      policy: { ...PRESET_INTERFACE['qemu-11-nested'], ...policy },
    });
  }

  run(step: Step): void {
    const { mem, reg, cmd, access } = step;
    if (mem !== undefined)
      for (const [at, words] of Object.entries(mem))
        [words].flat().forEach((word, i) => {
          const { lo, hi } = hex64(word);
          this.memory.store64(Number(at) + 8 * i, lo, hi);
        });
    if (reg !== undefined) {
      const { lo, hi } = hex64(reg[1]);
      if (/BASE$|IRQ_CFG0$/.test(reg[0])) this.smmu.registers.write64(R[reg[0]], lo, hi);
      else this.smmu.registers.write32(R[reg[0]], lo);
      if (reg[0] === 'EVENTQ_PROD') this.#seen = lo;
    }
    if (cmd !== undefined) this.#command(cmd, step);
    if (access !== undefined) this.#access(access, step);
  }

  #command(cmd: [string, string], step: Step): void {
    const { registers } = this.smmu;
    const base = registers.read32(R.CMDQ_BASE);
    const prod = registers.read32(R.CMDQ_PROD);
    cmd.forEach((word, i) => {
      const { lo, hi } = hex64(word);
      this.memory.store64(base - (base % 32) + 16 * (prod % 256) + 8 * i, lo, hi);
    });
    registers.write32(R.CMDQ_PROD, (prod + 1) % 512);
    if (step.cons === undefined) return;
    expect(registers.read32(R.CMDQ_CONS)).toBe(Number(step.cons));
    expect(registers.read32(R.GERROR)).toBe(Number(step.gerror));
  }

  #access(access: { sid: string; addr: string; write: boolean }, step: Step): void {
    const result = this.smmu.translate({
      streamId: Number(access.sid),
      address: hex64(access.addr),
      rw: access.write ? 'write' : 'read',
    });
    const passed = result.outcome === 'ok' || result.outcome === 'bypass';
    expect(passed ? 'ok' : 'abort').toBe(step.result);
    if (passed) expect(result.paddr).toBe(Number(step.pa));
    const base = this.smmu.registers.read32(R.EVENTQ_BASE);
    const records: string[][] = [];
    for (
      const prod = this.smmu.registers.read32(R.EVENTQ_PROD);
      this.#seen !== prod;
      this.#seen = (this.#seen + 1) % 256
    ) {
      const at = base - (base % 32) + 32 * (this.#seen % 128);
      records.push(
        [0, 8, 16, 24].map((offset) => {
          const lo = this.memory.load64(at + offset);
          return `0x${toBigInt({ lo, hi: this.memory.hi }).toString(16)}`;
        }),
      );
    }
    expect(records).toEqual(step.events);
  }
}

const policies = [
  ['everything cached', {}],
  ['nothing cached', { tlb: 'none', walk: 'none', config: 'none' }],
  ['stages cached apart', { nested: 'separate' }],
  ['stages cached as one', { nested: 'combined' }],
  [
    'valid configuration cached, invalidation at sync',
    { config: 'keep-valid', invalidate: 'at-sync' },
  ],
] as const;

describe.each(['qemu-11-s1', 'qemu-11-s2', 'qemu-11-nested'])(
  'programs that QEMU ran, %s',
  (preset) => {
    const sample = load(preset);
    describe.each(policies)('%s', (_, policy) => {
      test.each(sample.programs)('$id $note', ({ base, steps }) => {
        const bench = new Bench(sample, policy);
        for (const step of [...(sample.bases[base] ?? []), ...steps]) bench.run(step);
      });
    });
  },
);
