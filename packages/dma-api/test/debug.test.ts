import { describe, expect, it } from 'vitest';
import {
  type CoherentMemory,
  DMA_MAPPING_ERROR,
  DMA_PROFILES,
  type DmaApi,
  DmaDebug,
  type DmaDebugOptions,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaReport,
  type MemoryKind,
  type PageProvider,
  sgElement,
} from '../src/index.ts';
import { codeOf, Machine, type MachineOptions } from './fake-iommu.ts';

type Version = '6.1' | '6.12' | '7.2' | '7.3';

interface Bench {
  readonly m: Machine;
  readonly dma: DmaApi;
  readonly dev: DmaDevice;
  readonly debug: DmaDebug;
}

/** A device of no bus with debugging, so that messages begin with `DMA-API: platform d: `. */
function bench(
  options: Partial<DmaDebugOptions> = {},
  machine: MachineOptions = {},
  device: Partial<DmaDeviceOptions> = {},
): Bench {
  const version = machine.version ?? '7.3';
  const debug = new DmaDebug({ profile: DMA_PROFILES[version], errors: 'all', ...options });
  const m = new Machine({ version, ...machine, api: { debug } });
  return { m, dma: m.dma, dev: m.setUp(device), debug };
}

const PREFIX = 'DMA-API: platform d: ';
const TOP = 'ffffffffffff'; // 48 bits; the last page is ...f000
const FIRST = `0x0000${TOP.slice(0, 9)}000`;

function lines(reports: readonly DmaReport[]): [string, string][] {
  return reports.map(({ rule, text }) => [rule, text.replace(PREFIX, '')]);
}

const kind =
  (special: number, what: MemoryKind) =>
  (paddr: number): MemoryKind =>
    paddr - (paddr % 4096) === special ? what : 'ram';

/** A map whose result the driver looked at. */
function mapped({ dma, dev }: Bench, paddr = 0x4000_0000, size = 0x100): number {
  const address = dma.mapPhys(dev, paddr, size, 'FROM_DEVICE');
  dma.mappingError(dev, address);
  return address;
}

function list(...pages: number[]) {
  return pages.map((paddr) => sgElement(paddr, 0x1000));
}

const provider = (paddr: number): PageProvider => ({
  alloc: (length) => [{ paddr, length }],
  free() {},
});

const WHERE = `[device address=${FIRST}] [size=256 bytes]`;
const LIST = (count: number) =>
  `[device address=0x0000ffffffff${(0x1_0000 - count * 0x1000).toString(16)}]`;

describe('what drivers do wrong, in the words of kernel/dma/debug.c', () => {
  const rows: [string, (b: Bench) => void, [string, string][]][] = [
    [
      'an address that was never mapped',
      ({ dma, dev }) => dma.unmapPhys(dev, 0x1234_5000, 0x100, 'FROM_DEVICE'),
      [
        [
          'free-unallocated',
          'device driver tries to free DMA memory it has not allocated [device address=0x0000000012345000] [size=256 bytes]',
        ],
      ],
    ],
    [
      'the error of a map instead of an address',
      ({ dma, dev }) => dma.unmapPhys(dev, DMA_MAPPING_ERROR, 0x100, 'FROM_DEVICE'),
      [['free-invalid-address', 'device driver tries to free an invalid DMA memory address']],
    ],
    [
      'twice',
      (b) => {
        const address = mapped(b);
        b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE');
        b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE');
      },
      [
        [
          'free-unallocated',
          `device driver tries to free DMA memory it has not allocated ${WHERE}`,
        ],
      ],
    ],
    [
      'another size',
      (b) => b.dma.unmapPhys(b.dev, mapped(b), 0x80, 'FROM_DEVICE'),
      [
        [
          'free-size',
          `device driver frees DMA memory with different size [device address=${FIRST}] [map size=256 bytes] [unmap size=128 bytes]`,
        ],
      ],
    ],
    [
      'another direction',
      (b) => b.dma.unmapPhys(b.dev, mapped(b), 0x100, 'TO_DEVICE'),
      [
        [
          'free-direction',
          `device driver frees DMA memory with different direction ${WHERE} [mapped with DMA_FROM_DEVICE] [unmapped with DMA_TO_DEVICE]`,
        ],
      ],
    ],
    [
      'another function: a list of one as one range',
      ({ dma, dev }) => {
        const sg = list(0x4000_0000);
        dma.mapSg(dev, sg, 'FROM_DEVICE');
        dma.unmapPhys(dev, sg[0]?.dmaAddress ?? 0, 0x1000, 'FROM_DEVICE');
      },
      [
        [
          'free-function',
          `device driver frees DMA memory with wrong function [device address=${FIRST}] [size=4096 bytes] [mapped as scatter-gather] [unmapped as phy]`,
        ],
      ],
    ],
    [
      'nobody asked whether the map failed',
      ({ dma, dev }) =>
        dma.unmapPhys(
          dev,
          dma.mapPhys(dev, 0x4000_0000, 0x100, 'FROM_DEVICE'),
          0x100,
          'FROM_DEVICE',
        ),
      [['map-error-unchecked', `device driver failed to check map error${WHERE} [mapped as phy]`]],
    ],
    [
      'attributes that the map did not have',
      (b) => {
        const address = mapped(b);
        b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE', {
          privileged: true,
          skipCpuSync: true,
        });
      },
      [
        [
          'free-attributes',
          `device driver frees DMA memory with different attributes ${WHERE} [mapped with 0x0] [unmapped with 0x220]`,
        ],
      ],
    ],
    [
      'a list of another length: one segment of two elements is its whole table',
      ({ dma, dev }) => {
        const sg = list(0x4000_0000, 0x5000_0000);
        dma.mapSg(dev, sg, 'FROM_DEVICE');
        dma.unmapSg(dev, sg.slice(0, 1), 'FROM_DEVICE');
      },
      [
        [
          'free-sg-count',
          'device driver frees DMA sg list with different entry count [map count=2] [unmap count=1]',
        ],
      ],
    ],
    [
      'sync of what is not mapped',
      ({ dma, dev }) => dma.syncForCpu(dev, 0x1234_5000, 64, 'FROM_DEVICE'),
      [
        [
          'sync-unallocated',
          'device driver tries to sync DMA memory it has not allocated [device address=0x0000000012345000] [size=64 bytes]',
        ],
      ],
    ],
    [
      // The kernel's text for "outside allocated range" needs an entry that holds the range: it cannot appear.
      'sync behind the end of a mapping: not allocated',
      (b) => b.dma.syncForCpu(b.dev, mapped(b) + 0x80, 0x81, 'FROM_DEVICE'),
      [
        [
          'sync-unallocated',
          'device driver tries to sync DMA memory it has not allocated [device address=0x0000fffffffff080] [size=129 bytes]',
        ],
      ],
    ],
    [
      'sync in another direction, for the CPU',
      (b) => b.dma.syncForCpu(b.dev, mapped(b), 64, 'TO_DEVICE'),
      [
        [
          'sync-direction',
          `device driver syncs DMA memory with different direction ${WHERE} [mapped with DMA_FROM_DEVICE] [synced with DMA_TO_DEVICE]`,
        ],
      ],
    ],
    [
      'for the CPU what the device only reads',
      ({ dma, dev }) => {
        const address = dma.mapPhys(dev, 0x4000_0000, 0x100, 'TO_DEVICE');
        dma.mappingError(dev, address);
        dma.syncForCpu(dev, address, 64, 'FROM_DEVICE');
      },
      [
        [
          'sync-direction',
          `device driver syncs DMA memory with different direction ${WHERE} [mapped with DMA_TO_DEVICE] [synced with DMA_FROM_DEVICE]`,
        ],
        [
          'sync-read-only',
          `device driver syncs device read-only DMA memory for cpu ${WHERE} [mapped with DMA_TO_DEVICE] [synced with DMA_FROM_DEVICE]`,
        ],
      ],
    ],
    [
      'to the device what it only writes',
      (b) => b.dma.syncForDevice(b.dev, mapped(b), 64, 'TO_DEVICE'),
      [
        [
          'sync-direction',
          `device driver syncs DMA memory with different direction ${WHERE} [mapped with DMA_FROM_DEVICE] [synced with DMA_TO_DEVICE]`,
        ],
        [
          'sync-write-only',
          `device driver syncs device write-only DMA memory to device ${WHERE} [mapped with DMA_FROM_DEVICE] [synced with DMA_TO_DEVICE]`,
        ],
      ],
    ],
    [
      'sync of a list of another length',
      ({ dma, dev }) => {
        const sg = list(0x4000_0000, 0x5000_0000);
        dma.mapSg(dev, sg, 'FROM_DEVICE');
        dma.syncSgForCpu(dev, sg.slice(0, 1), 'FROM_DEVICE');
      },
      [
        [
          'sync-sg-count',
          'device driver syncs DMA sg list with different entry count [map count=2] [sync count=1]',
        ],
      ],
    ],
    [
      'the same line twice, written by the device',
      (b) => {
        mapped(b, 0x4000_0000);
        mapped(b, 0x4000_003f);
      },
      [['overlap', "cacheline tracking EEXIST, overlapping mappings aren't supported"]],
    ],
    [
      // Both are in one chain of 8 KiB; the entry shown is the one that joined it last.
      'memory that the driver leaves behind',
      (b) => {
        mapped(b, 0x4000_0000, 0x1000);
        mapped(b, 0x5000_0000, 0x1000);
        b.dma.releaseDevice(b.dev);
      },
      [
        [
          'leak',
          `device driver has pending DMA allocations while released from device [count=2]\nOne of leaked entries details: ${LIST(2)} [size=4096 bytes] [mapped with DMA_FROM_DEVICE] [mapped as phy]`,
        ],
      ],
    ],
    [
      'other pages than those of the allocation',
      ({ dma, dev, debug }) => {
        const memory = dma.allocCoherent(dev, 0x1000, provider(0x4000_0000)) as CoherentMemory;
        const { dmaAddress: dmaAddr, size } = memory;
        debug.free(dev, { dmaAddr, size, paddr: 0x4000_1000, dir: 'BIDIRECTIONAL' }, 'coherent');
      },
      [
        [
          'free-cpu-address',
          `device driver frees DMA memory with different CPU address [device address=${FIRST}] [size=4096 bytes] [cpu alloc address=0x0x0000000040000000] [cpu free address=0x0x0000000040001000]`,
        ],
      ],
    ],
  ];

  it.each(rows)('%s', (_, misuse, expected) => {
    const b = bench();
    misuse(b);
    expect(lines(b.debug.reports)).toEqual(expected);
    expect(b.debug.state()).toMatchObject({ errorCount: expected.length, disabled: false });
    for (const [rule] of expected) expect(b.debug.countOf(rule as DmaReport['rule'])).toBe(1);
  });

  const kinds: [string, MemoryKind, (b: Bench) => void, [string, string][]][] = [
    [
      'the stack',
      'stack',
      (b) => mapped(b, 0x4000_0010),
      [['map-stack', 'device driver maps memory from stack [addr=0000000040000010]']],
    ],
    [
      'code of the kernel, in the second page',
      'kernel-text',
      (b) => mapped(b, 0x3fff_ff00, 0x200),
      [
        [
          'map-kernel-text',
          'device driver maps memory from kernel text or rodata [addr=000000003fffff00] [len=512]',
        ],
      ],
    ],
    [
      'an address of the vmalloc area',
      'vmalloc',
      ({ dma, dev }) => dma.mapSingle(dev, 0x4000_0000, 64, 'TO_DEVICE'),
      [
        [
          'map-vmalloc',
          'device driver maps memory from vmalloc area [addr=0000000040000000] [len=64]',
        ],
      ],
    ],
    [
      'no address of the kernel at all',
      'invalid',
      ({ dma, dev }) => dma.mapSingle(dev, 0x4000_0000, 64, 'TO_DEVICE'),
      [
        [
          'map-invalid-area',
          'device driver maps memory from invalid area [addr=0000000040000000] [len=64]',
        ],
      ],
    ],
    [
      'memory as registers',
      'ram',
      ({ dma, dev }) => dma.mapResource(dev, 0x4000_0000, 64, 'BIDIRECTIONAL'),
      [['map-resource-ram', 'dma_map_resource called for RAM address 0x0000000040000000']],
    ],
    ['registers', 'device', ({ dma, dev }) => dma.mapResource(dev, 0x4000_0000, 64, 'NONE'), []],
    ['high memory, whatever it holds', 'highmem', (b) => mapped(b), []],
    [
      'a list that holds the stack',
      'stack',
      ({ dma, dev }) => dma.mapSg(dev, list(0x5000_0000, 0x4000_0000), 'TO_DEVICE'),
      [['map-stack', 'device driver maps memory from stack [addr=0000000040000000]']],
    ],
  ];

  it.each(kinds)('a map of %s', (_, what, misuse, expected) => {
    const b = bench({ memoryKind: kind(0x4000_0000, what) });
    misuse(b);
    expect(lines(b.debug.reports)).toEqual(expected);
  });

  it('a segment that is longer than the device takes, or crosses its boundary', () => {
    const long = bench({}, {}, { maxSegSize: 0x800 });
    long.dma.mapSg(long.dev, list(0x4000_0000), 'TO_DEVICE');
    expect(lines(long.debug.reports)).toEqual([
      [
        'sg-too-long',
        'mapping sg segment longer than device claims to support [len=4096] [max=2048]',
      ],
    ]);
    const across = bench();
    across.dev.segBoundary = 0x800;
    across.dma.mapSg(across.dev, [sgElement(0x4000_0000, 0x801)], 'TO_DEVICE');
    expect(lines(across.debug.reports)).toEqual([
      [
        'sg-boundary',
        `mapping sg segment across boundary [start=${FIRST}] [end=0x0000fffffffff800] [boundary=0x00000000000007ff]`,
      ],
    ]);
  });

  it('more than seven mappings beyond the first of a line: said once, without the driver', () => {
    const b = bench();
    for (let i = 0; i < 10; i++) mapped(b, 0x4000_0040);
    expect(b.debug.countOf('overlap')).toBe(9);
    expect(b.debug.reports.filter(({ rule }) => rule === 'overlap-count')).toEqual([
      {
        rule: 'overlap-count',
        device: 'd',
        text: 'DMA-API: exceeded 7 overlapping mappings of cacheline 0x0000000001000001',
        shown: true,
      },
    ]);
    expect(b.debug.state().errorCount).toBe(9);
  });
});

it('mappings of a line that could not be counted are forgotten with the others', () => {
  const b = bench();
  const addresses = Array.from({ length: 10 }, () => mapped(b, 0x4000_0040));
  for (const address of addresses.slice(0, 8))
    b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE');
  mapped(b, 0x4000_0040);
  expect(b.debug.countOf('overlap')).toBe(9);
});

describe('what is no mistake', () => {
  const rows: [string, (b: Bench) => void][] = [
    [
      'map, check, sync parts both ways, unmap',
      (b) => {
        const address = mapped(b);
        b.dma.syncForCpu(b.dev, address + 0x40, 0xc0, 'FROM_DEVICE');
        b.dma.syncForDevice(b.dev, address, 0x100, 'FROM_DEVICE');
        b.dma.unmapPhys(b.dev, address, 0x100, 'FROM_DEVICE');
      },
    ],
    [
      'any sync of a mapping of both directions',
      ({ dma, dev }) => {
        const address = dma.mapPhys(dev, 0x4000_0000, 0x100, 'BIDIRECTIONAL');
        dma.mappingError(dev, address);
        dma.syncForCpu(dev, address, 0x100, 'FROM_DEVICE');
        dma.syncForDevice(dev, address, 0x100, 'TO_DEVICE');
        dma.unmapPhys(dev, address, 0x100, 'BIDIRECTIONAL');
      },
    ],
    [
      'a list in fewer segments',
      ({ dma, dev }) => {
        const sg = list(0x4000_0000, 0x5000_0000, 0x6000_0000);
        dma.mapSg(dev, sg, 'FROM_DEVICE');
        dma.syncSgForCpu(dev, sg, 'FROM_DEVICE');
        dma.syncSgForDevice(dev, sg, 'FROM_DEVICE');
        dma.unmapSg(dev, sg, 'FROM_DEVICE');
      },
    ],
    [
      'one line twice that devices only read, or whose caller syncs the caches',
      ({ dma, dev }) => {
        for (const [dir, attrs] of [
          ['TO_DEVICE', undefined],
          ['FROM_DEVICE', { skipCpuSync: true }],
        ] as const) {
          const two = [0, 1].map(() => dma.mapPhys(dev, 0x4000_0000, 64, dir, attrs));
          for (const address of two) {
            dma.mappingError(dev, address);
            dma.unmapPhys(dev, address, 64, dir, attrs);
          }
        }
      },
    ],
    [
      'coherent memory',
      ({ dma, dev }) => {
        const pages = provider(0x4000_0000);
        dma.freeCoherent(dev, dma.allocCoherent(dev, 100, pages) as CoherentMemory, pages);
      },
    ],
    [
      'handles: a handle that is there was checked',
      ({ dma, dev }) => {
        const handle = dma.mapPhysHandle(dev, 0x4000_0000, 0x100, 'FROM_DEVICE');
        if (handle === null) throw new Error('not mapped');
        dma.syncHandleForCpu(dev, handle);
        dma.unmapHandle(dev, handle);
        const sg = dma.mapSgHandle(dev, list(0x4000_0000), 'FROM_DEVICE');
        if (typeof sg === 'number') throw new Error('not mapped');
        dma.syncSgHandleForCpu(dev, sg);
        dma.unmapSgHandle(dev, sg);
      },
    ],
    [
      'skipCpuSync at one end only',
      (b) => b.dma.unmapPhys(b.dev, mapped(b), 0x100, 'FROM_DEVICE', { skipCpuSync: true }),
    ],
  ];
  it.each(rows)('%s', (_, use) => {
    const b = bench();
    use(b);
    b.dma.releaseDevice(b.dev);
    expect(b.debug.reports).toEqual([]);
    expect(b.debug.state()).toMatchObject({ live: 0, errorCount: 0 });
  });

  it('overlaps that their drivers declare, from 7.2 on; or where small buffers are bounced', () => {
    const overlaps = (version: Version, options: Partial<DmaDebugOptions>, coherent: boolean[]) => {
      const b = bench(options, { version });
      for (const requireCoherent of coherent)
        b.dma.mapPhys(b.dev, 0x4000_0000, 64, 'FROM_DEVICE', { requireCoherent });
      return b.debug.countOf('overlap');
    };
    expect(overlaps('7.3', {}, [true, true])).toBe(0);
    expect(overlaps('7.3', {}, [true, false])).toBe(1);
    expect(overlaps('7.3', {}, [false, true])).toBe(1);
    expect(overlaps('6.12', {}, [true, true])).toBe(1);
    expect(overlaps('7.3', { kmallocBounces: true }, [false, false])).toBe(0);
    expect(overlaps('6.12', { kmallocBounces: true }, [false, false])).toBe(1);
  });

  it('calls do the same with and without debugging', () => {
    const calls = (debug: DmaDebug | null) => {
      const m = new Machine({ version: '7.3', api: debug === null ? {} : { debug } });
      const dev = m.setUp({ coherent: false });
      const address = m.dma.mapPhys(dev, 0x4000_0100, 0x100, 'FROM_DEVICE');
      m.dma.syncForCpu(dev, address, 0x200, 'TO_DEVICE');
      m.dma.unmapPhys(dev, address, 0x80, 'TO_DEVICE');
      return m.take();
    };
    const debug = new DmaDebug({ profile: DMA_PROFILES['7.3'] });
    expect(calls(debug)).toEqual(calls(null));
    expect(debug.state().errorCount).toBe(4);
  });
});

describe('every sync is seen', () => {
  const wrongWay = (b: Bench, how: 'single' | 'list' | 'table', to: 'cpu' | 'device') => {
    const { dma, dev } = b;
    if (how === 'single') {
      const address = mapped(b);
      if (to === 'cpu') dma.syncForCpu(dev, address, 64, 'TO_DEVICE');
      else dma.syncForDevice(dev, address, 64, 'TO_DEVICE');
      return;
    }
    const table = { sg: list(0x4000_0000), nents: 0 };
    dma.mapSgtable(dev, table, 'FROM_DEVICE');
    if (how === 'list' && to === 'cpu') dma.syncSgForCpu(dev, table.sg, 'TO_DEVICE');
    else if (how === 'list') dma.syncSgForDevice(dev, table.sg, 'TO_DEVICE');
    else if (to === 'cpu') dma.syncSgtableForCpu(dev, table, 'TO_DEVICE');
    else dma.syncSgtableForDevice(dev, table, 'TO_DEVICE');
  };
  it.each([
    ['single', 'cpu', ['sync-direction']],
    ['single', 'device', ['sync-direction', 'sync-write-only']],
    ['list', 'cpu', ['sync-direction']],
    ['list', 'device', ['sync-direction', 'sync-write-only']],
    ['table', 'cpu', ['sync-direction']],
    ['table', 'device', ['sync-direction', 'sync-write-only']],
  ] as const)('%s for the %s', (how, to, expected) => {
    const b = bench();
    wrongWay(b, how, to);
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(expected);
  });

  // A handle keeps address and direction, so its syncs can only be wrong in what debugging was told before.
  it.each(['cpu', 'device'] as const)('by handle for the %s', (to) => {
    const b = bench();
    const handle = b.dma.mapPhysHandle(b.dev, 0x4000_0000, 0x100, 'FROM_DEVICE');
    const sg = b.dma.mapSgHandle(b.dev, list(0x5000_0000), 'FROM_DEVICE');
    if (handle === null || typeof sg === 'number') throw new Error('not mapped');
    const forget = { dmaAddr: handle.dmaAddr, size: 0x100, dir: 'FROM_DEVICE' } as const;
    b.debug.unmapPhys(b.dev, forget);
    if (to === 'cpu') {
      b.dma.syncHandleForCpu(b.dev, handle, 0x40, 0x80);
      b.dma.syncSgHandleForCpu(b.dev, sg);
    } else {
      b.dma.syncHandleForDevice(b.dev, handle, 0x40, 0x80);
      b.dma.syncSgHandleForDevice(b.dev, sg);
    }
    expect(lines(b.debug.reports)).toEqual([
      [
        'sync-unallocated',
        'device driver tries to sync DMA memory it has not allocated [device address=0x0000fffffffff040] [size=128 bytes]',
      ],
    ]);
  });
});

describe('the words of other kernels', () => {
  const wrong = (version: Version) => {
    const b = bench({}, { version });
    const sg = list(0x4000_0000);
    b.dma.mapSg(b.dev, sg, 'FROM_DEVICE');
    b.dma.unmapPhys(b.dev, sg[0]?.dmaAddress ?? 0, 0x1000, 'FROM_DEVICE');
    return b.debug.reports[0]?.text.split(' [mapped as ')[1];
  };
  it.each([
    ['6.1', 'scather-gather] [unmapped as single]'],
    ['6.12', 'scatter-gather] [unmapped as single]'],
    ['7.2', 'scatter-gather] [unmapped as phy]'],
    ['7.3', 'scatter-gather] [unmapped as phy]'],
  ] as const)('%s', (version, expected) => {
    expect(wrong(version)).toBe(expected);
  });

  it.each([
    ['7.2', []],
    ['7.3', ['free-attributes']],
  ] as const)('%s and other attributes: %j', (version, expected) => {
    const b = bench({}, { version });
    b.dma.unmapPhys(b.dev, mapped(b), 0x100, 'FROM_DEVICE', { privileged: true });
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(expected);
  });

  it('6.12 tells resources from single mappings, and follows no allocPages', () => {
    const b = bench({}, { version: '6.12' });
    const address = b.dma.mapResource(b.dev, 0x4000_0000, 64, 'TO_DEVICE');
    b.dma.mappingError(b.dev, address);
    b.dma.unmapPhys(b.dev, address, 64, 'TO_DEVICE');
    expect(b.debug.reports[0]?.text).toContain('[mapped as resource] [unmapped as single]');
  });
});

describe('entries and reports', () => {
  it('65,536 entries at the start, more when they are used up', () => {
    const printed: string[] = [];
    const b = bench({ print: (text) => printed.push(text) });
    expect(b.debug.state()).toMatchObject({ nrTotalEntries: 65536, numFreeEntries: 65536 });
    expect(printed).toEqual([
      'DMA-API: preallocated 65536 debug entries',
      'DMA-API: debugging enabled by kernel config',
    ]);
  });

  it('a pool that doubled is told of', () => {
    const printed: string[] = [];
    const b = bench({ entries: 32, print: (text) => printed.push(text) });
    for (let i = 0; i < 33; i++) mapped(b, 0x4000_0000 + i * 0x1000);
    expect(printed.at(-1)).toBe('DMA-API: dma_debug_entry pool grown to 64 (200%)');
    expect(b.debug.state()).toMatchObject({
      live: 33,
      nrTotalEntries: 64,
      numFreeEntries: 31,
      minFreeEntries: 0,
    });
  });

  it('without memory for more it ends for good, and reports nothing any more', () => {
    const printed: string[] = [];
    const b = bench({ entries: 32, maxEntries: 32, print: (text) => printed.push(text) });
    for (let i = 0; i < 33; i++) mapped(b, 0x4000_0000 + i * 0x1000);
    expect(printed.at(-1)).toBe('DMA-API: debugging out of memory - disabling');
    b.dma.unmapPhys(b.dev, 0x1000, 1, 'FROM_DEVICE');
    b.dma.syncForCpu(b.dev, 0x1000, 1, 'FROM_DEVICE');
    b.dma.releaseDevice(b.dev);
    expect(b.debug.reports).toEqual([]);
    expect(b.debug.state()).toMatchObject({ disabled: true, errorCount: 0 });
  });

  it('shows one report, or as many as asked for, and counts all', () => {
    const shown = (errors: number | 'all' | undefined, driver?: string) => {
      const b = bench({
        ...(errors === undefined ? {} : { errors }),
        ...(driver === undefined ? {} : { driver }),
        driverOf: () => 'net',
      });
      for (let i = 0; i < 3; i++) b.dma.unmapPhys(b.dev, 0x1000, 1, 'FROM_DEVICE');
      expect(b.debug.reports[0]?.text).toMatch(/^DMA-API: net d: /);
      return [b.debug.state().errorCount, ...b.debug.reports.map((report) => report.shown)];
    };
    expect(shown(1)).toEqual([3, true, false, false]);
    expect(shown(2)).toEqual([3, true, true, false]);
    expect(shown('all')).toEqual([3, true, true, true]);
    expect(shown('all', 'net')).toEqual([3, true, true, true]);
    expect(shown('all', 'disk')).toEqual([3, false, false, false]);
  });

  it('of several mappings at one address the one that agrees in everything is freed', () => {
    const b = bench({}, { type: 'identity' });
    const first = b.dma.mapPhys(b.dev, 0x4000_0000, 0x100, 'TO_DEVICE');
    const second = b.dma.mapPhys(b.dev, 0x4000_0000, 0x200, 'TO_DEVICE');
    expect(second).toBe(first);
    b.dma.mappingError(b.dev, first);
    b.dma.mappingError(b.dev, second);
    b.dma.unmapPhys(b.dev, second, 0x200, 'TO_DEVICE');
    expect(b.debug.reports).toEqual([]);
    // One is left: it is found although nothing else agrees.
    b.dma.unmapPhys(b.dev, first, 0x80, 'TO_DEVICE');
    expect(b.debug.reports.map(({ rule }) => rule)).toEqual(['free-size']);
  });

  it('a sync finds its mapping many pages below', () => {
    const b = bench();
    const address = mapped(b, 0x4000_0000, 0x20_0000);
    b.dma.syncForCpu(b.dev, address + 0x1f_f000, 0x1000, 'FROM_DEVICE');
    expect(b.debug.reports).toEqual([]);
  });

  it.each([{ entries: 0 }, { entries: 1.5 }, { maxEntries: -1 }, { cacheLine: Number.NaN }])(
    'refuses %j',
    (bad) => {
      expect(codeOf(() => new DmaDebug({ profile: DMA_PROFILES['7.3'], ...bad }))).toBe(
        'DMA_PARAMETER',
      );
    },
  );
});
