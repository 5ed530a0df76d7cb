import { hex } from '@iommukit/bits';
import { type PhysRun, RangeGather } from '@iommukit/io-pgtable';
import type { IommuDevice } from '../device.ts';
import type { IommuDomain } from '../domain.ts';
import type { DomainOps } from '../domain-ops.ts';
import type { RangeBatch } from '../range-batch.ts';
import type { DriverRig } from './driver-rig.ts';
import type { DriverRule } from './driver-rule.ts';

const EEXIST = -17;
const ENOMEM = -12;
const MOST_ALLOCATIONS = 64;
/** In place of the span of a table, in pages, for hardware with one page size: the rules put ranges that far apart. */
const SPAN_OF_ONE_SIZE = 64;
const NAMES = ['mapRange', 'unmapRange', 'flushRanges', 'releaseTable'] as const;

interface RangeTools {
  readonly rig: DriverRig;
  readonly device: IommuDevice;
  readonly domain: IommuDomain;
  readonly batch: RangeBatch;
  /** Smallest page, and what one table of them probably spans. */
  readonly least: number;
  readonly span: number;
  readonly iova: number;
}

/** A rule for drivers that have the range operations; the others keep it by having none. */
function ranges(name: string, run: (tools: RangeTools) => void): DriverRule {
  return {
    name,
    run(rig) {
      const { device, domain } = rig.attached();
      if (domain.ops.mapRange === undefined) return;
      const batch = rig.core.beginBatch(domain);
      if (typeof batch === 'number') return rig.fail('beginBatch', 'a batch', String(batch));
      const [least = 0, larger = SPAN_OF_ONE_SIZE * least] = rig.sizes(domain);
      const span = Math.min(larger, 1024 * least);
      run({ rig, device, domain, batch, least, span, iova: rig.inside(domain, larger) });
      rig.same('flush at the end', domain.batch?.flush() ?? 0, 0);
    },
  };
}

/** Pages of which no two are neighbours. */
function scattered(rig: DriverRig, least: number, pages: number, first = 0): PhysRun[] {
  return Array.from({ length: pages }, (_, i) => ({
    paddr: rig.memory + (first + 2 * i) * least,
    length: least,
  }));
}

function put({ rig, batch, least }: RangeTools, iova: number, sg: readonly PhysRun[]): void {
  rig.same(`mapSg at ${hex(iova)}`, batch.mapSg(iova, sg, rig.prot), sg.length * least);
}

function reaches(tools: RangeTools, iova: number, sg: readonly PhysRun[]): void {
  const { rig, domain, device, least } = tools;
  sg.forEach(({ paddr }, i) => {
    const at = iova + i * least;
    rig.same(`iovaToPhys of ${hex(at)}`, rig.core.iovaToPhys(domain, at), paddr);
    rig.same(`DMA to ${hex(at)}`, rig.parts.access(device, at, 0), paddr);
  });
}

function take({ rig, batch }: RangeTools, iova: number, size: number): void {
  const sent = rig.parts.commands();
  rig.same(`unmapRange at ${hex(iova)}`, batch.unmapRange(iova, size), size);
  rig.same('commands of unmapRange', rig.parts.commands(), sent);
}

/** What must not change by an operation that fails. */
function state({ rig, domain, iova, span, least }: RangeTools): string {
  const pages = Math.min((2 * span) / least, 128);
  const end = rig.snapshot(domain, iova + span - 2 * least, 4);
  return `${rig.snapshot(domain, iova, pages)} ${end} ${rig.parts.frames()} ${rig.parts.commands()}`;
}

export const rangeRules: readonly DriverRule[] = [
  {
    name: 'the range operations are there, all or none',
    run(rig) {
      const { ops }: { readonly ops: DomainOps } = rig.domain(rig.device(0));
      const present = NAMES.filter((name) => ops[name] !== undefined);
      if (present.length > 0 && present.length < NAMES.length)
        rig.fail('range operations', NAMES.join(), present.join());
    },
  },
  ranges('a list is mapped by one call, and unmapped by one', (tools) => {
    const { rig, batch, iova, least, span, device, domain } = tools;
    const sg = scattered(rig, least, span / least + 3);
    const sent = rig.parts.commands();
    put(tools, iova, sg);
    rig.same('commands of mapRange', rig.parts.commands(), sent);
    rig.same('flush', batch.flush(), 0);
    reaches(tools, iova, sg);
    rig.isHole(domain, device, iova - least);
    rig.isHole(domain, device, iova + sg.length * least);
    take(tools, iova, sg.length * least);
    rig.same('flush', batch.flush(), 0);
    for (let i = 0; i < sg.length; i++) rig.isHole(domain, device, iova + i * least);
  }),
  ranges('a map that meets a mapped page changes nothing, and names the page', (tools) => {
    const { rig, batch, iova, least, domain } = tools;
    const taken = scattered(rig, least, 1, 4096);
    put(tools, iova + 5 * least, taken);
    const before = state(tools);
    const sg = scattered(rig, least, 8);
    rig.same('mapSg over a mapped page', batch.mapSg(iova, sg, rig.prot), EEXIST);
    rig.same('the page that is named', batch.failure?.page ?? -1, 5);
    rig.same('failedAt', domain.ops.failedAt ?? -1, iova + 5 * least);
    rig.same('everything after the refusal', state(tools), before);
    reaches(tools, iova + 5 * least, taken);
  }),
  ranges('a map that finds no memory changes nothing', (tools) => {
    const { rig, batch, iova, least, span } = tools;
    const { parts } = rig;
    if (parts.failAllocation === undefined) return;
    const sg = scattered(rig, least, span / least);
    for (let k = 1; ; k++) {
      if (k > MOST_ALLOCATIONS) rig.fail('failAllocation ends', `${MOST_ALLOCATIONS}`, `${k}`);
      const before = state(tools);
      parts.failAllocation(k);
      // Over the boundary of a table.
      const result = batch.mapSg(iova + span / 2, sg, rig.prot);
      parts.failAllocation(0);
      if (result > 0) break;
      rig.same(`errno of a map whose allocation ${k} fails`, result, ENOMEM);
      rig.same('everything after the failure', state(tools), before);
    }
    reaches(tools, iova + span / 2, sg);
  }),
  ranges('one flush ends every pending range, cached or not', (tools) => {
    const { rig, batch, iova, least, span, device, domain } = tools;
    const sg = scattered(rig, least, 8);
    const at = [iova, iova + 16 * least, iova + 2 * span, iova + 3 * span];
    for (const start of at) put(tools, start, sg);
    for (const start of at) reaches(tools, start, sg);
    for (const start of at) take(tools, start, sg.length * least);
    if (batch.records === 0) rig.fail('pending ranges', 'at least one', 'none');
    rig.same('flush', batch.flush(), 0);
    for (const start of at)
      for (let i = 0; i < sg.length; i++) rig.isHole(domain, device, start + i * least);
  }),
  ranges('tables are kept until the flush, for a walker that still reads them', (tools) => {
    const { rig, batch, iova, least, span, device } = tools;
    const sg = scattered(rig, least, (2 * span) / least);
    put(tools, iova, sg);
    for (let i = 0; i < sg.length; i += 7) rig.parts.access(device, iova + i * least, 0);
    const frames = rig.parts.frames();
    take(tools, iova, 2 * span);
    rig.same('frames before the flush', rig.parts.frames(), frames);
    sg.forEach(({ paddr }, i) => {
      const got = rig.parts.access(device, iova + i * least, 0);
      if (got !== -1) rig.same(`DMA to ${hex(iova + i * least)} before the flush`, got, paddr);
    });
    const detached = batch.detached;
    rig.same('flush', batch.flush(), 0);
    const left = rig.parts.frames();
    if (left > frames - detached)
      rig.fail('frames after the flush', `at most ${frames - detached}`, `${left}`);
    // Another list at the same place is found, and nothing of the old one.
    const next = scattered(rig, least, (2 * span) / least, 8192);
    put(tools, iova, next);
    reaches(tools, iova, next);
  }),
  ranges('a map of what was just unmapped is found at once', (tools) => {
    const { rig, batch, iova, least, span } = tools;
    const old = scattered(rig, least, span / least);
    const next = scattered(rig, least, span / least, 8192);
    put(tools, iova, old);
    reaches(tools, iova, old);
    take(tools, iova, span);
    put(tools, iova, next);
    rig.same('early flushes', batch.earlyFlushes, 1);
    reaches(tools, iova, next);
  }),
  ranges('what is left pending covers what was cleared, and no more', (tools) => {
    const { rig, domain, iova, least, span } = tools;
    const { unmapRange, flushRanges, releaseTable } = domain.ops;
    if (unmapRange === undefined || flushRanges === undefined || releaseTable === undefined) return;
    const sg = scattered(rig, least, span / least + 4);
    put(tools, iova, sg);
    const size = sg.length * least;
    const pending = new RangeGather();
    rig.same('unmapRange', domain.ops.unmapRange?.(iova, size, pending) ?? 0, size);
    let at = iova;
    const found: [number, number][] = [];
    pending.forEach((start, end) => {
      found.push([start, end]);
    });
    for (const [start, end] of found.sort((a, b) => a[0] - b[0])) {
      if (start > at || end > iova + size || start < iova)
        rig.fail('a pending range', `one from ${hex(at)}`, `${hex(start)}..${hex(end)}`);
      at = Math.max(at, end);
    }
    rig.same('end of the pending ranges', at, iova + size);
    rig.same('flushRanges', domain.ops.flushRanges?.(pending) ?? 0, 0);
    pending.releaseDetached({ releaseTable: (table) => domain.ops.releaseTable?.(table) });
    rig.isHole(domain, tools.device, iova);
  }),
  ranges('reused tables are not detached', (tools) => {
    const { rig, domain, iova, least, span } = tools;
    const batch = rig.core.beginBatch(domain, { reuseTables: true });
    if (typeof batch === 'number') return rig.fail('beginBatch', 'a batch', String(batch));
    const again = { ...tools, batch };
    put(again, iova, scattered(rig, least, span / least));
    const frames = rig.parts.frames();
    take(again, iova, span);
    rig.same('detached tables', batch.detached, 0);
    const next = scattered(rig, least, span / least, 8192);
    put(again, iova, next);
    rig.same('frames', rig.parts.frames(), frames);
    reaches(again, iova, next);
  }),
];
