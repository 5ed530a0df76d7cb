/*
 * Whether a CFGI command removes a cached structure (IHI 0070 4.3).
 * Not modelled: removing more than that, which is always allowed.
 */
import type { ConfigInvalidation } from './config-cache.ts';

/** A cached structure of the configuration, and the StreamID and SubstreamID (-1: none) that met it. */
export interface ConfigTarget {
  readonly kind: 'l1std' | 'ste' | 'l1cd' | 'cd';
  readonly streamId: number;
  readonly ssid: number;
  /** What any one command must name: StreamIDs of an L1STD or STE, SubstreamIDs of an L1CD or CD; both inclusive. */
  readonly first: number;
  readonly last: number;
}

/** True when the command removes the structure. */
export function coversConfig(op: ConfigInvalidation, target: ConfigTarget): boolean {
  const { kind, streamId, first, last } = target;
  if (kind === 'l1std') return op.l1std && op.first <= last && op.last >= first;
  if (streamId < op.first || streamId > op.last) return false;
  if (op.ste) return true;
  if (kind === 'ste' || (kind === 'l1cd' && !op.l1cd)) return false;
  return op.ssid < 0 || (op.ssid >= first && op.ssid <= last);
}
