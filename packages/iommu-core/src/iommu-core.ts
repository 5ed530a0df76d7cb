import { fromLanes, hiOf, loOf, type U64, u64 } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import { ERRNO, type TraceChannel } from '@iommukit/platform';
import type { AttachHandle } from './attach-handle.ts';
import type { CoreEvent } from './core-event.ts';
import type { CoreProfile } from './core-profile.ts';
import { CoreStateError } from './core-state-error.ts';
import { allocDomain, DefaultDomains, type DefaultDomainType } from './default-domains.ts';
import type { IommuDevice } from './device.ts';
import type { DeviceFault, DomainFault, FaultHandler } from './device-fault.ts';
import { createDirectMappings, requiresDirect } from './direct-mappings.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import { DomainMapper, type MapRequest, type SgRun } from './domain-mapper.ts';
import { FaultRoutes } from './fault-routes.ts';
import type { IommuGroup } from './group.ts';
import { GroupDomains } from './group-domains.ts';
import { GroupPasids, type PasidAttachment } from './group-pasids.ts';
import { GroupTable } from './group-table.ts';
import type { IommuOps } from './iommu-ops.ts';
import { ListGather } from './list-gather.ts';
import type { ProcessSpace } from './process-space.ts';
import { type BatchOptions, RangeBatch } from './range-batch.ts';
import type { ReservedRegion } from './reserved-region.ts';
import { insertResvRegion } from './resv-regions.ts';

/**
 * Devices, groups and domains over any driver (`drivers/iommu/iommu.c`): probing and attaching, map and unmap with the choice of
 * page sizes, the gather, reserved regions, faults. Results are 0, a byte count, or a negative errno, as in Linux.
 * @example const core = new IommuCore({ trace: new TraceChannel(), profile: CORE_PROFILES['6.12'], defaultDomainType: 'dma' });
 */
export class IommuCore {
  readonly trace: TraceChannel<CoreEvent>;
  readonly profile: CoreProfile;
  readonly #mapper: DomainMapper;
  readonly #groups = new GroupTable();
  readonly #defaults: DefaultDomains;
  readonly #domains: GroupDomains;
  readonly #pasids: GroupPasids;
  readonly #faults: FaultRoutes;

  constructor(init: {
    readonly trace: TraceChannel<CoreEvent>;
    readonly profile: CoreProfile;
    readonly defaultDomainType: DefaultDomainType;
  }) {
    this.trace = init.trace;
    this.profile = init.profile;
    this.#mapper = new DomainMapper(init.trace, init.profile);
    this.#defaults = new DefaultDomains(this.#mapper, init.defaultDomainType);
    this.#domains = new GroupDomains(this.#mapper);
    this.#pasids = new GroupPasids(this.#mapper);
    this.#faults = new FaultRoutes(this.#mapper);
  }

  /** The groups, by ascending id. */
  get groups(): readonly IommuGroup[] {
    return this.#groups.list();
  }

  /** Changes the type of domains that later groups get (`iommu_set_default_passthrough` and its opposite). */
  setDefaultDomainType(type: DefaultDomainType): void {
    this.#defaults.type = type;
  }

  /**
   * Gives a device to its driver, puts it into its group and attaches it to the default domain (`iommu_probe_device`): 0, or a negative
   * errno with the device released again.
   */
  probeDevice(device: IommuDevice, ops: IommuOps): number {
    const added = this.#add(device, ops);
    if (added !== 0) return added;
    const errno = this.#setUp(device.group as IommuGroup, [device]);
    if (errno !== 0) this.releaseDevice(device);
    return errno;
  }

  /**
   * Probes all devices of a driver that registers (`bus_iommu_probe`): every one gets its group first, in the given order; then
   * the groups are set up, in order of creation. Devices that the driver does not claim are left out. 0, or the first errno of a set-up;
   * the devices of that group stay where they are, as in the kernel.
   */
  probeDevices(devices: readonly IommuDevice[], ops: IommuOps): number {
    const added = new Map<IommuGroup, IommuDevice[]>();
    for (const device of devices) {
      if (this.#add(device, ops) !== 0) continue;
      const group = device.group as IommuGroup;
      const members = added.get(group);
      if (members === undefined) added.set(group, [device]);
      else members.push(device);
    }
    let errno = 0;
    for (const [group, members] of added) {
      const result = this.#setUp(group, members);
      if (errno === 0) errno = result;
    }
    return errno;
  }

  /**
   * Takes a device out of its group and from its driver; the last device frees the default domain (`iommu_release_device`). Throws
   * `BatchDroppedError`, with nothing changed, while a batch on that domain holds something.
   */
  releaseDevice(device: IommuDevice): void {
    const { group, ops } = device;
    if (group === null || ops === null)
      throw new CoreStateError(
        { device: device.name },
        'is in no group',
        'Probe it before it is released',
      );
    if (group.devices.length === 1) group.defaultDomain?.batch?.end();
    if (group.pasids.size > 0) this.#mapper.warn(`${device.name} leaves with PASIDs attached`);
    group.devices.splice(group.devices.indexOf(device), 1);
    if (this.trace.on)
      this.trace.emit({
        name: 'remove_device_from_group',
        groupId: group.id,
        device: device.name,
      });
    ops.releaseDevice(device);
    device.group = null;
    device.ops = null;
    this.#faults.forget(device);
    if (group.devices.length > 0) return;
    group.pasids.clear();
    group.defaultDomain?.ops.free();
    this.#domains.freeBlocking(group);
    group.defaultDomain = null;
    group.domain = null;
    this.#groups.remove(group);
  }

  #add(device: IommuDevice, ops: IommuOps): number {
    if (device.group !== null)
      throw new CoreStateError(
        { device: device.name },
        'is in a group already',
        'Release it before it is probed again',
      );
    device.ops = ops;
    const errno = ops.probeDevice(device);
    if (errno !== 0) {
      device.ops = null;
      return errno;
    }
    device.maxPasids = Math.min(device.info.maxPasids ?? 0, ops.maxPasids ?? 0);
    device.attachDeferred = ops.isAttachDeferred?.(device) ?? false;
    const group = this.#groups.join(device.info.groupKey);
    group.devices.push(device);
    device.group = group;
    if (this.trace.on)
      this.trace.emit({ name: 'add_device_to_group', groupId: group.id, device: device.name });
    return 0;
  }

  /** Default domain, direct mappings and attach for devices that have just joined a group (`iommu_setup_default_domain`). */
  #setUp(group: IommuGroup, members: readonly IommuDevice[]): number {
    const fresh = group.defaultDomain === null;
    if (fresh) {
      const allocated = this.#defaults.alloc(group, undefined);
      if (typeof allocated === 'number') return allocated;
      group.defaultDomain = allocated;
      group.domain = allocated;
    }
    const domain = group.defaultDomain as IommuDomain;
    const target = group.domain ?? domain;
    const before = this.profile.directFlush !== 'after-attach';
    let retry = false;
    if (before) {
      for (const device of members)
        if (this.createDirectMappings(domain, device) !== 0) retry = true;
      if (retry)
        this.#mapper.warn('IOMMU driver was not able to establish FW requested direct mapping.');
    }
    let errno = 0;
    for (const device of members) {
      const result = this.#domains.setDevice(target, device, null);
      if (errno === 0) errno = result;
    }
    if (!before || retry)
      for (const device of members) {
        const result = this.createDirectMappings(domain, device);
        // Only where the domain is new does the kernel look at the result, and tries twice.
        if (errno === 0 && before && fresh) errno = result;
      }
    return errno;
  }

  /**
   * Gives a group another type of default domain, as by its `type` file in sysfs (`iommu_group_store_type`). From `dma` to `dma-fq` the domain
   * stays, and `initFlushQueue` makes its flush queue (0 or a negative errno). Else the group must be idle (-EPERM); -EINVAL: the driver
   * wants another type; or what the allocation or the attach said. 'auto': as at first.
   */
  setGroupType(
    group: IommuGroup,
    type: DefaultDomainType | 'auto',
    initFlushQueue?: (domain: IommuDomain) => number,
  ): number {
    const old = group.defaultDomain;
    if (type === 'dma-fq' && old?.type === 'dma') {
      const errno = initFlushQueue?.(old) ?? 0;
      if (errno === 0) old.deferFlushes();
      return errno;
    }
    if (group.devices.length === 0 || group.ownerCount > 0) return -ERRNO.EPERM;
    old?.batch?.end();
    const domain = this.#defaults.alloc(group, type === 'auto' ? undefined : type);
    if (typeof domain === 'number') return domain;
    let errno = 0;
    for (const device of group.devices) {
      const result = this.createDirectMappings(domain, device);
      if (errno === 0) errno = result;
    }
    if (errno !== 0)
      this.#mapper.warn('IOMMU driver was not able to establish FW requested direct mapping.');
    group.defaultDomain = domain;
    errno = this.#domains.set(group, domain);
    if (errno !== 0) group.defaultDomain = old;
    (errno === 0 ? old : domain)?.ops.free();
    return errno;
  }

  /** An address space of its own for a device's owner, not attached yet (`iommu_paging_domain_alloc`); free it with `domainFree`. */
  domainAllocUnmanaged(device: IommuDevice): IommuDomain | number {
    return allocDomain('unmanaged', device);
  }

  /** A domain over the page tables of a process, not attached yet: -EOPNOTSUPP without support (`iommu_sva_domain_alloc`). */
  domainAllocSva(device: IommuDevice, mm: ProcessSpace): IommuDomain | number {
    const { ops } = device;
    if (ops === null) return -ERRNO.ENODEV;
    const domain = ops.domainAllocSva?.(device, mm) ?? -ERRNO.EOPNOTSUPP;
    if (typeof domain !== 'number') domain.owner = ops;
    return domain;
  }

  /**
   * Frees a domain that nothing is attached to; throws {@link CoreStateError} while something is, and `BatchDroppedError` while a batch
   * holds something.
   */
  domainFree(domain: IommuDomain): void {
    for (const group of this.#groups.list()) {
      const used =
        group.domain === domain ||
        group.defaultDomain === domain ||
        group.blockingDomain === domain ||
        [...group.pasids.values()].some((entry) => entry.domain === domain);
      if (used)
        throw new CoreStateError(
          { device: group.devices[0]?.name ?? group.key },
          'still uses the domain',
          'Detach it before the domain is freed',
        );
    }
    domain.batch?.end();
    domain.ops.free();
  }

  /**
   * Maps the device's direct regions one to one into a DMA domain, leaving pages alone that translate already
   * (`iommu_create_device_direct_mappings`). Where the profile says so, flushes the domain for any reserved region. 0 or a negative errno.
   */
  createDirectMappings(domain: IommuDomain, device: IommuDevice): number {
    return createDirectMappings(this.#mapper, domain, device);
  }

  /** The reserved regions of a device, sorted and merged (`iommu_insert_resv_region`); the driver's own list is `device.ops.getResvRegions`. */
  getResvRegions(device: IommuDevice): readonly ReservedRegion[] {
    return this.#mergeRegions([device]);
  }

  /** The reserved regions of all devices of a group, sorted and merged (`iommu_get_group_resv_regions`). */
  getGroupResvRegions(group: IommuGroup): readonly ReservedRegion[] {
    return this.#mergeRegions(group.devices);
  }

  #mergeRegions(devices: readonly IommuDevice[]): readonly ReservedRegion[] {
    let list: readonly ReservedRegion[] = [];
    for (const device of devices)
      for (const region of device.ops?.getResvRegions(device) ?? [])
        list = insertResvRegion(list, region);
    return list;
  }

  /** True when a direct region makes a blocked domain impossible for the device (`require_direct`). */
  requiresDirect(device: IommuDevice): boolean {
    return requiresDirect(device);
  }

  /**
   * Moves a device that is alone in its group to a domain (`iommu_attach_device`). -ENODEV: no group; -EINVAL: not alone, or the
   * domain of another driver; -EBUSY: the group is attached to something else than its default domain.
   */
  attachDevice(domain: IommuDomain, device: IommuDevice): number {
    const group = device.group;
    if (group === null) return -ERRNO.ENODEV;
    if (group.devices.length !== 1) return -ERRNO.EINVAL;
    return this.#domains.attach(group, domain);
  }

  /**
   * Moves all devices of a group to a domain, or none of them (`iommu_attach_group`; with a handle `iommu_attach_group_handle`, and then
   * page requests without PASID find the domain's handler). Errors as for `attachDevice`; -EBUSY: attached with a handle already.
   */
  attachGroup(domain: IommuDomain, group: IommuGroup, handle?: AttachHandle): number {
    return handle === undefined
      ? this.#domains.attach(group, domain)
      : this.#domains.attachHandle(group, domain, handle);
  }

  /** Moves a group from whatever it is attached to, in one step for each device (`iommu_replace_group_handle`). -EINVAL: the domain of another driver. */
  replaceGroup(domain: IommuDomain, group: IommuGroup, handle?: AttachHandle): number {
    return this.#domains.replace(group, domain, handle ?? null);
  }

  /** Moves the device back to the default domain of its group (`iommu_detach_device`); anything but its own domain is ignored with a warning. */
  detachDevice(domain: IommuDomain, device: IommuDevice): void {
    const group = device.group;
    if (group === null) return;
    if (group.domain !== domain || group.devices.length !== 1) {
      this.#mapper.warn(`iommu_detach_device: ${device.name} is not attached to this domain alone`);
      return;
    }
    this.#domains.detach(group);
  }

  /**
   * Moves a group back to its default domain, or to a blocking one while it is owned (`iommu_detach_group`); the devices must follow, whatever
   * the driver says.
   */
  detachGroup(domain: IommuDomain, group: IommuGroup): void {
    if (group.domain === domain) this.#domains.detach(group);
  }

  /** First use of a device that was left as a crashed kernel had it: attaches it (`iommu_deferred_attach`). 0 or a negative errno. */
  deferredAttach(device: IommuDevice, domain: IommuDomain): number {
    return this.#domains.attachDeferred(device, domain);
  }

  /**
   * Takes a group away from device drivers: its DMA is blocked until the owner attaches a domain (`iommu_group_claim_dma_owner`). -EPERM: in
   * use; -EBUSY: attached to something; -EINVAL: no owner given, or a direct region forbids to block.
   */
  claimGroup(group: IommuGroup, owner: unknown): number {
    return this.#domains.claim(group, owner);
  }

  /** Gives it back to its default domain (`iommu_group_release_dma_owner`). */
  releaseGroup(group: IommuGroup): void {
    this.#domains.release(group, group.ownerCount);
  }

  /** As `claimGroup`, for a group of which the same owner may claim several devices (`iommu_device_claim_dma_owner`). -ENODEV: no group. */
  claimDevice(device: IommuDevice, owner: unknown): number {
    return device.group === null ? -ERRNO.ENODEV : this.#domains.claimDevice(device.group, owner);
  }

  /** Gives up one claim; the last one gives the group back (`iommu_device_release_dma_owner`). */
  releaseClaim(device: IommuDevice): void {
    if (device.group !== null) this.#domains.release(device.group, 1);
  }

  /**
   * A device driver is bound: nobody may own the group meanwhile (`iommu_device_use_default_domain`). 0 without a group; -EPROBE_DEFER: no
   * default domain; -EBUSY: owned.
   */
  useDefaultDomain(device: IommuDevice): number {
    return device.group === null ? 0 : this.#domains.useDefault(device.group);
  }

  /** It is unbound (`iommu_device_unuse_default_domain`). */
  unuseDefaultDomain(device: IommuDevice): void {
    if (device.group !== null) this.#domains.unuseDefault(device.group);
  }

  /**
   * Makes one PASID of all devices of a group translate through a domain (`iommu_attach_device_pasid`). -ENODEV: no group; -EOPNOTSUPP: the
   * driver cannot; -EINVAL: a foreign domain, PASID 0, or above what a device takes; -EBUSY: attached already; else what the driver said, and
   * no device has moved.
   */
  attachDevicePasid(attachment: PasidAttachment): number {
    return this.#pasids.attach(attachment);
  }

  /** Moves an attached PASID to another domain, or only its handle when the domain is the same (`iommu_replace_device_pasid`). -EINVAL: no handle, its own handle, nothing attached. */
  replaceDevicePasid(attachment: PasidAttachment): number {
    return this.#pasids.replace(attachment);
  }

  /** Blocks a PASID again (`iommu_detach_device_pasid`). */
  detachDevicePasid(domain: IommuDomain, device: IommuDevice, pasid: number): void {
    this.#pasids.detach(domain, device, pasid);
  }

  /** The handle of a PASID, 0 for none: -ENOENT: no handle; -EBUSY: its domain is of another type (`iommu_attach_handle_get`). */
  attachHandle(group: IommuGroup, pasid: number, type?: DomainType): AttachHandle | number {
    return this.#pasids.handleOf(group, pasid, type);
  }

  /**
   * Maps [iova, iova + size) to [paddr, paddr + size); bytes, multiples of the smallest page. 0, or a negative errno with nothing
   * left mapped (`iommu_map`). -EINVAL: unaligned, or the domain does not translate; else what the driver said.
   */
  map(domain: IommuDomain, iova: number, paddr: number, size: number, prot: number): number {
    return this.#mapper.map(domain, iova, paddr, size, prot);
  }

  /** As `map`, without the driver's `iotlbSyncMap`: call `syncMap` before a device uses the range (`iommu_map_nosync`). */
  mapNosync(domain: IommuDomain, iova: number, paddr: number, size: number, prot: number): number {
    return this.#mapper.mapNosync(domain, iova, paddr, size, prot);
  }

  /** As `map` or `mapNosync`, with allocation flags: -EINVAL for those that tables cannot come from. */
  mapRequest(request: MapRequest): number {
    return this.#mapper.mapRequest(request);
  }

  /** Publishes a range mapped with `mapNosync` (`iommu_sync_map`): 0, or the driver's errno; the mappings stay. */
  syncMap(domain: IommuDomain, iova: number, size: number): number {
    return domain.ops.iotlbSyncMap === undefined ? 0 : domain.ops.iotlbSyncMap(iova, size);
  }

  /** Unmaps and invalidates; returns the bytes unmapped, fewer where a hole ended it (`iommu_unmap`). */
  unmap(domain: IommuDomain, iova: number, size: number): number {
    return this.#mapper.unmap(domain, iova, size);
  }

  /** Unmaps and leaves the invalidation in the gather; `iotlbSync` it before the memory or the IOVA is reused (`iommu_unmap_fast`). */
  unmapFast(domain: IommuDomain, iova: number, size: number, gather: IotlbGather): number {
    return this.#mapper.unmapFast(domain, iova, size, gather);
  }

  /** Maps the pieces one after the other from `iova` on, one map for each contiguous run; bytes mapped or a negative errno (`iommu_map_sg`). */
  mapSg(domain: IommuDomain, iova: number, sg: readonly SgRun[], prot: number): number {
    return this.#mapper.mapSg(domain, iova, sg, prot);
  }

  /** Invalidates what the gather holds, if anything, and empties it (`iommu_iotlb_sync`). Table pages in its freelist are the driver's to free. */
  iotlbSync(domain: IommuDomain, gather: IotlbGather): void {
    this.#mapper.iotlbSync(domain, gather);
  }

  /**
   * Adds `count` adjacent pages, each as `iommu_iotlb_gather_add_page`: another page size or a disjoint range is invalidated first.
   * Drivers forward `FlushOps.tlbAddPage` here.
   */
  gatherAddPages(
    domain: IommuDomain,
    gather: IotlbGather,
    iova: number,
    pgsize: number,
    count: number,
  ): void {
    this.#mapper.gatherAddPages(domain, gather, iova, pgsize, count);
  }

  /** Invalidates everything of a domain and waits (`iommu_flush_iotlb_all`). */
  flushIotlbAll(domain: IommuDomain): void {
    domain.ops.flushIotlbAll();
  }

  /** The physical address of an IOVA below 2^53, 0 for a hole (`iommu_iova_to_phys`). */
  iovaToPhys(domain: IommuDomain, iova: number): number {
    if (domain.type === 'identity') return iova;
    if (domain.type === 'blocked') return 0;
    return domain.ops.iovaToPhys(iova);
  }

  /** As `iovaToPhys` for any 64-bit IOVA: the offset in the page is split off before the walk. */
  iovaToPhys64(domain: IommuDomain, iova: U64): U64 {
    if (domain.type === 'identity') return iova;
    if (domain.type === 'blocked') return u64(0, 0);
    const lo = loOf(iova.lo);
    const offset = lo % Math.min(4096, domain.minPage || 4096);
    const page = fromLanes(lo - offset, iova.hi);
    // Physical 0 at page 0 could not be told from a hole, so small addresses keep their offset.
    if (page <= Number.MAX_SAFE_INTEGER - offset) {
      const paddr = domain.ops.iovaToPhys(page + offset);
      return u64(loOf(paddr), hiOf(paddr));
    }
    const paddr = domain.ops.iovaToPhys(page);
    return paddr === 0 ? u64(0, 0) : u64(loOf(paddr) + offset, hiOf(paddr));
  }

  /**
   * Opens a batch of range operations on a domain: one invalidation for all of them. -ENODEV: the driver has no range operations; -EINVAL: the
   * domain does not translate, or only its process maps it. Throws `BatchDroppedError` while another batch on it holds something.
   */
  beginBatch(domain: IommuDomain, options: BatchOptions = {}): RangeBatch | number {
    return RangeBatch.begin(this.#mapper, domain, options);
  }

  /** An empty gather of the kind that the domain wants. */
  newGather(domain: IommuDomain): IotlbGather {
    return domain.gatherKind === 'list' ? new ListGather() : new IotlbGather();
  }

  /**
   * Sets who handles the page requests of a device with this PASID; without one, those that no other handler takes; null forgets it. Such a
   * handler stands before those of domains.
   */
  setFaultHandler(device: IommuDevice, handler: FaultHandler | null, pasid?: number): void {
    this.#faults.set(device, handler, pasid ?? null);
  }

  /**
   * Hands a page request to its handler: that of the device and PASID, else `device.pageRequests` for the domain that the PASID (or, with a
   * handle, the group) is attached to (`iommu_report_device_fault`). What it returned; or -EINVAL when there is none, and then the request
   * is answered `invalid`.
   */
  reportDeviceFault(device: IommuDevice, fault: DeviceFault): number {
    return this.#faults.report(device, fault);
  }

  /** Tells the domain's handler of a fault that nobody can repair (`report_iommu_fault`): what it returned, or -38 (ENOSYS) without one. */
  reportDomainFault(fault: DomainFault): number {
    return this.#faults.reportDomain(fault);
  }
}
