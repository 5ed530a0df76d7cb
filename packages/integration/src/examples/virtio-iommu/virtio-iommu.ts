import { SZ_4K } from '@iommukit/bits';
import { type DmaDevice, DmaIovaState, type SgElement, sgElement } from '@iommukit/dma-api';
import { GuestMachine, type GuestOptions } from './guest-machine.ts';
import { loadBytes, storeBytes } from './guest-memory.lanes.ts';
import type { ViommuDevice } from './viommu-device.ts';

/** Guest-physical addresses of what the devices read and write. */
const PAGE = 0x4100_0e00;
const LIST = 0x4200_0000;
const REQUEST = 0x4300_0000;
/** Pieces of a scatter list and of a two-step request, no two of them neighbours. */
const PIECES = 12;
const SMALL = 512;

/**
 * What was counted.
 * @example const { wrongBytes, reachable }: VirtioSummary = virtioIommu(); // 0, 0
 */
export interface VirtioSummary {
  /** Requests that the device served, by type. */
  readonly requests: Readonly<ViommuDevice['counts']>;
  /** Notifications of the device, and requests that waited because the queue was full. */
  readonly notifications: number;
  readonly fullWaits: number;
  /** Commands of the SMMUv3 behind it. */
  readonly smmuCommands: number;
  /** Bytes that endpoints read and wrote, and those that were not what the other side had put there. */
  readonly bytes: number;
  readonly wrongBytes: number;
  /** Pages of all buffers that an endpoint still reached right after their unmap: none, unless invalidation is lazy. */
  readonly reachable: number;
  /** Frames of the host's tables that were not given back at the end. */
  readonly leaked: number;
  /** The same as lines. */
  readonly lines: readonly string[];
}

/** One run: what is compared on the way. */
class Tally {
  bytes = 0;
  wrongBytes = 0;
  reachable = 0;

  compare(got: Uint8Array, wanted: Uint8Array): void {
    this.bytes += wanted.length;
    for (let i = 0; i < wanted.length; i++) if (got[i] !== wanted[i]) this.wrongBytes++;
  }
}

/**
 * A guest whose IOMMU is paravirtual (virtio 1.2, 5.13), over a host with an SMMUv3, from the published interfaces alone: single mappings, a scatter
 * list and a two-step request of the guest's DMA layer become requests in a split virtqueue, and the endpoints' DMA goes through the model.
 * @example const { wrongBytes, requests } = virtioIommu({ queueSize: 8 }); // 0 wrong
 */
export function virtioIommu(options: GuestOptions = {}): VirtioSummary {
  const machine = new GuestMachine(options);
  const { host, device, driver, core } = machine;
  const before = host.frames.used;
  const [first = 0, second = 0] = machine.endpoints;
  const devices = [machine.probe(first), machine.probe(second)] as const;
  const tally = new Tally();
  singlePage(machine, devices[0], tally);
  scatterList(machine, devices[1], tally);
  twoStep(machine, devices[0], tally);
  for (const dev of devices) {
    machine.dma.releaseDevice(dev);
    core.releaseDevice(dev.device);
  }
  const { counts: requests } = device;
  const { notifications, fullWaits } = driver.queue;
  const smmuCommands = host.driver.cmdq.issued;
  const leaked = host.frames.used - before;
  const { bytes, wrongBytes, reachable } = tally;
  const lines = [
    `requests: ${Object.entries(requests)
      .map(([type, count]) => `${type} ${count}`)
      .join(', ')}`,
    `notifications ${notifications}, waits for room ${fullWaits}, SMMU commands ${smmuCommands}`,
    `bytes by DMA ${bytes}, wrong ${wrongBytes}; pages reachable after unmap ${reachable}; frames of tables left ${leaked}`,
  ];
  const counted = { bytes, wrongBytes, reachable, leaked };
  return { requests, notifications, fullWaits, smmuCommands, ...counted, lines };
}

/** Bytes that tell which buffer and place they are of. */
function pattern(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + 7 * i + Math.floor(i / 256)) % 256);
}

function endpointOf(dev: DmaDevice): number {
  return dev.device.info.ids[0] ?? 0;
}

/** A buffer inside a page that the device writes. */
function singlePage({ dma, host }: GuestMachine, dev: DmaDevice, tally: Tally): void {
  const address = dma.mapPage(dev, PAGE, SMALL, 'FROM_DEVICE');
  const bytes = pattern(1, SMALL);
  host.write(endpointOf(dev), address, bytes);
  tally.compare(loadBytes(host.guestMemory, PAGE, SMALL), bytes);
  dma.unmapPage(dev, address, SMALL, 'FROM_DEVICE');
  if (host.access(endpointOf(dev), address, 'write') >= 0) tally.reachable++;
}

/** Scattered pages that the device reads as one. */
function scatterList({ dma, host }: GuestMachine, dev: DmaDevice, tally: Tally): void {
  const sg: SgElement[] = Array.from({ length: PIECES }, (_, i) =>
    sgElement(LIST + 2 * i * SZ_4K, SZ_4K),
  );
  const bytes = pattern(2, PIECES * SZ_4K);
  for (let i = 0; i < PIECES; i++)
    storeBytes(host.guestMemory, LIST + 2 * i * SZ_4K, bytes.subarray(i * SZ_4K, (i + 1) * SZ_4K));
  const segments = dma.mapSg(dev, sg, 'TO_DEVICE');
  const pages = sg
    .slice(0, segments)
    .flatMap(({ dmaAddress, dmaLength }) =>
      Array.from({ length: dmaLength / SZ_4K }, (_, i) => dmaAddress + i * SZ_4K),
    );
  const read = sg
    .slice(0, segments)
    .flatMap(({ dmaAddress, dmaLength }) => [...host.read(endpointOf(dev), dmaAddress, dmaLength)]);
  tally.compare(Uint8Array.from(read), bytes);
  dma.unmapSg(dev, sg, 'TO_DEVICE');
  for (const page of pages) if (host.access(endpointOf(dev), page, 'read') >= 0) tally.reachable++;
}

/** A request of pieces, linked one by one and synced once; kernels before 7.2 do not have it. */
function twoStep({ dma, host }: GuestMachine, dev: DmaDevice, tally: Tally): void {
  const state = new DmaIovaState();
  const size = PIECES * SZ_4K;
  if (!dma.iovaTryAlloc(dev, state, REQUEST, size)) throw new Error('no IOVAs');
  for (let i = 0; i < PIECES; i++)
    dma.iovaLink(dev, state, {
      paddr: REQUEST + 2 * i * SZ_4K,
      offset: i * SZ_4K,
      size: SZ_4K,
      dir: 'FROM_DEVICE',
    });
  if (dma.iovaSync(dev, state, 0, size) !== 0) throw new Error('the pieces were refused');
  const bytes = pattern(3, size);
  host.write(endpointOf(dev), state.addr, bytes);
  for (let i = 0; i < PIECES; i++)
    tally.compare(
      loadBytes(host.guestMemory, REQUEST + 2 * i * SZ_4K, SZ_4K),
      bytes.subarray(i * SZ_4K, (i + 1) * SZ_4K),
    );
  const { addr } = state;
  dma.iovaDestroy(dev, state, { mapped: size, dir: 'FROM_DEVICE' });
  for (let i = 0; i < PIECES; i++)
    if (host.access(endpointOf(dev), addr + i * SZ_4K, 'write') >= 0) tally.reachable++;
}
