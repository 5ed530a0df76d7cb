import { IotlbGather, PageRun } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  IommuDomain,
  insertResvRegion,
  type ReservedRegion,
  resvRegionLine,
} from '../src/index.ts';
import { type Call, FakeDomain, FakeDriver, h, lastOf, type Mock, startOf } from './fake-driver.ts';

export interface Case {
  op: string;
  pgsize_bitmap?: string;
  iova?: string;
  paddr?: string;
  size?: string;
  pgsize?: string;
  count?: string;
  prot?: number;
  type?: number;
  gfp?: string;
  mock?: Mock;
  mapped?: [string, string][];
  queued?: number;
  g_start?: string;
  g_end?: string;
  g_pgsize?: string;
  sg?: [string, string, string?][];
  steps?: [string, string?, string?][];
  regions?: [string, string, number, number][];
  ret?: number | string;
  errno?: number;
  [other: string]: unknown;
}

const TYPES = { 0: 'blocked', 1: 'unmanaged', 3: 'dma', 4: 'identity' } as const;
const RESV = ['direct', 'direct-relaxable', 'reserved', 'msi', 'msi-software'] as const;

function n(text: string | undefined): number {
  return Number(BigInt(text ?? '0x0'));
}

function gatherOf(gather: IotlbGather): Call {
  const state: Call = [startOf(gather.start), lastOf(gather.end), h(gather.pgsize)];
  if (gather.queued) state.push(1);
  return state;
}

function region([start, length, prot, type]: [string, string, number, number]): ReservedRegion {
  return {
    type: RESV[type] ?? 'reserved',
    start: n(start),
    end: n(start) + n(length),
    prot,
  };
}

/** Why a case cannot be put to our interfaces; undefined when it can. */
export function inapplicable(c: Case): string | undefined {
  if (c.gfp !== undefined) return 'allocation flags do not exist here';
  if (c.op === 'gather' && c.steps?.some(([, , size]) => size === '0x0'))
    return 'an inclusive end cannot say "nothing", a half-open one can';
  if (c.regions?.some(([start, size]) => !exact(start) || !exact(size)))
    return 'no double holds the value';
  return undefined;
}

function exact(text: string): boolean {
  return BigInt(Number(BigInt(text))) === BigInt(text);
}

/** Runs one case and returns what our code makes of it. */
export function runCase(c: Case): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  if (c.op === 'pgsize') {
    const run = new PageRun();
    run.pick(n(c.pgsize_bitmap), n(c.iova), n(c.paddr), n(c.size));
    return { pgsize: h(run.pgsize), count: h(run.count) };
  }
  if (c.op === 'resv') {
    let list: ReservedRegion[] = [];
    for (const r of c.regions ?? []) list = insertResvRegion(list, region(r));
    out['result'] = list.map((r) => [h(r.start), h(r.end - r.start), r.prot, RESV.indexOf(r.type)]);
    out['sysfs'] = list.map(resvRegionLine);
    return out;
  }
  const trace = new TraceChannel<CoreEvent>();
  const log: string[] = [];
  trace.listen((event) => {
    if (event.name === 'warn' && event.text.startsWith('unaligned')) log.push(event.text);
  });
  const core = new IommuCore({ trace, profile: CORE_PROFILES['7.3'], defaultDomainType: 'dma' });
  const ops = new FakeDomain(() => core, c.mock);
  for (const [start, size] of c.mapped ?? []) ops.preset(n(start), n(size));
  const domain = new IommuDomain({
    type: TYPES[(c.type ?? 1) as keyof typeof TYPES],
    ops,
    pgsizeBitmap: n(c.pgsize_bitmap),
    apertureStart: 0,
    apertureEnd: 2 ** 64,
  });
  ops.domain = domain;
  const gather = new IotlbGather();
  if (c.queued !== undefined) gather.queued = true;
  if (c.g_start !== undefined) {
    gather.start = n(c.g_start);
    gather.end = Number(BigInt(c.g_end ?? '0x0') + 1n);
    gather.pgsize = n(c.g_pgsize);
  }
  const prot = c.prot ?? 0;
  switch (c.op) {
    case 'map':
      out['ret'] = core.map(domain, n(c.iova), n(c.paddr), n(c.size), prot);
      break;
    case 'map_nosync':
      out['ret'] = core.mapNosync(domain, n(c.iova), n(c.paddr), n(c.size), prot);
      break;
    case 'unmap':
      out['ret'] = h(core.unmap(domain, n(c.iova), n(c.size)));
      break;
    case 'unmap_fast':
      out['ret'] = h(core.unmapFast(domain, n(c.iova), n(c.size), gather));
      out['gather'] = gatherOf(gather);
      break;
    case 'map_sg': {
      const sg = (c.sg ?? []).map(([paddr, length, bus]) => ({
        paddr: n(paddr),
        length: n(length),
        bus: bus === 'bus',
      }));
      const ret = core.mapSg(domain, n(c.iova), sg, prot);
      if (ret < 0) out['errno'] = ret;
      else out['ret'] = h(ret);
      break;
    }
    case 'gather':
      out['states'] = (c.steps ?? []).map(([what, iova, size]) => {
        let answer: number | undefined;
        if (what === 'page') core.gatherAddPages(domain, gather, n(iova), n(size), 1);
        else if (what === 'range') gather.addRange(n(iova), n(size));
        else if (what === 'sync') core.iotlbSync(domain, gather);
        else answer = gather.isDisjoint(n(iova), n(size)) ? 1 : 0;
        return [...gatherOf(gather), ...(answer === undefined ? [] : [answer])];
      });
      break;
    case 'direct': {
      const driver = new FakeDriver({ regions: (c.regions ?? []).map(region) });
      const device = new IommuDevice({ name: 'd', ids: [1], groupKey: 'd' });
      device.ops = driver;
      out['ret'] = core.createDirectMappings(domain, device);
      if (out['ret'] === 0 || out['ret'] === -12)
        if (core.requiresDirect(device)) out['require_direct'] = 1;
      break;
    }
    default:
      throw new Error(`no such operation: ${c.op}`);
  }
  if (ops.calls.length > 0) out['calls'] = ops.calls;
  if (log.length > 0) out['log'] = log.map((text) => ['err', text]);
  return out;
}

const RESULTS = ['pgsize', 'count', 'ret', 'errno', 'calls', 'gather', 'states', 'result'];
const MORE = ['sysfs', 'require_direct', 'log'];

/** The recorded results of a case: everything that is not an input. */
export function recorded(c: Case): Record<string, unknown> {
  const keys = [...RESULTS, ...MORE].filter((key) => c[key] !== undefined);
  return Object.fromEntries(keys.map((key) => [key, c[key]]));
}
