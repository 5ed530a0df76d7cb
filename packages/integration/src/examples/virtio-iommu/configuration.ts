import { u64Of } from '@iommukit/bits';
import { lastOf } from './property.ts';

/** Feature bits (virtio 1.2, 5.13.3). */
export const FEATURE = { INPUT_RANGE: 0, DOMAIN_RANGE: 1, MAP_UNMAP: 2, PROBE: 4 } as const;

/** struct virtio_iommu_config (virtio 1.2, 5.13.4), as far as these features fill it. Bytes; ends exclusive. */
export interface Configuration {
  /** The sum of page sizes; the smallest is the granularity. */
  readonly pageSizes: number;
  /** Virtual addresses that can be mapped. */
  readonly inputStart: number;
  readonly inputEnd: number;
  /** The lowest and the highest domain. */
  readonly firstDomain: number;
  readonly lastDomain: number;
  /** Bytes of properties in a PROBE request. */
  readonly probeSize: number;
}

const CONFIGURATION_BYTES = 40;

/** The configuration space. */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const { pageSizes, inputStart, inputEnd, firstDomain, lastDomain, probeSize } = configuration;
  const view = new DataView(new ArrayBuffer(CONFIGURATION_BYTES));
  for (const [i, { lo, hi }] of [u64Of(pageSizes), u64Of(inputStart), lastOf(inputEnd)].entries()) {
    view.setUint32(8 * i, lo, true);
    view.setUint32(8 * i + 4, hi, true);
  }
  view.setUint32(24, firstDomain, true);
  view.setUint32(28, lastDomain, true);
  view.setUint32(32, probeSize, true);
  return new Uint8Array(view.buffer);
}

/** What the configuration space says. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const high = (at: number): number => view.getUint32(at + 4, true) * 2 ** 32;
  return {
    pageSizes: high(0) + view.getUint32(0, true),
    inputStart: high(8) + view.getUint32(8, true),
    inputEnd: high(16) + (view.getUint32(16, true) + 1),
    firstDomain: view.getUint32(24, true),
    lastDomain: view.getUint32(28, true),
    probeSize: view.getUint32(32, true),
  };
}
