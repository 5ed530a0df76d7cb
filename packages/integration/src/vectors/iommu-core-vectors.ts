import { IotlbGather, PageRun } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type CoreEvent,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
  insertResvRegion,
  type RegionRange,
  type ReservedRegion,
  resvRegionLine,
} from '@iommukit/iommu-core';
import { TraceChannel } from '@iommukit/platform';
import { type CoreMock, CoreMockDomain, lastText, startText } from './iommu-core-mock.ts';
import {
  count,
  integer,
  list,
  type Members,
  oneOf,
  operation,
  plainOr,
  record,
  type Shape,
  text,
  tuple,
  word,
} from './vector-shape.ts';
import type { VectorTally } from './vector-tally.ts';
import { exactNumber, hex, type JsonRow, VectorError } from './vector-values.lanes.ts';

// Runs recordings of kind `iommu-core`. Every recorded field is compared; a field that this file does not know is a mismatch too.

/** Domain types by the kernel's numbers. */
const TYPES: Readonly<Record<number, DomainType>> = {
  0: 'blocked',
  1: 'unmanaged',
  3: 'dma',
  4: 'identity',
  11: 'dma-fq',
};
const UNMANAGED = 1;
const RESV = ['direct', 'direct-relaxable', 'reserved', 'msi', 'msi-software'] as const;
/** The inputs of each operation; whatever else a case holds is a result. */
const INPUTS: Readonly<Record<string, readonly string[]>> = {
  pgsize: ['pgsize_bitmap', 'iova', 'paddr', 'size'],
  map: ['pgsize_bitmap', 'iova', 'paddr', 'size', 'prot', 'type', 'gfp', 'mock'],
  map_nosync: ['pgsize_bitmap', 'iova', 'paddr', 'size', 'prot', 'type', 'gfp', 'mock'],
  unmap: ['pgsize_bitmap', 'iova', 'size', 'mapped', 'queued', 'mock', 'type'],
  unmap_fast: [
    'pgsize_bitmap',
    'iova',
    'size',
    'mapped',
    'queued',
    'g_start',
    'g_end',
    'g_pgsize',
    'mock',
    'type',
  ],
  map_sg: ['pgsize_bitmap', 'iova', 'sg', 'prot', 'mock', 'type'],
  gather: ['steps', 'queued', 'mock'],
  resv: ['regions'],
  direct: ['type', 'pgsize_bitmap', 'regions', 'mapped', 'mock'],
};

type Results = Record<string, unknown>;

function numberOf(value: unknown, where: string): number {
  return value === undefined ? 0 : exactNumber(value, where);
}

function gatherText(gather: IotlbGather): (string | number)[] {
  const state = [startText(gather.start), lastText(gather.end), hex(gather.pgsize)];
  return gather.queued ? [...state, 1] : state;
}

/** A region by start, length, protection and type; as bigints, because lists hold any 64-bit length. */
interface WideRegion extends RegionRange {
  readonly start: bigint;
  readonly end: bigint;
  readonly prot: number;
}

function wideRegion([start, length, prot, type]: readonly [
  string,
  string,
  number,
  number,
]): WideRegion {
  return {
    type: RESV[type] ?? 'reserved',
    start: BigInt(start),
    end: BigInt(start) + BigInt(length),
    prot,
  };
}

function region(row: readonly [string, string, number, number]): ReservedRegion {
  const { type, prot } = wideRegion(row);
  const start = exactNumber(row[0], 'regions');
  return { type, start, end: start + exactNumber(row[1], 'regions'), prot };
}

function runPgsize(row: JsonRow): Results {
  const run = new PageRun();
  const size = numberOf(row['size'], 'size');
  const iova = numberOf(row['iova'], 'iova');
  run.pick(
    numberOf(row['pgsize_bitmap'], 'pgsize_bitmap'),
    iova,
    numberOf(row['paddr'], 'paddr'),
    size,
  );
  return { pgsize: hex(run.pgsize), count: hex(run.count) };
}

function runResv(row: JsonRow): Results {
  let regions: WideRegion[] = [];
  for (const one of row['regions'] ?? []) regions = insertResvRegion(regions, wideRegion(one));
  return {
    result: regions.map(({ type, start, end, prot }) => [
      hex(start),
      hex(end - start),
      prot,
      RESV.indexOf(type),
    ]),
    sysfs: regions.map(resvRegionLine),
  };
}

/** A core over the mock driver, with one domain. */
class CoreCase {
  readonly #row: JsonRow;
  readonly #core: IommuCore;
  readonly #ops: CoreMockDomain;
  readonly #domain: IommuDomain;
  readonly #gather = new IotlbGather();
  readonly #log: [string, string][] = [];
  #warns = 0;

  constructor(row: JsonRow) {
    this.#row = row;
    const trace = new TraceChannel<CoreEvent>();
    trace.listen((event) => {
      if (event.name !== 'warn') return;
      // Messages are printed; everything else is one of the kernel's WARNs.
      if (event.text.startsWith('unaligned')) this.#log.push(['err', event.text]);
      else this.#warns++;
    });
    this.#core = new IommuCore({
      trace,
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: 'dma',
    });
    this.#ops = new CoreMockDomain(this.#core, (row['mock'] ?? {}) as CoreMock);
    for (const [start, size] of row['mapped'] ?? [])
      this.#ops.preset(numberOf(start, 'mapped'), numberOf(size, 'mapped'));
    const type = TYPES[row['type'] ?? UNMANAGED];
    if (type === undefined)
      throw new VectorError('type', `one of ${Object.keys(TYPES).join(', ')}`, row['type']);
    this.#domain = new IommuDomain({
      type,
      ops: this.#ops,
      pgsizeBitmap: this.#number('pgsize_bitmap'),
      apertureStart: 0,
      apertureEnd: 2 ** 64,
    });
    this.#ops.domain = this.#domain;
  }

  #number(field: string): number {
    return numberOf(this.#row[field], field);
  }

  run(): Results {
    const results = this.#call();
    const { calls } = this.#ops;
    if (calls.length > 0) results['calls'] = calls;
    if (this.#log.length > 0) results['log'] = this.#log;
    if (this.#warns > 0) results['warns'] = this.#warns;
    return results;
  }

  #call(): Results {
    const row = this.#row;
    const iova = this.#number('iova');
    switch (row['op']) {
      case 'map':
      case 'map_nosync':
        return { ret: this.#map() };
      case 'unmap':
        return { ret: hex(this.#core.unmap(this.#domain, iova, this.#number('size'))) };
      case 'unmap_fast':
        return this.#unmapFast(iova);
      case 'map_sg':
        return this.#mapSg(iova);
      case 'gather':
        return { states: this.#steps() };
      default:
        return this.#direct();
    }
  }

  #map(): number {
    const { prot = 0, gfp, op } = this.#row;
    return this.#core.mapRequest({
      domain: this.#domain,
      iova: this.#number('iova'),
      paddr: this.#number('paddr'),
      size: this.#number('size'),
      prot,
      gfp: numberOf(gfp, 'gfp'),
      publish: op === 'map',
    });
  }

  #unmapFast(iova: number): Results {
    const gather = this.#gather;
    if (this.#row['queued'] !== undefined) gather.queued = true;
    if (this.#row['g_start'] !== undefined) {
      gather.start = this.#number('g_start');
      gather.end = Number(BigInt(this.#row['g_end'] ?? '0x0') + 1n);
      gather.pgsize = this.#number('g_pgsize');
    }
    const ret = hex(this.#core.unmapFast(this.#domain, iova, this.#number('size'), gather));
    return { ret, gather: gatherText(gather) };
  }

  #mapSg(iova: number): Results {
    const rows: readonly [string, string, string?][] = this.#row['sg'] ?? [];
    const sg = rows.map(([paddr, length, bus]) => ({
      paddr: numberOf(paddr, 'sg'),
      length: numberOf(length, 'sg'),
      bus: bus === 'bus',
    }));
    const ret = this.#core.mapSg(this.#domain, iova, sg, this.#row['prot'] ?? 0);
    return ret < 0 ? { errno: ret } : { ret: hex(ret) };
  }

  #steps(): (string | number)[][] {
    const gather = this.#gather;
    const domain = this.#domain;
    const core = this.#core;
    if (this.#row['queued'] !== undefined) gather.queued = true;
    const rows: readonly [string, string?, string?][] = this.#row['steps'] ?? [];
    return rows.map(([what, start, length]) => {
      const iova = numberOf(start, 'steps');
      const size = numberOf(length, 'steps');
      if (what === 'is_disjoint')
        return [...gatherText(gather), gather.isDisjoint(iova, size) ? 1 : 0];
      if (what === 'page') core.gatherAddPages(domain, gather, iova, size, 1);
      else if (what === 'range') gather.addRange(iova, size);
      else core.iotlbSync(domain, gather);
      return gatherText(gather);
    });
  }

  #direct(): Results {
    const regions: ReservedRegion[] = (this.#row['regions'] ?? []).map(region);
    const device = new IommuDevice({ name: 'd', ids: [1], groupKey: 'd' });
    const ops: IommuOps = {
      probeDevice: () => 0,
      releaseDevice() {},
      domainAlloc: () => this.#domain,
      getResvRegions: () => regions,
      capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
    };
    device.ops = ops;
    const ret = this.#core.createDirectMappings(this.#domain, device);
    // Refused as a whole, the kernel has not looked at a region yet.
    const looked = this.#warns === 0;
    return { ret, ...(looked && this.#core.requiresDirect(device) ? { require_direct: 1 } : {}) };
  }
}

function runCase(row: JsonRow): Results {
  if (row['op'] === 'pgsize') return runPgsize(row);
  return row['op'] === 'resv' ? runResv(row) : new CoreCase(row).run();
}

/** Runs a file of kind `iommu-core`: splitting, gathers, reserved regions. */
export function runIommuCore(file: JsonRow, tally: VectorTally): void {
  const rows: readonly JsonRow[] = file['cases'];
  for (const row of rows) {
    const at = tally.operations++;
    const results = runCase(row);
    const inputs = new Set([...(INPUTS[row['op']] ?? []), 'op', 'comment']);
    const recorded = Object.entries(row).filter(([key]) => !inputs.has(key));
    tally.checkMembers(at, results, Object.fromEntries(recorded));
  }
}

const scalar: Shape = (value, at) => (typeof value === 'number' ? integer : text)(value, at);
const row = list(plainOr(scalar, list(scalar)));
const outcome: Members = { calls: list(row), log: list(list(text)), warns: count() };
/** How a recorded mock driver misbehaves. */
export const CORE_MOCK_SHAPE: Shape = record(
  {},
  {
    per_call: count(),
    table: count(),
    fail_call: count(),
    fail_errno: count(),
    fail_pages: count(),
    unmap_zero: count(),
    gather: oneOf('page', 'range'),
    no_sync: count(),
    no_sync_map: count(),
    sync_fail: count(),
    sync_errno: count(),
  },
);
const ranges = list(tuple(2, word, word));
const regions = list(tuple(4, word, word, count(), count(4)));
const common: Members = { pgsize_bitmap: word, type: count(), mock: CORE_MOCK_SHAPE, ...outcome };
const map = record(
  { iova: word, paddr: word, size: word, prot: count(), ret: integer },
  { gfp: word, ...common },
);

/** What a file of kind `iommu-core` has to hold. */
export const IOMMU_CORE_SHAPE: Shape = record({
  name: text,
  cases: list(
    operation({
      pgsize: record({
        pgsize_bitmap: word,
        iova: word,
        paddr: word,
        size: word,
        pgsize: word,
        count: word,
      }),
      map,
      map_nosync: map,
      unmap: record(
        { iova: word, size: word, ret: word },
        { mapped: ranges, queued: count(1), ...common },
      ),
      unmap_fast: record(
        { iova: word, size: word, ret: word, gather: list(scalar) },
        {
          mapped: ranges,
          queued: count(1),
          g_start: word,
          g_end: word,
          g_pgsize: word,
          ...common,
        },
      ),
      map_sg: record(
        { iova: word, sg: list(tuple(2, word, word, oneOf('bus'))) },
        { prot: count(), ret: word, errno: integer, ...common },
      ),
      gather: record(
        {
          steps: list(tuple(1, oneOf('page', 'range', 'is_disjoint', 'sync'), word, word)),
          states: list(list(scalar)),
        },
        { queued: count(1), ...common },
      ),
      resv: record({ regions, result: regions, sysfs: list(text) }),
      direct: record(
        { regions, ret: integer },
        { mapped: ranges, require_direct: count(1), ...common },
      ),
    }),
  ),
});
