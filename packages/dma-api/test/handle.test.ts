import { createPrng } from '@iommukit/platform';
import { describe, expect, it } from 'vitest';
import {
  DMA_HANDLE_BYTES,
  type DmaAttrs,
  type DmaDevice,
  type DmaDirection,
  type DmaHandle,
  sgElement,
} from '../src/index.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

const N = 1000;
const PAGE = 4096;
const BASE = 0x4000_0000;

interface Setup {
  readonly machine?: MachineOptions;
  readonly coherence?: Coherence;
  readonly dir?: DmaDirection;
  readonly size?: number;
  readonly offset?: number;
  readonly attrs?: DmaAttrs;
  readonly syncs?: true;
  readonly unmaps?: false;
}

type Way = 'K' | 'Q' | 'H';
type Coherence = DmaDevice['coherence'];

function setUp(
  options: MachineOptions = {},
  coherence: Coherence = 'coherent',
): { m: Machine; dev: DmaDevice } {
  const m = new Machine({ version: '7.3', ...options });
  const dev = m.setUp({ coherent: coherence === 'coherent' });
  m.take();
  return { m, dev };
}

/** N buffers, one after the other; what was looked up, and everything that was done. */
function run(way: Way, setup: Setup) {
  const { m, dev } = setUp(setup.machine, setup.coherence);
  const { dma } = m;
  const { dir = 'TO_DEVICE', size = PAGE, offset = 0, attrs } = setup;
  for (let i = 0; i < N; i++) {
    const paddr = BASE + i * 2 * size + offset;
    const handle = way === 'H' ? dma.mapPhysHandle(dev, paddr, size, dir, attrs) : null;
    if (handle !== null) {
      if (setup.syncs === true) {
        dma.syncHandleForCpu(dev, handle);
        dma.syncHandleForDevice(dev, handle);
      }
      if (setup.unmaps !== false) dma.unmapHandle(dev, handle, attrs);
      continue;
    }
    const page = way === 'Q' ? paddr : undefined;
    const address = dma.mapPhys(dev, paddr, size, dir, attrs);
    if (setup.syncs === true) {
      dma.syncForCpu(dev, address, size, dir, page);
      dma.syncForDevice(dev, address, size, dir, page);
    }
    if (setup.unmaps === false) continue;
    if (page === undefined) dma.unmapPhys(dev, address, size, dir, attrs);
    else dma.unmapPhys(dev, address, size, dir, { ...attrs, page });
  }
  return { walks: m.walks, counters: { ...dma.counters }, calls: m.take(), pages: m.mappedPages };
}

describe('lookups of N = 1000 buffers: by address, with the page, by handle', () => {
  const bounced = { untrusted: true, bounce: {} };
  const rows: [string, Setup, [k: number, q: number, h: number]][] = [
    ['coherent', {}, [N, 0, 0]],
    ['2 MiB buffers', { size: 0x20_0000 }, [N, 0, 0]],
    [
      'not coherent, two syncs and an unmap',
      { coherence: 'non-coherent', dir: 'FROM_DEVICE', syncs: true },
      [3 * N, 0, 0],
    ],
    [
      'bounced: the page names the original, not the slot',
      { machine: bounced, size: 0x400, offset: 0x200, dir: 'FROM_DEVICE' },
      [N, N, 0],
    ],
    ['coherent, syncs alone return early', { syncs: true, unmaps: false }, [0, 0, 0]],
    ['device memory: skipped already', { attrs: { mmio: true } }, [0, 0, 0]],
    ['coherence required: skipped already', { attrs: { requireCoherent: true } }, [0, 0, 0]],
  ];
  for (const [name, setup, expected] of rows)
    it(name, () => {
      const [k, q, h] = (['K', 'Q', 'H'] as const).map((way) => run(way, setup));
      expect([k?.walks, q?.walks, h?.walks]).toEqual(expected);
      for (const way of [k, q, h]) {
        expect(way?.walks).toBe(way?.counters.walks);
        expect((way?.counters.walks ?? 0) + (way?.counters.walksSaved ?? 0)).toBe(expected[0]);
      }
      // Commands, tables, caches, copies and IOVAs are the same, step by step.
      expect(h?.calls).toEqual(k?.calls);
      expect(q?.calls).toEqual(k?.calls);
      expect([k?.pages, h?.pages]).toEqual(Array(2).fill(setup.unmaps === false ? N : 0));
    });

  it('checking mode: 1000 of 1000 handles name what is mapped, and the checks count apart', () => {
    for (const machine of [{}, bounced]) {
      const { counters } = run('H', {
        machine: { ...machine, api: { checking: true } },
        size: 0x400,
      });
      expect(counters).toEqual({ walks: 0, walksSaved: N, checks: N });
    }
  });

  it('lazy: the lookups remain, the flushes are the same', () => {
    const lazy: Setup = { machine: { type: 'dma-fq', flushQueue: { timer: 'external' } } };
    const [k, h] = [run('K', lazy), run('H', lazy)];
    expect([k.walks, h.walks]).toEqual([N, 0]);
    for (const { calls } of [k, h])
      expect(calls.filter(([name]) => name === 'flush_all').length).toBe(3);
  });
});

describe('lists by handle', () => {
  function runList(way: 'K' | 'H', options: MachineOptions, coherence: Coherence) {
    const { m, dev } = setUp(options, coherence);
    const sg = Array.from({ length: 32 }, (_, i) => sgElement(BASE + i * 0x2000 + 0x200, 0x400));
    if (way === 'K') {
      expect(m.dma.mapSg(dev, sg, 'FROM_DEVICE')).toBe(32);
      m.dma.syncSgForCpu(dev, sg, 'FROM_DEVICE');
      m.dma.syncSgForDevice(dev, sg, 'FROM_DEVICE');
      m.walks = 0;
      m.dma.unmapSg(dev, sg, 'FROM_DEVICE');
    } else {
      const list = m.dma.mapSgHandle(dev, sg, 'FROM_DEVICE');
      if (typeof list === 'number') throw new Error(`not mapped: ${list}`);
      expect(list.nents).toBe(32);
      m.dma.syncSgHandleForCpu(dev, list);
      m.dma.syncSgHandleForDevice(dev, list);
      expect(m.walks).toBe(0);
      m.dma.unmapSgHandle(dev, list);
      expect(codeOf(() => m.dma.unmapSgHandle(dev, list))).toBe('HANDLE_UNMAPPED');
      expect(codeOf(() => m.dma.syncSgHandleForCpu(dev, list))).toBe('HANDLE_UNMAPPED');
    }
    expect([m.mappedPages, m.bounce?.live ?? 0]).toEqual([0, 0]);
    return { walks: m.walks, calls: m.take() };
  }
  const rows: [string, MachineOptions, Coherence, number][] = [
    ['coherent: nothing to gain', {}, 'coherent', 0],
    ['not coherent: nothing to gain', {}, 'non-coherent', 0],
    ['bounced', { untrusted: true, bounce: {} }, 'coherent', 32],
    ['bounced, not coherent', { untrusted: true, bounce: {} }, 'non-coherent', 32],
  ];
  for (const [name, options, coherence, walks] of rows)
    it(`${name}: ${walks} lookups by address, 0 by handle`, () => {
      const [k, h] = [runList('K', options, coherence), runList('H', options, coherence)];
      expect([k.walks, h.walks]).toEqual([walks, 0]);
      expect(h.calls).toEqual(k.calls);
    });

  it('a list that cannot be mapped gives the errno and no handle', () => {
    const { m, dev } = setUp({ apertureStart: 0x1000, apertureEnd: 0x2000 });
    const sg = [sgElement(BASE, 0x2000)];
    expect(m.dma.mapSgHandle(dev, sg, 'TO_DEVICE')).toBe(-12);
    expect(m.dma.handles.live).toBe(0);
  });
});

describe('misuse is refused before any store or command, and nothing changes', () => {
  function live() {
    const m = new Machine({ version: '7.3', api: { checking: true } });
    const dev = m.setUp({ coherent: false }, m.device('a', 'g'));
    const other = m.setUp({ coherent: false }, m.device('b', 'g'));
    const map = (): DmaHandle => {
      const handle = m.dma.mapPhysHandle(dev, BASE, PAGE, 'FROM_DEVICE');
      if (handle === null) throw new Error('not mapped');
      return handle;
    };
    return { m, dev, other, map };
  }

  const rows: [string, string, (s: ReturnType<typeof live>) => () => unknown][] = [
    [
      'double unmap',
      'HANDLE_UNMAPPED',
      ({ m, dev, map }) => {
        const handle = map();
        m.dma.unmapHandle(dev, handle);
        return () => m.dma.unmapHandle(dev, handle);
      },
    ],
    [
      'stale: the slot and the IOVA have a new owner',
      'HANDLE_STALE',
      ({ m, dev, map }) => {
        const handle = map();
        m.dma.unmapHandle(dev, handle);
        expect(map()).toMatchObject({ dmaAddr: handle.dmaAddr, slot: handle.slot });
        return () => m.dma.unmapHandle(dev, handle);
      },
    ],
    [
      'another device of the same domain',
      'HANDLE_FOREIGN',
      ({ m, other, map }) => {
        const handle = map();
        return () => m.dma.unmapHandle(other, handle);
      },
    ],
    [
      'another device, written into the handle',
      'HANDLE_FOREIGN',
      ({ m, other, map }) => {
        const handle = map();
        return () => m.dma.unmapHandle(other, { ...handle, device: other });
      },
    ],
    [
      'another size',
      'HANDLE_SIZE',
      ({ m, dev, map }) => {
        const handle = map();
        return () => m.dma.unmapHandle(dev, { ...handle, size: 0x200 });
      },
    ],
    [
      'another direction',
      'HANDLE_DIRECTION',
      ({ m, dev, map }) => {
        const handle = map();
        return () => m.dma.unmapHandle(dev, { ...handle, dir: 'TO_DEVICE' });
      },
    ],
    [
      'other addresses',
      'HANDLE_ADDRESS',
      ({ m, dev, map }) => {
        const handle = map();
        return () => m.dma.unmapHandle(dev, { ...handle, paddr: BASE + PAGE });
      },
    ],
    [
      'the plain unmap, after the IOVA was mapped again',
      'HANDLE_OWNED',
      ({ m, dev, map }) => {
        const address = m.dma.mapPhys(dev, BASE, PAGE, 'FROM_DEVICE');
        m.dma.unmapPhys(dev, address, PAGE, 'FROM_DEVICE');
        expect(map().dmaAddr).toBe(address);
        return () => m.dma.unmapPhys(dev, address, PAGE, 'FROM_DEVICE');
      },
    ],
    [
      'the plain unmap of a list, the same',
      'HANDLE_OWNED',
      ({ m, dev, map }) => {
        const sg = [sgElement(BASE, PAGE)];
        m.dma.mapSg(dev, sg, 'FROM_DEVICE');
        m.dma.unmapSg(dev, sg, 'FROM_DEVICE');
        map();
        return () => m.dma.unmapSg(dev, sg, 'FROM_DEVICE');
      },
    ],
    [
      'a page that is not the mapped one: unmap',
      'PAGE_MISMATCH',
      ({ m, dev }) => {
        const address = m.dma.mapPhys(dev, BASE, PAGE, 'FROM_DEVICE');
        return () => m.dma.unmapPhys(dev, address, PAGE, 'FROM_DEVICE', { page: BASE + PAGE });
      },
    ],
    [
      'a page that is not the mapped one: sync',
      'PAGE_MISMATCH',
      ({ m, dev }) => {
        const address = m.dma.mapPhys(dev, BASE, PAGE, 'FROM_DEVICE');
        return () => m.dma.syncForCpu(dev, address, PAGE, 'FROM_DEVICE', BASE + PAGE);
      },
    ],
    [
      'sync for the CPU after unmap',
      'HANDLE_UNMAPPED',
      ({ m, dev, map }) => {
        const handle = map();
        m.dma.unmapHandle(dev, handle);
        return () => m.dma.syncHandleForCpu(dev, handle);
      },
    ],
    [
      'sync for the device after unmap',
      'HANDLE_UNMAPPED',
      ({ m, dev, map }) => {
        const handle = map();
        m.dma.unmapHandle(dev, handle);
        return () => m.dma.syncHandleForDevice(dev, handle);
      },
    ],
    [
      'sync of bytes outside the mapping',
      'HANDLE_SIZE',
      ({ m, dev, map }) => {
        const handle = map();
        return () => m.dma.syncHandleForCpu(dev, handle, 0x800, PAGE);
      },
    ],
    [
      'the handle of another DMA layer',
      'HANDLE_FOREIGN',
      ({ m, dev }) => {
        const there = live();
        const handle = there.map();
        return () => m.dma.unmapHandle(dev, handle);
      },
    ],
  ];
  for (const [name, code, prepare] of rows)
    it(`${name}: ${code}`, () => {
      const s = live();
      const misuse = prepare(s);
      s.m.take();
      s.m.events.length = 0;
      const before = [s.m.mappedPages, s.m.dma.handles.live];
      expect(codeOf(misuse)).toBe(code);
      expect([s.m.take(), s.m.events]).toEqual([[], []]);
      expect([s.m.mappedPages, s.m.dma.handles.live]).toEqual(before);
    });

  it('4 GiB and more do not fit a handle: nothing is mapped', () => {
    const { m, dev } = live();
    m.take();
    const misuse = () => m.dma.mapPhysHandle(dev, 0, 2 ** 32, 'TO_DEVICE');
    expect([codeOf(misuse), m.take()]).toEqual(['HANDLE_SIZE', []]);
  });

  it('a failed mapping gives no handle', () => {
    const { m, dev } = setUp({ apertureStart: 0x1000, apertureEnd: 0x2000 });
    expect(m.dma.mapPhysHandle(dev, BASE, 2 * PAGE, 'TO_DEVICE')).toBeNull();
    expect(m.dma.handles.live).toBe(0);
  });
});

describe('cost', () => {
  it('32 bytes for each live mapping, and none when it is gone', () => {
    const { m, dev } = setUp();
    const handles = Array.from({ length: N }, (_, i) =>
      m.dma.mapPhysHandle(dev, BASE + i * PAGE, PAGE, 'TO_DEVICE'),
    );
    expect(m.dma.handles).toEqual({ live: N, bytes: N * DMA_HANDLE_BYTES });
    expect(m.dma.handles.bytes).toBe(32_000);
    for (const handle of handles) if (handle !== null) m.dma.unmapHandle(dev, handle);
    expect(m.dma.handles).toEqual({ live: 0, bytes: 0 });
  });

  it('both interfaces at once in one domain, in any order: 500 lookups for 500 plain mappings', () => {
    const random = createPrng(8);
    const { m, dev } = setUp();
    const undo: (() => void)[] = [];
    for (let i = 0; i < N; i++) {
      const paddr = BASE + i * PAGE;
      if (i % 2 === 0) {
        const handle = m.dma.mapPhysHandle(dev, paddr, PAGE, 'TO_DEVICE');
        if (handle !== null) undo.push(() => m.dma.unmapHandle(dev, handle));
      } else {
        const address = m.dma.mapPhys(dev, paddr, PAGE, 'TO_DEVICE');
        undo.push(() => m.dma.unmapPhys(dev, address, PAGE, 'TO_DEVICE'));
      }
    }
    while (undo.length > 0) {
      const at = random.below(undo.length);
      undo.splice(at, 1)[0]?.();
    }
    expect([m.walks, m.mappedPages]).toEqual([500, 0]);
    const calls = m.take();
    for (const name of ['unmap', 'sync', 'free_iova'])
      expect(calls.filter((call) => call[0] === name).length).toBe(N);
  });

  it('identity domains hand handles out too; there is nothing to look up', () => {
    const { m, dev } = setUp({ type: 'identity' }, 'non-coherent');
    const handle = m.dma.mapPhysHandle(dev, BASE + 0x123, 10, 'FROM_DEVICE');
    if (handle === null) throw new Error('not mapped');
    expect([handle.dmaAddr, handle.paddr]).toEqual([BASE + 0x123, BASE + 0x123]);
    m.dma.syncHandleForCpu(dev, handle, 2, 4);
    m.dma.unmapHandle(dev, handle);
    expect(codeOf(() => m.dma.unmapHandle(dev, handle))).toBe('HANDLE_UNMAPPED');
    expect(m.dma.counters).toEqual({ walks: 0, walksSaved: 0, checks: 0 });
  });
});
