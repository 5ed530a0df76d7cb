import type { PageProvider } from '@iommukit/dma-api';
import { describe, expect, test } from 'vitest';
import { patternBytes } from '../src/memory-bytes.lanes.ts';
import { DmaRig, type DmaRigOptions } from '../src/scenarios/dma-rig.ts';
import { ScenarioRig } from '../src/scenarios/scenario-rig.ts';
import { DescriptorPool } from '../src/users/descriptor-pool.ts';
import { HmmMapping } from '../src/users/hmm-mapping.ts';
import { TwoStepBuffer } from '../src/users/migration-buffer.ts';
import { NvmeController } from '../src/users/nvme-controller.ts';
import { decodePrps, decodeSgl, encodePrps, encodeSgl } from '../src/users/nvme-data-pointer.ts';
import { type BioVec, NvmeRequestPath } from '../src/users/nvme-request.ts';

const PAGE = 4096;
const DATA = 0x4100_0000;

function machine(options: DmaRigOptions = {}): DmaRig {
  return new DmaRig(new ScenarioRig(options), options);
}

/** Ends the machine; what is wrong then. */
function end(dma: DmaRig): readonly string[] {
  dma.rig.audit();
  dma.rig.end();
  return dma.rig.broken;
}

function pagesFrom(base: number, most = Number.POSITIVE_INFINITY): PageProvider {
  let taken = 0;
  return {
    alloc: (size) => (taken < most ? [{ paddr: base + taken++ * size, length: size }] : null),
    free() {},
  };
}

function pathOf(dma: DmaRig, format: 'prp' | 'sgl', most?: number) {
  const pages = pagesFrom(0x4800_0000, most);
  const small = new DescriptorPool(dma.api, dma.dev, pages, 256);
  const page = new DescriptorPool(dma.api, dma.dev, pages, PAGE);
  const pools = { small, page };
  dma.later(() => {
    small.destroy();
    page.destroy();
  });
  const { memory } = dma.rig.machine;
  return new NvmeRequestPath({ dma: dma.api, dev: dma.dev, memory, pools, format });
}

const scattered = (n: number): BioVec[] =>
  Array.from({ length: n }, (_, i) => ({ paddr: DATA + i * 2 * PAGE, length: PAGE }));

describe('data pointers', () => {
  test('PRP entries are little-endian addresses of 64 bits', () => {
    const bytes = encodePrps([0xffff_f000, 0x12_3456_7000]);
    expect([...bytes.subarray(8)]).toEqual([0x00, 0x70, 0x56, 0x34, 0x12, 0, 0, 0]);
    expect(decodePrps(bytes)).toEqual([0xffff_f000, 0x12_3456_7000]);
  });

  test('an SGL descriptor: address, length, type in bits 127:124', () => {
    const data = encodeSgl({ dmaAddr: 0x12_3456_7200, length: 0x2_0000 }, 'data');
    expect([...data]).toEqual([0, 0x72, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
    const last = encodeSgl({ dmaAddr: PAGE, length: 512 }, 'last-segment');
    expect(last[15]).toBe(0x30);
    expect(decodeSgl(last, 0)).toEqual({ dmaAddr: PAGE, length: 512, type: 'last-segment' });
    last[15] = 0x10;
    expect(decodeSgl(last, 0)).toBeNull();
  });
});

describe('requests', () => {
  const rows: [name: string, vectors: BioVec[], entries: number, mappings: number][] = [
    ['one page', scattered(1), 0, 1],
    ['two pages in one piece: both in the command', [{ paddr: DATA, length: 2 * PAGE }], 0, 1],
    ['two scattered pages', scattered(2), 0, 0],
    ['three pages: the first and a list', scattered(3), 2, 0],
    ['vectors that follow each other are one', cut(DATA, 8), 7, 1],
    ['an offset in the first', [{ paddr: DATA + 0x200, length: 0xe00 }, ...late(3)], 3, 0],
    ['a short last one', [...scattered(3), { paddr: 0x4200_0000, length: 0x200 }], 3, 0],
    ['33 pages: 32 entries fill a small list', scattered(33), 32, 0],
    ['34 pages: a list of a page', scattered(34), 33, 0],
    ['513 pages: the largest list', scattered(513), 512, 0],
  ];
  test.each(rows)('PRP: %s', (_name, vectors, entries, mappings) => {
    const dma = machine({ dev: { minAlignMask: PAGE - 1 } });
    const path = pathOf(dma, 'prp');
    const data = fill(dma, vectors);
    const request = path.map(vectors);
    if (typeof request === 'number') return expect.fail(`errno ${request}`);
    expect([request.entries, request.mappings]).toEqual([entries, mappings]);
    expect(request.blockBytes).toBe(entries === 0 ? 0 : entries <= 32 ? 256 : PAGE);
    expect(new NvmeController(dma).fetch(request)).toEqual(data);
    path.unmap(request);
    path.unmap(request);
    expect(new NvmeController(dma).fetch(request)).toBeNull();
    expect(end(dma)).toEqual([]);
  });

  test('a list that no block holds, a list without memory: -ENOMEM, nothing stays mapped', () => {
    for (const [format, count, most] of [
      ['prp', 514, 9],
      ['prp', 3, 0],
      ['sgl', 514, 9],
    ] as const) {
      const dma = machine();
      const vectors = scattered(count).map(({ paddr }) => ({ paddr, length: PAGE - 0x200 }));
      const list = format === 'prp' ? scattered(count) : vectors;
      expect(pathOf(dma, format, most).map(list)).toBe(-12);
      expect([dma.rig.mirror.size, dma.liveIovas]).toEqual([0, 0]);
      expect(end(dma)).toEqual([]);
    }
  });

  const bounced = { untrusted: true, dev: { minAlignMask: PAGE - 1 } };
  test.each([
    ['trusted', 'sgl', {}],
    ['untrusted, the end in a page bounced', 'sgl', bounced],
    ['not coherent', 'sgl', { device: 'non-coherent', mode: 'nc' }],
    ['not coherent, with a list', 'prp', { device: 'non-coherent', mode: 'nc' }],
  ] as const)(
    'a read command: the CPU finds what the device stored: %s',
    (_name, format, options) => {
      const dma = machine(options);
      const path = pathOf(dma, format);
      const vectors = [{ paddr: DATA + 0x600, length: 0xa00 }, ...late(3)];
      const data = patternBytes(8, 0xa00 + 3 * PAGE);
      const request = path.map(vectors, 'FROM_DEVICE');
      if (typeof request === 'number') return expect.fail(`errno ${request}`);
      expect(new NvmeController(dma).store(request, data)).toBe(true);
      path.unmap(request);
      expect(new NvmeController(dma).store(request, data)).toBe(false);
      let at = 0;
      for (const { paddr, length } of vectors) {
        expect(dma.cpuRead(paddr, length)).toEqual(data.slice(at, at + length));
        at += length;
      }
      expect(end(dma)).toEqual([]);
    },
  );

  test('no vectors: -EINVAL', () => {
    expect(pathOf(machine(), 'prp').map([])).toBe(-22);
  });

  test('no table for a link, or for a single mapping: -ENOMEM, nothing stays mapped', () => {
    for (const gap of [0, 0x200]) {
      const dma = machine();
      const path = pathOf(dma, 'sgl');
      const vectors = scattered(4).map(({ paddr }) => ({ paddr, length: PAGE - gap }));
      dma.rig.machine.frames.failIn = 3;
      expect(path.map(vectors)).toBe(-12);
      expect([dma.rig.mirror.size, dma.liveIovas]).toEqual([0, 0]);
      expect(end(dma)).toEqual([]);
    }
  });

  test('lists come back: a thousand requests take one page of them', () => {
    const dma = machine();
    const path = pathOf(dma, 'prp', 1);
    for (let i = 0; i < 1000; i++) {
      const request = path.map(scattered(4));
      if (typeof request === 'number') return expect.fail(`errno ${request}`);
      path.unmap(request);
    }
    expect(end(dma)).toEqual([]);
  });

  function cut(paddr: number, pages: number): BioVec[] {
    return Array.from({ length: pages }, (_, i) => ({ paddr: paddr + i * PAGE, length: PAGE }));
  }

  function late(pages: number): BioVec[] {
    return scattered(pages).map(({ paddr }) => ({ paddr: paddr + 0x100_0000, length: PAGE }));
  }

  function fill(dma: DmaRig, vectors: readonly BioVec[]): Uint8Array {
    const data = patternBytes(
      5,
      vectors.reduce((sum, { length }) => sum + length, 0),
    );
    let at = 0;
    for (const { paddr, length } of vectors) {
      dma.cpuWrite(paddr, data.subarray(at, at + length));
      at += length;
    }
    return data;
  }
});

describe('pages by fault', () => {
  function mapping(options: DmaRigOptions = {}, ranges?: 'single') {
    const dma = machine(options);
    const base = { dma: dma.api, dev: dma.dev, pages: 512 };
    const map = HmmMapping.alloc(ranges === undefined ? base : { ...base, ranges });
    if (typeof map === 'number') return expect.fail(`errno ${map}`);
    return { dma, map };
  }

  test('a page that moves has another frame behind the same address', () => {
    const { dma, map } = mapping();
    const address = map.fault(7, DATA);
    expect(map.invalidate(7)).toBe(true);
    expect(map.invalidate(7)).toBe(false);
    expect(dma.rig.access(address)).toBe(-1);
    expect(map.fault(7, DATA + PAGE)).toBe(address);
    expect(dma.rig.access(address)).toBe(DATA + PAGE);
    map.invalidate(7);
    map.free();
    expect(end(dma)).toEqual([]);
  });

  test('without a table: -ENOMEM, and the next fault maps it', () => {
    for (const ranges of [undefined, 'single'] as const) {
      const { dma, map } = mapping({}, ranges);
      dma.rig.machine.frames.failIn = 2;
      expect(map.fault(0, DATA)).toBe(-12);
      expect(dma.rig.mirror.size).toBe(0);
      expect(map.fault(0, DATA)).toBeGreaterThan(0);
      map.invalidateRange(0, 1);
      map.free();
      expect(end(dma)).toEqual([]);
    }
  });

  test('a driver whose sync fails: its errno, and the page is not mapped', () => {
    const { dma, map } = mapping();
    dma.rig.domain.ops.iotlbSyncMap = () => -5;
    expect(map.fault(0, DATA)).toBe(-5);
    expect(dma.rig.mirror.size).toBe(0);
    map.free();
    expect(end(dma)).toEqual([]);
  });
});

test('a migration buffer takes no more than it was made for', () => {
  const dma = machine();
  const buffer = new TwoStepBuffer(dma.api, dma.dev, 4);
  expect(buffer.append([DATA, DATA + 2 * PAGE, DATA + 4 * PAGE])).toBe(0);
  expect(buffer.append([DATA + 6 * PAGE, DATA + 8 * PAGE])).toBe(-12);
  expect(buffer.append([DATA + 6 * PAGE])).toBe(0);
  expect(buffer.map()).toBe(0xffff_c000);
  buffer.unmap();
  expect(end(dma)).toEqual([]);
});
