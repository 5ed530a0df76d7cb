import { type SharedIoMm, svaBindDevice, svaUnbindDevice } from '@iommukit/sva-pasid';
import { describe, expect, test } from 'vitest';
import { PAGE, SvaRig, type SvaRigOptions } from './sva-rig.ts';

const RW = { read: true, write: true, exec: false };
const BASE = 0x7f00_0000_0000;
const value = (lo: number) => ({ lo, hi: 0 });
const page = (index: number): number => BASE + index * PAGE;

function bound(options: SvaRigOptions) {
  const rig = new SvaRig(options);
  const device = rig.device(8);
  const mm = rig.process();
  const handle = svaBindDevice(rig.binder, device, mm) as SharedIoMm;
  mm.map({ start: page(0), end: page(64), allowed: RW });
  return { rig, device, mm, handle, engine: rig.engine(device), pasid: handle.pasid };
}

/** Each group has one answer, the device has each of them, and nothing was used too long. */
function settled({ rig, engine }: ReturnType<typeof bound>, refusedByCore = 0): void {
  const { counts, pending, partial, queued } = rig.faults;
  expect([pending, partial, queued, counts.late]).toEqual([0, 0, 0, 0]);
  expect(engine.resumed + engine.answers).toBe(counts.responses + refusedByCore);
  expect(engine.waiting).toBe(0);
  expect([rig.machine.model.stalled, rig.staleUses]).toEqual([[], []]);
}

describe('unbind against a page fault, by stalls', () => {
  test('the fault is in the fault queue: it is handled before the PASID goes', () => {
    const run = bound({ by: 'stall' });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(run.handle);
    expect([job.state, run.mm.load(page(0))]).toEqual(['written', value(7)]);
    expect(run.engine.read({ pasid: run.pasid, address: page(0) }).state).toBe('refused');
    run.engine.settle();
    settled(run);
  });

  test('the event is not read yet: nobody has the PASID then, and the access is refused', () => {
    const run = bound({ by: 'stall', held: ['eventq'] });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(run.handle);
    expect([job.state, run.rig.faults.queued]).toEqual(['waiting', 0]);
    expect(run.rig.deliver()).toBe(1);
    expect([job.state, run.mm.resident]).toEqual(['refused', 0]);
    run.engine.settle();
    settled(run, 1);
  });

  test('a bind is left: the device stays in the queue, and its faults are handled', () => {
    const run = bound({ by: 'stall' });
    const again = svaBindDevice(run.rig.binder, run.device, run.mm) as SharedIoMm;
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(again);
    expect([job.state, run.rig.faults.queued]).toEqual(['waiting', 1]);
    run.engine.settle();
    expect(job.state).toBe('written');
    settled(run);
  });

  test('another process of the device has faults: they are handled too, and it stays', () => {
    const run = bound({ by: 'stall' });
    const other = run.rig.process();
    other.map({ start: page(0), end: page(4), allowed: RW });
    const second = svaBindDevice(run.rig.binder, run.device, other) as SharedIoMm;
    const job = run.engine.write({ pasid: second.pasid, address: page(0) }, 3);
    svaUnbindDevice(run.handle);
    expect([job.state, run.device.pageRequests]).toEqual(['written', run.rig.faults]);
    const next = run.engine.write({ pasid: second.pasid, address: page(1) }, 4);
    run.engine.settle();
    expect(next.state).toBe('written');
    svaUnbindDevice(second);
    expect(run.device.pageRequests).toBeNull();
    settled(run);
  });
});

describe.each(['run', 'step'] as const)('commands that are taken late (%s)', (consume) => {
  test('the answer waits in the command queue when the PASID goes: the access ends, one way or the other', () => {
    const run = bound({ by: 'stall', policy: { consume } });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(run.handle);
    expect(job.state).not.toBe('waiting');
    expect(run.mm.load(page(0))).toEqual(value(job.state === 'written' ? 7 : 0));
    settled(run);
  });

  test('the page goes before the answer is taken: the access stalls once more, and ends', () => {
    const run = bound({ by: 'stall', policy: { consume } });
    const { engine, rig, mm } = run;
    const job = engine.write({ pasid: run.pasid, address: page(0) }, 7);
    rig.faults.step();
    expect(job.state).toBe('waiting');
    mm.reclaim(1);
    for (let turns = 0; turns < 20 && job.state === 'waiting'; turns++) {
      rig.machine.platform.runDevices();
      engine.settle();
    }
    expect([job.state, mm.load(page(0))]).toEqual(['written', value(7)]);
    expect(rig.staleUses).toEqual([]);
  });

  test('the process exits before the answer is taken: nothing of it is reached', () => {
    const run = bound({ by: 'stall', policy: { consume } });
    const { engine, rig } = run;
    const job = engine.write({ pasid: run.pasid, address: page(0) }, 7);
    rig.faults.step();
    const frame = rig.pagePool.base + PAGE;
    run.mm.exit();
    const own = rig.pageFrames.alloc();
    const before = rig.machine.memory.load64(own);
    for (let turns = 0; turns < 20; turns++) rig.machine.platform.runDevices();
    engine.settle();
    expect([own, before, rig.machine.memory.load64(own)]).toEqual([frame, 0, 0]);
    expect(job.state).not.toBe('waiting');
    svaUnbindDevice(run.handle);
    settled(run);
  });
});

describe('unbind against a page fault, by page requests', () => {
  test('the request is in the fault queue: answered, and the retry finds no PASID', () => {
    const run = bound({ by: 'pri' });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(run.handle);
    expect([job.state, run.mm.resident]).toEqual(['waiting', 1]);
    run.engine.settle();
    expect([job.state, job.answers, run.mm.load(page(0))]).toEqual(['refused', ['0'], value(0)]);
    settled(run);
  });

  test('the request is not read yet: one answer, invalid', () => {
    const run = bound({ by: 'pri', held: ['priq'] });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    svaUnbindDevice(run.handle);
    expect(run.rig.deliver()).toBe(1);
    run.engine.settle();
    expect([job.state, job.answers, run.mm.resident]).toEqual(['refused', ['1'], 0]);
    settled(run, 1);
  });
});

describe.each(['stall', 'pri'] as const)('the exit of a process against DMA, by %s', (by) => {
  test('a fault that waits is answered invalid', () => {
    const run = bound({ by });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    run.mm.exit();
    run.engine.settle();
    expect(job.state).toBe('refused');
    svaUnbindDevice(run.handle);
    settled(run);
    expect([run.rig.pageFrames.used, run.rig.tableFrames.used]).toEqual([0, 0]);
  });

  test('pages that the device had are not reached any more, quietly', () => {
    const run = bound({ by });
    const { engine, pasid, rig } = run;
    engine.write({ pasid, address: page(0) }, 7);
    engine.settle();
    const frame = rig.pagePool.base + PAGE;
    expect(rig.machine.memory.load64(frame)).toBe(7);
    const events = rig.machine.driver.evtq.drained;
    run.mm.exit();
    // Somebody else has the frame at once.
    const own = rig.pageFrames.alloc();
    expect(own).toBe(frame);
    const jobs = [
      engine.write({ pasid, address: page(0) }, 8),
      engine.read({ pasid, address: page(9) }),
    ];
    engine.settle();
    expect(jobs.map(({ state }) => state)).toEqual(['refused', 'refused']);
    expect([rig.machine.memory.load64(own), rig.machine.driver.evtq.drained]).toEqual([0, events]);
    svaUnbindDevice(run.handle);
    settled(run);
  });

  test('the PASID is kept until the last bind is undone, then somebody else has it', () => {
    const run = bound({ by });
    const { rig, device, mm, handle, pasid } = run;
    mm.exit();
    const next = rig.process();
    expect((svaBindDevice(rig.binder, device, next) as SharedIoMm).pasid).toBe(pasid + 1);
    svaUnbindDevice(handle);
    const third = rig.process();
    third.map({ start: page(0), end: page(1), allowed: RW });
    expect((svaBindDevice(rig.binder, device, third) as SharedIoMm).pasid).toBe(pasid);
    const job = run.engine.write({ pasid, address: page(0) }, 5);
    run.engine.settle();
    expect([job.state, third.load(page(0))]).toEqual(['written', value(5)]);
    settled(run);
  });

  test('it exits while the event or request is not read: answered when it is, and nothing is left', () => {
    const run = bound({ by, held: ['eventq', 'priq'] });
    const job = run.engine.write({ pasid: run.pasid, address: page(0) }, 7);
    run.mm.exit();
    expect(job.state).toBe('waiting');
    run.rig.deliver();
    run.engine.settle();
    expect(job.state).toBe('refused');
    svaUnbindDevice(run.handle);
    settled(run);
  });
});

describe('memory pressure against a page request', () => {
  test('a page that goes between answer and retry is asked for again', () => {
    const run = bound({ by: 'pri' });
    const { engine, pasid, mm } = run;
    const job = engine.write({ pasid, address: page(0) }, 7);
    run.rig.faults.step();
    mm.reclaim(1);
    engine.step();
    expect([job.state, engine.requests]).toEqual(['waiting', 2]);
    engine.settle();
    expect([job.state, mm.load(page(0))]).toEqual(['written', value(7)]);
    settled(run);
  });

  test('two devices fault on one page: it is brought in once', () => {
    const run = bound({ by: 'stall' });
    const device = run.rig.device(9);
    svaBindDevice(run.rig.binder, device, run.mm);
    const second = run.rig.engine(device);
    const jobs = [run.engine, second].map((engine) =>
      engine.write({ pasid: run.pasid, address: page(0) }, 7),
    );
    expect(run.rig.faults.queued).toBe(2);
    // The later one first: groups have no order.
    run.rig.faults.step(1);
    expect(jobs.map(({ state }) => state)).toEqual(['waiting', 'written']);
    run.rig.faults.step();
    expect(jobs.map(({ state }) => state)).toEqual(['written', 'written']);
    expect(run.mm.resident).toBe(1);
  });
});

describe('the page request queue overflows', () => {
  const OVERFLOW = 'PRIQ overflow detected -- requests lost';

  test('what is lost is answered by the SMMU, asked for again, and found in the end', () => {
    const run = bound({ by: 'pri', features: { priqMaxLg2: 2 }, held: ['priq'] });
    const { rig, engine, pasid, mm } = run;
    const jobs = Array.from({ length: 10 }, (_, i) => engine.write({ pasid, address: page(i) }, i));
    // Four found room. Those beyond got a success that nobody had looked at, and another each time that they asked.
    expect(rig.machine.driver.priq?.drained).toBe(0);
    expect(engine.answers).toBeGreaterThanOrEqual(6);
    expect(jobs.filter(({ answers }) => answers.some((code) => code !== '0'))).toEqual([]);
    expect(engine.waiting).toBe(10);
    rig.held.clear();
    rig.deliver();
    expect(rig.log.map(({ text }) => text)).toContain(OVERFLOW);
    engine.settle();
    expect(jobs.map(({ state }) => state)).toEqual(Array(10).fill('written'));
    for (let i = 0; i < 10; i++) expect(mm.load(page(i))).toEqual(value(i));
    const { counts } = rig.faults;
    expect([counts.responses, counts.late, rig.faults.pending]).toEqual([counts.groups, 0, 0]);
    // Each request has one answer, of software or of the SMMU.
    expect(engine.answers).toBe(engine.requests);
    expect([rig.staleUses, engine.waiting]).toEqual([[], 0]);
  });

  test('requests whose last one was lost are forgotten, and do not join a later group', () => {
    const run = bound({ by: 'pri', features: { priqMaxLg2: 2 }, held: ['priq'] });
    const { rig, engine, pasid, mm } = run;
    const { endpoint } = engine;
    const access = (index: number) =>
      ({
        substreamId: pasid,
        address: { lo: page(index) % 2 ** 32, hi: 0x7f00 },
        rw: 'write',
      }) as const;
    const ask = (index: number, how: { group: number; last: boolean }) =>
      endpoint.requestPage(access(index), how).outcome;
    expect(ask(1, { group: 300, last: false })).toBe('queued');
    for (const group of [301, 302, 303]) ask(group - 300, { group, last: true });
    expect([ask(2, { group: 300, last: false }), ask(3, { group: 300, last: true })]).toEqual([
      'dropped',
      'answered',
    ]);
    rig.held.clear();
    rig.deliver();
    expect([rig.faults.partial, rig.faults.counts.discarded]).toEqual([0, 1]);
    rig.faults.flush();
    endpoint.pageResponses.length = 0;
    const before = mm.resident;
    ask(9, { group: 300, last: true });
    rig.faults.flush();
    expect([mm.resident - before, endpoint.pageResponses]).toEqual([
      1,
      [{ streamId: 8, substreamId: pasid, group: 300, code: 0 }],
    ]);
  });

  test('a group of several requests is one answer', () => {
    const run = bound({ by: 'pri' });
    const { rig, engine, pasid, mm } = run;
    const { endpoint } = engine;
    for (const [index, last] of [
      [1, false],
      [2, false],
      [3, true],
    ] as const)
      endpoint.requestPage(
        { substreamId: pasid, address: { lo: page(index) % 2 ** 32, hi: 0x7f00 }, rw: 'write' },
        { group: 300, last },
      );
    expect([rig.faults.queued, endpoint.pageResponses.length]).toEqual([1, 0]);
    rig.faults.flush();
    expect([mm.resident, endpoint.pageResponses.map(({ code }) => code)]).toEqual([3, [0]]);
  });

  test('requests of a PASID that nobody has, several under one group: one answer', () => {
    const run = bound({ by: 'pri' });
    const { endpoint } = run.engine;
    for (const last of [false, false, true])
      endpoint.requestPage(
        { substreamId: 99, address: { lo: 0, hi: 0x7f00 }, rw: 'read' },
        { group: 300, last },
      );
    expect(endpoint.pageResponses.map(({ code }) => code)).toEqual([1]);
  });
});
