import { fromBigInt, type U64 } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import {
  decodeConfiguration,
  encodeConfiguration,
} from '../src/examples/virtio-iommu/configuration.ts';
import { GuestMachine } from '../src/examples/virtio-iommu/guest-machine.ts';
import { loadBytes, storeBytes } from '../src/examples/virtio-iommu/guest-memory.lanes.ts';
import { decodeProperties, encodeProperties } from '../src/examples/virtio-iommu/property.ts';
import {
  decodeRequest,
  encodeRequest,
  MAP_FLAG,
  type Request,
  STATUS,
} from '../src/examples/virtio-iommu/request.ts';
import { QueueDevice, QueueDriver, queueAt } from '../src/examples/virtio-iommu/virtqueue.ts';
import { ENDPOINT, GUEST_PAGE } from './virtio-iommu-rig.ts';

const BOTH = MAP_FLAG.READ + MAP_FLAG.WRITE;
const lanes = (value: bigint): U64 => fromBigInt(value);
const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

describe('the wire (virtio 1.2, 5.13.6)', () => {
  const virtStart = lanes(0x12_3456_7000n);
  const virtEnd = lanes(0x12_3456_8fffn);
  const physStart = lanes(0x4_5678_9000n);
  const rows: readonly [Request, Uint8Array][] = [
    [{ type: 'attach', domain: 5, endpoint: 0x101, flags: 1 }, words(1, 5, 0x101, 1, 0)],
    [{ type: 'detach', domain: 5, endpoint: 0x101 }, words(2, 5, 0x101, 0, 0)],
    [
      { type: 'map', domain: 5, virtStart, virtEnd, physStart, flags: 3 },
      words(3, 5, 0x3456_7000, 0x12, 0x3456_8fff, 0x12, 0x5678_9000, 4, 3),
    ],
    [
      { type: 'unmap', domain: 5, virtStart, virtEnd },
      words(4, 5, 0x3456_7000, 0x12, 0x3456_8fff, 0x12, 0),
    ],
    [{ type: 'probe', endpoint: 0x101 }, words(5, 0x101, ...new Array<number>(16).fill(0))],
  ];
  test.each(rows)('%o', (request, bytes) => {
    expect(encodeRequest(request)).toEqual(bytes);
    expect(decodeRequest(bytes)).toMatchObject(request);
    // Reserved bytes of the head are ignored; one byte less is no request.
    expect(decodeRequest(Uint8Array.from(bytes, (byte, i) => (i === 3 ? 9 : byte)))).toMatchObject(
      request,
    );
    expect(decodeRequest(bytes.subarray(1))).toBeNull();
    expect(decodeRequest(bytes.subarray(0, -1))).toBeNull();
  });

  test('a type that nobody knows is no request', () => {
    expect(decodeRequest(words(6, 0, 0, 0, 0))).toBeNull();
    expect(decodeRequest(new Uint8Array())).toBeNull();
  });

  test('RESV_MEM: type 1, 20 bytes behind the header, the last byte inclusive', () => {
    const regions = [{ kind: 'msi', start: 0x800_0000, end: 0x810_0000 } as const];
    const bytes = words(0x14_0001, 1, 0x800_0000, 0, 0x80f_ffff, 0, 0, 0);
    expect(encodeProperties(regions, 32)).toEqual(bytes);
    expect(decodeProperties(bytes)).toEqual(regions);
    expect(encodeProperties(regions, 23)).toBeNull();
  });

  test('properties of other types, with reserved bits or cut off are passed over; an unknown subtype is reserved', () => {
    const other = words(0x4_0007, 0xffff_ffff);
    const dirty = words(0x14_1001, 0, 0x1000, 0, 0x1fff, 0);
    const unknown = words(0x14_0001, 9, 0x2000, 0, 0x2fff, 0);
    const cut = words(0x14_0001, 0, 0x3000);
    const list = [other, dirty, unknown, cut].flatMap((bytes) => [...bytes]);
    expect(decodeProperties(Uint8Array.from(list))).toEqual([
      { kind: 'reserved', start: 0x2000, end: 0x3000 },
    ]);
    // Type 0 ends the list.
    expect(decodeProperties(Uint8Array.from([0, 0, 0, 0, ...unknown]))).toEqual([]);
  });

  test('the configuration space (5.13.4)', () => {
    const configuration = {
      pageSizes: 0x4020_1000,
      inputStart: 0,
      inputEnd: 2 ** 39,
      firstDomain: 1,
      lastDomain: 0xffff,
      probeSize: 256,
    };
    const bytes = words(0x4020_1000, 0, 0, 0, 0xffff_ffff, 0x7f, 1, 0xffff, 256, 0);
    expect(encodeConfiguration(configuration)).toEqual(bytes);
    expect(decodeConfiguration(bytes)).toEqual(configuration);
  });
});

/** Requests put into the queue by hand, whatever they are. */
class Wire {
  readonly machine: GuestMachine;
  readonly #queue: QueueDriver;
  readonly #at: number;

  constructor(machine: GuestMachine = new GuestMachine()) {
    this.machine = machine;
    const { layout, end } = queueAt(0x4ff0_0000, 64);
    this.#queue = new QueueDriver(machine.host.guestMemory, layout);
    this.#at = end;
  }

  /** How many bytes the device wrote of `room`, and these. */
  raw(bytes: Uint8Array, room = 4): { readonly written: number; readonly answer: Uint8Array } {
    const { host, device } = this.machine;
    const target = this.#at + 0x400;
    storeBytes(host.guestMemory, this.#at, bytes);
    storeBytes(host.guestMemory, target, new Uint8Array(room).fill(0xee));
    this.#queue.offer(
      0,
      { paddr: this.#at, length: bytes.length },
      { paddr: target, length: room },
    );
    device.notify();
    device.run();
    const written = this.#queue.take()?.written ?? -1;
    return { written, answer: loadBytes(host.guestMemory, target, room) };
  }

  send(request: Request): number {
    return this.raw(encodeRequest(request)).answer[0] ?? -1;
  }

  /** Endpoint 0x101 in domain 5. */
  attached(): this {
    expect(this.send({ type: 'attach', domain: 5, endpoint: ENDPOINT, flags: 0 })).toBe(STATUS.OK);
    return this;
  }

  map(
    start: bigint,
    last: bigint,
    change: Partial<Extract<Request, { type: 'map' }>> = {},
  ): number {
    return this.send({
      type: 'map',
      domain: 5,
      virtStart: lanes(start),
      virtEnd: lanes(last),
      physStart: lanes(BigInt(GUEST_PAGE)),
      flags: BOTH,
      ...change,
    });
  }

  unmap(start: bigint, last: bigint, domain = 5): number {
    return this.send({ type: 'unmap', domain, virtStart: lanes(start), virtEnd: lanes(last) });
  }

  reaches(iova: number): boolean {
    return this.machine.host.access(ENDPOINT, iova, 'read') >= 0;
  }
}

describe('statuses', () => {
  const nothing = { domain: 5, endpoint: ENDPOINT, flags: 0 };
  test.each([
    ['a reserved field', { ...nothing, reserved: 1 }, STATUS.INVAL],
    ['an unknown flag: bypass is not offered', { ...nothing, flags: 1 }, STATUS.INVAL],
    ['an endpoint that is not there', { ...nothing, endpoint: 0x103 }, STATUS.NOENT],
    ['a domain below the range', { ...nothing, domain: 0 }, STATUS.RANGE],
    ['a domain above the range', { ...nothing, domain: 0x1_0000 }, STATUS.RANGE],
  ])('ATTACH: %s', (_, fields, status) => {
    const wire = new Wire();
    expect(wire.send({ type: 'attach', ...fields })).toBe(status);
    expect(wire.map(0x1000n, 0x1fffn)).toBe(STATUS.NOENT);
  });

  test('ATTACH to another domain detaches first; the domain that is left empty is no more', () => {
    const wire = new Wire().attached();
    expect(wire.map(0x1000n, 0x1fffn)).toBe(STATUS.OK);
    expect(wire.reaches(0x1000)).toBe(true);
    expect(wire.send({ type: 'attach', domain: 6, endpoint: ENDPOINT, flags: 0 })).toBe(STATUS.OK);
    expect(wire.reaches(0x1000)).toBe(false);
    expect(wire.map(0x1000n, 0x1fffn)).toBe(STATUS.NOENT);
  });

  test('two endpoints in one domain see the same mappings, until one is detached', () => {
    const wire = new Wire().attached();
    expect(wire.send({ type: 'attach', domain: 5, endpoint: 0x102, flags: 0 })).toBe(STATUS.OK);
    wire.map(0x1000n, 0x1fffn);
    const { host } = wire.machine;
    expect(host.access(0x102, 0x1234, 'write')).toBe(host.access(ENDPOINT, 0x1234, 'write'));
    expect(wire.send({ type: 'detach', domain: 5, endpoint: 0x102 })).toBe(STATUS.OK);
    expect(host.access(0x102, 0x1234, 'write')).toBe(-1);
    expect(wire.reaches(0x1234)).toBe(true);
  });

  test.each([
    ['an endpoint that is not there', 5, 0x103, STATUS.NOENT],
    ['a domain that is not there', 6, ENDPOINT, STATUS.INVAL],
    ['an endpoint that is not in it', 5, 0x102, STATUS.INVAL],
    ['what is attached', 5, ENDPOINT, STATUS.OK],
  ])('DETACH: %s', (_, domain, endpoint, status) => {
    const wire = new Wire().attached();
    wire.map(0x1000n, 0x1fffn);
    expect(wire.send({ type: 'detach', domain, endpoint })).toBe(status);
    expect(wire.reaches(0x1000)).toBe(status !== STATUS.OK);
  });

  test.each([
    ['an unknown flag', 0x1000n, 0x1fffn, { flags: 8 }, STATUS.INVAL],
    ['MMIO, which is not offered', 0x1000n, 0x1fffn, { flags: 7 }, STATUS.INVAL],
    ['neither READ nor WRITE', 0x1000n, 0x1fffn, { flags: 0 }, STATUS.INVAL],
    ['a domain that is not there', 0x1000n, 0x1fffn, { domain: 6 }, STATUS.NOENT],
    ['a start inside a page', 0x1800n, 0x1fffn, {}, STATUS.RANGE],
    ['an end inside a page', 0x1000n, 0x17ffn, {}, STATUS.RANGE],
    [
      'a physical address inside a page',
      0x1000n,
      0x1fffn,
      { physStart: lanes(0x4000_0800n) },
      STATUS.RANGE,
    ],
    ['an end before the start', 0x2000n, 0xfffn, {}, STATUS.INVAL],
    ['what is beyond the input range', 1n << 39n, (1n << 39n) + 0xfffn, {}, STATUS.RANGE],
    ['the end of the 64-bit space', 0xffff_ffff_ffff_f000n, (1n << 64n) - 1n, {}, STATUS.RANGE],
    ['what meets a mapping', 0x8000n, 0xafffn, {}, STATUS.INVAL],
    ['what meets a reserved region', 0x7ff_f000n, 0x800_0fffn, {}, STATUS.INVAL],
    [
      'memory that the guest does not have',
      0x1000n,
      0x1fffn,
      { physStart: lanes(0n) },
      STATUS.FAULT,
    ],
    [
      'memory that ends before the range does',
      0x1000n,
      0x2fffn,
      { physStart: lanes(0x10_3fff_f000n) },
      STATUS.FAULT,
    ],
  ])('MAP: %s', (_, start, last, change, status) => {
    const wire = new Wire().attached();
    expect(wire.map(0xa000n, 0xbfffn)).toBe(STATUS.OK);
    expect(wire.map(start, last, change)).toBe(status);
    expect(wire.reaches(0x1000)).toBe(false);
    expect(wire.reaches(0xa000)).toBe(true);
  });

  test('MAP: no memory for a table', () => {
    const wire = new Wire().attached();
    wire.machine.host.frames.failIn = 1;
    expect(wire.map(0x1000n, 0x1fffn)).toBe(STATUS.NOMEM);
    expect(wire.map(0x1000n, 0x1fffn)).toBe(STATUS.OK);
  });

  test('UNMAP: a domain that is not there, and a reserved field', () => {
    const wire = new Wire().attached();
    wire.map(0x1000n, 0x1fffn);
    expect(wire.unmap(0x1000n, 0x1fffn, 6)).toBe(STATUS.NOENT);
    const [virtStart, virtEnd] = [lanes(0x1000n), lanes(0x1fffn)];
    expect(wire.send({ type: 'unmap', domain: 5, virtStart, virtEnd, reserved: 1 })).toBe(
      STATUS.INVAL,
    );
    expect(wire.reaches(0x1000)).toBe(true);
  });

  // The seven cases of 5.13.6.6, in pages; each from an empty address space.
  const page = (first: number, last: number): [bigint, bigint] => [
    BigInt(first) << 12n,
    (BigInt(last + 1) << 12n) - 1n,
  ];
  test.each([
    [1, [], [0, 4], STATUS.OK, []],
    [2, [[0, 9]], [0, 9], STATUS.OK, []],
    [
      3,
      [
        [0, 4],
        [5, 9],
      ],
      [0, 9],
      STATUS.OK,
      [],
    ],
    [4, [[0, 9]], [0, 4], STATUS.RANGE, [0, 4, 5, 9]],
    [
      5,
      [
        [0, 4],
        [5, 9],
      ],
      [0, 4],
      STATUS.OK,
      [5, 9],
    ],
    [6, [[0, 4]], [0, 9], STATUS.OK, []],
    [
      7,
      [
        [0, 4],
        [10, 14],
      ],
      [0, 14],
      STATUS.OK,
      [],
    ],
  ] as const)('UNMAP: case %i', (_, maps, [first, last], status, left) => {
    const wire = new Wire().attached();
    for (const [from, to] of maps) expect(wire.map(...page(from, to))).toBe(STATUS.OK);
    for (const [from] of maps) wire.reaches(from * 0x1000);
    expect(wire.unmap(...page(first, last))).toBe(status);
    const reached = [0, 4, 5, 9, 10, 14].filter((at) => wire.reaches(at * 0x1000));
    expect(reached).toEqual(left);
  });

  test('PROBE: properties and zeroes, then the tail', () => {
    const { written, answer } = new Wire().raw(
      encodeRequest({ type: 'probe', endpoint: ENDPOINT }),
      260,
    );
    expect(written).toBe(260);
    expect(decodeProperties(answer.subarray(0, 256))).toEqual([
      { kind: 'msi', start: 0x800_0000, end: 0x810_0000 },
    ]);
    expect([...answer.subarray(24)]).toEqual(new Array<number>(236).fill(0));
  });

  test('PROBE: no such endpoint; too little room for the properties', () => {
    const wire = new Wire();
    const none = wire.raw(encodeRequest({ type: 'probe', endpoint: 0x103 }), 260);
    expect(none.answer[256]).toBe(STATUS.NOENT);
    const small = wire.raw(encodeRequest({ type: 'probe', endpoint: ENDPOINT }), 132);
    expect([...small.answer.subarray(0, 128)]).toEqual(new Array<number>(128).fill(0));
    expect(small.answer[128]).toBe(STATUS.INVAL);
  });

  test('what cannot be read comes back unwritten', () => {
    const wire = new Wire();
    const unwritten = { written: 0, answer: new Uint8Array(4).fill(0xee) };
    expect(wire.raw(words(6, 0, 0, 0, 0))).toEqual(unwritten);
    expect(wire.raw(words(1, 5, ENDPOINT))).toEqual(unwritten);
    expect(wire.raw(encodeRequest({ type: 'attach', ...nothing }), 3).written).toBe(0);
    expect(wire.machine.device.counts).toMatchObject({ unreadable: 3, attach: 0 });
  });
});

describe('the split virtqueue (virtio 1.2, 2.7)', () => {
  test('sizes and alignments of the parts', () => {
    const { layout, end } = queueAt(0x4000_0000, 8);
    expect(layout.available - layout.descriptors).toBe(16 * 8);
    expect(layout.used - layout.available).toBeGreaterThanOrEqual(6 + 2 * 8);
    expect(end - layout.used).toBeGreaterThanOrEqual(6 + 8 * 8);
    expect([layout.descriptors % 16, layout.available % 2, layout.used % 4]).toEqual([0, 0, 0]);
  });

  test('indices wrap at 16 bits', () => {
    const { guestMemory } = new GuestMachine().host;
    const { layout, end } = queueAt(0x4000_0000, 2);
    const driver = new QueueDriver(guestMemory, layout);
    const device = new QueueDevice(guestMemory, layout);
    const piece = { paddr: end, length: 4 };
    for (let i = 0; i < 0x1_0003; i++) {
      driver.offer(0, piece, piece);
      const chain = device.next();
      if (chain === null) throw new Error(`no buffer ${i}`);
      device.give(chain.head, i % 5);
      const used = driver.take();
      if (used?.written !== i % 5 || driver.hasUsed) throw new Error(`no used buffer ${i}`);
    }
    expect(device.next()).toBeNull();
  });

  test('a request in pieces of a byte is the same request', () => {
    const { host, device } = new GuestMachine();
    const view = host.guestMemory;
    const { layout, end } = queueAt(0x4ff0_0000, 64);
    const bytes = encodeRequest({ type: 'attach', domain: 5, endpoint: ENDPOINT, flags: 0 });
    storeBytes(view, end, bytes);
    for (let i = 0; i < 24; i++) {
      const at = layout.descriptors + 16 * i;
      view.store64(at, end + i, 0);
      view.store32(at + 8, 1);
      view.store32(at + 12, (i + 1) * 0x1_0000 + (i < 23 ? 1 : 0) + (i < 20 ? 0 : 2));
    }
    view.store32(layout.available, 0x1_0000);
    storeBytes(view, end + 20, Uint8Array.of(9, 9, 9, 9));
    device.notify();
    device.run();
    expect([...loadBytes(view, end + 20, 4)]).toEqual([STATUS.OK, 0, 0, 0]);
    expect(view.load32(layout.used + 8)).toBe(4);
  });

  test.each([
    ['a chain without end', 0x1_0000 * 0 + 1, 0x4ff1_0000],
    ['a descriptor outside the table', 0x1_0000 * 64 + 1, 0x4ff1_0000],
    ['a buffer outside memory', 0, 0x1000],
  ])('%s stops the queue', (_, word, paddr) => {
    const { host, device } = new GuestMachine();
    const { layout } = queueAt(0x4ff0_0000, 64);
    host.guestMemory.store64(layout.descriptors, paddr, 0);
    host.guestMemory.store32(layout.descriptors + 8, 20);
    host.guestMemory.store32(layout.descriptors + 12, word);
    host.guestMemory.store32(layout.available, 0x1_0000);
    device.notify();
    device.run();
    expect(device.queue.broken).toBe(true);
    expect(host.guestMemory.load32(layout.used)).toBe(0);
  });

  test('a device that does not answer: -ETIMEDOUT, and no way to attach', () => {
    const machine = new GuestMachine();
    machine.device.queue.broken = true;
    expect(() => machine.probe(ENDPOINT)).toThrow('ETIMEDOUT');
  });
});
