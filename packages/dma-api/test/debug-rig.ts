import {
  DMA_PROFILES,
  type DmaApi,
  DmaDebug,
  type DmaDebugOptions,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaReport,
  type PageProvider,
  sgElement,
} from '../src/index.ts';
import { Machine, type MachineOptions } from './fake-iommu.ts';

/** The kernels whose words differ. */
export type Version = '6.1' | '6.12' | '7.2' | '7.3';

/** A machine of one device, and what debugging says of it. */
export interface Bench {
  readonly m: Machine;
  readonly dma: DmaApi;
  readonly dev: DmaDevice;
  readonly debug: DmaDebug;
}

/** A device of no bus with debugging, so that messages begin with `DMA-API: platform d: `. */
export function bench(
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

/** Rule and text of each report, without what all begin with. */
export function lines(reports: readonly DmaReport[]): [string, string][] {
  return reports.map(({ rule, text }) => [rule, text.replace(PREFIX, '')]);
}

/** A map whose result the driver looked at. */
export function mapped({ dma, dev }: Bench, paddr = 0x4000_0000, size = 0x100): number {
  const address = dma.mapPhys(dev, paddr, size, 'FROM_DEVICE');
  dma.mappingError(dev, address);
  return address;
}

/** A list of whole pages. */
export function list(...pages: number[]) {
  return pages.map((paddr) => sgElement(paddr, 0x1000));
}

/** Gives the memory at `paddr`, whatever is asked for. */
export const provider = (paddr: number): PageProvider => ({
  alloc: (length) => [{ paddr, length }],
  free() {},
});
