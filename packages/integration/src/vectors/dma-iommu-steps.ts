import {
  DMA_MAPPING_ERROR,
  type DmaAttrs,
  type DmaDirection,
  DmaIovaState,
  type FlushQueue,
  type SgElement,
} from '@iommukit/dma-api';
import { DmaVectorMachine, endOf } from './dma-iommu-machine.ts';
import { exactNumber, hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

const ALL_ONES = '0xffffffffffffffff';
/** A peer's bus address, above its physical one. */
const BUS = 0x40_0000_0000;
/** What outputs hold before a map: a list that bounces leaves them behind a failure alone. */
const STALE = 1;
const US_OF_MS = 1000;

type Step = (run: DmaVectorRun, step: StepInputs) => JsonRow;

function address(value: number): string {
  return value === DMA_MAPPING_ERROR ? ALL_ONES : hex(value);
}

/** Attributes by the kernel's names. */
export function attrsOf(names: readonly string[] = []): DmaAttrs {
  return {
    mmio: names.includes('MMIO'),
    privileged: names.includes('PRIVILEGED'),
    skipCpuSync: names.includes('SKIP_CPU_SYNC'),
    requireCoherent: names.includes('REQUIRE_COHERENT'),
  };
}

/** The inputs of a step, read as numbers. */
class StepInputs {
  readonly row: JsonRow;
  readonly dir: DmaDirection;
  readonly attrs: DmaAttrs;

  constructor(row: JsonRow) {
    this.row = row;
    this.dir = row['dir'] ?? 'NONE';
    this.attrs = attrsOf(row['attrs']);
  }

  number(name: string): number {
    return exactNumber(this.row[name] ?? 0, name);
  }
}

function elementOf(row: readonly [string, string, string, string?], stale: number): SgElement {
  const [page, offset, length, flag] = row;
  const paddr = exactNumber(page, 'sg') + exactNumber(offset, 'sg');
  const element = {
    ...{ paddr, length: exactNumber(length, 'sg') },
    ...{ dmaAddress: stale, dmaLength: stale, dmaBus: false },
  };
  if (flag === 'bus') return { ...element, peer: 'bus', busAddress: paddr + BUS };
  return flag === 'unsupported' ? { ...element, peer: 'not-supported' } : element;
}

/** Outputs up to the last that has a length or a flag. */
function outputsOf(sg: readonly SgElement[]): string[][] {
  const outputs = sg.map(({ dmaAddress, dmaLength, dmaBus, dmaBounced }) => {
    const flag = dmaBus ? ['bus'] : dmaBounced === true ? ['bounced'] : [];
    return [address(dmaAddress), hex(dmaLength), ...flag];
  });
  const used = outputs.findLastIndex((output) => output[1] !== '0x0' || output.length > 2);
  return outputs.slice(0, used + 1);
}

/** What each step calls, and its results. */
const STEPS: Readonly<Record<string, Step>> = {
  iova_alloc({ machine }, step) {
    const end = endOf(step.row['limit'] ?? '0x0');
    const ret = hex(machine.dma.allocIova(machine.dev, step.number('size'), end));
    return { ret, pci_32bit: machine.dev.pci32bitWorkaround ? 1 : 0 };
  },
  iova_free({ machine }, step) {
    machine.dma.freeIova(machine.dev.domain, step.number('iova'), step.number('size'));
    return {};
  },
  phys_map({ machine }, step) {
    const [paddr, size] = [step.number('phys'), step.number('size')];
    return { ret: address(machine.dma.mapPhys(machine.dev, paddr, size, step.dir, step.attrs)) };
  },
  phys_unmap({ machine }, step) {
    const [dmaAddr, size] = [step.number('dma'), step.number('size')];
    machine.dma.unmapPhys(machine.dev, dmaAddr, size, step.dir, step.attrs);
    return {};
  },
  single_sync({ machine }, step) {
    const { dma, dev } = machine;
    const [dmaAddr, size] = [step.number('dma'), step.number('size')];
    if (step.row['cpu'] === 1) dma.syncForCpu(dev, dmaAddr, size, step.dir);
    else dma.syncForDevice(dev, dmaAddr, size, step.dir);
    return {};
  },
  msi({ machine }, step) {
    const paddr = step.number('addr');
    const doorbell = machine.dma.mapMsiPage(machine.dev, paddr);
    if (doorbell < 0) return { ret: doorbell, iova: '0x0', shift: 0 };
    const iova = hex(doorbell - (paddr % machine.granule));
    return { ret: 0, iova, shift: Math.log2(machine.granule) };
  },
  sg_map(run, step) {
    const { dma, dev } = run.machine;
    const rows: readonly [string, string, string, string?][] = step.row['sg'];
    run.sg = rows.map((row) => elementOf(row, dev.untrusted ? 0 : STALE));
    const ret = dma.mapSg(dev, run.sg, step.dir, step.attrs);
    return { ret, out: outputsOf(run.sg) };
  },
  sg_unmap({ machine, sg }, step) {
    machine.dma.unmapSg(machine.dev, sg, step.dir, step.attrs);
    return {};
  },
  sg_sync({ machine, sg }, step) {
    const { dma, dev } = machine;
    if (step.row['cpu'] === 1) dma.syncSgForCpu(dev, sg, step.dir);
    else dma.syncSgForDevice(dev, sg, step.dir);
    return {};
  },
  try_alloc({ machine, state }, step) {
    const [paddr, size] = [step.number('phys'), step.number('size')];
    const ret = machine.dma.iovaTryAlloc(machine.dev, state, paddr, size) ? 1 : 0;
    return { ret, addr: hex(state.addr), state_size: hex(state.sizeWord) };
  },
  link({ machine, state }, step) {
    const [paddr, offset] = [step.number('phys'), step.number('offset')];
    const { dir, attrs } = step;
    const link = { paddr, offset, size: step.number('size'), dir, attrs };
    const ret = machine.dma.iovaLink(machine.dev, state, link);
    return { ret, state_size: hex(state.sizeWord) };
  },
  sync({ machine, state }, step) {
    const [offset, size] = [step.number('offset'), step.number('size')];
    return { ret: machine.dma.iovaSync(machine.dev, state, offset, size) };
  },
  unlink({ machine, state }, step) {
    const [offset, size] = [step.number('offset'), step.number('size')];
    const { dir, attrs } = step;
    machine.dma.iovaUnlink(machine.dev, state, { offset, size, dir, attrs });
    return {};
  },
  destroy({ machine, state }, step) {
    const { dir, attrs } = step;
    machine.dma.iovaDestroy(machine.dev, state, { mapped: step.number('size'), dir, attrs });
    return {};
  },
  free({ machine, state }) {
    machine.dma.iovaFree(machine.dev, state);
    return {};
  },
  fq_init(run, step) {
    const { machine } = run;
    machine.memoryFails = step.row['fail_alloc'] === 1;
    const ret = machine.makeLazy();
    const { size, timeoutUs, mode } = machine.queueOptions;
    return {
      ...{ ret, size, timeout: timeoutUs / US_OF_MS, single: mode === 'single' ? 1 : 0 },
      ...run.queueState(),
    };
  },
  queue(run, step) {
    const [pfn, pages] = [step.number('pfn'), step.number('pages')];
    run.queue.queue(pfn, pages, step.row['pages_list'] ?? []);
    return run.queueState();
  },
  timer(run) {
    const armed = run.queue.state().timerOn;
    run.machine.platform.clock.advance(run.queue.timeoutUs);
    return { ...(armed ? {} : { not_armed: 1 }), ...run.queueState() };
  },
  fq_free(run) {
    run.queue.free();
    return {};
  },
};

/** One case: a domain, and steps on it one after the other. */
export class DmaVectorRun {
  readonly machine: DmaVectorMachine;
  readonly state: DmaIovaState = new DmaIovaState();
  /** The list that was mapped last. */
  sg: readonly SgElement[] = [];

  constructor(row: JsonRow) {
    const steps: readonly JsonRow[] = row['steps'];
    const init = steps.find(({ op }) => op === 'fq_init') ?? {};
    this.machine = new DmaVectorMachine(row['domain'], init);
    if (steps.some(({ op }) => op === 'queue')) this.machine.keepUnallocated();
    this.machine.take();
  }

  /** Results of a step, and what was called, printed and warned about meanwhile. */
  step(row: JsonRow): JsonRow {
    const { machine } = this;
    machine.platform.cpu = row['op'] === 'queue' ? (row['cpu'] ?? 0) : 0;
    machine.nested =
      row['nest_cpu'] === undefined
        ? null
        : {
            cpu: row['nest_cpu'],
            pfn: exactNumber(row['nest_pfn'], 'nest_pfn'),
            pages: exactNumber(row['nest_pages'], 'nest_pages'),
          };
    const results = STEPS[row['op']]?.(this, new StepInputs(row));
    return { ...results, ...machine.take() };
  }

  /** The flush queue that an earlier step made. */
  get queue(): FlushQueue {
    const { queue } = this.machine;
    if (queue === null) throw new VectorError('steps', 'fq_init before the queue is used', null);
    return queue;
  }

  /** What can be seen of the queue, if there is one. */
  queueState(): JsonRow {
    const state = this.machine.queue?.state();
    if (state === undefined) return {};
    return {
      state: {
        start: state.flushStart,
        finish: state.flushFinish,
        timer_on: state.timerOn ? 1 : 0,
        rings: state.rings.map(({ head, tail }) => [head, tail]),
      },
    };
  }
}
