import { describe, expect, it } from 'vitest';
import { DmaIovaState, type LinkedPiece } from '../src/index.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

const PAGE = 4096;
const KIB_128 = 32 * PAGE;
/** 32 granules, nothing contiguous. */
const SCATTERED = Array.from({ length: 32 }, (_, i) => 0x8_8000_0000 + i * 2 * PAGE);

function machine(options: MachineOptions = {}) {
  const m = new Machine({ version: '7.3', isPci: true, ...options });
  const dev = m.setUp({ dmaBits: 64 });
  m.take();
  return { m, dev, state: new DmaIovaState() };
}

type Setup = ReturnType<typeof machine>;

function linkAll({ m, dev, state }: Setup, dir: 'TO_DEVICE' | 'FROM_DEVICE' = 'TO_DEVICE') {
  expect(m.dma.iovaTryAlloc(dev, state, 0, KIB_128)).toBe(true);
  SCATTERED.forEach((paddr, i) => {
    expect(m.dma.iovaLink(dev, state, { paddr, offset: i * PAGE, size: PAGE, dir })).toBe(0);
  });
  expect(m.dma.iovaSync(dev, state, 0, KIB_128)).toBe(0);
}

function names(m: Machine): string[] {
  return m.take().map(([name]) => String(name));
}

function count(calls: readonly string[], name: string): number {
  return calls.filter((known) => known === name).length;
}

describe('a request of 128 KiB in 32 pieces', () => {
  it('one IOVA, 32 maps, one sync; undone by one unmap and one invalidation, no lookup', () => {
    const s = machine({ syncMap: true });
    linkAll(s);
    expect(s.state.addr).toBe(0xfffe_0000);
    const done = names(s.m);
    expect(['alloc_iova', 'map', 'sync_map'].map((name) => count(done, name))).toEqual([1, 32, 1]);
    s.m.dma.iovaDestroy(s.dev, s.state, { mapped: KIB_128, dir: 'TO_DEVICE' });
    expect(names(s.m)).toEqual(['unmap', 'sync', 'free_iova']);
    expect([s.m.walks, s.m.mappedPages]).toEqual([0, 0]);
  });

  it('the state is two words, whatever the number of pieces', () => {
    expect(DmaIovaState.bytes).toBe(16);
    const state = new DmaIovaState();
    expect([state.usesIova, state.sizeWord]).toEqual([false, 0n]);
    state.assign(0xfffe_0000, 0x2c00);
    state.usesBounce = true;
    expect([state.size, state.sizeWord]).toEqual([0x2c00, 0x8000_0000_0000_2c00n]);
  });

  it('a sync that fails is reported, and destroy undoes all', () => {
    const s = machine({ syncMap: true, mock: { sync_fail: 1, sync_errno: 12 } });
    expect(s.m.dma.iovaTryAlloc(s.dev, s.state, 0, PAGE)).toBe(true);
    s.m.dma.iovaLink(s.dev, s.state, { paddr: PAGE, offset: 0, size: PAGE, dir: 'TO_DEVICE' });
    expect(s.m.dma.iovaSync(s.dev, s.state, 0, PAGE)).toBe(-12);
    s.m.dma.iovaDestroy(s.dev, s.state, { mapped: PAGE, dir: 'TO_DEVICE' });
    expect(s.m.mappedPages).toBe(0);
  });

  it('ranges in the middle can be unlinked and linked again', () => {
    const s = machine();
    linkAll(s);
    s.m.take();
    const range = { offset: 16 * PAGE, size: 16 * PAGE, dir: 'TO_DEVICE' as const };
    s.m.dma.iovaUnlink(s.dev, s.state, range);
    expect(names(s.m)).toEqual(['unmap', 'sync']);
    const at = (page: number) => s.m.core.iovaToPhys(s.dev.domain, s.state.addr + page * PAGE);
    expect([at(15), at(16), at(31)]).toEqual([SCATTERED[15], 0, 0]);
    const link = { paddr: 0x1_0000, offset: range.offset, size: 16 * PAGE, dir: range.dir };
    expect(s.m.dma.iovaLink(s.dev, s.state, link)).toBe(0);
    s.m.dma.iovaDestroy(s.dev, s.state, { mapped: KIB_128, dir: 'TO_DEVICE' });
    expect(s.m.mappedPages).toBe(0);
  });

  it('destroy of more than is linked warns and leaves what lies behind the hole', () => {
    const s = machine();
    expect(s.m.dma.iovaTryAlloc(s.dev, s.state, 0, KIB_128)).toBe(true);
    for (const offset of [0, 2 * PAGE])
      s.m.dma.iovaLink(s.dev, s.state, { paddr: PAGE, offset, size: PAGE, dir: 'TO_DEVICE' });
    s.m.takeLog();
    s.m.dma.iovaDestroy(s.dev, s.state, { mapped: 3 * PAGE, dir: 'TO_DEVICE' });
    expect([s.m.takeLog().warns, s.m.mappedPages]).toEqual([1, 1]);
  });
});

describe('what is refused', () => {
  const link = { paddr: 0x4000_0000, offset: 0, size: PAGE, dir: 'TO_DEVICE' as const };
  const rows: [string, MachineOptions, number, number][] = [
    ['no IOVA space', { type: 'identity' }, PAGE, 0],
    ['size 0', {}, 0, 1],
    ['size with bit 63', {}, 2 ** 63, 1],
    ['the space is full', { apertureStart: 0x1000, apertureEnd: 0x2000 }, 2 * PAGE, 0],
  ];
  for (const [name, options, size, warns] of rows)
    it(`try_alloc: ${name}: false, an empty state, and the other calls work`, () => {
      const { m, dev, state } = machine(options);
      state.assign(0x1234, 5);
      m.takeLog();
      expect(m.dma.iovaTryAlloc(dev, state, 0, size)).toBe(false);
      expect([state.addr, state.sizeWord, state.usesIova]).toEqual([0, 0n, false]);
      expect(m.takeLog().warns).toBe(warns);
      expect(m.mappedPages).toBe(0);
      m.dma.unmapPhys(dev, m.dma.mapPhys(dev, PAGE, PAGE, 'TO_DEVICE'), PAGE, 'TO_DEVICE');
    });

  it('kernels without two-step calls', () => {
    for (const version of ['6.1', '6.12'] as const) {
      const { m, dev, state } = machine({ version });
      expect(codeOf(() => m.dma.iovaTryAlloc(dev, state, 0, PAGE))).toBe('NO_TWO_STEP');
      expect(m.take()).toEqual([]);
    }
  });

  it('a piece inside a granule that is not the first: EIO and a warning', () => {
    const { m, dev, state } = machine();
    m.dma.iovaTryAlloc(dev, state, 0, KIB_128);
    m.take();
    expect(m.dma.iovaLink(dev, state, { ...link, paddr: 0x4000_0200, offset: PAGE })).toBe(-5);
    expect([m.take(), m.takeLog().warns]).toEqual([[], 1]);
  });

  it('memory that must be coherent for a device that does not snoop: EOPNOTSUPP', () => {
    const m = new Machine({ version: '7.3' });
    const dev = m.setUp({ coherent: false });
    const state = new DmaIovaState();
    m.dma.iovaTryAlloc(dev, state, 0, PAGE);
    m.take();
    const attrs = { requireCoherent: true };
    expect(m.dma.iovaLink(dev, state, { ...link, attrs })).toBe(-95);
    expect([m.take(), m.takeLog().warns]).toEqual([[], 0]);
  });

  it('the same after a bounce: EOPNOTSUPP and a warning; device memory that would bounce: EPERM', () => {
    const m = new Machine({ version: '7.3', untrusted: true, bounce: {} });
    const dev = m.setUp({ minAlignMask: 0xfff });
    const state = new DmaIovaState();
    m.dma.iovaTryAlloc(dev, state, 0, 4 * PAGE);
    m.take();
    const half = { ...link, size: 0x800 };
    expect(m.dma.iovaLink(dev, state, { ...half, attrs: { mmio: true } })).toBe(-1);
    expect(m.dma.iovaLink(dev, state, { ...half, attrs: { requireCoherent: true } })).toBe(-1);
    expect([m.take(), state.usesBounce]).toEqual([[], false]);
    expect(m.dma.iovaLink(dev, state, half)).toBe(0);
    m.take();
    const next = { ...link, offset: PAGE, attrs: { requireCoherent: true } };
    expect(m.dma.iovaLink(dev, state, next)).toBe(-95);
    expect([m.take(), m.takeLog().warns]).toEqual([[], 1]);
  });

  it('a piece over a linked one: the errno of the map', () => {
    const { m, dev, state } = machine({ mock: { exclusive: true } });
    m.dma.iovaTryAlloc(dev, state, 0, 2 * PAGE);
    expect(m.dma.iovaLink(dev, state, link)).toBe(0);
    expect(m.dma.iovaLink(dev, state, { ...link, paddr: 0x5000_0000 })).toBe(-17);
    expect(m.core.iovaToPhys(dev.domain, state.addr)).toBe(link.paddr);
  });

  it('a link without memory for tables leaves nothing; destroy takes back what was linked', () => {
    const { m, dev, state } = machine({ mock: { fail_call: 3, fail_errno: 12 } });
    m.dma.iovaTryAlloc(dev, state, 0, 3 * PAGE);
    const results = [0, 1, 2].map((i) => m.dma.iovaLink(dev, state, { ...link, offset: i * PAGE }));
    expect(results).toEqual([0, 0, -12]);
    expect(m.mappedPages).toBe(2);
    m.dma.iovaDestroy(dev, state, { mapped: 2 * PAGE, dir: 'TO_DEVICE' });
    expect(m.mappedPages).toBe(0);
  });

  it('destroy with nothing linked only frees the IOVA', () => {
    const { m, dev, state } = machine();
    m.dma.iovaTryAlloc(dev, state, 0, 2 * PAGE);
    m.take();
    m.dma.iovaDestroy(dev, state, { mapped: 0, dir: 'TO_DEVICE' });
    expect(m.take()).toEqual([['free_iova', '0xffffe', '0x2']]);
  });
});

describe('bounced ends', () => {
  const request = { paddr: 0x4000_0200, offset: 0, size: 0x2c00, dir: 'TO_DEVICE' as const };

  it('head and tail through slots, the middle directly; undo looks every granule up', () => {
    const m = new Machine({ version: '7.3', untrusted: true, bounce: {}, isPci: true });
    const dev = m.setUp({ minAlignMask: 0xfff });
    const state = new DmaIovaState();
    expect(m.dma.iovaTryAlloc(dev, state, request.paddr, request.size)).toBe(true);
    m.take();
    expect(m.dma.iovaLink(dev, state, request)).toBe(0);
    expect(names(m)).toEqual(['bounce', 'map', 'map', 'bounce', 'map']);
    expect([state.usesBounce, state.size, m.bounce?.live]).toEqual([true, 0x2c00, 2]);
    // The untrusted device finds nothing beside its bytes.
    expect(m.bounce?.zeroed).toEqual([
      ['0x7000000000', '0x200'],
      ['0x7000020e00', '0x200'],
    ]);
    m.dma.iovaDestroy(dev, state, { mapped: request.size, dir: 'TO_DEVICE' });
    expect(names(m)).toEqual(['unbounce', 'unbounce', 'unmap', 'sync', 'free_iova']);
    expect([m.walks, m.bounce?.live, m.mappedPages]).toEqual([3, 0, 0]);
  });

  it('without a slot for the tail everything is undone: ENOMEM', () => {
    const m = new Machine({ version: '7.3', untrusted: true, bounce: { fail: 2 } });
    const dev = m.setUp({ minAlignMask: 0xfff });
    const state = new DmaIovaState();
    m.dma.iovaTryAlloc(dev, state, request.paddr, request.size);
    expect(m.dma.iovaLink(dev, state, request)).toBe(-12);
    expect([m.bounce?.live, m.mappedPages]).toEqual([0, 0]);
  });

  it('a later piece without a slot for its tail: what was linked before stays', () => {
    const m = new Machine({ version: '7.3', untrusted: true, bounce: { fail: 1 } });
    const dev = m.setUp({ minAlignMask: 0xfff });
    const state = new DmaIovaState();
    m.dma.iovaTryAlloc(dev, state, 0, 3 * PAGE);
    const first = { paddr: 0x5000_0000, offset: 0, size: PAGE, dir: 'TO_DEVICE' as const };
    expect(m.dma.iovaLink(dev, state, first)).toBe(0);
    const second = { ...first, paddr: 0x6000_0000, offset: PAGE, size: 0x1800 };
    expect(m.dma.iovaLink(dev, state, second)).toBe(-12);
    expect(m.core.iovaToPhys(dev.domain, state.addr)).toBe(first.paddr);
    expect([m.mappedPages, m.bounce?.live, state.usesBounce]).toEqual([1, 0, false]);
  });

  it('pieces save the lookup of the middle only: they name the original, not the slots', () => {
    const m = new Machine({ version: '7.3', untrusted: true, bounce: {} });
    const dev = m.setUp({ minAlignMask: 0xfff });
    const state = new DmaIovaState();
    m.dma.iovaTryAlloc(dev, state, request.paddr, request.size);
    m.dma.iovaLink(dev, state, request);
    const pieces = [{ offset: 0, paddr: request.paddr, size: request.size }];
    m.dma.iovaDestroy(dev, state, { mapped: request.size, dir: 'TO_DEVICE', pieces });
    expect([m.walks, m.dma.counters.walksSaved, m.bounce?.live]).toEqual([2, 1, 0]);
  });
});

describe('a device that does not snoop', () => {
  function linked(checking = false) {
    const m = new Machine({ version: '7.3', api: { checking } });
    const dev = m.setUp({ coherent: false });
    const setup = { m, dev, state: new DmaIovaState() };
    linkAll(setup, 'FROM_DEVICE');
    m.take();
    return setup;
  }
  const pieces: LinkedPiece[] = SCATTERED.map((paddr, i) => ({
    offset: i * PAGE,
    paddr,
    size: PAGE,
  }));

  it('destroy looks 32 granules up; with the pieces none, and does the same', () => {
    const plain = linked();
    plain.m.dma.iovaDestroy(plain.dev, plain.state, { mapped: KIB_128, dir: 'FROM_DEVICE' });
    expect([plain.m.walks, plain.m.dma.counters.walks]).toEqual([32, 32]);
    const told = linked();
    told.m.dma.iovaDestroy(told.dev, told.state, { mapped: KIB_128, dir: 'FROM_DEVICE', pieces });
    expect([told.m.walks, told.m.dma.counters.walksSaved]).toEqual([0, 32]);
    expect(told.m.take()).toEqual(plain.m.take());
  });

  it('at a hole the maintenance ends with a warning; what is mapped is unmapped up to it', () => {
    const { m, dev, state } = linked();
    m.dma.iovaUnlink(dev, state, { offset: PAGE, size: PAGE, dir: 'FROM_DEVICE' });
    m.take();
    m.takeLog();
    m.dma.iovaUnlink(dev, state, { offset: 0, size: 3 * PAGE, dir: 'FROM_DEVICE' });
    expect(names(m)).toEqual(['cache_cpu', 'unmap', 'unmap', 'sync']);
    expect([m.takeLog().warns, m.mappedPages]).toEqual([2, 30]);
  });

  it('unlink of a part takes the pieces of that part', () => {
    const { m, dev, state } = linked(true);
    const range = { offset: 8 * PAGE, size: 4 * PAGE, dir: 'FROM_DEVICE' as const };
    m.dma.iovaUnlink(dev, state, { ...range, pieces: pieces.slice(8, 12) });
    const { walks, walksSaved, checks } = m.dma.counters;
    expect([walks, walksSaved, checks]).toEqual([0, 4, 4]);
    expect(m.mappedPages).toBe(28);
  });

  it('pieces with a hole, or of something else, are refused before anything is changed', () => {
    const { m, dev, state } = linked(true);
    const undo = (wrong: readonly LinkedPiece[]) =>
      codeOf(() =>
        m.dma.iovaDestroy(dev, state, { mapped: KIB_128, dir: 'FROM_DEVICE', pieces: wrong }),
      );
    expect(undo(pieces.filter((_, i) => i !== 7))).toBe('PIECES_INCOMPLETE');
    expect(undo(pieces.slice(0, 31))).toBe('PIECES_INCOMPLETE');
    expect(undo([])).toBe('PIECES_INCOMPLETE');
    expect(undo(pieces.map((p) => ({ ...p, paddr: p.paddr + PAGE })))).toBe('PAGE_MISMATCH');
    expect([m.take(), m.mappedPages]).toEqual([[], 32]);
  });
});

describe('a lazy domain', () => {
  const KERNELS = [
    ['7.2', 4, 0, 4],
    ['7.3', 0, 1024, 0],
  ] as const;
  for (const [version, flushes, syncs, held] of KERNELS)
    it(`${version}: 1024 requests: ${flushes} flushes, ${syncs} invalidations, ${held} IOVAs held`, () => {
      const m = new Machine({ version, type: 'dma-fq', flushQueue: { timer: 'external' } });
      const dev = m.setUp();
      const state = new DmaIovaState();
      let done: string[] = [];
      for (let i = 0; i < 1024; i++) {
        m.dma.iovaTryAlloc(dev, state, 0, KIB_128);
        const link = { paddr: 0x4000_0000, offset: 0, size: KIB_128, dir: 'TO_DEVICE' as const };
        m.dma.iovaLink(dev, state, link);
        m.dma.iovaSync(dev, state, 0, KIB_128);
        m.dma.iovaDestroy(dev, state, { mapped: KIB_128, dir: 'TO_DEVICE' });
        done = done.concat(names(m));
      }
      expect(count(done, 'flush_all')).toBe(flushes);
      expect(count(done, 'sync')).toBe(syncs);
      expect(1024 - count(done, 'free_iova')).toBe(held);
    });
});
