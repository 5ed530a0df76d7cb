import { describe, expect, it } from 'vitest';
import {
  DMA_MAPPING_ERROR,
  type DmaDevice,
  type DmaDirection,
  DmaIovaState,
  sgElement,
} from '../src/index.ts';
import { AccessFault, LAYOUT, pattern, RealMachine } from './real-machine.lanes.ts';

const SECRET = 0x5e;

/** A machine whose whole memory holds secrets, slots included, and an untrusted device. */
function rig(minAlignMask: number): { machine: RealMachine; dev: DmaDevice } {
  const machine = new RealMachine({ untrusted: true });
  const secret = new Uint8Array(0x8000).fill(SECRET);
  for (let at = LAYOUT.ram; at < LAYOUT.ram + 0x8_0000; at += secret.length)
    machine.cpuWrite(at, secret);
  for (let at = LAYOUT.pool; at < LAYOUT.pool + 0x20_0000; at += 4)
    machine.memory.store32(at, 0x5e5e5e5e);
  return { machine, dev: machine.device({ minAlignMask }) };
}

/** Every byte of every page that the device can reach near these addresses. */
function reach(
  machine: RealMachine,
  dev: DmaDevice,
  dmaAddr: number,
  size: number,
): Map<number, number> {
  const bytes = new Map<number, number>();
  const first = dmaAddr - (dmaAddr % 4096) - 8 * 4096;
  const end = dmaAddr + size + 16 * 4096;
  for (let page = first; page < end; page += 4096)
    try {
      machine.deviceRead(dev, page, 4096).forEach((byte, i) => {
        bytes.set(page + i, byte);
      });
    } catch (error) {
      expect(error).toBeInstanceOf(AccessFault);
    }
  return bytes;
}

describe('an untrusted device reaches its own bytes, and zeroes', () => {
  it.each<{ mask: number; offset: number; size: number; dir: DmaDirection }>([
    { mask: 0, offset: 0x200, size: 0x400, dir: 'TO_DEVICE' },
    { mask: 0xfff, offset: 0x200, size: 0x400, dir: 'TO_DEVICE' },
    { mask: 0xfff, offset: 0xffd, size: 7, dir: 'FROM_DEVICE' },
    { mask: 0x1ff, offset: 0xaa3, size: 0x2345, dir: 'BIDIRECTIONAL' },
    { mask: 0xfff, offset: 0xaa3, size: 0x2345, dir: 'BIDIRECTIONAL' },
    { mask: 0, offset: 0, size: 0x1001, dir: 'BIDIRECTIONAL' },
    { mask: 0xfff, offset: 0x801, size: 0x7ff, dir: 'TO_DEVICE' },
    { mask: 0xfff, offset: 3, size: 1, dir: 'TO_DEVICE' },
  ])('$size bytes at offset $offset, mask $mask, $dir', ({ mask, offset, size, dir }) => {
    const { machine, dev } = rig(mask);
    const at = LAYOUT.ram + 0x4000 + offset;
    const own = pattern(1, size);
    machine.cpuWrite(at, own);
    const dmaAddr = machine.dma.mapPhys(dev, at, size, dir);
    const seen = reach(machine, dev, dmaAddr, size);
    expect(seen.size).toBe(Math.ceil((size + (dmaAddr % 4096)) / 4096) * 4096);
    const wrong = [...seen].filter(([address, byte]) => byte !== (own[address - dmaAddr] ?? 0));
    expect(wrong).toEqual([]);
    machine.dma.unmapPhys(dev, dmaAddr, size, dir);
    expect(reach(machine, dev, dmaAddr, size).size).toBe(0);
    expect(machine.cpuRead(at, size)).toEqual(own);
    expect(machine.cpuRead(at - 64, 64)).toEqual(new Uint8Array(64).fill(SECRET));
    expect(machine.cpuRead(at + size, 64)).toEqual(new Uint8Array(64).fill(SECRET));
  });

  it.each([
    { name: 'head and tail', lead: 0x240, sizes: [0xdc0, 0x2000, 0x123] },
    { name: 'one short piece', lead: 0x7fd, sizes: [5] },
    { name: 'the tail alone', lead: 0, sizes: [0x1000, 0x10] },
  ])('a two-step mapping with bounced ends: $name', ({ lead, sizes }) => {
    const { machine, dev } = rig(0xfff);
    const { dma } = machine;
    const state = new DmaIovaState();
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const own = pattern(9, total);
    expect(dma.iovaTryAlloc(dev, state, lead, total)).toBe(true);
    let offset = 0;
    for (const [i, size] of sizes.entries()) {
      const paddr = LAYOUT.ram + 0x4000 + i * 0x8000 + (i === 0 ? lead : 0);
      machine.cpuWrite(paddr, own.subarray(offset, offset + size));
      expect(dma.iovaLink(dev, state, { paddr, offset, size, dir: 'BIDIRECTIONAL' })).toBe(0);
      offset += size;
    }
    expect(dma.iovaSync(dev, state, 0, total)).toBe(0);
    const seen = reach(machine, dev, state.addr, total);
    expect(seen.size).toBe(Math.ceil((lead + total) / 4096) * 4096);
    const wrong = [...seen].filter(([address, byte]) => byte !== (own[address - state.addr] ?? 0));
    expect(wrong).toEqual([]);
    dma.iovaDestroy(dev, state, { mapped: total, dir: 'BIDIRECTIONAL' });
    expect(reach(machine, dev, state.addr, total).size).toBe(0);
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });

  it('by handle, while a neighbour of the same page is mapped too: nothing of the other', () => {
    const { machine, dev } = rig(0xfff);
    const [at, size] = [LAYOUT.ram + 0x4100, 0x80];
    const handles = [0, 1].map((i) => {
      machine.cpuWrite(at + i * size, pattern(i, size));
      const handle = machine.dma.mapPhysHandle(dev, at + i * size, size, 'TO_DEVICE');
      return handle ?? expect.fail('not mapped');
    });
    for (const [i, { dmaAddr }] of handles.entries()) {
      const page = machine.deviceRead(dev, dmaAddr - (dmaAddr % 4096), 4096);
      const expected = new Uint8Array(4096);
      expected.set(pattern(i, size), dmaAddr % 4096);
      expect(page).toEqual(expected);
    }
    for (const handle of handles) machine.dma.unmapHandle(dev, handle);
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });

  it('what an earlier user left in the slots is gone, and what the device wrote beside its buffer stays out', () => {
    const { machine, dev } = rig(0xfff);
    const first = machine.dma.mapPhys(dev, LAYOUT.ram + 0x4200, 0x600, 'BIDIRECTIONAL');
    // The device fills all that it reaches.
    machine.deviceWrite(dev, first - (first % 4096), new Uint8Array(4096).fill(0xee));
    machine.dma.unmapPhys(dev, first, 0x600, 'BIDIRECTIONAL');
    expect(machine.cpuRead(LAYOUT.ram + 0x4200, 0x600)).toEqual(new Uint8Array(0x600).fill(0xee));
    expect(machine.cpuRead(LAYOUT.ram + 0x4000, 0x200)).toEqual(new Uint8Array(0x200).fill(SECRET));
    // The next search begins behind the last: go round the area once, over the same slots again.
    for (let i = 0; i < 256; i++) {
      const other = machine.dma.mapPhys(dev, LAYOUT.ram + 0x8a00, 0x10, 'TO_DEVICE');
      const page = [...machine.deviceRead(dev, other - (other % 4096), 4096)];
      page.splice(other % 4096, 0x10);
      expect(page.some((byte) => byte !== 0)).toBe(false);
      machine.dma.unmapPhys(dev, other, 0x10, 'TO_DEVICE');
    }
  });

  it('a list, and whole pages without a slot', () => {
    const { machine, dev } = rig(0xfff);
    const sg = [
      sgElement(LAYOUT.ram + 0x4e00, 0x300),
      sgElement(LAYOUT.ram + 0x8000, 0x2000),
      sgElement(LAYOUT.ram + 0xc010, 0x20),
    ];
    sg.forEach(({ paddr, length }, i) => {
      machine.cpuWrite(paddr, pattern(i, length));
    });
    expect(machine.dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(3);
    expect(machine.swiotlb?.report().maps).toBe(2);
    const reachable = new Map<number, number>();
    for (const { dmaAddress, dmaLength } of sg)
      for (const [address, byte] of reach(machine, dev, dmaAddress, dmaLength))
        reachable.set(address, byte);
    for (const [i, { dmaAddress, dmaLength }] of sg.entries()) {
      const own = pattern(i, dmaLength);
      for (let k = 0; k < dmaLength; k++) {
        expect(reachable.get(dmaAddress + k)).toBe(own[k]);
        reachable.delete(dmaAddress + k);
      }
    }
    expect(new Set(reachable.values())).toEqual(new Set([0]));
    machine.dma.unmapSg(dev, sg, 'TO_DEVICE');
    expect(machine.swiotlb?.report().usedSlots).toBe(0);
  });

  it('a full buffer: the map fails, nothing stays behind, and the kernel says why', () => {
    const { machine, dev } = rig(0);
    const addresses: number[] = [];
    for (let i = 0; i < 600; i++) {
      const address = machine.dma.mapPhys(dev, LAYOUT.ram + 0x10, 0x10, 'TO_DEVICE');
      if (address === DMA_MAPPING_ERROR) break;
      addresses.push(address);
    }
    // Slots of a granule's size: two of 2 KiB each.
    expect(addresses).toHaveLength(512);
    expect(machine.printed).toEqual([
      'swiotlb buffer is full (sz: 4096 bytes), total 1024 (slots), used 1024 (slots)',
    ]);
    expect(machine.live.size).toBe(512);
    for (const address of addresses) machine.dma.unmapPhys(dev, address, 0x10, 'TO_DEVICE');
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });
});
