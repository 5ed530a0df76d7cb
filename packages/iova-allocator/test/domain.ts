import { SimClock } from '@iommukit/platform';
import { IOVA_PROFILES, IovaDomain, type IovaDomainOptions } from '../src/index.ts';

/** The highest pfn below 4 GiB, pages of 4 KiB. */
export const LIMIT32 = 0xfffff;
/** Ranges in a magazine (`IOVA_MAG_SIZE`). */
export const MAG = 127;

/** An empty 7.3 domain of 4 KiB pages from pfn 1, two CPUs, its own clock; `options` replace any of it. */
export function domain(options: Partial<IovaDomainOptions> = {}): IovaDomain {
  return new IovaDomain({
    granule: 4096,
    startPfn: 1,
    clock: new SimClock(),
    cpus: 2,
    profile: IOVA_PROFILES['7.3'],
    ...options,
  });
}
