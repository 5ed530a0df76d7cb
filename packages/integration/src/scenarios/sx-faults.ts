/* SX-4: from an access that is refused to the report, and back. */
import { EVENT_CODE, OPCODE } from '@iommukit/arm-arch';
import { SZ_2M, SZ_4K, type U64, u64Of } from '@iommukit/bits';
import { IOMMU_READ } from '@iommukit/io-pgtable';
import { FrameAllocator } from '@iommukit/platform';
import { PASID_MAX, PasidAllocator, SvaBinder, svaBindDevice } from '@iommukit/sva-pasid';
import { DemandPagedMm } from '../mm/demand-paged-mm.ts';
import { PageFrames } from '../mm/page-frames.ts';
import { FAULT_STREAM, FaultMachine } from './fault-machine.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, X } from './setup.ts';

/** In the middle of a page: what the device sent must come through whole. */
const OFFSET = 0x123;

function same(a: U64, b: U64): boolean {
  return a.lo === b.lo && a.hi === b.hi;
}

/** One refused access: its record in memory, the report of the driver, and what else happened. */
function refused(faults: FaultMachine, rw: 'read' | 'write'): Observed {
  const { machine, endpoint } = faults;
  const { model, driver } = machine;
  const before = faults.prod.index;
  const { issued } = driver.cmdq;
  const address = u64Of(X + OFFSET);
  const way = endpoint.access({ address, rw });
  const moved = 'result' in way && way.result.outcome === 'ok' ? 1 : 0;
  const { code, fields, address: sent } = faults.eventAt(before);
  const [report] = faults.reports;
  const { fault } = report ?? {};
  return {
    ...{ moved, events: model.counters.eventsWritten, prod: faults.prod.index - before },
    ...{ code, streamId: fields['StreamID'] ?? -1, RnW: fields['RnW'] ?? -1 },
    address: same(sent, address),
    ...{ reports: faults.reports.length, reported: report?.code ?? -1 },
    same: report?.streamId === FAULT_STREAM && fault?.rw === rw && same(fault.address, address),
    ...{ cmd: driver.cmdq.issued - issued, drained: driver.evtq.drained },
  };
}

const RECORD = { events: 1, prod: 1, streamId: FAULT_STREAM, address: true, moved: 0 };
const REPORT = { reports: 1, same: true, cmd: 0, drained: 1 };

/** A page of a process that is not there: the access waits, is repaired, and goes on. */
function stalled(): Observed {
  const faults = new FaultMachine({ stall: true });
  const { machine, device, endpoint } = faults;
  const { core, memory, model, driver } = machine;
  const pool = (base: number): FrameAllocator => new FrameAllocator({ base, size: SZ_2M });
  const mm = new DemandPagedMm({
    memory,
    tableFrames: pool(0x4000_0000),
    frames: new PageFrames(memory, pool(0x4020_0000)),
  });
  mm.map({ start: X, end: X + SZ_4K, allowed: { read: true, write: true, exec: false } });
  const pasids = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
  const shared = svaBindDevice(new SvaBinder(core, pasids), device, mm);
  if (typeof shared === 'number') return { errno: shared };
  let wrote = 0;
  endpoint.stallEnded = (_transaction, end) => {
    if (end.outcome !== 'ok') return;
    memory.store64(end.paddr, 7, 0);
    wrote++;
  };
  const before = faults.prod.index;
  const { issued, syncs } = driver.cmdq;
  const resumes = model.commandCount(OPCODE.RESUME);
  const sent = endpoint.access({
    ...{ substreamId: shared.pasid, address: u64Of(X), rw: 'write' },
  });
  const outcome = 'result' in sent ? sent.result.outcome : sent.via;
  const waiting = model.stalled.length;
  while (machine.faults?.step() === true);
  const counts = machine.faults?.counts;
  return {
    ...{ outcome, waiting, events: faults.prod.index - before, wrote },
    ...{ code: faults.eventAt(0).code, groups: counts?.groups ?? -1 },
    ...{ responses: counts?.responses ?? -1, resumed: model.commandCount(OPCODE.RESUME) - resumes },
    ...{ cmd: driver.cmdq.issued - issued, syncs: driver.cmdq.syncs - syncs },
    ...{ data: mm.load(X)?.lo ?? -1, left: model.stalled.length },
  };
}

const FAULTS = 200;

/** More faults than the queue holds, before anybody looks. */
function overflow(): Observed {
  const faults = new FaultMachine({ eventqLg2: 7 });
  const { machine, endpoint } = faults;
  const { evtq } = machine.driver;
  faults.held = [];
  let toggles = 0;
  let last = faults.prod.overflow;
  for (let i = 0; i < FAULTS; i++) {
    endpoint.access({ address: u64Of(X + i * SZ_4K), rw: 'read' });
    const { overflow: now } = faults.prod;
    if (now !== last) toggles++;
    last = now;
  }
  faults.deliver();
  const inOrder = faults.reports.filter(
    ({ fault }, i) => fault !== null && same(fault.address, u64Of(X + i * SZ_4K)),
  ).length;
  const lost = faults.printed.filter(({ text }) => text.includes('events lost')).length;
  return {
    ...{ entries: 2 ** evtq.lg2, toggles, read: evtq.drained, inOrder },
    ...{ lost: machine.model.counters.eventsDropped, reported: lost },
  };
}

export const sx4: Scenario = {
  id: 'SX-4',
  title: 'fault to report',
  *cases(): Iterable<ScenarioCase> {
    const { F_TRANSLATION, F_PERMISSION } = EVENT_CODE;
    yield {
      way: 'a read of an unmapped IOVA',
      run: () => refused(new FaultMachine(), 'read'),
      expected: { ...RECORD, code: F_TRANSLATION, RnW: 1, ...REPORT, reported: F_TRANSLATION },
      sweep: false,
    };
    for (const [way, prot, expected] of [
      ['a write to a read-only page', IOMMU_READ, { ...RECORD, RnW: 0, ...REPORT }],
      ['a write to a writable page', PROT, { moved: 1, events: 0, prod: 0, reports: 0, cmd: 0 }],
    ] as const)
      yield {
        way,
        run() {
          const faults = new FaultMachine();
          faults.machine.core.map(faults.domain, X, PA, SZ_4K, prot);
          return refused(faults, 'write');
        },
        expected:
          prot === PROT ? expected : { ...expected, code: F_PERMISSION, reported: F_PERMISSION },
        sweep: false,
      };
    yield {
      way: 'a stall: repaired and resumed',
      run: stalled,
      expected: {
        ...{ outcome: 'stall', waiting: 1, events: 1, code: F_TRANSLATION, groups: 1 },
        ...{ responses: 1, resumed: 1, cmd: 1, syncs: 0, wrote: 1, data: 7, left: 0 },
      },
      sweep: false,
    };
    yield {
      way: '200 faults, 128 entries, nobody drains',
      run: overflow,
      expected: { entries: 128, toggles: 1, read: 128, inOrder: 128, lost: 72, reported: 1 },
      sweep: false,
    };
  },
};
