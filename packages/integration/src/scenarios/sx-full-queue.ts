/* SX-9: a command queue that is smaller than what an unmap sends. */
import { CMD_TLBI_NH_VA, COMMAND_BYTES, OPCODE, REGISTER_OFFSET } from '@iommukit/arm-arch';
import { SZ_4K } from '@iommukit/bits';
import { IommuDevice } from '@iommukit/iommu-core';
import type { MemoryView } from '@iommukit/platform';
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import { forwardingView } from '../forwarding-view.ts';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MachineError, MEMORY_OF_CAPTURES } from '../machine.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PROT, scat, X } from './setup.ts';

const STREAM = 8;
const PAGES = 511;
/** IDR1 of the rows before, without the exponent of the command queue's entries. */
const IDR1_BESIDE_CMDQS = 0x0013_0010;
const IDR1_CMDQS = 0x20_0000;

/** An SMMU whose command queue has 2^lg2 entries and no range commands; one command a step. */
function machineWith(lg2: number, onLoad: (pa: number) => void = () => {}): Machine {
  return new Machine({
    idr: {
      IDR0: 0x0d44101b,
      IDR1: IDR1_BESIDE_CMDQS + lg2 * IDR1_CMDQS,
      IDR3: 0x1014,
      IDR5: 0x15,
      AIDR: 1,
    },
    profile: kernelProfile('7.3'),
    cpus: 1,
    memory: MEMORY_OF_CAPTURES,
    policy: { ...CACHE_EVERYTHING, consume: 'step' },
    views: { device: (memory) => watched(memory, onLoad) },
  });
}

/** Every load of the SMMU by itself, told first. */
function watched(memory: MemoryView, onLoad: (pa: number) => void): MemoryView {
  return forwardingView(memory, {
    load64: (pa) => {
      onLoad(pa);
      return memory.load64(pa);
    },
    lanes: () => undefined,
    blockBytes: 4096,
    block: () => undefined,
  });
}

/** The addresses of the TLBI commands that the SMMU fetched, in order. */
class FetchedCommands {
  readonly addresses: number[] = [];
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  load(pa: number): void {
    const { memory, driver } = this.#machine;
    const { base, lg2 } = driver.cmdq;
    const at = pa - base;
    if (at < 0 || at >= 2 ** lg2 * COMMAND_BYTES || at % COMMAND_BYTES !== 0) return;
    const words = new Uint32Array(4);
    for (let i = 0; i < 4; i += 2) {
      words[i] = memory.load64(pa + i * 4);
      words[i + 1] = memory.hi;
    }
    if ((words[0] as number) % 256 === OPCODE.TLBI_NH_VA)
      this.addresses.push(CMD_TLBI_NH_VA.get.Address(words));
  }
}

/** How often the wrap bit of CONS changes while the machine runs. */
function watchWraps(machine: Machine): { flips: number } {
  const seen = { flips: 0 };
  const wrap = (): number => {
    const cons = machine.model.registers.read32(REGISTER_OFFSET.CMDQ_CONS);
    return Math.floor(cons / 2 ** machine.driver.cmdq.lg2) % 2;
  };
  let last = wrap();
  machine.platform.register({
    run: () => {
      const now = wrap();
      if (now !== last) seen.flips++;
      last = now;
      return false;
    },
  });
  return seen;
}

function attach(machine: Machine): IommuDevice {
  machine.boot();
  const device = new IommuDevice({ name: '0000:00:01.0', ids: [STREAM], groupKey: 'a' });
  machine.core.probeDevice(device, machine.driver);
  return device;
}

function unmapBeyondTheQueue(): Observed {
  let onLoad: (pa: number) => void = () => {};
  const machine = machineWith(7, (pa) => onLoad(pa));
  const { core, model } = machine;
  const device = attach(machine);
  const domain = device.group?.domain;
  if (domain === null || domain === undefined) return {};
  const start = X + SZ_4K;
  core.mapSg(domain, start, scat(PAGES), PROT);
  // The attach leaves a command without SYNC behind: from this one on the driver knows that the queue is empty.
  core.unmap(domain, start, SZ_4K);
  core.mapSg(domain, start, scat(1), PROT);
  const wraps = watchWraps(machine);
  const fetched = new FetchedCommands(machine);
  onLoad = (pa) => fetched.load(pa);
  const { cmdq } = machine.driver;
  const before = [model.counters.commands, model.counters.syncs, cmdq.fullWaits] as const;
  const bytes = core.unmap(domain, start, PAGES * SZ_4K);
  onLoad = () => {};
  const [commands, syncs, waits] = before;
  const inOrder = fetched.addresses.filter((iova, i) => iova === start + i * SZ_4K).length;
  const observed = {
    ...{ entries: 2 ** cmdq.lg2, bytes, fetched: fetched.addresses.length, inOrder },
    ...{ consumed: model.counters.commands - commands, syncs: model.counters.syncs - syncs },
    ...{ flips: wraps.flips, waits: cmdq.fullWaits - waits },
  };
  core.releaseDevice(device);
  return { ...observed, frames: machine.frames.used };
}

function probeOf(lg2: number): string {
  try {
    attach(machineWith(lg2));
  } catch (error) {
    if (error instanceof MachineError) return `${error.code} ${error.operands.what}`;
    throw error;
  }
  return 'probed';
}

export const sx9: Scenario = {
  id: 'SX-9',
  title: 'full queue',
  *cases(): Iterable<ScenarioCase> {
    yield {
      way: '128 entries, 511 VA and a SYNC',
      run: unmapBeyondTheQueue,
      expected: {
        ...{ entries: 128, bytes: PAGES * SZ_4K, consumed: 512, syncs: 1, flips: 4 },
        // Each of the commands once, in order; six of eight submissions of 64 find no room.
        ...{ fetched: PAGES, inOrder: PAGES, waits: 6, frames: 0 },
      },
      sweep: false,
    };
    for (const [lg2, probe] of [
      [7, 'probed'],
      [6, 'PROBE_FAILED ENXIO'],
    ] as const)
      yield {
        way: `${2 ** lg2} entries: probe`,
        run: () => ({ probe: probeOf(lg2) }),
        expected: { probe },
        sweep: false,
      };
  },
};
