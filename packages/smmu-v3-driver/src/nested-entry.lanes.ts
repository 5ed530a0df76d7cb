import { EATS as EATS_OF, STE, STE_CONFIG } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { ABOVE_KERNEL_ADDRESS } from './kernel-address.ts';
import {
  abortSte,
  type StageTwoConfig,
  type SteDevice,
  type SteFeatures,
  stageTwoSte,
} from './stream-table-entry.lanes.ts';

/**
 * The first two doublewords of a guest's STE, as the guest wrote them.
 * @example const words: GuestSte = [{ lo: 0x4638_500b, hi: 0 }, { lo: 0xd6, hi: 0 }];
 */
export type GuestSte = readonly [first: U64, second: U64];

/**
 * A guest's STE that was accepted: the entry without what the host decides, and whether the guest wants ATS.
 * @example if (typeof guest !== 'number') attach(guest.wantsAts);
 */
export interface GuestEntry {
  readonly config: 'invalid' | 'abort' | 'bypass' | 's1';
  readonly words: GuestSte;
  /** Translation requests shall be answered: stage 1 with EATS = full. */
  readonly wantsAts: boolean;
}

/** What a guest may say of itself (`STRTAB_STE_0_NESTING_ALLOWED`, `STRTAB_STE_1_NESTING_ALLOWED`). */
const ALLOWED = STE.mask(
  'V',
  'Config',
  'S1Fmt',
  'S1ContextPtr',
  'S1CDMax',
  'S1DSS',
  'S1CIR',
  'S1COR',
  'S1CSH',
  'S1STALLD',
  'EATS',
);
ALLOWED[1] = (ALLOWED[1] as number) & ~ABOVE_KERNEL_ADDRESS;
const GUEST_LANES = 4;
const CONFIGS = new Map<number, GuestEntry['config']>([
  [STE_CONFIG.ABORT, 'abort'],
  [STE_CONFIG.BYPASS, 'bypass'],
  [STE_CONFIG.S1, 's1'],
]);
const { V, Config, EATS } = STE.get;

/**
 * Checks a guest's STE (`arm_smmu_validate_vste`): -EIO for fields that are not the guest's, a Config other than abort, bypass or
 * stage 1, and EATS above 1, in this order. An entry with V = 0 is taken whatever else it holds.
 * @example guestEntry([{ lo: 0xd, hi: 0 }, { lo: 0, hi: 0 }]) // -5: a guest has no stage 2
 */
export function guestEntry([first, second]: GuestSte): GuestEntry | number {
  const entry = new Uint32Array(STE.info.dwords * 2);
  entry.set([first.lo, first.hi, second.lo, second.hi]);
  const nothing: U64 = { lo: 0, hi: 0 };
  if (V(entry) === 0) return { config: 'invalid', words: [nothing, nothing], wantsAts: false };
  for (let i = 0; i < GUEST_LANES; i++)
    if (((entry[i] as number) & ~(ALLOWED[i] as number)) !== 0) return -ERRNO.EIO;
  const config = CONFIGS.get(Config(entry));
  if (config === undefined) return -ERRNO.EIO;
  const eats = EATS(entry);
  if (eats > EATS_OF.FULL) return -ERRNO.EIO;
  // The host answers for ATS: it goes into the entry with the host's decision alone.
  STE.set.EATS(entry, EATS_OF.OFF);
  const lane = (i: number): number => entry[i] as number;
  return {
    config,
    words: [
      { lo: lane(0), hi: lane(1) },
      { lo: lane(2), hi: lane(3) },
    ],
    wantsAts: config === 's1' && eats === EATS_OF.FULL,
  };
}

/**
 * The STE of a guest's stream (`arm_smmu_make_nested_domain_ste`): stage 2 of the parent under the guest's stage 1, with MEV so that
 * a guest cannot flood the event queue; the parent's stage 2 alone for a guest's bypass; abort otherwise.
 * @example nestedSte(guest, parent, { stalls: true }, { ats: true });
 */
export function nestedSte(
  guest: GuestEntry,
  parent: StageTwoConfig,
  smmu: SteFeatures,
  device: SteDevice,
): Uint32Array {
  if (guest.config === 'invalid' || guest.config === 'abort') return abortSte();
  const entry = stageTwoSte(parent, smmu, device);
  if (guest.config === 'bypass') return entry;
  const [first, second] = guest.words;
  const lanes = [first.lo, first.hi, second.lo, second.hi];
  for (let i = 0; i < GUEST_LANES; i++) entry[i] = (entry[i] as number) | (lanes[i] as number);
  STE.set.Config(entry, STE_CONFIG.NESTED);
  STE.set.MEV(entry, 1);
  return entry;
}
