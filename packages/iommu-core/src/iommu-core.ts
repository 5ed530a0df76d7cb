import { fromLanes, hiOf, IommuError, loOf, minPageSize, type U64, u64 } from '@iommukit/bits';
import type { IotlbGather } from '@iommukit/io-pgtable';
import { ERRNO, type TraceChannel } from '@iommukit/platform';
import type { CoreEvent } from './core-event.ts';
import type { CoreProfile } from './core-profile.ts';
import type { IommuDevice } from './device.ts';
import type { DeviceFault, FaultHandler } from './device-fault.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import { DomainMapper, type SgRun } from './domain-mapper.ts';
import type { IommuOps } from './driver-ops.ts';
import type { IommuGroup } from './group.ts';
import { GroupTable } from './group-table.ts';
import type { ReservedRegion } from './reserved-region.ts';
import { insertResvRegion } from './resv-regions.ts';

/** Types of domain that a device can get without asking. @example const type: DefaultDomainType = 'dma'; */
export type DefaultDomainType = 'dma' | 'dma-fq' | 'identity';

/**
 * Core was used in an order that the kernel cannot reach; code `CORE_STATE`.
 * @example try { core.probeDevice(device, ops); } catch (e) { (e as CoreStateError).operands.device; }
 */
export class CoreStateError extends IommuError<{ device: string }> {
  override readonly name = 'CoreStateError';
  constructor(operands: { device: string }, what: string, fix: string) {
    super('CORE_STATE', operands, `${operands.device} ${what}`, fix);
  }
}

function isDmaDomain(type: DomainType): boolean {
  return type === 'dma' || type === 'dma-fq';
}

function pageUp(value: number, pgsize: number): number {
  return Math.ceil(value / pgsize) * pgsize;
}

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
  readonly #owners = new WeakMap<IommuDomain, IommuOps>();
  readonly #faultHandlers = new Map<IommuDevice, FaultHandler>();
  #defaultDomainType: DefaultDomainType;

  constructor(init: {
    readonly trace: TraceChannel<CoreEvent>;
    readonly profile: CoreProfile;
    readonly defaultDomainType: DefaultDomainType;
  }) {
    this.trace = init.trace;
    this.profile = init.profile;
    this.#defaultDomainType = init.defaultDomainType;
    this.#mapper = new DomainMapper(init.trace, init.profile);
  }

  /** The groups, by ascending id. */
  get groups(): readonly IommuGroup[] {
    return this.#groups.list();
  }

  /** Changes the type of domains that later groups get (`iommu_set_default_passthrough` and its opposite). */
  setDefaultDomainType(type: DefaultDomainType): void {
    this.#defaultDomainType = type;
  }

  /** Gives a device to its driver, puts it into its group and attaches it to the default domain (`iommu_probe_device`). */
  probeDevice(device: IommuDevice, ops: IommuOps): number {
    const errno = this.#add(device, ops);
    if (errno !== 0) return errno;
    return this.#setUp(device.group as IommuGroup, [device]);
  }

  /**
   * Probes all devices of a driver that registers (`bus_iommu_probe`): every one gets its group first, in the given order; then
   * the groups are set up, in order of creation. Devices that the driver does not claim are left out. 0, or the first errno of a set-up.
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

  /** Takes a device out of its group and from its driver; the last device frees the default domain (`iommu_release_device`). */
  releaseDevice(device: IommuDevice): void {
    const { group, ops } = device;
    if (group === null || ops === null)
      throw new CoreStateError(
        { device: device.name },
        'is in no group',
        'Probe it before it is released',
      );
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
    this.#faultHandlers.delete(device);
    if (group.devices.length > 0) return;
    group.defaultDomain?.ops.free();
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
    const group = this.#groups.join(device.info.groupKey);
    group.devices.push(device);
    device.group = group;
    if (this.trace.on)
      this.trace.emit({ name: 'add_device_to_group', groupId: group.id, device: device.name });
    return 0;
  }

  /** Default domain, direct mappings and attach for devices that have just joined a group (`iommu_setup_default_domain`). */
  #setUp(group: IommuGroup, members: readonly IommuDevice[]): number {
    let domain = group.defaultDomain;
    if (domain === null) {
      const allocated = this.#allocDefault(group);
      if (typeof allocated === 'number') return allocated;
      domain = allocated;
      group.defaultDomain = domain;
      group.domain = domain;
    }
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
      const result = this.#attachOne(target, device, null);
      if (errno === 0) errno = result;
    }
    if (!before || retry)
      for (const device of members) {
        const result = this.createDirectMappings(domain, device);
        if (errno === 0) errno = result;
      }
    return errno;
  }

  #allocDefault(group: IommuGroup): IommuDomain | number {
    let wanted: DomainType | undefined;
    let untrusted = false;
    for (const device of group.devices) {
      const type = device.ops?.defDomainType?.(device);
      if (type !== undefined && wanted !== undefined && type !== wanted) {
        this.#mapper.warn(
          `IOMMU driver error, requesting conflicting def_domain_type, ${type} and ${wanted}, for devices in group ${group.id}.`,
        );
        wanted = 'identity';
      } else if (type !== undefined) wanted = type;
      if (device.info.isPci === true && device.info.untrusted === true) untrusted = true;
    }
    if (untrusted) {
      if (wanted !== undefined && wanted !== 'dma') {
        this.#mapper.warn(`group ${group.id} needs a DMA domain because of an untrusted device`);
        return -ERRNO.EINVAL;
      }
      wanted = 'dma';
    }
    const first = group.devices[0] as IommuDevice;
    const type = wanted ?? this.#defaultDomainType;
    const domain = this.#alloc(type, first);
    if (typeof domain !== 'number' || wanted !== undefined || type === 'dma') return domain;
    this.#mapper.warn(
      `Failed to allocate default IOMMU domain of type ${type} for group ${group.id} - Falling back to dma`,
    );
    return this.#alloc('dma', first);
  }

  #alloc(type: DomainType, device: IommuDevice): IommuDomain | number {
    const ops = device.ops;
    if (ops === null) return -ERRNO.ENODEV;
    const domain = ops.domainAlloc(type, device);
    if (typeof domain !== 'number') this.#owners.set(domain, ops);
    return domain;
  }

  /** An address space of its own for a device's owner, not attached yet (`iommu_paging_domain_alloc`); free it with `domainFree`. */
  domainAllocUnmanaged(device: IommuDevice): IommuDomain | number {
    return this.#alloc('unmanaged', device);
  }

  /** Frees a domain that no group is attached to; throws {@link CoreStateError} while one is. */
  domainFree(domain: IommuDomain): void {
    for (const group of this.#groups.list())
      if (group.domain === domain || group.defaultDomain === domain)
        throw new CoreStateError(
          { device: group.devices[0]?.name ?? group.key },
          'still uses the domain',
          'Detach it before the domain is freed',
        );
    domain.ops.free();
  }

  /**
   * Maps the device's direct regions one to one into a DMA domain, leaving pages alone that translate already
   * (`iommu_create_device_direct_mappings`). Where the profile says so, flushes the domain for any reserved region. 0 or a negative errno.
   */
  createDirectMappings(domain: IommuDomain, device: IommuDevice): number {
    const least = minPageSize(domain.pgsizeBitmap);
    if (!isDmaDomain(domain.type)) return 0;
    if (least === 0) {
      this.#mapper.warn(`${device.name}: a DMA domain without page sizes`);
      return -ERRNO.EINVAL;
    }
    const regions = device.ops?.getResvRegions(device) ?? [];
    for (const region of regions) {
      if (region.type !== 'direct' && region.type !== 'direct-relaxable') continue;
      const errno = this.#mapDirect(domain, region, least);
      if (errno !== 0) return errno;
    }
    if (regions.length > 0 && this.profile.directFlush !== 'never') domain.ops.flushIotlbAll();
    return 0;
  }

  #mapDirect(domain: IommuDomain, region: ReservedRegion, least: number): number {
    // Both ends are rounded up, as the kernel does.
    const start = pageUp(region.start, least);
    const end = pageUp(region.end, least);
    let from = start;
    for (let page = start; page <= end; page += least) {
      // Page 0 is asked for at byte 1: a translation to address 0 could not be told from a hole.
      const present = page === end || domain.ops.iovaToPhys(page === 0 ? 1 : page) !== 0;
      if (!present) continue;
      if (page > from) {
        const errno = this.map(domain, from, from, page - from, region.prot);
        if (errno !== 0) return errno;
      }
      from = page + least;
    }
    return 0;
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
    return device.ops?.getResvRegions(device).some(({ type }) => type === 'direct') ?? false;
  }

  /**
   * Moves a device that is alone in its group to a domain (`iommu_attach_device`). -ENODEV: no group; -EINVAL: not alone, or the
   * domain of another driver; -EBUSY: the group is attached to something else than its default domain.
   */
  attachDevice(domain: IommuDomain, device: IommuDevice): number {
    const group = device.group;
    if (group === null) return -ERRNO.ENODEV;
    if (group.devices.length !== 1) return -ERRNO.EINVAL;
    return this.attachGroup(domain, group);
  }

  /** Moves all devices of a group to a domain, or none of them (`iommu_attach_group`). Errors as for `attachDevice`. */
  attachGroup(domain: IommuDomain, group: IommuGroup): number {
    const now = group.domain;
    if (now !== null && now !== group.defaultDomain && now.type !== 'blocked') return -ERRNO.EBUSY;
    const owner = this.#owners.get(domain);
    if (owner !== undefined)
      for (const device of group.devices) if (device.ops !== owner) return -ERRNO.EINVAL;
    return this.#setGroupDomain(group, domain);
  }

  /** Moves the device back to the default domain of its group (`iommu_detach_device`); anything but its own domain is ignored with a warning. */
  detachDevice(domain: IommuDomain, device: IommuDevice): void {
    const group = device.group;
    if (group === null) return;
    if (group.domain !== domain || group.devices.length !== 1) {
      this.#mapper.warn(`iommu_detach_device: ${device.name} is not attached to this domain alone`);
      return;
    }
    this.detachGroup(domain, group);
  }

  /** Moves a group back to its default domain (`iommu_detach_group`); the devices must follow, whatever the driver says. */
  detachGroup(domain: IommuDomain, group: IommuGroup): void {
    if (group.domain !== domain || group.defaultDomain === null) return;
    for (const device of group.devices)
      if (this.#attachOne(group.defaultDomain, device, domain) !== 0)
        this.#mapper.warn(`${device.name} could not return to its default domain`);
    group.domain = group.defaultDomain;
  }

  #setGroupDomain(group: IommuGroup, domain: IommuDomain): number {
    const old = group.domain;
    if (old === domain) return 0;
    for (let i = 0; i < group.devices.length; i++) {
      const errno = this.#attachOne(domain, group.devices[i] as IommuDevice, old);
      if (errno === 0) continue;
      for (let done = 0; old !== null && done < i; done++) {
        const device = group.devices[done] as IommuDevice;
        if (this.#attachOne(old, device, domain) !== 0)
          this.#mapper.warn(`${device.name} could not return to its old domain`);
      }
      return errno;
    }
    group.domain = domain;
    return 0;
  }

  #attachOne(domain: IommuDomain, device: IommuDevice, old: IommuDomain | null): number {
    if (domain.type === 'blocked' && this.requiresDirect(device)) {
      this.#mapper.warn(
        `${device.name}: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping.`,
      );
      return -ERRNO.EINVAL;
    }
    const errno = domain.ops.attachDev(device, old);
    if (errno === 0 && this.trace.on)
      this.trace.emit({ name: 'attach_device_to_domain', device: device.name });
    return errno;
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
    const offset = lo % Math.min(4096, minPageSize(domain.pgsizeBitmap) || 4096);
    const page = fromLanes(lo - offset, iova.hi);
    // Physical 0 at page 0 could not be told from a hole, so small addresses keep their offset.
    if (page <= Number.MAX_SAFE_INTEGER - offset) {
      const paddr = domain.ops.iovaToPhys(page + offset);
      return u64(loOf(paddr), hiOf(paddr));
    }
    const paddr = domain.ops.iovaToPhys(page);
    return paddr === 0 ? u64(0, 0) : u64(loOf(paddr) + offset, hiOf(paddr));
  }

  /** Sets who handles the recoverable faults of a device; null forgets the handler. */
  setFaultHandler(device: IommuDevice, handler: FaultHandler | null): void {
    if (handler === null) this.#faultHandlers.delete(device);
    else this.#faultHandlers.set(device, handler);
  }

  /** Hands a fault to the handler of its device; what the handler returned, or -EINVAL when there is none (`iommu_report_device_fault`). */
  reportDeviceFault(device: IommuDevice, fault: DeviceFault): number {
    const handler = this.#faultHandlers.get(device);
    return handler === undefined ? -ERRNO.EINVAL : handler(fault);
  }
}
