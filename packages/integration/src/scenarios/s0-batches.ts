/* S0-5, S0-6, S0-19, S0-20: what a batch saves. */
import { SZ_2M } from '@iommukit/bits';
import { adjacent, gibibyte, lists } from './batch-work.ts';
import type { Way } from './mapper.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { MIB, scat, X } from './setup.ts';

interface ListRow {
  readonly way: Way;
  readonly fmt: number;
  readonly lvl: number;
  readonly clean: readonly [cmc: number, cml: number];
  readonly ril: readonly [va: number, sync: number];
  readonly noRil: number;
  readonly hook: number;
  readonly fields: string;
}

function* listCases(row: ListRow): Iterable<ScenarioCase> {
  const { way, fmt, lvl, clean, ril, noRil, hook, fields } = row;
  const [VA, SYNC] = ril;
  const common = { fmt, lvl, alloc: 32, free: 0, warn: 0 };
  yield {
    way: `${way} coh`,
    run: (rig) => lists(rig, way),
    expected: {
      ...{ ...common, st: 4128, VA, SYNC, cmd: VA + SYNC, fields },
      ...(way === 'R' ? { bytes: 768, records: 32, detached: 0 } : {}),
    },
    tables: 'coh',
  };
  yield {
    way: `${way} nc`,
    rig: { mode: 'nc' },
    run: (rig) => lists(rig, way),
    expected: { ...common, st: 4160, cmc: clean[0], cml: clean[1], VA, SYNC },
    tables: 'nc',
  };
  yield {
    way: `${way} no RIL`,
    rig: { ril: false },
    run: (rig) => lists(rig, way),
    expected: { ...common, VA: 2048, SYNC, cmd: noRil },
    tables: 'coh',
    sweep: false,
  };
  yield {
    way: `${way} with a hook`,
    rig: { hook: true },
    run: (rig) => lists(rig, way),
    expected: { hook },
    tables: 'coh',
    sweep: false,
  };
}

const list64 = '32x NUM=0 SCALE=6 TG=1 TTL=3 LEAF=1';
const single = '2048x NUM=0 SCALE=0 TG=1 TTL=3 LEAF=1';
export const s05: Scenario = {
  id: 'S0-5',
  title: 'batch of 64 lists',
  *cases(): Iterable<ScenarioCase> {
    const P = { way: 'P', fmt: 4096, lvl: 16384, clean: [4160, 6176], ril: [2048, 2048] } as const;
    yield* listCases({ ...P, noRil: 4096, hook: 2048, fields: single });
    const K = { fmt: 2080, lvl: 8320, clean: [2144, 4384], ril: [32, 32], noRil: 2080 } as const;
    yield* listCases({ way: 'K', ...K, hook: 32, fields: list64 });
    yield* listCases({ way: 'G', ...K, hook: 32, fields: list64 });
    const R = { fmt: 64, lvl: 256, clean: [96, 2336], ril: [32, 1], noRil: 2049 } as const;
    yield* listCases({ way: 'R', ...R, hook: 32, fields: list64 });
    yield {
      way: 'R coh, live stores',
      rig: { observer: {} },
      run: (rig) => lists(rig, 'R'),
      expected: { st: 4128, live: 2080 },
      tables: 'coh',
      sweep: false,
    };
    yield {
      way: 'R, one ASID for the batch',
      run(rig) {
        const { ops } = rig.domain;
        ops.flushRanges = () => {
          ops.flushIotlbAll();
          return 0;
        };
        return lists(rig, 'R');
      },
      expected: { VA: 0, ASID: 1, SYNC: 1, cmd: 2 },
      tables: 'coh',
      sweep: false,
    };
  },
};

interface AdjacentRow {
  readonly name: string;
  readonly way: Way;
  readonly pieces: number;
  readonly fmt: number;
  readonly lvl: number;
  readonly st: number;
  readonly clean: readonly [cmc: number, cml: number];
  readonly free: number;
  /** VA, and SYNC. */
  readonly n: number;
  readonly fields: string;
}

export const s06: Scenario = {
  id: 'S0-6',
  title: '64 adjacent buffers',
  *cases(): Iterable<ScenarioCase> {
    const walk = '8x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0, 1x NUM=0 SCALE=12 TG=1 TTL=2 LEAF=1';
    const rows: AdjacentRow[] = [
      {
        ...{
          name: 'K, 64 unmaps',
          way: 'K',
          pieces: 64,
          fmt: 64,
          lvl: 256,
          st: 4096,
          clean: [64, 512],
        },
        ...{ free: 0, n: 64, fields: '64x NUM=0 SCALE=6 TG=1 TTL=3 LEAF=1' },
      },
      {
        ...{
          name: 'G, 64 unmaps',
          way: 'G',
          pieces: 64,
          fmt: 64,
          lvl: 256,
          st: 4096,
          clean: [64, 512],
        },
        ...{ free: 0, n: 1, fields: '1x NUM=0 SCALE=12 TG=1 TTL=3 LEAF=1' },
      },
      {
        ...{ name: 'K, one unmap', way: 'K', pieces: 1, fmt: 1, lvl: 3, st: 16, clean: [9, 9] },
        ...{ free: 8, n: 9, fields: walk },
      },
      {
        ...{ name: 'R, one unmap', way: 'R', pieces: 1, fmt: 1, lvl: 3, st: 8, clean: [1, 1] },
        ...{ free: 8, n: 1, fields: '1x NUM=0 SCALE=12 TG=1 TTL=0 LEAF=0' },
      },
    ];
    for (const { name, way, pieces, fmt, lvl, st, clean, free, n, fields } of rows)
      for (const mode of ['coh', 'nc'] as const) {
        const [cmc, cml] = mode === 'nc' ? clean : [0, 0];
        yield {
          way: `${name} ${mode}`,
          rig: { mode },
          run: (rig) => adjacent(rig, way, pieces),
          expected: {
            ...{ fmt, lvl, alloc: 0, st, cmc, cml, free, VA: n, SYNC: n, cmd: 2 * n, fields },
            ...(way === 'R' ? { bytes: 88, records: 1, detached: 8, freedByFlush: 8 } : {}),
          },
        };
      }
    // T1: what 16 MiB cost a page at a time.
    yield {
      way: 'P',
      run: (rig) => adjacent(rig, 'P', 1),
      expected: { cmd: 8192, free: 0 },
      sweep: false,
    };
  },
};

export const s019: Scenario = {
  id: 'S0-19',
  title: '1 GiB',
  *cases(): Iterable<ScenarioCase> {
    yield {
      way: 'K, one unmap',
      run: (rig) => gibibyte(rig, 'K', 1),
      expected: { fmt: 1, lvl: 2, free: 513, st: 2, VA: 2, SYNC: 2 },
    };
    yield {
      way: 'K as 512 x 2 MiB',
      run: (rig) => gibibyte(rig, 'K', 512),
      expected: { fmt: 512, lvl: 1536, free: 512, st: 1024, VA: 1024, SYNC: 1024 },
      sweep: false,
    };
    yield {
      way: 'R, one unmap',
      run: (rig) => gibibyte(rig, 'R', 1),
      expected: {
        ...{ fmt: 1, lvl: 2, free: 513, freedByFlush: 513, st: 1, VA: 1, SYNC: 1 },
        ...{ records: 1, detached: 513, bytes: 4128 },
      },
      sweep: false,
    };
  },
};

/** 100 frames; each unmaps 8 buffers of 1 MiB and maps 8 others. */
function frames(rig: ScenarioRig, way: Way, distance: number): Observed {
  const buffers = [0, 1].map((half) =>
    Array.from({ length: 8 }, (_, i) => X + (half * 8 + i) * distance),
  );
  const first = rig.by('K');
  for (const iova of buffers[0] ?? []) first.map(iova, scat(256));
  const total = { cmd: 0, VA: 0, SYNC: 0, late: 0 };
  const by = rig.by(way);
  for (let frame = 0; frame < 100; frame++) {
    const { cmd, VA, SYNC, alloc } = rig.count(() => {
      for (const iova of buffers[frame % 2] ?? []) by.unmap(iova, MIB);
      for (const iova of buffers[(frame + 1) % 2] ?? []) by.map(iova, scat(256));
      by.flush();
    });
    total.cmd += cmd;
    total.VA += VA;
    total.SYNC += SYNC;
    if (frame >= 2) total.late += alloc;
    // Where an allocation was made to fail, the frames after it are all alike.
    if (rig.failed.length > 0 && frame > 3) break;
  }
  return total;
}

export const s020: Scenario = {
  id: 'S0-20',
  title: "a renderer's frames",
  *cases(): Iterable<ScenarioCase> {
    const rows = [
      { name: 'P', way: 'P', distance: SZ_2M, cmd: 409_600 },
      { name: 'K', way: 'K', distance: SZ_2M, cmd: 1600 },
      { name: 'R', way: 'R', distance: SZ_2M, cmd: 900 },
      { name: 'R, adjacent buffers', way: 'R', distance: MIB, cmd: 200 },
    ] as const;
    for (const { name, way, distance, cmd } of rows)
      yield {
        way: name,
        run: (rig) => frames(rig, way, distance),
        expected: { cmd, late: 0 },
        ...(distance === SZ_2M ? { tables: 'slots' } : {}),
      };
  },
};
