import { createPrng, type Prng } from '@iommukit/platform';
import { type SharedIoMm, svaBindDevice, svaUnbindDevice } from '@iommukit/sva-pasid';
import type { DemandPagedMm } from '../src/mm/demand-paged-mm.ts';
import { type DmaEngine, type Job, PAGE, SvaRig } from './sva-rig.ts';

const GIB = 2 ** 30;
const START = 0x7f00_0000_0000;
const RW = { read: true, write: true, exec: false };
const RO = { read: true, write: false, exec: false };
/** Accesses under way at a time. */
const WINDOW = 8;

export interface PressureOptions {
  readonly by: 'stall' | 'pri';
  /** Pages between two that are used: 1 uses all of the 1 GiB. */
  readonly stride: number;
  /** Frames for all of them. */
  readonly frames: number;
  readonly seed: number;
  /** When the SMMU takes commands: at once, or one at a time whenever it has a turn. */
  readonly consume: 'immediate' | 'step';
}

/** What a page is good for, and how it goes: by its number. */
const KINDS = ['written', 'file', 'zero', 'denied', 'hole'] as const;
type Kind = (typeof KINDS)[number];

/** 2 MiB of each kind in turn, so that kinds change between tables too; 64 KiB in odd ones. */
function kindOf(index: number): Kind {
  const run = Math.floor(index / 512);
  return KINDS[(run + (run % 2) * Math.floor((index % 512) / 16)) % KINDS.length] as Kind;
}

const stamp = (index: number): number => index * 7 + 1;
const fileStamp = (page: number): number => (page - START) / PAGE + 5;

export interface PressureReport {
  readonly accesses: number;
  readonly wrong: readonly string[];
  readonly evicted: number;
  readonly rig: SvaRig;
  readonly engine: DmaEngine;
}

/** Areas of a 1 GiB address space, one for each run of pages of a kind. */
function mapAreas(mm: DemandPagedMm): void {
  const pages = GIB / PAGE;
  for (let from = 0; from < pages; ) {
    const kind = kindOf(from);
    let to = from + 16;
    while (to < pages && kindOf(to) === kind) to += 16;
    const range = { start: START + from * PAGE, end: START + to * PAGE };
    if (kind === 'written' || kind === 'zero') mm.map({ ...range, allowed: RW });
    if (kind === 'file')
      mm.map({ ...range, allowed: RO, content: (page) => ({ lo: fileStamp(page), hi: 0 }) });
    if (kind === 'denied') mm.map({ ...range, allowed: RO });
    from = to;
  }
}

/** One access of a page, and what it must come to. */
function startJob(engine: DmaEngine, pasid: number, index: number): { job: Job; want: unknown } {
  const address = START + index * PAGE;
  const kind = kindOf(index);
  if (kind === 'written')
    return { job: engine.write({ pasid, address }, stamp(index)), want: 'written' };
  if (kind === 'denied') return { job: engine.write({ pasid, address }, 1), want: 'refused' };
  const value = kind === 'file' ? fileStamp(address) : 0;
  const want = kind === 'hole' ? 'refused' : { lo: value, hi: 0 };
  return { job: engine.read({ pasid, address }), want };
}

function check(job: Job, want: unknown, index: number, wrong: string[]): void {
  const got = JSON.stringify(job.state);
  if (got !== JSON.stringify(want)) wrong.push(`${index} (${kindOf(index)}): ${got}`);
}

/** One thing happens: a fault is handled, the device goes on, or memory is wanted elsewhere. */
function something(rig: SvaRig, engine: DmaEngine, mm: DemandPagedMm, random: Prng): void {
  const what = random.below(8);
  if (random.below(2) === 0) rig.machine.platform.runDevices();
  if (what === 0) mm.reclaim(random.below(16));
  else if (what < 5 && rig.faults.queued > 0) rig.faults.step(random.below(rig.faults.queued));
  else engine.step();
}

/** A device uses the pages of a sparse process of 1 GiB, in an order of chance, while pages go behind it; then all that it wrote is read. */
export function runPressure(options: PressureOptions): PressureReport {
  const { by, stride, frames, seed, consume } = options;
  const rig = new SvaRig({ by, frames, policy: { consume } });
  const random = createPrng(seed);
  const device = rig.device(8);
  const mm = rig.process();
  mapAreas(mm);
  const handle = svaBindDevice(rig.binder, device, mm) as SharedIoMm;
  const { pasid } = handle;
  const engine = rig.engine(device);
  const wrong: string[] = [];
  let accesses = 0;
  const pass = (start: (index: number) => { job: Job; want: unknown } | null): void => {
    const open: { job: Job; want: unknown; index: number }[] = [];
    const finish = (most: number): void => {
      for (let idle = 0; open.length > most; idle++) {
        if (idle > 10_000) throw new Error(`accesses of ${open.length} pages never end`);
        something(rig, engine, mm, random);
        for (let i = open.length - 1; i >= 0; i--) {
          const each = open[i];
          if (each === undefined || each.job.state === 'waiting') continue;
          check(each.job, each.want, each.index, wrong);
          open.splice(i, 1);
        }
      }
    };
    for (let index = 0; index < GIB / PAGE; index += stride) {
      const begun = start(index);
      if (begun === null) continue;
      accesses++;
      open.push({ ...begun, index });
      finish(WINDOW - 1);
    }
    finish(0);
  };
  pass((index) => startJob(engine, pasid, index));
  pass((index) => {
    if (kindOf(index) !== 'written') return null;
    const address = START + index * PAGE;
    return { job: engine.read({ pasid, address }), want: { lo: stamp(index), hi: 0 } };
  });
  svaUnbindDevice(handle);
  mm.exit();
  return { accesses, wrong, evicted: mm.counts.evicted, rig, engine };
}
