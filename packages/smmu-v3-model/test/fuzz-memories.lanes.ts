/*
 * Random memories: registers, queues and tables of arbitrary bits under random features and policies. Whatever software and devices
 * leave there, every outcome is one that the architecture has; `fuzzMemory` says what was not.
 */
import { EVENTS, OPCODE, REGISTER_OFFSET as R, REGISTER_FRAME_BYTES } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import { createPrng, PhysicalMemory } from '@iommukit/platform';
import {
  CACHE_EVERYTHING,
  CACHE_NOTHING,
  type CachePolicy,
  type DmaResult,
  encodeFeatures,
  type Features,
  SmmuV3Model,
  UnmodelledError,
} from '../src/index.ts';
import { makeTwinCase } from './twin-walker-cases.lanes.ts';
import { randomFeatures, twinIdr } from './twin-walker-rig.lanes.ts';
import { type TwinRegisters, twinFeatures } from './twin-walker-run.lanes.ts';
import { Dice, SPACE_RAM } from './twin-walker-space.lanes.ts';

export interface FuzzReport {
  memories: number;
  accesses: number;
  readonly outcomes: Map<string, number>;
  /** Refusals of what the model does not have, by code. */
  readonly unmodelled: Map<string, number>;
  /** Outcomes that no architecture has, throws included, each with its seed. */
  readonly wrong: string[];
}

export function newFuzzReport(): FuzzReport {
  return { memories: 0, accesses: 0, outcomes: new Map(), unmodelled: new Map(), wrong: [] };
}

const OFFSETS: readonly number[] = Object.values(R);
/** Registers of 64 bits (6.2): the bases, and those that hold an address for MSIs. */
const WIDE: readonly number[] = Object.entries(R)
  .filter(([name]) => /_BASE$|IRQ_CFG0$|^GATOS_(SID|ADDR|PAR)$|^S2PII$/.test(name))
  .map(([, offset]) => offset);
const OPCODES: readonly number[] = Object.values(OPCODE);
const PAGES: readonly bigint[] = [
  0x4010_0000n,
  0x4018_0000n,
  0x4020_0000n,
  0x4026_0000n,
  0x4100_0000n,
  0x4100_1000n,
  0x4101_0000n,
];

interface Target {
  readonly sid: number;
  readonly ssid?: number | undefined;
  readonly address: bigint;
}

class Fuzz {
  readonly dice: Dice;
  readonly report: FuzzReport;
  readonly seed: number;
  readonly memory: PhysicalMemory = new PhysicalMemory([...SPACE_RAM]);
  readonly features: Features;
  readonly smmu: SmmuV3Model;
  #seen = 0;

  constructor(seed: number, report: FuzzReport) {
    this.seed = seed;
    this.report = report;
    this.dice = new Dice(createPrng(seed));
    const { features, smmu } = this.#model();
    this.features = features;
    this.smmu = smmu;
  }

  #model(): { features: Features; smmu: SmmuV3Model } {
    const { dice } = this;
    for (;;) {
      const random = randomFeatures(dice);
      const ats = dice.chance(50);
      const features: Features = {
        ...random,
        msi: dice.chance(50),
        sev: dice.chance(50),
        ats,
        pri: ats && dice.chance(60),
        ns1ats: ats && random.s1p && random.s2p && dice.chance(30),
        atsRecErr: dice.chance(50),
        pps: dice.chance(50),
      };
      try {
        const smmu = new SmmuV3Model({
          memory: this.memory,
          idr: encodeFeatures(features),
          policy: this.#policy(),
          ...(dice.chance(50) ? { onMsi: () => dice.chance(50) } : {}),
          onInterrupt: () => undefined,
          onStallEnd: () => undefined,
        });
        return { features, smmu };
      } catch (error) {
        if (!(error instanceof IommuError)) throw error;
      }
    }
  }

  #policy(): CachePolicy {
    const { dice } = this;
    return {
      ...dice.pick([CACHE_NOTHING, CACHE_EVERYTHING]),
      consume: dice.pick(['immediate', 'run', 'step']),
      acknowledge: dice.pick(['immediate', 'run']),
      invalidate: dice.pick(['at-command', 'at-sync']),
      config: dice.pick(['none', 'keep-valid', 'keep']),
      detectStale: dice.chance(70),
    };
  }

  fail(what: string): void {
    this.report.wrong.push(`seed ${this.seed}: ${what}`);
  }

  /** Runs an action of software or a device; nothing but a refusal of the unmodelled may be thrown. */
  attempt(what: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof UnmodelledError)
        this.report.unmodelled.set(error.code, (this.report.unmodelled.get(error.code) ?? 0) + 1);
      else
        this.fail(
          `${what} threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
    }
  }

  store(at: bigint, word: bigint): void {
    this.memory.store64(Number(at), Number(word & 0xffff_ffffn), Number(word >> 32n));
  }

  /** An address that often is in RAM, often is one of the pages in use. */
  address(): bigint {
    const { dice } = this;
    if (dice.chance(75)) return dice.pick(PAGES) + dice.wide(9) * 8n;
    return dice.chance(50) ? dice.wide(56) : 0x4000_0000n + dice.wide(28);
  }

  word(): bigint {
    const { dice } = this;
    switch (dice.below(8)) {
      case 0:
        return dice.wide(64);
      case 1:
        return (this.address() & ~0xfffn) | 3n | (dice.wide(12) & ~3n);
      case 2:
        return (this.address() & ~0xfffn) | BigInt(dice.below(4096)) | (dice.wide(12) << 52n);
      case 3:
        return (
          (this.address() & ~0x3fn) |
          1n |
          (BigInt(dice.between(4, 7)) << 1n) |
          (dice.wide(8) << 56n)
        );
      case 4:
        return 0x0000_6600_8000_0000n | dice.wide(31) | (dice.wide(31) << 32n);
      case 5:
        return BigInt(dice.pick(OPCODES)) | (dice.wide(54) << 10n);
      case 6:
        return dice.wide(4) << BigInt(dice.below(60));
      default:
        return BigInt(dice.pick(OPCODES)) | (BigInt(dice.below(300)) << 32n);
    }
  }

  fill(): void {
    const { dice } = this;
    for (const page of PAGES) {
      const many = dice.pick([4, 16, 64]);
      for (let i = 0; i < many; i++) this.store(page + dice.wide(9) * 8n, this.word());
    }
  }

  /** A working configuration with several bits turned. */
  working(): readonly Target[] {
    const { dice, smmu } = this;
    const idr = twinIdr(encodeFeatures(this.features));
    const one = makeTwinCase(dice, twinFeatures(idr as TwinRegisters), idr);
    const eats = this.features.ats ? dice.pick([0n, 1n, 1n, 2n]) << 28n : 0n;
    for (const [at, word] of one.space.words)
      this.store(at, at === one.ste + 8n ? word | eats : word);
    const { registers } = smmu;
    const base = one.registers.STRTAB_BASE;
    registers.write64(R.STRTAB_BASE, Number(base & 0xffff_ffffn), Number(base >> 32n));
    registers.write32(R.STRTAB_BASE_CFG, Number(one.registers.STRTAB_BASE_CFG));
    registers.write32(R.CR2, Number(one.registers.CR2));
    for (let i = dice.below(4); i > 0; i--) this.store(dice.pick(one.space.targets), this.word());
    return one.accesses;
  }

  writeRegister(): void {
    const { dice, smmu } = this;
    const address = this.address() | BigInt(dice.below(64));
    if (dice.chance(40)) {
      const offset = dice.pick(WIDE);
      const hi = Number(address >> 32n) + (dice.chance(20) ? 0x4000_0000 : 0);
      this.attempt(`write64 ${offset}`, () =>
        smmu.registers.write64(offset, Number(address & 0xffff_ffffn), hi),
      );
      return;
    }
    const offset = dice.chance(85) ? dice.pick(OFFSETS) : dice.below(REGISTER_FRAME_BYTES / 4) * 4;
    const value = dice.pick([
      Number(dice.wide(32)),
      dice.below(64),
      Number(address & 0xffff_ffffn),
      dice.below(2 ** 20),
      0xd,
    ]);
    this.attempt(`write32 ${offset.toString(16)} ${value.toString(16)}`, () =>
      smmu.registers.write32(offset, value),
    );
  }

  commands(): void {
    const { dice, smmu } = this;
    const { registers } = smmu;
    const base = 0x4018_0000;
    registers.write32(R.CR0, 0);
    registers.write64(R.CMDQ_BASE, base + dice.between(0, 5), 0);
    const size = 2 ** (registers.read32(R.CMDQ_BASE) % 32);
    registers.write32(R.CMDQ_CONS, 0);
    registers.write32(R.CMDQ_PROD, 0);
    registers.write64(R.EVENTQ_BASE, 0x4010_0000 + dice.between(0, 5), 0);
    registers.write32(R.EVENTQ_PROD, 0);
    registers.write32(R.EVENTQ_CONS, 0);
    registers.write64(R.PRIQ_BASE, 0x4011_0000 + dice.between(0, 4), 0);
    registers.write32(R.PRIQ_PROD, 0);
    registers.write32(R.PRIQ_CONS, 0);
    this.#seen = 0;
    for (let i = 0; i < size; i++) {
      this.store(BigInt(base + 16 * i), this.word());
      this.store(BigInt(base + 16 * i + 8), dice.chance(50) ? this.address() : dice.wide(64));
    }
    this.attempt('CR0', () => registers.write32(R.CR0, dice.pick([0xd, 0xf, 0xd, 0x1d, 0xc])));
    this.attempt('CMDQ_PROD', () => registers.write32(R.CMDQ_PROD, dice.below(2 * size)));
  }

  /** The commands went on: acknowledge, as software does after an error. */
  settle(): void {
    const { dice, smmu } = this;
    for (let i = dice.below(6); i > 0; i--) this.attempt('run', () => smmu.run());
    if (dice.chance(50))
      this.attempt('GERRORN', () =>
        smmu.registers.write32(R.GERRORN, smmu.registers.read32(R.GERROR)),
      );
  }

  access(at: Target): void {
    const { dice, smmu, report } = this;
    this.attempt('access', () => {
      report.accesses++;
      const result = smmu.translate({
        streamId: at.sid,
        substreamId: at.ssid,
        address: { lo: Number(at.address & 0xffff_ffffn), hi: Number(at.address >> 32n) },
        rw: dice.pick(['read', 'write', 'atomic']),
        privileged: dice.chance(50),
        instruction: dice.chance(30),
      });
      this.judge(result);
    });
  }

  /** An endpoint that answers as it likes, at one of the streams that are used. */
  connect(sid: number): void {
    const { dice, smmu } = this;
    smmu.connect({
      streamId: sid,
      invalidate: ({ start, sizeLg2 }) => {
        if (sizeLg2 < 12 || sizeLg2 > 64 || start % 4096 !== 0)
          this.fail(`an invalidation of 2^${sizeLg2} bytes at ${start}`);
        return dice.pick(['done', 'done', 'unsupported', 'timeout']);
      },
      pageResponse: ({ group, code }) => {
        if (group > 511 || ![0, 1, 15].includes(code)) this.fail(`a response ${group} ${code}`);
      },
      stallEnded: () => undefined,
    });
  }

  /** What an endpoint with ATS and PRI sends besides (3.9, 8). */
  endpoint(at: Target): void {
    const { dice, smmu, report } = this;
    const streamId = at.sid;
    const substreamId = at.ssid;
    const address = { lo: Number(at.address & 0xffff_ffffn), hi: Number(at.address >> 32n) };
    const note = (key: string): void => {
      report.outcomes.set(key, (report.outcomes.get(key) ?? 0) + 1);
    };
    this.attempt('translation request', () => {
      const done = smmu.translationRequest({
        streamId,
        substreamId,
        address,
        noWrite: dice.chance(50),
        privileged: dice.chance(50),
        execute: dice.chance(30),
      });
      note(`ATS request ${done.status}`);
      if (done.status !== 'success') return;
      if (done.size < 4096 || !Number.isInteger(Math.log2(done.size)))
        this.fail(`a completion of ${done.size} bytes`);
      if ((done.read || done.write) && done.output % done.size !== 0)
        this.fail(`a completion of ${done.size} bytes at ${done.output}`);
    });
    this.attempt('translated transaction', () => {
      const done = smmu.translatedTransaction({
        streamId,
        address,
        rw: dice.pick(['read', 'write', 'atomic']),
      });
      note(`ATS translated ${done.outcome}`);
      if (done.outcome === 'ok' && done.paddr >= 2 ** this.features.oas)
        this.fail(`a translated output beyond OAS: ${done.paddr}`);
    });
    this.attempt('page request', () => {
      const done = smmu.pageRequest({
        streamId,
        substreamId,
        page: Number(at.address & ~0xfffn),
        group: dice.below(512),
        read: dice.chance(50),
        write: dice.chance(50),
        last: dice.chance(50),
        execute: dice.chance(20),
        privileged: dice.chance(20),
      });
      note(`PRI ${done.outcome}`);
    });
  }

  /** Whether an outcome is one that the architecture has. */
  judge(result: DmaResult): void {
    const { report, features } = this;
    const key = 'event' in result ? `${result.outcome} ${result.event.event}` : result.outcome;
    report.outcomes.set(key, (report.outcomes.get(key) ?? 0) + 1);
    if (result.outcome === 'ok' || result.outcome === 'bypass') {
      const { paddr } = result;
      if (!Number.isInteger(paddr) || paddr < 0 || paddr >= 2 ** features.oas)
        this.fail(`an output beyond OAS: ${paddr.toString(16)}`);
    } else if (result.outcome === 'fault') {
      if (features.termModel && result.response !== 'abort') this.fail('RAZ/WI with TERM_MODEL=1');
    } else if (result.outcome === 'stall' && features.stallModel === 1)
      this.fail('a stall with STALL_MODEL=1');
  }

  /** Every record since the last look: a known event, its reserved bits zero. Only where nothing else writes to the queue. */
  records(): void {
    const { registers } = this.smmu;
    const base = registers.read32(R.EVENTQ_BASE);
    const log2 = base % 32;
    if (base - log2 !== 0x4010_0000 || log2 > 5) return;
    const prod = registers.read32(R.EVENTQ_PROD) % 2 ** (log2 + 1);
    for (; this.#seen !== prod; this.#seen = (this.#seen + 1) % 2 ** (log2 + 1)) {
      const words = new Uint32Array(8);
      for (let i = 0; i < 8; i += 2) {
        words[i] = this.memory.load64(0x4010_0000 + 32 * (this.#seen % 2 ** log2) + 4 * i);
        words[i + 1] = this.memory.hi;
      }
      const code = (words[0] as number) % 256;
      const layout = EVENTS.get(code);
      if (layout === undefined) this.fail(`an event record of number 0x${code.toString(16)}`);
      else if (layout.decode(words).stray.length > 0)
        this.fail(
          `stray bits in ${layout.name}: ${[...words].map((w) => w.toString(16)).join(' ')}`,
        );
    }
  }

  /** What registers may never read as (6.3.9, 6.3.19, 7.1). */
  registers(): void {
    const { registers } = this.smmu;
    for (const offset of OFFSETS) this.attempt(`read ${offset}`, () => registers.read32(offset));
    const gerror = registers.read32(R.GERROR);
    const known = [0, 2, 3, 4, 5, 6, 7, 8, 9].reduce((sum, bit) => sum + 2 ** bit, 0);
    if ((gerror & ~known) !== 0) this.fail(`GERROR 0x${gerror.toString(16)}`);
    const active = ((gerror ^ registers.read32(R.GERRORN)) & 1) === 1;
    const error = Math.floor(registers.read32(R.CMDQ_CONS) / 2 ** 24) % 128;
    if (active && this.#trusted && ![1, 2, 3].includes(error)) this.fail(`CMDQ_CONS.ERR ${error}`);
  }
  #trusted = true;

  run(): void {
    const { dice } = this;
    this.fill();
    const real = dice.chance(60) ? this.working() : [];
    this.commands();
    this.settle();
    const accesses = (many: number): void => {
      for (let i = 0; i < many; i++) {
        const use = real.length > 0 && dice.chance(75);
        const target: Target = use
          ? dice.pick(real)
          : {
              sid: dice.chance(80) ? dice.below(300) : Number(dice.wide(32)),
              ssid: dice.chance(30) ? Number(dice.wide(dice.pick([2, 20]))) : undefined,
              address: dice.chance(50) ? dice.wide(30) : dice.wide(64),
            };
        if (dice.chance(50)) this.connect(target.sid);
        this.access(target);
        if (this.features.ats) this.endpoint(target);
        if (dice.chance(30)) this.settle();
      }
    };
    accesses(4);
    this.records();
    this.registers();
    // From here on registers hold anything, the place of the queues included.
    this.#trusted = false;
    for (let i = 0; i < 12; i++) {
      this.writeRegister();
      if (dice.chance(40)) accesses(1);
      if (dice.chance(30)) this.settle();
    }
    this.attempt('enable', () => this.smmu.registers.write32(R.CR0, 0xd));
    accesses(3);
    this.settle();
    this.registers();
  }
}

/** One random memory, made and used. */
export function fuzzMemory(seed: number, report: FuzzReport): void {
  report.memories++;
  const fuzz = new Fuzz(seed, report);
  fuzz.run();
}
