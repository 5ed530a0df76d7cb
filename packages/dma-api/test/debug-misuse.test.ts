import { describe, expect, it } from 'vitest';
import {
  type CoherentMemory,
  DMA_MAPPING_ERROR,
  type DmaReport,
  type MemoryKind,
  sgElement,
} from '../src/index.ts';
import { type Bench, bench, lines, list, mapped, provider } from './debug-rig.ts';

const TOP = 'ffffffffffff'; // 48 bits; the last page is ...f000
const FIRST = `0x0000${TOP.slice(0, 9)}000`;

const kind =
  (special: number, what: MemoryKind) =>
  (paddr: number): MemoryKind =>
    paddr - (paddr % 4096) === special ? what : 'ram';

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
