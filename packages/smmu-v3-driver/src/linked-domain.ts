import type { Endpoint, TaggedDomain } from './domain-invalidation.ts';
import type { InvalidationArray } from './invalidation-array.ts';
import type { SmmuDevice } from './smmu-device.ts';

/** One device with one of its address spaces in a domain. */
export interface DomainUser {
  readonly device: SmmuDevice;
  readonly ssid: number;
}

/** A domain with a tag, as the devices in it and its invalidations see it (`struct arm_smmu_domain`). */
export interface LinkedDomain extends TaggedDomain {
  /** Guests' stage 1 stands on this stage 2. */
  readonly nestParent: boolean;
  /** Somebody handles page requests of what is attached here. */
  readonly handlesFaults: boolean;
  /** Who is attached, in order. */
  readonly users: Set<DomainUser>;
  /** Whom an invalidation reaches, for kernels that keep this. */
  invs: InvalidationArray;
  /** The endpoints that an invalidation may have to reach. */
  endpoints(): Iterable<Endpoint>;
}

/** The endpoints of whoever is attached. */
export function* endpointsOf(users: Iterable<DomainUser>): Iterable<Endpoint> {
  for (const { device, ssid } of users)
    yield { streamIds: device.streamIds, ssid, ats: device.atsEnabled };
}
